# flags: --v0-compatible
# import rego.v1 makes a v0 module a v1 one.
package test

import rego.v1

p if any([true]) # expect: rego_type_error 7:6
