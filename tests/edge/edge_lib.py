"""What the edge's test scripts share: TAP, servers by process id, bundles, HTTP bytes, hand-written protobuf, gRPC by curl.

in:  BUILD (folder with regent), OPA (program). out: TAP lines. owns: the processes and the temporary folder it makes."""
import atexit
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
REGENT = os.path.join(BUILD, "regent")
OPA = os.environ.get("OPA", "")
TMP = tempfile.mkdtemp(prefix="regent-edge-")
started = []
results = {"n": 0, "failed": 0}


@atexit.register
def clean():
    for process in started:
        stop(process)
    shutil.rmtree(TMP, ignore_errors=True)


def check(name, good, detail=""):
    results["n"] += 1
    results["failed"] += not good
    print(f"{'ok' if good else 'not ok'} {results['n']} - {name}", flush=True)
    if not good and detail != "":
        print("# " + str(detail)[:2000].replace("\n", "\n# "), flush=True)


def equal(name, got, want):
    check(name, got == want, f"got  {got!r}\nwant {want!r}")


def finish():
    print(f"1..{results['n']}")
    sys.exit(1 if results["failed"] else 0)


def run_parts(parts):
    """Runs the functions, or those that the command line names; then the plan."""
    for part in [p for p in parts if len(sys.argv) < 2 or p.__name__ in sys.argv[1:]]:
        began = time.time()
        try:
            part()
        except Exception:  # a part that breaks must not hide the others
            check(part.__name__, False, traceback.format_exc())
        print(f"# {part.__name__}: {time.time() - began:.1f} s", flush=True)
    finish()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command, log):
    process = subprocess.Popen(command, stdout=open(log, "ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    started.append(process)
    return process


def stop(process, how=signal.SIGTERM):
    """Ends one process by its id; its exit status."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "killed"
    return process.returncode


def wait_for(what, seconds=10):
    """Calls `what` until it is true."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            if what():
                return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def build(files, entrypoints, out, *flags):
    """Builds a bundle from {name: text} and moves it into place whole."""
    folder = tempfile.mkdtemp(dir=TMP)
    for name, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(folder, name)) or folder, exist_ok=True)
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    target = out + ".new"
    os.makedirs(os.path.dirname(out), exist_ok=True)
    command = [REGENT, "build", "-t", "wasm", "-o", target, "-b", folder, *flags]
    for e in entrypoints:
        command += ["-e", e]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    os.rename(target, out)


class Edge:
    """One `regent edge` over a folder of tenants."""

    def __init__(self, *flags, name="edge"):
        self.folder = os.path.join(TMP, name)
        os.makedirs(self.folder + "/tenants", exist_ok=True)
        self.log = os.path.join(TMP, name + ".log")
        self.rest, self.grpc = free_port(), free_port()
        self.flags = ["--poll-ms", "50", "--log-format", "json", *flags]

    def start(self):
        self.process = start([REGENT, "edge", "--directory", self.folder, "--rest-addr", f"127.0.0.1:{self.rest}",
                              "--grpc-addr", f"127.0.0.1:{self.grpc}", *self.flags], self.log)
        if not wait_for(lambda: self.logged("ready")):
            raise RuntimeError("the edge does not start: " + open(self.log).read())
        return self

    def bundle(self, tenant):
        return f"{self.folder}/tenants/{tenant}/bundle.tar.gz"

    def lines(self):
        return [json.loads(line) for line in open(self.log) if line.startswith("{")]

    def logged(self, message, **fields):
        return [l for l in self.lines() if l["msg"] == message and all(str(l.get(k)) == v for k, v in fields.items())]

    def wait_log(self, message, n=1, **fields):
        return wait_for(lambda: len(self.logged(message, **fields)) >= n)

    def post(self, tenant, path, body):
        return http(self.rest, "POST", "/v1/data/" + path, body, {"x-tenant-id": tenant} if tenant else {})

    def metrics(self):
        """{name with labels: value} of GET /metrics."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/metrics", timeout=5).read().decode()
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))


def raw(port, data, seconds=5, half_close=True):
    """Sends bytes (or a list of them, a moment apart); all that comes back until the server closes or time ends."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
        try:
            for part in data if isinstance(data, list) else [data]:
                s.sendall(part)
                if isinstance(data, list):
                    time.sleep(0.02)
            if half_close:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            while part := s.recv(1 << 16):
                got += part
        except OSError:
            pass
    return got


