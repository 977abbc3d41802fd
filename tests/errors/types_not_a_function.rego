# A document that is no function.
package test

n := 1

bad1 if n(1) # expect: rego_type_error 6:9
