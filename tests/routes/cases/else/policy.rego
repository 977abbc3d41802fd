package t

grade(n) := "a" if {
	n >= 90
} else := "b" if {
	n >= 80
} else := upper(sprintf("c%d", [n])) if {
	n >= 0
	n != 13
} else := null if n == 13

default verdict := "none"

verdict := "deny" if {
	input.blocked
} else := "allow" if {
	input.user in input.users
}

answer := {"grades": [g | some n in [95, 90, 85, 13, 12, -1]; g := grade(n)], "verdict": verdict}
