package t

answer := {
	"array": "b" in ["a", "b"],
	"set": 3 in {1, 2},
	"object value": 1 in {"a": 1},
	"key and value": ["a", 1] == [k | some k, 1 in {"a": 1, "b": 2}] == false,
	"pair": ("a", 1 in {"a": 1}),
	"index": (1, "b" in ["a", "b"]),
	"nested": [1] in [[1], 2],
	"number": 1.0 in [1],
	"string is no collection": object.get({"r": r}, "r", "undefined"),
}

r := "a" in input.word
