package test

p if {
	some x, y # expect: rego_compile_error 4:2
	x == 1 # expect: rego_unsafe_var_error 5:2
}

q := [1 | some z] # expect: rego_compile_error 8:11

r if {
	every k, v in input.xs {
		v > 1 # expect: rego_compile_error 12:3
	}
}

s if {
	some i # expect: rego_compile_error 17:2
	some j in input.js
	input.xs[j]
}
