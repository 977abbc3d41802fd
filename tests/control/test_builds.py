"""Builds: what a change touches is built and nothing else, what fails keeps its old version, work is shared and taken over.

in:  BUILD; PostgreSQL's programs. out: TAP lines. owns: servers and folders of control_lib. Each part runs on SQLite and on PostgreSQL."""
import glob
import hashlib
import io
import json
import os
import sqlite3
import sys
import tarfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from control_lib import Control, Postgres, TMP, check, equal, run_parts, stop, wait_for  # noqa: E402

POLICY = """package shop

import rego.v1
import data.common

# METADATA
# entrypoint: true
default allow := false

allow if {
    input.region == "{{REGION}}"
    common.known(input.user)
    MORE
}
"""
COMMON = "package common\n\nimport rego.v1\n\nknown(user) if user in data.users\n"
OTHER = "package other\n\nimport rego.v1\n\nlimit := 10\n"
OWN = "package own\n\nimport rego.v1\n\n# METADATA\n# entrypoint: true\nallow if input.n < 3\n"
servers = []


def policy(more="true"):
    return POLICY.replace("MORE", more)


def template(more="true", **members):
    return {"files": {"policy.rego": policy(more)}, "parameters": {"REGION": {"type": "string"}}, "data": {"users": ["ann"]}, **members}


def tenant(region="eu", **members):
    return {"template": {"id": "shop"}, "parameters": {"REGION": region}, **members}


class Site:
    """A store of its own, libraries and a template in it."""

    def __init__(self, kind, name, *flags):
        self.kind, self.name, self.flags = kind, name, flags
        self.postgres = servers[0] if kind == "postgres" else None
        self.store = self.postgres.database() if self.postgres else None
        self.folder = os.path.join(TMP, f"{kind}-{name}")
        os.makedirs(self.folder)
        self.controls = []
        self.c = self.another(self.store)
        self.c.must("PUT", "/v1/libraries/common", {"files": {"common.rego": COMMON}})
        self.c.must("PUT", "/v1/libraries/other", {"files": {"other.rego": OTHER}})
        self.c.must("PUT", "/v1/templates/shop", template())

    def another(self, store=None, start=True):
        first = self.controls[0] if self.controls else None
        key = self.folder + "/key.pem"
        if not os.path.exists(key):
            os.system(f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key} 2>/dev/null")
        c = Control("--signing-key", key, *self.flags, store=store or (first.store if first else None),
                    blobs=f"dir:{self.folder}/blobs", token=first.token if first else None,
                    name=f"{self.kind}-{self.name}-{len(self.controls)}")
        self.controls.append(c)
        return c.start() if start else c

    def stop(self):
        for c in self.controls:
            c.stop()

    def put(self, path, body, state="done"):
        """Changes something and waits for its build, as {tenant: job}."""
        got = self.c.must("PUT", path, body)
        return self.jobs(got["build"], state)

    def jobs(self, build, state="done"):
        b = self.c.wait_build(build)
        if state and b["status"] != state:
            raise RuntimeError(f"{b}: {self.c.items(f'/v1/builds/{build}/jobs')}")
        return {j["tenant"]: j for j in self.c.items(f"/v1/builds/{build}/jobs")}

    def states(self, *more):
        return {t: j["state"] for t, j in self.put(*more).items()}

    def versions(self, t):
        return self.c.items(f"/v1/tenants/{t}/versions")

    def current(self, t):
        return next((v["version"] for v in self.versions(t) if v["current"]), "")

    def objects(self):
        """Everything in the blob store with its time."""
        found = {}
        for root, _, files in os.walk(self.folder + "/blobs"):
            for f in files:
                s = os.stat(os.path.join(root, f))
                found[os.path.relpath(os.path.join(root, f), self.folder)] = (s.st_mtime_ns, s.st_ino, s.st_size)
        return found

    def bundle(self, t):
        return self.c.call("GET", f"/v1/tenants/{t}/versions/{self.current(t)}/bundle.tar.gz")[1]


