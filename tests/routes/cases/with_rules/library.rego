package lib

limit := 1

factor := 2

double(n) := n * factor

allowed contains u if some u in data.users
