# opa-rows-differ
# Keys that an object of known shape does not have.
package test

o := {"a": 1, "b": {"c": true}}

bad1 if o.c # expect: rego_type_error 7:9

bad2 if o.b.d # expect: rego_type_error 9:9

bad3 if o.a.x # expect: rego_type_error 11:9

bad4 if {
	x := {"k": 1}
	x.missing # expect: rego_type_error 15:2
}

fine1 if o.b.c

fine2 if o[_] = 1

bad5 if o[1] # expect: rego_type_error 22:9
