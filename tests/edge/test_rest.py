#!/usr/bin/env python3
"""The REST API beside a real OPA with the same bundle: each request goes to both, and status, headers and body are compared.

in: BUILD, OPA. out: TAP. owns: the servers it starts."""
import gzip
import json
import os
import re
import socket
import subprocess
import tempfile

from edge_lib import OPA, TMP, Edge, build, check, equal, finish, free_port, start, stop, wait_for

POLICY = """package t
import rego.v1
allow if input.x == 1
echo := input
n := 5
obj := {"a": {"b": 1, "": 2}, "s": "x", "deep": {"y": [1, {"z": 2}]}}
deny := false
conflict := 1 if input.a
conflict := 2 if input.b
lt := "<&>"
quot := 1 / input.x
big := concat(",", [sprintf("%d", [i]) | some i in numbers.range(1, 1000)])
medium := substring(concat(",", [sprintf("%d", [i]) | some i in numbers.range(1, 1000)]), 0, input.n)
"""
MAIN = """package system
import rego.v1
main := {"x": input.x} if input.x
"""
DATA = {"users": {"alice": {"role": "admin", "tags": ["a", "b<"], "": 0}, "bob": {}}, "list": [1, {"x": [True, None]}, []],
        "base": {"k": 1, "false": False, "e": "", "uml": "é\u2028\"\\/"}, "num": 7, "we ird": {"a/b": 1, "q": {"0": "zero"}}}
ENTRYPOINTS = ["t/" + e for e in ("allow", "echo", "n", "obj", "deny", "conflict", "lt", "quot", "big", "medium")] + ["system/main"]
MANIFEST = {"revision": "rev-1", "roots": [""]}
COMPARED = ("content-type", "location", "allow", "vary", "content-encoding", "x-content-type-options")


def exchange(port, method, target, body=b"", headers=None):
    """(status, compared headers, body): over a connection of its own; chunks joined."""
    body = body.encode() if isinstance(body, str) else body
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if body or method in ("POST", "PUT", "PATCH"):
        head += f"Content-Length: {len(body)}\r\n"
    head += "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
    data = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(head.encode("utf-8") + b"\r\n" + body)
        try:
            while part := s.recv(1 << 16):
                data += part
        except OSError:
            pass
    if not data:
        return 0, {}, b""
    top, _, rest = data.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    if fields.get("transfer-encoding") == "chunked":
        joined = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            joined, rest = joined + rest[:int(size, 16)], rest[int(size, 16) + 2:]
        rest = joined
    if fields.get("content-encoding") == "gzip":
        rest = gzip.decompress(rest)
    return int(lines[0].split()[1]), {k: fields[k] for k in COMPARED if k in fields}, rest


def masked(reply):
    """Times and versions taken out."""
    status, fields, body = reply
    body = re.sub(rb'("(?:timer|counter)_[a-z_]+": ?)\d+', rb"\1N", body)
    return status, fields, re.sub(rb'("version": ?)"[^"]*"', rb'\1"V"', body)


class Both:
    """The edge with tenant `t`, and OPA with the same bundle under that name."""

    def __init__(self):
        folder = tempfile.mkdtemp(dir=TMP)
        files = {"p.rego": POLICY, "main.rego": MAIN, "data.json": json.dumps(DATA), ".manifest": json.dumps(MANIFEST)}
        for name, text in files.items():
            with open(f"{folder}/{name}", "w") as f:
                f.write(text)
        subprocess.run([OPA, "build", "-b", folder, "-o", TMP + "/opa.tar.gz"], check=True)
        with open(TMP + "/opa.yaml", "w") as f:
            f.write(f"bundles:\n  t:\n    resource: file://{TMP}/opa.tar.gz\n")
        self.port = free_port()
        self.opa = start([OPA, "run", "--server", "-a", f"127.0.0.1:{self.port}", "-c", TMP + "/opa.yaml", "-l", "error"],
                         TMP + "/opa.log")
        self.edge = Edge(name="rest")
        build(files, ENTRYPOINTS, self.edge.bundle("t"), "-r", "rev-1")
        self.edge.start()
        if not wait_for(lambda: exchange(self.port, "GET", "/health?bundles")[0] == 200, 30):
            raise RuntimeError("OPA does not start: " + open(TMP + "/opa.log").read())

    def ask(self, method, target, body=b"", headers=None):
        return exchange(self.edge.rest, method, target, body, {"x-tenant-id": "t", **(headers or {})})

    def same(self, method, target, body=b"", headers=None, note=""):
        want = masked(exchange(self.port, method, target, body, headers))
        while want[0] == 0:  # OPA panics on a bad gzip body that meets an unused reader
            exchange(self.port, "POST", "/v1/data/t/n", gzip.compress(b"{}"), {"Content-Encoding": "gzip"})
            want = masked(exchange(self.port, method, target, body, headers))
        if b"timer_rego_query_compile_ns" in want[2]:  # OPA's first time
            want = masked(exchange(self.port, method, target, body, headers))
        shown = body if len(body) < 60 else body[:57] + (b"..." if isinstance(body, bytes) else "...")
        equal(f"as OPA: {method} {target} {shown!r} {headers or ''}{note}", masked(self.ask(method, target, body, headers)), want)


