package test

import data.a.name
import data.b.name # expect: rego_compile_error 4:1
import data.c as name # expect: rego_compile_error 5:1
import input.d as other
import data.other # expect: rego_compile_error 7:1

p if {
	name
	other
}
