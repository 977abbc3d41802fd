package test

# The variables that an unsafe assignment would bind are consequences, not causes.
p if {
	x := y + 1
	z := x * 2
	z > 3
}

q if {
	a := a + b # expect: rego_compile_error 11:2
}

r if {
	m := n
	n := m # expect: rego_compile_error 16:2
}
