"""kill -9 of the control plane at random moments of building, publishing and releasing: whatever was acknowledged is there, nothing is
there by half, and the next process goes on.

in:  BUILD; KILLS: how many kills in all (24); SEED. out: TAP lines. owns: servers and folders of control_lib. On PostgreSQL two replicas run,
one of which is killed at a time, and now and then a backend of the server, or all of it; once more with their blobs in a real S3 server, whose
folder the judge reads."""
import hashlib
import http.client
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from control_lib import REGENT, Control, Postgres, TMP, check, run_parts, wait_for  # noqa: E402
from s3_lib import KEYS, Versity, versitygw  # noqa: E402
import subprocess  # noqa: E402

KILLS = int(os.environ.get("KILLS", "24"))
SEED = int(os.environ.get("SEED", str(time.time_ns() % 1000000)))
TENANTS = 24
POLICY = """package shop

import rego.v1
import data.common

# METADATA
# entrypoint: true
default allow := false

allow if {
    input.region == "{{REGION}}"
    common.x > 0
    input.n != NUMBER
}
"""


def template(n):
    return {"files": {"policy.rego": POLICY.replace("NUMBER", str(n))}, "parameters": {"REGION": {"type": "string"}}}


class Client(threading.Thread):
    """Changes things all the time, and remembers what was acknowledged."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site, self.random, self.over = site, random.Random(SEED), False
        self.released, self.templates, self.tenants, self.calls, self.refused = {}, 0, {}, 0, []

    def call(self, method, path, body=None):
        """The answer, or None if there was none: then nobody knows whether it was done."""
        c = self.random.choice([c for c in self.site.controls if c.process.poll() is None] or self.site.controls)
        try:
            status, data, _ = c.call(method, path, body, seconds=20)
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
            return None
        self.calls += 1
        if status >= 500:
            return None
        if status >= 400:
            self.refused.append((method, path, status, data))
            return None
        return data

    def run(self):
        n = 1
        while not self.over:
            kind, t = self.random.random(), f"t{self.random.randrange(TENANTS):02}"
            n += 1
            if kind < 0.2:
                got = self.call("PUT", "/v1/templates/shop", template(n))
                if got:
                    self.templates = max(self.templates, got.get("version") or 0)
            elif kind < 0.6:
                body = {"template": {"id": "shop"}, "parameters": {"REGION": f"r{n}"}, "data": {"n": n}}
                got = self.call("PUT", f"/v1/tenants/{t}", body)
                if got:
                    self.tenants[t] = (got["rev"], got["sha256"])
                else:
                    self.tenants.pop(t, None)  # nobody knows
            elif kind < 0.7:
                self.call("PUT", "/v1/libraries/common", {"files": {"common.rego": f"package common\n\nx := {n}\n"}})
            else:
                versions = self.call("GET", f"/v1/tenants/{t}/versions?limit=5")
                if versions and versions["items"]:
                    v = self.random.choice(versions["items"])["version"]
                    got = self.call("POST", "/v1/releases", {"tenant": t, "version": v})
                    if got:
                        self.released[t] = max(self.released.get(t, (0, "")), (got["serial"], got["version"]))
            if self.random.random() < 0.3:
                time.sleep(self.random.random() * 0.1)


class Site:
    def __init__(self, kind, name="kill"):
        self.kind, self.folder = kind, os.path.join(TMP, f"{name}-{kind}")
        os.makedirs(self.folder)
        self.postgres = Postgres(fsync=True) if kind != "sqlite" else None
        self.s3 = Versity() if kind == "s3" else None
        blobs = self.s3.blobs() if self.s3 else f"dir:{self.folder}/blobs"
        self.blobs = f"{self.s3.root}/policies/eu/prod" if self.s3 else f"{self.folder}/blobs"
        self.store = self.postgres.database() if self.postgres else f"sqlite:{self.folder}/store.db"
        key = self.folder + "/key.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key], check=True, capture_output=True)
        self.controls = []
        for i in range(2 if self.postgres else 1):
            c = Control("--signing-key", key, "--lease-ms", "400", store=self.store, blobs=blobs, name=f"{name}-{kind}-{i}",
                        token=self.controls[0].token if i else None, env=KEYS if self.s3 else None)
            self.controls.append(c.start())
        self.first = self.controls[0]
        self.first.must("PUT", "/v1/libraries/common", {"files": {"common.rego": "package common\n\nx := 1\n"}})
        self.first.must("PUT", "/v1/templates/shop", template(1))
        tenants = {f"t{i:02}": {"template": {"id": "shop"}, "parameters": {"REGION": f"r{i}"}} for i in range(TENANTS)}
        self.first.wait_build(self.first.must("POST", "/v1/apply", {"tenants": tenants})["build"])

    def rows(self, sql):
        """Of the store itself, columns as text."""
        if self.postgres:
            return [line.split("|") for line in self.postgres.sql(sql, self.store).split("\n") if line]
        db = sqlite3.connect(f"file:{self.folder}/store.db?mode=ro", uri=True, timeout=20)
        try:
            return [[str(v) for v in row] for row in db.execute(sql)]
        finally:
            db.close()


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return None


def sums(folder):
    """SHA-256 of the bundle and the module in a folder, and whether the module's sum beside it is right; None: not whole."""
    bundle, module, beside = (read(f"{folder}/{n}") for n in ("bundle.tar.gz", "policy.wasm", "policy.wasm.sha256"))
    if bundle is None or module is None or beside is None:
        return None
    of_module = hashlib.sha256(module).hexdigest()
    return (hashlib.sha256(bundle).hexdigest(), of_module) if beside.decode().startswith(of_module) else None


