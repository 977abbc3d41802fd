package t

answer := {"a": input.a, "b": input.b}