def on_both(part):
    def run(kind):
        def one():
            site = []
            try:
                part(lambda *flags: site.append(Site(kind, part.__name__, *flags)) or site[-1])
            finally:
                for s in site:
                    s.stop()
        one.__name__ = f"{part.__name__}_{kind}"
        return one
    return [run("sqlite"), run("postgres")]


# ---- what is built ----

def only_what_a_change_touches(new):
    s = new()
    for t in ("a", "b", "c"):
        equal(f"{t} is built", s.states(f"/v1/tenants/{t}", tenant()), {t: "built"})
    equal("own is built", s.states("/v1/tenants/own", {"files": {"own.rego": OWN}}), {"own": "built"})
    pinned = tenant()
    pinned["template"]["version"] = 1
    equal("pinned is built", s.states("/v1/tenants/pinned", pinned), {"pinned": "built"})
    before = {t: s.current(t) for t in ("a", "b", "c", "own", "pinned")}
    check("each has a version", all(v.startswith("1-") for v in before.values()), before)

    equal("a template: its tenants", s.states("/v1/templates/shop", template("input.n > 1")), dict(a="built", b="built", c="built"))
    check("each has a second version, current", all(s.current(t).startswith("2-") for t in "abc"))
    equal("one that follows an older version is left alone", s.current("pinned"), before["pinned"])
    equal("a library: those that import it", set(s.put("/v1/libraries/common", {"files": {"common.rego": COMMON + "\nx := 1\n"}})),
          {"a", "b", "c", "pinned"})
    equal("a library that nobody imports: none", s.put("/v1/libraries/other", {"files": {"other.rego": OTHER + "\nx := 1\n"}}), {})
    jobs = s.put("/v1/tenants/a", tenant(data={"limits": [1, 2, 3]}))
    equal("data alone: built", jobs["a"]["state"], "built")
    equal("data alone: not compiled", jobs["a"]["compiled"], False)
    jobs = s.put("/v1/tenants/a", tenant("us", data={"limits": [1, 2, 3]}))
    equal("a parameter: built", jobs["a"]["state"], "built")
    metrics = s.c.call("GET", "/metrics")[1].decode()
    for line in ('jobs_total{outcome="built"} 14', 'jobs_total{outcome="failed"} 0', "compiled_total 13"):
        check(f"counted: {line}", f"regent_control_{line}\n" in metrics, [m for m in metrics.split("\n") if "jobs_total" in m or "compiled" in m])


def nothing_new_touches_nothing(new):
    s = new()
    for t in ("a", "b"):
        s.put(f"/v1/tenants/{t}", tenant())
    wait_for(lambda: all(os.path.exists(f"{s.folder}/blobs/tenants/{t}/bundle.tar.gz") for t in "ab"), 5)
    time.sleep(0.3)
    before, versions = s.objects(), s.versions("a")
    jobs = s.jobs(s.c.must("POST", "/v1/builds", {"all": True})["id"])
    equal("both are unchanged", {t: j["state"] for t, j in jobs.items()}, {"a": "unchanged", "b": "unchanged"})
    equal("the version is said", jobs["a"]["version"], versions[0]["version"])
    equal("no object is touched", s.objects(), before)
    equal("no version is made", s.versions("a"), versions)
    jobs = s.jobs(s.c.must("POST", "/v1/builds", {"tenants": ["b"], "forced": True})["id"])
    equal("forced: built anew", jobs["b"]["state"], "built")
    check("forced: a new version is current", s.current("b").startswith("2-"))
    equal("labels build nothing anew", s.states("/v1/tenants/a", tenant(labels={"plan": "gold"})), {"a": "unchanged"}) \
        if s.c.must("PUT", "/v1/tenants/a", tenant(labels={"plan": "gold"})).get("jobs") else check("labels build nothing", True)
    equal("by label", set(s.jobs(s.c.must("POST", "/v1/builds", {"labels": {"plan": "gold"}})["id"])), {"a"})
    equal("by template", set(s.jobs(s.c.must("POST", "/v1/builds", {"template": "shop"})["id"])), {"a", "b"})
    for body in ({}, {"all": True, "template": "shop"}, {"tenants": []}, {"tenants": ["a", 1]}, {"labels": {}}, {"all": 1}, {"x": 1}):
        equal(f"refused: {json.dumps(body)}", s.c.call("POST", "/v1/builds", body)[0], 400)
    equal("an unknown tenant: none is built", s.c.call("POST", "/v1/builds", {"tenants": ["a", "nobody"]})[0], 404)


