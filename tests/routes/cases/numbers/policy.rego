package t

answer := {
	"input": input,
	"sum": input.big + 1,
	"product": 9007199254740993 * 9007199254740993,
	"tenths": 0.1 + 0.2,
	"thirds": 1 / 3,
	"division": [7 / 2, 6 / 2, -7 / 2, 1 / 8],
	"modulo": [7 % 3, -7 % 3, 7 % -3],
	"equal": [1 == 1.0, 1e2 == 100, input.big == 123456789012345678901234567890, 0.1 + 0.2 == 0.3],
	"order": sort([1e2, 99, 100.5, -0.5, 123456789012345678901234567890, 0]),
	"rounding": [round(2.5), round(-2.5), ceil(1.1), floor(-1.1), abs(-3)],
	"texts": [format_int(255, 16), sprintf("%d %.2f %v", [12, 1.005, 1e21]), to_number("1e3"), to_number("-0.50")],
	"sums": [sum([0.1, 0.2, 0.3]), product([3, 0.5]), max([2, 10, 9]), sum([])],
	"bits": [bits.and(12, 10), bits.lsh(1, 70), bits.negate(0)],
	"keys": {1: "a", 1.5: "b", 10000000000000000000000: "c"},
}
