# A tenant's role-based policy: what a role may do comes from data, an administrator may do all.
package tenant.authz

import rego.v1

tenant := "{{TENANT}}"

default allow := false

granted contains grant if {
	some grant in data.roles[input.user.role].grants
}

allow if {
	input.user.tenant_id == tenant
	wanted := sprintf("%s:%s", [input.action, input.resource.type])
	wanted in granted
}

allow if {
	input.user.tenant_id == tenant
	input.user.role == "administrator"
}

decision := {
	"allow": allow,
	"tenant": tenant,
	"user": input.user.id,
	"role": input.user.role,
	"action": input.action,
	"resource": input.resource.type,
}
