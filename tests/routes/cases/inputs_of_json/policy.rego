package t

answer := {"all": input, "types": [type_name(x) | some x in input], "has": [x | x := input[_]; is_number(x); x > 1e300]}
