# flags: --strict
package test

import data.foo # expect: rego_compile_error 4:1
import data.bar as baz # expect: rego_compile_error 5:1
import data.used

p if {
	x := 1 # expect: rego_compile_error 9:2
	used.x
}

f(a, b) := a # expect: rego_compile_error 13:1

g(a, _) := 1 if {
	c := a # expect: rego_compile_error 16:2
	input.x
}

q := {y: z | y := 1; z := 2; w := 3} # expect: rego_compile_error 20:30

h(k) := 1 if {
	input.z
} else := k
