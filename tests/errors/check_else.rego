package test

f(x) := y if {
	y := x
} else := z if {
	z := y
}

g(x) := 1 if {
	x := 2 # expect: rego_compile_error 10:2
} else := 3 if {
	w == 1
}
