# opa-rows-differ
# Composite keys in refs.
package test

s := {[1, "a"], [2, "b"]}

fine1 if s[[1, x]]

bad1 if s[["a", 1]] # expect: rego_type_error 9:9

o := {"a": 1}

bad2 if o[["x"]] # expect: rego_type_error 13:9

bad3 if o[{"k": 1}] # expect: rego_type_error 15:9
