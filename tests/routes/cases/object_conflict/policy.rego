package t

answer[user] := role if some [user, role] in input
