"""Last known good versions: a node that restarts without its source serves what it served, whatever ended it and whatever
happened to its disk meanwhile.

in:  $BUILD/regent; FAULT_SECONDS: how long it is killed again and again (at least 200 times), instead of a short time.
out: TAP lines; exit status 1 when a case fails."""
import io
import json
import os
import random
import resource
import shutil
import signal
import tarfile
import time

from edge_lib import REGENT, TMP, Edge, build, check, equal, finish, start, stop, wait_for

SECONDS = float(os.environ.get("FAULT_SECONDS", "0"))
ROUNDS, TENANTS = (200 if SECONDS else 25), 8
POLICY = 'package p\n\nv := {"n": data.n, "size": count(data.pad)}\n'
FILES = {}


def prepare():
    out = os.path.join(TMP, "plain.tar.gz")
    build({"p.rego": POLICY, "data.json": '{"n": 0, "pad": ""}'}, ["p/v"], out)
    with tarfile.open(out) as tar:
        for member in tar.getmembers():
            FILES[member.name.lstrip("/")] = tar.extractfile(member).read()


def size_of(n):
    """How long a version's padding is: half a version, or one of two, would be seen."""
    return n * 977 % 4001


def archive(n, pad=None):
    manifest = {**json.loads(FILES[".manifest"]), "revision": str(n)}
    data = {"n": n, "pad": "x" * size_of(n) if pad is None else pad}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name, text in {**FILES, ".manifest": json.dumps(manifest).encode(), "data.json": json.dumps(data).encode()}.items():
            info = tarfile.TarInfo("/" + name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return out.getvalue()


class Stored(Edge):
    """A node with a store, whose folder of tenants can be taken away."""

    def __init__(self, *flags, name, **settings):
        super().__init__("--poll-ms", "10", *flags, name=name)
        self.store = os.path.join(TMP, name + ".store")
        self.settings = {"STORE_DIRECTORY": self.store, "NODE_CODE_CACHE": os.path.join(TMP, "code"), **settings}

    def start(self):
        os.environ.update({"REGENT_EDGE_" + k: v for k, v in self.settings.items()})
        try:
            before = len(self.logged("ready")) if os.path.exists(self.log) else 0
            self.process = start(self.command(), self.log)
            if not wait_for(lambda: len(self.logged("ready")) > before or self.process.poll() is not None, 30):
                raise RuntimeError("the edge does not start: " + open(self.log).read()[-2000:])
            return self
        finally:
            for k in self.settings:
                del os.environ["REGENT_EDGE_" + k]

    def command(self):
        return [REGENT, "edge", "--directory", self.folder, "--rest-addr", f"127.0.0.1:{self.rest}",
                "--grpc-addr", f"127.0.0.1:{self.grpc}", *self.flags]

    def hide(self):
        os.rename(self.folder + "/tenants", self.folder + "/away")

    def show(self):
        os.rename(self.folder + "/away", self.folder + "/tenants")

    def publish(self, tenant, n, pad=None):
        path = self.bundle(tenant)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "wb") as f:
            f.write(archive(n, pad))
        os.rename(path + ".new", path)

    def answer(self, tenant):
        """A tenant's version; None: it has none; "half": it is none that was ever published."""
        status, _, body = self.post(tenant, "p/v", b'{"input": {}}')
        if status != 200:
            return None
        v = json.loads(body)["result"]
        return v["n"] if v["size"] == size_of(v["n"]) else "half"

    def wait_answer(self, tenant, n):
        return wait_for(lambda: self.answer(tenant) == n)

    def acknowledged(self):
        """{tenant: the last version of which the log says that it is active}."""
        return {l["tenant_id"]: int(l["revision"]) for l in self.logged("bundle activated") if l["tenant_id"].startswith("t")}

    def kill(self):
        stop(self.process, signal.SIGKILL)


