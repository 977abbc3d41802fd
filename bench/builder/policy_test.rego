package tenant.authz_test

import data.tenant.authz

roles := {"editor": {"grants": ["edit:page", "view:page"]}}

editor := {"id": "ann", "role": "editor", "tenant_id": "{{TENANT}}"}

test_editors_edit if {
	authz.allow with input as {"user": editor, "action": "edit", "resource": {"type": "page"}}
		with data.roles as roles
}

test_editors_remove_nothing if {
	not authz.allow with input as {"user": editor, "action": "remove", "resource": {"type": "page"}}
		with data.roles as roles
}

test_others_do_nothing if {
	stranger := object.union(editor, {"tenant_id": "another"})
	not authz.allow with input as {"user": stranger, "action": "edit", "resource": {"type": "page"}}
		with data.roles as roles
}
