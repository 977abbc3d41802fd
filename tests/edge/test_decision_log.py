#!/usr/bin/env python3
"""Decision logs: each event beside the one of a real OPA, every door, masks, limits, files and log services that fail.

in: BUILD, OPA; part names as arguments. out: TAP. owns: the nodes, OPA and log services it starts."""
import hashlib
import json
import os
import re
import resource
import subprocess
import tarfile
import time
import urllib.parse

from edge_lib import OPA, REGENT, TMP, Check, check, check_request, equal, free_port, http, run_parts, start, wait_for
from log_lib import ENTRYPOINTS, POLICY, Node, Service

SECRET = "s3cr3t-of-the-test"
MASK = """package system.log

mask contains "/input/password"

mask contains "/input/list/1"

mask contains "/input/deep/a/0/b"

mask contains "/input/missing/x"

mask contains "/input/a b"

mask contains "/result/user"

mask contains {"op": "upsert", "path": "/input/card", "value": {"n": "****"}} if input.input.card

mask contains {"op": "upsert", "path": "/input/new/deep", "value": 1} if input.input.card

mask contains {"op": "upsert", "path": "/input/list/0", "value": "first"}

mask contains {"op": "remove", "path": "/input/gone"}

drop if input.input.quiet
"""
PLAIN = ({"p.rego": POLICY}, ENTRYPOINTS)
LOGGED = ENTRYPOINTS + ["system/log/mask", "system/log/drop"]
MASKED = ({"p.rego": POLICY, "log.rego": MASK}, LOGGED)


def node_of(tenants, log="{file: FILE}", **more):
    node_of.n = getattr(node_of, "n", 0) + 1
    return Node(f"log{node_of.n}", log, tenants, **more)


# ---- beside OPA ----
def without_what_differs(event):
    """An event without what no two servers have in common, whose form is checked here."""
    e = dict(event)
    shapes = {"decision_id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$",
              "requested_by": r"127\.0\.0\.1:\d+$"}
    wrong = [name for name, shape in shapes.items() if not re.match(shape, str(e.pop(name, "")))]
    labels = {k: v for k, v in e.pop("labels").items() if k not in ("id", "version")}
    wrong += [] if isinstance(e.pop("req_id"), int) else ["req_id"]
    metrics = e.pop("metrics")
    wrong += [m for m in ("timer_rego_query_eval_ns", "timer_server_handler_ns") if not isinstance(metrics.get(m), int)]
    for name in ("bundles", "custom", "rule_labels"):
        e.pop(name, None)
    for name in ("erased", "masked"):
        if name in e:
            e[name] = sorted(e[name])
    if "error" in e:
        e["error"] = e["error"].get("code")
    return {**e, "labels": labels, "wrong": wrong}


REQUESTS = [
    ("POST", "app/allow", {"input": {"user": "ann", "note": "é \u2028 <b>", "n": 1.50}}),
    ("POST", "app/allow", {"input": {"user": "bob"}}),
    ("POST", "app/allow", {}),
    ("POST", "app/allow", {"input": None}),
    ("POST", "app/all", {"input": {"user": "ann"}}),
    ("POST", "app/nothing", {"input": {"user": "ann"}}),
    ("POST", "app/pick", {"input": {"a": True, "b": True}}),
    ("GET", "app/allow?input=" + urllib.parse.quote('{"user":"ann", "x": [1, 2]}'), None),
    ("GET", "app/allow", None),
    ("POST", "app/allow", {"input": {"user": "ann", "password": SECRET, "list": [0, 1, 2], "deep": {"a": [{"b": 1, "c": 2}, 3]}}}),
    ("POST", "app/all", {"input": {"user": "ann", "card": {"number": SECRET}, "list": ["x"], "gone": None}}),
    ("POST", "app/all", {"input": {"user": "ann", "quiet": True}}),
    ("POST", "app/allow", {"input": [1, 2, 3]}),
    ("POST", "app/allow", {"input": "text"}),
]


