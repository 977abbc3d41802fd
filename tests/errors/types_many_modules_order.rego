# Rules are typed after what they use, wherever that stands.
package test

bad1 if c.k = 1 # expect: rego_type_error 4:9

c := {"k": b}

b := a[0]

a := ["s"]

bad2 if d = 1 # expect: rego_type_error 12:9

d := e

e := f

f := {1}
