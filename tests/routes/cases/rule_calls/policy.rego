package t

graph := {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": [], "e": ["a"]}

answer := {
	"from": data.t.reach["a"],
	"paths": graph_paths,
	"indexed": [level | some name in ["low", "mid", "high", "none"]; level := levels(name)],
}

reach[node] := graph_reachable if {
	some node, _ in graph
	graph_reachable := {n | some n in [m | some m in graph[node]]}
}

graph_paths contains [x, y, z] if {
	some x, ys in graph
	some y in ys
	some z in graph[y]
}

levels("low") := 1

levels("mid") := 2

levels("high") := 3
