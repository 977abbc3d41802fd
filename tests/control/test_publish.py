#!/usr/bin/env python3
"""What happens after a release: the pointer in a folder or a bucket moves, CDNs forget, edges are told, signatures hold.

Real parts: regent control, regent edge, versitygw, varnish, nginx, OPA; CloudFront is a stand-in that checks the request's signature and
reads its XML.

in:  BUILD, OPA, REGENT_CACHE; varnishd and nginx. out: TAP. owns: servers and folders of its own."""
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import xml.etree.ElementTree
from http import server as servers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from control_lib import OPA, REGENT, ROOT, TMP, Control, Postgres, check, equal, free_port, postgres_bin, run_parts, start, stop, wait_for  # noqa: E402
from edge_lib import Edge, http  # noqa: E402
from proxy_lib import moved  # noqa: E402
from s3_lib import KEYS, Versity, quick_folder, versitygw  # noqa: E402
from sources_lib import becomes, sourced, who  # noqa: E402

ENTRY = "# METADATA\n# entrypoint: true\n"
POLICY = f"package t\n\nimport rego.v1\n\n{ENTRY}default allow := false\n\nallow if input.user == data.boss\n\n{ENTRY}who := \"%s\"\n"


def fill(control, tenants, version="1", template="t"):
    control.must("PUT", "/v1/templates/" + template, {"files": {"policy.rego": POLICY % version}, "data": {"boss": "ann"}})
    for t in tenants:
        control.must("PUT", "/v1/tenants/" + t, {"template": {"id": template}})


def change(control, version, template="t"):
    control.must("PUT", "/v1/templates/" + template, {"files": {"policy.rego": POLICY % version}, "data": {"boss": "ann"}})


def settled(control, seconds=30):
    """Everything that was released is published, and everybody told."""
    def quiet():
        s = control.must("GET", "/v1/status")
        return s["unpublished"] == 0 and s["errands"] == 0 and s["build_jobs_open"] == 0
    return wait_for(quiet, seconds)


def version_of(control, tenant):
    return control.must("GET", "/v1/tenants/" + tenant)["version"]


# ---- where pointers are ----

def folder():
    """An edge reads the folder itself."""
    c = Control(name="folder").start()
    fill(c, ["a", "b"])
    check("folder: published", settled(c))
    root = c.folder + "/blobs"
    edge = Edge(name="folder-edge")
    edge.folder = root
    edge.start()
    equal("folder: an edge serves it", [who(edge, "a"), who(edge, "b")], ["1", "1"])
    change(c, "2")
    check("folder: a new version behind a link is noticed", becomes(edge, "a", "2") and becomes(edge, "b", "2"))
    check("folder: pointer and store agree", settled(c) and os.readlink(root + "/tenants/a/current") == "versions/" + version_of(c, "a"))
    with open(root + "/tenants/a/policy.wasm", "rb") as f, open(root + "/tenants/a/policy.wasm.sha256") as g:
        equal("folder: the module's sum", g.read().split(), [hashlib.sha256(f.read()).hexdigest(), "policy.wasm"])
    c.must("POST", "/v1/releases", {"tenant": "a", "rollback": True})
    check("folder: an older version too", becomes(edge, "a", "1") and who(edge, "b") == "2")
    spec = {"template": {"id": "t"}}
    c.must("PUT", "/v1/tenants/b", {**spec, "status": "suspended"})
    check("folder: a suspended tenant is taken away", wait_for(lambda: who(edge, "b") == 404) and not os.path.exists(root + "/tenants/b/bundle.tar.gz"))
    c.must("PUT", "/v1/tenants/b", {**spec, "status": "active"})
    check("folder: and comes back", becomes(edge, "b", "2"))
    c.must("DELETE", "/v1/tenants/b")
    check("folder: a deleted one is gone", wait_for(lambda: who(edge, "b") == 404))
    equal("folder: nothing lies about", [f for _, _, files in os.walk(root + "/.new") for f in files], [])
    stop(edge.process)
    c.stop()


