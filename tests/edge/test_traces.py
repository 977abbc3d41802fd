"""Spans as an OpenTelemetry collector gets them: OTLP's JSON, whose trace they belong to, what is sampled, and a collector that refuses, hangs or
is not there.

in:  $BUILD/regent; opentelemetry-proto, where it is installed, as a second judge. out: TAP lines; exit status 1 when a case fails. owns: the
nodes and collectors it starts.
"""
import http.server
import json
import os
import re
import signal
import threading
import time

from edge_lib import REGENT, TMP, build, check, check_request, equal, finish, free_port, grpc_call, http as ask, start, stop, wait_for

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
POLICIES = {
    "acme": "allow if input.user == \"ann\"",
    "slow": "allow if { some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j < 0 }",
    "long": "allow if { count([1 | some i in numbers.range(1, 60); some j in numbers.range(1, 1000); i * j >= 0]) == 60000 }",
    "path": "allow if input.attributes.request.http.path == \"/x\"",
}


class Collector(http.server.ThreadingHTTPServer):
    """Keeps what it is sent; `answers` are statuses to give before 200, `hang` makes it wait."""

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Reply)
        self.requests, self.answers, self.hang = [], [], 0
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def spans(self):
        out = []
        for path, kind, body in list(self.requests):
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    out += [dict(s, resource=attributes(resource["resource"]), at=attributes(s)) for s in scope["spans"]]
        return out

    def of(self, tenant, name=None):
        return [s for s in self.spans() if s["at"].get("regent.tenant_id") == tenant and (name is None or s["name"] == name)]


