package t

double(x) := x * 2

result := double(input.n) + double(1)
