# Results of builtins, unions and objects among their parameters.
package test

bad1 if sprintf("%d", 1) # expect: rego_type_error 4:9

bad2 if {
	x := split("a,b", ",")
	x = "a" # expect: rego_type_error 8:2
}

bad3 if object.get([1], 0, 1) # expect: rego_type_error 11:9

bad4 if json.patch({}, [{"op": 1, "path": "a"}]) # expect: rego_type_error 13:9

bad5 := {1} - ["a"] # expect: rego_type_error 15:9

bad6 := {1, 2} | [3] # expect: rego_type_error 17:9

fine1 := {1} - {2}

fine2 := 3 - 2

bad7 if time.clock("now") # expect: rego_type_error 23:9

bad8 := union([{1}]) # expect: rego_type_error 25:9
