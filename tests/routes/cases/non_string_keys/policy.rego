package t

answer := {
	"object": {true: 1, null: 2, [1, "a"]: 3, {"k": 1}: 4, 1.5: 5, {1, 2}: 6},
	"lookup": [x | x := {[1, 2]: "pair"}[[input.one, 2]]],
	"keys": object.keys({1: 2, "1": 3}),
	"set": {{1, 2}, {2, 1}, [2, 1], {"a": {1}}},
	"computed": {k: v | some v, k in [[1], {2}, "s", null]},
}
