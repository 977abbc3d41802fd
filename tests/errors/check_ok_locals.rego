package test

# Names of builtins and of root documents may be variables.
p if {
	count := 1
	count == 1
}

q if {
	sum = 2
	sum == 2
}

f(x) := y if {
	y := [x | x := 1]
}

r := {x: y | some x, y in {"a": 1}}

s if {
	x := 1
	every x in [1, 2] {
		x > 0
	}
	x == 1
}

t if {
	{"a": [b, c]} := {"a": [1, 2]}
	b + c == 3
}
