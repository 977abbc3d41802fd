# `in` looks for what can be there.
package test

bad1 if 1 in ["a", "b"] # expect: rego_type_error 4:9

bad2 if "x" in {1, 2} # expect: rego_type_error 6:9

bad3 if "a", 1 in ["x"] # expect: rego_type_error 8:9

bad4 if 0, true in ["x"] # expect: rego_type_error 10:9

bad5 if {
	some x in [1, 2]
	x = "s" # expect: rego_type_error 14:2
}

bad6 if {
	some k, v in {"a": 1}
	k = 1 # expect: rego_type_error 19:2
}

fine1 if 1 in [1, "a"]

fine2 if 1 in "scalar"

fine3 if input.x in [1]
