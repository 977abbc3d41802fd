# Unions from several rules.
package test

p contains 1

p contains "a"

fine1 if 1 in p

fine2 if "a" in p

bad1 if true in p # expect: rego_type_error 12:9

o.a := [1]

o.b := "s"

fine3 if o[_] = [1]

bad3 if {
	some x in p
	x = null # expect: rego_type_error 22:2
}
