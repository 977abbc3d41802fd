# Types of comprehensions, and errors inside them.
package test

a := [x | x := 1]

bad1 if a = ["s"] # expect: rego_type_error 6:9

bad2 if {
	s := {x | some x in [1, 2]}
	s = {"a"} # expect: rego_type_error 10:2
}

bad3 if {
	o := {k: v | some k, v in {"a": 1}}
	o = {"a": "x"} # expect: rego_type_error 15:2
}

inner := [x |
	x := 1
	x = "s" # expect: rego_type_error 20:2
]

deep := [y |
	y := [z |
		z := 1
		z = true # expect: rego_type_error 26:3
	]
]
