#!/usr/bin/env python3
"""How a node begins and ends: ready or not, draining, and giving its sockets to the next process without a lost request.

in: BUILD. out: TAP. owns: the servers it starts."""
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import threading
import time

from edge_lib import REGENT, TMP, build, check, equal, finish, free_port, http, start, stop, wait_for

POLICY = """package t
import rego.v1
allow if input.user == "ann"
r := numbers.range(1, 3000)
slow if { some x in r; some y in r; some z in r; x + y + z == 0 }
"""
CONFIG = """
tenants: {{directory: "{folder}", poll: 50ms}}
tenant_from: [{{header: {{name: x-tenant-id, trusted: ["127.0.0.1", unix]}}}}]
listeners:
  - {{name: all, address: "127.0.0.1:{port}", doors: [{doors}, health, metrics, status]}}
  - {{name: socket, address: "unix:{base}/rest.sock", doors: [rest, health]}}
limits: {{default: {{deadline: 700ms}}}}
node: {{threads: {threads}, takeover: "unix:{base}/takeover.sock", required: {required}, drain: {{delay: {delay}, time: 10s}}}}
{more}
log: {{level: info, format: json}}
"""
ASK = b"POST /v1/data/t/allow HTTP/1.1\r\nHost: x\r\nx-tenant-id: acme\r\nContent-Length: 26\r\n%s\r\n" + b'{"input": {"user": "ann"}}'


class Node:
    """Processes of one node, one after the other; each has a configuration file and a log of its own."""

    def __init__(self, name):
        self.base = f"{TMP}/{name}"
        self.folder = self.base + "/node"
        self.port = free_port()
        self.n = 0
        os.makedirs(self.folder + "/tenants")
        self.tenant("acme")

    def tenant(self, name):
        build({"p.rego": POLICY}, ["t/allow", "t/slow"], f"{self.folder}/tenants/{name}/bundle.tar.gz")

    def begin(self, threads=2, required="[]", delay="0ms", ready=True, doors="rest", more=""):
        self.n += 1
        path = f"{self.base}/edge{self.n}.yaml"
        with open(path, "w") as f:
            f.write(CONFIG.format(folder=self.folder, base=self.base, port=self.port, threads=threads, required=required, delay=delay,
                                  doors=doors, more=more))
        process = start([REGENT, "edge", "--config", path], path + ".log")
        process.log = path + ".log"
        if ready and not wait_for(lambda: logged(process, "ready") or process.poll() is not None, 30):
            raise RuntimeError("the node does not start: " + open(process.log).read())
        return process

    def health(self, what):
        return http(self.port, "GET", "/health" + what)[::2]


def logged(process, message):
    return [l for l in (json.loads(x) for x in open(process.log) if x.startswith("{")) if l["msg"] == message]


def ended(process, seconds=15):
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return "still there"


def connect(node, unix=False):
    s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    s.settimeout(10)
    s.connect(node.base + "/rest.sock" if unix else ("127.0.0.1", node.port))
    return s


