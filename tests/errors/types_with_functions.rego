# Functions are replaced by functions of the same arguments, or by values.
package test

f(x) := x + 1

mock(x) := 7

mock2(x, y) := x + y

fine1 if f(1) = 7 with f as mock

bad1 if f(1) = 7 with f as mock2 # expect: rego_type_error 12:18

bad2 if count([1]) = 7 with count as mock2 # expect: rego_type_error 14:24

fine2 if count([1]) = 7 with count as 7

fine3 if count([1]) = 7 with count as mock
