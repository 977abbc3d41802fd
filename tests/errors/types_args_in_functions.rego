# What a function's body says of its arguments.
package test

f(x) if x.a.b

fine1 if f(1)

g(x) if {
	x = 1
	x = "s" # expect: rego_type_error 10:2
}

fine if g("anything")

k(x) := 1 if x > 1

k(x) := 2 if startswith(x, "a")

fine2 if k("b")

bad1 if k(true)
