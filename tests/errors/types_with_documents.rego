# `with` lets a document be either of two types for its expression.
package test

n := 1

fine1 if n = "s" with data.test.n as "s"

bad1 if n = true with data.test.n as "s" # expect: rego_type_error 8:9

m := n + 1

fine2 if m = "s" with data.test.n as "s"

fine3 if input.x = 1 with input as {"x": 1}

bad2 if {
	n = "s" # expect: rego_type_error 17:2
	fine1 with input.y as 7
}
