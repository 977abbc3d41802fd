"""Checks the limits of tenants at the doors, whose limit holds, fair turns, shedding, and what SIGHUP changes while requests run.

in:  $BUILD/regent; curl. out: TAP lines; exit status 1 when a case fails. owns: the nodes it starts.
"""
import io
import json
import os
import signal
import socket
import tarfile
import threading
import time

from edge_lib import BUILD, REGENT, TMP, Check, build, check, check_request, equal, finish, free_port, http, parse_reply, start, stop, wait_for

SPIN = "allow if { some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j < 0 }"
POLICIES = {
    "good": "allow if { input.user == \"ann\" }",
    "spin": SPIN,
    "slow": "allow if { count([1 | some i in numbers.range(1, 60); some j in numbers.range(1, 1000); i * j >= 0]) == 60000 }",
    "memory": "allow if { x := numbers.range(1, 20000000); count(x) < 0 }",
    "large": "allow := [sprintf(\"%d-%d\", [i, j]) | some i in numbers.range(1, 50); some j in numbers.range(1, 50)]",
    "path": "allow if { startswith(input.attributes.request.http.path, \"/x\") }",
    "undefined": "allow if { input.user == \"nobody\" }",
}


class Node:
    """A node with a configuration of its own."""
    number = 0

    def __init__(self, tenants, limits="{}", node="", listeners="", poll="50ms"):
        Node.number += 1
        self.folder = os.path.join(TMP, f"limits-{Node.number}")
        os.makedirs(self.folder + "/tenants")
        self.file, self.log = self.folder + "/edge.yaml", self.folder + "/log"
        self.rest, self.grpc = free_port(), free_port()
        self.settings = {"limits": limits, "node": node, "listeners": listeners, "poll": poll}
        for tenant, policy in tenants.items():
            policy, manifest = policy if isinstance(policy, tuple) else (policy, None)
            self.bundle(tenant, policy, manifest)
        self.write()
        self.process = start([REGENT, "edge", "--config", self.file], self.log)
        if not wait_for(lambda: self.logged("ready")):
            raise RuntimeError("the node does not start: " + open(self.log).read())

    def bundle(self, tenant, policy, manifest=None):
        made = f"{self.folder}/made/{tenant}.tar.gz"
        build({"p.rego": f"package p\n{POLICIES[policy]}\n"}, ["p/allow"], made)
        if manifest:
            set_limits(made, manifest)
        os.makedirs(f"{self.folder}/tenants/{tenant}", exist_ok=True)
        os.rename(made, f"{self.folder}/tenants/{tenant}/bundle.tar.gz")

    def write(self, **settings):
        s = self.settings = {**self.settings, **settings}
        with open(self.file + ".new", "w", encoding="utf-8") as f:
            f.write(f"""tenants: {{directory: {self.folder}, poll: {s["poll"]}}}
tenant_from:
  - context_extension: tenant_id
  - header: {{name: x-tenant-id, trusted: [127.0.0.0/8, unix]}}
listeners:
  - {{name: rest, address: "127.0.0.1:{self.rest}", doors: [rest, http_authz, health, metrics, status]}}
  - {{name: grpc, address: "127.0.0.1:{self.grpc}", doors: [ext_authz]}}
{s["listeners"]}
limits: {s["limits"]}
node: {{threads: 2, {s["node"]}}}
log: {{level: {s.get("level", "info")}, format: json}}
""")
        os.rename(self.file + ".new", self.file)

    def reload(self, **settings):
        """Writes the file anew and says so; True when it was taken over, False when refused."""
        done, refused = len(self.logged("configuration read again")), len(self.logged("configuration refused"))
        if settings:
            self.write(**settings)
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(self.logged("configuration read again")) > done or len(self.logged("configuration refused")) > refused)
        return len(self.logged("configuration read again")) > done

    def lines(self):
        return [json.loads(line) for line in open(self.log) if line.startswith("{")]

    def logged(self, message, **fields):
        return [l for l in self.lines() if l["msg"] == message and all(str(l.get(k)) == v for k, v in fields.items())]

    def ask(self, tenant, value='{"user":"ann"}', port=None):
        status, _, body = http(port or self.rest, "POST", "/v1/data/p/allow", f'{{"input":{value}}}', {"x-tenant-id": tenant})
        return status, body

    def call(self, tenant, path="/"):
        return Check(self.grpc, check_request(path=path, context={"tenant_id": tenant}))

    def metrics(self):
        text = http(self.rest, "GET", "/metrics")[2].decode()
        return {k: float(v) for k, v in (l.rsplit(" ", 1) for l in text.splitlines() if l and l[0] != "#")}

    def reached(self, tenant, limit):
        return self.metrics().get(f'regent_limit_total{{tenant_id="{tenant}",limit="{limit}"}}', 0)


