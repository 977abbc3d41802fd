#!/usr/bin/env python3
"""Edges and the control plane: the feed, status reports and lists by hand; real edges; replicas; floods of long polls.

in: BUILD. out: TAP. owns: the processes it starts."""
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request

from control_lib import TMP, check, equal, run_parts, stop, wait_for
from edges_lib import Node, each_store, edge_on, later, memory_kb, named, put_policy, release, seed, token
from sources_lib import Server, becomes, sourced, who

WAITS = int(os.environ.get("REGENT_TEST_WAITS", "5000"))


def many(n, versions=2, first=0):
    return {f"t{i:05}": {"bundles": [f"{i} {v}".encode() for v in range(1, versions + 1)], "files": False} for i in range(first, first + n)}


def version_of(i, v):
    return named(v, f"{i} {v}".encode())


def feed():
    for kind, store in each_store():
        c = store.control().start()
        seed(store, many(2500), released=True)
        secret = token(c)
        n = Node(c, "n1", secret)
        status, first = n.feed()
        equal(f"{kind}: the snapshot's first page", (status, len(first["changes"]), first["snapshot"], first["more"]), (200, 1000, True, True))
        one = first["changes"][0]
        i = int(one["tenant"][1:])
        equal(f"{kind}: what stands in a change", {k: one[k] for k in ("tenant", "version", "serial", "url")},
              {"tenant": f"t{i:05}", "version": version_of(i, 1), "serial": 1, "url": f"/blobs/tenants/t{i:05}/versions/{version_of(i, 1)}/bundle.tar.gz"})
        seen = {int(x["tenant"][1:]) for x in first["changes"]}
        unseen = sorted(set(range(2500)) - seen)
        release(c, {f"t{i:05}": version_of(i, 2), f"t{unseen[0]:05}": version_of(unseen[0], 2)})
        gone = first["changes"][1]["tenant"]
        c.must("DELETE", f"/v1/tenants/{gone}", headers={"If-Match": "*"})
        pages = [n.feed()[1], n.feed()[1]]
        equal(f"{kind}: its other pages", [(p["snapshot"], p["more"]) for p in pages], [(True, True), (True, False)])
        equal(f"{kind}: what changed meanwhile is as it is now", [n.has[f"t{x:05}"]["version"] for x in (i, unseen[0])],
              [version_of(i, 2), version_of(unseen[0], 2)])
        equal(f"{kind}: nobody is missing, and who was deleted meanwhile is", (len(n.has), gone in n.has), (2499, False))
        check(f"{kind}: a tenant stands in a page once", all(len({x["tenant"] for x in p["changes"]}) == len(p["changes"]) for p in [first] + pages))
        equal(f"{kind}: then there is nothing new", n.feed()[1]["changes"], [])
        changes(kind, c, n)
        cursors(kind, c, n)
        c.stop()