def read_reply(s):
    """(head, body) of one reply; b"" as head: the connection ended."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = s.recv(65536)
        if not part:
            return got, b""
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    n = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < n:
        body += s.recv(65536)
    return head, body


class Load:
    """Clients that ask all the time: `fresh` by a new connection for each request, `kept` by one for as long as the server keeps it."""

    def __init__(self, node, fresh=2, kept=2, unix=1):
        self.node, self.answered, self.failures, self.over = node, 0, [], False
        clients = [(self.fresh, False)] * fresh + [(self.kept, False)] * kept + [(self.fresh, True)] * unix
        self.threads = [threading.Thread(target=self.run, args=c, daemon=True) for c in clients]
        for t in self.threads:
            t.start()

    def run(self, client, unix):
        while not self.over:
            try:
                client(unix)
            except (OSError, IndexError) as e:
                self.failures.append(f"{client.__name__}: {e!r}")
                time.sleep(0.01)

    def expect(self, reply):
        if reply[1] == b'{"result":true}\n':
            self.answered += 1
        else:
            self.failures.append(repr(reply))

    def fresh(self, unix):
        with connect(self.node, unix) as s:
            s.sendall(ASK % b"Connection: close\r\n")
            self.expect(read_reply(s))

    def kept(self, unix):
        with connect(self.node, unix) as s:
            while not self.over:
                s.sendall(ASK % b"")
                reply = read_reply(s)
                self.expect(reply)
                if b"connection: close" in reply[0].lower():
                    return

    def end(self):
        self.over = True
        for t in self.threads:
            t.join(15)
        return self.failures


# ---- ready ----
def readiness():
    node = Node("readiness")
    process = node.begin(required='[acme, "gold-*", other]')
    equal("alive", node.health(""), (200, b"{}\n"))
    equal("not ready: required tenants are missing", node.health("/ready"), (500, b'{"error":"required tenants are missing: gold-*, other"}\n'))
    equal("the same by parameter", node.health("?ready")[0], 500)
    equal("all that are there are activated", node.health("?bundles"), (200, b"{}\n"))
    node.tenant("gold-1")
    os.makedirs(node.folder + "/tenants/other")
    with open(node.folder + "/tenants/other/bundle.tar.gz", "w") as f:
        f.write("no bundle")
    check("one that cannot be loaded is missing", wait_for(lambda: node.health("/ready") == (500, b'{"error":"required tenants are missing: other"}\n')), node.health("/ready"))
    node.tenant("other")
    check("ready once all are there", wait_for(lambda: node.health("/ready") == (200, b"{}\n")), node.health("/ready"))
    equal("the configuration shows what is required", json.loads(http(node.port, "GET", "/v1/config")[2])["result"]["node"]["required"], ["acme", "gold-*", "other"])
    stop(process)
    process = node.begin(required="all")
    equal("ready with all", node.health("?ready=true"), (200, b"{}\n"))
    stop(process)


# ---- draining ----
def goaways(s):
    """Last streams of the GOAWAY frames that come until the end."""
    got, last = b"", []
    while True:
        part = s.recv(65536)
        got += part
        while len(got) >= 9 and len(got) >= 9 + int.from_bytes(got[:3], "big"):
            n = int.from_bytes(got[:3], "big")
            if got[3] == 7:
                last.append(struct.unpack(">I", got[9:13])[0])
            got = got[9 + n:]
        if not part:
            return last


def draining():
    node = Node("draining")
    process = node.begin(delay="700ms")
    load = Load(node, fresh=0, kept=3, unix=0)
    slow, idle, half, h2 = (connect(node) for _ in range(4))
    h2.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    half.sendall((ASK % b"")[:-5])
    check("clients are served", wait_for(lambda: load.answered > 100), load.failures[:3])
    process.send_signal(signal.SIGTERM)
    check("not ready first", wait_for(lambda: node.health("/ready") == (500, b'{"error":"the node is about to stop"}\n'), 3))
    equal("nor by OPA's parameter", node.health("?bundles")[0], 500)
    equal("but alive", node.health("")[0], 200)
    with connect(node) as s:
        s.sendall(ASK % b"")
        equal("and serving new clients", read_reply(s)[1], b'{"result":true}\n')
    load.over = True  # from here on new connections are refused: only those that are there count
    slow.sendall(b"GET /v1/data/t/slow HTTP/1.1\r\nHost: x\r\nx-tenant-id: acme\r\n\r\n")
    check("then nobody new is let in", wait_for(lambda: refused(node), 5))
    equal("who is there is answered after the end of accepting, and told to leave", late(idle), (True, b'{"result":true}\n'))
    half.sendall((ASK % b"")[-5:])
    reply = read_reply(half)
    equal("also who had begun to ask", (b"connection: close" in reply[0].lower(), reply[1]), (True, b'{"result":true}\n'))
    check("a long evaluation ends as it would have", b"deadline" in read_reply(slow)[1])
    equal("GOAWAY of HTTP/2 comes twice: begin no more, then the last stream", goaways(h2), [0x7fffffff, 0])
    equal("then it ends", ended(process), 0)
    equal("no client lost a request", load.end(), [])
    for s in (slow, idle, half, h2):
        s.close()


def refused(node):
    try:
        connect(node).close()
        return False
    except ConnectionRefusedError:
        return True


def late(s):
    s.sendall(ASK % b"")
    head, body = read_reply(s)
    return b"connection: close" in head.lower(), body


def hurry():
    node = Node("hurry")
    process = node.begin(delay="1m")
    with connect(node) as s:
        s.sendall(ASK % b"")
        read_reply(s)
        process.send_signal(signal.SIGTERM)
        check("drains", wait_for(lambda: node.health("/ready")[0] == 500))
        process.send_signal(signal.SIGTERM)
        equal("a second signal does not wait", ended(process, 8), 0)
    process = node.begin()
    with connect(node) as s:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        equal("a client that says nothing", ended(process, 8), 0)
        check("is waited for a second, not for all of node.drain.time", time.monotonic() - began < 6)


# ---- takeover ----
def control(node):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(10)
    s.connect(node.base + "/takeover.sock")
    return s


def takeovers():
    node = Node("takeovers")
    process = node.begin()
    equal("the control socket is the user's own", stat.S_IMODE(os.stat(node.base + "/takeover.sock").st_mode), 0o600)
    load = Load(node)
    for threads in (1, 4, 2, 3, 1, 2):
        before, served = process, load.answered
        process = node.begin(threads=threads)
        equal(f"the node before ends ({threads} threads now)", ended(before), 0)
        check("the new one serves", wait_for(lambda: load.answered > served + 50), load.failures[:3])
    failures = load.end()
    check(f"no connection refused, no request lost of {load.answered}", not failures, failures[:10])
    equal("the log says who is gone", len(logged(process, "took over")), 1)
    stop(process)
    check("the last one removes its sockets' files", not os.path.exists(node.base + "/rest.sock") and not os.path.exists(node.base + "/takeover.sock"))
    process = node.begin()
    equal("one without a node before just starts", (process.poll(), logged(process, "took over")), (None, []))
    stop(process)


def failures():
    node = Node("failures")
    process = node.begin()
    load = Load(node)
    for how, status in ((signal.SIGKILL, -9), (signal.SIGTERM, 1)):
        new = node.begin(required="[nobody]", ready=False)
        time.sleep(0.5)
        equal("a new process without its required tenants waits", (new.poll(), process.poll()), (None, None))
        second = node.begin(ready=False)
        equal("another one is refused meanwhile", (ended(second), logged(second, "cannot take over")[0]["reason"].endswith("another node is at it")), (1, True))
        equal(f"killed before it is ready by {how.name}", stop(new, how), status)
    check("the node before says so", wait_for(lambda: len(logged(process, "takeover given up")) == 2), open(process.log).read())
    with control(node) as s:
        s.send(b"regent takeover 1")
        s.recv(100)
        s.send(b"\xff" * 100)
        equal("nonsense ends the talk", s.recv(100), b"")
    with control(node) as s:
        s.send(b"ready?")
        equal("also at once", s.recv(100), b"")
    served = load.answered
    check("it serves on", process.poll() is None and wait_for(lambda: load.answered > served + 50))
    new = node.begin(threads=1)
    equal("and gives way to one that is ready", ended(process), 0)
    lost = load.end()
    check(f"no request lost of {load.answered}", not lost, lost[:10])
    stop(new)


def without_network():
    """What came from a source that is gone now serves on after a takeover, out of the store that both nodes share."""
    first, node = Node("source"), Node("offline")
    extra = f"""store: {{directory: {node.base}/store}}
