package t

pick([_, y, _], "mid") := y

match([]) := "empty"

match([_]) := "one"

match([_, _]) := "two"

match({"k": {"v": v}}) := v

match("text") := "literal"

match(1.0) := "number"

match(null) := "null"

answer := {"mid": pick(["a", "b", "c"], "mid"), "matches": [m | some x in input; m := match(x)]}
