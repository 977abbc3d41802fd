# Rules with variables in their heads.
package test

p.q[r].s := 1 if some r in ["a", "b"]

fine1 if p.q.a.s = 1

bad1 if p.q.a.s = "x" # expect: rego_type_error 8:9

fine4 if p.q.a.t

u[x] contains y if {
	some x in ["k"]
	some y in [1, 2]
}

bad3 if u.k = 1 # expect: rego_type_error 17:9

bad4 if {
	some e in u.k
	e = "s" # expect: rego_type_error 21:2
}

v.a := 1

v.b := "s"

bad5 if v.a = true # expect: rego_type_error 28:9

fine2 if v.a = 1

fine3 if v[_] = "s"
