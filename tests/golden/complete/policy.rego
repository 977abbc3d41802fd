package t

allow if {
	input.user == "ann"
	input.level > 2
}
