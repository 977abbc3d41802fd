package a

b := 1 # expect: rego_type_error 3:1

b.c := 2
