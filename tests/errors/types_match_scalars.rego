# Two constants, or variables of known types, that can never be equal.
package test

p if 1 = "a" # expect: rego_type_error 4:6

q if {
	x := 1
	y := "a"
	x == y # expect: rego_type_error 9:2
	x = y # expect: rego_type_error 10:2
}

r if {
	x := true
	x = null # expect: rego_type_error 15:2
}