def data_paths(both):
    for path in ("users", "users/alice", "users/alice/tags", "users/alice/tags/1", "users/alice/tags/01", "users/alice/tags/+1",
                 "users/alice/tags/1.0", "users/alice/tags/-1", "users/alice/tags/2", "users/alice/tags/x", "users/alice/role/x",
                 "list", "list/1/x/0", "list/1/x/1", "list/2", "num", "num/x", "base", "base/k", "base/false", "base/e", "base/uml", "nope",
                 "we%20ird", "we%20ird/a%2Fb", "we%20ird/a/b", "we%20ird/q/0", "t/n", "t/deny", "t/lt", "t/obj", "t/obj/a", "t/obj/a/b",
                 "t/echo", "t%2Fn", "t/ob%6a/s", "users/%61lice", "99999999999999999999", "list/0", "list/00", "system/main"):
        both.same("GET", "/v1/data/" + path)
        both.same("POST", "/v1/data/" + path, '{"input":{"x":1}}')
        both.same("POST", "/v0/data/" + path, '{"x":1}')
    for path in ("users/%22x", "a%01", "a%FF", "%00", "x%7F"):
        for method, version, body in (("GET", 1, ""), ("POST", 1, '{"input":1}'), ("POST", 0, "1")):
            both.same(method, f"/v{version}/data/{path}", body)
    for path in ("nope/x-y/1/true/%C3%A9/a%22", "nope/a%5Cb/if/_x1", "nope/-5/+7/1.0", "nope/a%20b/%09"):
        both.same("POST", "/v0/data/" + path, "{}")
    both.same("POST", "/v1/data/users/%22", "{", note=" (the body is looked at first)")


def parameters(both):
    for query in ("pretty", "pretty=true", "pretty=TRUE", "pretty=1", "pretty=", "pretty=false", "pretty&pretty", "pretty=&pretty=true",
                  "pretty=true;x", "pre%74ty", "%zz&pretty", "a;b&pretty", "unknown=1", "&&", "=", "provenance", "provenance&pretty",
                  "metrics", "metrics=true&pretty", "explain=off", "explain=nope", "rule_labels", "strict-builtin-errors", "pretty+=true"):
        both.same("POST", "/v1/data/t/obj?" + query, '{"input":{"x":1}}')
        both.same("GET", "/v1/data/t/obj?" + query)
        both.same("POST", "/v0/data/t/obj?" + query, "{}")
    for query in ("explain=notes", "explain=fails", "explain=nope&explain=notes&pretty"):
        both.same("POST", "/v1/data/t/n?" + query, '{"input":{}}')
        both.same("POST", "/v1/data/nope?" + query, '{"input":{}}')
    for value in ("%7B%22x%22:1%7D", "1", "null", "[1,2]", "%22%3C%22", "", "nope", "1%202", "1%20x", "1%20%5B", "1%20%22a%22", "1%20true", "1%20null", "{",
                  "1%20%7D", "+1", "1+", "%FF", "1&input=2"):
        both.same("GET", "/v1/data/t/echo?input=" + value)
    both.same("GET", "/v1/data/t/echo?input=%zz")
    both.same("GET", "/v1/data/t/allow?input=%7B%22x%22:1%7D&pretty")
    status, _, body = both.ask("POST", "/v1/data/t/quot?strict-builtin-errors", '{"input":{"x":0}}')
    equal("strict-builtin-errors makes a failed builtin an error", (status, json.loads(body)["code"], b"eval_builtin_error" in body or
                                                                     b"divide by zero" in body), (500, "internal_error", True))
    both.same("POST", "/v1/data/t/quot", '{"input":{"x":0}}')
    status, _, body = both.ask("POST", "/v1/data/t/n?instrument", "{}")
    equal("instrument gives metrics", (status, "timer_rego_query_eval_ns" in json.loads(body)["metrics"]), (200, True))