def bucket():
    """The same on a real S3 server, which goes away and comes back."""
    if not versitygw():
        return
    s3 = Versity()
    store = Postgres().database() if postgres_bin() else None
    key = TMP + "/bucket.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-out", key], check=True)
    c = Control("--signing-key", key, name="bucket", store=store, blobs=s3.blobs(more="&timeout_ms=8000"), env=KEYS).start()
    fill(c, ["a", "b"])
    check("bucket: published", settled(c))
    edge = sourced("bucket-edge", [{"name": "s3", "s3": {"bucket": "policies", "prefix": "eu/prod", "region": "eu-central-1", "endpoint": s3.url},
                                    "discover": True, "poll": "200ms"}]).begin(KEYS)
    equal("bucket: an edge serves it", [who(edge, "a"), who(edge, "b")], ["1", "1"])
    change(c, "2")
    check("bucket: a new version", becomes(edge, "a", "2"))
    c.must("POST", "/v1/releases", {"tenant": "a", "rollback": True})
    check("bucket: going back is a newer release, not an older version", becomes(edge, "a", "1"))
    check("bucket: so the pointer says", wait_for(lambda: s3.head("eu/prod/tenants/a/bundle.tar.gz").get("x-amz-meta-serial") == "3"))
    equal("bucket: and of which version", s3.head("eu/prod/tenants/a/bundle.tar.gz")["x-amz-meta-version"], version_of(c, "a"))
    settled(c)
    s3.stop()
    c.must("POST", "/v1/releases", {"tenant": "a", "version": c.must("GET", "/v1/tenants/a/versions")["items"][0]["version"]})
    check("bucket: gone: the release waits, and says why", c.wait_log("a tenant's pointer cannot be moved", tenant="a", seconds=30)
          and c.must("GET", "/v1/status")["unpublished"] == 1, c.lines()[-3:])
    equal("bucket: edges go on", who(edge, "a"), "1")
    s3.start()
    check("bucket: back: it is made good", settled(c, 60) and becomes(edge, "a", "2", 30))
    stop(edge.process)
    s3.process.send_signal(signal.SIGSTOP)
    c.must("POST", "/v1/releases", {"tenant": "a", "rollback": True})
    time.sleep(0.5)
    began = time.time()
    equal("bucket: a control plane ends in time although the server does not answer", (c.stop(), time.time() - began < 9), (0, True))
    s3.process.send_signal(signal.SIGCONT)
    c.start()
    check("bucket: the next one goes on", settled(c) and s3.head("eu/prod/tenants/a/bundle.tar.gz")["x-amz-meta-version"] == version_of(c, "a"))
    c.stop()
    s3.stop()


# ---- CDNs ----

class Web:
    """nginx over the folder of blobs, as an origin, and the nginx of deploy/cdn before it; varnish with deploy/cdn before it too."""

    def __init__(self, blobs):
        self.origin, self.nginx, self.varnish = free_port(), free_port(), free_port()
        os.chmod(TMP, 0o755)
        folder = TMP + "/web"
        os.makedirs(folder + "/logs")
        origin = f"""worker_processes 1; pid origin.pid; events {{}}
http {{ access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server {{ listen 127.0.0.1:{self.origin}; root {blobs}; }} }}"""
        cache = moved(open(ROOT + "/deploy/cdn/nginx.conf").read(), {9000: self.origin, 10000: f"127.0.0.1:{self.nginx}"})
        for name, text in (("origin", origin), ("cache", cache)):
            with open(f"{folder}/{name}.conf", "w") as f:
                f.write(text if os.getuid() else "user root;\n" + text)
            start(["nginx", "-p", folder, "-c", f"{folder}/{name}.conf", "-e", f"{folder}/{name}.log", "-g", "daemon off;"], TMP + "/web.log")
        vcl = folder + "/regent.vcl"
        with open(vcl, "w") as f:
            f.write(moved(open(ROOT + "/deploy/cdn/varnish.vcl").read(), {9000: self.origin}))
        self.workdir = tempfile.mkdtemp(prefix="rv", dir="/tmp")
        self.process = start(["varnishd", "-j", "none", "-F", "-n", self.workdir, "-a", f"127.0.0.1:{self.varnish}", "-f", vcl, "-s", "malloc,64m"], TMP + "/varnish.log")
        wait_for(lambda: all(self.get(p, "/")[0] for p in (self.origin, self.nginx, self.varnish)), 30)

    def get(self, port, path, method="GET"):
        return http(port, method, path)[::2]

    def stop(self):
        stop(self.process)
        shutil.rmtree(self.workdir, ignore_errors=True)


