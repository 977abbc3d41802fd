package t

answer := {"input": input, "type": type_name(input)}
