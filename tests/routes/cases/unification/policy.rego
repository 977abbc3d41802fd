package t

answer contains {"pair": [x, y]} if [x, {"k": y}] = [1, {"k": input.k}]

answer contains {"swap": [a, b]} if {
	[a, 2, [b]] = [input.list[0], c, [input.list[1]]]
	c = 2
}

answer contains {"match": [n, rest]} if {
	{"type": "ok", "n": n, "rest": rest} = input.events[_]
	rest != 1
}

answer contains {"same": i} if {
	some i
	pair = input.pairs[i]
	[pair[0], x] = [x, pair[1]]
}

answer contains "never" if [1, 2] = input.three

answer contains {"const": v} if {
	v = input.events[0].n
	v = 4
}