def caches():
    root = TMP + "/caches/blobs"
    os.makedirs(root)
    if not shutil.which("varnishd") or not shutil.which("nginx"):
        print("# skip: varnish or nginx is not installed (tools/packages-test.txt)")
        return
    w = Web(root)
    c = Control("--purge", f"varnish:http://127.0.0.1:{w.varnish}", "--purge", f"nginx:http://127.0.0.1:{w.nginx}", name="caches").start()
    fill(c, ["a", "b@x"])
    settled(c)
    path, odd = "/tenants/a/bundle.tar.gz", "/tenants/b%40x/bundle.tar.gz"
    first = w.get(w.origin, path)[1]
    for name, port in (("varnish", w.varnish), ("nginx", w.nginx)):
        equal(f"{name}: gives the bundle", w.get(port, path), (200, first))
        equal(f"{name}: of an odd id too", w.get(port, odd)[0], 200)
    old = os.readlink(root + "/tenants/a/current")
    os.unlink(root + "/tenants/a/current")
    equal("both keep it", [w.get(p, path)[0] for p in (w.origin, w.varnish, w.nginx)], [404, 200, 200])
    os.symlink(old, root + "/tenants/a/current")
    change(c, "2")
    check("told", settled(c), c.lines()[-3:])
    for name, port in (("varnish", w.varnish), ("nginx", w.nginx)):
        for p in (path, odd):
            check(f"{name}: gives the new bundle of {p}", w.get(port, p) == w.get(w.origin, p) and w.get(port, p)[1] != first)
    c.must("PUT", "/v1/tenants/a", {"template": {"id": "t"}, "status": "suspended"})
    settled(c)
    equal("a suspended tenant is gone from both", [w.get(p, path)[0] for p in (w.origin, w.varnish, w.nginx)], [404] * 3)
    c.stop()
    w.stop()


