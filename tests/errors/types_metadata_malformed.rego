# METADATA
# title: [unclosed
package test

# expect: rego_parse_error 2:1