def http(port, method, path, body=b"", headers=None):
    """(status, content type, body) of one request on a connection of its own."""
    body = body.encode() if isinstance(body, str) else body
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if body or method == "POST":
        head += f"Content-Length: {len(body)}\r\n"
    for name, value in (headers or {}).items():
        head += f"{name}: {value}\r\n"
    return parse_reply(raw(port, head.encode() + b"\r\n" + body, half_close=False))[:3]


def parse_reply(data):
    """(status, content type, body, rest) of the first reply in data."""
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    if not lines[0].startswith("HTTP/1.1 "):
        return 0, "", data, b""
    n = int(fields.get("content-length", 0))
    return int(lines[0].split()[1]), fields.get("content-type", ""), rest[:n], rest[n:]


# ---- protocol buffers, by hand: {number: value or list} with str, bytes, int, float, dict (message) ----
def varint(n):
    out = b""
    n &= (1 << 64) - 1
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def encode(message):
    out = b""
    for number, values in message.items():
        for v in values if isinstance(values, list) else [values]:
            if isinstance(v, bool) or isinstance(v, int):
                out += varint(number << 3) + varint(int(v))
            elif isinstance(v, float):
                out += varint(number << 3 | 1) + struct.pack("<d", v)
            else:
                v = encode(v) if isinstance(v, dict) else v.encode() if isinstance(v, str) else v
                out += varint(number << 3 | 2) + varint(len(v)) + v
    return out


def string_map(values):
    return [{1: k, 2: v} for k, v in values.items()]


def decode(data):
    """{number: [value]}: ints, or bytes for strings and messages."""
    fields, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            b = data[at]
            at += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n
    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            v = number()
        elif tag & 7 == 1:
            v, at = struct.unpack("<d", data[at:at + 8])[0], at + 8
        else:
            n = number()
            v, at = data[at:at + n], at + n
        fields.setdefault(tag >> 3, []).append(v)
    return fields


def struct_of(data):
    """google.protobuf.Struct as a dict."""
    return {entry[1][0].decode(): value_of(entry[2][0]) for entry in map(decode, decode(data).get(1, []))}


def value_of(data):
    for number, values in decode(data).items():
        v = values[-1]
        return {1: lambda: None, 2: lambda: v, 3: lambda: v.decode(), 4: lambda: bool(v), 5: lambda: struct_of(v),
                6: lambda: [value_of(i) for i in decode(v).get(1, [])]}[number]()


def check_request(method="GET", path="/", headers=None, body="", context=None, **more):
    request = {2: method, 3: string_map(headers or {}), 4: path, 5: "example.com", 10: "HTTP/1.1", 11: body}
    request.update(more.get("http", {}))
    attributes = {4: {1: {1: 1700000000, 2: 5000}, 2: {k: v for k, v in request.items() if v}}}
    if context:
        attributes[10] = string_map(context)
    attributes.update(more.get("attributes", {}))
    return encode({1: attributes})


def grpc_call(port, message, path="/envoy.service.auth.v3.Authorization/Check", frame=None):
    """(grpc-status, grpc-message, reply bytes) over HTTP/2 by curl."""
    body = (b"\0" + struct.pack(">I", len(message)) + message) if frame is None else frame
    head, out = os.path.join(TMP, "grpc.head"), os.path.join(TMP, "grpc.out")
    for f in (head, out):
        open(f, "w").close()
    subprocess.run(["curl", "-s", "-m", "10", "--http2-prior-knowledge", "-D", head, "-o", out, "-H",
                    "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-",
                    f"http://127.0.0.1:{port}{path}"], input=body)
    fields = {}
    for line in open(head, encoding="latin-1"):
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    return int(fields.get("grpc-status", -1)), fields.get("grpc-message", ""), open(out, "rb").read()[5:]


class Check:
    """A CheckResponse, taken apart; field numbers are Envoy's."""

    def __init__(self, port, message, **more):
        self.status, self.message, data = grpc_call(port, message, **more)
        top = decode(data) if self.status == 0 else {}
        self.code = decode(top[1][0]).get(1, [0])[0] if 1 in top else None
        self.denied, self.ok = decode(top[2][0]) if 2 in top else None, decode(top[3][0]) if 3 in top else None
        self.metadata = struct_of(top[4][0]) if 4 in top else None
        self.http_status = decode(self.denied[1][0])[1][0] if self.denied else None
        self.body = self.denied.get(3, [b""])[0].decode() if self.denied else None

    def headers(self, field):
        """Headers of the ok or denied reply, as sorted pairs."""
        options = (self.ok if self.ok is not None else self.denied or {}).get(field, [])
        pairs = [decode(decode(o)[1][0]) for o in options]
        return sorted((p[1][0].decode(), p[2][0].decode()) for p in pairs)
