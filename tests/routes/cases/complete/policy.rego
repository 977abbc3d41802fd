package t

limits := {"free": 10, "team": 100}

limit := limits[input.plan]

over if input.used > limit

answer := {"limit": limit, "left": limit - input.used, "over": object.get({"x": over}, "x", null)} if over

answer := {"limit": limit, "left": limit - input.used} if not over
