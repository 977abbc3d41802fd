#!/usr/bin/env python3
"""Bundles of the control plane: OPA's bundle protocol and the blob store's files by hand, and a real `opa run`, polling and waiting, that
verifies what we sign.

in: BUILD, OPA. out: TAP. owns: the processes it starts."""
import gzip
import hashlib
import http.client
import io
import json
import os
import subprocess
import tarfile
import time

from control_lib import OPA, TMP, check, equal, free_port, run_parts, start, stop, wait_for
from edges_lib import each_store, later, memory_kb, named, put_policy, release, seed, token
from sources_lib import becomes, sourced, who

LONG = "application/vnd.openpolicyagent.bundles"


def get(c, path, secret, method="GET", **headers):
    return c.call(method, path, token=secret, headers={k.replace("_", "-"): v for k, v in headers.items()})


def protocol():
    for kind, store in each_store():
        c = store.control().start()
        one, two = b"bundle one", b"bundle two"
        seed(store, {"acme": {"bundles": [one, two]}, "globex": {"bundles": [one]}, "none": {"bundles": [one]}}, released=True)
        secret = token(c)
        tag = f'"{hashlib.sha256(one).hexdigest()}"'
        status, body, head = get(c, "/bundles/acme", secret)
        equal(f"{kind}: the current bundle", (status, body, head["etag"], head["content-type"], head["cache-control"], head["x-regent-version"],
                                              head["x-regent-serial"]), (200, one, tag, "application/gzip", "no-cache", named(1, one), "1"))
        for sent in (tag, f'"x", {tag}', "W/" + tag, "*"):
            status, body, head = get(c, "/bundles/acme", secret, If_None_Match=sent)
            equal(f"{kind}: If-None-Match: {sent[:10]}", (status, body, head["etag"]), (304, b"", tag))
        equal(f"{kind}: another tag", get(c, "/bundles/acme", secret, If_None_Match='"old"')[0], 200)
        status, body, head = get(c, "/bundles/acme", secret, "HEAD")
        equal(f"{kind}: HEAD", (status, body, head["etag"], head["content-length"]), (200, b"", tag, str(len(one))))
        status, body, head = get(c, "/bundles/acme", secret, Prefer="modes=snapshot,delta;wait=20")
        equal(f"{kind}: whoever can wait and has nothing gets a snapshot at once, of OPA's type", (status, body, head["content-type"]), (200, one, LONG))
        waiting = later(lambda: get(c, "/bundles/acme", secret, Prefer="modes=snapshot,delta;wait=20", If_None_Match=tag))
        time.sleep(0.3)
        began = time.monotonic()
        release(c, {"acme": named(2, two)})
        (status, body, head), _ = waiting()
        took = time.monotonic() - began
        check(f"{kind}: whoever waits gets the next one", (status, body, head["content-type"]) == (200, two, LONG) and took < 3, (status, body, took))
        tag = head["etag"]
        (status, _, head), took = later(lambda: get(c, "/bundles/acme", secret, Prefer="wait=1", If_None_Match=tag))()
        check(f"{kind}: or a 304 of the same type", (status, head["content-type"]) == (304, LONG) and 0.9 < took < 4, (status, head, took))
        equal(f"{kind}: no such tenant", [get(c, "/bundles/" + t, secret, Prefer="wait=20")[0] for t in ("nobody", "%2e%2e", "a%2fb", "x" * 200)],
              [404, 400, 400, 400])
        c.must("PATCH", "/v1/tenants/acme", {"status": "suspended"}, headers={"If-Match": "*", "Content-Type": "application/merge-patch+json"})
        equal(f"{kind}: a suspended tenant has none", get(c, "/bundles/acme", secret, If_None_Match=tag)[0], 404)
        equal(f"{kind}: bundles are for edges", [get(c, "/bundles/globex", t)[0] for t in (token(c, "viewer"), "nonsense", False)], [403, 401, 401])
        narrow = token(c, scopes={"tenants": ["none"]})
        equal(f"{kind}: within their scopes", [get(c, p, narrow)[0] for p in ("/bundles/none", "/bundles/globex", "/blobs/tenants/globex/bundle.tar.gz")],
              [200, 404, 404])
        c.stop()


