package t

answer := {
	"package": {name: v | some name in ["one", "two", "none"]; v := data.pkgs[name].value},
	"all": {[name, v] | v := data.pkgs[name].value},
	"functionless": {k | data.pkgs.two[k]},
	"base and virtual": data.pkgs[input.name].base,
	"rule": [v | some rule in ["value", "base", "no"]; v := data.pkgs.two[rule]],
	"deep": {[i, k] | some i, k; input.tree[i][k].on},
	"missing": [x | x := input.tree[7][8]],
	"by value": [x | x := {[1]: "a", {2}: "b"}[[1]]],
	"string index": [x | x := input.name[0]],
	"set ref": [x | x := {"a", "b"}[input.letters[_]]],
}