class CloudFront(servers.ThreadingHTTPServer):
    """Takes invalidations that are signed and written as Amazon's API wants them; 400 while `busy`."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Invalidations)
        self.paths, self.refused, self.references, self.busy = [], [], [], 0
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class Invalidations(servers.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def wrong(self, body):
        fields = dict(p.strip().split("=", 1) for p in self.headers["Authorization"].removeprefix("AWS4-HMAC-SHA256").split(","))
        names, day = fields["SignedHeaders"].split(";"), fields["Credential"].split("/")[1]
        canonical = "\n".join(["POST", self.path, "", *[f"{n}:{self.headers[n].strip()}" for n in names], "", ";".join(names),
                               hashlib.sha256(body).hexdigest()])
        scope = f"{day}/us-east-1/cloudfront/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + KEYS["AWS_SECRET_ACCESS_KEY"]).encode()
        for part in (*scope.split("/")[:3], "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        if fields["Signature"] != hmac.new(key, text.encode(), hashlib.sha256).hexdigest() or fields["Credential"] != f"{KEYS['AWS_ACCESS_KEY_ID']}/{scope}":
            return "the signature does not match"
        if self.path != "/2020-05-31/distribution/E2QWRUHAPOMQZL/invalidation":
            return self.path
        return ""

    def do_POST(self):
        s, body = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        wrong = self.wrong(body)
        space = "{http://cloudfront.amazonaws.com/doc/2020-05-31/}"
        batch = xml.etree.ElementTree.fromstring(body)
        paths = [p.text for p in batch.findall(f"{space}Paths/{space}Items/{space}Path")]
        reference = batch.findtext(space + "CallerReference")
        if batch.tag != space + "InvalidationBatch" or int(batch.findtext(f"{space}Paths/{space}Quantity")) != len(paths) or len(paths) > 15:
            wrong = wrong or "not an invalidation: " + body.decode()
        if not reference or reference in s.references:
            wrong = wrong or "a reference that was there"
        status = 403 if wrong else 400 if s.busy else 201
        if wrong:
            s.refused.append(wrong)
        elif s.busy:
            s.busy -= 1
        else:
            s.references.append(reference)
            s.paths.append(sorted(paths))
        answer = b"" if status == 201 else b"<ErrorResponse><Error><Code>TooManyInvalidationsInProgress</Code></Error></ErrorResponse>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def cloudfront():
    cdn = CloudFront()
    c = Control("--purge", "cloudfront:E2QWRUHAPOMQZL", "--cdn-url", "https://cdn.example.com/eu/", "--release-manually", name="cloudfront",
                env={**KEYS, "AWS_ENDPOINT_URL_CLOUDFRONT": cdn.url}).start()
    names = ["a", "b@x"] + [f"n{i}" for i in range(20)]
    fill(c, names)
    settled(c)
    equal("cloudfront: nothing is released, nothing invalidated", (cdn.paths, cdn.refused), ([], []))
    newest = {t: c.must("GET", f"/v1/tenants/{t}/versions")["items"][0]["version"] for t in names}
    cdn.busy = 1
    c.must("POST", "/v1/releases", {"releases": [{"tenant": t, "version": newest[t]} for t in names[:2]]})
    check("cloudfront: two tenants, after it was busy once", settled(c), c.lines()[-3:])
    equal("cloudfront: by name, escaped, below the CDN's path", (cdn.paths, cdn.refused), ([["/eu/tenants/a/*", "/eu/tenants/b%40x/*"]], []))
    check("cloudfront: busy is in the log", c.logged("cannot tell of a release, tried again", target="cloudfront:E2QWRUHAPOMQZL"))
    c.must("POST", "/v1/releases", {"releases": [{"tenant": t, "version": newest[t]} for t in names[2:]]})
    check("cloudfront: many", settled(c))
    equal("cloudfront: many are one wildcard", cdn.paths[1:], [["/eu/tenants/*"]])
    c.stop()
    c = Control("--purge", "cloudfront:E2QWRUHAPOMQZL", name="cloudfront-keys",
                env={**KEYS, "AWS_SECRET_ACCESS_KEY": "wrong", "AWS_ENDPOINT_URL_CLOUDFRONT": cdn.url}).start()
    fill(c, ["a"])
    check("cloudfront: wrong credentials are visible", wait_for(lambda: c.must("GET", "/v1/errands")["items"]
                                                                and "status 403" in c.must("GET", "/v1/errands")["items"][0]["error"]))
    c.stop()
    cdn.shutdown()


class Any(servers.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_PURGE = do_POST = do_BAN = do_GET = answer


def any_server(status=200):
    s = servers.ThreadingHTTPServer(("127.0.0.1", 0), Any)
    s.daemon_threads, s.asked, s.status = True, [], status
    s.url = f"http://127.0.0.1:{s.server_port}"
    threading.Thread(target=s.serve_forever, args=(0.05,), daemon=True).start()
    return s


def generic():
    """Any CDN with a purge by HTTP; one that is down holds up nobody else; what was refused waits for a later start."""
    good, bad = any_server(), any_server(500)
    flags = ["--purge", f"http:PURGE:{good.url}/by/{{path}}?v={{version}}", "--purge", f"http:POST:{good.url}/t/{{tenant}}",
             "--purge", f"http:BAN:{good.url}/all", "--purge", f"http:POST:{bad.url}/down"]
    c = Control(*flags, name="generic").start()
    fill(c, ["a"])
    v = None
    check("generic: told", wait_for(lambda: len(good.asked) >= 6))
    v = version_of(c, "a")
    paths = [f"tenants/a/{f}" for f in ("bundle.tar.gz", "current.json", "policy.wasm", "policy.wasm.sha256")]
    equal("generic: by path, by tenant, at once", sorted(good.asked),
          sorted([("PURGE", f"/by/{p}?v={v}") for p in paths] + [("POST", "/t/a"), ("BAN", "/all")]))
    check("generic: what is down is visible", wait_for(lambda: [e["tries"] > 0 and "status 500" in e["error"] and e["tenant"] == "a"
                                                                for e in c.must("GET", "/v1/errands")["items"]] == [True]))
    c.kill()
    bad.status, before = 200, len(good.asked)
    c.start()
    check("generic: killed and started again, the rest is done", settled(c) and ("POST", "/down") in bad.asked[1:])
    equal("generic: and what was done is not", len(good.asked), before)
    c.stop()
    for words, says in ((["--purge", "akamai:x"], "none of"), (["--purge", "cloudfront:e-1"], "capital"), (["--purge", "http:get:http://x"], "capital"),
                        (["--purge", "varnish:cache"], "http://"), (["--reload", "edge-7"], "http://"),
                        (["--purge", "http:PURGE:http://x/{version}"], "{tenant}")):
        done = subprocess.run([REGENT, "control", "--store", f"sqlite:{TMP}/wrong.db", "--blobs", f"dir:{TMP}/wrong", "--addr", "127.0.0.1:0", *words],
                              capture_output=True, text=True, timeout=20)
        check(f"generic: {words[1]} is refused at the start", done.returncode and says in done.stderr + done.stdout, done.stderr + done.stdout)
    good.shutdown()
    bad.shutdown()


# ---- edges ----

def reloads():
    """Edges that would look once an hour are told, with a token; what they answer counts."""
    port, dead = free_port(), free_port()
    root = TMP + "/reloads/blobs"
    os.makedirs(root + "/tenants")
    done = subprocess.run([REGENT, "token", "control", "reload", "--file", TMP + "/tokens"], capture_output=True, text=True, check=True)
    token = TMP + "/reload-token"
    with open(token, "w") as f:
        f.write("wrong\n")
    edge = Edge(name="reload-edge")
    config = TMP + "/reload-edge.yaml"
    with open(config, "w") as f:
        f.write(f"tenants: {{directory: {root}, poll: 1h}}\nlog: {{format: json}}\nadmin: {{tokens_file: {TMP}/tokens}}\nlisteners:\n"
                f"  - {{name: rest, address: '127.0.0.1:{edge.rest}', doors: [rest, health]}}\n"
                f"  - {{name: admin, address: '127.0.0.1:{port}', doors: [admin]}}\n")
    edge.process = start([REGENT, "edge", "--config", config], edge.log)
    wait_for(lambda: edge.logged("ready"))
    c = Control("--reload", f"http://127.0.0.1:{dead}", "--reload", f"http://127.0.0.1:{port}", "--reload-token-file", token, name="reloads").start()
    fill(c, ["a"])
    target = f"reload:http://127.0.0.1:{port}"
    check("reload: a wrong token is refused, and that is visible",
          wait_for(lambda: any(e["target"] == target and "status 401" in e["error"] for e in c.must("GET", "/v1/errands")["items"])),
          c.must("GET", "/v1/errands"))
    equal("reload: so the edge knows nothing", who(edge, "a"), 404)
    with open(token, "w") as f:
        f.write(done.stdout.strip() + "\n")
    check("reload: the right one: the edge serves it", becomes(edge, "a", "1", 20), c.lines()[-3:])
    began = time.time()
    change(c, "2")
    check("reload: and the next version, long before it looks itself", becomes(edge, "a", "2", 20))
    print(f"# change to edge by push: {time.time() - began:.2f} s")
    check("reload: one that is down is tried again, alone", wait_for(lambda: [e["target"] for e in c.must("GET", "/v1/errands")["items"]]
                                                                   == [f"reload:http://127.0.0.1:{dead}"]))
    equal("reload: by tenant", [e["tenant"] for e in c.must("GET", f"/v1/errands?tenant=a&target=reload:http://127.0.0.1:{dead}")["items"]], ["a"])
    stop(edge.process)
    c.stop()


def order():
    """CDNs are told before edges: what an edge fetches through them must be new. One that stays down does not hold edges up for ever."""
    cdn, edge = any_server(500), any_server()
    c = Control("--purge", f"http:PURGE:{cdn.url}/{{path}}", "--reload", edge.url, name="order").start()
    fill(c, ["a"])
    check("order: tried at the CDN", wait_for(lambda: cdn.asked))
    equal("order: the edge waits", edge.asked, [])
    check("order: but not for ever", wait_for(lambda: edge.asked == [("POST", "/v1/policies/reload")], 20))
    c.stop()
    cdn.shutdown()
    edge.shutdown()


# ---- signatures ----

def key_file(name, *how):
    path = f"{TMP}/{name}.pem"
    subprocess.run(["openssl", "genpkey", *how, "-out", path], check=True, stderr=subprocess.DEVNULL)
    return path


def public(path):
    return subprocess.run(["openssl", "pkey", "-in", path, "-pubout"], capture_output=True, text=True, check=True).stdout


def signed_edge(name, root, keys):
    edge = Edge(name=name)
    config = f"{TMP}/{name}.yaml"
    with open(config, "w") as f:
        f.write(f"tenants: {{directory: {root}, poll: 50ms, signature: {{keys_file: {keys}, required: true}}}}\nlog: {{format: json}}\nlisteners:\n"
                f"  - {{name: rest, address: '127.0.0.1:{edge.rest}', doors: [rest, health]}}\n")
    edge.process = start([REGENT, "edge", "--config", config], edge.log)
    wait_for(lambda: edge.logged("ready"))
    return edge


def published_keys(control, path):
    status, keys, _ = control.call("GET", "/v1/signing-keys", token=False)
    with open(path, "w") as f:
        json.dump(keys, f)
    return [k["kid"] for k in keys["keys"]] if status == 200 else status


def opa_takes(control, pem, kid, alg):
    """What a real OPA agent answers that gets tenant a's bundle from the control plane; or why it has none."""
    port, config = free_port(), f"{TMP}/opa-{free_port()}.json"
    with open(pem) as key, open(config, "w") as f:
        json.dump({"services": {"regent": {"url": control.url, "credentials": {"bearer": {"token": control.token}}}},
                   "keys": {kid: {"algorithm": alg, "key": key.read()}},
                   "bundles": {"a": {"service": "regent", "resource": "bundles/a", "signing": {"keyid": kid},
                                     "polling": {"min_delay_seconds": 1, "max_delay_seconds": 1}}},
                   "status": {"console": True}}, f)
    log = config + ".log"
    agent = start([OPA, "run", "--server", "--disable-telemetry", "--addr", f"127.0.0.1:{port}", "--config-file", config], log)

    def said():
        answer = http(port, "POST", "/v1/data/t/allow", '{"input": {"user": "ann"}}')
        return answer[0] == 200 and "result" in json.loads(answer[2]) or "Bundle load failed" in open(log).read()
    wait_for(said, 15)
    answer = json.loads(http(port, "POST", "/v1/data/t/allow", '{"input": {"user": "ann"}}')[2])
    stop(agent)
    failed = re.search(r"Bundle load failed: (.*?)\"", open(log).read())
    return answer.get("result", failed[1] if failed else open(log).read()[-500:])


