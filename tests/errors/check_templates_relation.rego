# opa-rows-differ
package test

r := $"{walk(input)}" # expect: rego_compile_error 4:9
