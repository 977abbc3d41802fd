package test

p if data.test[input.x] # expect: rego_recursion_error 3:1

some_rule if {
	some name in ["other", "third"]
	data.test[name]
}

other := 1

third := 2

q if { # expect: rego_recursion_error 14:1
	x := input.name
	data[x].q
}

v := data # expect: rego_recursion_error 19:1

w if { # expect: rego_recursion_error 21:1
	some name in ["w", "other"]
	data.test[name]
}
