package test

p if {
	{"a": x, y: 1} := input.o # expect: rego_compile_error 4:14
	x == 1
}

q if {
	[a, {"k": a}] := input.l # expect: rego_compile_error 9:12
	a
}

r if {
	{z: 1} = input.o
}
