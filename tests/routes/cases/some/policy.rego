package t

pairs contains [i, j] if {
	some i, j
	input.items[i] == input.items[j]
	i < j
}

found := i if {
	some i
	input.items[i] == "c"
}

named contains x if {
	some {"name": x, "on": true} in input.objects
}

answer := {"pairs": pairs, "found": found, "named": named}
