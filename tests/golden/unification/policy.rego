package t

pair := [x, y] if [x, {"k": y}] = input.value
