# Numbers of arguments; these come before types.
package test

f(x, y) := x + y

bad1 if f(1) # expect: rego_type_error 6:9

bad2 if f(1, 2, 3, 4) # expect: rego_type_error 8:9

bad3 if count() # expect: rego_type_error 10:9

bad4 if count([1], 2, 3) # expect: rego_type_error 12:9

bad5 if nothing(1) # expect: rego_type_error 14:9

bad6 if data.test.none(1) # expect: rego_type_error 16:9
