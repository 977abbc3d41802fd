# flags: --strict
package test

p := [x | some y; x := input.a; z := 1] # expect: rego_compile_error 4:33

q if {
	not f(1)
	a := 1
	{b | b := 1; c := 2} # expect: rego_compile_error 9:15
}

f(x) := x
