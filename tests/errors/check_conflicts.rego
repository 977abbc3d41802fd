package test # expect: rego_type_error 1:1

p := 1 # expect: rego_type_error 3:1
p contains 2

f(x) := x # expect: rego_type_error 6:1
f(x, y) := x + y

q.r := 1 # expect: rego_type_error 9:1
q.r.s := 2

default d := 1
default d := 2

u := 1 # expect: rego_type_error 15:1
u[k] := v if { k := "a"; v := 1 }

m contains 1 # expect: rego_type_error 18:1
m[x] contains 2 if x := 1

t[x].y := 1 if x := "a" # expect: rego_type_error 21:1
t.z.f(x) := x
