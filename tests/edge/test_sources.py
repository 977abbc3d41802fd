#!/usr/bin/env python3
"""Sources of all kinds against servers on loopback: a CDN with bundles and with modules, OPA's bundle protocol with long polling, S3 with
signed requests, a control plane; lists, changes, removals, first use, reload of the configuration.

in:  BUILD. out: TAP. owns: the servers and nodes it starts."""
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.parse

from control_stand_in import Control
from edge_lib import REGENT, TMP, build, check, equal, finish, http, start, stop, wait_for
from s3_lib import Versity, versitygw
from sources_lib import S3, LongPoll, Server, becomes, bundle, sourced, who


def where(tenant, file="bundle.tar.gz", base="/cdn"):
    return f"{base}/tenants/{tenant}/{file}"


def secret(name, text):
    path = f"{TMP}/{name}"
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o600)
    return path


def cdn():
    s = Server()
    s.token = "first"
    token = secret("cdn.token", "first\n")
    for t in ("a", "b", "ü b"):
        s.files[where(t)] = bundle("ann", "1")
    s.files[where("", "index.json").replace("//", "/")] = json.dumps(["a", "b", "ü b", "../x", ""]).encode()
    source = {"name": "cdn", "http": {"base": s.url + "/cdn"}, "discover": True, "poll": "200ms", "token_file": token}
    e = sourced("cdn", [source]).begin()
    equal("cdn: all tenants of index.json are there when the node is ready", [who(e, t) for t in ("a", "b")], ["1", "1"])
    equal("cdn: the list says what was no id", e.logged("list of tenants fetched")[0]["not_ids"], "2")
    check("cdn: an id is escaped in the path", s.count("/cdn/tenants/%C3%BC%20b/bundle.tar.gz") > 0)
    s.files[where("a")] = bundle("ann", "2")
    check("cdn: a changed bundle goes live", becomes(e, "a", "2"))
    check("cdn: what has not changed is a 304", wait_for(lambda: s.count(where("b"), 304) > 1))
    equal("cdn: and was given once", s.count(where("b"), 200), 1)
    del s.files[where("b")]
    check("cdn: a tenant whose bundle is gone keeps it", wait_for(lambda: s.count(where("b"), 404) > 0) and who(e, "b") == "1")
    check("cdn: and that is said", e.wait_log("bundle refused", tenant_id="b"))
    s.files["/cdn/tenants/index.json"] = b'["a", "c"]'
    s.files[where("c")] = bundle("ann", "1")
    check("cdn: a tenant that the list lacks is gone", becomes(e, "b", 404))
    check("cdn: a new one is there", becomes(e, "c", "1"))
    s.files["/cdn/tenants/index.json"] = b'["a'
    check("cdn: a list that is none removes nobody", e.wait_log("list of tenants not fetched") and who(e, "c") == "1")
    s.token = "second"
    check("cdn: a wrong token is a failure", wait_for(lambda: s.count(where("a"), 401) > 0) and who(e, "a") == "2")
    s.files[where("a")] = bundle("ann", "3")
    secret("cdn.token", "second\n")
    check("cdn: a new token is read without a reload", becomes(e, "a", "3"))
    m = e.metrics()
    equal("cdn: metrics", (m['regent_source_tenants{source="cdn"}'], int(m['regent_source_fetches_total{source="cdn",outcome="failed"}']) > 0),
          ("2", True))
    status = json.loads(http(e.rest, "GET", "/v1/status")[2])["result"]["sources"]["cdn"]
    equal("cdn: status", (status["kind"], status["tenants"], "problem" in status), ("http", 2, True))
    reload(e, s, source)
    equal("cdn: it ends", stop(e.process), 0)
    s.stop()