class Judge:
    """What must be so at any moment, and at the end."""

    def __init__(self, site):
        self.site, self.checked, self.wrong = site, {}, []

    def expect(self, good, *what):
        if not good:
            self.wrong.append(" ".join(str(w) for w in what))

    def versions(self):
        for tenant, version, sha256, module in self.site.rows("SELECT tenant, version, sha256, module_sha256 FROM versions"):
            if self.checked.get((tenant, version)) == sha256:
                continue
            got = sums(f"{self.site.blobs}/tenants/{tenant}/versions/{version}")
            self.expect(got == (sha256, module), "version", tenant, version, "has not its objects:", got)
            self.checked[(tenant, version)] = sha256

    def known(self):
        return {(t, s): v for t, v, s in self.site.rows("SELECT tenant, version, sha256 FROM versions")}

    def pointers(self, final):
        """current of each tenant is whole, is a version that exists, and at last the one that is released."""
        known = self.known()
        for tenant, version in self.site.rows("SELECT id, version FROM tenants"):
            folder = f"{self.site.blobs}/tenants/{tenant}"
            bundle = read(folder + "/bundle.tar.gz")
            if bundle is None:
                self.expect(not final or not version, tenant, "has no pointer, but", version)
                continue
            key = (tenant, hashlib.sha256(bundle).hexdigest())
            if key not in known:  # it may have come after the list was read
                known = self.known()
            got = known.get(key)
            self.expect(got is not None, tenant, "points at what is no version")
            self.expect(not final or got == version, tenant, "points at", got, "not", version)
            self.expect(not final or sums(folder), tenant, "has a pointer that is not whole")

    def feed(self):
        rows = self.site.rows("SELECT t.id, t.version, t.serial, COALESCE(f.version, ''), COALESCE(f.serial, 0), COALESCE(f.sha256, ''),"
                              " COALESCE(v.sha256, ''), COALESCE(f.seq, 0) FROM tenants t LEFT JOIN feed f ON f.tenant = t.id"
                              " LEFT JOIN versions v ON v.tenant = t.id AND v.version = t.version")
        for t, version, serial, in_feed, feed_serial, sha256, want, seq in rows:
            self.expect((version, serial, want) == (in_feed, feed_serial, sha256), t, "in the feed as", in_feed, feed_serial, "not", version, serial)
        head = int(self.site.rows("SELECT value FROM counters WHERE name = 'feed'")[0][0])
        self.expect(max([int(r[7]) for r in rows] + [0]) <= head, "the feed is ahead of its counter")
        for t, n, most in self.site.rows("SELECT tenant, count(*), max(serial) FROM releases GROUP BY tenant"):
            self.expect(n == most, t, "has", n, "releases and serial", most)
        for t, n, most in self.site.rows("SELECT v.tenant, count(*), max(v.number) FROM versions v JOIN tenants t ON t.id = v.tenant"
                                         " GROUP BY v.tenant, t.numbered HAVING count(*) <> t.numbered OR max(v.number) <> t.numbered"):
            self.expect(False, t, "has", n, "versions up to", most)

    def counts(self):
        for row in self.site.rows("SELECT b.id, b.status, b.total, b.succeeded + b.unchanged + b.failed + b.superseded,"
                                  " (SELECT count(*) FROM jobs j WHERE j.build = b.id AND j.state NOT IN ('queued', 'running'))"
                                  " FROM builds b WHERE b.succeeded + b.unchanged + b.failed + b.superseded <>"
                                  " (SELECT count(*) FROM jobs j WHERE j.build = b.id AND j.state NOT IN ('queued', 'running'))"):
            self.expect(False, "the counts of a build are not those of its jobs:", row)

    def acknowledged(self, client):
        newest = {t: (int(serial), v) for t, serial, v in self.site.rows("SELECT tenant, serial, version FROM releases")}
        of = {(t, int(s)): v for t, s, v in self.site.rows("SELECT tenant, serial, version FROM releases")}
        for t, (serial, version) in client.released.items():
            self.expect(of.get((t, serial)) == version, "a release is lost:", t, serial, version, newest.get(t))
        got = int(self.site.rows("SELECT version FROM sources WHERE kind = 'template' AND id = 'shop'")[0][0])
        self.expect(got >= client.templates, "a template's version is lost:", got, client.templates)
        tenants = {t: (int(rev), sha) for t, rev, sha in self.site.rows("SELECT id, rev, sha256 FROM tenants")}
        for t, want in list(client.tenants.items()):
            self.expect(tenants[t] == want, "a tenant's change is lost:", t, tenants[t], want)

    def now(self):
        """Between a kill and the next start, when nobody writes (SQLite), or at any time (PostgreSQL)."""
        self.versions()
        self.pointers(False)
        if not self.site.postgres:
            self.feed()
            self.counts()

    def end(self, client):
        c = next(c for c in self.site.controls if c.process.poll() is None)
        over = wait_for(lambda: self.site.rows("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')") == [["0"]], 60)
        self.expect(over, "jobs are stuck:", self.site.rows("SELECT * FROM jobs WHERE state IN ('queued', 'running')")[:3])
        self.expect(self.site.rows("SELECT id FROM builds WHERE status IN ('queued', 'running')") == [], "builds are stuck")
        pointed = wait_for(lambda: self.site.rows("SELECT count(*) FROM tenants WHERE pointed <> serial") == [["0"]], 30)
        self.expect(pointed, "pointers are stuck:", self.site.rows("SELECT id, pointed, serial FROM tenants WHERE pointed <> serial")[:3])
        stale = self.site.rows("SELECT id, wanted, built FROM tenants WHERE built < wanted OR build_state <> 'built'")
        self.expect(stale == [], "not built as it was wanted:", stale[:3])
        self.versions()
        self.pointers(True)
        self.feed()
        self.counts()
        self.acknowledged(client)
        done = subprocess.run([REGENT, "audit", "verify", "--store", self.site.store], capture_output=True, text=True)
        self.expect(done.returncode == 0, "the audit log does not verify:", done.stdout, done.stderr)
        self.expect(c.call("GET", "/v1/status")[0] == 200, "it does not answer")


