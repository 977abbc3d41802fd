#!/usr/bin/env python3
"""Policies as proxy-wasm filters in a real Envoy's V8: docs/proxy-wasm.md's example, then bodies, failures, mistakes, memory.

in: BUILD (folder with regent; REGENT another program), REGENT_CACHE (Envoy is fetched there once). out: TAP.
owns: the Envoys and an upstream."""
import http.client
import json
import os
import platform
import re
import subprocess
import sys
import threading
import time
from http import server as http_server

from edge_lib import REGENT as BUILT
from edge_lib import ROOT, TMP, check, equal, finish, free_port, parse_reply, raw, start, stop, wait_for

REGENT = os.environ.get("REGENT", BUILT)
CACHE = os.environ.get("REGENT_CACHE") or os.path.expanduser("~/.cache/regent")
ENVOY = f"{CACHE}/envoy-1.40.0/envoy"
EXT = "type.googleapis.com/envoy.extensions."
seen = []


class Upstream(http_server.BaseHTTPRequestHandler):
    """Answers with what it was asked, and notes that it was."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        n = int(self.headers.get("content-length", 0))
        body = json.dumps({"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()},
                           "body": self.rfile.read(n).decode("latin-1")}).encode()
        seen.append(self.path)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET

    def log_message(self, *_):
        pass


def build(files, entrypoints, out, *flags):
    folder = os.path.join(TMP, os.path.basename(out) + ".d")
    os.makedirs(folder, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            f.write(text)
    command = [REGENT, "build", "-t", "proxy-wasm", "-o", out, "-b", folder, *flags]
    for e in entrypoints:
        command += ["-e", e]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Envoy:
    """One worker; `text` is its whole configuration."""

    def __init__(self, name, text, port):
        self.log, self.port = os.path.join(TMP, name + ".log"), port
        path = os.path.join(TMP, name + ".yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        self.process = start([ENVOY, "-c", path, "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning",
                              "--component-log-level", "wasm:info", "--file-flush-interval-msec", "100"], self.log)

    def ready(self):
        return wait_for(lambda: self.process.poll() is not None or raw(self.port, b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n", 2, False) != b"", 20) \
            and self.process.poll() is None

    def lines(self):
        """Decisions that were logged, oldest first."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return [json.loads(m.group(1)) for m in re.finditer(r"wasm log[^{\n]*: (\{.*\})$", f.read(), re.M)]

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def ask(self, method="GET", path="/", headers=(), body=None):
        """(status, headers, body)."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = list(headers.items() if isinstance(headers, dict) else headers)
        c.putrequest(method, path, skip_host="host" in [k for k, _ in headers], skip_accept_encoding=True)
        for k, v in headers:
            c.putheader(k, v)
        if body is not None:
            c.putheader("content-length", str(len(body)))
        c.endheaders(body)
        try:
            r = c.getresponse()
            return r.status, {k.lower(): ", ".join(r.headers.get_all(k)) for k in r.headers}, r.read()
        except (OSError, http.client.HTTPException) as e:
            return 0, {}, str(e).encode()
        finally:
            c.close()


def config(port, upstream, plugins):
    """Listener `port` with the filters `plugins`: [(module, configuration, more fields of PluginConfig)]."""
    filters = []
    for n, (module, configuration, more) in enumerate(plugins):
        text = configuration if isinstance(configuration, str) else json.dumps(configuration)
        plugin = {"name": f"regent{n}", "root_id": f"r{n}", "failure_policy": "FAIL_CLOSED", "allow_on_headers_stop_iteration": True,
                  "vm_config": {"vm_id": "one", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": module}}},
                  "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text}, **more}
        filters.append({"name": f"regent{n}", "typed_config": {"@type": EXT + "filters.http.wasm.v3.Wasm", "config": plugin}})
    filters.append({"name": "router", "typed_config": {"@type": EXT + "filters.http.router.v3.Router"}})
    manager = {"@type": EXT + "filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "in",
               "http_filters": filters, "http_protocol_options": {"enable_trailers": True}, "upgrade_configs": [{"upgrade_type": "websocket"}], "route_config": {"virtual_hosts": [
                   {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}]}}
    return json.dumps({"static_resources": {
        "listeners": [{"name": "in", "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "upstream", "type": "STATIC", "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": upstream}}}}]}]}}]}})


def run(name, upstream, *plugins):
    port = free_port()
    return Envoy(name, config(port, upstream, [(m, c, more[0] if more else {}) for m, c, *more in plugins]), port)


def blocks(path):
    """{language: text} of a page's fenced blocks."""
    with open(path, encoding="utf-8") as f:
        return {m.group(1): m.group(2) for m in re.finditer(r"^```(\w+)\n(.*?)^```", f.read(), re.M | re.S)}


# ---- the page's example ----
def example(upstream):
    page = blocks(ROOT + "/docs/proxy-wasm.md")
    module, access, port = TMP + "/example.wasm", TMP + "/access.log", free_port()
    done = build({"p.rego": page["rego"], "data.json": page["json"]}, ["tenant/authz/allow", "tenant/authz/decision"], module)
    equal("the page's example builds", (done.returncode, done.stderr), (0, ""))
    text = page["yaml"]
    for old, new in (("10000", str(port)), ("8080", str(upstream)), ("/etc/envoy/filter.wasm", module), ("/tmp/access.log", access)):
        check(f"the page has {old}", text.count(old) == 1)
        text = text.replace(old, new)
    envoy = Envoy("example", text, port)
    if not envoy.ready():
        check("Envoy starts with the page's configuration", False, envoy.text()[-2000:])
        return
    status, _, body = envoy.ask("PUT", "/a?q=1", {"x-role": "editor", "x-checked-by": "client", "x-regent-decision": "spoofed"})
    headers = json.loads(body)["headers"]
    equal("allowed: the policy's header replaces the client's", (status, headers["x-checked-by"]), (200, "regent"))
    check("allowed: the decision's header does not go upstream", "x-regent-decision" not in headers, headers)
    status, headers, _ = envoy.ask("PUT", "/b?secret=1", {"x-role": "reader", "x-regent-decision": "spoofed"})
    equal("denied: status and header of the decision object", (status, headers.get("x-checked-by")), (401, "regent"))
    check("denied: the decision's header does not go to the client", "x-regent-decision" not in headers, headers)
    equal("without the header: denied", envoy.ask("GET", "/c")[0], 401)
    want = {"allowed": False, "reason": "denied", "method": "PUT", "path": "/b", "host": f"127.0.0.1:{port}", "decision": {
        "allowed": False, "role": "reader", "headers": {"x-checked-by": "regent"}, "http_status": 401}}
    logged = [l for l in envoy.lines() if l.get("path") == "/b"]
    equal("denied: a log line with the decision, without the query",
          [{k: v for k, v in l.items() if k != "host"} for l in logged], [{k: v for k, v in want.items() if k != "host"}])
    check("allowed: no log line", not [l for l in envoy.lines() if l["allowed"]], envoy.lines())
    if wait_for(lambda: os.path.exists(access) and len(open(access, encoding="utf-8").readlines()) >= 4, 5):
        lines = {l.split(" ")[1]: l.rstrip("\n") for l in open(access, encoding="utf-8")}
        state = lines["/b?secret=1"].split(" state=")[1].split(" metadata=")
        equal("denied: filter state", json.loads(json.loads(state[0])) if state[0][:2] == '"{' else json.loads(state[0].strip('"')), logged[0])
        metadata = lambda line: json.loads(line.split(" metadata=")[1].strip('"').replace('\\"', '"'))
        equal("denied: dynamic metadata", metadata(lines["/b?secret=1"]), logged[0])
        equal("allowed: dynamic metadata, not the client's", metadata(lines["/a?q=1"])["allowed"], True)
    else:
        check("the access log is written", False, envoy.text()[-1000:])
    stop(envoy.process)


# ---- the input ----
INPUT = """package t
import rego.v1
decision := {"allowed": true, "headers": {"x-input": json.marshal(part)}}
part := {
    "http": object.remove(input.attributes.request.http, ["size"]), "path": input.parsed_path, "query": input.parsed_query,
    "version": input.version, "source": input.attributes.source.address.socketAddress.address,
    "port": input.attributes.destination.address.socketAddress.portValue, "time": input.attributes.request.time.seconds > 1700000000,
    "two": input.attributes.request.http.headers["x-two"], "now": time.now_ns() > 1700000000000000000,
    "uuid": regexless(uuid.rfc4122("a")), "same": uuid.rfc4122("a") == uuid.rfc4122("a"), "rand": rand.intn("x", 10) < 10,
}
regexless(s) := [count(p) | some p in split(s, "-")]
"""


def document(upstream):
    module = TMP + "/input.wasm"
    done = build({"p.rego": INPUT}, ["t/decision"], module)
    equal("a policy that reads everything builds", done.stderr, "")
    envoy = run("input", upstream, (module, {}))
    check("Envoy starts", envoy.ready(), envoy.text()[-2000:])
    head = [("host", "example.org"), ("x-two", "a"), ("x-two", "b"), ("x-bad", b"\xff\xc3\xa4"), ("x-envoy-auth-partial-body", "true")]
    status, _, body = envoy.ask("GET", "/a%20b//c/?x=1&x=%41+2&y&bad=%zz", head)
    got = json.loads(json.loads(body)["headers"]["x-input"].encode("latin-1").decode()) if status == 200 else {"status": status, "body": body}
    http_part = got.get("http", {})
    equal("path, query, version", [got.get(k) for k in ("path", "query", "version")],
          [["a b", "", "c", ""], {"x": ["1", "A 2"], "y": [""]}, {"encoding": "protojson", "ext_authz": "v3"}])
    equal("method, path, host, scheme, protocol", [http_part.get(k) for k in ("method", "path", "host", "scheme", "protocol")],
          ["GET", "/a%20b//c/?x=1&x=%41+2&y&bad=%zz", "example.org", "http", "HTTP/1.1"])
    equal("headers of one name are joined, bytes that are no UTF-8 replaced",
          [got.get("two"), http_part.get("headers", {}).get("x-bad")], ["a,b", "!\xe4"])
    equal("Envoy's mark of a cut body is not taken from a client", http_part.get("headers", {}).get("x-envoy-auth-partial-body"), None)
    equal("addresses, time", [got.get(k) for k in ("source", "port", "time", "now")], ["127.0.0.1", envoy.port, True, True])
    equal("uuid and rand", [got.get(k) for k in ("uuid", "same", "rand")], [[8, 4, 4, 4, 12], True, True])
    equal("a bad escape in the path: 400", envoy.ask("GET", "/a%zz")[0], 400)
    stop(envoy.process)


# ---- bodies ----
BODY = """package t
import rego.v1
default allow := false
allow if input.parsed_body.pass == true
allow if input.parsed_body.name[0] == "form"
allow if input.attributes.request.http.headers["x-cut"] == json.marshal(input.truncated_body)
"""


def bodies(upstream):
    module, kind = TMP + "/body.wasm", {"content-type": "application/json"}
    build({"p.rego": BODY}, ["t/allow"], module)
    envoy = run("body", upstream, (module, {"max_body_bytes": 1000}))
    check("Envoy starts", envoy.ready(), envoy.text()[-2000:])
    equal("a JSON body is judged", [envoy.ask("POST", "/", kind, b)[0] for b in (b'{"pass":true}', b'{"pass":false}', b'{"pass":', b"")],
          [200, 403, 400, 403])
    equal("the upstream gets the whole body", json.loads(envoy.ask("POST", "/", kind, b'{"pass":true}')[2])["body"], '{"pass":true}')
    equal("form data", envoy.ask("POST", "/", {"content-type": "application/x-www-form-urlencoded"}, b"name=form&x=1")[0], 200)
    equal("without a body", [envoy.ask("GET", "/")[0], envoy.ask("GET", "/", {"x-cut": "false"})[0]], [403, 200])
    big = b'{"pass":true,"x":"' + b"x" * 5000 + b'"}'
    equal("a body past the limit is not judged, and marked", [envoy.ask("POST", "/", kind, big)[0],
          envoy.ask("POST", "/", {**kind, "x-cut": "true"}, big)[0]], [403, 200])
    equal("nesting past the limit: 400", envoy.ask("POST", "/", {**kind}, b'{"pass":true,"x":' + b"[" * 300 + b"]" * 300 + b"}")[0], 400)
    head = "POST /{} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"

    def chunks(path, parts, trailer=""):
        data = [head.format(path).encode()] + [f"{len(p):x}\r\n{p}\r\n".encode() for p in parts] + [f"0\r\n{trailer}\r\n".encode()]
        return parse_reply(raw(envoy.port, data, 5, False))[0]
    del seen[:]
    equal("a body in pieces", [chunks("ok", ['{"pass"', ":true", "}"]), chunks("no", ['{"pass"', ":false", "}"])], [200, 403])
    equal("trailers do not carry a body past the policy",
          [chunks("t-ok", ['{"pass":true}'], "x-t: 1\r\n"), chunks("t-no", ['{"pass":false}'], "x-t: 1\r\n")], [200, 403])
    equal("the upstream hears of allowed requests only", seen, ["/ok", "/t-ok"])
    equal("an upgrade is decided at once, as a cut body", [parse_reply(raw(
        envoy.port, f"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-cut: {cut}\r\n\r\n".encode(), 2, False))[0]
        for cut in ("true", "false")], [200, 403])
    # Streams whose bodies wait are apart from each other.
    both = [http.client.HTTPConnection("127.0.0.1", envoy.port, timeout=5) for _ in range(20)]
    for i, c in enumerate(both):
        c.putrequest("POST", "/")
        c.putheader("content-type", "application/json")
        c.putheader("content-length", "14" if i % 2 else "13")
        c.endheaders(b'{"pass":')
    for i, c in enumerate(both):
        c.send(b"false}" if i % 2 else b"true}")
    equal("interleaved bodies", [c.getresponse().status for c in both], [200, 403] * 10)
    stop(envoy.process)
    unheld = run("unheld", upstream, (module, {}, {"allow_on_headers_stop_iteration": False}))
    check("Envoy starts", unheld.ready(), unheld.text()[-2000:])
    del seen[:]
    c = raw(unheld.port, b"POST /hung HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx", 1, False)
    equal("without allow_on_headers_stop_iteration: not let through", (c, seen), (b"", []))
    stop(unheld.process)


# ---- failures ----
FAILING = """package t
import rego.v1
kind := input.parsed_path[0]
allow if kind == "yes"
allow if { kind == "deep"; x := json.unmarshal(input.attributes.request.http.headers["x-deep"]); count(json.marshal({"a": {x}})) > 1 }
allow := false if kind == "no"
allow if kind == "conflict"
allow := false if kind == "conflict"
allow if count(doubled) > 0
doubled contains s if { kind == "memory"; some i in numbers.range(1, 30000); s := sprintf("%d%s", [i, data.long]) }
allow := "yes" if kind == "string"
allow := {"allowed": "yes"} if kind == "flag"
allow := {"allowed": true, "headers": {"x": 1}} if kind == "header"
allow := {"allowed": true, "headers": {"x-a": "b\\r\\nx-c: d"}} if kind == "split"
allow := {"allowed": true, "query_parameters_to_set": {"a": "b"}} if kind == "query"
allow := {"allowed": false, "http_status": 99} if kind == "status"
allow := {"allowed": false, "http_status": 418, "body": "tea", "headers": [{"x-l": ["1", "2"]}]} if kind == "tea"
allow := {"allowed": true, "request_headers_to_remove": ["x-r"], "headers": {"x-l": ["1", "2"]}, "response_headers_to_add": {"x-s": "seen"}} if kind == "rich"
"""


def failures(upstream):
    module = TMP + "/failing.wasm"
    done = build({"p.rego": FAILING, "data.json": json.dumps({"long": "x" * 4000})}, ["t/allow"], module)
    equal("the failing policy builds", done.stderr, "")
    envoy = run("failing", upstream, (module, {"log": "all", "metadata": "none"}))
    check("Envoy starts", envoy.ready(), envoy.text()[-2000:])

    def reason(kind):
        status, _, body = envoy.ask("GET", "/" + kind)
        lines = [l for l in envoy.lines() if l.get("path") == "/" + kind]
        return status, body.decode(), lines[-1].get("reason") if lines else None
    equal("denied by the policy", reason("no"), (403, "", "denied"))
    equal("undefined", reason("nothing"), (403, '{"reason":"undefined"}', "undefined"))
    status, body, why = reason("conflict")
    equal("a conflict denies", (status, body), (403, '{"reason":"the policy failed"}'))
    check("and its log line says where", why and why.startswith("eval_conflict_error: ") and "p.rego:" in why, why)
    equal("memory used up denies", reason("memory"), (403, '{"reason":"the policy failed"}', "guest_memory: the memory limit is reached"))
    for kind, word in (("string", "boolean"), ("flag", "boolean"), ("header", "strings"), ("split", "cannot be sent"),
                       ("query", "query"), ("status", "http_status")):
        status, _, why = reason(kind)
        check(f"mistyped ({kind}) denies and says why", status == 403 and why and word in why, (status, why))
    status, headers, body = envoy.ask("GET", "/tea")
    equal("the policy's own denial", (status, headers.get("x-l"), body), (418, "1, 2", b"tea"))
    status, headers, body = envoy.ask("GET", "/rich", {"x-r": "1", "x-l": "client"})
    got = json.loads(body)["headers"] if status == 200 else {}
    equal("headers for the upstream and the client", (status, "x-r" in got, headers.get("x-s")), (200, False, "seen"))
    check("x-l is the policy's", got.get("x-l") in ("1,2", "1, 2", "2"), got)
    equal("JSON in a header that nests deeper than the engine's stack bears: undefined",
          envoy.ask("GET", "/deep", {"x-deep": "[" * 9000 + "]" * 9000})[0], 403)
    equal("after all that the filter still allows", envoy.ask("GET", "/yes")[0], 200)
    equal("log \"all\": allowed requests too", [l["allowed"] for l in envoy.lines() if l.get("path") == "/yes"], [True])
    stop(envoy.process)


# ---- mistakes ----
def mistakes(upstream):
    done = build({"p.rego": 'package t\nimport rego.v1\nallow if regex.match("a", input.x)\ndeny if {\n\tglob.match("a", [], input.y)\n\t'
                  'crypto.sha256(input.x) == "1"\n}\n'}, ["t/allow", "t/deny"], TMP + "/host.wasm")
    equal("builtins of the native host: the build fails", done.returncode, 1)
    for place, name in (("p.rego:3", "regex.match"), ("p.rego:5", "glob.match"), ("p.rego:6", "crypto.sha256")):
        check(f"{name} is named with its place", any(place in l and name in l for l in (done.stdout + done.stderr).splitlines()),
              done.stdout + done.stderr)
    check("and no file is left", not os.path.exists(TMP + "/host.wasm"))
    module = TMP + "/failing.wasm"
    for configuration, words in (({"entrypoint": "t/nope"}, ['"t/nope"', "it has: t/allow"]), ('{"entrypoint":', ["no JSON"]), ("[]", ["JSON object"]),
                                 ({"entrypont": "t/allow"}, ["entrypont", "decision_entrypoint"]), ({"log": "some"}, ["log must be"]),
                                 ({"max_body_bytes": -1}, ["max_body_bytes"]), ({"decision_header": "X y"}, ["decision_header"])):
        envoy = run("mistake", upstream, (module, configuration))
        envoy.process.wait(20)
        text = envoy.text()
        check(f"configuration {configuration}: refused, with the reason", envoy.process.returncode != 0 and all(w in text for w in words), text[-1500:])
        os.unlink(envoy.log)


# ---- two configurations in one sandbox; memory ----
TWO = """package t
import rego.v1
a if input.attributes.request.http.headers["x-a"] == "1"
b if input.attributes.request.http.headers["x-b"] == data.want["{{VALUE}}"]
c := {"allowed": true, "response_headers_to_add": {"x-c": input.attributes.request.http.headers["x-a"]}}
d := {"allowed": true, "response_headers_to_add": {"x-d": input.attributes.request.http.headers["x-b"]}}
"""


def two(upstream):
    module = TMP + "/two.wasm"
    done = build({"p.rego": TWO, "data.json": '{"want":{"v":"1"}}'}, ["t/a", "t/b", "t/c", "t/d"], module, "--set", "VALUE=v")
    equal("with --set", done.stderr, "")
    envoy = run("two", upstream, (module, {"entrypoint": "t/a"}), (module, {"entrypoint": "t/b"}))
    check("Envoy starts", envoy.ready(), envoy.text()[-2000:])
    equal("two configurations share a sandbox and stay apart", [envoy.ask("GET", "/", h)[0] for h in (
        {"x-a": "1", "x-b": "1"}, {"x-a": "1"}, {"x-b": "1"}, {})], [200, 403, 403, 403])
    stop(envoy.process)
    envoy = run("responses", upstream, (module, {"entrypoint": "t/c"}), (module, {"entrypoint": "t/d"}))
    check("Envoy starts", envoy.ready(), envoy.text()[-2000:])
    _, headers, _ = envoy.ask("GET", "/", {"x-a": "1", "x-b": "2"})
    equal("each adds its headers to the response", (headers.get("x-c"), headers.get("x-d")), ("1", "2"))
    stop(envoy.process)


MEMORY = """package t
import rego.v1
default allow := false
texts := [s | some i in numbers.range(1, 50); s := sprintf("%d-%s", [i, input.attributes.request.http.path])]
allow if {
    count(texts) == 50
    input.attributes.request.http.headers["x-user"] == "u"
}
"""


def memory(upstream):
    """A policy whose every decision fills some memory: Envoy's own does not grow over 100,000 of them."""
    module = TMP + "/memory.wasm"
    done = build({"p.rego": MEMORY}, ["t/allow"], module)
    equal("a policy that fills memory builds", done.stderr, "")
    envoy = run("memory", upstream, (module, {"log": "none", "metadata": "none"}))
    check("Envoy starts", envoy.ready(), envoy.text()[-2000:])

    def resident():
        with open(f"/proc/{envoy.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def load(seconds):
        out = subprocess.run(["wrk", "-t1", "-c8", f"-d{seconds}s", f"http://127.0.0.1:{envoy.port}/memory"], capture_output=True, text=True, check=False).stdout
        return int(out.split(" requests in ")[0].split()[-1])
    load(3)
    before, n = resident(), 0
    end = time.time() + 60
    while n < 100000 and time.time() < end:
        n += load(3)
    grown = resident() - before
    check(f"{n} decisions: resident memory grows by less than 4 MiB", n >= 100000 and grown < 4096, f"{n} decisions, {grown} KiB")
    equal("and it still decides", [envoy.ask("GET", "/", h)[0] for h in ({"x-user": "u"}, {})], [200, 403])
    stop(envoy.process)


def main():
    if platform.machine() != "x86_64" or subprocess.run([ROOT + "/third_party/envoy/build.sh", os.path.dirname(ENVOY)], check=False).returncode:
        print("ok 1 - Envoy # SKIP no Envoy for this machine\n1..1")
        sys.exit(0)
    upstream = http_server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    for part in (example, document, bodies, failures, mistakes, two, memory):
        if len(sys.argv) < 2 or part.__name__ in sys.argv[1:]:
            part(upstream.server_address[1])
    upstream.shutdown()
    finish()


main()
