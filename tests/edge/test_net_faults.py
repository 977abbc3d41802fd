#!/usr/bin/env python3
"""A node among bad clients and bad luck: TLS by real clients, slow-loris, floods, half-closed sockets, no file descriptors left.
After each the node answers as before.

in: BUILD. out: TAP. owns: the edge it starts, certificates made for the run."""
import os
import resource
import signal
import socket
import ssl
import struct
import subprocess
import time

from edge_lib import REGENT, TMP, build, check, check_request, equal, finish, free_port, grpc_call, parse_reply, raw, start, stop
from edge_lib import wait_for

POLICY = """package t
import rego.v1
default allow := false
allow if input.x == 1
allow if input.attributes.request.http.path == "/ok"
"""
ASK = b'{"input":{"x":1}}'
YES = b'{"result":true}\n'
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def request(body=ASK, path="/v1/data/t/allow", more=""):
    return (f"POST {path} HTTP/1.1\r\nHost: x\r\nx-tenant-id: acme\r\n{more}Content-Length: {len(body)}\r\n\r\n").encode() + body


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def headers(stream, flags=5, path="/v1/data/t/allow", method="GET", more=b""):
    return frame(1, flags, stream, field(":method", method) + field(":scheme", "http") + field(":path", path)
                 + field(":authority", "x") + field("x-tenant-id", "acme") + more)


def make_certificates():
    script = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca
for who in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
  echo "subjectAltName=DNS:localhost,IP:127.0.0.1" >$who.ext
  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $who.ext -out $who.pem
done"""
    subprocess.run(["sh", "-e", "-c", script], cwd=TMP, check=True, capture_output=True)


class Node:
    def __init__(self, name, limit=None):
        self.rest, self.grpc, self.tls, self.mtls = (free_port() for _ in range(4))
        self.socket, self.log = f"{TMP}/{name}.sock", f"{TMP}/{name}.log"
        self.config = f"{TMP}/{name}.yaml"
        tls = f"{{certificate: {TMP}/server.pem, key: {TMP}/server.key"
        with open(self.config, "w") as f:
            f.write(f"""
tenants: {{directory: {TMP}/nodes, poll: 50ms}}
tenant_from:
  - header: {{name: x-tenant-id, trusted: [127.0.0.0/8, unix], of_subject: true}}
listeners:
  - {{address: "127.0.0.1:{self.rest}", doors: [rest, health, metrics]}}
  - {{address: "127.0.0.1:{self.grpc}", doors: [ext_authz]}}
  - {{address: "unix:{self.socket}", doors: [rest, ext_authz]}}
  - {{address: "127.0.0.1:{self.tls}", doors: [rest, ext_authz], tls: {tls}}}}}
  - {{address: "127.0.0.1:{self.mtls}", doors: [rest], tls: {tls}, client_ca: {TMP}/ca.pem}}}}
