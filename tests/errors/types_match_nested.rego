# Types flow through patterns into variables.
package test

p if {
	[x, {"k": y}] := [1, {"k": "s"}]
	x = y # expect: rego_type_error 6:2
}

q if {
	{"a": [_, v]} = {"a": [1, true]}
	v = 7 # expect: rego_type_error 11:2
}

r if {
	x = {"a": {"b": {"c": 1}}}
	x.a.b.c = "no" # expect: rego_type_error 16:2
}