class Reply(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.hang:
            time.sleep(self.server.hang)
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            self.server.requests.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def attributes(of):
    values = {}
    for a in of["attributes"]:
        (kind, value), = a["value"].items()
        values[a["key"]] = int(value) if kind == "intValue" else value
    return values


class Node:
    number = 0

    def __init__(self, tracing):
        Node.number += 1
        self.folder = f"{TMP}/traces-{Node.number}"
        self.rest, self.grpc = free_port(), free_port()
        for tenant, policy in POLICIES.items():
            made = f"{TMP}/bundles/{tenant}.tar.gz"
            if not os.path.exists(made):
                build({"p.rego": f"package p\n{policy}\n"}, ["p/allow"], made, "--revision", "r-" + tenant)
            os.makedirs(f"{self.folder}/tenants/{tenant}")
            os.link(made, f"{self.folder}/tenants/{tenant}/bundle.tar.gz")
        self.file, self.log = self.folder + "/edge.yaml", self.folder + "/log"
        self.write(tracing)
        self.process = start([REGENT, "edge", "--config", self.file], self.log)
        if not wait_for(lambda: self.logged("ready")):
            raise RuntimeError("the node does not start: " + open(self.log).read())

    def write(self, tracing):
        with open(self.file, "w") as f:
            f.write(f"""tenants: {{directory: {self.folder}}}
tenant_from: [{{context_extension: tenant_id}}, {{header: {{name: x-tenant-id, trusted: [127.0.0.0/8]}}}}]
listeners:
  - {{address: "127.0.0.1:{self.rest}", doors: [rest, health, metrics, http_authz]}}
  - {{address: "127.0.0.1:{self.grpc}", doors: [ext_authz]}}
limits: {{default: {{deadline: 20ms}}, tenants: {{long: {{deadline: 2s}}}}}}
labels: {{region: "eu \\"west\\"", cell: "7"}}
tracing: {tracing}
log: {{format: json}}
""")

    def logged(self, message):
        return [l for l in map(json.loads, open(self.log)) if l["msg"] == message]

    def ask(self, tenant, user="ann", flags=None, path="/v1/data/p/allow", body=None, trace=TRACE):
        headers = {"x-tenant-id": tenant}
        if flags is not None:
            headers["traceparent"] = f"00-{trace}-{SPAN}-{flags}"
        return ask(self.rest, "POST", path, json.dumps(body or {"input": {"user": user}}), headers)[0]

    def metric(self, name):
        text = ask(self.rest, "GET", "/metrics")[2].decode()
        found = re.search("^" + re.escape(name) + r" (\d+)$", text, re.M)
        return int(found.group(1)) if found else None


def shape_cases(collector, node):
    equal("an answer", node.ask("acme", flags="01"), 200)
    check("a span comes", wait_for(lambda: len(collector.of("acme")) == 2), collector.spans())
    path, kind, body = collector.requests[0]
    equal("where and as what", (path, kind), ("/v1/traces", "application/json"))
    server, = collector.of("acme", "rest")
    child, = collector.of("acme", "evaluate")
    equal("it belongs to the caller's trace", (server["traceId"], server["parentSpanId"]), (TRACE, SPAN))
    equal("evaluation is its child", (child["traceId"], child["parentSpanId"]), (TRACE, server["spanId"]))
    equal("kinds", (server["kind"], child["kind"]), (2, 1))
    check("ids", all(re.fullmatch("[0-9a-f]{16}", s["spanId"]) for s in (server, child)) and server["spanId"] != child["spanId"])
    now, times = time.time(), [int(t) / 1e9 for t in (server["startTimeUnixNano"], child["startTimeUnixNano"], child["endTimeUnixNano"], server["endTimeUnixNano"])]
    check("times follow each other", times[1:] == sorted(times[1:]) and times[0] <= times[2] and abs(now - times[0]) < 60, times)
    at = dict(server["at"])
    check("a decision id", re.fullmatch(r"[0-9a-f-]{36}", at.pop("regent.decision_id", "")), server)
    equal("what the request was", at, {"regent.tenant_id": "acme", "regent.path": "p/allow", "regent.revision": "r-acme", "regent.decision": "allow",
                                      "http.request.method": "POST", "http.response.status_code": 200, "network.peer.address": "127.0.0.1"})
    resource = server["resource"]
    equal("the resource", {k: resource.get(k) for k in ("service.name", "region", "cell")}, {"service.name": "edge \"7\"", "region": "eu \"west\"", "cell": "7"})
    check("which node", re.fullmatch(r"[0-9a-f-]{36}", resource["service.instance.id"]) and resource["service.version"], resource)
    try:
        from google.protobuf import json_format
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    except ImportError:
        print("# opentelemetry-proto is not installed: its judgement is left out")
        return
    message = json_format.Parse(json.dumps(body), ExportTraceServiceRequest())
    equal("OpenTelemetry's own schema knows every member", len(message.resource_spans[0].scope_spans[0].spans), 2)


def door_cases(collector, node):
    node.ask("acme", user="bob", flags="01")
    check("a denial is no error", wait_for(lambda: any(s["at"]["regent.decision"] == "undefined" and "status" not in s for s in collector.of("acme", "rest"))),
          collector.of("acme"))
    node.ask("slow", flags="01")
    wait_for(lambda: collector.of("slow", "rest"))
    failed = collector.of("slow", "rest")
    equal("a limit is one error, also of what went through a lane", [(s["status"]["code"], s["at"]["error.type"], s["at"]["http.response.status_code"]) for s in failed],
          [(2, "deadline", 500)])
    equal("an answer from a lane", (node.ask("long", flags="01"), wait_for(lambda: collector.of("long", "rest"))), (200, True))
    equal("comes as one span with one child", len(collector.of("long")), 2)
    node.ask("acme", flags="01", path="/v1/batch/data/p/allow", body={"inputs": {str(i): {"user": "ann"} for i in range(3)}}, trace="b" * 32)
    wait_for(lambda: len([s for s in collector.spans() if s["traceId"] == "b" * 32]) == 4)
    batch = [s for s in collector.spans() if s["traceId"] == "b" * 32]
    equal("a batch is one span with a child a decision", (sorted(s["name"] for s in batch), [s["at"].get("regent.decisions") for s in batch if s["name"] == "rest"]),
          (["evaluate"] * 3 + ["rest"], [3]))
    message = check_request(path="/x", headers={"traceparent": f"00-{'c' * 32}-{SPAN}-01"}, context={"tenant_id": "path"})
    equal("Envoy's Check", grpc_call(node.grpc, message)[0], 0)
    wait_for(lambda: collector.of("path", "ext_authz"))
    equal("of the request that it describes", [(s["traceId"], s["at"].get("rpc.grpc.status_code"), s["at"]["regent.decision"]) for s in collector.of("path", "ext_authz")],
          [("c" * 32, 0, "allow")])
    ask(node.rest, "GET", "/authz/envoy/x", b"", {"x-tenant-id": "path", "traceparent": f"00-{'d' * 32}-{SPAN}-01"})
    check("Envoy over HTTP", wait_for(lambda: any(s["traceId"] == "d" * 32 for s in collector.of("path", "http_authz"))), collector.of("path"))
    ask(node.rest, "GET", "/health", b"", {"traceparent": f"00-{'e' * 32}-{SPAN}-01"})
    ask(node.rest, "POST", "/v1/data/p/allow", "{}", {"x-tenant-id": "acme", "traceparent": f"00-{TRACE.upper()}-{SPAN}-01"})
    ask(node.rest, "POST", "/v1/data/p/allow", "{", {"x-tenant-id": "acme", "traceparent": f"00-{'f' * 32}-{SPAN}-01"})
    time.sleep(0.8)
    equal("what asks nothing has no span", [s["name"] for s in collector.spans() if s["traceId"] in ("e" * 32, "f" * 32, TRACE.upper())], [])


def sampling_cases(collector, node):
    before = len(collector.spans())
    for _ in range(50):
        node.ask("acme", flags="00")
        node.ask("acme")
    node.ask("acme", flags="01", trace="a" * 32)
    check("who is asked to keep one, keeps it", wait_for(lambda: any(s["traceId"] == "a" * 32 for s in collector.spans())))
    equal("and nothing else, at 0", len(collector.spans()) - before, 2)
    node.write(f"{{otlp_url: 'http://127.0.0.1:{collector.port}', sample: 1}}")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: node.logged("configuration read again"))
    for _ in range(20):
        node.ask("acme", flags="00")
        node.ask("acme")
    check("at 1 all that say nothing", wait_for(lambda: len(collector.spans()) - before == 42), len(collector.spans()) - before)
    fresh = [s for s in collector.of("acme", "rest") if "parentSpanId" not in s]
    equal("each begins a trace of its own", len({s["traceId"] for s in fresh}), 20)
    node.write(f"{{otlp_url: 'http://127.0.0.1:{collector.port}', sample: 0.5}}")
    node.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(node.logged("configuration read again")) == 2)
    before = len(collector.spans())
    for _ in range(200):
        node.ask("acme")
    wait_for(lambda: len(collector.spans()) - before > 400, 1.5)
    share = (len(collector.spans()) - before) / 400
    check("at 0.5 about half", 0.25 < share < 0.75, share)


