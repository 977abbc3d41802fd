package test

p if {
	x := 1
	some x # expect: rego_compile_error 5:2
	x == 2
}

q if {
	some y
	some y # expect: rego_compile_error 11:2
	y == 1
}

r if {
	some z in z # expect: rego_compile_error 16:2
	z == 1
}

s if {
	some i, v in data.foo[v] # expect: rego_compile_error 21:2
	i > 0
}

f(a) if {
	some a # expect: rego_compile_error 26:2
	a == 1
}

t if {
	w == 1
	some w in [1] # expect: rego_compile_error 32:2
}
