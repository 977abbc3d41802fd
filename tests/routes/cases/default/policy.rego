package t

default allow := false

allow if input.user == "root"

default level := {"n": 0, "tags": []}

level := {"n": 5, "tags": ["x"]} if input.user == "ann"

answer := {"allow": allow, "level": level, "again": allow == false}
