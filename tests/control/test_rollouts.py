#!/usr/bin/env python3
"""Rollouts: waves, failures that take back, confirmation, pause and abort, what may be asked, and deaths in the middle.

in: BUILD. out: TAP. owns: the processes it starts."""
import os
import random
import signal
import threading
import time

from control_lib import check, equal, run_parts, stop, wait_for
from edges_lib import Node, each_store, edge_on, later, named, put_policy, seed, token
from sources_lib import who

KILLS = int(os.environ.get("REGENT_TEST_KILLS", "8"))
PATCH = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}


def tenants(n, labels=None):
    return {f"t{i:05}": {"bundles": [f"{i} 1".encode(), f"{i} 2".encode()], "template": "shop",
                         "labels": labels(i) if labels else {}} for i in range(n)}


def version(i, v):
    return named(v, f"{i} {v}".encode())


def all_of(n, v=2):
    return {f"t{i:05}": version(i, v) for i in range(n)}


def begin(c, **asked):
    return c.must("POST", "/v1/rollouts", asked)["id"]


def state(c, r):
    return c.must("GET", f"/v1/rollouts/{r}")


def ends(c, r, seconds=30):
    wait_for(lambda: state(c, r)["status"] in ("done", "aborted"), seconds)
    return state(c, r)


def current(c, n=None):
    """{tenant: version released}, as the feed says."""
    node = Node(c, "looker")
    node.read()
    return {t: v["version"] for t, v in node.has.items()}


class World:
    """Nodes that read the feed and report, several times a second, on a thread; `failing` {tenant: versions that nobody can use}."""

    def __init__(self, c, names, failing=None):
        self.c, self.failing, self.stopped, self.lock = c, failing or {}, False, threading.Lock()
        self.nodes = [Node(c, name) for name in names]
        for n in self.nodes:
            n.active, n.news = {}, {}  # news: what no report has been taken with
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.turn()
        self.thread.start()

    def turn(self):
        for n in self.nodes:
            changes, report = n.read(), []
            for x in changes:
                t = x["tenant"]
                if x.get("deleted"):
                    n.active.pop(t, None)
                elif x["version"] in self.failing.get(t, ()):
                    report.append({"tenant": t, "active": n.active.get(t, ""), "outcome": "failed", "error": {"code": "invalid", "message": "check 2"}})
                else:
                    n.active[t] = x["version"]
                    report.append({"tenant": t, "active": x["version"], "outcome": "active"})
            n.news.update({x["tenant"]: x for x in report})
            news = list(n.news.values())
            if all([n.report(news[at:at + 1000]) == 204 for at in range(0, len(news), 1000)]):
                n.news = {}

    def run(self):
        while not self.stopped:
            with self.lock:
                try:
                    self.turn()
                except (OSError, RuntimeError):
                    pass  # the control plane is being killed
            time.sleep(0.2)

    def stop(self):
        self.stopped = True
        self.thread.join(20)


def waves():
    for kind, store in each_store():
        c = store.control().start()
        seed(store, tenants(40, lambda i: {"plan": "free"} if i % 4 == 0 else {}), released=True)
        w = World(c, ["n1", "n2"])
        r = begin(c, template="shop", wait_s=1, confirm=True, description="new prices", waves=[
            {"tenants": ["t00001", "t0000[", "*39"]}, {"labels": {"plan": "free"}, "wait_s": 0}, {"labels": {"plan": "gold"}}, {"percent": 25}])
        seen = []
        while (s := state(c, r))["status"] == "running":
            if not seen or seen[-1] != (s["wave"], s["released"]):
                seen.append((s["wave"], s["released"]))
            time.sleep(0.03)
        equal(f"{kind}: it is done", (s["status"], s["released"], s["failed"], s["description"]), ("done", 40, 0, "new prices"))
        watched = [x for x in seen if x in ((0, 2), (1, 12), (3, 22), (4, 40))]
        check(f"{kind}: wave by wave", watched[:1] == [(0, 2)] and (3, 22) in watched and watched[-1] == (4, 40), seen)
        equal(f"{kind}: who was in which", [x["released"] for x in s["waves"]], [2, 10, 0, 10, 18])
        equal(f"{kind}: everybody has the new version", current(c), all_of(40))
        listed = c.items(f"/v1/rollouts/{r}/tenants")
        equal(f"{kind}: each tenant is listed", (len(listed), listed[1]["wave"], listed[1]["previous"], listed[1]["state"], listed[1]["serial"]),
              (40, 0, version(1, 1), "released", 2))
        equal(f"{kind}: releases say which rollout they belong to", store.sql(f"SELECT COUNT(*) FROM releases WHERE rollout = '{r}' AND cause = 'rollout'"), "40")
        actions = [x["action"] for x in c.items("/v1/audit") if x["object"] == r]
        check(f"{kind}: the audit log has its life", {"rollout.create", "rollout.release", "rollout.done"} <= set(actions), actions)
        equal(f"{kind}: nothing is left to roll out", c.call("POST", "/v1/rollouts", {"template": "shop"})[0], 409)
        equal(f"{kind}: the list", [x["id"] for x in c.items("/v1/rollouts?status=done")], [r])
        w.stop(), c.stop()


