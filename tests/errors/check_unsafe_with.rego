package test

p if input.x == 1 with input.x as y # expect: rego_unsafe_var_error 3:6

q if {
	a := data.test.p with data.roles as b # expect: rego_unsafe_var_error 6:2
	a
}

r if {
	some i
	input.xs[i] with input.xs as [j | j := k] # expect: rego_unsafe_var_error 12:36
}
