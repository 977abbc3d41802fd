"""What the fault tests share: a node with every door open, clients that know what each answer has to be, the shim.

in:  BUILD. out: counts of answers, by what they were. owns: nothing but what edge_lib stops."""
import io
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import tarfile
import threading
import time

from edge_lib import REGENT, ROOT, TMP, build, check_request, decode, free_port, start, wait_for

POLICY = """package t
import rego.v1
default allow := false
allow if input.x == 1
allow if input.attributes.request.http.path == "/ok"
version := data.version if input.x == 1
now := time.now_ns() / 1000000000
"""
ENTRYPOINTS = ["t/allow", "t/version", "t/now"]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
LONG = os.environ.get("FAULT_SECONDS")  # at length: each load runs for so many seconds


def at_length(seconds):
    return float(LONG or seconds)


def make_certificate(name="server"):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout",
                    f"{TMP}/{name}.key", "-out", f"{TMP}/{name}.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)


def with_files(template, changes):
    """A bundle's bytes with members replaced or added."""
    with tarfile.open(template) as t:
        files = {m.name: t.extractfile(m).read() for m in t.getmembers() if m.isfile()}
    for name, data in changes.items():
        files[next((n for n in files if n.lstrip("/") == name), name)] = data
    files = {name: data for name, data in files.items() if data is not None}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Node:
    """A node with all doors: REST, HTTP authz, ext_authz, on TCP, a Unix socket and TLS."""
    number = 0

    def __init__(self, tenants=("acme",), environment=None, command=(), **settings):
        Node.number += 1
        self.folder = f"{TMP}/fault-{Node.number}"
        self.config, self.log, self.socket = f"{self.folder}/edge.yaml", f"{self.folder}/log", f"{self.folder}/sock"
        self.rest, self.grpc, self.tls = free_port(), free_port(), free_port()
        os.makedirs(self.folder + "/tenants")
        self.settings = {"poll": "20ms", "limits": "{default: {deadline: 500ms}}", "node": "threads: 2, queue: {wait: 10s}", "more": "", "rules": "",
                         "certificate": TMP + "/server", **settings}
        for tenant in tenants:
            self.put(tenant, open(template(), "rb").read())
        self.write()
        if command:
            os.chmod(self.folder, 0o777)
        self.process = start([*command, REGENT, "edge", "--config", self.config], self.log) if not environment else \
            start(["env", *(f"{k}={v}" for k, v in environment.items()), *command, REGENT, "edge", "--config", self.config], self.log)
        if not wait_for(lambda: self.logged("ready"), 60):
            raise RuntimeError("the node does not start: " + open(self.log).read())

    def text(self, **settings):
        s = {**self.settings, **settings}
        return f"""tenants: {{directory: {self.folder}, poll: {s["poll"]}}}
tenant_from:
{s["rules"]}  - context_extension: tenant_id
  - header: {{name: x-tenant-id, trusted: [127.0.0.0/8, unix]}}
listeners:
  - {{address: "127.0.0.1:{self.rest}", doors: [rest, http_authz, health, metrics, status]}}
  - {{address: "127.0.0.1:{self.grpc}", doors: [ext_authz]}}
  - {{address: "unix:{self.socket}", doors: [rest, ext_authz]}}
  - address: "127.0.0.1:{self.tls}"
    doors: [rest, ext_authz]
    tls: {{certificate: {s["certificate"]}.pem, key: {s["certificate"]}.key}}
limits: {s["limits"]}
node: {{{s["node"]}}}
authz: {{path: t/allow}}
log: {{format: json}}
{s["more"]}
"""

    def write(self, **settings):
        self.settings.update(settings)
        self.write_text(self.text())

    def write_text(self, text):
        with open(self.config + ".new", "wb") as f:
            f.write(text.encode() if isinstance(text, str) else text)
        os.rename(self.config + ".new", self.config)

    def path(self, tenant):
        return f"{self.folder}/tenants/{tenant}/bundle.tar.gz"

    def put(self, tenant, data):
        os.makedirs(os.path.dirname(self.path(tenant)), exist_ok=True)
        with open(self.path(tenant) + ".new", "wb") as f:
            f.write(data)
        os.rename(self.path(tenant) + ".new", self.path(tenant))

    def lines(self):
        return [json.loads(line) for line in open(self.log, errors="replace") if line.startswith("{")]

    def logged(self, message, **fields):
        return [l for l in self.lines() if l["msg"] == message and all(str(l.get(k)) == v for k, v in fields.items())]

    def wait_log(self, message, n=1, seconds=10, **fields):
        return wait_for(lambda: len(self.logged(message, **fields)) >= n, seconds)

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def alive(self):
        return self.process.poll() is None

    def status(self, name):
        """Kilobytes of /proc/PID/status."""
        for line in open(f"/proc/{self.pid()}/status"):
            if line.startswith(name + ":"):
                return int(line.split()[1])
        return 0

    def pid(self):
        return self.process.pid

    def ask(self, tenant="acme", x=1, seconds=5, path="t/allow", more=""):
        """(status, body) over REST on a connection of its own; (0, b"") when there is none."""
        try:
            c = RestClient(self, tenant, seconds)
            try:
                return c.post(path, b'{"input":{"x":%d}}' % x, more)
            finally:
                c.close()
        except OSError:
            return 0, b""

    def answers(self, tenant="acme"):
        return self.ask(tenant) == (200, b'{"result":true}\n') and self.ask(tenant, 2) == (200, b'{"result":false}\n')

    def all_doors(self, tenant="acme"):
        """Does each door allow what is to be allowed, and deny the rest?"""
        try:
            clients = [kind(self, tenant) for kind in DOORS]
            good = all(c.ask(True) == "allow" and c.ask(False) == "deny" for c in clients)
            for c in clients:
                c.close()
            return good
        except OSError:
            return False


