package test

f(a) if {
	every a in input.xs {
		a := 1 # expect: rego_compile_error 5:3
	}
}

q if {
	x := 1
	every x in [x] {
		x == 1
	}
}
