package t

default allow = false

allow {
	input.user == users[_]
}

users = ["ann", "bob"]

denied[msg] {
	not allow
	msg := sprintf("%v is unknown", [input.user])
}

by_length[n] = names {
	n := count(users[_])
	names := [u | u := users[_]; count(u) == n]
}

sum(a, b) = c {
	c := a + b
}

answer = {"allow": allow, "denied": denied, "by_length": by_length, "sum": sum(1, 2)}
