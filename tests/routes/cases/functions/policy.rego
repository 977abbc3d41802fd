package t

kind(n) := "small" if n < 10

kind(n) := "large" if n >= 10

area({"shape": "square", "side": s}) := s * s

area({"shape": "rect", "sides": [a, b]}) := a * b

default area(_) := -1

first([x, _]) := x

twice(x) := concat("", [x, x])

is_even(n) if n % 2 == 0

answer := {
	"kinds": [kind(n) | some n in input.numbers],
	"areas": [area(s) | some s in input.shapes],
	"first": first(["a", "b"]),
	"nested": twice(twice("ab")),
	"even": [n | some n in input.numbers; is_even(n)],
	"odd": [n | some n in input.numbers; not is_even(n)],
}
