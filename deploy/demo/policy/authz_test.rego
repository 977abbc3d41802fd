package tenant.authz_test

import rego.v1

import data.tenant.authz

roles := {"editor": ["read:document", "write:document"], "guest": []}

ask(user, action, resource) := answer if {
	answer := authz.decision with input as {"user": user, "action": action, "resource": resource}
		with data.roles as roles
}

test_role_permits if {
	ask({"id": "u1", "role": "editor", "tenant_id": authz.tenant_id}, "write", {"type": "document"}).allow
}

test_role_does_not_permit if {
	not ask({"id": "u1", "role": "editor", "tenant_id": authz.tenant_id}, "delete", {"type": "document"}).allow
}

test_owner_reads if {
	ask({"id": "u1", "role": "guest", "tenant_id": authz.tenant_id}, "read", {"type": "document", "owner": "u1"}).allow
}

test_owner_does_not_write if {
	not ask({"id": "u1", "role": "guest", "tenant_id": authz.tenant_id}, "write", {"type": "document", "owner": "u1"}).allow
}

test_other_tenant if {
	answer := ask({"id": "u1", "role": "editor", "tenant_id": "somebody-else"}, "read", {"type": "document"})
	not answer.allow
	answer.reason == "the user is of another tenant"
}
