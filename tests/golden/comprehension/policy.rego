package t

big := [x | some x in input.list; x > 1]

index := {x: y | some y, x in input.list}
