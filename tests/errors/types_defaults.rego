# Default values count.
package test

default p := false

p := 1 if input.x

fine1 if p = 1

fine2 if p = false

bad1 if p = "s" # expect: rego_type_error 12:9

default f(_) := 0

f(x) := "s" if x = 1

fine3 if f(1) = 0

fine4 if f(1) = "s"

bad2 if f(1) = true # expect: rego_type_error 22:9