def bundles_are_whole(new):
    s = new()
    s.put("/v1/tenants/a", tenant(data={"more": {"x": 1}}))
    v = s.versions("a")[0]
    folder = f"{s.folder}/blobs/tenants/a/versions/{v['version']}"
    data = open(folder + "/bundle.tar.gz", "rb").read()
    equal("the bundle's sum", hashlib.sha256(data).hexdigest(), v["sha256"])
    equal("its version", v["version"], "1-" + v["sha256"][:12])
    equal("the module's sum", hashlib.sha256(open(folder + "/policy.wasm", "rb").read()).hexdigest(), v["module_sha256"])
    check("… lies beside it", open(folder + "/policy.wasm.sha256").read().startswith(v["module_sha256"]))
    equal("the same bytes by the API", s.bundle("a"), data)
    files = {m.name: tar.extractfile(m).read() for tar in [tarfile.open(fileobj=io.BytesIO(data))] for m in tar if m.isfile()}
    check("it is signed", any(n.endswith(".signatures.json") for n in files), list(files))
    got = json.loads(next(b for n, b in files.items() if n.strip("/") == "data.json"))
    equal("the tenant's data stand beside the template's", (got["users"], got["more"]), (["ann"], {"x": 1}))
    equal("its source", v["source"]["template"], {"id": "shop", "version": 1})
    equal("its libraries", v["source"]["libraries"], [{"id": "common", "version": 1}])
    check("who, by what, which key", v["created_by"] == "test" and v["compiler"].startswith("regent ") and v["key"], v)
    s.put("/v1/tenants/a", tenant(data={"users": ["bob"]}))
    got = s.bundle("a")
    files = {m.name.strip("/"): tar.extractfile(m).read() for tar in [tarfile.open(fileobj=io.BytesIO(got))] for m in tar if m.isfile()}
    equal("the tenant's data go before the template's", json.loads(files["data.json"])["users"], ["bob"])
    one = s.c.must("GET", f"/v1/tenants/a/versions/{s.current('a')}")
    equal("one version: when it was released", [r["cause"] for r in one["releases"]], ["build"])
    equal("an unknown one", s.c.call("GET", "/v1/tenants/a/versions/9-aaaaaaaaaaaa")[0], 404)
    equal("of all tenants, newest first", [v["version"] for v in s.c.items("/v1/versions")], [v["version"] for v in s.versions("a")])
    pages = s.c.must("GET", "/v1/versions?limit=1")
    equal("page by page", s.c.must("GET", f"/v1/versions?limit=1&after={pages['next']}")["items"][0]["version"], v["version"])


# ---- what fails ----

