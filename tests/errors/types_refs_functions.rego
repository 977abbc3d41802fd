# opa-rows-differ
# A function is called, not looked into.
package test

f(x) := x

bad1 if x := f # expect: rego_type_error 7:14

bad2 if f.y # expect: rego_type_error 9:9

bad3 if f[0] # expect: rego_type_error 11:9

fine if f(1)

bad4 if data.test.f # expect: rego_type_error 15:9
