package test

f(x) := x

g(x, y) := x + y

p if f(1, 2, 3) # expect: rego_type_error 7:6

q if g(1) == 1 # expect: rego_type_error 9:6

r if nofunction(1) # expect: rego_type_error 11:6

s if data.test.nothing(1) # expect: rego_type_error 13:6

t := x if x := g(1, 2, 3, 4) # expect: rego_type_error 15:16

u if count(1, 2, 3) # expect: rego_type_error 17:6

v if startswith("a") # expect: rego_type_error 19:6

w if strings.nope("a") # expect: rego_type_error 21:6
