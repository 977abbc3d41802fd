package a.b

c := 1

default d := 1

d := 2 if input.x