sources: [{{name: first, http: {{base: "http://127.0.0.1:{first.port}"}}, tenants: [far], poll: 200ms}}]
"""
    first.tenant("far")
    source = first.begin(doors="distribution, rest")
    process = node.begin(more=extra, required="[far]")
    far = lambda: http(node.port, "POST", "/v1/data/t/allow", '{"input": {"user": "ann"}}', {"x-tenant-id": "far"})[2]  # noqa: E731
    check("a tenant from a source", wait_for(lambda: far() == b'{"result":true}\n'))
    stop(source)
    for n in range(3):
        before = process
        process = node.begin(threads=1 + n, more=extra, required="[far]")
        equal("takeover with a store and without the source", (ended(before), far()), (0, b'{"result":true}\n'))
    node.tenant("near")
    check("the node that took over goes on loading", wait_for(lambda: logged(process, "bundle activated")))
    check("and stores what it loads", wait_for(lambda: any("near" in d for _, d, _ in os.walk(node.base + "/store"))), list(os.walk(node.base + "/store"))[:20])
    equal("it ends well", stop(process), 0)
    process = node.begin(more=extra, required="[far]")
    equal("a restart finds all of it", (far(), stop(process)), (b'{"result":true}\n', 0))


def while_stopping():
    """A node that was told to stop still gives its sockets to one that comes before it stops accepting."""
    node = Node("stopping")
    process = node.begin(delay="1m")
    load = Load(node)
    check("clients are served", wait_for(lambda: load.answered > 50))
    process.send_signal(signal.SIGTERM)
    check("it is about to stop", wait_for(lambda: node.health("/ready")[0] == 500))
    new = node.begin()
    equal("the new one takes over at once", (ended(process), len(logged(new, "took over"))), (0, 1))
    lost = load.end()
    check(f"no request lost of {load.answered}", not lost, lost[:5])
    equal("ready again", node.health("/ready")[0], 200)
    stop(new)


# ---- systemd ----
def activation():
    node = Node("activation")
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(node.base + "/notify")
    notify.settimeout(20)
    listening = socket.create_server(("127.0.0.1", node.port))
    with connect(node) as s:  # waits in the queue before there is a node
        s.sendall(ASK % b"Connection: close\r\n")
        path = node.base + "/edge.yaml"
        with open(path, "w") as f:
            f.write(CONFIG.format(folder=node.folder, base=node.base, port=node.port, threads=2, required="[]", delay="0ms", doors="rest", more=""))
        process = subprocess.Popen(["sh", "-c", 'export LISTEN_PID=$$; exec "$0" edge --config "$1" 3<&9 9<&-'.replace("9", str(listening.fileno())), REGENT, path],
                                   pass_fds=[listening.fileno()], env={**os.environ, "LISTEN_FDS": "1", "NOTIFY_SOCKET": node.base + "/notify"},
                                   stdout=open(path + ".log", "ab"), stderr=subprocess.STDOUT)
        process.log = path + ".log"
        try:
            equal("systemd hears that it is ready", notify.recv(100), f"READY=1\nMAINPID={process.pid}".encode())
            equal("systemd's socket is served", read_reply(s)[1], b'{"result":true}\n')
            listening.close()
            with connect(node) as other:
                other.sendall(ASK % b"Connection: close\r\n")
                equal("by the node's own copy", read_reply(other)[1], b'{"result":true}\n')
        finally:
            status = stop(process)
        equal("it ends well", (status, notify.recv(100)), (0, b"STOPPING=1"))


def configuration():
    node = Node("configuration")
    path = node.base + "/bad.yaml"
    with open(path, "w") as f:
        f.write(f"tenants: {{directory: {node.folder}}}\nnode:\n  takeover: run/x.sock\n  required: some\n")
    done = subprocess.run([REGENT, "edge", "--check", "--config", path], capture_output=True, text=True)
    check("what is wrong is said with its place", f"{path}:3:13" in done.stdout + done.stderr and f"{path}:4:13" in done.stdout + done.stderr, done.stdout + done.stderr)


for part in (configuration, readiness, draining, hurry, takeovers, failures, while_stopping, without_network, activation):
    part()
finish()
