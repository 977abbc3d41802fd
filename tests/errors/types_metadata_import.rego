package test

# METADATA
# title: on an import
import data.x

p := x

# METADATA
# title: at the end

# expect: rego_parse_error 3:1
# expect: rego_parse_error 9:1
