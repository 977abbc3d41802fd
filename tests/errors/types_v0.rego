# opa-rows-differ
# flags: --v0-compatible
# The same in v0 syntax.
package test

p[x] { x := 1 }

q { p["s"] } # expect: rego_type_error 8:5

r { x := {"a": 1}; x.b } # expect: rego_type_error 10:20

s = 1 { input.x }

t { s = "a" } # expect: rego_type_error 14:5

any_builtin { any([1]) }