def failures():
    for kind, store in each_store():
        c = store.control().start()
        seed(store, tenants(30), released=True)
        w = World(c, ["n1", "n2", "n3"], {"t00007": [version(7, 2)]})
        r = begin(c, versions=all_of(30), wait_s=3, waves=[{"tenants": ["t0000*"]}])
        s = ends(c, r)
        equal(f"{kind}: a failure aborts it", (s["status"], s["released"], s["taken_back"], s["wave"]), ("aborted", 10, 10, 0))
        check(f"{kind}: with the reason", "1 of 10" in s["reason"], s["reason"])
        equal(f"{kind}: everybody has the version before", current(c), all_of(30, 1))
        check(f"{kind}: edges take it back", wait_for(lambda: all(n.active == all_of(30, 1) for n in w.nodes)))
        check(f"{kind}: as a release of its own", all(x["serial"] == 3 for x in [c.call("GET", "/v1/edges/tenants/t00003")[1]]))
        r = begin(c, versions=all_of(30), wait_s=2, max_failed=1)
        check(f"{kind}: the failure is shown", wait_for(lambda: len(state(c, r)["failures"]) == 3), state(c, r))
        shown = state(c, r)["failures"][0]
        equal(f"{kind}: with node and error", (shown["tenant"], shown["version"], shown["node"], shown["host"], shown["error"]["message"]),
              ("t00007", version(7, 2), "n1", "host-n1", "check 2"))
        s = ends(c, r)
        equal(f"{kind}: some failures may be allowed", (s["status"], s["released"], s["failed"]), ("done", 30, 1))
        moved(kind, store, c, w)
        w.stop(), c.stop()


def moved(kind, store, c, w):
    """What happens beside a rollout: a release, a suspension, a deletion."""
    w.failing = {"t00002": [version(2, 1)]}
    c.must("DELETE", "/v1/tenants/t00005", headers={"If-Match": "*"})
    there = {t: v for t, v in all_of(30, 1).items() if t != "t00005"}
    r = begin(c, versions=there, wait_s=60, waves=[{"tenants": ["t00009"], "wait_s": 3}])
    wait_for(lambda: state(c, r)["released"] == 1)
    c.must("PATCH", "/v1/tenants/t00004", {"status": "suspended"}, headers=PATCH)
    c.must("POST", "/v1/releases", {"tenant": "t00009", "version": version(9, 2)})
    c.must("POST", "/v1/releases", {"tenant": "t00008", "version": version(8, 1)})
    s = ends(c, r)
    listed = {x["tenant"]: x["state"] for x in c.items(f"/v1/rollouts/{r}/tenants")}
    equal(f"{kind}: beside it: suspended, released otherwise before, and after its turn", [listed[t] for t in ("t00004", "t00008", "t00009", "t00001")],
          ["skipped", "skipped", "left", "taken_back"])
    now = current(c)
    equal(f"{kind}: what others released stays", [now.get(t) for t in ("t00004", "t00008", "t00009", "t00001", "t00005")],
          [None, version(8, 1), version(9, 2), version(1, 2), None])
    equal(f"{kind}: it is over", s["status"], "aborted")


