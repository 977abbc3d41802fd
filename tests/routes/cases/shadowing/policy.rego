package t

x := "rule"

f(x) := [x, y] if y := count(x)

answer := {
	"outer": x,
	"argument": f("abc"),
	"comprehension": [x | some x in [1, 2]],
	"nested": [[x, z] | some x in [1, 2]; z := [x | some x in ["a"]]],
	"every": every_shadows,
	"rows": [[i, j] | some i, row in input.rows; some j, _ in row],
	"input name": [input_ | some input_ in input.rows[0]],
}

every_shadows if {
	some x in [[1, 2], [3]]
	every x in x { x > 2 }
}
