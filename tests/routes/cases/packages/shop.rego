package site.shop

default open := false

open if input.hour in numbers.range(8, 17)
