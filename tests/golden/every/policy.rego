package t

fine if {
	every x in input.list {
		x > 0
	}
}
