package test

p := 1

obj.a := 1

f(x) := x

q if p with data.test.p.x as 1 # expect: rego_compile_error 9:13

r if p with foo as 1 # expect: rego_type_error 11:13

s if p with data.test.obj.a.b as 1 # expect: rego_compile_error 13:13

t if count([1]) with walk as f # expect: rego_compile_error 15:22

u if count([1]) with internal.member_2 as f # expect: rego_compile_error 17:22

v if count([1]) with rego.metadata.rule as f # expect: rego_compile_error 19:22

w if count([1]) with print as f # expect: rego_compile_error 21:22

x if f(1) with plus.minus as f # expect: rego_type_error 23:16
