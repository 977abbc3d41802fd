# flags: --v0-compatible --strict
# --strict forbids them in v0 modules too.
package test

p { any([true]) } # expect: rego_type_error 5:5