def beside_opa():
    theirs, ours, port = Service(), Service(), free_port()
    folder = os.path.join(TMP, "opa")
    os.makedirs(folder)
    for name, text in (("p.rego", POLICY), ("log.rego", MASK)):
        with open(f"{folder}/{name}", "w") as f:
            f.write(text)
    with open(folder + ".json", "w") as f:
        json.dump({"services": {"s": {"url": theirs.url}}, "labels": {"region": "eu"}, "decision_logs": {
            "service": "s", "reporting": {"min_delay_seconds": 1, "max_delay_seconds": 1},
            "request_context": {"http": {"headers": ["x-request-id", "user-agent"]}}}}, f)
    opa = start([OPA, "run", "--server", "-a", f"127.0.0.1:{port}", "-c", folder + ".json", "--disable-telemetry", folder], folder + ".log")
    node = node_of({"acme": MASKED}, "{file: FILE, headers: [x-request-id, user-agent], "
                   f"service: {{url: '{ours.url}/', resource: /logs, partition: p, min_delay: 500ms, max_delay: 500ms}}}}",
                   more="labels: {region: eu}\n")
    check("OPA answers", wait_for(lambda: http(port, "GET", "/health")[0] == 200))
    ids = {"theirs": [], "ours": []}
    for method, path, body in REQUESTS:
        text = json.dumps(body, ensure_ascii=False) if body is not None else ""
        for name, at in (("theirs", port), ("ours", node.rest)):
            reply = http(at, method, f"/v1/data/{path}", text, {"x-tenant-id": "acme", "x-request-id": "r1"})
            ids[name].append(json.loads(reply[2]).get("decision_id"))
    n = len(REQUESTS) - 1  # one is dropped
    check("both send their events", theirs.got(n) and ours.got(n), (len(theirs.events), len(ours.events)))
    equal("replies with a decision_id", [i is None for i in ids["ours"]], [i is None for i in ids["theirs"]])
    logged = {name: {e["decision_id"]: e for e in s.events} for name, s in (("theirs", theirs), ("ours", ours))}
    conflict = [[e for e in s.events if e.get("path") == "app/pick"][0]["decision_id"] for s in (theirs, ours)]
    for i, (method, path, body) in enumerate(REQUESTS):
        a, b = ids["theirs"][i] or conflict[0], ids["ours"][i] or conflict[1]
        pair = [e and without_what_differs(e) for e in (logged["theirs"].get(a), logged["ours"].get(b))]
        equal(f"the event of {method} {path} {json.dumps(body)[:60]} is OPA's", pair[1], pair[0])
    equal("the service is asked as OPA asks", {k: ours.requests[0][k] for k in ("path", "status")}, {"path": "/logs/p", "status": 200})
    for name in ("content-type", "content-encoding"):
        equal(f"… with {name}", ours.requests[0]["headers"].get(name), theirs.requests[0]["headers"].get(name))
    file = node.events(n)
    equal("the file has the same events", sorted(map(json.dumps, file)), sorted(map(json.dumps, ours.events)))
    equal("what names the decider", [file[0]["bundles"], file[0]["custom"]["tenant_id"], file[0]["custom"]["door"]],
          [{"acme": {"revision": "r1"}}, "acme", "rest"])
    check("no secret is in the log", SECRET not in open(node.file).read())
    equal("dropped by the policy", node.metric("dropped_by_policy_total"), 1)
    equal("OPA ends", [opa.poll(), node.stop()], [None, 0])


