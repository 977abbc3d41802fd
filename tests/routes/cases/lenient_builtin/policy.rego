package t

answer := {
	"list": [x | some s in input.texts; x := to_number(s)],
	"not": [s | some s in input.texts; not to_number(s)],
	"default": value,
	"json": [json.is_valid(s) | some s in input.texts],
}

default value := "none"

value := json.unmarshal(input.broken)