def confirmation():
    for kind, store in each_store("sqlite"):
        c = store.control().start()
        seed(store, tenants(6), released=True)
        w = World(c, ["n1", "n2"])
        dead = Node(c, "dead")
        dead.read(), dead.feed(wait=1), dead.brings_up()
        wait_for(lambda: c.must("GET", "/v1/edges/dead")["state"] == "gone")
        r = begin(c, versions=all_of(6), wait_s=0, confirm=True, waves=[{"tenants": ["t00000"]}])
        equal(f"{kind}: goes on when live edges confirm, without the dead", ends(c, r)["status"], "done")
        w.stop()
        silent = Node(c, "silent")
        silent.brings_up()
        r = begin(c, versions=all_of(6, 1), wait_s=0, confirm=True, confirm_s=2, waves=[{"tenants": ["t00000"]}])
        check(f"{kind}: pauses when they do not", wait_for(lambda: state(c, r)["status"] == "paused", 20), state(c, r))
        s = state(c, r)
        check(f"{kind}: and says so", "not active on all edges" in s["reason"] and s["unconfirmed"] == 1 and s["released"] == 1, s)
        w = World(c, ["n1", "n2", "silent"])
        for _ in range(4):  # a busy machine may take longer than confirm_s again
            c.call("POST", f"/v1/rollouts/{r}/resume")
            wait_for(lambda: state(c, r)["status"] != "running", 20)
        s = ends(c, r, 1)
        check(f"{kind}: resumed, it ends", s["status"] == "done", (s, [c.must("GET", "/v1/edges/" + n.name)["items"] for n in w.nodes]))
        w.stop(), c.stop()


def requests():
    for kind, store in each_store():
        c = store.control().start()
        seed(store, tenants(20), released=True)
        slow = {"versions": all_of(20), "wait_s": 100, "waves": [{"tenants": ["t0000*"]}]}
        status, body, head = c.call("POST", "/v1/rollouts", slow, headers={"Idempotency-Key": "k1"})
        r = body["id"]
        equal(f"{kind}: begun", (status, body["status"], body["tenants"]), (201, "running", 20))
        equal(f"{kind}: once", c.call("POST", "/v1/rollouts", slow, headers={"Idempotency-Key": "k1"})[1]["id"], r)
        equal(f"{kind}: a tenant is in one rollout at a time", c.call("POST", "/v1/rollouts", {"versions": {"t00015": version(15, 2)}})[0], 409)
        wait_for(lambda: state(c, r)["phase"] == "watch")
        tag = c.call("GET", f"/v1/rollouts/{r}")[2]["etag"]
        equal(f"{kind}: If-Match", [c.call("POST", f"/v1/rollouts/{r}/pause", headers={"If-Match": t})[0] for t in ('"1"', tag)], [412, 200])
        equal(f"{kind}: paused", (state(c, r)["status"], state(c, r)["reason"]), ("paused", "paused by request"))
        equal(f"{kind}: twice", c.call("POST", f"/v1/rollouts/{r}/pause")[0], 409)
        c.must("POST", f"/v1/rollouts/{r}/resume")
        equal(f"{kind}: resumed", (state(c, r)["status"], c.call("POST", f"/v1/rollouts/{r}/resume")[0]), ("running", 409))
        c.must("POST", f"/v1/rollouts/{r}/abort", {"rollback": False})
        s = ends(c, r)
        equal(f"{kind}: aborted, and left as it is", (s["status"], s["released"], s["taken_back"]), ("aborted", 10, 0))
        equal(f"{kind}: over is over", [c.call("POST", f"/v1/rollouts/{r}/{x}")[0] for x in ("pause", "resume", "abort")], [409] * 3)
        r = begin(c, versions={f"t{i:05}": version(i, 1) for i in range(10)}, wait_s=100)
        wait_for(lambda: state(c, r)["phase"] == "watch")
        c.must("POST", f"/v1/rollouts/{r}/abort")
        s = ends(c, r)
        equal(f"{kind}: aborted, and taken back", (s["taken_back"], s["reason"], current(c)["t00003"]), (10, "aborted by request", version(3, 2)))
        refusals(kind, c)
        scoped(kind, c)
        c.stop()


