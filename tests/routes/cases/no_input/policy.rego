package t

answer := {"input": object.get({"i": input}, "i", "none"), "seen": [1 | input]}

answer := "undefined" if not input
