package t

long := concat("", [x | some _ in numbers.range(1, 300); x := "0123456789é"])

answer := {
	"length": count(long),
	"hash": crypto.md5(long),
	"middle": substring(long, 1500, 12),
	"range": sum(numbers.range(1, 2000)),
	"set": count({x | some n in numbers.range(1, 3000); x := n % 700}),
	"object": object.get({k: n | some n in numbers.range(1, 500); k := sprintf("key%d", [n])}, "key321", "none"),
	"found": count([n | some n in input.ids; n in {x | some x in numbers.range(1, 100)}]),
	"sorted": array.slice(sort([x | some n in numbers.range(1, 200); x := (n * 7919) % 1009]), 10, 14),
	"deep": walked,
}

walked := count([1 | walk(input, _)])
