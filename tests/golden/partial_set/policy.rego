package t

names contains x.name if some x in input.people