def signatures():
    """Each algorithm, as a real edge and real OPA check it."""
    ways = {"ES256": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "RS256": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "EdDSA": ["-algorithm", "ED25519"]}
    for alg, how in ways.items():
        key = key_file("sign-" + alg, *how)
        c = Control("--signing-key", key, name="sign-" + alg).start()
        spec = json.dumps({"files": {"policy.rego": POLICY % "1"}, "data": {"odd": "ODD", "boss": "ann"}})
        c.must("PUT", "/v1/templates/t", spec.replace('"ODD"', '[1.0, 1e400, 10.50, 12345678901234567890, "x<y>&é\\u2028", -0.0]'),
               headers={"Content-Type": "application/json"})
        c.must("PUT", "/v1/tenants/a", {"template": {"id": "t"}, "data": {"more": {"deep": [{}, [], None, -0.0]}}})
        settled(c)
        keys, root = f"{TMP}/keys-{alg}.json", c.folder + "/blobs"
        kid = published_keys(c, keys)
        edge = signed_edge("sign-edge-" + alg, root, keys)
        equal(f"{alg}: an edge takes it by the published keys", who(edge, "a"), "1")
        stop(edge.process)
        stranger = f"{TMP}/stranger-{alg}.pem"
        with open(stranger, "w") as f:
            f.write(public(key_file("stranger", *how)))
        edge = signed_edge("stranger-edge-" + alg, root, stranger)
        equal(f"{alg}: and not by others", (who(edge, "a"), bool(edge.logged("bundle refused", tenant_id="a"))), (404, True))
        stop(edge.process)
        pem = f"{TMP}/public-{alg}.pem"
        with open(pem, "w") as f:
            f.write(public(key))
        if alg != "EdDSA":  # which OPA does not know
            equal(f"{alg}: an OPA agent takes it", opa_takes(c, pem, kid[0], alg), True)
            got = opa_takes(c, stranger, kid[0], alg)
            check(f"{alg}: and not by a stranger's key", "verify" in str(got) or "verification" in str(got), got)
        c.stop()


