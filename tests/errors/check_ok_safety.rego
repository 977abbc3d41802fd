package test

# Bodies are put in an order in which every input is bound.
p if {
	x > y
	y = z[0]
	x = z[1]
	z = input.pair
}

q if {
	not denied(user)
	user := input.user # expect: rego_compile_error 13:2
}

denied(u) if u == "nobody"

r if {
	count([n | n := xs[_]; n > low]) > 1
	xs = input.xs
	low = input.low
}

s[k] := v if v = input.map[k]

t if {
	every x in xs {
		x > y
	}
	y := 1
	xs := [2, 3] # expect: rego_compile_error 31:2
}

u if {
	{"a": a, "b": [b, _]} = input.obj
	a == b
}