def failures_keep_the_old_version(new):
    s = new()
    for t in ("a", "b", "c"):
        s.put(f"/v1/tenants/{t}", tenant())
    own = tenant(files={"own.rego": "package shop\n\nimport rego.v1\n\nallow if input.admin\n"})
    s.put("/v1/tenants/b", own)
    before = s.current("b")
    # what b has of its own does not fit the new template: allow is a function now
    clash = {"files": {"policy.rego": policy(), "more.rego": "package shop\n\nimport rego.v1\n\nextra(x) := x\n"},
             "parameters": {"REGION": {"type": "string"}}, "data": {"users": ["ann"]}}
    own["files"]["own.rego"] += "\nextra := 1\n"
    s.put("/v1/tenants/b", own)
    before = s.current("b")
    got = s.c.must("PUT", "/v1/templates/shop", clash)
    b = s.c.wait_build(got["build"])
    jobs = s.jobs(got["build"], "failed")
    equal("the others go on", {t: j["state"] for t, j in jobs.items()}, {"a": "built", "b": "failed", "c": "built"})
    equal("the build says so", (b["status"], b["succeeded"], b["failed"], b["remaining"]), ("failed", 2, 1, 0))
    error = jobs["b"]["errors"][0] if jobs["b"]["errors"] else {}
    check("what is wrong, with its place", error.get("code", "").startswith("rego_") and error.get("location", {}).get("row"), jobs["b"])
    check("the file is named", "own.rego" in str(error) or "more.rego" in str(error), error)
    equal("only the failed ones", [j["tenant"] for j in s.c.items(f"/v1/builds/{got['build']}/jobs?state=failed")], ["b"])
    equal("the old version stays", s.current("b"), before)
    equal("once it fits it is built", s.states("/v1/tenants/b", tenant()), {"b": "built"})
    s.c.must("PUT", "/v1/templates/shop", template(parameters={"REGION": {"type": "string", "enum": ["us"]}}))
    b = s.c.items("/v1/builds?cause=template")[0]
    jobs = s.jobs(b["id"], "failed")
    check("a value that the template no longer takes", all("REGION" in str(j["errors"]) for j in jobs.values()), jobs)
    equal("failed builds are found", [x["id"] for x in s.c.items("/v1/builds?status=failed")][0], b["id"])
    equal("and those of a tenant", b["id"] in [x["id"] for x in s.c.items("/v1/builds?tenant=b")], True)
    equal("a library repairs what failed", len(s.put("/v1/libraries/other", {"files": {"other.rego": OTHER + "y := 2\n"}}, None)), 3)


def tests_and_checks_block(new):
    s = new()
    s.put("/v1/tenants/a", tenant())
    before = s.current("a")
    ask = {"entrypoint": "shop/allow", "input": {"region": "eu", "user": "ann"}}
    jobs = s.put("/v1/tenants/a", tenant(checks=[{**ask, "expect": False, "note": "nobody"}]), "failed")
    check("a check that does not hold", "nobody" in str(jobs["a"]["errors"]), jobs)
    equal("… blocks", s.current("a"), before)
    test = "package shop_test\n\nimport rego.v1\nimport data.shop\n\ntest_ann if not shop.allow with input as {\"region\": \"eu\", \"user\": \"ann\"}\n"
    jobs = s.put("/v1/tenants/a", tenant(files={"own_test.rego": test}), "failed")
    check("a test that fails", "test_ann" in str(jobs["a"]["errors"]), jobs)
    equal("… blocks", s.current("a"), before)
    good = template("input.n != 7", checks=[{**ask, "input": {**ask["input"], "n": 1}, "expect": True}],)
    good["files"]["policy_test.rego"] = test.replace("not shop", "shop").replace('"ann"}', '"ann", "n": 1}')
    s.put("/v1/tenants/a", tenant())
    equal("those that hold", s.states("/v1/templates/shop", good), {"a": "built"})


def of_suspended_tenants(new):
    s = new()
    for t in ("a", "b"):
        s.put(f"/v1/tenants/{t}", tenant())
    s.c.must("PUT", "/v1/tenants/a", tenant(status="suspended"))
    equal("it has no version any more", s.current("a"), "")
    equal("a template builds the others", s.states("/v1/templates/shop", template("input.x")), {"b": "built"})
    equal("it cannot get a release", s.c.call("POST", "/v1/releases", {"tenant": "a", "version": s.versions("a")[0]["version"]})[0], 409)
    s.put("/v1/tenants/a", tenant())
    wait_for(lambda: s.current("a"), 5)
    check("active again: the newest template", s.current("a").startswith("2-"), s.versions("a"))
    s.c.must("PUT", "/v1/tenants/b", tenant(status="suspended"))
    s.put("/v1/tenants/b", tenant())
    check("active again, nothing new: released again", wait_for(lambda: s.current("b").startswith("2-"), 5), s.versions("b"))


