#!/usr/bin/env python3
"""REST where a node of many tenants has no judge to stand beside: batch, health, status, configuration, tenants, doors, limits.

in: BUILD, OPA. out: TAP. owns: the servers it starts."""
import gzip
import json
import os
import re
import subprocess
import time

from edge_lib import OPA, REGENT, TMP, build, check, equal, finish, free_port, start, stop, wait_for
from test_rest import exchange

POLICY = """package t
import rego.v1
echo := input
allow if input.user.role == "admin"
conflict := 1 if input.a
conflict := 2 if input.b
r := numbers.range(1, 3000)
slow if { some x in r; some y in r; some z in r; x + y + z == 0 }
"""
CONFIG = """
tenants: {{directory: "{folder}", poll: 50ms}}
tenant_from:
  - path: "/t/{{tenant}}"
  - header: {{name: x-tenant-id, trusted: ["127.0.0.1"]}}
listeners:
  - {{name: all, address: "127.0.0.1:{all}", doors: [rest, health, metrics, status]}}
  - {{name: rest, address: "127.0.0.1:{rest}", doors: [rest], tenants: [acme]}}
  - {{name: node, address: "127.0.0.1:{node}", doors: [health, metrics]}}
limits:
  default: {{deadline: 300ms}}
  tenants:
    limited: {{requests_per_second: 5, burst: 5, output: 2KiB}}
rest: {{default_path: t/echo, batch_inputs: 20}}
labels: {{region: "eu<1>"}}
log: {{level: info, format: json}}
"""


class Node:
    """One node by configuration file, with tenants acme, globex, limited, and one whose bundle is broken."""

    def __init__(self):
        self.folder = TMP + "/node"
        files = {"p.rego": POLICY, "data.json": json.dumps({"users": {"a": 1}, "large": "x" * 300000})}
        for tenant, revision in (("acme", "r1"), ("globex", "r<2>"), ("limited", "")):
            build(files, ["t/echo", "t/allow", "t/conflict", "t/slow"], f"{self.folder}/tenants/{tenant}/bundle.tar.gz",
                  *(["-r", revision] if revision else []))
        os.makedirs(self.folder + "/tenants/theirs")  # a module that OPA made: its data is text
        os.makedirs(TMP + "/theirs")
        for name, text in files.items():
            with open(f"{TMP}/theirs/{name}", "w") as f:
                f.write(text)
        subprocess.run([OPA, "build", "-t", "wasm", "-e", "t/echo", "-r", "opa", "-b", TMP + "/theirs", "-o",
                        self.folder + "/tenants/theirs/bundle.tar.gz"], check=True)
        os.makedirs(self.folder + "/tenants/broken")
        with open(self.folder + "/tenants/broken/bundle.tar.gz", "wb") as f:
            f.write(b"no bundle")
        self.ports = {name: free_port() for name in ("all", "rest", "node")}
        with open(TMP + "/edge.yaml", "w") as f:
            f.write(CONFIG.format(folder=self.folder, **self.ports))
        self.log = TMP + "/node.log"
        self.process = start([REGENT, "edge", "--config", TMP + "/edge.yaml"], self.log)
        if not wait_for(lambda: "\"ready\"" in open(self.log).read(), 20):
            raise RuntimeError("the node does not start: " + open(self.log).read())

    def ask(self, method, target, body=b"", tenant="acme", port="all", headers=None):
        return exchange(self.ports[port], method, target, body, {**({"x-tenant-id": tenant} if tenant else {}), **(headers or {})})

    def json(self, *args, **named):
        status, _, body = self.ask(*args, **named)
        return status, json.loads(body)


