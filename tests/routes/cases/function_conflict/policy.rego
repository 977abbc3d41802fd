package t

f(x) := 1 if x > 0

f(x) := 2 if x > 10

answer := [f(n) | some n in input]
