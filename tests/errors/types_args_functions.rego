# Arguments and results of functions.
package test

f(x) := y if y := x + 1

g(x, "lit") := {"k": x}

h([a, b]) := a + b

bad1 if f("s") # expect: rego_type_error 10:9

bad2 if f(1) = "s" # expect: rego_type_error 12:9

bad3 if g(1, 2) # expect: rego_type_error 14:9

bad4 if g(1, "lit").z # expect: rego_type_error 16:9

bad5 if h([1]) # expect: rego_type_error 18:9

bad6 if h([1, "s"]) # expect: rego_type_error 20:9

bad7 if h({1, 2}) # expect: rego_type_error 22:9

fine if h([1, 2]) = f(2)
