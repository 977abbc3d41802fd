#!/usr/bin/env python3
"""A node whose machine fails it while it answers at every door: a wall clock that jumps by hours, allocations that fail, a limit
on its memory. Nothing is answered wrongly, it does not end, and all is well again by itself.

in: BUILD; FAULT_SECONDS for runs at length. out: TAP. owns: the nodes it starts, the shim (fault_shim.c)."""
import base64
import glob
import hashlib
import hmac
import json
import os
import re
import resource
import socket
import subprocess
import time

from edge_lib import BUILD, REGENT, TMP, check, equal, run_parts, stop, wait_for
from faults_lib import Load, Node, RestClient, Shim, at_length, make_certificate, template, with_files

HOUR = 3600
SECRET = b"a secret of the test, long enough for it"


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def token(**claims):
    text = b64({"alg": "HS256", "kid": "k"}) + "." + b64({"tenant": "acme", **claims})
    return text + "." + b64(hmac.new(SECRET, text.encode(), hashlib.sha256).digest())


def clock():
    shim = Shim()
    with open(TMP + "/keys.json", "w") as f:
        json.dump({"keys": [{"kty": "oct", "kid": "k", "alg": "HS256", "k": b64(SECRET)}]}, f)
    node = Node(("acme", "rated"), environment=shim.environment(),
                rules=f"  - jwt: {{claim: tenant, header: x-token, algorithms: [HS256], keys_file: {TMP}/keys.json}}\n",
                limits="{default: {deadline: 500ms}, tenants: {rated: {requests_per_second: 5, burst: 5}}}", more="timeouts: {idle: 60s, header: 5s}")

    def now():
        return json.loads(node.ask(path="t/now")[1])["result"]

    def by(t):
        return node.ask("nobody", more=f"X-Token: {t}\r\n")[0]
    begin = int(time.time())
    window = token(nbf=begin - 60, exp=begin + 600)
    early, late = token(nbf=begin - 3 * HOUR, exp=begin - 2 * HOUR), token(nbf=begin + 2 * HOUR, exp=begin + 3 * HOUR)
    equal("clock: only the token of now is good", [by(t) for t in (early, window, late, early, window, late)], [403, 200, 403] * 2)
    idle = RestClient(node)
    equal("clock: a connection", idle.ask(True), "allow")
    with Load(node, pause=0.005) as load:
        for hours, good in ((2.5, late), (-2.5, early), (24 * 365 * 70, None), (-24 * 365 * 60, None), (0, window)):
            shim["clock_offset_s"] = int(hours * HOUR)
            time.sleep(0.02)
            equal(f"clock {hours:+g} hours: tokens are good in their time only, known or not",
                  [by(t) for t in (early, window, late)], [200 if t is good else 403 for t in (early, window, late)])
            check(f"clock {hours:+g} hours: policies see it", abs(now() - time.time() - hours * HOUR) < 60, now())
            equal(f"clock {hours:+g} hours: who was connected still is", idle.ask(True), "allow")
            equal(f"clock {hours:+g} hours: as many requests as the rate allows", sum(node.ask("rated")[0] == 200 for _ in range(8)) in (5, 6, 7), True)
            time.sleep(1.05)
            version = b"%d" % (abs(int(hours * 10)) + 1)
            node.put("acme", with_files(template(), {"data.json": b'{"version":' + version + b"}"}))
            check(f"clock {hours:+g} hours: a new bundle is served", wait_for(lambda: node.ask(path="t/version")[1] == b'{"result":' + version + b"}\n"))
        end = time.time() + at_length(1)
        n = 0
        while time.time() < end:
            n += 1
            shim["clock_offset_s"] = (-1) ** n * n * 977
            time.sleep(0.01)
        shim["clock_offset_s"] = 0
    check(f"clock: {load.right} right answers meanwhile, none wrong, none failed", load.right > 100 and not load.wrong and not load.failed,
          (load.wrong[:3], load.failed[:3]))
    check("clock: lines have times", all(re.fullmatch(r"-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", l["time"]) for l in node.lines()))
    idle.close()
    equal("clock: SIGTERM ends the node", stop(node.process), 0)


def ranges():
    """Where in the program code of our own, of nghttp2, libuv and OpenSSL lies: "from-to,…"."""
    own = set()
    objects = [o for d in ("net", "edge", "base", "bundle", "image", "host") for o in glob.glob(f"{BUILD}/obj/src/{d}/**/*.o", recursive=True)]
    for line in subprocess.run(["nm", "--defined-only", *objects], capture_output=True, text=True).stdout.splitlines():
        kind, _, name = line.partition(" ")[2].partition(" ")
        own |= {name} if kind in "tT" else set()
    symbols = sorted((int(p[0], 16), p[2]) for p in (l.split() for l in subprocess.run(
        ["nm", "--defined-only", REGENT], capture_output=True, text=True).stdout.splitlines()) if len(p) == 3 and p[1] in "tT")
    out, rust = [], re.compile(r"_ZN.*17h[0-9a-f]{16}E|_R|wasmtime_|wasm_|rust_")
    begin = None
    for address, name in symbols:
        wanted = not rust.match(name) and (name in own or name.startswith(("nghttp2_", "uv_", "SSL_", "ssl_", "BIO_", "CRYPTO_")))
        if wanted and begin is None:
            begin = address
        elif not wanted and begin is not None:
            out.append((begin, address))
            begin = None
    own_bytes = [(b - a, a, b) for a, b in out]
    return ",".join(f"{a:x}-{b:x}" for _, a, b in sorted(own_bytes, reverse=True)[:16])


