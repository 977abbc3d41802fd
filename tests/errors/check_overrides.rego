package test

data := 1 # expect: rego_compile_error 3:1

p if {
	input := {"a": 1} # expect: rego_compile_error 6:2
	input.a == 1
}

q if {
	every x in [1] {
		data := x # expect: rego_compile_error 12:3
		data == 1
	}
}
