# opa-rows-differ
# Below data the first two names are strings.
package test

p := 1

fine1 if data.test.p

fine2 if data.other.q

fine3 if data.other[x] = 1

bad1 if data[1].x # expect: rego_type_error 13:9

bad2 if data.test[1] # expect: rego_type_error 15:9

fine4 if {
	k := "test"
	data[k].p
}

bad3 if {
	k := 7
	data[k] # expect: rego_type_error 24:2
}
