package test

p if every x in input.xs {
	1 == 1 # expect: rego_compile_error 4:2
}

q if every a, b in input.xs {
	a == 1 # expect: rego_compile_error 8:2
	input.y == 2
}
