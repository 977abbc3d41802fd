package t

answer := {
	"array": [y | some x in input.n; x > 1; y := x * 2],
	"set": {y | some x in input.n; y := x % 3},
	"object": {k: v | some k, v in input.o; v != null},
	"groups": {g: names | some g in {p.team | some p in input.people}; names := [p.name | some p in input.people; p.team == g]},
	"outer": [[x, y] | some x in input.n; ys := [z | some z in input.n; z < x]; some y in ys],
	"empty": [x | some x in input.missing],
	"sorted": [k | some k in {3, "a", null, [1], {"b": 1}, {2}, true, 1.5}],
}
