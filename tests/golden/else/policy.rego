package t

grade := "high" if {
	input.score > 8
} else := "middle" if {
	input.score > 4
} else := "low"
