# The template of the demo: roles give permissions, owners may read what is theirs. {{TENANT_ID}} is put in at compile
# time, inside a string literal, so a tenant's name can never become program text.
package tenant.authz

import rego.v1

tenant_id := "{{TENANT_ID}}"

default allow := false

# What the user's role permits, from this tenant's data.
permissions contains permission if {
	some permission in data.roles[input.user.role]
}

same_tenant if input.user.tenant_id == tenant_id

# A role grants "action:type".
allow if {
	same_tenant
	sprintf("%s:%s", [input.action, input.resource.type]) in permissions
}

# The owner of a resource may read it, whatever the role.
allow if {
	same_tenant
	input.action == "read"
	input.resource.owner == input.user.id
}

reasons contains "the role permits it" if {
	same_tenant
	sprintf("%s:%s", [input.action, input.resource.type]) in permissions
}

reasons contains "the user owns it" if {
	same_tenant
	input.action == "read"
	input.resource.owner == input.user.id
}

reasons contains "the user is of another tenant" if not same_tenant

reasons contains "no role or ownership permits it" if {
	same_tenant
	not allow
}

# For audit, beside the boolean.
decision := {
	"allow": allow,
	"tenant_id": tenant_id,
	"user_id": object.get(input.user, "id", null),
	"role": object.get(input.user, "role", null),
	"action": input.action,
	"resource": input.resource.type,
	"reason": concat("; ", sort(reasons)),
}

# The same question as Envoy asks it: method, path and headers of the request, the tenant from the route.
action := {"GET": "read", "PUT": "write", "POST": "write", "DELETE": "delete"}[input.attributes.request.http.method]

envoy := {
	"allowed": answer.allow,
	"headers": {"x-authz-reason": answer.reason},
	"http_status": 403,
	"body": answer.reason,
} if {
	headers := input.attributes.request.http.headers
	answer := decision with input as {
		"user": {"id": headers["x-user"], "role": headers["x-role"], "tenant_id": headers["x-tenant-id"]},
		"action": action,
		"resource": {"type": input.parsed_path[0], "id": input.parsed_path[1], "owner": object.get(headers, "x-owner", "")},
	}
}
