# Arguments of builtins.
package test

bad1 if count(1) # expect: rego_type_error 4:9

bad2 if startswith("a", 1) # expect: rego_type_error 6:9

bad3 := 1 + "a" # expect: rego_type_error 8:9

bad4 := concat(",", [1, 2]) # expect: rego_type_error 10:9

bad5 if {
	x := upper("a")
	x + 1 = 2 # expect: rego_type_error 14:2
}

bad6 := sum([1, "x"]) # expect: rego_type_error 17:9

bad7 if to_number([1]) # expect: rego_type_error 19:9

bad8 := max(7) # expect: rego_type_error 21:9
