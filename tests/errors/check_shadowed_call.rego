package test

f(x) := x

p if {
	f := 1
	f(2) == 2 # expect: rego_compile_error 7:2
}

q if {
	count := 3
	count([1]) > count # expect: rego_compile_error 12:2
}
