# flags: --v0-compatible
# Without --strict v0 modules may use them.
package test

p { any([true]) }
