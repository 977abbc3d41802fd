package t

answer.roles[user] contains role if {
	some binding in data.bindings
	some user in binding.users
	some role in binding.roles
}

answer.first[user][kind] := name if {
	some user, kinds in input.people
	some kind, names in kinds
	name := names[0]
}

answer.flag if input.people

answer.nested.deep.total := sum([n | some _, kinds in input.people; some names in kinds; n := count(names)])

default answer.fallback := "none"

answer.fallback := "some" if input.nothing
