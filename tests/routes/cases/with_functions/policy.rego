package t

size(x) := count(x) + 1

shout(s) := concat("", [upper(s), "!"])

fake(_) := 41

mock_upper(s) := sprintf("<%s>", [s])

answer := {
	"value": [n | n := size([1]) with count as 5],
	"function": [n | n := size([1]) with count as fake],
	"user": [s | s := shout("a") with upper as mock_upper],
	"own": [[s, shout("b")] | s := shout("b") with shout as mock_upper],
	"both": [s | s := [size([1]), shout("c")] with count as 0 with upper as "U"],
	"nested": [s | s := shout(lower("D")) with lower as "low"],
	"after": size([1, 2]),
}
