# opa-rows-differ
# Scalars have no elements.
package test

n := 1

bad1 if n.x # expect: rego_type_error 7:9

bad2 if {
	x := "s"
	x[0] # expect: rego_type_error 11:2
}

bad3 if {
	x := count([1])
	x[_] # expect: rego_type_error 16:2
}

bad4 if n[input.k] # expect: rego_type_error 19:9