def kill_control(site, chance):
    """Most kills come soon after the start, when old leases and half-done batches are taken up."""
    c = chance.choice(site.controls)
    time.sleep(chance.random() ** 2 * 0.6)
    c.kill()
    return c


def disturb_postgres(site, chance):
    kind = chance.random()
    if kind < 0.25:
        site.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' AND pid <> pg_backend_pid()"
                          " AND datname IS NOT NULL AND random() < 0.5", site.store)
    elif kind < 0.35:
        pids = site.postgres.sql("SELECT pid FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()").split()
        if pids:
            os.kill(int(chance.choice(pids)), signal.SIGKILL)  # the server restarts itself
            wait_for(lambda: site.postgres.sql("SELECT 1") == "1", 30)
    elif kind < 0.45:
        site.postgres.stop(chance.choice([signal.SIGQUIT, signal.SIGINT]))
        time.sleep(chance.random() * 0.3)
        site.postgres.start()


def killed_again_and_again(kind):
    site, chance = Site(kind), random.Random(SEED)
    client, judge = Client(site), Judge(site)
    client.start()
    kills = KILLS // (4 if site.s3 else 2)
    for i in range(kills):
        if site.postgres:
            disturb_postgres(site, chance)
        began = time.time()
        c = kill_control(site, chance)
        judge.now()
        judged = time.time()
        c.start()
        if time.time() - began > 3:
            print(f"# kill {i}: judged after {judged - began:.1f} s, started after {time.time() - began:.1f} s", flush=True)
        if judge.wrong:
            break
    client.over = True
    client.join(60)
    ended = time.time()
    judge.end(client)
    print(f"# the end: {time.time() - ended:.1f} s", flush=True)
    detail = "\n".join(judge.wrong[:10] + [f"SEED={SEED}"])
    check(f"{kind}: {kills} kills, {client.calls} answers, {len(judge.checked)} versions: all is whole", not judge.wrong, detail)
    check(f"{kind}: no call was refused", not client.refused, client.refused[:3])
    check(f"{kind}: versions were made meanwhile", len(judge.checked) > TENANTS + kills, len(judge.checked))
    for c in site.controls:
        c.stop()
    if site.s3:
        site.s3.stop()
    if not site.postgres and not judge.wrong:
        the_judge_sees(site, client)


