package test

# METADATA
s := 1

# expect: rego_parse_error 3:1
