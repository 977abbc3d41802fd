package test

f(count(x)) := x # expect: rego_compile_error 3:3

g([upper("a")]) := 1 # expect: rego_compile_error 5:4
