package t

text := sprintf("%s has %d", [upper(input.name), count(input.list)])