# ---- releases ----

def by_hand(new):
    s = new("--release-manually")
    s.put("/v1/tenants/a", tenant())
    v1 = s.versions("a")[0]["version"]
    equal("nothing is current", s.current("a"), "")
    status, got, _ = s.c.call("POST", "/v1/releases", {"tenant": "a", "version": v1})
    equal("released", (status, got["serial"], got["previous"], got["cause"]), (201, 1, "", "request"))
    equal("current", s.current("a"), v1)
    status, got, _ = s.c.call("POST", "/v1/releases", {"tenant": "a", "version": v1})
    equal("once more: nothing changes", (status, got["serial"], got["changed"]), (200, 1, False))
    s.put("/v1/tenants/b", tenant())
    s.put("/v1/templates/shop", template("input.x"))
    a2, b2 = s.versions("a")[0]["version"], s.versions("b")[0]["version"]
    status, got, _ = s.c.call("POST", "/v1/releases", {"releases": [{"tenant": "a", "version": a2}, {"tenant": "b", "version": "1-no"}]})
    equal("many, one of which is not there: refused", (status, got["errors"][0]["code"]), (409, "no_such_version"))
    equal("… and nothing done", s.current("a"), v1)
    status, got, _ = s.c.call("POST", "/v1/releases", {"releases": [{"tenant": "b", "version": b2}, {"tenant": "a", "version": a2}]})
    equal("many", (status, [r["serial"] for r in got["items"]]), (201, [2, 1]))
    equal("a build that is to release", s.c.wait_build(s.c.must("POST", "/v1/builds", {"tenants": ["a"], "release": True})["id"])["status"], "done")
    for body in ({"tenant": "a"}, {"tenant": "a", "version": v1, "rollback": True}, {"version": v1}, {"releases": []},
                 {"releases": [{"tenant": "a", "version": a2}] * 2}, {"tenant": "a", "version": 7}, {"tenant": "a", "version": v1, "x": 1}):
        equal(f"refused: {json.dumps(body)[:60]}", s.c.call("POST", "/v1/releases", body)[0], 400)
    equal("an unknown tenant", s.c.call("POST", "/v1/releases", {"tenant": "nobody", "version": v1})[0], 404)


def rolled_back(new):
    s = new()
    s.put("/v1/tenants/a", tenant())
    s.put("/v1/templates/shop", template("input.x"))
    s.put("/v1/templates/shop", template("input.y"))
    v3, v2, v1 = [v["version"] for v in s.versions("a")]
    equal("back", s.c.must("POST", "/v1/releases", {"tenant": "a", "rollback": True})["version"], v2)
    equal("further back", s.c.must("POST", "/v1/releases", {"tenant": "a", "rollback": True})["version"], v1)
    status, got, _ = s.c.call("POST", "/v1/releases", {"tenant": "a", "rollback": True})
    equal("no further", (status, got["errors"][0]["code"]), (409, "nothing_before"))
    equal("what is kept of it", [(r["version"], r["cause"], r["serial"]) for r in s.c.items("/v1/releases?tenant=a")],
          [(v1, "rollback", 5), (v2, "rollback", 4), (v3, "build", 3), (v2, "build", 2), (v1, "build", 1)])
    point = f"{s.folder}/blobs/tenants/a/bundle.tar.gz"
    want = next(v["sha256"] for v in s.versions("a") if v["version"] == v1)
    check("the pointer follows", wait_for(lambda: hashlib.sha256(open(point, "rb").read()).hexdigest() == want, 5))
    same = template("input.y")
    same["files"]["policy_test.rego"] = "package shop_test\n\nimport rego.v1\n\ntest_one if 1 == 1\n"
    equal("a change that leaves it as it is", s.states("/v1/templates/shop", same), {"a": "unchanged"})
    equal("… does not undo that", s.current("a"), v1)
    s.put("/v1/templates/shop", template("input.z"))
    check("the next change does", s.current("a").startswith("4-"))
    entries = s.c.must("GET", "/v1/audit?limit=1000")["items"]
    check("who did it is written down", any(e["action"] == "release.create" and e["detail"].get("rollback") for e in entries))


