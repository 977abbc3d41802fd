package test

# Functions may be replaced by functions, and called with a value for their result.
f(x) := x + 1

g(x) := 7 if x

h if f(1) == 7 with data.test.f as g

i if count([1, 2]) == 7 with count as g

j if {
	f(1, x)
	x == 2
}

k if time.now_ns() == 3 with time.now_ns as 3
