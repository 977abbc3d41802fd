package t

answer[id] := roles if {
	some id, user in data.users
	roles := {role | some role in user.roles; not role in input.revoked}
}

answer.count := count(data.users)