def refusals(kind, c):
    good = {"versions": {"t00015": version(15, 2)}}
    for body, want in (({}, 400), ({"versions": {}}, 400), ({"versions": []}, 400), ({**good, "build": "x"}, 400), ({"build": 5}, 400), ({"build": "x"}, 404),
                       ({"template": "x"}, 409), ({"versions": {"t00015": 5}}, 400), ({"versions": {"t00015": "9-aaaaaaaaaaaa"}}, 404),
                       ({"versions": {"nobody": version(15, 2)}}, 404), ({"versions": {"../x": "1"}}, 400), ({"versions": {"t00015": "a\0"}}, 400),
                       ({"versions": {"t00015": version(15, 1)}}, 409), ({**good, "waves": [{}]}, 400), ({**good, "waves": [{"percent": 500}]}, 400),
                       ({**good, "waves": [{"rest": True}] * 2}, 400), ({**good, "waves": [{"percent": 1}] * 51}, 400), ({**good, "max_failed": "x"}, 400),
                       ({**good, "wait_s": -1}, 400), ({**good, "wait": 1}, 400), ({**good, "description": 5}, 400), ([], 400),
                       ({"build": "'; DROP TABLE rollouts; --"}, 404), ({"template": "' OR 1=1 --"}, 409)):
        equal(f"{kind}: refused: {str(body)[:70]}", c.call("POST", "/v1/rollouts", body)[0], want)
    equal(f"{kind}: abort says what is wrong", c.call("POST", "/v1/rollouts/x/abort", {"rollback": 1})[0], 400)
    equal(f"{kind}: no such rollout", [c.call(m, "/v1/rollouts/" + p)[0] for m, p in (("GET", "x"), ("GET", "x/tenants"), ("POST", "x/pause"))], [404] * 3)
    equal(f"{kind}: nothing of that was begun", c.items("/v1/rollouts?status=running"), [])


def scoped(kind, c):
    viewer, author = token(c, "viewer"), token(c, "author")
    equal(f"{kind}: rollouts are for releasers", [c.call("POST", "/v1/rollouts", {"template": "shop"}, token=t)[0] for t in (viewer, author)], [403, 403])
    some = token(c, "releaser", {"tenants": ["t0001*"]})
    status, body, _ = c.call("POST", "/v1/rollouts", {"template": "shop", "wait_s": 0}, token=some)
    equal(f"{kind}: a scoped one releases its own", (status, body.get("tenants")), (201, 10))
    ends(c, body["id"])
    equal(f"{kind}: and sees its own only", [x["id"] for x in c.call("GET", "/v1/rollouts", token=some)[1]["items"]], [body["id"]])
    equal(f"{kind}: others' tenants are not there", c.call("POST", "/v1/rollouts", {"versions": {"t00001": version(1, 1)}}, token=some)[0], 404)