def changes(kind, c, n):
    for v in (2, 1, 2, 1):
        release(c, {"t00007": version_of(7, v)})
    release(c, {"t00008": version_of(8, 2)})
    body = n.feed()[1]
    equal(f"{kind}: several releases of a tenant are one change, the newest", [(x["tenant"], x["version"]) for x in body["changes"]],
          [("t00007", version_of(7, 1)), ("t00008", version_of(8, 2))])
    check(f"{kind}: serials count up", body["changes"][0]["serial"] == 5, body)
    equal(f"{kind}: no snapshot", (body["snapshot"], body["more"]), (False, False))
    waiting = later(lambda: n.feed(wait=20))
    time.sleep(0.3)
    began = time.monotonic()
    release(c, {"t00009": version_of(9, 2)})
    (status, body), _ = waiting()
    took = time.monotonic() - began
    check(f"{kind}: who waits hears of a change", status == 200 and [x["tenant"] for x in body["changes"]] == ["t00009"] and took < 3, (status, body, took))
    (status, body), took = later(lambda: n.feed(wait=1))()
    check(f"{kind}: or, when its time is over, of none", status == 200 and not body["changes"] and 0.9 < took < 4, (status, body, took))
    c.must("PATCH", "/v1/tenants/t00009", {"status": "suspended"}, headers={"If-Match": "*", "Content-Type": "application/merge-patch+json"})
    equal(f"{kind}: a suspended tenant is deleted", n.feed()[1]["changes"], [{"tenant": "t00009", "deleted": True}])
    equal(f"{kind}: one tenant", c.call("GET", "/v1/edges/tenants/t00008", token=n.token)[1], n.has["t00008"])
    old = c.call("GET", f"/v1/edges/tenants/t00008?version={version_of(8, 1)}", token=n.token)[1]
    equal(f"{kind}: one tenant's older version has its own serial", (old["version"], old["serial"]), (version_of(8, 1), 1))
    never = c.call("GET", f"/v1/edges/tenants/t00010?version={version_of(10, 2)}", token=n.token)[1]
    check(f"{kind}: one that was never released has none", never["version"] == version_of(10, 2) and "serial" not in never, never)
    for path in ("t00009", f"t00009?version={version_of(9, 1)}", "t00008?version=9-aaaaaaaaaaaa", "nobody", "t00008?version=%27%20OR%201%3D1"):
        equal(f"{kind}: not here: {path}", c.call("GET", "/v1/edges/tenants/" + path, token=n.token)[0], 404)


def cursors(kind, c, n):
    store, scopes, seq = n.cursor.split(".")
    bad = {"of the future": f"{store}.{scopes}.{int(seq) + 1}", "of another store": f"{'0' * 26}.{scopes}.1", "of other scopes": f"{store}.00000000.1",
           "of nothing": "x", "too long": "9" * 250, "a number too large": f"{store}.{scopes}.{'9' * 40}", "with more": n.cursor + ".1.1",
           "hostile": "%27%3BDROP%20TABLE%20feed%3B--", "empty": "%20"}
    for name, cursor in bad.items():
        equal(f"{kind}: a cursor {name}", n.feed(cursor=cursor)[0], 410)
    for path in ("/v1/edges/feed", "/v1/edges/feed?node=a%2Fb", "/v1/edges/feed?node=" + "x" * 128, "/v1/edges/feed?node=.a",
                 f"/v1/edges/feed?node=n1&since={n.cursor}&wait=x"):
        equal(f"{kind}: refused: {path[:60]}", c.call("GET", path, token=n.token)[0], 400)
    viewer = token(c, "viewer")
    equal(f"{kind}: the feed is for edges", [c.call("GET", "/v1/edges/feed?node=n1", token=t)[0] for t in (viewer, "nonsense", False)], [403, 401, 401])


