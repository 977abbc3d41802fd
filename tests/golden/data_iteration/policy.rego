package t

allow if {
	some grant in data.grants[input.role]
	grant.action == input.action
}