def template():
    """The bundle that tests start from, built once."""
    made = TMP + "/template/bundle.tar.gz"
    if not os.path.exists(made):
        build({"p.rego": POLICY, "data.json": '{"version": 0}'}, ENTRYPOINTS, made)
    return made


# ---- clients: ask(True) is about a request to be allowed; "allow", "deny", or what else the answer was ----
class RestClient:
    def __init__(self, node, tenant="acme", seconds=10):
        self.tenant, self.rest = tenant.encode(), b""
        self.socket = socket.create_connection(("127.0.0.1", node.rest), timeout=seconds)

    def request(self, head, body):
        self.socket.sendall(head + b"Host: x\r\nX-Tenant-Id: %s\r\nContent-Length: %d\r\n\r\n%s" % (self.tenant, len(body), body))
        while True:
            head, found, rest = self.rest.partition(b"\r\n\r\n")
            if found:
                fields = head.lower().split(b"\r\n")
                n = next((int(l[15:]) for l in fields if l.startswith(b"content-length:")), 0)
                if len(rest) >= n:
                    self.rest = rest[n:]
                    return int(head.split(b" ", 2)[1]), rest[:n]
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("closed")
            self.rest += data

    def post(self, path, body, more=""):
        return self.request(b"POST /v1/data/%s HTTP/1.1\r\n%s" % (path.encode(), more.encode()), body)

    def ask(self, good):
        status, body = self.post("t/allow", b'{"input":{"x":1}}' if good else b'{"input":{"x":2}}')
        return {(200, b'{"result":true}\n'): "allow", (200, b'{"result":false}\n'): "deny"}.get((status, body), f"{status} {body[:200]!r}")

    def close(self):
        self.socket.close()


class UnixClient(RestClient):
    def __init__(self, node, tenant="acme", seconds=10):
        self.tenant, self.rest = tenant.encode(), b""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        self.socket.connect(node.socket)