def scopes():
    for kind, store in each_store():
        c = store.control().start()
        tenants = {f"eu-{i}": {"labels": {"region": "eu"}, "bundles": [b"1"], "files": False} for i in range(3)}
        tenants.update({f"us-{i}": {"labels": {"region": "us"}, "bundles": [b"1"], "files": False} for i in range(3)})
        seed(store, tenants)
        release(c, {t: named(1, b"1") for t in tenants})
        by_id = Node(c, "ids", token(c, scopes={"tenants": ["eu-*", "us-2"]}))
        by_label = Node(c, "labels", token(c, scopes={"labels": {"region": "eu"}}))
        by_id.read(), by_label.read()
        equal(f"{kind}: by ids", sorted(by_id.has), ["eu-0", "eu-1", "eu-2", "us-2"])
        equal(f"{kind}: by labels", sorted(by_label.has), ["eu-0", "eu-1", "eu-2"])
        equal(f"{kind}: single tenants too", [c.call("GET", f"/v1/edges/tenants/{t}", token=by_label.token)[0] for t in ("eu-0", "us-0")], [200, 404])
        has = [{"tenant": t, "active": named(1, b"1"), "outcome": "active"} for t in ("eu-0", "eu-1")]
        by_label.report(has)
        waiting = later(lambda: by_label.feed(wait=20))
        time.sleep(0.3)
        patch = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}
        c.must("PATCH", "/v1/tenants/eu-0", {"labels": {"region": "us"}}, headers=patch)
        (_, body), took = waiting()
        check(f"{kind}: who moves away is deleted, at once", body["changes"] == [{"tenant": "eu-0", "deleted": True}] and took < 3, (body, took))
        by_label.report(has)
        equal(f"{kind}: and no longer among what the node has", [x["tenant"] for x in c.must("GET", "/v1/edges/labels")["items"]], ["eu-1"])
        equal(f"{kind}: nor counted", [x["tenants"] for x in c.items("/v1/edges") if x["node"] == "labels"], [1])
        c.must("PATCH", "/v1/tenants/us-1", {"labels": {"region": "eu"}}, headers=patch)
        by_label.read()
        equal(f"{kind}: who moves here is there", sorted(by_label.has), ["eu-1", "eu-2", "us-1"])
        by_id.read()
        store.sql("UPDATE feed SET seq = (SELECT value + 1 FROM counters WHERE name = 'feed') WHERE tenant = 'us-0';"
                  "UPDATE counters SET value = value + 1 WHERE name = 'feed'")
        equal(f"{kind}: ids that a token cannot name are told to nobody", by_id.feed()[1]["changes"], [])
        equal(f"{kind}: a cursor is good for its scopes only", by_label.feed(cursor=by_id.cursor)[0], 410)
        equal(f"{kind}: reports on others are left out", by_id.report([{"tenant": t, "active": "1", "outcome": "active"} for t in ("eu-1", "us-1")]), 204)
        equal(f"{kind}: those within are kept", [x["tenant"] for x in c.must("GET", "/v1/edges/ids")["items"]], ["eu-1"])
        scoped = token(c, "viewer", {"tenants": ["us-*"]})
        equal(f"{kind}: whoever looks sees their own", [c.call("GET", p, token=scoped)[1].get("items") for p in ("/v1/edges/ids", "/v1/edges?tenant=eu-1")],
              [[], []])
        equal(f"{kind}: and no others", c.call("GET", "/v1/tenants/eu-1/edges", token=scoped)[0], 404)
        c.stop()