def of_tokens_with_scopes(new):
    s = new()
    for t in ("eu-a", "us-a"):
        s.put(f"/v1/tenants/{t}", tenant())
    token = s.c.must("POST", "/v1/tokens", {"name": "eu", "role": "author", "scopes": {"tenants": ["eu-*"]}})["token"]
    releaser = s.c.must("POST", "/v1/tokens", {"name": "eu-r", "role": "releaser", "scopes": {"tenants": ["eu-*"]}})["token"]

    def call(method, path, body=None, token=token):
        return s.c.call(method, path, body, token=token)
    equal("builds", {b["object"] for b in call("GET", "/v1/builds?cause=tenant")[1]["items"]}, {"eu-a"})
    us = s.c.items("/v1/builds?tenant=us-a")[0]["id"]
    equal("another's build", call("GET", f"/v1/builds/{us}")[0], 404)
    equal("versions", {v["tenant"] for v in call("GET", "/v1/versions")[1]["items"]}, {"eu-a"})
    equal("another's versions", call("GET", "/v1/tenants/us-a/versions")[0], 404)
    equal("another's bundle", call("GET", f"/v1/tenants/us-a/versions/{s.current('us-a')}/bundle.tar.gz")[0], 404)
    equal("releases", {r["tenant"] for r in call("GET", "/v1/releases")[1]["items"]}, {"eu-a"})
    all_of_it = call("POST", "/v1/builds", {"all": True})[1]["id"]
    equal("a build of all is one of theirs", set(s.jobs(all_of_it)), {"eu-a"})
    equal("another's tenant", call("POST", "/v1/builds", {"tenants": ["us-a"]})[0], 404)
    equal("an author releases nothing", call("POST", "/v1/releases", {"tenant": "eu-a", "rollback": True})[0], 403)
    equal("a releaser no other's", call("POST", "/v1/releases", {"tenant": "us-a", "rollback": True}, releaser)[0], 404)
    equal("a releaser builds nothing", call("POST", "/v1/builds", {"all": True}, releaser)[0], 403)
    both = s.c.must("POST", "/v1/builds", {"all": True, "forced": True})["id"]
    equal("of a build of others too: their jobs", [j["tenant"] for j in call("GET", f"/v1/builds/{both}/jobs")[1]["items"]], ["eu-a"])


# ---- many ----

def many(s, n):
    got = s.c.must("POST", "/v1/apply", {"tenants": {f"t{i:04}": tenant(f"r{i}") for i in range(n)}})
    equal(f"{n} tenants in one build", len(s.jobs(got["build"])), n)


def small_builds_do_not_wait(new):
    s = new("--build-threads", "1")
    many(s, 300)
    big = s.c.must("PUT", "/v1/templates/shop", template("input.big"))["build"]
    small = s.c.must("PUT", "/v1/tenants/small", tenant())["build"]
    s.c.must("PUT", "/v1/tenants/t0299", tenant(status="suspended"))
    s.c.wait_build(small)
    left = s.c.must("GET", f"/v1/builds/{big}")["remaining"]
    check(f"300 are being built, one that came later is done while {left} remain", left > 30, left)
    seen, moves = -1, 0
    while True:
        b = s.c.must("GET", f"/v1/builds/{big}?wait=20&seen={seen if seen >= 0 else 0}")
        moves += 1
        if b["status"] not in ("queued", "running"):
            break
        check_moved = b["total"] - b["remaining"] > seen
        if not check_moved:
            check("a poll answers when something moved", False, b)
            break
        seen = b["total"] - b["remaining"]
    check(f"the large one ends, seen in {moves} polls", b["status"] == "done" and b["succeeded"] == 299 and 2 < moves < 100, b)
    equal("one that was suspended meanwhile is left out", s.c.items(f"/v1/builds/{big}/jobs?tenant=t0299")[0]["state"], "superseded")
    check("… and gets no version", len(s.versions("t0299")) == 1 and not s.current("t0299"), s.versions("t0299"))
    check("the end is logged", s.c.logged("build ended", build=big, total="300", failed="0"))


