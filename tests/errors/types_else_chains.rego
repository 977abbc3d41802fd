# Each else adds its type.
package test

p := 1 if {
	input.a
} else := "s" if {
	input.b
} else := null

fine1 if p = 1

fine2 if p = "s"

fine3 if p = null

bad1 if p = true # expect: rego_type_error 16:9

bad2 if p = [1] # expect: rego_type_error 18:9

bad3 := 1 if {
	input.a
} else := 2 if {
	x := 1
	x = "s" # expect: rego_type_error 24:2
}
