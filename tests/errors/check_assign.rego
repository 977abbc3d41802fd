package test

p if {
	x := 1
	x := 2 # expect: rego_compile_error 5:2
}

q if {
	y == 1
	y := 2 # expect: rego_compile_error 10:2
}

f(a) := b if {
	a := 1 # expect: rego_compile_error 14:2
	b := 2
}

r if {
	not z := 1 # expect: rego_compile_error 19:2
}

s if {
	1 := 2 # expect: rego_compile_error 23:2
}

t if {
	input.x := 2 # expect: rego_compile_error 27:2
}

v if {
	some n
	n := 1 # expect: rego_compile_error 32:2
}

w if {
	[{c}, "a"] := input.m # expect: rego_compile_error 36:3 # expect: rego_compile_error 36:8
}