def cancelled(new):
    s = new("--build-threads", "1")
    many(s, 150)
    before = {v["tenant"]: v["version"] for v in s.c.items("/v1/versions")}
    big = s.c.must("PUT", "/v1/templates/shop", template("input.big"))["build"]
    status, b, _ = s.c.call("POST", f"/v1/builds/{big}/cancel")
    equal("cancelled", (status, b["status"], b["remaining"]), (200, "cancelled", 0))
    equal("what had been built stays, the rest is dropped", b["succeeded"] + b["superseded"], 150)
    time.sleep(1.5)
    built = s.c.must("GET", f"/v1/builds/{big}")["succeeded"]
    equal("nothing comes after it", built, b["succeeded"])
    equal("as many new versions as it counts", len(s.c.items("/v1/versions")) - len(before), built)
    equal("once more", s.c.call("POST", f"/v1/builds/{big}/cancel")[0], 409)
    equal("the rest by asking for it", len(s.jobs(s.c.must("POST", "/v1/builds", {"template": "shop"})["id"])), 150)
    check("all have the new template", all(v.startswith("2-") for v in {v["tenant"]: v["version"] for v in reversed(s.c.items("/v1/versions"))}.values()))


def of_changes_in_a_row(new):
    s = new("--build-threads", "2")
    many(s, 60)
    builds = [s.c.must("PUT", "/v1/templates/shop", template(f"input.n != {i}"))["build"] for i in range(5)]
    done = [s.c.wait_build(b) for b in builds]
    equal("all builds end", {b["status"] for b in done}, {"done"})
    equal("every job is counted", [b["remaining"] for b in done], [0] * 5)
    newest = s.c.must("GET", "/v1/templates/shop")["version"]
    sources = {t: s.c.must("GET", f"/v1/tenants/{t}/versions?limit=1")["items"][0] for t in ("t0000", "t0031", "t0059")}
    equal("the newest template is what is current", {(v["source"]["template"]["version"], v["current"]) for v in sources.values()}, {(newest, True)})


def of_a_blob_store_that_fails(new):
    s = new("--lease-ms", "300")
    for t in ("a", "b", "c"):
        s.put(f"/v1/tenants/{t}", tenant())
    os.truncate(f"{s.folder}/blobs/tenants/a/versions/{s.current('a')}/bundle.tar.gz", 100)
    job = s.put("/v1/tenants/a", tenant(data={"n": 1}))["a"]
    equal("modules of a version that was spoilt are compiled anew", (job["state"], job["compiled"]), ("built", True))
    before = s.current("b")
    os.rename(f"{s.folder}/blobs/tenants/b/versions", f"{s.folder}/kept")
    open(f"{s.folder}/blobs/tenants/b/versions", "w").close()  # a file where a folder has to be
    build = s.c.must("PUT", "/v1/templates/shop", template("input.x"))["build"]
    check("the others go on", wait_for(lambda: s.c.must("GET", f"/v1/builds/{build}")["succeeded"] == 2, 20), s.c.must("GET", f"/v1/builds/{build}"))
    check("the failed one is tried again", wait_for(lambda: s.c.items(f"/v1/builds/{build}/jobs?tenant=b")[0]["attempts"] > 1, 20))
    job = s.c.items(f"/v1/builds/{build}/jobs?tenant=b")[0]
    equal("its old version stays meanwhile", s.current("b"), before)
    check("its reason is shown", "blob_store" in str(job["errors"]) or job["state"] == "running", job)
    os.remove(f"{s.folder}/blobs/tenants/b/versions")
    os.rename(f"{s.folder}/kept", f"{s.folder}/blobs/tenants/b/versions")
    equal("once it works again the build ends", s.c.wait_build(build)["status"], "done")
    check("… with a version", s.current("b").startswith("2-"))
    os.rename(f"{s.folder}/blobs/tenants/c/versions", f"{s.folder}/kept")
    open(f"{s.folder}/blobs/tenants/c/versions", "w").close()
    job = s.put("/v1/tenants/c", tenant("us"), "failed")["c"]
    check("given up after a bounded number of attempts", job["attempts"] == 10 and "given up" in str(job["errors"]), job)


