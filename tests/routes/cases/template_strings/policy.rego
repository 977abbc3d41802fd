package t

who := input.who

answer := {
	"plain": $"hello {who}",
	"values": $"{1} {1.5} {true} {null} {"s"} {[1, "a"]} {{"k": [2]}}",
	"undefined": $"<{input.missing}>",
	"escape": $"\{x} \t\"é\" {upper(who)}",
	"raw": $`line \n {who}`,
	"nested": $"{$"in {who}"} out",
	"call": $"{count(input.list)} of {input.list}",
	"empty": $"",
}