def batch(node):
    def ask(body, path="t/echo", **named):
        return node.json("POST", "/v1/batch/data/" + path, body if isinstance(body, (str, bytes)) else json.dumps(body), **named)
    equal("each input has its answer", ask({"inputs": {"b": {"x": 1}, "a": [2], "c": "<&>"}}),
          (200, {"responses": {"a": {"result": [2]}, "b": {"result": {"x": 1}}, "c": {"result": "<&>"}}}))
    status, fields, body = node.ask("POST", "/v1/batch/data/t/echo", '{"inputs":{"b":1,"a":"<"}}')
    equal("answers are sorted by key, compact, one line", (status, fields["content-type"], body),
          (200, "application/json", b'{"responses":{"a":{"result":"\\u003c"},"b":{"result":1}}}\n'))
    equal("undefined is no result", ask({"inputs": {"a": {}, "b": {"user": {"role": "admin"}}}}, "t/allow"),
          (200, {"responses": {"a": {}, "b": {"result": True}}}))
    status, got = ask({"inputs": {"good": {}, "bad": {"a": 1, "b": 1}}}, "t/conflict")
    equal("an error fails its input only: 207 and codes", (status, got["responses"]["good"], got["responses"]["bad"]["http_status_code"],
          got["responses"]["bad"]["code"], got["responses"]["bad"]["errors"][0]["code"]),
          (207, {"http_status_code": "200"}, "500", "internal_error", "eval_conflict_error"))
    status, got = ask({"inputs": {"x": {"a": 1, "b": 1}, "y": {"a": 2, "b": 2}}}, "t/conflict")
    equal("all failed: 500 without codes", (status, ["http_status_code" in r for r in got["responses"].values()]), (500, [False, False]))
    equal("a common input is merged in, the input's own members win",
          ask({"inputs": {"a": {"u": {"n": 1}}, "b": {"x": 2, "u": 3}, "c": [1], "d": None}, "common_input": {"u": {"n": 0, "m": 5}, "x": 1}}),
          (200, {"responses": {"a": {"result": {"u": {"m": 5, "n": 1}, "x": 1}}, "b": {"result": {"u": 3, "x": 2}}, "c": {"result": [1]},
                               "d": {"result": None}}}))
    equal("a common input that is no object is not merged", ask({"inputs": {"a": {"x": 1}}, "common_input": [1]}), (200, {"responses": {"a": {"result": {"x": 1}}}}))
    equal("no inputs", [ask(b) for b in ("{}", '{"inputs":null}', "", "null")],
          [(200, {"warning": {"code": "api_usage_warning", "message": "'inputs' key missing from the request"}})] * 4)
    equal("an empty batch", ask('{"inputs":{}}'), (200, {}))
    equal("of equal keys the last counts", ask('{"inputs":{"a":1,"\\u0061":2}}'), (200, {"responses": {"a": {"result": 2}}}))
    for body, words in (("[]", "json: cannot unmarshal array into Go value of type"), ('{"inputs":[1]}', "BatchDataRequestV1.inputs of type"),
                        ('{"inputs":{"a":}}', "invalid character '}' looking for beginning of value"), ('{"inputs":{"a":1', "unexpected EOF")):
        status, got = ask(body)
        equal(f"malformed: {body}", (status, got["code"], words in got["message"]), (400, "invalid_parameter", True))
    equal("too many inputs", (ask({"inputs": {str(i): i for i in range(21)}})[0], ask({"inputs": {str(i): i for i in range(20)}})[0]), (400, 200))
    equal("pretty", node.ask("POST", "/v1/batch/data/t/echo?pretty", '{"inputs":{"a":[]}}')[2],
          b'{\n  "responses": {\n    "a": {\n      "result": []\n    }\n  }\n}\n')
    status, got = ask('{"inputs":{"a":1}}', "t/echo?metrics&provenance")
    equal("metrics of the whole and of each, provenance", (status, sorted(got), sorted(got["responses"]["a"]), got["responses"]["a"]["provenance"]["bundles"]),
          (200, ["metrics", "responses"], ["metrics", "provenance", "result"], {"acme": {"revision": "r1"}}))
    equal("base documents", ask('{"inputs":{"a":1}}', "users/a"), (200, {"responses": {"a": {"result": 1}}}))
    status, got = ask('{"inputs":{"a":1}}', "t")
    equal("above an entrypoint", (status, got["responses"]["a"]["message"]), (500, "data/t is no entrypoint of the tenant's module"))
    equal("an unknown tenant", ask('{"inputs":{"a":1}}', tenant="nobody")[0], 404)
    equal("YAML and gzip", ask(gzip.compress(b"inputs: {a: {x: yes}}\ncommon_input: {y: 1}"), headers={"Content-Encoding": "gzip", "Content-Type": "application/yaml"}),
          (200, {"responses": {"a": {"result": {"x": "yes", "y": 1}}}}))
    status, fields, body = node.ask("POST", "/v1/batch/data/t/echo", json.dumps({"inputs": {str(i): "x" * 200 for i in range(20)}}), headers={"Accept-Encoding": "gzip"})
    equal("the answer is compressed", (status, fields.get("content-encoding"), len(json.loads(body)["responses"])), (200, "gzip", 20))
    begin = time.time()
    status, got = ask({"inputs": {str(i): i for i in range(20)}}, "t/slow")
    took = time.time() - begin
    check(f"a batch of slow inputs takes little longer than one evaluation may ({took:.1f} s)", took < 3 and status == 500, (status, str(got)[:300]))
    equal("other methods", [node.ask(m, "/v1/batch/data/t/echo")[0] for m in ("GET", "HEAD", "PUT")], [405, 405, 405])
    status, got = ask({"inputs": {str(i): i for i in range(8)}}, tenant="limited")
    codes = sorted({r["http_status_code"] for r in got["responses"].values()})
    equal("each input is charged: those over the rate are refused", (status, codes), (207, ["200", "429"]))