def allocations():
    shim = Shim()
    node = Node(("acme", "other"), environment=shim.environment(FAULT_RANGES=ranges()))
    check("allocations: the node answers", node.all_doors())
    # 64 KiB and more first: what large requests need; then all of them.
    for least, one_in, seconds in ((65536, 2, 0.5), (1024, 5, 0.5), (1, 200, 1), (1, 20, 1), (1, 3, 1)):
        shim["seed"], shim["alloc_failed"] = least, 0
        with Load(node, pause=0.001) as load:
            shim["alloc_min_bytes"], shim["alloc_one_in"] = least, one_in
            end, i = time.time() + at_length(seconds), 0
            while time.time() < end and node.alive():
                i += 1
                node.put("other", with_files(template(), {"data.json": b'{"version":%d}' % i}))
                node.write(more=f"labels: {{n: \"{i}\"}}")
                node.hang_up()
                node.ask(x=1, seconds=1, more="X: " + "x" * 5000 + "\r\n")
                RestClient.__init__(c := RestClient.__new__(RestClient), node, "acme", 1)
                try:
                    status, body = c.post("t/allow", b'{"input":{"x":2,"more":"' + b"x" * 300000 + b'"}}')
                    if body == b'{"result":true}\n':
                        load.wrong.append(body)
                except OSError:
                    pass
                c.close()
                time.sleep(0.02)
            failed = shim["alloc_failed"]
            shim["alloc_one_in"] = 0
            what = f"one allocation in {one_in} fails ({failed} did)"
            if not node.alive():
                check(f"{what}: the node lives", False, (node.process.returncode, open(node.log).read()[-2000:]))
                return
            if failed:
                check(f"{what}: well again at all doors", wait_for(node.all_doors, 10))
        check(f"{what}: {load.right} right answers, none wrong", not load.wrong, load.wrong[:3])
        silent = [f for f in load.failed if "imed" in f[1]]
        check(f"{what}: who is not answered is cut off", len(silent) <= 1, silent[:5])
        node.put("other", with_files(template(), {"data.json": b'{"version":123456}'}))
        check(f"{what}: a new bundle is served", wait_for(lambda: node.ask("other", path="t/version")[1] == b'{"result":123456}\n'))
        taken = len(node.logged("configuration read again"))
        node.write(more="")
        node.hang_up()
        check(f"{what}: a configuration is taken", node.wait_log("configuration read again", taken + 1))
    check("some did fail", failed > 0, failed)
    equal("allocations: SIGTERM ends the node", stop(node.process), 0)


def memory():
    """RLIMIT_DATA a little above what the node has: large requests and many connections, then room again."""
    node = Node(("acme", "other"), node="threads: 2, queue: {wait: 10s}, body_size: 64MiB, connections: 5000", limits="{default: {deadline: 500ms, input: 64MiB}}")
    check("memory: the node answers", node.all_doors())
    soft, hard = resource.prlimit(node.pid(), resource.RLIMIT_DATA)
    with Load(node, pause=0.005) as load:
        time.sleep(0.3)
        resource.prlimit(node.pid(), resource.RLIMIT_DATA, ((node.status("VmData") + (24 << 10)) << 10, hard))
        held, statuses = [], set()
        for i in range(6):
            s = socket.create_connection(("127.0.0.1", node.rest), timeout=2)
            try:
                s.sendall(b"POST /v1/data/t/allow HTTP/1.1\r\nHost: x\r\nX-Tenant-Id: acme\r\nContent-Length: 40000000\r\n\r\n")
                for _ in range(38):
                    s.sendall(b"[" * 1000000)
            except OSError:
                pass
            held.append(s)
        for s in held:
            s.settimeout(0.2)
            try:
                got = s.recv(4096)
                statuses.add(got.split(b" ")[1].decode() if b" " in got else "closed")
            except OSError as e:
                statuses.add(type(e).__name__)
        before = load.right
        check(f"memory: small requests are answered meanwhile (large ones: {sorted(statuses)})", wait_for(lambda: load.right > before + 20, 5))
        node.put("other", with_files(template(), {"data.json": b'{"version":5,"more":"' + b"x" * 30000000 + b'"}'}))
        check("memory: a bundle too large for it is refused", node.wait_log("bundle refused", tenant_id="other") or node.alive())
        check("memory: the version before serves on", node.alive() and node.answers("other"))
        for s in held:
            s.close()
        resource.prlimit(node.pid(), resource.RLIMIT_DATA, (soft, hard))
        check("memory again: well at all doors", node.alive() and wait_for(node.all_doors))
        node.put("other", with_files(template(), {"data.json": b'{"version":6}'}))
        check("memory again: a new bundle is served", wait_for(lambda: node.ask("other", path="t/version")[1] == b'{"result":6}\n'))
    check(f"memory: {load.right} right answers, none wrong", load.right > 50 and not load.wrong, load.wrong[:3])
    check("memory: hardly one failed", len(load.failed) <= load.right // 10, (len(load.failed), load.failed[:5]))
    equal("memory: SIGTERM ends the node", stop(node.process), 0)


PARTS = [clock, allocations, memory]


make_certificate()
run_parts(PARTS)
