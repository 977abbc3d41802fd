"""Measures reads of the control plane's API over a PostgreSQL with a million versions, beside the same queries by libpq alone.

in:   BUILD with regent; PostgreSQL's programs; flags --tenants, --versions, --seconds, --clients, --quick, --only.
out:  a line a figure, a table with the target; $BUILD/bench-api-reads.json.
owns: the PostgreSQL and the control plane that it starts.
The store is filled by SQL with what builds would leave there: VERSIONS versions of each of TENANTS tenants, a job and a release for each, an audit log.
Clients on kept connections ask one after the other; pgbench runs the route's statement, prepared, with as many clients.
"""
import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from measure import Report

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "control"))
from control_lib import BUILD, Control, Postgres  # noqa: E402

TARGET_MS = 20
HOUR = 3600000

# T tenants of 20 templates, V versions of each; a build is one template's, for all its tenants.
FILL = """
INSERT INTO tenants SELECT 't' || lpad(i::text, 5, '0'), 'active', 'tpl' || i % 20, 0, 1, repeat('a', 64),
  '{{"id":"t' || lpad(i::text, 5, '0') || '","labels":{{"plan":"' || (ARRAY['free','gold','silver'])[i % 3 + 1] || '","region":"r' || i % 50 || '"}},"template":{{"id":"tpl' || i % 20 || '"}},"values":{{"X":"' || repeat('v', 300) || '"}}}}',
  '{{"plan":"' || (ARRAY['free','gold','silver'])[i % 3 + 1] || '","region":"r' || i % 50 || '"}}', 0, {V}, {V}, 'built', {V}, {V},
  {V} || '-' || left(md5(i || '.' || {V}), 12), {V}, 1790000000000, 1790000000000 + i, 'bench' FROM generate_series(1, {T}) i;
INSERT INTO tenant_labels SELECT id, 'region', labels::json->>'region' FROM tenants;
INSERT INTO tenant_labels SELECT id, 'plan', labels::json->>'plan' FROM tenants;
INSERT INTO versions SELECT 't' || lpad(i::text, 5, '0'), n, n || '-' || left(md5(i || '.' || n), 12), md5(i || '.' || n) || md5(i || ':' || n), md5('m' || i % 20 || n) || md5('k' || i % 20 || n),
  md5('c' || i || '.' || n) || md5('d' || i || n), md5('m' || i % 20 || n) || md5('k' || i % 20 || n), 42000,
  '{{"data":"' || md5('x' || i) || '","libraries":{{"lib":3}},"template":"tpl' || i % 20 || '","template_version":' || n || '}}', '0.1.0', 'key1', 'b' || lpad(i % 20 || '', 3, '0') || lpad(n || '', 8, '0'),
  1790000000000 + n * {HOUR}::bigint + i, 'bench' FROM generate_series(1, {V}) n, generate_series(1, {T}) i;
INSERT INTO releases SELECT tenant, number, version, '', 'build', '', created_ms, 'bench' FROM versions;
INSERT INTO jobs (build, tenant, state, owner, lease_ms, attempts, version, errors, warnings, compiled, took_us, created_ms)
  SELECT build, tenant, 'built', 'me', 0, 1, version, '[]', '[]', 0, 4200, created_ms FROM versions;
INSERT INTO builds (id, cause, object, status, release, forced, total, succeeded, unchanged, failed, superseded, created_ms, finished_ms, created_by)
  SELECT build, 'template', 'tpl' || (substr(build, 2, 3))::int, CASE WHEN (substr(build, 2, 3))::int = 7 AND (substr(build, 5))::int % 50 = 0 THEN 'failed' ELSE 'done' END,
  1, 0, count(*), count(*), 0, 0, 0, min(created_ms), min(created_ms) + 5000, 'bench' FROM jobs GROUP BY build;
INSERT INTO sources SELECT 'template', 'tpl' || i, {V}, 1, repeat('a', 64), '{{}}', '', 0, 1, 1, 'bench' FROM generate_series(0, 19) i;
INSERT INTO audit SELECT 1000000 + i, 1790000000000 + i * 1000::bigint, 'person' || i % 30, (ARRAY['tenant.update','template.update','release.create'])[i % 3 + 1], 't' || lpad((i % {T} + 1)::text, 5, '0'), '{{}}', repeat('0', 64)
  FROM generate_series(1, {A}) i;
INSERT INTO edge_tenants SELECT id, 'node' || e, version, 'active', '', 1 FROM tenants, generate_series(1, 5) e;
"""