def rotation():
    """Keys change while edges know both; none refuses anything on the way."""
    old, new = key_file("old", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), key_file("new", "-algorithm", "ED25519")
    c = Control("--signing-key", old, name="rotation").start()
    fill(c, ["a", "b"])
    settled(c)
    root, keys = c.folder + "/blobs", TMP + "/rotation.json"
    first = published_keys(c, keys)

    def again(*files):
        c.stop()
        c.flags = [w for f in files for w in ("--signing-key", f)]
        c.start()
        return published_keys(c, keys)
    both = again(old, new)
    equal("rotation: the next key is published before it signs", (both[0], len(both)), (first[0], 2))
    edge = signed_edge("rotation-edge", root, keys)
    equal("rotation: an edge that knows both", [who(edge, "a"), who(edge, "b")], ["1", "1"])
    equal("rotation: the new key signs, the old one stays known", again(new, old), [both[1], both[0]])
    c.must("PUT", "/v1/tenants/a", {"template": {"id": "t"}, "data": {"n": 1}})
    settled(c)
    versions = {t: version_of(c, t) for t in "ab"}
    check("rotation: what is built now is signed by it", wait_for(lambda: edge.logged("bundle activated", tenant_id="a", version=versions["a"]) or
                                                                len(edge.logged("bundle activated", tenant_id="a")) > 1))
    build = c.must("POST", "/v1/builds", {"all": True, "forced": True, "release": True})
    c.wait_build(build.get("id") or build.get("build"))
    settled(c)
    check("rotation: what did not change is signed anew by a forced build", version_of(c, "b") != versions["b"])
    equal("rotation: then the old one goes", again(new), [both[1]])
    stop(edge.process)
    edge = signed_edge("rotation-edge2", root, keys)
    equal("rotation: and everything is known by the new one alone", [who(edge, "a"), who(edge, "b"), edge.logged("bundle refused")], ["1", "1", []])
    stop(edge.process)
    c.stop()