def restarts():
    edge = Stored(name="restarts")
    tenants = [f"t{i}" for i in range(TENANTS)] + ["strange id%.é"]
    for t in tenants:
        edge.publish(t, 1)
    edge.start()
    equal("all are served", [edge.answer(t) for t in tenants], [1] * len(tenants))
    edge.publish("t0", 2)
    check("… and a new version", edge.wait_answer("t0", 2))
    figures = edge.metrics()
    equal("… and kept", (figures["regent_store_tenants"], figures["regent_store_errors_total"]), (str(len(tenants)), "0"))
    equal("the node ends", stop(edge.process), 0)
    edge.hide()
    edge.start()
    equal("without its folder a node serves the same", [edge.answer(t) for t in tenants], [2] + [1] * (len(tenants) - 1))
    check("… and says so", bool(edge.logged("last good versions restored", tenants=str(len(tenants)))))
    two_nodes(edge)
    edge.kill()
    edge.start()
    equal("… after a kill too", [edge.answer(t) for t in tenants], [2] + [1] * (len(tenants) - 1))
    edge.show()
    edge.publish("t0", 3)
    check("when the folder is back, it counts again", edge.wait_answer("t0", 3))
    shutil.rmtree(os.path.dirname(edge.bundle("t1")))
    check("a tenant that is gone from it is removed", wait_for(lambda: edge.answer("t1") is None))
    check("… from the store too", wait_for(lambda: edge.metrics()["regent_store_tenants"] == str(len(tenants) - 1)))
    equal("the node ends again", stop(edge.process), 0)


def two_nodes(edge):
    other = Stored(name="other")
    other.settings["STORE_DIRECTORY"] = edge.store
    other.start()
    equal("a second node on the same store does not start", other.process.wait(10) != 0, True)
    said = [l for l in other.lines() if "another node (process" in l.get("reason", "")]
    check("… and says who has it", bool(said) and str(edge.process.pid) in said[0]["reason"], other.lines())


def kills():
    """Killed at any moment while versions come in: never half a version, never one older than what was acknowledged."""
    edge = Stored(name="kills", STORE_KEEP="2")
    tenants = [f"t{i}" for i in range(TENANTS)]
    newest, random_ = {t: 0 for t in tenants}, random.Random(5)
    wrong, seen, began, n = [], 0, time.time(), 0
    os.makedirs(edge.folder + "/away")
    os.rmdir(edge.folder + "/tenants")
    while n < ROUNDS or time.time() < began + SECONDS:
        edge.start()
        acknowledged = edge.acknowledged()
        for t in tenants:
            got = edge.answer(t)
            if got == "half" or (got or 0) < acknowledged.get(t, 0) or (got or 0) > newest[t]:
                wrong.append((n, t, got, "acknowledged", acknowledged.get(t), "published", newest[t]))
            seen += got is not None
        edge.show()
        end = time.time() + random_.uniform(0, 0.25)
        while time.time() < end:
            t = random_.choice(tenants)
            newest[t] += 1
            edge.publish(t, newest[t])
            time.sleep(random_.uniform(0, 0.01))
        edge.kill()
        edge.hide()
        n += 1
    equal(f"{n} kills lose and mix up nothing", wrong[:5], [])
    check("… of versions that there were", seen > n * TENANTS / 2 and sum(edge.acknowledged().values()) > 0, (seen, edge.acknowledged()))
    edge.start()
    check("no record is damaged by a kill", not edge.logged("records of stored versions are damaged"))
    equal("nothing is left half written", os.listdir(edge.store + "/tmp"), [])
    equal("it ends", stop(edge.process), 0)


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def damage():
    edge = Stored(name="damage")
    for t in ("t0", "t1", "t2", "t3", "t4"):
        edge.publish(t, 1)
    edge.start()
    for t in ("t0", "t1", "t2", "t3", "t4"):
        edge.publish(t, 2)
        check(f"{t} has a second version", edge.wait_answer(t, 2))
    stop(edge.process)
    edge.hide()
    folder = edge.store + "/tenants/"
    bundles = lambda t: sorted(f for f in os.listdir(folder + t) if f.endswith(".bundle"))
    flip(folder + "t0/" + bundles("t0")[-1], 100)  # the newest
    for file in bundles("t1"):
        flip(folder + "t1/" + file, 50)
    for file in ("record.0", "record.1"):
        if os.path.exists(folder + "t2/" + file):
            os.truncate(folder + "t2/" + file, 20)
    os.rename(folder + "t3", folder + "x")
    edge.start()
    equal("where the newest version is damaged, the one before serves", edge.answer("t0"), 1)
    check("… and the log says so", bool(edge.logged("stored version refused", tenant_id="t0")))
    equal("where nothing is whole, nothing serves", [edge.answer(t) for t in ("t1", "t2", "t3", "x")], [None] * 4)
    equal("… and others are served", edge.answer("t4"), 2)
    check("… and the log says what is damaged", bool(edge.logged("records of stored versions are damaged")))
    edge.show()
    for t in ("t0", "t1", "t2", "t3"):
        check(f"the source brings it again: {t}", edge.wait_answer(t, 2), edge.answer(t))
    equal("it ends", stop(edge.process), 0)
    edge.hide()
    edge.start()
    equal("… and it is kept again", [edge.answer(t) for t in ("t0", "t1", "t2", "t3", "t4")], [2] * 5)
    stop(edge.process)
    os.chmod(edge.store + "/node.key", 0o644)
    edge.start()
    check("a key that others may read is refused", edge.process.wait(10) != 0 and
          any("node.key" in l.get("reason", "") for l in edge.lines()))


