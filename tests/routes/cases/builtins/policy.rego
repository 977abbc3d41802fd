package t

answer := {
	"glob": glob.match("*.example.com", ["."], input.host),
	"regex": regex.replace("a1b22", `[0-9]+`, "#"),
	"json": json.unmarshal(json.marshal({"b": [1, {2, 1}], "a": null})),
	"base64": base64.decode(base64.encode(input.host)),
	"hash": crypto.sha256("x"),
	"cidr": net.cidr_contains("10.0.0.0/8", "10.1.2.3"),
	"time": [time.parse_rfc3339_ns("2024-02-29T12:00:00Z"), time.weekday(0)],
	"patch": json.patch({"a": 1}, [{"op": "add", "path": "/b", "value": {"c": []}}]),
	"set": [{1, 2} | {3}, {1, 2} & {2}, {1, 2} - {2}],
	"reach": graph.reachable({"a": ["b"], "b": ["c"], "c": []}, ["a"]),
	"semver": semver.compare("1.10.0", "1.9.9"),
	"units": [units.parse_bytes("1.5KiB"), units.parse("10m")],
	"union": object.union({"a": {"x": 1}}, {"a": {"y": 2}}),
	"urlquery": urlquery.encode_object({"a": "b c", "d": ["1", "2"]}),
}
