package t

import data.config as cfg
import data.lib.text
import data.lib.text.greeting
import input.request.user

answer := {
	"greeting": greeting,
	"slug": text.slug(user.name),
	"limit": cfg.limits[user.plan],
	"calls": text.calls,
}