# ---- doors ----
def doors():
    node = node_of({"acme": PLAIN, "globex": PLAIN, "slow": PLAIN, "free-1": MASKED}, "{file: FILE, console: true}",
                   more=f"store: {{directory: {TMP}/store}}\n"
                        "groups: [{name: free, tenants: ['free-*']}]\nauthz: {path: app/allow}\n"
                        "limits: {tenants: {slow: {requests_per_second: 1, burst: 1}}}\n")
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    node.ask("acme", headers=trace)
    grpc = Check(node.grpc, check_request("GET", "/x", trace, context={"tenant_id": "acme"}))
    http(node.rest, "GET", "/authz/envoy/y", "", {"x-tenant-id": "globex", **trace})
    http(node.rest, "POST", "/v0/data/app/allow", '{"user": "ann"}', {"x-tenant-id": "acme", **trace})
    events = node.events(4)
    equal("each door's event", [(e["custom"]["door"], e["custom"]["tenant_id"], e["path"], e.get("result")) for e in events],
          [("rest", "acme", "app/allow", True), ("ext_authz", "acme", "app/allow", False), ("http_authz", "globex", "app/allow", False),
           ("rest", "acme", "app/allow", True)])
    equal("the trace is the request's", {(e.get("trace_id"), e.get("span_id")) for e in events},
          {("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")})
    equal("ext_authz tells its decision_id", grpc.metadata["decision_id"], events[1]["decision_id"])
    check("ext_authz logs its input document", events[1]["input"]["version"]["ext_authz"] == "v3", events[1]["input"])
    equal("v0's input", events[3]["input"], {"user": "ann"})
    reply = http(node.rest, "POST", "/v1/batch/data/app/allow", json.dumps({"inputs": {"a": {"user": "ann"}, "b": {"user": "bob"}}}),
                 {"x-tenant-id": "acme"})
    batch, events = json.loads(reply[2]), node.events(6)[4:]
    equal("a batch's events", [(e["result"], e["input"]["user"]) for e in events], [(True, "ann"), (False, "bob")])
    equal("… have its id", {e["batch_decision_id"] for e in events}, {batch["batch_decision_id"]})
    equal("… and their own", [e["decision_id"] for e in events], [batch["responses"][k]["decision_id"] for k in "ab"])
    equal("over its rate", [node.ask("slow")[0] for _ in range(2)], [200, 429])
    node.ask("nobody")
    http(node.rest, "POST", "/v1/data/app/allow", '{"input": {', {"x-tenant-id": "acme"})
    Check(node.grpc, b"\xff\xff")
    node.ask("free-1", body={"input": {"user": "ann", "password": SECRET}})
    events = node.events(11)[6:]
    refused = {e["custom"]["tenant_id"]: e for e in events if "error" in e}
    equal("refusals have the reason", {t: e["error"]["code"] for t, e in refused.items()}, {"slow": "rate", "nobody": "not_found", "": "input"})
    equal("a worker group's event is masked", [(e["input"], e["result"], e["erased"]) for e in events if e["custom"]["tenant_id"] == "free-1"],
          [({"user": "ann", "list": {"0": "first"}}, True, ["/input/password"])])
    console = [json.loads(line) for line in open(node.err) if '"Decision Log"' in line]
    strip = [{k: v for k, v in e.items() if k not in ("level", "msg", "type")} for e in console]
    equal("the console has the same", sorted(map(json.dumps, strip)), sorted(json.dumps(e) for e in map(json.loads, node.lines())))
    equal("the node ends", node.stop(), 0)
    with tarfile.open(f"{node.folder}/tenants/acme/bundle.tar.gz") as t:
        sha = hashlib.sha256(t.extractfile("/policy.wasm").read()).hexdigest()
    equal("events name the module that decided", {e["custom"].get("module_sha256") for e in node.events(11) if e["custom"]["tenant_id"] == "acme"
                                                  and e["custom"]["door"] == "rest"}, {sha})
    for words in (["--directory", node.folder], ["--store", TMP + "/store"]):
        done = subprocess.run([REGENT, "replay", node.file, *words, "-f", "json"], capture_output=True, text=True)
        said = json.loads(done.stdout)
        equal(f"replay {words[0]} gets the same answers", (done.returncode, said["same"], said["skipped"]),
              (0, 7, {"masked": 1, "refused by a limit or fault": 3}))


def useless():
    """Decisions that turn out to be of no use to their door: one event, with what was decided and why it was refused."""
    policy = 'package app\n\nbad := {"allowed": true, "headers": {"connection": "close"}}\n\ntext := "yes"\n'
    node = node_of({"acme": ({"p.rego": policy}, ["app/bad", "app/text"])}, more="authz: {path: app/bad}\n")
    equal("a header that is not the policy's to set", http(node.rest, "GET", "/authz/nginx", "", {
        "x-tenant-id": "acme", "x-original-method": "GET", "x-original-uri": "/", "x-original-scheme": "http", "x-original-address": "::1"})[0], 500)
    events = node.events(1)
    equal("is one event", [(len(events), e["result"]["allowed"], e["error"]["code"]) for e in events[:1]], [(1, True, "invalid")])
    equal("the node ends", [node.stop(), len(node.lines())], [0, 1])
    node = node_of({"acme": ({"p.rego": policy}, ["app/bad", "app/text"])}, more="authz: {path: app/text}\n")
    equal("a decision of the wrong type", Check(node.grpc, check_request("GET", "/", context={"tenant_id": "acme"})).status, 2)
    events = node.events(1)
    equal("is one event, too", [(e["result"], e["error"]["code"]) for e in events], [("yes", "invalid")])
    equal("the node ends, too", [node.stop(), len(node.lines())], [0, 1])