def reload(e, s, source):
    """SIGHUP: another source comes, one tenant moves; then all sources go."""
    s.files["/cdn/tenants/index.json"] = b'["a", "c"]'
    s.files["/two/tenants/c/bundle.tar.gz"] = bundle("ann", "two")
    e.write([{**source, "name": "two", "http": {"base": s.url + "/two"}, "discover": False, "tenants": ["c"]}, source])
    e.process.send_signal(signal.SIGHUP)
    check("reload: an earlier source takes a tenant that it lists", e.wait_log("configuration read again") and becomes(e, "c", "two"))
    equal("reload: others stay", who(e, "a"), "3")
    e.write([source])
    e.process.send_signal(signal.SIGHUP)
    check("reload: and gives it back", becomes(e, "c", "1"))


def modules():
    s = Server()
    folder = f"{TMP}/module"
    os.makedirs(folder, exist_ok=True)
    out = f"{folder}/b.tar.gz"
    build({"policy.rego": 'package t\n\nwho := data.name\n'}, ["t/who"], out)
    subprocess.run(["tar", "-xzf", out, "-C", folder], check=True, stderr=subprocess.DEVNULL)
    wasm = open(f"{folder}/policy.wasm", "rb").read()
    s.files[where("m", "policy.wasm")] = wasm
    s.files[where("m", "policy.wasm.sha256")] = hashlib.sha256(wasm).hexdigest().encode() + b"  policy.wasm\n"
    s.files[where("m", "data.json")] = b'{"name": "one"}'
    e = sourced("modules", [{"name": "cdn", "http": {"base": s.url + "/cdn", "file": "module"}, "tenants": ["m"], "poll": "200ms"}]).begin()
    equal("module: policy.wasm with its data", who(e, "m"), "one")
    s.files[where("m", "data.json")] = b'{"name": "two"}'
    check("module: data alone change", becomes(e, "m", "two"))
    check("module: nothing changes: 304", wait_for(lambda: s.count(where("m", "data.json"), 304) > 1))
    s.files[where("m", "policy.wasm.sha256")] = b"0" * 64
    s.files[where("m", "policy.wasm")] = wasm + b"\0\1\0"
    check("module: a wrong checksum is refused", e.wait_log("bundle refused", tenant_id="m") and who(e, "m") == "two")
    s.files[where("m", "policy.wasm")] = wasm
    s.files[where("m", "policy.wasm.sha256")] = hashlib.sha256(wasm).hexdigest().encode()
    s.files[where("m", "data.json")] = b'{"name": "three"}'
    check("module: and forgotten when it is right", becomes(e, "m", "three"))
    stop(e.process)
    s.stop()


def opa():
    s = Server(LongPoll)
    s.type = "application/vnd.openpolicyagent.bundles"
    s.files["/bundles/a"], s.files["/bundles/b"] = bundle("ann", "1"), bundle("ann", "1")
    e = sourced("opa", [{"name": "opa", "opa": {"url": s.url, "long_poll": "20s"}, "tenants": ["a", "b"], "poll": "60s"}]).begin()
    equal("opa: bundles are there", (who(e, "a"), who(e, "b")), ("1", "1"))
    check("opa: the server holds requests", wait_for(lambda: e.metrics().get('regent_source_long_polls{source="opa"}') == "2"))
    started = time.time()
    s.files["/bundles/a"] = bundle("ann", "2")
    check("opa: a change comes at once", becomes(e, "a", "2") and time.time() - started < 10)
    equal("opa: it asks for snapshots", s.last("/bundles/a")["prefer"].split(";")[0], "modes=snapshot")
    s.type = "application/gzip"
    s.files["/bundles/b"] = bundle("ann", "2")
    check("opa: another type", becomes(e, "b", "2"))
    check("opa: ends the holding", wait_for(lambda: e.metrics().get('regent_source_long_polls{source="opa"}') == "1"))
    asked = s.count("/bundles/b")
    time.sleep(0.4)
    equal("opa: and falls back to polling", s.count("/bundles/b"), asked)
    stop(e.process)
    s.stop()


