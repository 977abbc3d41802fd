package test

p if _ == 1

q if {
	not input.a == _
}

r[_] := 1 if input.r # expect: rego_unsafe_var_error 9:3