# ---- masks that fail ----
def failing_masks():
    tenants = {
        "conflict": 'mask := ["/input/password"] if input.path\n\nmask := [] if input.result',
        "object": 'mask := {"a": "/input/password"}',
        "number": "mask := 1",
        "prefix": 'mask contains "/labels/id"\n\nmask contains "/input/password"',
        "no slash": 'mask contains "input/password"',
        "operation": 'mask contains {"op": "replace", "path": "/input/password", "value": 1}',
        "no operation": 'mask contains {"path": "/input/password"}',
        "endless": 'mask contains p if {\n\tsome a, b, c, d in numbers.range(1, 100000)\n\ta + b + c + d < 0\n\tp := "/input/password"\n}',
        "large": 'mask contains p if {\n\txs := [x | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); x := sprintf("%d%d", [a, b])]\n'
                 '\tp := sprintf("/input/password%d", [count(xs)])\n}',
    }
    tenants["endless"] = ('mask contains p if {\n\tsome a in numbers.range(1, 100000)\n\tsome b in numbers.range(1, 100000)\n\ta + b < 0\n'
                          '\tp := "/input/password"\n}')
    built = {name.replace(" ", "-"): ({"p.rego": POLICY, "log.rego": f"package system.log\n\n{text}\n"}, ENTRYPOINTS + ["system/log/mask"])
             for name, text in tenants.items()}
    built["good"] = MASKED
    built["forgotten"] = ({"p.rego": POLICY, "log.rego": MASK}, ENTRYPOINTS)
    built["fails-to-drop"] = ({"p.rego": POLICY, "log.rego": 'package system.log\n\nmask contains "/input/password"\n\n'
                                                             'drop := true if input.path\n\ndrop := false if input.result\n'}, LOGGED)
    node = node_of(built, more="limits: {default: {deadline: 100ms, memory: 16MiB}}\n")
    body = {"input": {"user": "ann", "password": SECRET, "other": SECRET + "2"}}
    began = time.time()
    for tenant in built:
        equal(f"{tenant}: the answer", node.ask(tenant, "app/all", body)[1]["result"], {"allow": True, "user": "ann"})
    check("no answer waits for a mask", time.time() - began < 5, time.time() - began)
    events = {e["custom"]["tenant_id"]: e for e in node.events(len(built), 20)}
    equal("every decision is logged", sorted(events), sorted(built))
    for tenant in sorted(set(built) - {"good", "fails-to-drop", "forgotten"}):
        e = events.get(tenant, {})
        equal(f"{tenant}: nothing leaks", [e.get("input"), e.get("result"), e.get("erased"), e.get("error", {}).get("code")],
              [None, None, ["/input", "/result"], "mask_failed"])
    e = events["forgotten"]
    equal("masks that are no entrypoint: nothing leaks", [e.get("input"), e.get("result"), e["erased"], "mask_error" in e["custom"]],
          [None, None, ["/input", "/result"], True])
    equal("… which is said once", len({json.dumps(line) for line in node.said("events are logged without input and result")}), 1)
    equal("a good mask beside them", events["good"]["erased"], ["/input/password", "/result/user"])
    equal("a drop that fails drops nothing", [events["fails-to-drop"]["erased"], events["fails-to-drop"]["result"]],
          [["/input/password"], {"allow": True, "user": "ann"}])
    text = open(node.file).read()
    check("no password is in the log", '"password":"' + SECRET not in text)
    equal("failures are counted", node.metric("mask_failed_total"), len(built) - 2)
    equal("… by tenant", [node.metric("tenant_hidden_total"), node.metric('tenant_hidden_total{tenant_id="forgotten"}')], [len(built) - 2, 1])
    equal("the node ends", node.stop(), 0)


