package t

answer contains user.name if {
	some user in data.users
	user.age >= input.age
}

answer contains name if some name in input.guests

answer contains [1, {"k": {2, 1}}]
