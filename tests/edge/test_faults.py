#!/usr/bin/env python3
"""A node whose surroundings fail while it answers at every door: bundles that are broken, bombs, or swapped all the time; a
folder that vanishes; configurations and certificates of garbage; no descriptors; a process that is stopped. Nothing is
answered wrongly, what failed is said, and all is well again by itself.

in: BUILD; FAULT_SECONDS for runs at length. out: TAP. owns: the nodes it starts."""
import fcntl
import gzip
import json
import os
import random
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from edge_lib import REGENT, TMP, check, check_request, equal, raw, run_parts, started, stop, wait_for
from faults_lib import DOORS, GrpcClient, Load, Node, RestClient, at_length, make_certificate, template, with_files


def load_was_right(what, load, may_fail=0):
    check(f"{what}: {load.right} right answers at {len(DOORS)} doors, none wrong", load.right > 20 and not load.wrong, load.wrong[:5])
    if not may_fail:
        check(f"{what}: none failed", not load.failed, load.failed[:5])


def tar_gz_of(size):
    """A bundle whose one document is `size` zeroes, packed well."""
    head = bytearray(512)
    head[:9] = b"data.json"
    head[100:108], head[124:136], head[156:157] = b"0000644\0", b"%011o\0" % size, b"0"
    head[257:265] = b"ustar\x0000"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return gzip.compress(bytes(head) + bytes(size + 1024), 9)