def set_limits(path, limits):
    """Writes metadata.regent.limits into a bundle's manifest."""
    with tarfile.open(path) as t:
        files = {m.name: t.extractfile(m).read() for m in t.getmembers() if m.isfile()}
    name = next(n for n in files if n.endswith(".manifest"))
    manifest = json.loads(files[name])
    manifest.setdefault("metadata", {}).setdefault("regent", {})["limits"] = limits
    files[name] = json.dumps(manifest).encode()
    with tarfile.open(path + ".new", "w:gz") as t:
        for n, data in files.items():
            info = tarfile.TarInfo(n)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    os.rename(path + ".new", path)


class Client:
    """One kept-alive connection."""

    def __init__(self, port, tenant):
        self.tenant, self.socket, self.rest = tenant, socket.create_connection(("127.0.0.1", port), timeout=20), b""

    def send(self, value='{"user":"ann"}'):
        body = f'{{"input":{value}}}'.encode()
        self.socket.sendall(b"POST /v1/data/p/allow HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: %s\r\nContent-Length: %d\r\n\r\n%s" %
                            (self.tenant.encode(), len(body), body))

    def receive(self):
        while True:
            head, found, rest = self.rest.partition(b"\r\n\r\n")
            if found:
                n = int(next(l for l in head.lower().split(b"\r\n") if l.startswith(b"content-length:")).split(b":")[1])
                if len(rest) >= n:
                    status, _, body, self.rest = parse_reply(self.rest)
                    return status, body
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("closed")
            self.rest += data

    def ask(self):
        self.send()
        return self.receive()

    def close(self):
        self.socket.close()


# ---- each limit, at both doors ----
def each_limit():
    node = Node({"good": "good", "spin": "spin", "memory": "memory", "large": "large", "path": "path", "undefined": "undefined"},
                """
  default: {deadline: 30ms, memory: 16MiB, input: 4KiB, output: 8KiB, log_lines_per_second: 1000}
  tenants:
    memory: {deadline: 200ms}
    rate: {requests_per_second: 5, burst: 3}
    quiet: {log_lines_per_second: 2}""")
    node.bundle("rate", "good")
    node.bundle("quiet", "undefined")
    wait_for(lambda: node.ask("quiet")[0] == 200 and node.ask("rate")[0] == 200)
    time.sleep(1)
    for tenant, limit, phrase in [("spin", "deadline", "deadline"), ("memory", "memory", "memory"), ("large", "output", "larger")]:
        status, body = node.ask(tenant)
        check(f"{limit} over REST: an error, not a decision", status == 500 and b'"result":' not in body and phrase.encode() in body, (status, body))
        reply = node.call(tenant)
        check(f"{limit} over ext_authz: denied with a reason", reply.status == 0 and reply.ok is None and phrase in (reply.body or ""),
              (reply.status, reply.ok, reply.body))
        equal(f"{limit} is counted for its tenant", node.reached(tenant, limit), 2)
        equal(f"{limit} is counted for nobody else", node.reached("good", limit), 0)
        check(f"the log line names {limit}", node.logged("denied", tenant_id=tenant, limit=limit))
    status, body = node.ask("good", '{"user":"ann","more":"%s"}' % ("x" * 5000))
    check("input over REST: an error", status in (413, 500) and b"input" in body, (status, body))
    reply = node.call("path", "/" + "x" * 5000)
    check("input over ext_authz: denied", reply.status == 0 and reply.ok is None, (reply.status, reply.body, reply.ok))
    reply = node.call("path", "/" + "x" * 50)
    check("a shorter one is allowed", reply.status == 0 and reply.code == 0, (reply.status, reply.code, reply.message, reply.body))
    equal("input is counted", [node.reached("good", "input"), node.reached("path", "input")], [1, 1])
    equal("and smaller ones are answered", node.ask("good")[0], 200)

    statuses = [node.ask("rate")[0] for _ in range(6)]
    equal("a burst, then 429", statuses, [200, 200, 200, 429, 429, 429])
    reply = node.call("rate")
    check("rate over ext_authz: denied with 429", reply.status == 0 and reply.ok is None and reply.http_status == 429,
          (reply.status, reply.http_status, reply.message))
    equal("rate is counted", node.reached("rate", "requests_per_second"), 4)
    time.sleep(0.45)
    equal("the bucket fills again, at its rate", [node.ask("rate")[0] for _ in range(4)][:3], [200, 200, 429])
    for _ in range(20):
        node.ask("quiet")
    lines = len(node.logged("denied", tenant_id="quiet"))
    check("log lines are bounded by tenant", lines <= 6, lines)
    check("and those left out are counted", node.reached("quiet", "log_lines_per_second") >= 14)
    stop(node.process)


