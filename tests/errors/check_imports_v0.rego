# flags: --v0-compatible
package test

# Modules before Rego v1 may repeat an import's name.
import data.a.name
import data.b.name

p { name }
