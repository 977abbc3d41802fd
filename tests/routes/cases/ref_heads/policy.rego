package t

answer.fixed.a := 1

answer.fixed.b := 2

answer.by[user].roles contains role if some user, role in data.roles

answer.sizes[user].n := count(user) if some user, _ in data.roles

answer.grid[x][y] := x * y if {
	some x in [1, 2]
	some y in [3, 4]
	x + y != 6
}

answer["with space"]["é"] := input.v
