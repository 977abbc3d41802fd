package test

p if {
	y := {z | z := outer; z > 1} # expect: rego_unsafe_var_error 4:12
	count(y) > 0
}

q if {
	xs := [n | n := xs[_]] # expect: rego_unsafe_var_error 9:13
	count(xs) > 1
}

r := {k: v | k := input.ks[_]} # expect: rego_unsafe_var_error 13:6

s if count({inner | input.s}) > 0 # expect: rego_unsafe_var_error 15:6
