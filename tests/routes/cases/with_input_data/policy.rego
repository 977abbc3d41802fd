package t

allow if {
	input.user in data.admins
	not data.frozen
}

doubled := input.n * 2

reads := [input, object.get(data.more, "extra", "none")]

answer := {
	"plain": [true | allow],
	"undefined": [x | x := allow],
	"user": [true | allow with input.user as "root"],
	"data": [true | allow with data.admins as ["ann"]],
	"both": [true | allow with input as {"user": "z"} with data.admins as {"z"}],
	"frozen": [true | allow with data.frozen as true with input.user as "root"],
	"deep": [d | some n in [1, 2.5]; d := doubled with input as {"n": n}],
	"whole": [r | r := reads with input as [1] with data.more.extra as {"e": null}],
	"after": doubled,
}
