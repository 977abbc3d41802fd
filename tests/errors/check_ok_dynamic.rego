package test

# Constants that a variable can hold keep a dynamic ref from depending on everything.
p if {
	some name in ["other", "third"]
	data.test[name]
}

q if {
	name := "other"
	data.test[name] == 1
}

r if {
	names := {"a": "other", "b": "third"}
	data.test[names.a] == 1
}

other := 1

third := 2