def error_bodies(both):
    for version, body in (("v1", '{"input":{"a":1,"b":1}}'), ("v0", '{"a":1,"b":1}')):
        target = f"/{version}/data/t/conflict"
        got, want = both.ask("POST", target, body), exchange(both.port, "POST", target, body)
        g, w = json.loads(got[2]), json.loads(want[2])
        equal(f"{version}: a conflict has OPA's status, code, message and error code", (got[0], g["code"], g["message"], g["errors"][0]["code"]),
              (want[0], w["code"], w["message"], w["errors"][0]["code"]))
        equal(f"{version}: and is indented", got[2].decode(), json.dumps(g, indent=2) + "\n")
        check(f"{version}: and placed", g["errors"][0]["location"]["file"].endswith("p.rego"), got[2])


def methods(both):
    paths = ("/", "/health", "/health/live", "/metrics", "/v1/config", "/v1/query/x", "/v0/data", "/v0/data/t/n", "/v1", "/v1/data2", "/v0/x",
             "/nope", "/v1/data/", "/v0/data/t/n/", "/health/", "/v1/policies/", "/v1/config/", "/metrics/", "/v1/data/t/n/?x=y")
    for path in paths:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO"):
            if (method, path) in (("GET", "/"), ("GET", "/metrics"), ("HEAD", "/metrics"), ("GET", "/v1/config"), ("POST", "/"), ("POST", "/v0/data")):
                continue
            both.same(method, path)
    for method in ("HEAD", "OPTIONS", "FOO", "DELETE"):
        both.same(method, "/v1/data")
    for method in ("HEAD", "OPTIONS", "FOO", "PUT", "POST", "PATCH"):
        both.same(method, "/v1/policies")
    for method in ("HEAD", "OPTIONS", "FOO", "PUT"):
        both.same(method, "/v1/query")
        both.same(method, "/v1/compile/x")
        both.same(method, "/v1/data/t/n") if method != "PUT" else None
    for path in ("/v1/data/users//alice", "//v1/data/num", "/v1/data/users/../num", "/v1/data/./num?a=b&c", "/v1/data/users/alice//", "/v1/data//",
                 "/v1/data/../../..", "//", "/v1/data/users/..", "/v1/data/users/.", "/v1//data/num?x=%3C"):
        both.same("GET", path)
        both.same("POST", path, "{}")
    equal("GET / names the program", both.ask("GET", "/")[2][:7], b"Regent ")


def v0_and_root(both):
    for body in ("", " ", "{}", '{"x":1}', '{"x":3} trailing', "null", "nope", "{", "[1,]", '{"x":1', "1 2"):
        both.same("POST", "/v0/data/t/echo", body)
        both.same("POST", "/v0/data/t/allow", body)
        both.same("POST", "/", body)
        both.same("POST", "/?pretty", body)
    both.same("POST", "/v0/data/nope", "{}")


def yaml_bodies(both):
    kind = {"Content-Type": "application/x-yaml"}
    for body in ("input: {x: 1}", "", "input:", "- a", "foo", "5", "null", "input: a\ninput: b", "INPUT: a", "input: 1\nINPUT: 2", "input: &a [1]\nb: *a",
                 "input: yes", "input: on", "input: y", "input: True", "input: FALSE", "input: 1.50", "input: 0x1f", "input: 1e3", "input: 2020-01-01",
                 "input: 0o17", "input: 017", "input: 1_000", "---\ninput: 1\n---\ninput: 2\n", 'input: "<&>"', "input: {<<: {a: 1}, b: 2}", "input: ~",
                 "input: 123456789012345678901234567890", '{"input": {"x": 1}}', '{"input": 1.0}', "input: 1.0", "input: {a: 1, a: 2}", "input: -0",
                 "input: 0.1e-5", "input: 1e-7", "input: 1e21", "input: 123456.789e3", "input: 1e-10", "input: -1.5e-9", "input: |\n  a\n  b\n", "input: {1: 2}", "input: [a, 'b', \"c\"]", "input: 12e400"):
        both.same("POST", "/v1/data/t/echo", body, kind)
    for content in ("application/yaml", "text/yaml; charset=utf-8", "application/json", "text/plain"):
        both.same("POST", "/v1/data/t/echo", '{"input": {"x": 2}}', {"Content-Type": content})
    both.same("POST", "/v0/data/t/echo", "x: 1\ny: [a]", kind)
    both.same("POST", "/v0/data/t/echo", "", kind)
    both.same("POST", "/", "x: 5", kind)
    for body in ("input: [1, 2", "a: b: c", "\tinput: 1", "input: *x", "input: 'a", "%YAML 1.1", "input: {[1]: 2}"):
        got, want = (f("POST", "/v1/data/t/echo", body, kind) for f in (both.ask, lambda *a: exchange(both.port, *a)))
        words = "body contains malformed input document: yaml"
        equal(f"YAML that cannot be read is refused as OPA does: {body!r}",
              (got[:2], json.loads(got[2])["code"], json.loads(got[2])["message"][:len(words)]),
              (want[:2], json.loads(want[2])["code"], json.loads(want[2])["message"][:len(words)]))
    bomb = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(f"{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n" for p, c in zip("abcdefgh", "bcdefghi"))
    status, _, body = both.ask("POST", "/v1/data/t/echo", bomb + "input: *i", kind)
    equal("a YAML bomb is refused", (status, b"malformed input" in body), (400, True))


