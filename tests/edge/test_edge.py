#!/usr/bin/env python3
"""`regent edge` as its clients see it: REST beside a real OPA, ext_authz by hand-written messages, hot swaps, hostile tenants.

in: BUILD, OPA. out: TAP. owns: the servers it starts."""
import json
import os
import shutil
import threading
import time

from edge_lib import BUILD, OPA, TMP, Check, Edge, build, check, check_request, encode, equal, finish, free_port, grpc_call
from edge_lib import http, parse_reply, raw, start, stop, string_map, wait_for

POLICY = """package t
import rego.v1
allow if input.x == 1
echo := input
n := 5
obj := {"a": {"b": 1, "": 2}, "s": "x"}
deny := false
conflict := 1 if input.a
conflict := 2 if input.b
lt := "<&>"
"""
ENTRYPOINTS = ["t/" + e for e in ("allow", "echo", "n", "obj", "deny", "conflict", "lt")]

BODIES = ['{"input":{"x":1}}', '{"input":{"x":2}}', "", "  ", "{}", "null", '{"input":null}', '{"metadata":1}', '{"input":{}} garbage',
          "{", '{"input"', '{"input":', '{"input":}', '{"input":1', '{"input":1 "x"}', '{"input":[1,]}', '{"input":{"a":]}}',
          "[]", "1", '"x"', "true", "nope", '{"INPUT":7}', '{"input":1,"input":2}', '{"input":[,"input":2}', '{"x":01}',
          '{"input":01}', '{"input":"\\x"}', '{"input":"a\nb"}', '{"input":tru}', '{"input":1e}', '{"input":-}', "{input:1}",
          '{"input":1,}', '{"in\\u0070ut":3}', '{"input":"\\ud800"}', b'{"input":"\xff"}', '{"input":{"a":1,"a":2}}',
          '{"input":<}', '{"input":é}', '{"input":\x01}', '{"input":\x7f}', b'{"input":\xa0}', '{"input":\'}', '{"input":{"a"}}',
          '{"input":[1 2]}', '{"input":"\\u12x4"}', '{"input":1.}', '{,}', '{"a":1 }', "[1", '{"input":1e5,"metadata":[1,}',
          '{"input":{"input":2}}', '\ufeff{}', '{"input":"<&>\\u2028\\u0001\\u007f\\b\\f/"}', '{"input":1.0}',
          ' \n{ "input" : [ 1 , {"x" : "\\u00e9\\/"} ] } \n', '{"input":' + "[" * 10001 + "]" * 10001 + "}",
          '{"input":[1.50,100000000000000000000,1e400,-0]}']


def rest_beside_opa(edge):
    port = free_port()
    with open(TMP + "/t.rego", "w") as f:
        f.write(POLICY)
    opa = start([OPA, "run", "--server", "-a", f"127.0.0.1:{port}", "-l", "error", TMP + "/t.rego"], TMP + "/opa.log")
    if not wait_for(lambda: http(port, "GET", "/health")[0] == 200, 20):
        check("opa starts", False)
        return
    for path in ("t/echo", "t/nope", "t/n"):
        for body in BODIES:
            equal(f"REST as OPA: {path} {body[:40]!r}", edge.post("t", path, body), http(port, "POST", "/v1/data/" + path, body))
    for path in ("t/allow", "t/deny", "t/lt", "t/obj", "t/obj/a", "t/obj/a/b", "nope", "t/ob%6a/s",
                 "t/obj?x=y", "t%2Fn"):
        equal(f"REST as OPA: path {path}", edge.post("t", path, '{"input":{"x":1}}'),
              http(port, "POST", "/v1/data/" + path, '{"input":{"x":1}}'))
    for method, path in (("HEAD", "/v1/data/t/n"), ("OPTIONS", "/v1/data/t/n"), ("GET", "/health"), ("POST", "/health"), ("GET", "/nope"),
                         ("POST", "/nope"), ("GET", "/v1")):
        equal(f"REST as OPA: {method} {path}", http(edge.rest, method, path), http(port, method, path))
    status, kind, body = edge.post("t", "t/conflict", '{"input":{"a":1,"b":1}}')
    want = http(port, "POST", "/v1/data/t/conflict", '{"input":{"a":1,"b":1}}')
    equal("REST: a conflict is an internal_error as OPA's", (status, kind, json.loads(body)["code"], b"eval_conflict_error" in body),
          (want[0], want[1], json.loads(want[2])["code"], True))
    stop(opa)


