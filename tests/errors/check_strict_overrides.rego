# flags: --v0-compatible --strict
package test

import data.a.x # expect: rego_compile_error 4:1
import data.b.x # expect: rego_compile_error 5:1

input = 1 { true } # expect: rego_compile_error 7:1

p { data := 1; data == 1 } # expect: rego_compile_error 9:5

q { input := 2; input } # expect: rego_compile_error 11:5