node: {{threads: 2, connections: 200, head_size: 8KiB, body_size: 1MiB}}
timeouts: {{idle: 3s, header: 1s}}
authz: {{path: t/allow}}
log: {{format: json}}
""")
        command = [REGENT, "edge", "--config", self.config]
        self.process = start((["prlimit", f"--nofile={limit}:{limit}"] if limit else []) + command, self.log)
        if not wait_for(lambda: '"ready"' in open(self.log).read()):
            raise RuntimeError("the edge does not start: " + open(self.log).read())

    def answers(self, seconds=2):
        """Is one request answered, and in time?"""
        begin = time.time()
        got = raw(self.rest, request(more="Connection: close\r\n"), seconds, half_close=False)
        return parse_reply(got)[2] == YES and time.time() - begin < seconds

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self):
        return int(open(f"/proc/{self.process.pid}/statm").read().split()[1]) * 4096


def curl(*arguments, data=ASK.decode()):
    done = subprocess.run(["curl", "-s", "-m", "10", "-w", "\n%{http_code} %{http_version}", "-H", "x-tenant-id: acme",
                           "--data-binary", "@-", *arguments], input=data.encode(), capture_output=True)
    body, _, status = done.stdout.rpartition(b"\n")
    return body, status.decode(), done.returncode


def tls_clients(node):
    ca, url = ["--cacert", TMP + "/ca.pem"], f"https://localhost:{node.tls}/v1/data/t/allow"
    equal("TLS: curl over HTTP/2", curl(*ca, url), (YES, "200 2", 0))
    equal("TLS: curl over HTTP/1.1", curl(*ca, "--http1.1", url), (YES, "200 1.1", 0))
    equal("TLS: curl with TLS 1.2", curl(*ca, "--tls-max", "1.2", url), (YES, "200 2", 0))
    check("TLS: not with TLS 1.1", curl(*ca, "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", url)[2] != 0)
    mutual = f"https://localhost:{node.mtls}/v1/data/t/allow"
    key = ["--cert", TMP + "/client.pem", "--key", TMP + "/client.key"]
    equal("mTLS: with a certificate", curl(*ca, *key, mutual), (YES, "200 2", 0))
    check("mTLS: not without", curl(*ca, mutual)[2] != 0)
    equal("a Unix socket answers", curl("--unix-socket", node.socket, "http://x/v1/data/t/allow"), (YES, "200 1.1", 0))
    with open(TMP + "/ask", "wb") as f:
        f.write(ASK)
    load = subprocess.run(["h2load", "-n2000", "-c4", "-m8", "-d", TMP + "/ask", "-H", "x-tenant-id: acme", url],
                          capture_output=True)
    check("TLS: h2load", b"2000 succeeded, 0 failed" in load.stdout, load.stdout.decode())
    s_client = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{node.tls}", "-alpn", "h2,http/1.1"], input=b"",
                              capture_output=True)
    check("TLS: ALPN gives h2", b"ALPN protocol: h2" in s_client.stdout, s_client.stdout[-500:])
    check("TLS: plain HTTP on it gets nothing", b"200" not in raw(node.tls, request()))


def slow_clients(node):
    slow = []
    begin = time.time()
    for kind in range(60):
        s = socket.create_connection(("127.0.0.1", node.rest))
        if kind % 3 == 0:
            s.sendall(b"POST /v1/data/t/allow HTTP/1.1\r\n")
        elif kind % 3 == 1:
            s.sendall(b"POST /v1/data/t/allow HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")
        else:
            s.sendall(PREFACE + headers(1, flags=4, method="POST"))
        slow.append(s)
    context = ssl.create_default_context(cafile=TMP + "/ca.pem")
    handshake = socket.create_connection(("127.0.0.1", node.tls))
    handshake.sendall(b"\x16\x03\x01\x02\x00\x01")
    check("slow-loris: others are answered meanwhile", node.answers())
    refused = 0
    for kind, s in enumerate(slow):
        s.settimeout(8)
        try:
            got = s.recv(65536)
            while kind % 3 == 2 and b"\0\0\x04\x03\0" not in got and (more := s.recv(65536)):
                got += more  # up to RST_STREAM
            refused += b"HTTP/1.1 408 " in got or b"\0\0\x04\x03\0" in got
        except OSError:
            pass
        s.close()
    equal("slow-loris: each is refused", refused, 60)
    handshake.settimeout(8)
    try:
        handshake.recv(1)
    except OSError:
        pass
    check("slow-loris: within a few seconds, the handshake too", time.time() - begin < 8, time.time() - begin)
    with context.wrap_socket(socket.create_connection(("127.0.0.1", node.tls)), server_hostname="localhost") as s:
        s.sendall(request(more="Connection: close\r\n"))
        check("a slow TLS client does no harm to the next", s.recv(4096).startswith(b"HTTP/1.1 200"))


def garbage(node):
    for name, data, want in (
            ("pipelined garbage", request() + b"\x00\xff garbage\r\n\r\n", b"HTTP/1.1 400 "),
            ("a huge head", b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 3000000, b"HTTP/1.1 431 "),
            ("a huge request line", b"GET /" + b"a" * 3000000, b"HTTP/1.1 414 "),
            ("a huge body", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" + b"a" * 3000000, b"HTTP/1.1 413 "),
            ("two lengths", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"HTTP/1.1 400 "),
            ("TLS on the plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"HTTP/1.1 400 ")):
        got = raw(node.rest, data, half_close=False)
        check("refused, so that the client can read it: " + name, want in got, got[:300])
    equal("HTTP/2: a huge body", curl("--http2-prior-knowledge", f"http://127.0.0.1:{node.rest}/v1/data/t/allow",
                                      data="x" * 3000000)[1], "413 2")
    got = raw(node.rest, request(more="X-Bytes: \xff\xc3(\r\n"), half_close=True)
    check("bytes in a header that are no UTF-8 do no harm", parse_reply(got)[2] == YES, got)
    message = check_request(path="/ok", headers={"x-tenant-id": "acme"})
    head = struct.pack(">I", len(message))
    for name, bad, status in (("compressed", b"\1" + head + message, 12), ("cut", b"\0" + head + message[:-1], 13),
                              ("too long", b"\0\x7f\xff\xff\xff" + message, 8), ("twice", (b"\0" + head + message) * 2, 12),
                              ("flags", b"\7" + head + message, 13)):
        equal("gRPC message: " + name, grpc_call(node.grpc, None, frame=bad)[0], status)
    equal("gRPC message: whole", grpc_call(node.grpc, message)[0], 0)


def half_closed(node):
    got = raw(node.rest, request() + request(), half_close=True)
    equal("a client that has said all gets all its replies", got.count(YES), 2)
    with socket.create_connection(("127.0.0.1", node.rest), timeout=5) as s:
        s.sendall(PREFACE + headers(1, flags=4, method="POST") + frame(0, 1, 1, ASK))
        s.shutdown(socket.SHUT_WR)
        got = b""
        while part := s.recv(65536):
            got += part
        check("HTTP/2: the same", YES in got, got)


def ends(port, data):
    """Does the server end the connection by itself, and before an idle one would end?"""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as s:
        try:
            s.sendall(data)
            while s.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


def floods(node):
    before = node.resident()
    kinds = {
        "opened and reset": [headers(i * 2 + 1) + frame(3, 0, i * 2 + 1, b"\0\0\0\x08") for i in range(30000)],
        "PING": [frame(6, 0, 0, b"12345678")] * 200000,
        "SETTINGS": [frame(4, 0, 0, b"\0\3\0\0\0\1")] * 200000,
        "empty DATA": [headers(1, flags=4, method="POST")] + [frame(0, 0, 1)] * 200000,
        "CONTINUATION": [headers(1, flags=0)] + [frame(9, 0, 1, b"\0\1a\1b")] * 200000,
        "a reset of no stream": [frame(3, 0, 1, b"\0\0\0\x08")],
    }
    for name, frames in kinds.items():
        check(f"HTTP/2 flood, {name}: the connection ends", ends(node.rest, PREFACE + b"".join(frames)))
        check(f"HTTP/2 flood, {name}: others are answered", node.answers())
    check("floods leave no memory behind", node.resident() - before < 64 << 20, node.resident() - before)


def reads_nothing(node):
    """Asks for more than fits any buffer, and reads nothing."""
    idle = socket.create_connection(("127.0.0.1", node.rest))
    idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    idle.settimeout(0.5)
    sent = 0
    try:
        for _ in range(200):
            idle.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
            sent += 200
    except OSError:
        pass
    check("a client that reads nothing is not served without end", node.answers())
    idle.settimeout(10)
    check("and is cut off", wait_for(lambda: cut_off(idle), 10))
    idle.close()


def cut_off(s):
    try:
        s.sendall(b"GET / HTTP/1.1\r\n")
        return False
    except (BrokenPipeError, ConnectionResetError):
        return True
    except OSError:
        return False


def too_many(node):
    """More connections than the node takes: those past it are closed at once, and there is room again after."""
    held = [socket.create_connection(("127.0.0.1", node.rest)) for _ in range(500)]
    closed = 0
    time.sleep(0.3)
    for s in held:
        s.setblocking(False)
        try:
            closed += s.recv(1) == b""
        except ConnectionResetError:
            closed += 1
        except BlockingIOError:
            pass
    check("past the limit connections are closed at once", 100 <= closed <= 300, closed)
    for s in held:
        s.close()
    check("and there is room again", wait_for(node.answers))


def no_descriptors():
    node = Node("tight", limit=96)
    held = []
    for _ in range(300):
        s = socket.socket()
        s.settimeout(2)
        try:
            s.connect(("127.0.0.1", node.rest))
            held.append(s)
        except OSError:
            s.close()
    time.sleep(0.5)
    before = node.cpu()
    time.sleep(1)
    check("no file descriptors left: the node does not spin", node.cpu() - before < 0.3, node.cpu() - before)
    held[0].settimeout(5)
    held[0].sendall(request())
    check("no file descriptors left: who is connected is answered", YES in held[0].recv(4096))
    for s in held:
        s.close()
    check("no file descriptors left: it recovers by itself", wait_for(node.answers))
    equal("and stops as always", stop(node.process), 0)


def stops_in_time(node):
    """Idle, half-sent and unread connections do not hold up the end."""
    held = [socket.create_connection(("127.0.0.1", node.rest)) for _ in range(20)]
    for i, s in enumerate(held):
        s.sendall([b"", b"GET / HT", request(), PREFACE + headers(1, flags=4)][i % 4])
    begin = time.time()
    equal("SIGTERM ends the node", stop(node.process, signal.SIGTERM), 0)
    check("in bounded time", time.time() - begin < 6, time.time() - begin)
    for s in held:
        s.close()
    check("its socket file is gone", not os.path.exists(node.socket))


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    make_certificates()
    build({"p.rego": POLICY}, ["t/allow"], f"{TMP}/nodes/tenants/acme/bundle.tar.gz")
    node = Node("net")
    for part in (tls_clients, garbage, half_closed, slow_clients, floods, reads_nothing, too_many):
        part(node)
        check(f"after {part.__name__} the node answers", wait_for(node.answers, 5))
    stops_in_time(node)
    no_descriptors()
    finish()


main()
