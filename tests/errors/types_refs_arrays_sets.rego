# opa-rows-differ
# Elements of arrays and sets.
package test

a := ["x", "y"]

bad1 if a.name # expect: rego_type_error 7:9

bad2 if a[2] # expect: rego_type_error 9:9

fine1 if a[1]

fine2 if a[_]

s := {1, 2}

bad3 if s.x # expect: rego_type_error 17:9

bad4 if s["x"] # expect: rego_type_error 19:9

fine3 if s[1]

bad5 if {
	i := "zero"
	a[i] # expect: rego_type_error 25:2
}

bad6 if {
	k := true
	s[k] # expect: rego_type_error 30:2
}