def of_a_job_that_kills(new):
    s = new("--lease-ms", "300")
    for t in ("a", "b"):
        s.put(f"/v1/tenants/{t}", tenant())
    before = s.current("a")
    build = s.c.must("POST", "/v1/builds", {"all": True, "forced": True})["id"]
    s.c.wait_build(build)
    s.c.kill()
    text = (f"UPDATE jobs SET state = 'running', owner = 'dead/0', attempts = 10, lease_ms = 1 WHERE build = '{build}' AND tenant = 'a';"
            f"UPDATE builds SET status = 'running', succeeded = 1 WHERE id = '{build}'")
    if s.postgres:
        s.postgres.sql(text, s.store, must=True)
    else:
        with sqlite3.connect(s.controls[0].store[len("sqlite:"):]) as db:
            db.executescript(text)
    s.c.start()
    b = s.c.wait_build(build)
    job = s.c.items(f"/v1/builds/{build}/jobs?tenant=a")[0]
    equal("a job whose process died ten times is given up", (b["status"], job["state"]), ("failed", "failed"))
    check("… and says so", "given_up" in str(job["errors"]), job)
    check("… the tenant's version stays", s.current("a") > before)
    equal("the next change builds it", s.states("/v1/tenants/a", tenant("us")), {"a": "built"})


# ---- several processes ----

def replicas_share_a_build():
    s = Site("postgres", "share", "--lease-ms", "2000")
    try:
        many(s, 200)
        other = s.another()
        build = s.c.must("PUT", "/v1/templates/shop", template("input.x"))["build"]
        b = other.wait_build(build)
        equal("the other one sees it end", (b["status"], b["succeeded"]), ("done", 200))
        equal("each tenant is built once", len(s.c.items(f"/v1/versions?build={build}")), 200)
        owners = s.postgres.sql("SELECT count(DISTINCT detail) FROM audit", s.store)
        check("its versions are in the audit log", int(owners) >= 200, owners)
    finally:
        s.stop()


def a_killed_replica_loses_nothing():
    s = Site("postgres", "killed", "--lease-ms", "1500")
    try:
        many(s, 300)
        other = s.another()
        build = s.c.must("PUT", "/v1/templates/shop", template("input.x"))["build"]
        wait_for(lambda: int(s.postgres.sql(f"SELECT count(DISTINCT split_part(owner, '/', 1)) FROM jobs WHERE build = '{build}' AND state = 'running'",
                                            s.store) or 0) >= 2, 10)
        other.kill()
        left = s.c.must("GET", f"/v1/builds/{build}")
        b = s.c.wait_build(build)
        check("killed in the midst of it", left["remaining"] > 0, left)
        equal("the other one finishes", (b["status"], b["succeeded"], b["failed"]), ("done", 300, 0))
        equal("each tenant has its version once", len(s.c.items(f"/v1/versions?build={build}")), 300)
        equal("no lease is left", s.postgres.sql("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')", s.store), "0")
    finally:
        s.stop()


if __name__ == "__main__":
    try:
        servers.append(Postgres())
    except RuntimeError as e:
        print(f"# PostgreSQL's part is left out: {e}")
    parts = []
    for part in (only_what_a_change_touches, nothing_new_touches_nothing, bundles_are_whole, failures_keep_the_old_version,
                 tests_and_checks_block, of_suspended_tenants, by_hand, rolled_back, of_tokens_with_scopes, small_builds_do_not_wait,
                 cancelled, of_changes_in_a_row, of_a_blob_store_that_fails, of_a_job_that_kills):
        parts += on_both(part)[:1 + bool(servers)]
    run_parts(parts + ([replicas_share_a_build, a_killed_replica_loses_nothing] if servers else []))
