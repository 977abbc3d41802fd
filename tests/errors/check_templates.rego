package test

p := $"{x}"

q if {
	$"{input.a} {y.z}" == "1 2" # expect: rego_compile_error 6:15
}