def builds():
    for kind, store in each_store("sqlite"):
        c = store.control("--release-manually").start()
        c.must("PUT", "/v1/templates/shop", {"files": {"policy.rego": "package t\n\nallow := input.user == \"{{USER}}\"\n\nwho := \"1\"\n"},
                                             "entrypoints": ["t/allow", "t/who"], "parameters": {"USER": {"type": "string"}}})
        for t in ("acme", "globex", "umbrella"):
            reply = c.must("PUT", f"/v1/tenants/{t}", {"template": {"id": "shop"}, "parameters": {"USER": t}})
            c.wait_build(reply["build"])
        equal("builds: released by hand: nobody has anything", current(c), {})
        r = begin(c, template="shop", wait_s=0)
        s = ends(c, r)
        equal("builds: a template's newest versions", (s["status"], s["released"], sorted(current(c))), ("done", 3, ["acme", "globex", "umbrella"]))
        reply = c.must("PUT", "/v1/templates/shop", {"files": {"policy.rego": "package t\n\nallow := input.user == \"{{USER}}\"\n\nwho := \"2\"\n"},
                                                     "entrypoints": ["t/allow", "t/who"], "parameters": {"USER": {"type": "string"}}}, headers={"If-Match": "*"})
        check("builds: not before the build is over", c.call("POST", "/v1/rollouts", {"build": reply["build"]})[0] in (409, 201))
        c.wait_build(reply["build"])
        for open_ in c.items("/v1/rollouts?status=running"):
            c.must("POST", f"/v1/rollouts/{open_['id']}/abort"), ends(c, open_["id"])
        before = current(c)
        e = edge_on(c, "rolled", token(c))
        equal("builds: a real edge", [who(e, t) for t in before], ["1"] * 3)
        check("builds: has reported", wait_for(lambda: [len(c.items("/v1/edges/" + x["node"])) for x in c.items("/v1/edges") if x["host"]] == [3]), c.items("/v1/edges"))
        broken = [x["version"] for x in c.items("/v1/tenants/umbrella/versions") if x["version"] != before["umbrella"]][0]
        with open(f"{store.folder}/blobs/tenants/umbrella/versions/{broken}/bundle.tar.gz", "wb") as f:
            f.write(b"the disk has turned it into something else")
        r = begin(c, build=reply["build"], wait_s=5, waves=[{"tenants": ["acme"], "wait_s": 0, "confirm": True}])
        check("builds: the first wave is live", wait_for(lambda: who(e, "acme") == "2"))
        s = ends(c, r)
        equal("builds: a bundle that the edge cannot use takes all of them back", (s["status"], s["taken_back"]), ("aborted", 3))
        equal("builds: to what they had", current(c), before)
        check("builds: on the edge too", wait_for(lambda: [who(e, t) for t in before] == ["1"] * 3), [who(e, t) for t in before])
        stop(e.process)
        c.stop()


def deaths():
    for kind, store in each_store():
        n, generator = 500, random.Random(7)
        c = [store.control("--lease-ms", "2000").start()]
        seed(store, tenants(n), released=True)
        if kind == "postgres":
            c.append(store.control("--lease-ms", "2000", token=c[0].token).start())
        r = begin(c[0], versions=all_of(n), wait_s=0, waves=[{"percent": 10}, {"percent": 50}])
        kills, taken_back = 0, False
        while kills < KILLS:
            time.sleep(generator.uniform(0.02, 0.4))
            one = generator.choice(c)
            one.kill()
            kills += 1
            one.start()
            s = state(one, r)
            if s["status"] == "running" and s["released"] > n // 3 and not taken_back:
                taken_back = one.call("POST", f"/v1/rollouts/{r}/abort")[0] == 200
            elif s["status"] in ("done", "aborted"):
                taken_back = False
                r = begin(one, versions=all_of(n, 2 if current(one)["t00001"] == version(1, 1) else 1), wait_s=0)
        s = ends(c[0], r, 60)
        want = all_of(n, 1) if s["status"] == "aborted" else None
        now = current(c[0])
        check(f"{kind}: after {kills} kills the rollout is over", s["status"] in ("done", "aborted"), s)
        check(f"{kind}: and everybody has what it says", len(now) == n and (want is None or now == want or len(set(v[0] for v in now.values())) == 1),
              {v[0] for v in now.values()})
        counts(kind, store, n)
        head = store.sql("SELECT value FROM counters WHERE name = 'audit'")
        equal(f"{kind}: the audit log is whole", store.sql("SELECT COUNT(*) FROM audit"), head)
        for x in c:
            x.stop()


def counts(kind, store, n):
    equal(f"{kind}: serials have no gaps and no doubles", store.sql(
        "SELECT COUNT(*) FROM tenants t WHERE t.serial <> (SELECT COUNT(*) FROM releases r WHERE r.tenant = t.id)"
        " OR t.serial <> (SELECT MAX(r.serial) FROM releases r WHERE r.tenant = t.id)"), "0")
    equal(f"{kind}: the feed says what the tenants say", store.sql(
        "SELECT COUNT(*) FROM tenants t JOIN feed f ON f.tenant = t.id AND f.serial = t.serial AND f.version = t.version"), str(n))
    equal(f"{kind}: no tenant was released twice by a rollout", store.sql(
        "SELECT COUNT(*) FROM (SELECT tenant, rollout FROM releases WHERE cause = 'rollout' GROUP BY tenant, rollout HAVING COUNT(*) > 1) x"), "0")


if __name__ == "__main__":
    run_parts([waves, failures, confirmation, requests, builds, deaths])
