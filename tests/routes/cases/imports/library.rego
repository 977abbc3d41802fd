package lib.text

import data.config.limits
import input.request

default greeting := "hello"

greeting := sprintf("hello %s", [request.user.name])

slug(s) := lower(replace(s, " ", "-"))

calls contains plan if some plan, _ in limits
