package test

p if input.x with input.x.y as 1 with nodoc.a as 2 # expect: rego_type_error 3:39

q if data.a with data as {}

r if walk(1, [[], 1]) with eq as f # expect: rego_compile_error 7:28

f(x) := x