# ---- many ----

def many():
    """5,000 releases at once (put into the store by hand) in a folder; 1,000 with a CDN to tell."""
    n, cdn = 5000, any_server()
    root = quick_folder()
    c = Control(name="many", store=f"sqlite:{root}/store.db", blobs=f"dir:{root}/blobs").start()
    fill(c, ["first"])
    settled(c)
    c.stop()
    db = sqlite3.connect(c.store.removeprefix("sqlite:"))
    tenant = dict(zip((d[0] for d in db.execute("SELECT * FROM tenants").description), db.execute("SELECT * FROM tenants").fetchone()))
    version = dict(zip((d[0] for d in db.execute("SELECT * FROM versions").description), db.execute("SELECT * FROM versions").fetchone()))
    for table, row, key in (("tenants", {**tenant, "pointed": 0}, "id"), ("versions", version, "tenant")):
        db.executemany(f"INSERT INTO {table} ({','.join(row)}) VALUES ({','.join('?' * len(row))})",
                       [list({**row, key: f"t{i:04}"}.values()) for i in range(n)])
    db.commit()
    db.close()
    for i in range(n):
        folder = f"{root}/blobs/tenants/t{i:04}/versions/{version['version']}"
        os.makedirs(folder)
        for part in ("bundle.tar.gz", "policy.wasm", "policy.wasm.sha256"):
            os.link(f"{root}/blobs/tenants/first/current/{part}", f"{folder}/{part}")
    c.start()
    began = time.time()
    check("many: published", wait_for(lambda: c.must("GET", "/v1/status")["unpublished"] == 0, 30))
    ms = sum(int(l["ms"]) for l in c.logged("pointers moved") if int(l["tenants"]) > 1)
    check("many: 5,000 pointers in a folder in well under 2 s", 0 < ms < 2000, ms)
    print(f"# 5,000 pointers: {ms} ms; all after {time.time() - began:.1f} s")
    check("many: all of them", settled(c) and all(os.path.exists(f"{root}/blobs/tenants/t{i:04}/bundle.tar.gz") for i in range(n)))
    c.stop()
    db = sqlite3.connect(c.store.removeprefix("sqlite:"))
    db.execute("UPDATE tenants SET pointed = 0 WHERE id < 't1000' AND id <> 'first'")
    db.commit()
    db.close()
    c.flags = ["--purge", f"http:POST:{cdn.url}/{{tenant}}"]
    c.start()
    check("many: told", wait_for(lambda: len({p for _, p in cdn.asked}) == 1000, 60) and settled(c), len(cdn.asked))
    equal("many: once each", len(cdn.asked), 1000)
    c.stop()
    cdn.shutdown()