def s3():
    s = Server(S3)
    for t in ("a", "b", "c d", "e"):
        s.files[f"/policies/eu/tenants/{t}/bundle.tar.gz"] = bundle("ann", "1")
    s.headers["/policies/eu/tenants/a/bundle.tar.gz"] = {"x-amz-meta-version": "rel-7", "x-amz-meta-serial": "7"}
    source = {"name": "s3", "s3": {"bucket": "policies", "prefix": "/eu", "region": "eu-central-1", "endpoint": s.url}, "discover": True,
              "poll": "200ms"}
    keys = {"AWS_ACCESS_KEY_ID": S3.KEY, "AWS_SECRET_ACCESS_KEY": S3.SECRET}
    e = sourced("s3", [source]).begin(keys)
    equal("s3: all tenants of all pages", [who(e, t) for t in ("a", "b", "c d", "e")], ["1"] * 4)
    equal("s3: the version stands in the metadata", e.logged("bundle activated", tenant_id="a")[0]["version"], "rel-7")
    s.files["/policies/eu/tenants/a/bundle.tar.gz"] = bundle("ann", "2")
    s.headers["/policies/eu/tenants/a/bundle.tar.gz"] = {"x-amz-meta-version": "rel-6", "x-amz-meta-serial": "6"}
    check("s3: last year's version is refused", wait_for(lambda: e.logged("bundle refused", tenant_id="a")) and who(e, "a") == "1")
    check("s3: with a way forward", "allow_older" in e.logged("bundle refused", tenant_id="a")[0]["reason"])
    e.write([{**source, "allow_older": True}])
    e.process.send_signal(signal.SIGHUP)
    check("s3: an operator may let it", becomes(e, "a", "2"))
    stop(e.process)
    s.stop()
    credentials()


def credentials():
    s = Server(S3)
    s.files["/policies/tenants/a/bundle.tar.gz"] = bundle("ann", "1")
    source = {"name": "s3", "s3": {"bucket": "policies", "region": "eu-central-1", "endpoint": s.url}, "tenants": ["a"], "poll": "200ms"}
    shared = secret("aws", f"[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n\n[edge]\n"
                    f"aws_access_key_id = {S3.KEY}\naws_secret_access_key={S3.SECRET}\n")
    e = sourced("s3file", [source]).begin({"AWS_SHARED_CREDENTIALS_FILE": shared})
    equal("s3: wrong credentials: nothing is served", who(e, "a"), 404)
    check("s3: and said", e.logged("tenants not loaded", source="s3")[0]["reason"].startswith("status 403"))
    stop(e.process)
    e = sourced("s3profile", [source]).begin({"AWS_SHARED_CREDENTIALS_FILE": shared, "AWS_PROFILE": "edge"})
    equal("s3: the profile of a shared credentials file", who(e, "a"), "1")
    stop(e.process)
    s.stop()


def real_s3():
    """A server that we did not write checks signatures and lists."""
    if not versitygw():
        return
    v = Versity()
    root, port = v.root, v.port
    names = ["a", "x y+z&=é"] + [f"t{i:04}" for i in range(1100)]
    for t in names[2:]:
        os.makedirs(f"{root}/policies/eu/tenants/{t}")
        with open(f"{root}/policies/eu/tenants/{t}/bundle.tar.gz", "wb") as f:
            f.write(bundle("ann", "1"))

    def put(tenant, version):
        url = f"http://127.0.0.1:{port}/policies/eu/tenants/{urllib.parse.quote(tenant, safe='')}/bundle.tar.gz"
        done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", "--data-binary", "@-", "--aws-sigv4",
                               "aws:amz:eu-central-1:s3", "-u", f"{S3.KEY}:{S3.SECRET}", "-H", f"x-amz-meta-version: rel-{version}",
                               "-H", "content-type: application/gzip", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", url],
                              input=bundle("ann", version), capture_output=True, check=True)
        return done.stdout
    equal("versitygw: bundles are put", [put(t, "1") for t in names[:2]], [b"200"] * 2)
    e = sourced("versity", [{"name": "s3", "s3": {"bucket": "policies", "prefix": "eu", "region": "eu-central-1",
                                                  "endpoint": f"http://127.0.0.1:{port}"}, "discover": True, "poll": "300ms"}])
    e.begin({"AWS_ACCESS_KEY_ID": S3.KEY, "AWS_SECRET_ACCESS_KEY": S3.SECRET})
    equal("versitygw: two pages of tenants, strange names too", [who(e, t) for t in (*names[:1], names[-1])] + [len(names)],
          ["1", "1", int(e.logged("list of tenants fetched")[0]["tenants"])])
    check("versitygw: none failed", e.metrics()['regent_source_tenants_failing{source="s3"}'] == "0", e.lines()[-4:])
    put("a", "2")
    check("versitygw: a new version", becomes(e, "a", "2") and e.logged("bundle activated", version="rel-2"))
    stop(e.process)
    v.stop()


