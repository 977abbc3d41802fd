package t

f(x) := "a" if {
	x > 10
} else := "b" if {
	x > 5
}

f(x) := "c" if x < 8

answer := [f(n) | some n in input]