def health(node):
    equal("health", node.ask("GET", "/health", tenant=None), (200, {"content-type": "application/json"}, b"{}\n"))
    equal("a tenant that was never activated", node.ask("GET", "/health?bundles", tenant=None)[::2],
          (500, b'{"error":"one or more bundles are not activated: broken"}\n'))
    equal("the older parameter", node.ask("GET", "/health?bundle=true", tenant=None)[0], 500)
    equal("plugins", node.ask("GET", "/health?plugins", tenant=None)[::2], (500, b'{"error":"one or more plugins are not up"}\n'))
    equal("without that plugin", node.ask("GET", "/health?plugins&exclude-plugin=bundle", tenant=None)[0], 200)
    equal("rules of system.health", node.ask("GET", "/health/a-b/c", tenant=None)[2], b'{"error":"health check (data.system.health[\\"a-b\\"].c) was undefined"}\n')
    equal("no tenant is needed on a listener for it", [node.ask("GET", p, tenant=None, port="node")[0] for p in ("/health", "/metrics", "/v1/status", "/v1/data/users")],
          [200, 200, 404, 404])


def status(node):
    code, got = node.json("GET", "/v1/status")
    r = got["result"]
    equal("a tenant sees itself", (code, list(r["bundles"]), r["bundles"]["acme"]["active_revision"], r["plugins"]["bundle"], r["labels"]["region"]),
          (200, ["acme"], "r1", {"state": "OK"}, "eu<1>"))
    when = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z$")
    check("with times as Go prints them", all(when.match(r["bundles"]["acme"][k]) for k in ("last_request", "last_successful_activation")), r)
    counted = {k: m["metric"][0]["counter"]["value"] for k, m in r["metrics"]["prometheus"].items()}
    check("and its counters", counted["envoy_wasm_opa_total"] > 0 and counted["regent_errors_total"] > 0, counted)
    code, got = node.json("GET", "/v1/status", tenant="broken")
    b = got["result"]["bundles"]["broken"]
    equal("one whose bundle is broken", (code, b["code"], b["last_successful_activation"], "active_revision" in b, got["result"]["plugins"]["bundle"]["state"], len(b["errors"])),
          (200, "bundle_error", "0001-01-01T00:00:00Z", False, "NOT_READY", 1))
    equal("an unknown tenant", node.ask("GET", "/v1/status", tenant="nobody")[0], 404)
    code, got = node.json("GET", "/v1/status", tenant=None)
    equal("no tenant: all", (code, sorted(got["result"]["bundles"]), got["result"]["plugins"]["bundle"]["state"], "metrics" in got["result"]),
          (200, ["acme", "broken", "globex", "limited", "theirs"], "NOT_READY", False))
    equal("where status is not served", node.ask("GET", "/v1/status", port="rest")[0], 404)
    code, got = node.json("GET", "/v1/config", tenant=None)
    check("the node's configuration", code == 200 and "globex" not in json.dumps(got) and "limited" in json.dumps(got), got)
    code, got = node.json("GET", "/v1/config")
    equal("a tenant gets of it what is its own", (code, sorted(got["result"]), "limited" in json.dumps(got)), (200, ["default_decision", "labels"], False))


