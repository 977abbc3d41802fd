# Composite values whose parts cannot meet.
package test

arrays if [1, 2] = [1, "b"] # expect: rego_type_error 4:11

lengths if {
	x := [1, 2]
	x = [1, 2, 3] # expect: rego_type_error 8:2
}

objects if {
	x := {"a": 1}
	x = {"a": "one"} # expect: rego_type_error 13:2
}

other_keys if {
	x := {"a": 1}
	x = {"b": 1} # expect: rego_type_error 18:2
}

sets if {
	x := {1, 2}
	x = {"a"} # expect: rego_type_error 23:2
}

kinds if {
	x := [1]
	x = {1} # expect: rego_type_error 28:2
}