def the_judge_sees(site, client):
    """What the judge would not see, it could not vouch for: each thing is spoilt once."""
    t, v = site.rows("SELECT id, version FROM tenants WHERE version <> '' ORDER BY id LIMIT 1")[0]
    old = site.rows(f"SELECT version FROM versions WHERE tenant = '{t}' AND version <> '{v}' LIMIT 1")[0][0]
    folder = f"{site.blobs}/tenants/{t}/versions"
    client.released[t] = (10 ** 6, v)

    def spoil(what, how, look):
        judge = Judge(site)
        how()
        look(judge)
        check(f"the judge sees {what}", judge.wrong, judge.wrong)

    def write(sql):
        db = sqlite3.connect(f"{site.folder}/store.db", timeout=20)
        db.execute(sql)
        db.commit()
        db.close()

    spoil("a release that is lost", lambda: None, lambda j: j.acknowledged(client))
    spoil("a feed that names another version", lambda: write(f"UPDATE feed SET version = '{old}' WHERE tenant = '{t}'"), Judge.feed)
    spoil("a build that counts wrongly", lambda: write("UPDATE builds SET succeeded = succeeded + 1 WHERE id = (SELECT max(id) FROM builds)"), Judge.counts)
    spoil("an object that is not there", lambda: os.remove(f"{folder}/{old}/policy.wasm"), Judge.versions)
    spoil("a pointer to another version", lambda: write(f"UPDATE tenants SET version = '{old}' WHERE id = '{t}'"), lambda j: j.pointers(True))
    spoil("a bundle that was cut off", lambda: os.truncate(f"{folder}/{v}/bundle.tar.gz", 100), lambda j: j.pointers(False))


def on_s3():
    if versitygw():
        killed_again_and_again("s3")
    else:
        check("kills with an S3 server # SKIP there is no versitygw", True)


def cut_off_again_and_again():
    """PostgreSQL's answers are lost, to claims and commits too: nothing stays with a thread that does not know of it."""
    site, chance, cuts = Site("postgres", "cut"), random.Random(SEED), 0
    client, judge = Client(site), Judge(site)
    client.start()
    end = time.time() + max(8, KILLS / 8)
    while time.time() < end:
        site.postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                          " AND datname IS NOT NULL AND random() < 0.4", site.store)
        cuts += 1
        time.sleep(chance.random() * 0.08)
    client.over = True
    client.join(60)
    judge.end(client)
    check(f"connections cut off {cuts} times, {client.calls} answers, {len(judge.checked)} versions: all is whole", not judge.wrong,
          "\n".join(judge.wrong[:10] + [f"SEED={SEED}"]))
    check("no call was refused", not client.refused, client.refused[:3])
    for c in site.controls:
        c.stop()


def on_sqlite():
    killed_again_and_again("sqlite")


def on_postgres():
    killed_again_and_again("postgres")


if __name__ == "__main__":
    print(f"# KILLS={KILLS} SEED={SEED}", flush=True)
    run_parts([on_sqlite, on_postgres, on_s3, cut_off_again_and_again])