# ---- concurrency, and requests that come again ----
def concurrency():
    node = Node({"spin": "spin", "slow": "slow", "good": "good"},
                "{default: {deadline: 300ms}, tenants: {spin: {concurrent: 3, requests_per_second: 1000, burst: 8}}}", "queue: {wait: 5s}")
    clients = [Client(node.rest, "spin") for _ in range(8)]
    for c in clients:
        c.send()
    statuses = sorted(c.receive()[0] for c in clients)
    equal("three at once, the others 429", statuses, [429] * 5 + [500] * 3)
    equal("counted", node.reached("spin", "concurrent"), 5)
    equal("a place is free again", clients[0].ask()[0], 500)
    for c in clients:
        c.close()
    equal("a request that is put off is counted once", node.metrics()['envoy_wasm_opa_total{tenant_id="spin"}'], 9)
    status, body = node.ask("slow")
    check("what is longer than a slice is decided in a lane", status == 200 and b"true" in body, (status, body))
    check("and known as such", node.metrics()["regent_slice_overruns_total"] >= 1)
    time.sleep(0.5)
    check("no place is lost", all(node.ask("good")[0] == 200 for _ in range(20)))
    stop(node.process)
    gone = Node({"spin": "spin"}, "{default: {deadline: 100ms, concurrent: 2}}")
    for _ in range(6): # clients that leave give their places back
        c = Client(gone.rest, "spin")
        c.send()
        time.sleep(0.02)
        c.close()
        time.sleep(0.25)
    check("clients that leave give their places back", wait_for(lambda: gone.ask("spin")[0] == 500))
    stop(gone.process)


# ---- the strictest holds ----
def strictest():
    tight, loose = {"requests_per_second": 2, "burst": 2}, {"requests_per_second": 1000, "burst": 1000}
    node = Node({"plain": "good", "own": ("good", tight), "over": "good", "both": ("good", loose), "tighter": ("good", tight)},
                """
  default: {requests_per_second: 100, burst: 20}
  tenants:
    over: {requests_per_second: 3, burst: 3}
    both: {requests_per_second: 4, burst: 4}
    tighter: {requests_per_second: 50, burst: 50}""")

    def burst(tenant):
        return sum(node.ask(tenant)[0] == 200 for _ in range(30))
    equal("the default's", burst("plain") in range(20, 31), True)
    equal("the bundle's, stricter than the default", burst("own"), 2)
    equal("an override's", burst("over"), 3)
    equal("the override's, where the bundle asks for more", burst("both"), 4)
    equal("the bundle's, where the override allows more", burst("tighter"), 2)
    node.bundle("tighter", "good", {"requests_per_second": 6, "burst": 6})
    check("a new bundle brings its own", wait_for(lambda: (time.sleep(1.2), burst("tighter"))[1] == 6, 10))
    node.bundle("own", "good", {"requests_per_second": "many"})
    check("a bundle with a limit that makes no sense is refused", wait_for(lambda: node.logged("bundle refused", tenant_id="own")))
    time.sleep(1.1)
    equal("and the one before serves on", burst("own"), 2)
    stop(node.process)


