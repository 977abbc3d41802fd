package t

default allow := false

allow if input.user == "ann"
