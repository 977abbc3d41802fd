package t

answer := {"n": 1} if input.a

answer := {"n": 1.0} if input.b
