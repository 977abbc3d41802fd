# What a block says is a constant, so its type is known.
package test

# METADATA
# description: without a title
p := rego.metadata.rule().title # expect: rego_type_error 6:6

q := rego.metadata.rule().title # expect: rego_type_error 8:6

r if {
	x := rego.metadata.chain()[0].path
	x = 7 # expect: rego_type_error 12:2
}