def reports():
    for kind, store in each_store():
        c = store.control().start()
        seed(store, many(3000), released=True)
        n = Node(c, "n1", token(c))
        n.read()
        all_tenants = [{"tenant": t, "active": v["version"], "outcome": "active"} for t, v in sorted(n.has.items())]
        all_tenants[5] = {"tenant": "t00005", "active": "", "outcome": "failed", "error": {"code": "invalid", "http_status": 200, "message": "x" * 5000}}
        took = []
        for _ in range(3):
            for at in range(0, 3000, 1000):
                began = time.monotonic()
                equal(f"{kind}: a report of 1,000", n.report(all_tenants[at:at + 1000], more=at < 2000), 204)
                took.append(time.monotonic() - began)
        took.sort()
        print(f"# {kind}: a report of 1,000 tenants takes {took[len(took) // 2] * 1000:.0f} ms (median), {took[-1] * 1000:.0f} ms at most")
        check(f"{kind}: fast", took[len(took) // 2] < 0.5, took)
        edge = [e for e in c.items("/v1/edges") if e["node"] == "n1"][0]
        equal(f"{kind}: the list", {k: edge[k] for k in ("node", "host", "software", "state", "behind", "tenants", "failing")},
              {"node": "n1", "host": "host-n1", "software": "regent/0", "state": "live", "behind": 0, "tenants": 3000, "failing": 1})
        equal(f"{kind}: a node's tenants, page by page", len(c.items("/v1/edges/n1")), 3000)
        failed = c.must("GET", "/v1/edges/n1?outcome=failed")["items"]
        equal(f"{kind}: what failed, and why", (failed[0]["tenant"], failed[0]["error"]["code"], failed[0]["error"]["http_status"], len(failed)),
              ("t00005", "invalid", 200, 1))
        spread(kind, c, n)
        wrong_reports(kind, c, n)
        c.stop()


def spread(kind, c, n):
    other = Node(c, "n2", n.token)
    other.read()
    release(c, {"t00001": version_of(1, 2)})
    n.read(), n.report([{"tenant": "t00001", "active": version_of(1, 2), "outcome": "active"}])
    other.report([{"tenant": "t00001", "active": version_of(1, 1), "outcome": "failed", "error": {"code": "io", "message": "no"}}])
    body = c.must("GET", "/v1/tenants/t00001/edges")
    equal(f"{kind}: who has which version", (body["current"], body["versions"], [(x["node"], x["active"], x["outcome"]) for x in body["items"]]),
          (version_of(1, 2), [{"version": version_of(1, 1), "edges": 1, "failing": 1}, {"version": version_of(1, 2), "edges": 1, "failing": 0}],
           [("n1", version_of(1, 2), "active"), ("n2", version_of(1, 1), "failed")]))
    for query, nodes in (("failing=true", ["n1", "n2"]), ("state=live", ["n1", "n2"]), ("state=gone", []), ("host=host-n2", ["n2"]), ("behind=true", ["n2"]),
                         (f"tenant=t00001&version={version_of(1, 2)}", ["n1"]), ("tenant=t00001", ["n1", "n2"]), ("tenant=t00002", ["n1"])):
        check(f"{kind}: the list with {query}", wait_for(lambda: [e["node"] for e in c.items("/v1/edges?" + query)] == nodes, 3),
              c.items("/v1/edges?" + query))
    equal(f"{kind}: who is stale", [x["node"] for x in c.must("GET", "/v1/tenants/t00001/edges?stale=true")["items"]], ["n2"])
    for query in ("state=x", "failing=1", "version=1", "limit=0"):
        equal(f"{kind}: refused: {query}", c.call("GET", "/v1/edges?" + query)[0], 400)
    short = Node(c, "n3", n.token)
    short.read(), short.feed(wait=1)
    check(f"{kind}: a node is gone after three times its wait", wait_for(lambda: [e["node"] for e in c.items("/v1/edges?state=gone")] == ["n3"], 8))
    equal(f"{kind}: as it says", c.must("GET", "/v1/edges/n3")["state"], "gone")
    equal(f"{kind}: no such node", c.call("GET", "/v1/edges/n9")[0], 404)


def wrong_reports(kind, c, n):
    good = {"tenant": "t00001", "active": "1", "outcome": "active"}
    path = "/v1/edges/n1/status"
    wrong = [{}, {"tenants": {}}, {"tenants": [good] * 1001}, {"tenants": [{**good, "outcome": "fine"}]}, {"tenants": [{**good, "tenant": "../x"}]},
             {"tenants": [{**good, "tenant": 5}]}, {"tenants": [{**good, "active": "a/b"}]}, {"tenants": ["t00001"]}, {"node": "n2", "tenants": []}]
    equal(f"{kind}: wrong reports", [c.call("POST", path, body, token=n.token)[0] for body in wrong], [400] * len(wrong))
    equal(f"{kind}: no JSON", c.call("POST", path, "{", token=n.token)[0], 400)
    equal(f"{kind}: text that no store keeps", c.call("POST", path, json.dumps(
        {"host": "a\0b", "software": "é" * 400, "cursor": "9" * 300, "tenants": [{**good, "outcome": "failed", "error": {"message": "\0" + "ü" * 2000}}],
         "new": 1}), headers={"Content-Type": "application/json"}, token=n.token)[0], 204)
    equal(f"{kind}: SQL in every field", c.call("POST", path, {"host": "'; DROP TABLE edges; --", "software": "'", "cursor": "'", "tenants": []},
                                                token=n.token)[0], 204)
    equal(f"{kind}: is text", c.must("GET", "/v1/edges/n1")["host"], "'; DROP TABLE edges; --")
    equal(f"{kind}: twice the same tenant", n.report([good, {**good, "active": "2"}]), 204)
    equal(f"{kind}: reports are for edges", c.call("POST", path, {"tenants": []}, token=token(c, "viewer"))[0], 403)


def real_edge():
    for kind, store in each_store():
        c = store.control("--lease-ms", "3000").start()
        put_policy(c, "acme", "ann", "1")
        put_policy(c, "globex", "bob", "1")
        e = edge_on(c, f"real-{kind}", token(c))
        equal(f"{kind}: a real edge serves what is released", [who(e, t) for t in ("acme", "globex")], ["1", "1"])
        check(f"{kind}: it waits for changes", wait_for(lambda: e.metrics().get('regent_source_long_polls{source="control"}') == "1"))
        check(f"{kind}: and has reported", wait_for(lambda: [x["outcome"] for x in c.must("GET", "/v1/tenants/acme/edges")["items"]] == ["active"]))
        measure(kind, c, e)
        patch = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}
        c.must("PATCH", "/v1/tenants/globex", {"status": "suspended"}, headers=patch)
        check(f"{kind}: a suspended tenant is gone from the edge", becomes(e, "globex", 404))
        c.kill()
        equal(f"{kind}: without a control plane the edge goes on", who(e, "acme"), "v9")
        c.start()
        put_policy(c, "acme", "ann", "after")
        check(f"{kind}: and hears of changes when it is back", becomes(e, "acme", "after", 20))
        c.must("PATCH", "/v1/tenants/globex", {"status": "active"}, headers=patch)
        check(f"{kind}: who is active again is served again", becomes(e, "globex", "1", 20))
        stop(e.process)
        c.stop()


def measure(kind, c, e):
    """From a release to the new answer; versions are built before."""
    times = []
    for v in range(2, 10):
        build, _ = put_policy(c, "acme", "ann", f"v{v}")
        if not becomes(e, "acme", f"v{v}"):
            check(f"{kind}: a change is live", False, (build, e.lines()[-3:]))
            return
    versions = [x["version"] for x in c.items("/v1/tenants/acme/versions")]
    newest, before = sorted(versions, key=lambda v: -int(v.split("-")[0]))[:2]
    for target, answer in ((before, "v8"), (newest, "v9")) * 3:
        began = time.monotonic()
        c.must("POST", "/v1/rollouts", {"versions": {"acme": target}, "wait_s": 0})
        end = began + 10
        while who(e, "acme") != answer and time.monotonic() < end:
            time.sleep(0.002)
        times.append(time.monotonic() - began)
        wait_for(lambda: not c.items("/v1/rollouts?status=running"))
    times.sort()
    print(f"# {kind}: from release to the edge's new answer: {times[len(times) // 2] * 1000:.0f} ms (median), {times[-1] * 1000:.0f} ms at most")
    check(f"{kind}: a release is live within two seconds", times[-1] < 2, times)


def cdn():
    for kind, store in each_store("sqlite"):
        folder = f"{store.folder}/blobs"
        os.makedirs(folder)
        s = Server()
        c = store.control("--cdn-url", s.url + "/cdn/").start()
        build, _ = put_policy(c, "a+b@c", "ann", "1")
        change = c.call("GET", "/v1/edges/tenants/a+b@c")[1]
        check("cdn: URLs lead there, escaped", change["url"].startswith(s.url + "/cdn/tenants/a%2Bb%40c/versions/"), change)
        path = f"/cdn/tenants/a+b@c/versions/{change['version']}/bundle.tar.gz"
        asked = path.replace("+", "%2B").replace("@", "%40")
        with open(folder + path.removeprefix("/cdn"), "rb") as f:
            s.files[path] = f.read()
        e = edge_on(c, "cdn", token(c))
        equal("cdn: the edge fetches from it", (who(e, "a+b@c"), s.count(asked)), ("1", 1))
        check("cdn: without the token", "authorization" not in s.last(asked), s.last(asked))
        stop(e.process)
        s.stop()
        c.stop()


def certificate(folder, name, issuer=None, *more):
    """An EC key and certificate, signed by issuer or itself."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout",
                    f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem", "-subj", f"/CN={name}",
                    *(["-CA", f"{folder}/{issuer}.pem", "-CAkey", f"{folder}/{issuer}.key"] if issuer else []), *more], check=True, capture_output=True)


def certificates():
    for kind, store in each_store("sqlite"):
        folder = f"{store.folder}/tls"
        os.makedirs(folder)
        certificate(folder, "ca")
        certificate(folder, "other")
        certificate(folder, "server", "ca", "-addext", "subjectAltName=IP:127.0.0.1")
        certificate(folder, "edge7", "ca")
        certificate(folder, "stranger", "other")
        plain = store.control().start()
        put_policy(plain, "acme", "ann", "1")
        plain.stop()
        c = store.control("--tls-cert", f"{folder}/server.pem", "--tls-key", f"{folder}/server.key", "--client-ca", f"{folder}/ca.pem",
                          token=plain.token).start()
        url = f"https://127.0.0.1:{c.port}"
        tls = {"ca_file": f"{folder}/ca.pem", "client_certificate": f"{folder}/edge7.pem", "client_key": f"{folder}/edge7.key"}
        e = edge_on(c, "mtls", "", url, **tls)
        equal("mTLS: an edge with a certificate needs no token", who(e, "acme"), "1")
        context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
        ask = urllib.request.Request(f"{url}/v1/edges", headers={"Authorization": "Bearer " + c.token})
        check("mTLS: it is known by it", wait_for(lambda: [x["token"] for x in json.load(urllib.request.urlopen(ask, context=context))["items"]] == [""]))
        stop(e.process)
        bad = {**tls, "client_certificate": f"{folder}/stranger.pem", "client_key": f"{folder}/stranger.key"}
        e = sourced("mtls-bad", [{"name": "control", "control": {"url": url, "long_poll": "20s"}, "poll": "300ms", **bad}])
        e.begin(wait=False)
        check("mTLS: another authority's is not let in", e.wait_log("list of tenants not fetched"), e.lines())
        wait_for(lambda: e.logged("ready"), 20)
        equal("mTLS: and nothing is served", who(e, "acme"), 404)
        stop(e.process)
        c.stop()


def replicas():
    for kind, store in each_store("postgres"):
        a = store.control().start()
        b = store.control(token=a.token).start()
        put_policy(a, "acme", "ann", "1")
        e = edge_on(b, "replica", token(a))
        equal("replicas: an edge at the second", who(e, "acme"), "1")
        check("replicas: waits", wait_for(lambda: e.metrics().get('regent_source_long_polls{source="control"}') == "1"))
        put_policy(a, "acme", "ann", "2")
        check("replicas: hears what was released at the first", becomes(e, "acme", "2"))
        old = sorted((x["version"] for x in a.items("/v1/tenants/acme/versions")), key=lambda v: int(v.split("-")[0]))
        times = []
        for target, answer in ((old[0], "1"), (old[1], "2")) * 3:
            began = time.monotonic()
            a.must("POST", "/v1/rollouts", {"versions": {"acme": target}, "wait_s": 0})
            while who(e, "acme") != answer and time.monotonic() < began + 10:
                time.sleep(0.002)
            times.append(time.monotonic() - began)
            wait_for(lambda: not a.items("/v1/rollouts?status=running"))
        times.sort()
        print(f"# replicas: from release at one to the new answer of an edge at the other: {times[len(times) // 2] * 1000:.0f} ms (median)")
        check("replicas: soon", times[-1] < 2, times)
        a.kill()
        put_policy(b, "acme", "ann", "3")
        check("replicas: one that dies is not missed", becomes(e, "acme", "3"))
        stop(e.process)
        b.stop()


def flood():
    for kind, store in each_store("sqlite"):
        c = store.control("--max-waiting", str(WAITS), "--max-waiting-token", str(WAITS - 500)).start()
        seed(store, many(20), released=True)
        secret, other = token(c), token(c)
        n = Node(c, "first", secret)
        n.read()
        before = memory_kb(c.process.pid)
        held = []
        while len(held) < WAITS - 500:  # not faster than they are taken up: past 4,096 that queue, it refuses
            held += [ask(c, secret, f"f{len(held) + i}", n.cursor) for i in range(500)]
            wait_for(lambda: waiting(c) == len(held), 30)
        equal("flood: all are held", waiting(c), WAITS - 500)
        grown = memory_kb(c.process.pid) - before
        print(f"# flood: {WAITS - 500} long polls held: {grown / 1024:.0f} MiB more, {grown / (WAITS - 500):.1f} KiB each")
        check("flood: each costs little", grown / (WAITS - 500) < 32, grown)
        refused = [answer(ask(c, secret, f"g{i}", n.cursor)) for i in range(20)]
        check("flood: a token has so many", all(r.startswith(b"HTTP/1.1 429 ") and b"etry-" in r for r in refused), refused[:1])
        held += [ask(c, other, f"h{i}", n.cursor) for i in range(500)]
        check("flood: another token is served still", wait_for(lambda: waiting(c) == WAITS, 20), waiting(c))
        refused = [answer(ask(c, other, f"i{i}", n.cursor)) for i in range(20)]
        check("flood: and all together so many", all(r.startswith(b"HTTP/1.1 503 ") and b"etry-" in r for r in refused), refused[:1])
        began = time.monotonic()
        equal("flood: others are served", [c.call("GET", "/v1/edges?limit=1")[0] for _ in range(20)], [200] * 20)
        check("flood: quickly", time.monotonic() - began < 2, time.monotonic() - began)
        began = time.monotonic()
        release(c, {"t00001": version_of(1, 2)})
        got = [answer(s) for s in held]
        took = time.monotonic() - began
        equal("flood: a release answers all", sum(r.startswith(b"HTTP/1.1 200 ") and b"t00001" in r for r in got), WAITS)
        print(f"# flood: a release answers {WAITS} long polls in {took:.1f} s")
        check("flood: soon", took < 20, took)
        grown = memory_kb(c.process.pid) - before
        check("flood: its memory stays bounded", grown < 200 * 1024, grown)
        held = [ask(c, secret, f"j{i}", "") for i in range(200)]
        for s in held:
            s.close()
        equal("flood: who hangs up is forgotten", (wait_for(lambda: waiting(c) == 0), c.call("GET", "/health", token=False)[0]), (True, 200))
        equal("flood: it ends at once", c.stop(), 0)


def waiting(c):
    status, text, _ = c.call("GET", "/metrics")
    for line in text.decode().splitlines() if status == 200 else ():
        if line.startswith("regent_control_waiting ") or line.startswith("regent_control_waiting_requests "):
            return int(float(line.rsplit(" ", 1)[1]))
    return -1


def ask(c, secret, node, cursor):
    s = socket.create_connection(("127.0.0.1", c.port), timeout=60)
    s.sendall(f"GET /v1/edges/feed?node={node}&since={cursor}&wait=120 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n".encode())
    return s


def answer(s):
    """The reply's first bytes, up to the end of its body."""
    got = b""
    with s:
        while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < length(got):
            part = s.recv(65536)
            if not part:
                break
            got += part
    return got


def length(head):
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def old_nodes():
    for kind, store in each_store():
        c = store.control().start()
        seed(store, many(5), released=True)
        n = Node(c, "n1", token(c))
        n.brings_up()
        day = 25 * 3600 * 1000
        store.sql(f"UPDATE edges SET seen_ms = seen_ms - {day}")
        c.stop(signal.SIGKILL)
        c.start()
        check(f"{kind}: a node is forgotten after a day", wait_for(lambda: not c.items("/v1/edges")))
        equal(f"{kind}: with what it had", c.must("GET", "/v1/tenants/t00001/edges")["items"], [])
        c.stop()


if __name__ == "__main__":
    run_parts([feed, scopes, reports, old_nodes, real_edge, cdn, certificates, replicas, flood])
