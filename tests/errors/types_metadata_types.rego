# METADATA
# entrypoint: maybe
package test

# METADATA
# organizations: acme
p := 1

# METADATA
# authors:
# - name: ""
q := 1

# METADATA
# related_resources:
# - description: no ref
r := 1

# METADATA
# custom: 7
s := 1

# METADATA
# schemas:
# - input: 7
t := 1

# expect: rego_parse_error 2:1
# expect: rego_parse_error 6:1
# expect: rego_parse_error 9:1
# expect: rego_parse_error 14:1
# expect: rego_parse_error 20:1
# expect: rego_parse_error 23:1