def control():
    c = Control()
    c.page = 2
    for t in ("a", "b", "c"):
        c.publish(t, "v1", bundle("ann", "1"), 1)
    token = secret("control.token", "edge-token")
    e = sourced("control", [{"name": "control", "control": {"url": c.url, "long_poll": "20s"}, "token_file": token, "poll": "300ms"}]).begin()
    equal("control: all tenants of the snapshot", [who(e, t) for t in ("a", "b", "c")], ["1"] * 3)
    check("control: the node holds a request for changes", wait_for(lambda: e.metrics().get('regent_source_long_polls{source="control"}') == "1"))
    check("control: and has reported", wait_for(lambda: c.reported("c") == {"tenant": "c", "active": "v1", "outcome": "active"}), c.reports)
    started = time.time()
    c.publish("a", "v2", bundle("ann", "2"), 2)
    check("control: a change is live soon", becomes(e, "a", "2") and time.time() - started < 5)
    check("control: and reported", wait_for(lambda: c.reported("a").get("active") == "v2"))
    check("control: alone", len(c.reports[-1]["tenants"]) == 1, c.reports[-1])
    c.publish("b", "v2", bundle("ann", "2"), 2, sha256="0" * 64)
    check("control: other bytes than announced are refused", e.wait_log("bundle refused", tenant_id="b") and who(e, "b") == "1")
    check("control: which it is told", wait_for(lambda: c.reported("b").get("outcome") == "failed" and c.reported("b")["active"] == "v1"))
    c.publish("b", "v3", bundle("ann", "3"), 3)
    check("control: the next one goes live", becomes(e, "b", "3"))
    c.publish("a", "v1", bundle("ann", "1"), 1)
    check("control: an older serial is refused", wait_for(lambda: c.reported("a").get("outcome") == "failed") and who(e, "a") == "2")
    c.delete("c")
    check("control: a deleted tenant is gone", becomes(e, "c", 404))
    c.oldest = len(c.history) + 10
    c.publish("d", "v1", bundle("ann", "1"), 1)
    check("control: a cursor that is too old: from the start", wait_for(lambda: e.logged("feed begins anew")) and becomes(e, "d", "1"))
    stop(e.process)
    c.stop()


