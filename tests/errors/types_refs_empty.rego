# opa-rows-differ
# Empty collections hold nothing under a constant key.
package test

o := {}

a := []

s := set()

bad1 if o.x # expect: rego_type_error 11:9

bad2 if a[0] # expect: rego_type_error 13:9

bad3 if s[1] # expect: rego_type_error 15:9

fine1 if o[_]

fine2 if a[_]

fine3 if s[_]