VERSION = """SELECT v.tenant, v.number, v.version, v.sha256, v.module_sha256, v.bytes, v.source, v.compiler, v.key, v.build, v.created_ms, v.created_by, t.version
FROM versions v JOIN tenants t ON t.id = v.tenant WHERE """
RELEASE = """SELECT r.tenant, r.serial, r.version, r.previous, r.cause, r.rollout, r.created_ms, r.created_by, t.serial FROM releases r JOIN tenants t ON t.id = r.tenant WHERE """
BUILDS = """SELECT id, cause, object, status, release, forced, total, succeeded, unchanged, failed, superseded, created_ms, finished_ms, created_by FROM builds b WHERE """
T = "'t' || lpad((:t)::text, 5, '0')"
# What is asked, and what psql would ask: {t} a tenant's number, {n} one of its versions' numbers; pgbench's :t and :n likewise.
CASES = {
    "tenant by id": ("/v1/tenants/{tenant}", f"SELECT * FROM tenants WHERE id = {T}"),
    "a tenant's versions, 50": ("/v1/tenants/{tenant}/versions?limit=50", f"{VERSION} v.tenant = {T} ORDER BY v.number DESC LIMIT 51"),
    "version by id": ("/v1/tenants/{tenant}/versions/{version}", f"{VERSION} v.tenant = {T} AND v.version = (:n)::text || '-' || left(md5((:t)::text || '.' || (:n)::text), 12)"),
    "all versions, first 50": ("/v1/versions?limit=50", f"{VERSION} 1 = 1 ORDER BY v.created_ms DESC, v.tenant DESC, v.number DESC LIMIT 51"),
    "all versions, 50 from deep within": ("/v1/versions?limit=50&after={deep}",
                                          f"{VERSION} (v.created_ms, v.tenant, v.number) < (1790000000000 + (:n)::bigint * {HOUR} + (:t)::bigint, {T}, (:n)::bigint) "
                                          "ORDER BY v.created_ms DESC, v.tenant DESC, v.number DESC LIMIT 51"),
    "versions of a build, 50": ("/v1/versions?limit=50&build={build}", f"{VERSION} v.build = 'b' || lpad(((:t) % 20)::text, 3, '0') || lpad((:n)::text, 8, '0') "
                                "ORDER BY v.created_ms DESC, v.tenant DESC, v.number DESC LIMIT 51"),
    "builds, first 50": ("/v1/builds?limit=50", f"{BUILDS} 1 = 1 ORDER BY b.created_ms DESC, b.id DESC LIMIT 51"),
    "builds of a tenant, 50": ("/v1/builds?limit=50&tenant={tenant}", f"{BUILDS} b.id IN (SELECT build FROM jobs WHERE tenant = {T}) ORDER BY b.created_ms DESC, b.id DESC LIMIT 51"),
    "builds of a template, 50": ("/v1/builds?limit=50&object={template}", f"{BUILDS} b.object = 'tpl' || ((:t) % 20)::text ORDER BY b.created_ms DESC, b.id DESC LIMIT 51"),
    "failed builds, 50": ("/v1/builds?limit=50&status=failed", f"{BUILDS} b.status = 'failed' ORDER BY b.created_ms DESC, b.id DESC LIMIT 51"),
    "a build's jobs, 50": ("/v1/builds/{build}/jobs?limit=50", "SELECT j.tenant, j.state, j.attempts, j.version, j.compiled, j.took_us, j.errors, j.warnings FROM jobs j "
                           "JOIN tenants t ON t.id = j.tenant WHERE j.build = 'b' || lpad(((:t) % 20)::text, 3, '0') || lpad((:n)::text, 8, '0') ORDER BY j.tenant LIMIT 51"),
    "tenants by label, 50": ("/v1/tenants?limit=50&label=region:{region}", "SELECT * FROM tenants t WHERE t.deleted = 0 AND EXISTS (SELECT 1 FROM tenant_labels l "
                             "WHERE l.tenant = t.id AND l.key = 'region' AND l.value = 'r' || ((:t) % 50)::text) ORDER BY t.id LIMIT 51"),
    "a tenant's releases, 50": ("/v1/releases?limit=50&tenant={tenant}", f"{RELEASE} r.tenant = {T} ORDER BY r.created_ms DESC, r.tenant DESC, r.serial DESC LIMIT 51"),
    "all releases, first 50": ("/v1/releases?limit=50", f"{RELEASE} 1 = 1 ORDER BY r.created_ms DESC, r.tenant DESC, r.serial DESC LIMIT 51"),
    "audit of an object, 50": ("/v1/audit?limit=50&object={tenant}", f"SELECT * FROM audit WHERE object = {T} ORDER BY seq DESC LIMIT 51"),
    "audit of a person, 50": ("/v1/audit?limit=50&who=person{person}", "SELECT * FROM audit WHERE who = 'person' || ((:t) % 30)::text ORDER BY seq DESC LIMIT 51"),
    "status": ("/v1/status", None),
}
SCOPED = ("all versions, 50, for a token of one region", "/v1/versions?limit=50", None)


def md5(text):
    import hashlib
    return hashlib.md5(text.encode()).hexdigest()