def rest_refusals(edge):
    equal("no tenant header", edge.post("", "t/n", "{}")[0], 400)
    equal("unknown tenant", edge.post("nobody", "t/n", "{}")[0], 404)
    check("unknown tenant is logged", edge.logged("denied", tenant_id="nobody", reason="unknown tenant"))
    equal("nothing below an entrypoint's value", [edge.post("t", "t/" + p, "{}")[2] for p in ("obj/nope", "n/x")],
          [b'{"warning":{"code":"api_usage_warning","message":"\'input\' key missing from the request"}}\n'] * 2)
    equal("a bad percent escape", edge.post("t", "a%zz", "{}"), (400, "text/plain; charset=utf-8", b"400 Bad Request"))
    equal("a folder of entrypoints is refused, not undefined", [http(edge.rest, "POST", p, "{}", {"x-tenant-id": "t"})[0] for p in
          ("/v1/data/t", "/v1/data")], [400, 400])


def post_bytes(body, *headers, path="t/echo"):
    lines = ["POST /v1/data/" + path + " HTTP/1.1", "Host: x", "x-tenant-id: t", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def one(n):
    body = b'{"input":%d}' % n
    return post_bytes(body, f"Content-Length: {len(body)}")


def replies(data):
    out = []
    while data:
        status, _, body, data = parse_reply(data)
        out.append((status, body))
    return out


def answer(n):
    return 200, b'{"result":%d}\n' % n


def http1_wire(edge):
    port = edge.rest
    equal("pipelined requests are answered in order", replies(raw(port, b"".join(one(i) for i in range(200)))), [answer(i) for i in range(200)])
    equal("keep-alive, one after the other", replies(raw(port, [one(1), one(2), one(3)])), [answer(i) for i in (1, 2, 3)])
    equal("one byte at a time", replies(raw(port, [bytes([b]) for b in one(7)])), [answer(7)])
    chunked = b'5;x=y\r\n{"inp\r\n1\r\nu\r\n6\r\nt":42}\r\n0\r\nT: x\r\n\r\n'
    equal("chunked body", replies(raw(port, post_bytes(chunked, "Transfer-Encoding: chunked") + one(1))), [answer(42), answer(1)])
    equal("chunked body in pieces", replies(raw(port, [post_bytes(b"", "Transfer-Encoding: chunked"), chunked[:9], chunked[9:24], chunked[24:]])),
          [answer(42)])
    got = raw(port, [post_bytes(b"", "Content-Length: 11", "Expect: 100-continue"), b'{"input":9}'])
    equal("Expect: 100-continue", (got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"), replies(got[25:])), (True, [answer(9)]))
    equal("Connection: close closes", replies(raw(port, post_bytes(b'{"input":1}', "Content-Length: 11", "Connection: close") + one(2),
                                                  half_close=False)), [answer(1)])
    bad = {
        "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
        "two lengths": (post_bytes(b"{}", "Content-Length: 2", "Content-Length: 3"), 400),
        "length and chunked": (post_bytes(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        "folded header": (post_bytes(b"", "A: b", " c"), 400),
        "blank before colon": (post_bytes(b"", "A : b"), 400),
        "other coding": (post_bytes(b"", "Transfer-Encoding: gzip"), 501),
        "bad chunk size": (post_bytes(b"zz\r\n", "Transfer-Encoding: chunked"), 400),
        "chunk without end": (post_bytes(b"1\r\nxy\r\n", "Transfer-Encoding: chunked"), 400),
        "bare return in size": (post_bytes(b"1\rx\nx\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), 400),
        "HTTP/2.0 in a line": (b"GET / HTTP/2.0\r\n\r\n", 505),
        "huge header": (post_bytes(b"", "A: " + "x" * 70000), 431),
        "many headers": (post_bytes(b"", *[f"a{i}: b" for i in range(200)]), 431),
        "huge line": (b"GET /" + b"x" * 70000, 414),
        "huge length": (post_bytes(b"", "Content-Length: 999999999"), 413),
        "huge body being sent": (post_bytes(b"x" * 3000000, "Content-Length: 30000000"), 413),
        "huge chunk": (post_bytes(b"fffffff\r\n", "Transfer-Encoding: chunked"), 413),
        "length overflow": (post_bytes(b"", "Content-Length: 18446744073709551617"), 400),
        "null in header": (post_bytes(b"", "A: b\0c"), 400),
    }
    for name, (data, status) in bad.items():
        equal("refused: " + name, [r[0] for r in replies(raw(port, data, half_close=False))], [status])
    equal("a request cut short gets no answer", raw(port, one(1)[:-3]), b"")
    check("HTTP/2 preface and garbage", raw(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200) is not None)
    equal("still serving", edge.post("t", "t/n", "{}")[0], 200)


def swaps(edge):
    """A tenant whose version changes while clients ask: each answer is one of the versions', and in order."""
    def version(n):
        build({"p.rego": f"package v\nimport rego.v1\nn := {n} if input.q == 1"}, ["v/n"], edge.bundle("swap"))
    version(0)
    check("a new tenant is picked up", edge.wait_log("bundle activated", tenant_id="swap"))
    equal("and answers", edge.post("swap", "v/n", '{"input":{"q":1}}')[2], b'{"result":0}\n')
    seen, bad, running = [], [], True

    def client():
        last = 0
        while running:
            status, _, body = edge.post("swap", "v/n", '{"input":{"q":1}}')
            n = json.loads(body).get("result", -1) if status == 200 else -1
            if n < last:
                bad.append((status, body, last))
            last = max(last, n)
            seen.append(n)
    threads = [threading.Thread(target=client) for _ in range(4)]
    for t in threads:
        t.start()
    for n in range(1, 6):
        version(n)
        edge.wait_log("bundle activated", n + 1, tenant_id="swap")
        time.sleep(0.1)
    running = False
    for t in threads:
        t.join()
    check(f"hot swap under load: {len(seen)} answers, none failed or went back", seen and not bad, bad[:5])
    equal("the last version answers", edge.post("swap", "v/n", '{"input":{"q":1}}')[2], b'{"result":5}\n')
    for name, data in (("no archive", b"not a bundle"), ("empty", b""), ("cut", open(edge.bundle("swap"), "rb").read()[:2000])):
        before = len(edge.logged("bundle refused", tenant_id="swap"))
        with open(edge.bundle("swap") + ".x", "wb") as f:
            f.write(data)
        os.rename(edge.bundle("swap") + ".x", edge.bundle("swap"))
        check(f"broken bundle ({name}) is refused with a reason", edge.wait_log("bundle refused", before + 1, tenant_id="swap") and
              edge.logged("bundle refused", tenant_id="swap")[-1]["reason"] and
              edge.logged("bundle refused", tenant_id="swap")[-1]["serving"] == "the version before")
        equal(f"broken bundle ({name}): the version before serves on", edge.post("swap", "v/n", '{"input":{"q":1}}')[2], b'{"result":5}\n')
    version(6)
    check("a good bundle after broken ones", edge.wait_log("bundle activated", 7, tenant_id="swap"))
    shutil.rmtree(os.path.dirname(edge.bundle("swap")))
    check("a removed tenant is gone", edge.wait_log("tenant removed", tenant_id="swap"))
    equal("and denied", edge.post("swap", "v/n", "{}")[0], 404)


HOSTILE = """package h
import rego.v1
spin if {
    some a in numbers.range(1, 3000)
    some b in numbers.range(1, 3000)
    a * b == -1
}
grow := count([x |
    some a in numbers.range(1, 3000)
    some b in numbers.range(1, 3000)
    x := concat("", ["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", input.long, input.long])
])
"""


def hostile(edge):
    build({"p.rego": HOSTILE}, ["h/spin", "h/grow"], edge.bundle("hostile"))
    edge.wait_log("bundle activated", tenant_id="hostile")
    wrong, running = [], True

    def neighbour():
        i = 0
        while running:
            i += 1
            got = edge.post("t", "t/echo", '{"input":%d}' % i)
            if got[2] != b'{"result":%d}\n' % i:
                wrong.append(got)
    threads = [threading.Thread(target=neighbour) for _ in range(2)]
    for t in threads:
        t.start()
    for name, word in (("spin", "deadline"), ("grow", None)):
        for _ in range(5):
            status, _, body = edge.post("hostile", "h/" + name, '{"input":{"long":"%s"}}' % ("x" * 9000))
            check(f"hostile tenant: {name} is stopped", status == 500 and json.loads(body)["code"] == "internal_error", (status, body))
        limits = {l["limit"] for l in edge.logged("denied", tenant_id="hostile", path="h/" + name)}
        check(f"hostile tenant: the log names the limit of {name}", limits and limits <= ({word} if word else {"deadline", "memory"}), limits)
    reply = Check(edge.grpc, check_request(context={"tenant_id": "hostile"}))
    equal("hostile tenant over ext_authz: denied, not an error", (reply.status, reply.code, reply.http_status), (0, 7, 403))
    running = False
    for t in threads:
        t.join()
    check("the neighbour's answers stayed right", not wrong, wrong[:3])


AUTHZ = """package envoy.authz
import rego.v1
default decision := {"allowed": false, "http_status": 401, "headers": {"x-why": ["a", "b"], "x-one": "c"}, "body": "no",
    "dynamic_metadata": {"n": 1.5, "list": [1, "x", null, true], "o": {"k": "v"}}}
decision := {"allowed": true, "headers": {"x-user": "alice"}, "response_headers_to_add": [{"x-r": "1"}, {"x-r": "2"}],
    "request_headers_to_remove": ["authorization"], "query_parameters_to_set": {"q": ["1", "2"], "r": "3"},
    "query_parameters_to_remove": ["z"], "dynamic_metadata": {"who": "alice"}} if input.parsed_path == ["allow"]
decision := true if input.parsed_path == ["bool"]
decision := false if input.parsed_path == ["boolno"]
decision := {"x": 1} if input.parsed_path == ["missing"]
decision := {"allowed": "yes"} if input.parsed_path == ["mistyped"]
decision := "yes" if input.parsed_path == ["string"]
decision := {"allowed": true, "headers": {"a": 1}} if input.parsed_path == ["badheader"]
decision := {"allowed": false, "http_status": 299} if input.parsed_path == ["badstatus"]
decision := {"allowed": false, "body": json.marshal(input)} if input.parsed_path[0] == "echo"
"""


def echo(edge, **more):
    """The input document that a policy saw."""
    reply = Check(edge.grpc, check_request(context={"tenant_id": "a"}, **more))
    return json.loads(reply.body) if reply.http_status == 403 else reply.__dict__


def ext_authz(edge):
    build({"p.rego": AUTHZ}, ["envoy/authz/decision"], edge.bundle("a"))
    build({"p.rego": "package b\nimport rego.v1\nallow if input.parsed_path == [\"b\"]"}, ["b/allow"], edge.bundle("b"))
    check("ext_authz tenants load", edge.wait_log("bundle activated", tenant_id="a") and edge.wait_log("bundle activated", tenant_id="b"))

    def ask(path="/", tenant="a", **more):
        return Check(edge.grpc, check_request(path=path, context={"tenant_id": tenant}, **more))
    r = ask("/allow")
    equal("allow: status", (r.status, r.code, r.denied), (0, 0, None))
    equal("allow: upstream headers", r.headers(2), [("x-user", "alice")])
    equal("allow: response headers", r.headers(6), [("x-r", "1"), ("x-r", "2")])
    equal("allow: removed headers and query", (r.ok[5], r.ok[8], sorted(len(p) for p in r.ok[7])), ([b"authorization"], [b"z"], [6, 6, 6]))
    equal("allow: metadata", (r.metadata.get("who"), len(r.metadata["decision_id"])), ("alice", 36))
    r = ask("/other")
    equal("deny: status and body", (r.status, r.code, r.http_status, r.body), (0, 7, 401, "no"))
    equal("deny: headers", r.headers(2), [("x-one", "c"), ("x-why", "a"), ("x-why", "b")])
    equal("deny: metadata", {k: v for k, v in r.metadata.items() if k != "decision_id"},
          {"n": 1.5, "list": [1.0, "x", None, True], "o": {"k": "v"}})
    equal("boolean decisions", [(r.code, r.http_status) for r in (ask("/bool"), ask("/boolno"))], [(0, None), (7, None)])
    for path in ("missing", "mistyped", "string", "badheader", "badstatus"):
        r = ask("/" + path)
        equal(f"{path}: gRPC error with a reason", (r.status, bool(r.message), r.ok), (2, True, None))
    check("a mistyped decision is logged", edge.logged("denied", tenant_id="a", limit="invalid"))
    r = ask("/nope", tenant="b")
    equal("undefined: gRPC error", (r.status, r.message), (2, "the decision is undefined"))
    r = ask("/", tenant="nobody")
    equal("unknown tenant: 403", (r.status, r.code, r.http_status, json.loads(r.body)), (0, 7, 403, {"reason": "unknown tenant"}))
    equal("no tenant: 403", Check(edge.grpc, check_request()).http_status, 403)
    r = Check(edge.grpc, check_request(path="/b", headers={"x-tenant-id": "b"}))
    equal("no tenant by a header of the request that Envoy describes", (r.status, r.code, r.http_status), (0, 7, 403))
    r = Check(edge.grpc, check_request(path="/b", headers={"x-tenant-id": "b"}, context={"tenant_id": "a"}))
    equal("the context extension beats the header", r.http_status, 401)
    raw_header = {13: {1: [{1: "x-tenant-id", 3: b"b"}]}}
    equal("nor by a raw header", Check(edge.grpc, check_request(path="/b", http=raw_header)).code, 7)
    parsed_inputs(edge)
    for name, call, code in (("no message", {"frame": b""}, 12), ("cut frame", {"frame": b"\0\0\0\0\x09abc"}, 13),
                             ("compressed", {"frame": b"\1\0\0\0\0"}, 12), ("two messages", {"frame": b"\0\0\0\0\0" * 2}, 12),
                             ("unknown method", {"path": "/x.Y/Z"}, 12)):
        equal(f"gRPC refused: {name}", grpc_call(edge.grpc, b"", **call)[0], code)
    equal("a garbage message: denied, 400", Check(edge.grpc, b"\xff\xff\xff").http_status, 400)
    equal("a query that cannot be parsed: denied, 400", [ask("/echo/?" + q).http_status for q in ("bad=%zz", "semi;=1")], [400, 400])
    equal("no HTTP request: the policy decides about what there is", Check(edge.grpc, encode({1: {10: string_map({"tenant_id": "a"})}})).http_status, 401)


def parsed_inputs(edge):
    r = echo(edge, path="/echo/a%20b//../x%2Fy?k=1&k=2&e=&p=%41+b&=z", headers={"accept": "*"}, method="PUT",
             attributes={1: {1: {1: {2: "10.0.0.1", 3: 8080}}, 4: "spiffe://x", 2: "svc"}, 11: {1: [{1: "f", 2: encode({1: {1: "k", 2: {2: 2.5}}})}]}})
    a = r.get("attributes", {})
    equal("parsed_path", r.get("parsed_path"), ["echo", "a b", "", "..", "x", "y"])
    equal("parsed_query", r.get("parsed_query"), {"k": ["1", "2"], "e": [""], "p": ["A b"], "": ["z"]})
    equal("version", r.get("version"), {"ext_authz": "v3", "encoding": "protojson"})
    equal("time is seconds and nanos", a.get("request", {}).get("time"), {"seconds": 1700000000, "nanos": 5000})
    equal("source", a.get("source"), {"address": {"socketAddress": {"address": "10.0.0.1", "portValue": 8080}}, "principal": "spiffe://x", "service": "svc"})
    equal("source_principal", r.get("source_principal"), "spiffe://x")
    equal("metadata context", a.get("metadataContext"), {"filterMetadata": {"f": {"k": 2.5}}})
    equal("only populated fields", sorted(a["request"]["http"]), ["headers", "host", "method", "path", "protocol"])
    equal("context extensions", a.get("contextExtensions"), {"tenant_id": "a"})
    equal("no principal, no source_principal", "source_principal" in echo(edge, path="/echo"), False)

    def body(text, kind, **headers):
        r = echo(edge, path="/echo", method="POST", body=text, headers={"content-type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}})
        return r.get("parsed_body", r.get("http_status")), r.get("truncated_body")
    equal("JSON body", body('{"a":[1,2.50]}', "application/json; charset=utf-8"), ({"a": [1, 2.5]}, False))
    equal("form body", body("a=1&a=2&b=%20", "application/x-www-form-urlencoded"), ({"a": ["1", "2"], "b": [" "]}, False))
    equal("other body", body("hello", "text/plain"), (None, False))
    equal("truncated body", body('{"a":[1', "application/json", content_length="100"), (None, True))
    equal("partial body header", body('{"a":1}', "application/json", x_envoy_auth_partial_body="true"), (None, True))
    equal("broken JSON body: 400", body('{"a":', "application/json"), (400, None))
    equal("broken form body: 400", body("a=%zz", "application/x-www-form-urlencoded"), (400, None))
    equal("broken path: 400", Check(edge.grpc, check_request(path="/a%zz", context={"tenant_id": "a"})).http_status, 400)


def metrics(edge):
    label = '{tenant_id="m"}'
    build({"p.rego": "package m\nimport rego.v1\nallow if input.x == 1\ndefault no := false"}, ["m/allow", "m/no"], edge.bundle("m"))
    edge.wait_log("bundle activated", tenant_id="m")
    for _ in range(5):
        edge.post("m", "m/allow", '{"input":{"x":1}}')
    for _ in range(3):
        edge.post("m", "m/no", '{"input":{"x":1}}')
    edge.post("m", "m/allow", "{}")
    Check(edge.grpc, check_request(path="/a%zz", context={"tenant_id": "m"}))
    m = edge.metrics()
    equal("total and deny", (m.get("envoy_wasm_opa_total" + label), m.get("envoy_wasm_opa_deny_total" + label)), ("10", "5"))
    for name, count in (("envoy_wasm_opa_eval_duration", 10), ("opa_policy_load_duration", 1)):
        buckets = [int(v) for k, v in m.items() if k.startswith(name + '_bucket{tenant_id="m",le=')]
        check(f"{name} is a histogram", len(buckets) > 5 and buckets == sorted(buckets) and buckets[-1] == count and
              m[f"{name}_count{label}"] == str(count) and float(m[f"{name}_sum{label}"]) > 0, buckets)


def main():
    edge = Edge("--tenant-header", "X-Tenant-ID")
    build({"p.rego": POLICY}, ENTRYPOINTS, edge.bundle("t"))
    edge.start()
    if OPA and os.access(OPA, os.X_OK):
        rest_beside_opa(edge)
    for part in (rest_refusals, http1_wire, ext_authz, metrics, swaps, hostile):
        try:
            part(edge)
        except Exception as e:  # one part's failure must not hide the others'
            check(part.__name__, False, repr(e))
    check("alive at the end", edge.process.poll() is None)
    equal("SIGTERM ends it well", stop(edge.process), 0)
    other = Edge("--authz-path", "/t/allow", name="other")
    build({"p.rego": POLICY}, ENTRYPOINTS, other.bundle("t"))
    other.start()
    equal("--authz-path: undefined is a gRPC error", Check(other.grpc, check_request(context={"tenant_id": "t"})).status, 2)
    equal("stops again", stop(other.process), 0)
    finish()


main()
