# The decision is the whole package.
package t.answer

import rego.v1

a1 contains x if some x in input.list

a2[x] contains y if { some x, y in input.list }

a3 := count(a2)

a4 := {x | some x in a2[1]}

b1 := [x | some x in input.list; not x == 2]

b2 if every x in input.list { x > 0; x < 10 }

b3 := x if { x := input.nope } else := "e1" if { input.list[0] == 2 } else := "e2"

default b4(_) := "d"

b4(x) := "v" if x > 2

b5 := [b4(1), b4(3), b4("a")]

c1 := y if { [x, y] = [input.i, [x]] }

c2 := y if { y = x; x = 1 }

c3 := x if { {"a": x, "b": [_]} = input.o }

c4 := [x, y] if { x + 1 == 3; x = input.list[1]; y = x * 2 }

c5 if { not not_true }

not_true if input.nope

c6 := [v | some i; v := input.list[i]; i > 0; some j; input.list[j] == v - 1]

c7 := [x | x := input.list[_]; y := x; y != 2]

c8 := {p: v | walk(input, [p, v]); is_number(v)}

c9 := [k | some k; input.o[k]]

d1 := object.get(input, ["o", "b", 0], "d")

d2 := object.get(input, ["o", "x", 0], "d")

d3 := input.o.b[0] + input["list"][2]

d6 := data.nope

d7 := [1 | data.nope]

e1 := {"x": {"y": [1, {"z": 2}]}}.x.y[1].z

e3 := {x | x := {"a": 1, "b": 1}[_]}

e4 := "\u00e9" == "é"

e5 := `raw \n`

e6 := "a\tb"

e7 := {"a": {"b": {"c": input.i}}} == {"a": {"b": {"c": 1}}}

e8 := [x | x := 1; x == 1; y := 2; y == 2]

e9 := $"{input.list} {input.o} {input.nope}"

f1 := x if { x := input.list[count(input.list) - 1] }

f2 := [a, b] if { some a; some b; input.list[a] == 2; input.list[b] == 3 }

f3 := concat("", [s | some n in input.list; s := sprintf("%d", [n])])

f4 := {n: s | some n in input.list; s := {m | some m in input.list; m < n}}

f5 := [s | some n in input.list; s := sum([m | some m in input.list; m <= n])]

f6 := max([count(v) | some _, v in f4])

f7 := f4[3]

f8 := f4[input.list[2]]

f9 := {a | some a, _ in f4}

g1.a.b := 1

g1.a.c[x] := y if some x, y in input.list

g2 := g1.a

g3 := g1.a.c[0]

g4 := [x | g1.a[x]]

g5 contains {"a": x} if some x in input.list

g6 := g5 - {{"a": 1}}

g7 := g5[{"a": 2}]

g8 if {"a": 3} in g5

g9 := [x | g5[x]; x.a > 1]

h1 := y if { x := "list"; y := input[x][0] }

h2 := {x: y | some x in ["i", "o", "zz"]; y := input[x]}

h3 := time.now_ns() == time.now_ns()

h4 := is_number(rand.intn("k", 10))

h5 := rand.intn("k", 10) == rand.intn("k", 10)

h6 := uuid.rfc4122("a") == uuid.rfc4122("a")

h8 := x if x := input.list with input.list as [9]

h9 := x if x := a1 with input as {"list": ["z"]}

i1 := x if x := b4(5) with data.t.answer.b4 as "mock"

i2 := [x | x := count([1,2]) with count as 0]

i3 := [x | x := b3 with input.list as [2]]

i4 := [x | some i in [[1], [2, 3]]; x := a1 with input.list as i]

i5 if not a1[1] with input.list as []

i6 := [x | x := input.q with input.q as input.list[1]]

i7 := [x | x := input.o.a.b with input.o.a.b as 1]

i8 := [x | x := input with input.new.deep as 1]

i9 := [x | x := data.d.e with data.d.e as {"f": 1} with data.d.e.g as 2]

j1 := x if { x := 1 } else := 2

j2 := 1 if input.i == 2 else := 2 if input.i == 1 else := 3

j3 := {1, "a", [2]} & {[2], "b", 1}

j4 := {"a", "b"} | {1}

j5 := count({x | some x in [1, "1", 1.0, true, null, [], {}]})

j6 := [x | some x in {"b": 2, "a": 1}]

j7 := [[k, v] | some k, v in {"b", "a"}]

j8 := ["a", 0] in [["a", 0]]

j9 := 0, "a" in ["a"]

k1 := [x | some x in "abc"]

k2 := count("aé日")

k3 := [x | x := [1, [2, [3]]][1][1][0]]

k5 := [true | print("x", input.nope)]

k6 := trace("x")

k7 := input.o.a == 1.0

k8 := {"a": 1, "a": 2}

k9 := 1 == "1"

l1 := 12345678901234567890 + 1

l2 := -9223372036854775808 - 1

l3 := 9223372036854775807 * 9223372036854775807

l4 := 1.0 + 1

l5 := 1.50 * 2

l6 := 0.1 + 0.7

l7 := 1e-10 * 1e-10

l8 := 123.456 % 7

l9 := 7 / 7

m1 := 1e2

m2 := 1E2 + 0

m3 := [1.10, 1.1]

m4 := {1.10, 1.1}

m5 := 3 == 3.00

m6 := floor(1e30)

m7 := abs(-0.0)

m8 := 5 % -3

m9 := -5 % 3
