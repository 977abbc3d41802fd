package test

r if { input.a == 1 } s := w if { true } # expect: rego_unsafe_var_error 3:28

