# opa-rows-differ
# Refs inside every and not bodies.
package test

o := {"a": 1}

bad1 if every x in [1, 2] {
	o.b = x # expect: rego_type_error 8:2
}

fine if every x in [1] {
	o.a = x
}

bad2 if not o.c # expect: rego_type_error 15:13