def disk_full():
    """Files may not grow beyond a size, which a version does."""
    edge = Stored(name="full")
    edge.publish("t0", 1)
    edge.publish("t1", 1)
    edge.start()
    check("a first version", edge.wait_answer("t0", 1))
    limit = 256 << 10
    resource.prlimit(edge.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    noise = random.Random(1).randbytes(limit).hex()

    def tag():
        status, _, body = edge.post("t0", "p/v", b'{"input": {}}')
        return json.loads(body)["result"]["size"] if status == 200 else None
    edge.publish("t0", 2, noise)
    check("a version that the disk cannot take serves all the same", wait_for(lambda: tag() == len(noise)), tag())
    check("… and is counted", wait_for(lambda: int(edge.metrics()["regent_store_errors_total"]) > 0))
    check("… and told", edge.wait_log("a version is not stored"), edge.lines()[-3:])
    edge.publish("t1", 2)
    check("… smaller ones are stored", edge.wait_answer("t1", 2))
    edge.kill()
    edge.hide()
    edge.start()
    equal("after a restart the version before serves", (edge.answer("t0"), edge.answer("t1")), (1, 2))
    edge.show()
    check("… until the source brings the new one", wait_for(lambda: tag() == len(noise)))
    edge.kill()
    edge.hide()
    edge.start()
    equal("… which is stored now", tag(), len(noise))
    equal("it ends", stop(edge.process), 0)


def takeover():
    """A new process takes over, store and all."""
    edge = Stored(name="takeover", NODE_TAKEOVER="unix:" + os.path.join(TMP, "takeover.sock"))
    edge.publish("t0", 1)
    edge.start()
    check("the old node serves", edge.wait_answer("t0", 1))
    old = edge.process
    edge.start()
    equal("the old node ends", wait_for(lambda: old.poll() is not None, 20) and old.returncode, 0)
    check("the new one has the store", edge.wait_log("store taken over"))
    edge.publish("t0", 2)
    check("… and serves new versions", edge.wait_answer("t0", 2))
    check("… which it acknowledged", edge.wait_log("bundle activated", revision="2"))
    edge.kill()
    edge.hide()
    edge.start()
    equal("… and keeps them", edge.answer("t0"), 2)
    equal("it ends", stop(edge.process), 0)


prepare()
restarts()
kills()
damage()
disk_full()
takeover()
finish()
