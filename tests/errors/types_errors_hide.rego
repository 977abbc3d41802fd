# A rule with an error counts as anything: its users are not blamed.
package test

p := x if {
	x := 1
	x = "s" # expect: rego_type_error 6:2
}

fine if p = true

fine2 if p.a.b

f(x) := y if {
	y := 1 + "a" # expect: rego_type_error 14:7
	x
}

fine3 if f(1) = "x"
