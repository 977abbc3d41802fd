# Variables take the type of what they are first compared with.
package test

bad1 if {
	x = y # expect: rego_type_error 5:2
	y = 1
	x = "s"
}

fine1 if {
	[x, y] = input.pair
	startswith(x, "a")
	x + 1 = y
}

bad2 if {
	[x, y] = [1, input.y]
	startswith(x, "a") # expect: rego_type_error 18:2
	y = 1
}

fine2 if {
	x := {"a"}
	count(x) = 1
	x.b
}

fine3 if {
	x := input.x
	x = 1
	x = "s"
}

bad3 if {
	walk(input, [path, value])
	path = 1 # expect: rego_type_error 36:2
	value = 2
}
