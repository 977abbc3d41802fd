# flags: --strict
package test

import data.foo
import input.bar as baz
import rego.v1

p := foo.x if baz.y

f(a, _) := a

g(a) := b if {
	b := a
}

h(a) := 1 if {
	a == 1
} else := 2 if {
	a == 2
}

q := {y: z | y := 1; z := y}

r if {
	x := 1
	every v in [1] {
		v == x
	}
}
