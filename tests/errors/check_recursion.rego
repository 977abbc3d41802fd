package test

p if q # expect: rego_recursion_error 3:1

q if r # expect: rego_recursion_error 5:1

r if p # expect: rego_recursion_error 7:1

s contains x if { x := 1; not s[2] } # expect: rego_recursion_error 9:1

f(x) := g(x) # expect: rego_recursion_error 11:1

g(x) := f(x) if x > 1 # expect: rego_recursion_error 13:1

t := 1 if input.a
else := 2 if t == 1 # expect: rego_recursion_error 16:1

c := [x | x := c] # expect: rego_recursion_error 18:1
