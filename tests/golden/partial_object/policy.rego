package t

by_id[x.id] := x.name if some x in input.people