def first_use():
    s = Server()
    s.files[where("a")] = bundle("ann", "1")
    slow = threading.Event()
    s.files[where("a2")] = bundle("ann", "1")
    e = sourced("first", [{"name": "cdn", "http": {"base": s.url + "/cdn"}, "on_demand": True, "poll": "300ms", "wait": "500ms",
                           "tenants": ["a*", "x*"], "negative_cache": "60s"}],
                tenants="tenant_from: [{header: {name: x-tenant-id, trusted: [127.0.0.0/8]}}]").begin()
    equal("first use: the first request is answered", who(e, "a"), "1")
    status, _, body = http(e.rest, "POST", "/v1/batch/data/t/who", '{"inputs": {"1": {}}}', {"x-tenant-id": "a2"})
    equal("first use: batches too", (status, "responses" in json.loads(body)), (200, True))
    equal("first use: nobody has it", who(e, "xy"), 404)
    asked = s.count()
    equal("first use: which is remembered", ([who(e, "xy") for _ in range(20)], s.count(where("xy"))), ([404] * 20, 1))
    equal("first use: ids that no pattern names are not asked for", (who(e, "other"), s.count(where("other"))), (404, 0))
    check("first use: no more is asked than that", s.count() <= asked + 5)
    started = time.time()
    s.faults[where("xslow")] = lambda h: slow.wait(5) and False
    s.files[where("xslow")] = bundle("ann", "1")
    equal("first use: too slow is unknown", who(e, "xslow"), 404)
    check("first use: after `wait`", 0.3 < time.time() - started < 3, time.time() - started)
    slow.set()
    check("first use: and there afterwards", becomes(e, "xslow", "1"))
    flood(e, s)
    s.files[where("a")] = bundle("ann", "2")
    check("first use: it is kept current", becomes(e, "a", "2"))
    equal("first use: it ends", stop(e.process), 0)
    s.stop()


def again():
    """A node that has versions from before serves without its source, and keeps current what it was asked for once."""
    s = Server()
    s.files[where("a")] = s.files[where("b")] = s.files[where("l")] = bundle("ann", "1")
    sources = [{"name": "cdn", "http": {"base": s.url + "/cdn"}, "on_demand": True, "poll": "200ms", "timeout": "500ms"},
               {"name": "listed", "http": {"base": s.url + "/cdn"}, "tenants": ["l"], "poll": "200ms"}]
    more = "store: {directory: %s}" % f"{TMP}/again.store"
    e = sourced("again", sources, more).begin()
    equal("again: loaded", [who(e, t) for t in ("a", "b", "l")], ["1"] * 3)
    stop(e.process)
    s.faults["*"] = lambda h: h.reply(500) or True
    e = sourced("again2", [sources[0]], more).begin()
    equal("again: without the source, from the store", (who(e, "a"), who(e, "b")), ("1", "1"))
    s.faults.clear()
    s.files[where("a")] = bundle("ann", "2")
    check("again: kept current, though nobody listed it", becomes(e, "a", "2"))
    stop(e.process)
    e = sourced("again3", [{**sources[1], "tenants": ["b"]}], more).begin()
    check("again: what its source no longer lists is gone", becomes(e, "l", 404))
    stop(e.process)
    s.stop()


def flood(e, s):
    """Many made-up ids at once: bounded work, and an honest answer."""
    answers = []

    def ask(n):
        answers.extend(who(e, f"x{n}-{i}") for i in range(40))
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    started, before = time.time(), s.count()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    took = time.time() - started
    equal("flood: nobody is let in", set(answers) <= {404, 503}, True)
    check("flood: the source is asked within bounds", s.count() - before <= 100 * (took + 2), (s.count() - before, took))
    equal("flood: tenants are served as before", who(e, "a"), "1")