def draw(args, path, rng):
    t, n = rng.randint(1, args.tenants), rng.randint(1, args.versions)
    return path.format(tenant=f"t{t:05}", version=f"{n}-{md5(f'{t}.{n}')[:12]}", deep=f"{1790000000000 + n * HOUR + t}.{n}.t{t:05}",
                       build=f"b{t % 20:03}{n:08}", template=f"tpl{t % 20}", region=f"r{t % 50}", person=t % 30)


class Client:
    """One kept connection."""

    def __init__(self, port, token):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"

    def get(self, path):
        """(status, seconds, body)."""
        began = time.perf_counter()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\n{self.head}".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(1 << 18)
            if not more:
                raise OSError(f"closed at {path}")
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        while len(body) < length:
            body += self.socket.recv(1 << 18)
        return int(head.split()[1]), time.perf_counter() - began, body


def ask(args, control, token, path, seconds):
    """Milliseconds of each request, of all clients."""
    took, wrong = [[] for _ in range(args.clients)], []

    def run(k):
        rng, client = random.Random(k), Client(control.port, token)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            what = draw(args, path, rng)
            status, s, body = client.get(what)
            took[k].append(s * 1000)
            if status != 200 or (b'"items":[]' in body and "status=failed" not in path):
                wrong.append((what, status, body[:300]))
    threads = [threading.Thread(target=run, args=(k,)) for k in range(args.clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        sys.exit(f"bench: {wrong[0]}")
    return sorted(x for list_ in took for x in list_)


def by_libpq(args, postgres, url, sql, seconds):
    """Milliseconds of each run of the statement by pgbench."""
    with tempfile.TemporaryDirectory(dir=postgres.folder) as folder:
        with open(folder + "/script", "w", encoding="utf-8") as f:
            f.write(f"\\set t random(1, {args.tenants})\n\\set n random(1, {args.versions})\n{sql.replace(chr(10), ' ')};\n")
        done = subprocess.run([postgres.bin + "/pgbench", "-n", "-M", "prepared", "-c", str(args.clients), "-j", "1", "-T", str(max(1, round(seconds))), "-f", folder + "/script",
                               "-l", "--log-prefix", folder + "/log", url], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"bench: {done.stderr}")
        took = []
        for name in os.listdir(folder):
            if name.startswith("log"):
                with open(f"{folder}/{name}", encoding="utf-8") as f:
                    took += [int(line.split()[2]) / 1000 for line in f]
    return sorted(took)


def percentile(sorted_list, p):
    return sorted_list[min(len(sorted_list) - 1, int(len(sorted_list) * p / 100))]


def fill(args, postgres, url):
    began = time.monotonic()
    text = FILL.format(T=args.tenants, V=args.versions, A=args.tenants * args.versions // 5, HOUR=HOUR)
    for statement in text.split(";\n"):
        if statement.strip():
            postgres.sql(statement, url, must=True)
    postgres.sql("VACUUM ANALYZE", url, must=True)
    count = postgres.sql("SELECT count(*) FROM versions", url)
    print(f"{count} versions of {args.tenants} tenants, filled in {time.monotonic() - began:.0f} s", flush=True)


def measure(args, report, postgres, control):
    region = control.must("POST", "/v1/tokens", {"name": "region", "role": "viewer", "scopes": {"labels": {"region": "r7"}}})["token"]
    cases = [(name, path, sql, control.token) for name, (path, sql) in CASES.items()] + [(*SCOPED, region)]
    for name, path, sql, token in cases:
        if args.only and args.only not in name:
            continue
        ask(args, control, token, path, 0.3)
        took, theirs = [], []
        for _ in range(args.rounds):
            took += ask(args, control, token, path, args.seconds)
            theirs += by_libpq(args, postgres, control.store, sql, args.seconds) if sql else []
        samples = {"P50": [statistics.median(took)], "P99": [percentile(sorted(took), 99)]}
        if theirs:
            samples |= {"libpq P50": [statistics.median(theirs)], "libpq P99": [percentile(sorted(theirs), 99)]}
        m = report.figure(f"{name} ({len(took)})", "ms", samples)
        report.at_most(f"{name}: P99", TARGET_MS, "ms", m["P99"])
        if theirs:
            print(f"  {m['P50'] / m['libpq P50']:.1f} times libpq's P50, {m['P99'] / m['libpq P99']:.1f} times its P99", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenants", type=int, default=5000)
    parser.add_argument("--versions", type=int, default=200, help="of each tenant")
    parser.add_argument("--seconds", type=float, default=2, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    if args.quick:
        args.tenants, args.versions, args.seconds, args.rounds = 1000, 50, 1, 1
    report = Report()
    postgres = Postgres("max_wal_size=4GB")
    control = Control(store=postgres.database()).start()
    fill(args, postgres, control.store)
    measure(args, report, postgres, control)
    control.stop()
    report.finish(os.path.join(BUILD, "bench-api-reads.json"))


if __name__ == "__main__":
    main()
