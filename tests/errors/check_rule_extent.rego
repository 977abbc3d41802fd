package test

servers[s].port := 80 if some s in ["a", "b"]

servers.a.port := 81

servers.c.name := "c"

p[x] := 1 if x := 1

p.q.r := 2

single := 1 # expect: rego_type_error 13:1

single.a := 2

single.b.c := 3