def gzip_both_ways(both):
    coding, small = {"Content-Encoding": "gzip"}, gzip.compress(b'{"input":{"x":1}}', mtime=0)
    broken = bytearray(small)
    broken[-6] ^= 1
    middle = bytearray(small)
    middle[11] ^= 0xff
    for body in (small, b"{}", b"", small[:20], small[:12], small[:8], small + b"xx\n", small + small, small + b"\x1f\x8b", bytes(broken),
                 b"not gzip at all, you see", gzip.compress(b"nope"), gzip.compress(b""), gzip.compress(b'{"input":1} x')):
        both.same("POST", "/v1/data/t/echo", body, coding)
        both.same("POST", "/v0/data/t/echo", body, coding)
    both.same("POST", "/v1/data/t/echo", '{"input":1}', {"Content-Encoding": "identity"})
    both.same("POST", "/v1/data/t/echo", gzip.compress(b"input: [1]"), {**coding, "Content-Type": "application/yaml"})
    big = json.dumps({"input": {"text": "x" * 3000000}}).encode()
    equal("a body that inflates to megabytes", both.ask("POST", "/v1/data/t/allow", gzip.compress(big), coding)[0], 200)
    for level in (1, 9):
        body = gzip.compress(b'{"input":"' + b"a" * (40 << 20) + b'"}', level)
        status, _, reply = both.ask("POST", "/v1/data/t/allow", body, coding)
        equal(f"a bomb of {len(body)} bytes is refused", (status, b"request body too large: decompressed size exceeds limit" in reply), (400, True))
    for accept in ("gzip", "gzip;q=0", "*", "deflate, gzip;q=0.5", "GZIP", "x-gzip", "gzip ; q=0.0", "br", "identity;q=0.5, gzip;q=0.1", "gzip;q=0.001", ""):
        both.same("GET", "/v1/data/t/big", headers={"Accept-Encoding": accept})
        both.same("POST", "/v1/data/t/big?pretty", "{}", {"Accept-Encoding": accept})
    for n in (1000, 1010, 1011, 1012, 1013, 1030):
        both.same("POST", "/v1/data/t/medium", json.dumps({"input": {"n": n}}), {"Accept-Encoding": "gzip"}, note=f" {n}")
        both.same("POST", "/v0/data/t/medium", json.dumps({"n": n}), {"Accept-Encoding": "gzip"}, note=f" {n}")
    both.same("GET", "/v1/data/nope/" + "x" * 2000, headers={"Accept-Encoding": "gzip"})


def writes(both):
    for method, path, body in (("PUT", "/v1/data/t/n", "{}"), ("PUT", "/v1/data/t/n", "{"), ("PUT", "/v1/data", "{}"), ("PUT", "/v1/data/other/x", "{}"),
                               ("PUT", "/v1/data/x", ""), ("DELETE", "/v1/data/t/n", ""), ("DELETE", "/v1/data/users/alice", ""),
                               ("PATCH", "/v1/data/t", '[{"op":"add","path":"x","value":1}]'), ("PATCH", "/v1/data/t", "{}"), ("PATCH", "/v1/data", '"x"'),
                               ("PATCH", "/v1/data/t", "["), ("GET", "/v1/policies/nope", ""), ("DELETE", "/v1/policies/nope", ""),
                               ("PUT", "/v1/policies/a/b", "package x"), ("POST", "/v1/policies/a", ""), ("DELETE", "/v1/policies", "")):
        both.same(method, path, body)
    equal("no policies are listed", both.ask("GET", "/v1/policies"), (200, {"content-type": "application/json"}, b'{"result":[]}\n'))
    equal("and pretty", both.ask("GET", "/v1/policies?pretty")[2], b'{\n  "result": []\n}\n')
    for method, path in (("GET", "/v1/query?q=x%3D1"), ("POST", "/v1/query"), ("POST", "/v1/compile"), ("POST", "/v1/compile/t/allow")):
        status, _, body = both.ask(method, path, "{}" if method == "POST" else "")
        equal(f"{method} {path} says why not", (status, json.loads(body)["code"]), (501, "not_supported"))


def main():
    both = Both()
    for part in (data_paths, parameters, error_bodies, methods, v0_and_root, yaml_bodies, gzip_both_ways, writes):
        part(both)
    stop(both.opa)
    equal("the node stops at once", stop(both.edge.process), 0)
    finish()


if __name__ == "__main__":
    main()
