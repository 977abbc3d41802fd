package t

answer := {name: id | some id, name in input}
