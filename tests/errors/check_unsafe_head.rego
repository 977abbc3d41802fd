package test

p := x if input.a # expect: rego_unsafe_var_error 3:6

q contains [a, b] if a := input.x # expect: rego_unsafe_var_error 5:16

r[k] := v if v := input.v # expect: rego_unsafe_var_error 7:3

s[key].name if input.a # expect: rego_unsafe_var_error 9:3

f(x) := y if x > 1 # expect: rego_unsafe_var_error 11:9

g(x) := {"a": x, "b": w} if x # expect: rego_unsafe_var_error 13:23

t := [1, 2, zz] # expect: rego_unsafe_var_error 15:13

u := "fallback" if input.u else := other # expect: rego_unsafe_var_error 17:36
