# METADATA
# title: fine
package test

# METADATA
# scope: nowhere
p := 1

# METADATA
# scope: package
q := 1

# METADATA
# entrypoint: true
# scope: rule
r := 1

# expect: rego_parse_error 5:1
# expect: rego_parse_error 9:1
# expect: rego_parse_error 13:1