def fault_cases():
    port = free_port()
    node = Node(f"{{otlp_url: 'http://127.0.0.1:{port}/v1/traces', sample: 1}}")
    node.ask("acme")
    check("nobody there: said once", wait_for(lambda: node.logged("traces not taken")), open(node.log).read())
    check("and counted", wait_for(lambda: node.metric("regent_trace_exports_failed_total")))
    equal("requests are answered", {node.ask("acme") for _ in range(20)}, {200})
    collector = Collector(port)
    check("when it comes, nothing is lost", wait_for(lambda: len(collector.of("acme", "rest")) == 21, 20), len(collector.spans()))
    check("and that is said", wait_for(lambda: node.logged("traces taken again")))
    equal("one warning for all tries", len(node.logged("traces not taken")), 1)
    collector.answers = [503, 429]
    node.ask("acme", flags="01", trace="1" * 32)
    check("busy: sent again", wait_for(lambda: any(s["traceId"] == "1" * 32 for s in collector.spans()), 20))
    collector.answers = [400]
    lost = node.metric('regent_trace_spans_dropped_total{reason="not_taken"}')
    node.ask("acme", flags="01", trace="2" * 32)
    check("refused: dropped and counted", wait_for(lambda: node.metric('regent_trace_spans_dropped_total{reason="not_taken"}') == lost + 2))
    node.ask("acme", flags="01", trace="3" * 32)
    check("the next one goes", wait_for(lambda: any(s["traceId"] == "3" * 32 for s in collector.spans())))
    check("the refused one was not sent again", not any(s["traceId"] == "2" * 32 for s in collector.spans()))
    collector.hang = 30
    slowest = 0
    for _ in range(2400):
        began = time.time()
        node.ask("acme")
        slowest = max(slowest, time.time() - began)
    check("a collector that hangs holds nobody up", slowest < 2, slowest)
    check("what does not fit is dropped and counted", wait_for(lambda: node.metric('regent_trace_spans_dropped_total{reason="full"}')),
          node.metric('regent_trace_spans_dropped_total{reason="full"}'))
    began = time.time()
    equal("the node ends well", stop(node.process), 0)
    check("without waiting for it", time.time() - began < 9, time.time() - began)
    collector.shutdown()


def last_case():
    collector = Collector()
    node = Node(f"{{otlp_url: 'http://127.0.0.1:{collector.port}/', sample: 1}}")
    for _ in range(5):
        node.ask("acme")
    stop(node.process)
    equal("at the end what waits is sent", len(collector.of("acme", "rest")), 5)
    collector.shutdown()


main = Collector()
first = Node(f"{{otlp_url: 'http://127.0.0.1:{main.port}', sample: 0, service: 'edge \"7\"'}}")
shape_cases(main, first)
door_cases(main, first)
sampling_cases(main, first)
equal("the node ends well", stop(first.process), 0)
fault_cases()
last_case()
finish()
