# Deprecated builtins are errors in Rego v1.
package test

p if any([true]) # expect: rego_type_error 4:6

q if all([true]) # expect: rego_type_error 6:6

r := [x | x := cast_array({1})] # expect: rego_type_error 8:16

s if re_match("a", "b") # expect: rego_type_error 10:6

t := set_diff({1}, {2}) # expect: rego_type_error 12:6
