# Functions that are not there.
package test

bad1 if data.other.f(1) # expect: rego_type_error 4:9

bad2 := g(1) # expect: rego_type_error 6:9
