package t

import data.lib

base := lib.limit + 1

default open := false

open if lib.allowed[input.user]

answer := {
	"rule": [x | x := base with data.lib.limit as 10],
	"set": [x | x := open with data.lib.allowed as {"zoe"} with input.user as "zoe"],
	"package": [x | x := data.lib with data.lib as {"only": 1}],
	"inner": [x | x := data.lib.extra with data.lib.extra.a as [1]],
	"in every": [n | some n in [1, 2, 3]; every m in [1, 2] { lib.double(m) <= n * 2 with data.lib.factor as 1 }],
	"negated": [u | some u in ["ann", "bob"]; not open with input.user as u],
	"builtin that changes": [x | x := time.now_ns() with time.now_ns as 7],
	"count": [c | c := count(lib.allowed) with data.users as ["a", "b", "c"]],
	"after": [base, open],
}