def asked_now():
    """POST /v1/policies/reload: a version now, whatever the interval."""
    s, held, c = Server(), Server(LongPoll), Control()
    held.type = "application/vnd.openpolicyagent.bundles"
    held.files["/bundles/o"] = s.files[where("a")] = s.files[where("quiet")] = bundle("ann", "1")
    c.publish("p", "v1", bundle("ann", "1"), 1)
    tokens = f"{TMP}/tokens"
    token = subprocess.run([REGENT, "token", "ci", "reload", "rollback", "--file", tokens], capture_output=True, text=True, check=True).stdout.split()[-1]
    e = sourced("now", [{"name": "cdn", "http": {"base": s.url + "/cdn"}, "tenants": ["a"], "poll": "1h"},
                        {"name": "opa", "opa": {"url": held.url, "long_poll": "30s"}, "tenants": ["o"], "poll": "1h"},
                        {"name": "control", "control": {"url": c.url, "long_poll": "0s"}, "poll": "1h", "token_file": secret("now.token", "edge-token"),
                         "tenants": ["p"]}],
                more="admin: {tokens_file: %s}" % tokens, grpc="admin").begin()

    def reload_now(tenant, version=None, **more):
        body = {"tenant_id": tenant, **({"version": version} if version else {}), **more}
        status, _, reply = http(e.grpc, "POST", "/v1/policies/reload", json.dumps(body), {"Authorization": "Bearer " + token})
        return status, json.loads(reply)
    s.files[where("a")] = bundle("ann", "2")
    started = time.time()
    equal("reload: at once", (reload_now("a")[0], who(e, "a")), (200, "2"))
    print(f"# a reload took {1000 * (time.time() - started):.0f} ms")
    equal("reload: nothing new", reload_now("a")[0], 200)
    s.files[where("a", "versions/v9/bundle.tar.gz")] = bundle("ann", "9")
    equal("reload: a version that is there", (reload_now("a", "v9")[0], who(e, "a")), (200, "9"))
    status, reply = reload_now("a", "v10")
    equal("reload: one that is not there yet", (status, who(e, "a")), (409, "9"))
    s.files[where("a", "versions/v10/bundle.tar.gz")] = bundle("ann", "10")
    check("reload: is fetched when it is", becomes(e, "a", "10"))
    equal("reload: a tenant that nobody has", reload_now("nobody")[0], 404)
    s.faults[where("a")] = lambda h: h.reply(500) or True
    status, reply = reload_now("a")
    check("reload: the source fails: said, and nothing changes", status >= 400 and "status 500" in json.dumps(reply) and who(e, "a") == "10", reply)
    check("reload: a request is held", wait_for(lambda: e.metrics().get('regent_source_long_polls{source="opa"}') == "1"))
    started = time.time()
    equal("reload: does not wait for one that is held", (reload_now("o")[0], time.time() - started < 5), (200, True))
    c.publish("p", "v2", bundle("ann", "2"), 2)
    equal("reload: the control plane is asked", (reload_now("p", "v2")[0], who(e, "p")), (200, "2"))
    equal("reload: for what it does not have", reload_now("p", "v7")[0], 409)
    c.publish("p", "v7", bundle("ann", "7"), 7)
    check("reload: which comes then", becomes(e, "p", "7"))
    equal("reload: an older version, allowed", (reload_now("p", "v1")[0], reload_now("p", "v1", allow_older=True)[0], who(e, "p")), (422, 200, "1"))
    stop(e.process)
    for server in (s, held, c):
        server.stop()


def mixed():
    """A folder and two sources: the folder has the first word, then the order of the list."""
    s = Server()
    for base in ("/one", "/two"):
        for t in ("a", "b", "c"):
            s.files[where(t, base=base)] = bundle("ann", base[1:])
    e = sourced("mixed", [{"name": "one", "http": {"base": s.url + "/one"}, "tenants": ["a", "b"], "poll": "200ms"},
                          {"name": "two", "http": {"base": s.url + "/two"}, "tenants": ["a", "b", "c"], "poll": "200ms"}],
                tenants="tenants: {directory: %s}" % f"{TMP}/mixed")
    os.makedirs(os.path.dirname(e.bundle("a")), exist_ok=True)
    with open(e.bundle("a"), "wb") as f:
        f.write(bundle("ann", "folder"))
    e.begin()
    equal("mixed: folder, first source, second source", [who(e, t) for t in ("a", "b", "c")], ["folder", "one", "two"])
    time.sleep(0.5)
    equal("mixed: it stays so", [who(e, t) for t in ("a", "b", "c")], ["folder", "one", "two"])
    stop(e.process)
    s.stop()


for part in (cdn, modules, opa, s3, real_s3, control, first_use, again, asked_now, mixed):
    if os.environ.get("PARTS", part.__name__).find(part.__name__) >= 0:
        part()
finish()
