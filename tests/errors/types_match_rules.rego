# Types of rules, complete and partial, reach their users.
package test

n := 1

s := "text"

p if n == 1

bad1 if n = s # expect: rego_type_error 10:9

ks contains k if some k in ["a", "b"]

bad2 if {
	some x in ks
	x = 1 # expect: rego_type_error 16:2
}

obj[k] := 1 if some k in ["a", "b"]

bad3 if obj.a = "x" # expect: rego_type_error 21:9

bad4 if obj[_] = "x" # expect: rego_type_error 23:9

multi := 1 if input.x

multi := "s" if not input.x

fine1 if multi = 1

fine2 if multi = "s"

bad5 if multi = true # expect: rego_type_error 33:9