def broken_bundles(seed):
    """(name, bytes) of what must be refused, or at least do no harm."""
    good = open(template(), "rb").read()
    rng = random.Random(seed)
    plain = bytearray(gzip.decompress(good))
    yield "empty", b""
    yield "text", b"not a bundle"
    for part in (1, 10, 100, 1000, len(good) // 2, len(good) - 9, len(good) - 1):
        yield f"cut after {part} bytes", good[:part]
    yield "a bomb", tar_gz_of(700 << 20)
    yield "a bomb in a bomb", gzip.compress(tar_gz_of(100 << 20))
    yield "a module of garbage", with_files(template(), {"policy.wasm": b"\0asm\1\0\0\0" + bytes(500), "policy.thin.wasm": b"\0asm\1\0\0\0" + bytes(500)})
    yield "a module cut", with_files(template(), {"policy.wasm": b"\0asm\1\0\0\0", "policy.thin.wasm": b""})
    yield "data that is no JSON", with_files(template(), {"data.json": b'{"version":'})
    yield "data that is deep", with_files(template(), {"data.json": b'{"version":' + b"[" * 200000 + b"]" * 200000 + b"}"})
    yield "a manifest that is no JSON", with_files(template(), {".manifest": b"{" * 100})
    yield "?a manifest of other shapes", with_files(template(), {".manifest": b'{"revision":[1],"roots":{"a":1},"wasm":"x","metadata":[]}'})
    for i in range(8):
        changed = bytearray(plain)
        for _ in range(1 + i * 4):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        yield f"?bits turned, {i}", gzip.compress(bytes(changed), 1)


def bundles():
    node = Node(("acme", "other"))
    good = open(template(), "rb").read()
    with Load(node, pause=0.005) as load:
        quiet = node.status("VmRSS")
        for name, data in broken_bundles(1):
            refused, activated = (len(node.logged(m, tenant_id="other")) for m in ("bundle refused", "bundle activated"))
            node.put("other", data)
            seen = wait_for(lambda: len(node.logged("bundle refused", tenant_id="other")) > refused
                            or len(node.logged("bundle activated", tenant_id="other")) > activated, 30)
            said = node.logged("bundle refused", tenant_id="other")[refused:]
            if name[0] == "?":  # may have hit what does not matter
                check(f"bundle, {name}: the node goes on", seen and node.alive())
            else:
                check(f"bundle, {name}: refused with a reason", seen and said and said[-1]["reason"] and
                      said[-1]["serving"] == "the version before", said)
                equal(f"bundle, {name}: the version before serves on", node.answers("other"), True)
        check("bundles of garbage leave no memory behind", node.status("VmRSS") - quiet < 200 << 10, (quiet, node.status("VmRSS")))
        node.put("other", good)
        check("a good bundle after them", wait_for(lambda: node.answers("other")))
    load_was_right("bundles of garbage for a neighbour", load)
    equal("and SIGTERM ends it", stop(node.process), 0)


def swaps():
    """500 versions of a document; the policy says which one it sees."""
    node, n, last = Node(poll="10ms"), 500, {}
    bad, right, ending = [], [], threading.Event()
    versions = [with_files(template(), {"data.json": b'{"version":%d}' % i}) for i in range(1, n + 1)]
    resident = 0

    def follow(number):
        client, last[number] = RestClient(node), 0
        while not ending.is_set():
            status, body = client.post("t/version", b'{"input":{"x":1}}')
            version = json.loads(body).get("result", -1) if status == 200 else -1
            (right if version >= last[number] else bad).append((status, body, last[number]))
            last[number] = max(version, last[number])
            time.sleep(0.0005)
    threads = [threading.Thread(target=follow, args=(i,)) for i in range(2)]
    with Load(node, pause=0.002) as load:
        for t in threads:
            t.start()
        for i, data in enumerate(versions):
            node.put("acme", data)
            time.sleep(0.01)
            if i == n // 4:
                resident = node.status("VmRSS")
        check("the last version answers", wait_for(lambda: all(v == n for v in last.values()), 20), last)
        ending.set()
        for t in threads:
            t.join()
    check(f"{n} swaps: {len(right)} answers, none failed, none of an older version", len(right) > 100 and not bad, bad[:3])
    load_was_right(f"{n} swaps", load)
    activated = len(node.logged("bundle activated", tenant_id="acme"))
    check(f"{activated} of them were served", activated > 50, activated)
    grown = node.status("VmRSS") - resident
    check(f"versions that are gone leave no memory behind ({grown} KiB more)", grown < (64 << 10) * (8 if "ASAN_OPTIONS" in os.environ else 1), grown)
    check("none was refused", not node.logged("bundle refused"), node.logged("bundle refused")[:3])
    stop(node.process)


def written_in_place():
    """A bundle that is written over while it is read: at no time is half of one served, and at the end the whole one is."""
    node = Node()
    versions = [with_files(template(), {"data.json": b'{"version":%d,"more":"%s"}' % (i, os.urandom(150000).hex().encode())}) for i in (1, 2)]
    with Load(node, pause=0.005) as load:
        for i in range(20):
            with open(node.path("acme"), "wb", buffering=0) as f:
                data = versions[i % 2]
                for at in range(0, len(data), 1 + len(data) // 4):
                    f.write(data[at:at + 1 + len(data) // 4])
                    time.sleep(0.01)
        last = (200, b'{"result":2}\n')
        check("written over in place: the whole one serves at the end", wait_for(lambda: node.ask(path="t/version") == last), node.logged("bundle refused")[-2:])
    load_was_right("written over in place", load)
    stop(node.process)


def folder():
    """The folder of tenants is gone, is a file, cannot be read; a bundle cannot be read."""
    node = Node(("acme", "other"))
    tenants, aside = node.folder + "/tenants", node.folder + "/aside"
    with Load(node, pause=0.005) as load:
        os.rename(tenants, aside)
        check("folder gone: said so", node.wait_log("cannot read the folder of tenants"))
        time.sleep(0.2)
        equal("folder gone: said once", len(node.logged("cannot read the folder of tenants")), 1)
        check("folder gone: all serve on", node.answers() and node.answers("other"))
        with open(tenants, "w") as f:
            f.write("a file")
        time.sleep(0.2)
        check("a file in its place: all serve on", node.answers() and node.answers("other"))
        os.unlink(tenants)
        os.symlink(tenants, tenants)
        time.sleep(0.2)
        check("a link to itself in its place: all serve on", node.answers() and node.answers("other"))
        os.unlink(tenants)
        os.rename(aside, tenants)
        node.put("third", open(template(), "rb").read())
        check("back again: what is new is seen", wait_for(lambda: node.answers("third")))
        check("nobody was removed meanwhile", not node.logged("tenant removed"))
        for name, make in (("a folder", os.mkdir), ("a pipe", os.mkfifo), ("a link to itself", lambda p: os.symlink(p, p)),
                           ("a device", lambda p: os.symlink("/dev/zero", p))):
            path = node.path("other")
            os.rename(path, path + ".aside")
            make(path)
            time.sleep(0.15)
            check(f"{name} in place of a bundle: the node goes on", node.answers() and node.alive())
            (os.rmdir if name == "a folder" else os.unlink)(path)
            os.rename(path + ".aside", path)
            check(f"{name} in place of a bundle: well again", wait_for(lambda: node.answers("other")))
        for name in ("-", "a b", "..x", "é", "x" * 127, "x" * 200, "a\nb", '"<>'):
            os.makedirs(f"{tenants}/{name}", exist_ok=True)
            shutil.copy(template(), f"{tenants}/{name}/bundle.tar.gz")
        check("folders with odd names: the node goes on", wait_for(lambda: node.answers("x" * 127)))
        check("and writes lines of one line", all(json.loads(l) for l in open(node.log) if l.startswith("{")))
    load_was_right("folders in trouble", load)
    stop(node.process)


def unreadable():
    """As a user who may not read everything: a bundle, and the folder, without the right to."""
    if os.getuid() != 0:
        return
    os.chmod(TMP, 0o755)
    os.chmod(TMP + "/server.key", 0o644)
    node = Node(("acme", "other"), command=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
    tenants = node.folder + "/tenants"
    with Load(node, pause=0.005) as load:
        os.chmod(tenants, 0)
        check("folder unreadable: said so", node.wait_log("cannot read the folder of tenants"))
        check("folder unreadable: all serve on", node.answers() and node.answers("other"))
        os.chmod(tenants, 0o755)
        os.chmod(tenants + "/other", 0)
        time.sleep(0.2)
        check("a tenant's folder unreadable: it serves on", node.answers("other"))
        os.chmod(tenants + "/other", 0o755)
        fresh = with_files(template(), {"data.json": b'{"version":7}'})
        with open(tenants + "/other/x", "wb") as f:
            f.write(fresh)
        os.chmod(tenants + "/other/x", 0)
        os.rename(tenants + "/other/x", node.path("other"))
        check("a bundle unreadable: said so", node.wait_log("bundle refused", tenant_id="other"))
        check("a bundle unreadable: the version before serves on", node.answers("other"))
        os.chmod(node.path("other"), 0o644)
        check("readable again: it serves, by itself", wait_for(lambda: node.ask("other", path="t/version") == (200, b'{"result":7}\n')),
              node.logged("bundle refused"))
    load_was_right("rights taken away", load)
    stop(node.process)


def reloads():
    """SIGHUPs without end, with files good and bad."""
    node = Node()
    good, n = node.text(), {"good": 0, "bad": 0}
    rng = random.Random(2)
    bad = [b"", b"\0" * 100, b"\xff\xfe", b"tenants: {directory: [", good.replace("acme", "\x01").replace("rest,", "rset,").encode(),
           ("a: &a [" + "*a, " * 1000 + "]").encode(), b"- " * 20000, b"{" * 20000, good.encode() + b"\n? !!binary x", good.encode() * 2,
           b"a: &a [x]\n" + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b", ".join([b"*%c" % (97 + i)] * 9)) for i in range(20)),
           good.replace("threads: 2,", "threads: -2,").encode(), good.replace("127.0.0.1:", "999.0.0.1:").encode(), (good + "x" * (17 << 20)).encode()]
    end, i = time.time() + at_length(2), 0
    with Load(node, pause=0.002) as load:
        while time.time() < end or i < len(bad):
            i += 1
            if i <= len(bad):
                node.write_text(bad[i - 1])
            elif i % 3 == 0:
                at = rng.randrange(len(good))
                node.write_text(good[:at] + "\1" + good[at:] if i % 2 else good)
            else:
                node.write(more=f"labels: {{n: \"{i}\"}}", limits=f"{{default: {{deadline: {400 + i % 100}ms, log_lines_per_second: {i}}}}}")
            before = len(node.logged("configuration read again")), len(node.logged("configuration refused"))
            for _ in range(1 if i <= len(bad) else 5):
                node.hang_up()
                time.sleep(0.003)
            if i <= len(bad):
                seen = wait_for(lambda: len(node.logged("configuration refused")) > before[1] or not node.alive(), 20)
                check(f"a bad file, {i}: refused", seen and node.alive() and len(node.logged("configuration read again")) == before[0],
                      bad[i - 1][:100])
        node.write(limits="{default: {deadline: 500ms}}")
        before = len(node.logged("configuration read again"))
        node.hang_up()
        check("a good file at the end is taken", node.wait_log("configuration read again", before + 1, 20))
    load_was_right("reloads without end", load)
    refused = node.logged("configuration refused")
    check(f"{before} taken, {len(refused)} lines of refusal, each with a reason", all(l["reason"] for l in refused) and before > 3)
    check("memory does not grow with them", node.status("VmRSS") < 400 << 10, node.status("VmRSS"))
    equal("and SIGTERM ends it", stop(node.process), 0)


def reloads_starve_nothing():
    """SIGHUPs more often than the folder is looked at: it is looked at all the same."""
    node, ending = Node(poll="100ms"), threading.Event()

    def hang_up():
        while not ending.is_set():
            node.hang_up()
            time.sleep(0.01)
    t = threading.Thread(target=hang_up)
    t.start()
    node.put("late", open(template(), "rb").read())
    check("SIGHUP after SIGHUP: a new tenant is served", wait_for(lambda: node.answers("late"), 5))
    ending.set()
    t.join()
    stop(node.process)


def tls_works(node):
    context = ssl.create_default_context(cafile=TMP + "/server.pem")
    try:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", node.tls), timeout=5), server_hostname="localhost") as s:
            s.sendall(b"POST /v1/data/t/allow HTTP/1.1\r\nHost: x\r\nX-Tenant-Id: acme\r\nContent-Length: 17\r\nConnection: close\r\n\r\n"
                      b'{"input":{"x":1}}')
            return b'{"result":true}' in s.recv(65536)
    except OSError:
        return False


def certificates():
    for end in ("pem", "key"):
        shutil.copy(f"{TMP}/server.{end}", f"{TMP}/live.{end}")
    node = Node(certificate=TMP + "/live")
    make_certificate("stranger")
    node.hang_up()
    check("TLS before", wait_for(lambda: tls_works(node)))
    stranger = open(TMP + "/stranger.key", "rb").read()
    with Load(node, pause=0.005) as load:
        for name, end, data in (("garbage", "pem", b"\0\xff garbage"), ("nothing", "pem", b""), ("cut", "pem", open(TMP + "/server.pem", "rb").read()[:200]),
                                ("another's key", "key", stranger), ("a key of garbage", "key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
                                ("no file", "pem", None)):
            refused = len(node.logged("configuration refused"))
            if data is None:
                os.unlink(f"{TMP}/live.{end}")
            else:
                with open(f"{TMP}/live.{end}", "wb") as f:
                    f.write(data)
            node.hang_up()
            check(f"certificate, {name}: refused with a reason", node.wait_log("configuration refused", refused + 1) and
                  node.logged("configuration refused")[-1]["reason"], node.lines()[-2:])
            check(f"certificate, {name}: the one before serves on", tls_works(node))
            shutil.copy(f"{TMP}/server.{end}", f"{TMP}/live.{end}")
        taken = len(node.logged("configuration read again"))
        node.hang_up()
        check("a good certificate again", node.wait_log("configuration read again", taken + 1) and tls_works(node))
    load_was_right("certificates of garbage", load)
    stop(node.process)


def descriptors():
    """The node has no descriptor left while bundles come and the configuration is read again."""
    node = Node(node="threads: 2, connections: 5000, queue: {wait: 10s}", poll="50ms")
    with Load(node, pause=0.005) as load:
        time.sleep(0.3)
        soft, hard = resource.prlimit(node.pid(), resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{node.pid()}/fd"))
        resource.prlimit(node.pid(), resource.RLIMIT_NOFILE, (used, hard))
        held = []
        for _ in range(50):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", node.rest))
            held.append(s)
        node.put("acme", with_files(template(), {"data.json": b'{"version":3}'}))
        node.put("late", open(template(), "rb").read())
        node.hang_up()
        time.sleep(0.8)
        before = load.right
        time.sleep(0.4)
        check("no descriptors: those connected are answered", load.right > before, (before, load.right))
        check("no descriptors: said so", node.logged("cannot read the folder of tenants") or node.logged("bundle refused")
              or node.logged("configuration refused"), node.lines()[-3:])
        check("no descriptors: no tenant is removed", not node.logged("tenant removed"))
        resource.prlimit(node.pid(), resource.RLIMIT_NOFILE, (soft, hard))
        for s in held:
            s.close()
        check("descriptors again: the node answers at all doors", wait_for(node.all_doors))
        check("descriptors again: what came meanwhile serves, by itself",
              wait_for(lambda: node.answers("late") and node.ask(path="t/version") == (200, b'{"result":3}\n')), node.logged("bundle refused"))
        node.hang_up()
        check("descriptors again: the configuration is read", node.wait_log("configuration read again"))
    load_was_right("no descriptors", load)
    equal("and SIGTERM ends it", stop(node.process), 0)


def stopped():
    """A process that does not run for some seconds, as a machine that is moved or swaps."""
    node = Node()
    with Load(node, pause=0.005) as load:
        for _ in range(3):
            time.sleep(0.2)
            node.process.send_signal(signal.SIGSTOP)
            time.sleep(0.7)
            before = load.right
            node.process.send_signal(signal.SIGCONT)
            check("stopped and continued: it answers on", wait_for(lambda: load.right > before + 20, 5))
    check("stopped: no answer was wrong", not load.wrong, load.wrong[:3])
    check("stopped: hardly one was lost", len(load.failed) <= 6, load.failed[:8])
    check("and it is well", node.all_doors())
    stop(node.process)


def full_disk():
    """What the node writes cannot be written: it answers on."""
    node = Node(node=f"threads: 2, queue: {{wait: 10s}}, code_cache: {TMP}/cache")
    with Load(node, pause=0.005) as load:
        soft, hard = resource.prlimit(node.pid(), resource.RLIMIT_FSIZE)
        resource.prlimit(node.pid(), resource.RLIMIT_FSIZE, (1, hard))
        node.put("late", open(template(), "rb").read())
        for _ in range(20):
            node.ask("nobody")  # each one a line
        check("files cannot grow: a new tenant is served", wait_for(lambda: node.answers("late")))
        check("files cannot grow: the node is alive", node.alive())
        time.sleep(0.3)
        resource.prlimit(node.pid(), resource.RLIMIT_FSIZE, (soft, hard))
    load_was_right("files cannot grow", load)
    logged = len(node.lines())
    node.ask("nobody")
    check("lines are written again", wait_for(lambda: len(node.lines()) > logged))
    equal("and SIGTERM ends it", stop(node.process), 0)


def log_nobody_reads():
    """The log is a pipe that is full, then one without a reader."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    node = Node()
    stop(node.process)
    node.process = subprocess.Popen([REGENT, "edge", "--config", node.config], stdin=subprocess.DEVNULL, stdout=write, stderr=write)
    started.append(node.process)
    os.close(write)
    check("a pipe as log: the node starts", wait_for(node.answers))
    for _ in range(100):
        node.ask("nobody" * 20)
    check("a log that nobody reads: the node answers", wait_for(node.answers, 5))
    os.close(read)
    node.ask("nobody")
    check("a log that is gone: the node answers", wait_for(node.all_doors, 5) and node.alive())
    equal("a log that is gone: SIGTERM ends the node", stop(node.process), 0)


def hostile_bytes():
    """Requests that would be denied, with bits turned, at every door: nothing of it is allowed."""
    node, rng, wrong = Node(), random.Random(3), []

    def spoil(data):
        data = bytearray(data)
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(data))
            if rng.randrange(2):
                data[at] = rng.choice(b"\x00\x0a\x0d\x20\x22\x7f\x80\xff\xc3\xed")
            else:
                data[at:at + rng.randrange(3)] = bytes(rng.randrange(256) for _ in range(rng.randrange(4)))
        return bytes(data)
    message = check_request(path="/no", headers={"content-type": "application/json", "x": "é"}, body='{"a":[1]}', context={"tenant_id": "acme"})
    post = b'POST /v1/data/t/allow HTTP/1.1\r\nHost: x\r\nX-Tenant-Id: acme\r\nContent-Length: 17\r\n\r\n{"input":{"x":2}}'
    get = b"GET /authz/envoy/no?x=%20 HTTP/1.1\r\nHost: x\r\nX-Tenant-Id: acme\r\nX-Utf: \xff\xfe\xed\xa0\x80\r\n\r\n"
    grpc = GrpcClient(node)
    for _ in range(200):
        try:
            if grpc.send(spoil(message)) == "allow":
                wrong.append("ext_authz")
        except OSError:
            grpc = GrpcClient(node)
    for i in range(150):
        sent = spoil((post, get)[i % 2])
        got = raw(node.rest, sent, 1)  # half-closed, so that nothing waits for the rest
        allowed = b'"result":true' in got if i % 2 == 0 else got.startswith(b"HTTP/1.1 200")
        if allowed and b'"x":1' not in sent and b"/ok" not in sent:
            wrong.append((sent, got))
    check("bytes turned at every door: nothing is allowed", not wrong, wrong[:3])
    check("and the node is well", node.alive() and node.all_doors())
    stop(node.process)


def children(pid):
    """Worker processes of a node."""
    try:
        return [int(p) for t in os.listdir(f"/proc/{pid}/task") for p in open(f"/proc/{pid}/task/{t}/children").read().split()]
    except OSError:
        return []


def workers():
    """Worker processes that are killed all the time, that hang, and that cannot be started."""
    if "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ:
        return  # sanitizers make system calls that a worker process may not
    node = Node(("acme", "apart"), limits="{default: {deadline: 200ms}}", more="groups: [{name: apart, tenants: [apart], processes: 2}]")
    check("workers: answers", wait_for(lambda: node.all_doors("apart")))
    end = time.time() + at_length(2)
    with Load(node, pause=0.005) as others, Load(node, tenant="apart", pause=0.005) as load:
        while time.time() < end:
            for pid in children(node.pid()):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        check("workers killed without end: well again", wait_for(lambda: node.all_doors("apart"), 20))
        for pid in children(node.pid()):
            os.kill(pid, signal.SIGSTOP)
        began = time.time()
        status, _ = node.ask("apart", seconds=20)
        check("workers that hang: the request ends, with an error", status >= 500 and time.time() - began < 15, (status, time.time() - began))
        check("workers that hang: replaced", wait_for(lambda: node.all_doors("apart"), 20))
        soft, hard = resource.prlimit(node.pid(), resource.RLIMIT_NOFILE)
        resource.prlimit(node.pid(), resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{node.pid()}/fd")) - 8, hard))
        for pid in children(node.pid()):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.4)
        resource.prlimit(node.pid(), resource.RLIMIT_NOFILE, (soft, hard))
        check("workers that cannot be started: well again", wait_for(lambda: node.all_doors("apart"), 20))
    check(f"workers: {load.right} right answers, none wrong", load.right > 20 and not load.wrong, load.wrong[:3])
    check("workers: each error with its reason", all("reason" in f[1] or "message" in f[1] or "Error" in f[1] for f in load.failed), load.failed[:5])
    load_was_right("workers: for those outside", others)
    equal("and SIGTERM ends it", stop(node.process), 0)


PARTS = [hostile_bytes, workers, bundles, swaps, written_in_place, folder, unreadable, reloads, reloads_starve_nothing, certificates, descriptors, stopped, full_disk,
         log_nobody_reads]


make_certificate()
run_parts(PARTS)
