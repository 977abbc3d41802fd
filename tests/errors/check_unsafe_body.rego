package test

p if x > 1 # expect: rego_unsafe_var_error 3:6

q if {
	not input.users[name] # expect: rego_unsafe_var_error 6:2
	name != "root"
}

r if {
	count(xs) > limit # expect: rego_unsafe_var_error 11:2
}

s := [y | z := y] # expect: rego_unsafe_var_error 14:11

t contains k if {
	input.roles[_] == role # expect: rego_unsafe_var_error 17:2
	k := 1
}

u if every v in input.list {
	v > floor # expect: rego_unsafe_var_error 22:2
}
