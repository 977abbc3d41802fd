package t

answer := [q | some n in input; q := 1 / n]
