package t

answer.by_path[path] := value if {
	walk(data.tree, [p, value])
	not is_object(value)
	not is_array(value)
	path := concat("/", [sprintf("%v", [x]) | some x in p])
}

answer.keys contains k if data.tree[_][k]

answer.deep contains v if v := data.tree.nodes[_].tags[_][_]
