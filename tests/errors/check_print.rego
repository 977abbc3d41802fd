package test

p if {
	print(x) # expect: rego_compile_error 4:8
	y := 1
	print(y, z)
}

q if {
	print([w | w := undeclared])
	every v in [1] {
		print(v, other) # expect: rego_compile_error 12:12
	}
}

f(a) if {
	print(a, b) # expect: rego_compile_error 17:11
}