class HttpAuthzClient(RestClient):
    def ask(self, good):
        status, body = self.request(b"GET /authz/envoy%s HTTP/1.1\r\n" % (b"/ok" if good else b"/no"), b"")
        return "allow" if status == 200 else "deny" if status == 403 and not body else f"{status} {body[:200]!r}"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class GrpcClient:
    """Check over HTTP/2, one stream after the other."""
    HEAD = (field(":method", "POST") + field(":scheme", "http") + field(":path", "/envoy.service.auth.v3.Authorization/Check")
            + field(":authority", "x") + field("content-type", "application/grpc") + field("te", "trailers"))

    def __init__(self, node, tenant="acme", seconds=10):
        self.socket = socket.create_connection(("127.0.0.1", node.grpc), timeout=seconds)
        self.stream, self.rest, self.tenant = -1, b"", tenant
        self.socket.sendall(PREFACE)

    def take(self, n):
        while len(self.rest) < n:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("closed")
            self.rest += data
        taken, self.rest = self.rest[:n], self.rest[n:]
        return taken

    def ask(self, good):
        return self.send(check_request(path="/ok" if good else "/no", context={"tenant_id": self.tenant}))

    def send(self, message):
        self.stream += 2
        body = b"\0" + struct.pack(">I", len(message)) + message
        self.socket.sendall(frame(1, 4, self.stream, self.HEAD) + frame(0, 1, self.stream, body))
        data = b""
        while True:
            head = self.take(9)
            payload = self.take(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == 7:
                raise ConnectionError("GOAWAY")
            if kind == 4 and not flags & 1:
                self.socket.sendall(frame(4, 1, 0))
            if kind == 0 and payload:
                self.socket.sendall(frame(8, 0, 0, struct.pack(">I", len(payload))))
            if stream != self.stream:
                continue
            if kind == 3:
                raise ConnectionError("RST_STREAM")
            data += payload if kind == 0 else b""
            if flags & 1 and kind in (0, 1):
                return verdict(data[5:])

    def close(self):
        self.socket.close()


def verdict(message):
    """Of a CheckResponse: a denial by the policy has no body, one for a reason of the node's has."""
    fields = decode(message) if message else {}
    if 1 not in fields:
        return "a gRPC error"
    code = decode(fields[1][0]).get(1, [0])[0]
    denied = decode(fields[2][0]) if 2 in fields else {}
    if code == 0:
        return "allow" if not denied else "both"
    return "deny" if code == 7 and 3 not in denied else f"{code} {denied.get(3)}"


DOORS = (RestClient, UnixClient, HttpAuthzClient, GrpcClient)


class Load:
    """Clients at every door that ask until the end, and tell right answers, failures and wrong ones apart."""

    def __init__(self, node, doors=DOORS, tenant="acme", pause=0.0):
        self.right, self.failed, self.wrong, self.ending = 0, [], [], False
        self.lock, self.node, self.tenant, self.pause = threading.Lock(), node, tenant, pause
        self.threads = [threading.Thread(target=self.run, args=(d,), daemon=True) for d in doors]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        for t in self.threads:
            t.join(30)

    def note(self, door, good, got):
        with self.lock:
            if got == ("allow" if good else "deny"):
                self.right += 1
            elif got in ("allow", "deny"):  # a denial in place of an allow may be by a limit, but it would say so
                self.wrong.append((door, good, got))
            else:
                self.failed.append((door, got))

    def run(self, door):
        client, n = None, 0
        while not self.ending:
            n += 1
            try:
                client = client or door(self.node, self.tenant)
                self.note(door.__name__, n % 2 == 0, client.ask(n % 2 == 0))
            except (OSError, ValueError, IndexError) as e:
                self.failed.append((door.__name__, repr(e)))
                client = client and client.close()
                time.sleep(0.05)
            if self.pause:
                time.sleep(self.pause)
        if client:
            client.close()


# ---- the shim: tests/edge/fault_shim.c before the C library ----
class Shim:
    """Memory shared with the node: what the shim does wrong from now on."""
    FIELDS = {"clock_offset_s": 0, "alloc_one_in": 8, "alloc_min_bytes": 16, "alloc_failed": 24, "seed": 32}

    def __init__(self):
        self.library, self.file = TMP + "/fault_shim.so", TMP + "/fault_shim.mem"
        if not os.path.exists(self.library):
            subprocess.run(["clang", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", self.library,
                            ROOT + "/tests/edge/fault_shim.c", "-ldl"], check=True)
        with open(self.file, "wb") as f:
            f.write(b"\0" * 4096)
        self.memory = mmap.mmap(os.open(self.file, os.O_RDWR), 4096)

    def environment(self, **more):
        return {"LD_PRELOAD": self.library, "FAULT_SHIM": self.file, **more}

    def __setitem__(self, name, value):
        self.memory[self.FIELDS[name]:self.FIELDS[name] + 8] = struct.pack("<q", value)

    def __getitem__(self, name):
        return struct.unpack("<q", self.memory[self.FIELDS[name]:self.FIELDS[name] + 8])[0]
