# METADATA
# scope: document
# title: one

# METADATA
# scope: subpackages
# title: wrong place
package test

# METADATA
# scope: document
# title: a
p := 1 if input.x

# METADATA
# scope: document
# title: b
p := 2 if input.y

# expect: rego_parse_error 1:1
