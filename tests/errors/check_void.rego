package test

p := print(1) # expect: rego_type_error 3:6

q if {
	x := print("a", 2) # expect: rego_type_error 6:7
	x
}

r if {
	count([print("x")]) == 1 # expect: rego_type_error 11:9
}
