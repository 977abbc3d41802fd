package t

answer := [upper(input), input[0], count(input)] if input != ""

answer := sprintf("<%s|%v>", [input, input]) if not input[0]