# ---- fair turns, bounded waiting ----
def ask_for(seconds, port, tenant, out):
    c, end = Client(port, tenant), time.time() + seconds
    while time.time() < end:
        began = time.time()
        status, _ = c.ask()
        out.append((status, time.time() - began))
    c.close()


def fairness():
    node = Node({"spin": "spin", "slow": "slow", "good": "good"}, "{default: {deadline: 60ms}}", "queue: {requests: 40, wait: 1s}")
    hostile, slow, good = [], [], []
    threads = [threading.Thread(target=ask_for, args=(3, node.rest, "spin", hostile)) for _ in range(20)]
    threads += [threading.Thread(target=ask_for, args=(3, node.rest, t, out)) for t, out in [("slow", slow), ("good", good)]]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check("the spinning tenant's calls all end with an error", hostile and all(s in (500, 503) for s, _ in hostile), {s for s, _ in hostile})
    check("and in bounded time", max(t for _, t in hostile) < 2, max(t for _, t in hostile))
    check(f"a tenant with slow calls gets turns beside it ({len(slow)} calls)", len(slow) >= 10 and all(s == 200 for s, _ in slow),
          sorted({(s, round(t, 2)) for s, t in slow if s != 200}))
    times = sorted(t for _, t in good)
    check(f"others are not held up (median {times[len(times) // 2] * 1000:.2f} ms, {len(times)} calls)",
          all(s == 200 for s, _ in good) and times[len(times) // 2] < 0.02 and len(good) > 100)
    stop(node.process)


def shedding():
    node = Node({"spin": "spin", "slow": "slow"}, "{default: {deadline: 100ms}}", "queue: {requests: 10, wait: 150ms}")
    clients = [Client(node.rest, "spin") for _ in range(60)]
    began = time.time()
    for c in clients:
        c.send()
    late = Client(node.rest, "slow")
    status, _ = late.ask()
    equal("a queue full of one tenant's requests has room for another's", status, 200)
    statuses = [c.receive()[0] for c in clients]
    took = time.time() - began
    check("what does not fit is refused with 503", statuses.count(503) >= 40 and set(statuses) <= {500, 503}, statuses)
    check(f"all are answered in bounded time ({took:.2f} s)", took < 3)
    check("counted", node.metrics()["regent_requests_shed_total"] >= 40)
    equal("nothing waits any more", node.metrics()['regent_queue_requests{queue="lane"}'], 0)
    for c in clients:
        c.send()
    stop(node.process)
    check("stopping in the midst of it", node.process.returncode == 0, node.process.returncode)


# ---- SIGHUP ----
def reload_limits():
    node = Node({"a": "good", "b": "good"}, "{default: {deadline: 50ms}}")
    equal("no limit yet", [node.ask("a")[0] for _ in range(5)], [200] * 5)
    check("taken over", node.reload(limits="{tenants: {a: {requests_per_second: 2, burst: 2}}}"))
    equal("a new limit holds", [node.ask("a")[0] for _ in range(5)], [200, 200, 429, 429, 429])
    equal("for that tenant", [node.ask("b")[0] for _ in range(5)], [200] * 5)
    check("a wrong file is refused", not node.reload(limits="{default: {deadlin: 5ms}}"))
    refused = node.logged("configuration refused")
    check("with the place", refused and "edge.yaml:" in refused[-1].get("file", "") and "deadlin" in refused[-1]["reason"], refused)
    time.sleep(1.1)
    equal("and the one before holds", [node.ask("a")[0] for _ in range(3)], [200, 200, 429])
    check("lifted again", node.reload(limits="{default: {deadline: 50ms}}"))
    equal("no limit any more", [node.ask("a")[0] for _ in range(5)], [200] * 5)
    check("what needs a new start", node.reload(node="lane_threads: 7"))
    equal("is named", [l["keys"] for l in node.logged("settings that wait for a new start")], ["node.lane_threads"])
    node.reload(level="error")
    node.reload(level="info", node="")
    equal("counted", node.metrics()["regent_reloads_refused_total"], 1)
    stop(node.process)


def reload_listeners():
    node = Node({"a": "good", "b": "good"})
    extra, path = free_port(), TMP + "/reload.sock"
    listeners = f"""  - {{name: extra, address: "127.0.0.1:{extra}", doors: [rest], tenants: [a]}}
  - {{name: local, address: "unix:{path}", doors: [rest]}}"""
    old = Client(node.rest, "a")
    equal("before", old.ask()[0], 200)
    check("listeners are added", node.reload(listeners=listeners))
    equal("and answer, for their tenants", [node.ask("a", port=extra)[0], node.ask("b", port=extra)[0] == 200], [200, False])
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(b"POST /v1/data/p/allow HTTP/1.1\r\nHost: a\r\nX-Tenant-Id: b\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        check("also on a Unix socket", s.recv(1000).startswith(b"HTTP/1.1 200"))
    check("changed", node.reload(listeners=listeners.replace("tenants: [a]", "tenants: [b]")))
    equal("for others now", [node.ask("a", port=extra)[0] == 200, node.ask("b", port=extra)[0]], [False, 200])
    check("an address in use refuses the whole", not node.reload(
        listeners=listeners + f'\n  - {{name: taken, address: "127.0.0.1:{busy_port()}", doors: [rest]}}'))
    equal("nothing changed", node.ask("b", port=extra)[0], 200)
    check("removed", node.reload(listeners=""))

    def refused():
        try:
            socket.create_connection(("127.0.0.1", extra), timeout=1).close()
        except ConnectionRefusedError:
            return True
        return False
    check("nobody listens there any more", wait_for(refused, 3))
    equal("the oldest connection lives on", old.ask()[0], 200)
    stop(node.process)


held = []


def busy_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen()
    held.append(s)
    return s.getsockname()[1]


def reload_under_load():
    node = Node({"good": "good", "slow": "slow"}, "{default: {deadline: 1s}}", "queue: {wait: 10s}", poll="20ms")
    results = {"good": [], "slow": []}
    threads = [threading.Thread(target=ask_for, args=(3, node.rest, t, results[t])) for t in ["good", "good", "slow", "slow"]]
    for t in threads:
        t.start()
    n = 0
    extra = free_port()
    while any(t.is_alive() for t in threads):
        rate = 100000 + n
        n += node.reload(limits=f"{{default: {{deadline: 1s, requests_per_second: {rate}, burst: {rate}}}}}",
                         listeners=f'  - {{name: extra, address: "127.0.0.1:{extra}", doors: [rest]}}' if n % 2 else "")
    bad = [s for r in results.values() for s, _ in r if s != 200]
    check(f"{n} reloads, {sum(map(len, results.values()))} requests: none lost", n > 10 and not bad and all(results.values()),
          (bad[:10], node.logged("denied")[:10], {k: v for k, v in node.metrics().items() if "shed" in k or "limit" in k}))
    stop(node.process)
    equal("a clean end", node.process.returncode, 0)


for part in [each_limit, concurrency, strictest, fairness, shedding, reload_limits, reload_listeners, reload_under_load]:
    try:
        part()
    except Exception as e:  # a part that breaks must not hide the others
        import traceback
        check(part.__name__, False, traceback.format_exc() if not isinstance(e, AssertionError) else repr(e))
finish()