def files():
    for kind, store in each_store("sqlite"):
        c = store.control().start()
        one, two = os.urandom(100000), os.urandom(100000)
        seed(store, {"acme": {"bundles": [one, two]}, "lost": {"bundles": [two + b"x"]}, "bent": {"bundles": [one + b"x"]}}, released=True)
        secret, v = token(c), [named(1, one), named(2, two)]
        module = hashlib.sha256(b"module of " + one[:20]).hexdigest()
        for path, want in ((f"versions/{v[0]}/bundle.tar.gz", one), (f"versions/{v[1]}/bundle.tar.gz", two), ("bundle.tar.gz", one),
                           (f"versions/{v[0]}/policy.wasm", b"module of " + one[:20]), ("policy.wasm", b"module of " + one[:20]),
                           (f"versions/{v[0]}/policy.wasm.sha256", f"{module}  policy.wasm\n".encode()),
                           ("policy.wasm.sha256", f"{module}  policy.wasm\n".encode())):
            status, body, head = get(c, "/blobs/tenants/acme/" + path, secret)
            equal(f"files: {path[:9]}…{path[-16:]}", (status, body == want), (200, True))
            equal("files: how long it may be kept", "immutable" in head["cache-control"], "versions" in path)
            equal("files: not sent again", get(c, "/blobs/tenants/acme/" + path, secret, If_None_Match=head["etag"])[:2], (304, b""))
        for path in ("tenants/acme", "tenants/acme/current", "tenants/acme/versions", f"tenants/acme/versions/{v[0]}", "tenants/acme/versions/9-x/bundle.tar.gz",
                     f"tenants/lost/versions/{v[0]}/bundle.tar.gz", "x/acme/bundle.tar.gz", "tenants/acme/other", f"tenants/acme/versions/{v[0]}/bundle.tar.gz/x"):
            equal(f"files: no such file: {path}", get(c, "/blobs/" + path, secret)[0], 404)
        for path in ("tenants/../../store.db", "tenants/%2e%2e/%2e%2e/store.db", "..%2f..%2fstore.db", "tenants/acme/versions/../bundle.tar.gz", "/etc/passwd",
                     "tenants//bundle.tar.gz", "tenants/acme/%00", "tenants/acme/bundle.tar.gz%00"):
            status = get(c, "/blobs/" + path, secret)[0]
            check(f"files: no way out: {path}", status in (400, 404), status)
        equal("files: the index", get(c, "/blobs/tenants/index.json", secret)[1], ["acme", "bent", "lost"])
        equal("files: within scopes", get(c, "/blobs/tenants/index.json", token(c, scopes={"tenants": ["b*"]}))[1], ["bent"])
        equal("files: HEAD", get(c, "/blobs/tenants/acme/bundle.tar.gz", secret, "HEAD")[2]["content-length"], "100000")
        os.remove(f"{store.folder}/blobs/tenants/acme/versions/{v[0]}/bundle.tar.gz")
        equal("files: what was asked for before is in memory", get(c, "/bundles/acme", secret)[:2], (200, one))
        os.remove(f"{store.folder}/blobs/tenants/lost/versions/{named(1, two + b'x')}/bundle.tar.gz")
        with open(f"{store.folder}/blobs/tenants/bent/versions/{named(1, one + b'x')}/bundle.tar.gz", "wb") as f:
            f.write(b"others")
        for t in ("lost", "bent"):
            status, body, head = get(c, "/bundles/" + t, secret)
            equal(f"files: {t}: bytes that are not what was published are not served", (status, body["code"], "retry-after" in head), (502, "blob_store_failed", True))
        check("files: and said", len(c.logged("bundle not read")) == 2, c.lines()[-3:])
        c.stop()