# ---- how much ----
def how_much():
    node = node_of({t: PLAIN for t in ("acme", "quiet", "off", "few", "half")},
                   "{file: FILE, tenants: {quiet: {sample: 0}, 'o*': {enabled: false}, few: {max_per_second: 3}, half: {sample: 0.5}}}")
    for tenant in ("quiet", "off", "few"):
        for _ in range(12):
            node.ask(tenant)
    for _ in range(200):
        node.ask("half")
    node.ask("acme")
    wait_for(lambda: node.lines() and '"acme"' in node.lines()[-1])
    counts = {}
    for line in node.lines():
        tenant = json.loads(line)["custom"]["tenant_id"]
        counts[tenant] = counts.get(tenant, 0) + 1
    equal("no events of those that are switched off", {t: counts.get(t, 0) for t in ("quiet", "off", "acme")}, {"quiet": 0, "off": 0, "acme": 1})
    check("as many as max_per_second", 3 <= counts["few"] < 12 and node.metric('dropped_total{reason="rate"}') == 12 - counts["few"], counts)
    check("about half", 50 < counts["half"] < 150, counts)
    check("denials only, from now on", node.reload("{file: FILE, denials_only: true}"))
    before = len(node.lines())
    for user in ("ann", "bob", "ann"):
        node.ask("acme", body={"input": {"user": user}})
    node.ask("acme", "app/nothing")
    events = node.events(before + 2)[before:]
    equal("denials and what is undefined", sorted(str(e.get("result")) for e in events), ["False", "None"])
    check("off", node.reload("{sample: 1}"))
    check("no decision_id when nothing is logged", "decision_id" not in node.ask("acme")[1])
    equal("the node ends", node.stop(), 0)


# ---- the file ----
def the_file():
    node = node_of({"acme": PLAIN})
    node.ask("acme")
    node.events(1)
    os.rename(node.file, node.file + ".1")
    node.ask("acme")
    check("a renamed file gets the events until SIGHUP", wait_for(lambda: len(open(node.file + ".1").readlines()) == 2))
    check("SIGHUP", node.reload("{file: FILE}"))
    check("opens it anew", wait_for(lambda: os.path.exists(node.file)))
    node.ask("acme")
    equal("the new file has the next", len(node.events(1)), 1)
    # A file that may not grow: as a full disk.
    size = os.path.getsize(node.file)
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size + 1000, resource.RLIM_INFINITY))
    equal("answers while the file cannot grow", {node.ask("acme")[0] for _ in range(40)}, {200})
    check("it is said", wait_for(lambda: node.said("the decision log cannot be written")))
    check("the file has not grown", os.path.getsize(node.file) <= size + 1000)
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    equal("nothing is lost, lines are whole", len(node.events(41)), 41)
    equal("… which is said, too", [len(node.said(m)) for m in ("the decision log cannot be written", "the decision log is written again")], [1, 1])
    os.chmod(node.file, 0o400)
    check("a folder instead of a file", node.reload(f"{{file: {TMP}}}"))
    equal("answers all the same", node.ask("acme")[0], 200)
    check("and the file again", node.reload("{file: FILE}"))
    node.ask("acme")
    check("goes on", wait_for(lambda: len(node.lines()) >= 42))
    equal("the node ends, with all written", [node.ask("acme")[0], node.stop(), len(node.lines()) >= 43], [200, 0, True])
    # More than the buffer while nothing can be written.
    node = node_of({"acme": PLAIN}, "{file: FILE, buffer: 64KiB}")
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
    for _ in range(300):
        node.ask("acme")
    check("what does not fit is dropped and counted", wait_for(lambda: node.metric("dropped_total") > 100), node.metric("dropped_total"))
    check("memory is bounded", node.metric("buffer_bytes") <= 2 * 65536, node.metric("buffer_bytes"))
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    check("events are written or counted", wait_for(lambda: len(node.lines()) + node.metric("dropped_total") == 300),
          (len(node.lines()), node.metric("dropped_total")))
    for line in node.lines():
        json.loads(line)
    equal("the node ends", node.stop(), 0)


