package t

answer contains x if {
	some x in input
	startswith(x, "a")
}
