# Template strings are strings.
package test

s := $"a {input.x} b"

bad1 if s = 1 # expect: rego_type_error 6:9

bad2 := s + 1 # expect: rego_type_error 8:9

bad3 if s.x # expect: rego_type_error 10:9
