# Roles of a user, grants of a role: the allowed case is found last of all.
package rbac.authz

import rego.v1

default allow := false

allow if {
	some role in data.members[input.user]
	some grant in data.grants[role]
	grant.action == input.action
	grant.type == input.type
}
