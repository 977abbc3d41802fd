# What the demo's fourth tenant serves: a policy that would compute for minutes. The node stops it at its deadline.
package tenant.authz

default allow := false

allow if {
	some i in numbers.range(1, 100000)
	some j in numbers.range(1, 100000)
	i * j < 0
}

decision := {"allow": allow, "reason": "never reached"}

envoy := {"allowed": allow}