def tenants(node):
    def answer(reply):
        return reply[0], json.loads(reply[2]).get("code")
    equal("no tenant", answer(node.ask("POST", "/v1/data/t/echo", "{}", tenant=None)), (400, "invalid_parameter"))
    equal("an unknown tenant", answer(node.ask("POST", "/v1/data/t/echo", "{}", tenant="nobody")), (404, "resource_not_found"))
    equal("one that this listener does not serve", answer(node.ask("POST", "/v1/data/t/echo", "{}", tenant="globex", port="rest")), (403, "unauthorized"))
    equal("one that it serves", node.ask("POST", "/v1/data/t/echo", '{"input":1}', port="rest")[2], b'{"result":1}\n')
    equal("tenant by path", node.ask("POST", "/t/globex/v1/data/t/echo?pretty", '{"input":[]}', tenant=None)[2], b'{\n  "result": []\n}\n')
    equal("the path wins over the header", node.json("GET", "/t/globex/v1/data/users?provenance", tenant="acme")[1]["provenance"]["bundles"], {"globex": {"revision": "r<2>"}})
    equal("status by path", list(node.json("GET", "/t/globex/v1/status", tenant=None)[1]["result"]["bundles"]), ["globex"])
    equal("POST to the tenant's root", [node.ask("POST", p, '{"x":1}', tenant=None)[2] for p in ("/t/globex", "/t/globex/")], [b'{"x":1}\n'] * 2)
    equal("redirects, which the client has to follow itself", [node.ask("GET", p, tenant=None)[1].get("location") for p in
          ("/t/globex/v1/data/users/", "/t/globex/v1//data/users?x=1", "/t/globex/v1/../../../t/acme/v1/data", "/t/globex//v1/data")],
          ["/t/globex/v1/data/users", "/t/globex/v1/data/users?x=1", "/t/acme/v1/data", "/t/globex/v1/data"])
    equal("no redirect leaves the node", node.ask("GET", "//evil.example/x", tenant=None)[1].get("location"), "/evil.example/x")
    equal("other paths", [node.ask("GET", p, tenant=None)[0] for p in ("/nope", "/t/globex/nope", "/v1")], [404, 404, 404])


def other_modules(node):
    equal("a module of OPA's", node.json("POST", "/v1/data/t/echo", '{"input":[1]}', tenant="theirs"), (200, {"result": [1]}))
    for path, want in (("users", {"result": {"a": 1}}), ("users/a", {"result": 1}), ("users/b", {}), ("users/a/b", {})):
        equal(f"and its base documents: {path}", node.json("GET", "/v1/data/" + path, tenant="theirs"), (200, want))
    equal("and its revision", node.json("GET", "/v1/data/users?provenance", tenant="theirs")[1]["provenance"]["bundles"], {"theirs": {"revision": "opa"}})


def http2(node):
    def curl(*args):
        done = subprocess.run(["curl", "-s", "-m", "10", "--http2-prior-knowledge", "-H", "x-tenant-id: acme", *args], capture_output=True)
        return done.stdout
    base = f"http://127.0.0.1:{node.ports['all']}"
    equal("HTTP/2: a decision", curl(base + "/v1/data/t/echo", "-d", '{"input":"<"}'), b'{"result":"\\u003c"}\n')
    equal("HTTP/2: no body", [curl("-X", "POST", base + p) for p in ("/v0/data/t/echo", "/v1/data/t/echo")],
          [b"null\n", b'{"warning":{"code":"api_usage_warning","message":"\'input\' key missing from the request"}}\n'])
    equal("HTTP/2: a base document, compressed", len(curl("--compressed", base + "/v1/data/large")), 300000 + len('{"result":""}\n'))
    equal("HTTP/2: a batch", curl(base + "/v1/batch/data/t/echo", "-d", '{"inputs":{"a":1}}'), b'{"responses":{"a":{"result":1}}}\n')
    equal("HTTP/2: without a body, writing is refused", [json.loads(curl("-X", m, base + "/v1/data/x"))["message"] for m in ("PUT", "PATCH", "DELETE")],
          ["EOF", "EOF", 'all paths owned by bundle "acme"'])


def limits(node):
    time.sleep(1.2)
    got = [node.ask("POST", "/v1/data/t/echo", "{}", tenant="limited") for _ in range(12)]
    equal("over the rate", sorted({r[0] for r in got}), [200, 429])
    refused = next(r for r in got if r[0] == 429)
    equal("with OPA's form", (refused[1]["content-type"], sorted(json.loads(refused[2]))), ("application/json", ["code", "message"]))
    time.sleep(1.2)
    status, got = node.json("GET", "/v1/data/large", tenant="limited")
    equal("a base document over the limit of answers", (status, got["message"]), (500, "the document is larger than the limit of an answer"))
    status, _, body = node.ask("GET", "/v1/data/large")
    equal("a large one where there is no limit", (status, len(json.loads(body)["result"])), (200, 300000))
    status, got = node.json("POST", "/v1/data/t/slow", '{"input":1}')
    equal("past the deadline", (status, got["code"], got["message"]),
          (500, "internal_error", "the evaluation passed its deadline and was stopped"))


def main():
    node = Node()
    for part in (batch, health, status, tenants, other_modules, http2, limits):
        part(node)
    equal("the node stops at once", stop(node.process), 0)
    finish()


if __name__ == "__main__":
    main()
