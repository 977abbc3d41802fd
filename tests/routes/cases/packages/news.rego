package site.news

items contains n if some n in numbers.range(1, input.hour - 6)
