package t

answer := {"whole": data.site, "one": data.site.shop.open, "names": {name | some name, _ in data.site}}
