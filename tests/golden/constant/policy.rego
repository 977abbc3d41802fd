package t

answer := {"n": 42, "list": [1, "two", null]}
