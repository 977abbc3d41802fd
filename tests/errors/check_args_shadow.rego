package test

f(input) := 1 # expect: rego_compile_error 3:1

g([data, x]) := x # expect: rego_compile_error 5:1

h(a, {"k": input}) := a # expect: rego_compile_error 7:1