def memory():
    """Bundles of which not all can be kept: memory stays bounded."""
    for kind, store in each_store("sqlite"):
        c = store.control().start()
        big = {f"t{i:03}": {"bundles": [os.urandom(1 << 20)]} for i in range(160)}
        seed(store, big, released=True)
        secret = token(c)
        connection = http.client.HTTPConnection("127.0.0.1", c.port, timeout=60)
        before, good = memory_kb(c.process.pid), 0
        for _ in range(2):
            for t, what in big.items():
                connection.request("GET", "/bundles/" + t, headers={"Authorization": "Bearer " + secret})
                good += connection.getresponse().read() == what["bundles"][0]
        equal("memory: 160 MiB of bundles, twice", good, 320)
        grown = memory_kb(c.process.pid) - before
        print(f"# memory: {grown / 1024:.0f} MiB more, of {before / 1024:.0f} MiB, after 160 MiB of bundles")
        check("memory: not all of it is kept", grown < 120 << 10, grown)
        c.stop()


def key(folder, name):
    """A P-256 key; (private, public) PEM files."""
    private, public = f"{folder}/{name}.pem", f"{folder}/{name}.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


class Agent:
    """`opa run --server` with one bundle of the control plane."""

    def __init__(self, c, name, secret, public, polling, resource="bundles/acme"):
        self.port, self.log = free_port(), f"{TMP}/{name}.log"
        config = f"{TMP}/{name}.yaml"
        with open(config, "w") as f:
            json.dump({"services": {"regent": {"url": c.url, "credentials": {"bearer": {"token": secret}}}},
                       "keys": {"ours": {"algorithm": "ES256", "key": open(public).read()}},
                       "bundles": {"acme": {"service": "regent", "resource": resource, "polling": polling, "signing": {"keyid": "ours"}}}}, f)
        self.process = start([OPA, "run", "--server", "--addr", f"127.0.0.1:{self.port}", "--config-file", config, "--log-level", "info", "--skip-version-check"], self.log)

    def who(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("POST", "/v1/data/t/who", "{}", {"Content-Type": "application/json"})
            return json.loads(connection.getresponse().read()).get("result", "")
        except OSError:
            return None
        finally:
            connection.close()

    def becomes(self, version, seconds=15):
        return wait_for(lambda: self.who() == version, seconds)

    def said(self, text):
        return text in open(self.log).read()

    def tail(self):
        return "".join([line for line in open(self.log) if '"req_id"' not in line][-4:])


def answers(c, path, hundreds):
    """How many replies of that class a route has given."""
    for line in c.call("GET", "/metrics")[1].decode().splitlines():
        if f'"{path}"' in line and f'"{hundreds}xx"' in line:
            return int(float(line.rsplit(" ", 1)[1]))
    return 0


def agents():
    if not OPA or "WebAssembly: available" not in subprocess.run([OPA, "version"], capture_output=True, text=True).stdout:
        check("opa run # SKIP there is no opa with WebAssembly (third_party/opa/build.sh makes it)", True)
        return
    for kind, store in each_store():
        private, public = key(store.folder, "signing")
        _, foreign = key(store.folder, "foreign")
        c = store.control("--signing-key", private).start()
        put_policy(c, "acme", "ann", "1")
        secret = token(c)
        polls = Agent(c, f"polls-{kind}", secret, public, {"min_delay_seconds": 1, "max_delay_seconds": 1})
        waits = Agent(c, f"waits-{kind}", secret, public, {"long_polling_timeout_seconds": 30, "min_delay_seconds": 1, "max_delay_seconds": 2})
        other = Agent(c, f"other-{kind}", secret, foreign, {"min_delay_seconds": 1, "max_delay_seconds": 1})
        check(f"{kind}: opa that polls answers from a bundle that it verified", polls.becomes("1"), polls.tail())
        check(f"{kind}: opa that waits too", waits.becomes("1"), waits.tail())
        check(f"{kind}: opa with another key refuses it", wait_for(lambda: other.said("verif")) and other.who() == "", other.tail())
        stop(other.process)
        before = answers(c, "/bundles/{id}", 3)
        check(f"{kind}: opa that polls gets 304s", wait_for(lambda: answers(c, "/bundles/{id}", 3) >= before + 2), before)
        check(f"{kind}: opa that waits is held", wait_for(lambda: c.call("GET", "/v1/status")[1]["waiting"] >= 1))
        put_policy(c, "acme", "ann", "2")
        began = time.monotonic()
        check(f"{kind}: a release reaches the one that waits", waits.becomes("2"), waits.tail())
        took = time.monotonic() - began
        check(f"{kind}: and the one that polls", polls.becomes("2"), polls.tail())
        print(f"# {kind}: from release to the answer of an opa that waits: {took * 1000:.0f} ms")
        put_policy(c, "acme", "ann", "3")
        check(f"{kind}: again and again", waits.becomes("3") and polls.becomes("3"))
        c.kill()
        equal(f"{kind}: without a control plane they go on", (waits.who(), polls.who()), ("3", "3"))
        c.start()
        put_policy(c, "acme", "ann", "4")
        check(f"{kind}: and come back", waits.becomes("4", 30) and polls.becomes("4", 30))
        stop(polls.process), stop(waits.process)
        bundle = get(c, "/bundles/acme", secret)[1]
        names = tarfile.open(fileobj=io.BytesIO(gzip.decompress(bundle))).getnames()
        check(f"{kind}: no delta: a whole bundle, signed", any(n.endswith(".signatures.json") for n in names) and not any("patch" in n for n in names), names)
        rego_only(c, kind, secret, public)
        c.stop()


def rego_only(c, kind, secret, public):
    """The form for OPAs without a WebAssembly engine: the same answers, signed, from Rego alone."""
    status, bundle, head = get(c, "/bundles/acme/rego", secret)
    archive = tarfile.open(fileobj=io.BytesIO(gzip.decompress(bundle)))
    files = {m.name.lstrip("/"): m for m in archive.getmembers()}
    manifest = json.load(archive.extractfile(files[".manifest"]))
    check(f"{kind}: the form without modules", status == 200 and not [n for n in files if n.endswith(".wasm")] and "wasm" not in manifest
          and [n for n in files if n.endswith(".rego")] and ".signatures.json" in files, (status, list(files), manifest))
    equal(f"{kind}: … has an ETag of its own", (head["etag"], get(c, "/bundles/acme/rego", secret, If_None_Match=head["etag"])[0]),
          (get(c, "/bundles/acme", secret)[2]["etag"][:-1] + '.rego"', 304))
    agent = Agent(c, f"rego-{kind}", secret, public, {"long_polling_timeout_seconds": 30, "min_delay_seconds": 1, "max_delay_seconds": 2}, "bundles/acme/rego")
    check(f"{kind}: … opa verifies it and answers", agent.becomes("4"), agent.tail())
    put_policy(c, "acme", "ann", "5")
    check(f"{kind}: … and waits for the next", agent.becomes("5"), agent.tail())
    stop(agent.process)


def edges():
    """Regent's own nodes by the other two kinds of sources."""
    for kind, store in each_store("sqlite"):
        c = store.control().start()
        put_policy(c, "acme", "ann", "1")
        path = f"{TMP}/edges.token"
        with open(path, "w") as f:
            f.write(token(c))
        common = {"token_file": path, "poll": "300ms"}
        waits = sourced("opa-kind", [{"name": "opa", "opa": {"url": c.url, "long_poll": "20s"}, "tenants": ["acme"], **common}]).begin()
        polls = sourced("http-kind", [{"name": "http", "http": {"base": c.url + "/blobs"}, "discover": True, **common}]).begin()
        equal("edges: as an OPA bundle server, and as a CDN", (who(waits, "acme"), who(polls, "acme")), ("1", "1"))
        check("edges: the first is held", wait_for(lambda: waits.metrics().get('regent_source_long_polls{source="opa"}') == "1"))
        put_policy(c, "acme", "ann", "2")
        check("edges: both get what is new", becomes(waits, "acme", "2") and becomes(polls, "acme", "2"))
        before = sorted((x["version"] for x in c.items("/v1/tenants/acme/versions")), key=lambda v: int(v.split("-")[0]))[0]
        release(c, {"acme": before})
        check("edges: a rollback too: its serial is higher", becomes(waits, "acme", "1") and becomes(polls, "acme", "1"), waits.lines()[-2:])
        stop(waits.process), stop(polls.process)
        c.stop()


if __name__ == "__main__":
    run_parts([protocol, files, memory, agents, edges])
