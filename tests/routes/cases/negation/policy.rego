package t

answer contains "undefined" if not input.missing

answer contains "false" if not input.no

answer contains "null is a value" if not input.null

answer contains "deep" if not input.a.b.c

answer contains "no match" if not "z" in input.list

answer contains "double" if {
	x := [1 | not input.no]
	not count(x) == 0
}

answer contains name if {
	some name in input.list
	not banned[name]
}

banned contains name if {
	some name in input.list
	not startswith(name, "a")
}
