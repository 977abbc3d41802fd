package t

default answer := "other"

answer := {"n": input, "next": input + 1} if is_number(input)

answer := concat("-", [input, "s"]) if is_string(input)
