package t

answer := {"keys": {1: "a", 1.0: "b", {2.0}: 1, {2}: 1}, "set": {1.0, 1, [1], [1.0]}, "computed": {input.n: 1, 1: 2}}