# ---- the service ----
def the_service():
    s = Service()
    token = os.path.join(TMP, "token")
    with open(token, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write("first\n")
    s.script = [{"status": 500}, {"status": 429, "headers": {"Retry-After": "1"}}]
    node = node_of({"acme": PLAIN}, f"{{service: {{url: '{s.url}', token_file: {token}, min_delay: 100ms, max_delay: 2s, upload_size: 1KiB}}}}")
    ids = [node.ask("acme")[1]["decision_id"] for _ in range(60)]
    check("everything arrives after failures", s.got(60), len(s.events))
    equal("in order, once", [e["decision_id"] for e in s.events], ids)
    good = [r for r in s.requests if r["status"] == 200]
    check("in several uploads of at most 1 KiB", len(good) > 1 and max(r["bytes"] for r in s.requests) <= 1024, [r["bytes"] for r in s.requests])
    equal("failures come first", [r["status"] for r in s.requests[:3]], [500, 429, 200])
    check("Retry-After is heeded", s.requests[2]["time"] - s.requests[1]["time"] > 0.9)
    equal("with the token", good[0]["headers"]["authorization"], "Bearer first")
    with open(token, "w") as f:
        f.write("second\n")
    before = len(s.requests)
    s.script = [{"status": 413}]
    some = [node.ask("acme")[1]["decision_id"] for _ in range(6)]
    check("and after a 413", s.got(66), len(s.events))
    first, *rest = s.requests[before:]
    equal("with the new token", first["headers"]["authorization"], "Bearer second")
    check("in smaller parts, when there was more than one", first["n"] == 1 or rest[0]["n"] < first["n"], s.requests[before:])
    got = [e["decision_id"] for e in s.events][60:]
    check("but for what is too large alone", set(some) - set(got) == (set(first["ids"]) if first["n"] == 1 else set()), (some, got))
    # A service that is down for long: what the buffer holds is kept, the rest counted.
    check("a small buffer", node.reload(f"{{buffer: 64KiB, service: {{url: '{s.url}', min_delay: 100ms, max_delay: 300ms, upload_size: 8KiB}}}}"))
    s.events.clear()
    s.down = True
    for _ in range(400):
        node.ask("acme")
    check("events are dropped", wait_for(lambda: node.metric("dropped_total") > 100), node.metric("dropped_total"))
    check("memory is bounded", node.metric("buffer_bytes") <= 2 * 65536, node.metric("buffer_bytes"))
    check("it is said", node.said("decisions cannot be sent"))
    dropped = node.metric("dropped_total")
    s.down = False
    check("what was kept is delivered", s.got(400 - dropped), (len(s.events), dropped))
    check("… and that is said", wait_for(lambda: node.said("decisions are sent again")))
    equal("all are delivered or counted", len(s.events) + node.metric("dropped_total"), 400)
    # A service that takes the request and never answers.
    s.script = [{"stall": 60}]
    node.ask("acme")
    time.sleep(0.5)
    equal("answers while the service hangs", node.ask("acme")[0], 200)
    began = time.time()
    equal("the node ends", node.stop(), 0)
    check("soon", time.time() - began < 8, time.time() - began)
    check("and sends what it has", s.got(400 - dropped + 1, 3), (len(s.events), dropped))


def waiting():
    """when_full: wait. The log goes to a pipe that nobody reads."""
    read, write = os.pipe()
    node = node_of({"acme": PLAIN}, "{console: true, buffer: 64KiB, when_full: wait}", stdout=write)
    os.close(write)
    answered, began, slow = 0, time.time(), 0
    while time.time() - began < 15 and slow < 0.3 and answered < 2000:
        t = time.time()
        status = node.ask("acme")[0]
        slow = time.time() - t
        answered += status == 200
    check("a full log slows requests down", slow >= 0.3, (answered, slow))
    equal("nothing was dropped until then", node.metric("dropped_total") <= 1, True)
    os.set_blocking(read, False)
    text = b""

    def drain():
        nonlocal text
        try:
            while part := os.read(read, 1 << 16):
                text += part
        except BlockingIOError:
            pass
        return text.count(b"\n") + node.metric("dropped_total") >= answered
    check("when it is read, everything comes", wait_for(drain), (text.count(b"\n"), answered))
    t = time.time()
    node.ask("acme")
    check("and requests are fast again", time.time() - t < 0.3)
    equal("the node ends", node.stop(), 0)


def main():
    parts = [beside_opa, doors, useless, failing_masks, how_much, the_file, the_service, waiting]
    run_parts(parts)


if __name__ == "__main__":
    main()
