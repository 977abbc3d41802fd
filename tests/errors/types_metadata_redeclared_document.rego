# METADATA
# scope: package
# title: one
package test

# METADATA
# scope: document
# title: a
p := 1 if input.x

# METADATA
# scope: document
# title: b
p := 2 if input.y

# METADATA
# scope: rule
# title: fine
p := 3 if input.z

# expect: rego_type_error 11:1
