package t

answer := {
	"input": input,
	"count": [count("日本語"), count("🙂"), count("e\u0301")],
	"upper": [upper("straße é"), lower("ÀÉ")],
	"substring": substring("日本語テスト", 1, 3),
	"index": [indexof("aéb", "b"), indexof_n("éaéa", "é")],
	"split": split("a→b→c", "→"),
	"trim": trim("«x»", "«»"),
	"reverse": strings.reverse("añ🙂"),
	"format": sprintf("%-6s|%5s|%q", ["é", "日本", "\u00a0ü"]),
	"order": sort(["é", "z", "Z", "e", "日", "🙂", "\uffff", ""]),
	"match": regex.find_n(`\p{L}+`, "año 日本 x1", -1),
	"escapes": "\u0000\u001f\b\f\n\r\t\"\\\u007f\u2028\ud83d\ude00<&>",
}
