package test

p if input.xs[_] == data.ys[_]

q if [1, 2][i] == i2 # expect: rego_unsafe_var_error 5:6

r if {
	x := [x2 | x2 := 1; y] # expect: rego_unsafe_var_error 8:22
}

s if {
	f(unknown) == 1 # expect: rego_unsafe_var_error 12:2
}

f(a) := a

t if {
	[a, b] = [c, d] # expect: rego_unsafe_var_error 18:2
}

u if { {"k": v1} = {"k": v2}; v1 == v2 } # expect: rego_unsafe_var_error 21:8
