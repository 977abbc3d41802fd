# flags: --v0-compatible
package test

q { every; true } # expect: rego_unsafe_var_error 4:5

r { x := contains } # expect: rego_unsafe_var_error 6:5