def replicas():
    """Two processes on one store and one folder, killed in turn while releases go back and forth: in the end pointers are what the store says."""
    if not postgres_bin():
        print("# skip: no PostgreSQL is installed (tools/packages-test.txt)")
        return
    store, key, edge = Postgres().database(), key_file("replicas", "-algorithm", "ED25519"), any_server()
    flags = ("--signing-key", key, "--reload", edge.url, "--lease-ms", "1000")
    a = Control(*flags, name="replica-a", store=store).start()
    b = Control(*flags, name="replica-b", store=store, blobs=a.blobs, token=a.token).start()
    names, both = [f"r{i}" for i in range(8)], {}
    fill(a, names)
    check("replicas: published", settled(a))
    change(b, "2")
    check("replicas: again", settled(b))
    for t in names:
        both[t] = [v["version"] for v in a.must("GET", f"/v1/tenants/{t}/versions")["items"]]
    deaths = 0
    for turn in range(24):
        for k, t in enumerate(names):
            (a if (turn + k) % 2 else b).must("POST", "/v1/releases", {"tenant": t, "version": both[t][(turn + k) % 2]})
        if turn % 4 == 3:
            victim = a if turn % 8 == 3 else b
            time.sleep(0.003 * turn)
            victim.kill()
            deaths += 1
            victim.start()
    check("replicas: quiet in the end", settled(a, 60), a.must("GET", "/v1/status"))
    root = a.folder + "/blobs/tenants/"
    equal(f"replicas: every pointer is what the store says, after {deaths} deaths",
          [t for t in names if os.readlink(root + t + "/current") != "versions/" + version_of(a, t)], [])
    a.stop()
    b.stop()
    edge.shutdown()


run_parts([folder, bucket, caches, cloudfront, generic, reloads, order, signatures, rotation, many, replicas])
