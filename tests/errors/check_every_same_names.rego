# opa-rows-differ
package test

p if {
	every x, x in input.xs { # expect: rego_compile_error 5:2
		x
	}
}
