"""How versions go live: checks, shadow, watch, rollback of a real edge, serials, bare modules, swaps under load.

in:  BUILD with regent. out: TAP lines. owns: the edges it starts."""
import json
import os
import random
import subprocess
import tempfile
import threading
import time

from edge_lib import REGENT, ROOT, TMP, Edge, build, check, equal, finish, http, stop, wait_for

PATH = "t/allow"
ALLOW = "package t\n\ndefault allow := false\n\nallow if input.user in %s\n"
LOOP = "package t\n\nallow if {\n\tinput.user == \"ann\"\n}\n\nallow if {\n\tinput.user == \"bob\"\n\tcount([x | some x in numbers.range(1, 30000000)]) > 3\n}\n"


def policy(*users):
    return {"p.rego": ALLOW % json.dumps(list(users) or ["nobody"])}


def config(edge, text):
    """The edge with a configuration of its own beside the flags."""
    path = os.path.join(TMP, os.path.basename(edge.folder) + ".yaml")
    with open(path, "w") as f:
        f.write(text)
    edge.flags += ["--config", path]
    return edge


def put(edge, tenant, files, manifest=None, checks=None):
    files = dict(files)
    if manifest:
        files[".manifest"] = json.dumps(manifest)
    if checks is not None:
        files["checks.json"] = checks if isinstance(checks, str) else json.dumps(checks)
    build(files, [PATH], edge.bundle(tenant))


def ask(edge, tenant, user, path=PATH):
    status, _, body = edge.post(tenant, path, json.dumps({"input": {"user": user}}))
    return json.loads(body).get("result") if status == 200 else status


def answers(edge, tenant, user, want):
    return wait_for(lambda: ask(edge, tenant, user) == want)


def metric(edge, name):
    return float(edge.metrics().get(name, 0))


# ---- checks ----
def checks():
    edge = Edge(name="checks")
    put(edge, "a", policy("ann"))
    edge.start()
    equal("checks: the first version answers", ask(edge, "a", "ann"), True)
    good = {"entrypoint": PATH, "input": {"user": "ann"}, "expect": True, "note": "ann may"}
    put(edge, "a", policy("bob"), checks=[good])
    check("checks: a version that fails its own check is refused", edge.wait_log("bundle refused", tenant_id="a"))
    reason = edge.logged("bundle refused")[-1]["reason"]
    equal("checks: and says which, and what it got", reason, "checks.json: check 1 (ann may): t/allow is false, not true")
    equal("checks: the version before answers", ask(edge, "a", "ann"), True)
    for name, text, want in [
            ("no list", {"a": 1}, "checks.json: it must be a list of at most 10000 checks"),
            ("no JSON", "[{]", "checks.json:1:3: "),
            ("unknown member", [{"entrypoint": PATH, "expects": True}], "checks.json: check 1: it has `entrypoint` and"),
            ("no entrypoint", [good, {"expect": True}], "checks.json: check 2: `entrypoint` is missing"),
            ("absent entrypoint", [{"entrypoint": "t/other", "expect": True}], "t/other is no such entrypoint, not true"),
            ("without expect", [{"entrypoint": PATH, "input": {}}], "t/allow is false, not undefined")]:
        before = len(edge.logged("bundle refused"))
        put(edge, "a", policy("ann", name), checks=text)
        edge.wait_log("bundle refused", before + 1)
        reason = edge.logged("bundle refused")[-1]["reason"]
        check(f"checks: {name}", want in reason, reason)
    put(edge, "a", policy("ann", "bob"), checks=[good, {"entrypoint": PATH, "input": {"user": "eve"}, "expect": False}])
    check("checks: one that holds goes live", answers(edge, "a", "bob", True))
    put(edge, "u", {"p.rego": "package t\n\nallow if input.user == \"ann\"\n"},
        checks=[{"entrypoint": PATH, "input": {"user": "eve"}}, {"entrypoint": PATH, "expect": None, "input": {"user": "ann"}}])
    check("checks: null is not undefined", edge.wait_log("bundle refused", tenant_id="u") and
          "check 2: t/allow is true, not null" in edge.logged("bundle refused", tenant_id="u")[-1]["reason"],
          edge.logged("bundle refused", tenant_id="u"))
    equal("checks: counted", [metric(edge, f'regent_bundle_checks_total{{outcome="{o}"}}') for o in ("held", "failed")], [1.0, 8.0])
    stop(edge.process)


# ---- shadow ----
def shadow():
    edge = config(Edge(name="shadow"), "activation: {shadow: {share: 1, requests: 20, max_time: 30s}}\n")
    put(edge, "a", policy("ann"), {"revision": "one"})
    edge.start()
    put(edge, "a", policy("ann", "bob"), {"revision": "two"})
    check("shadow: starts", edge.wait_log("shadow started", version="two", beside="one"))
    for _ in range(10):
        equal_now = ask(edge, "a", "ann")
    equal("shadow: the old version answers meanwhile", (equal_now, ask(edge, "a", "bob")), (True, False))
    for _ in range(5):
        ask(edge, "a", "bob")
    check("shadow: differences refuse the version", edge.wait_log("bundle refused", tenant_id="a"))
    line = (edge.logged("shadow differs") or [{}])[0]
    equal("shadow: a difference is shown", (line.get("answered"), line.get("shadow"), line.get("path")), ("false", "true", PATH))
    check("shadow: with the id of its decision, without its input", len(line.get("decision_id", "")) == 36 and "bob" not in json.dumps(line), line)
    check("shadow: why", "live requests otherwise than version one" in edge.logged("bundle refused")[-1]["reason"], edge.logged("bundle refused"))
    equal("shadow: the old version goes on", (ask(edge, "a", "ann"), ask(edge, "a", "bob")), (True, False))
    os.utime(edge.bundle("a"))
    time.sleep(0.3)
    equal("shadow: the refused version is not tried again", len(edge.logged("shadow started")), 1)
    put(edge, "a", {"p.rego": ALLOW % '["ann", "zoe"]'}, {"revision": "three"})
    edge.wait_log("shadow started", version="three")
    wait_for(lambda: [ask(edge, "a", "ann") for _ in range(10)] and edge.logged("bundle activated", version="three"), 20)
    check("shadow: without differences it takes over", answers(edge, "a", "zoe", True), edge.lines()[-3:])
    equal("shadow: counted", [metric(edge, f'regent_shadows_total{{outcome="{o}"}}') for o in ("passed", "refused")], [1.0, 1.0])
    equal("shadow: none is under way", metric(edge, 'regent_trials{kind="shadow"}'), 0.0)
    subprocess.run(["cp", edge.bundle("a"), edge.folder + "/three"], check=True)
    put(edge, "a", policy("ann", "zoe", "kim"), {"revision": "four"})
    edge.wait_log("shadow started", version="four")
    os.rename(edge.folder + "/three", edge.bundle("a"))
    check("shadow: a source that goes back ends it", wait_for(lambda: metric(edge, 'regent_trials{kind="shadow"}') == 0))
    stop(edge.process)


def shadow_time():
    edge = config(Edge(name="shadow-time"), "activation: {shadow: {share: 0.5, requests: 100000, max_time: 300ms}}\n")
    put(edge, "a", policy("ann"))
    edge.start()
    put(edge, "a", policy("bob"))
    check("shadow: nobody asks, time decides", edge.wait_log("bundle activated", 2, tenant_id="a"))
    equal("shadow: and the new version answers", ask(edge, "a", "bob"), True)
    put(edge, "b", policy("bob"))
    check("shadow: a tenant's first version needs none", answers(edge, "b", "bob", True))
    equal("shadow: of two one had one", len(edge.logged("shadow started")), 1)
    stop(edge.process)


# ---- watch ----
def watch():
    edge = config(Edge(name="watch"),
                  "activation: {watch: {time: 60s, min_requests: 10, max_errors: 0.2, max_denials: 0.3}}\n"
                  "limits: {default: {deadline: 20ms}}\n")
    put(edge, "errors", {"p.rego": LOOP.replace('== "bob"', '== "eve"')}, {"revision": "good"})
    put(edge, "denials", policy("ann"), {"revision": "good"})
    put(edge, "calm", policy("ann"), {"revision": "good"})
    edge.start()
    for tenant in ("errors", "denials", "calm"):
        for _ in range(12):
            ask(edge, tenant, "ann")
    put(edge, "errors", {"p.rego": LOOP}, {"revision": "bad"})
    put(edge, "denials", policy("bob"), {"revision": "bad"})
    put(edge, "calm", policy("ann", "bob"), {"revision": "next"})
    for tenant, revision in (("errors", "bad"), ("denials", "bad"), ("calm", "next")):
        edge.wait_log("bundle activated", tenant_id=tenant, revision=revision)
    equal("watch: three versions are watched", metric(edge, 'regent_trials{kind="watch"}'), 3.0)
    wait_for(lambda: [ask(edge, "errors", "bob"), ask(edge, "denials", "ann"), ask(edge, "calm", "bob")] and
             len(edge.logged("version taken back")) == 2, 30)
    reasons = {l["tenant_id"]: l["reason"] for l in edge.logged("version taken back")}
    check("watch: errors take a version back", "decisions failed" in reasons.get("errors", ""), reasons)
    check("watch: denials take a version back", "it denied 100.0 % of its first" in reasons.get("denials", "") and
          "the version before 0.0 %" in reasons.get("denials", ""), reasons)
    equal("watch: what is fine stays", "calm" in reasons, False)
    equal("watch: the versions before answer", (ask(edge, "denials", "ann"), ask(edge, "errors", "ann"), ask(edge, "calm", "bob")), (True, True, True))
    os.utime(edge.bundle("denials"))
    time.sleep(0.3)
    equal("watch: the version taken back stays away until it changes", ask(edge, "denials", "bob"), False)
    status = json.loads(http(edge.rest, "GET", "/v1/status", headers={"x-tenant-id": "denials"})[2])
    check("watch: status says it", "was taken back" in json.dumps(status["result"]["bundles"]["denials"]), status)
    equal("watch: and which answers", status["result"]["bundles"]["denials"]["active_revision"], "good")
    put(edge, "denials", policy("ann", "bob"), {"revision": "fixed"})
    check("watch: another version goes live", answers(edge, "denials", "bob", True))
    equal("watch: counted", metric(edge, 'regent_rollbacks_total{by="watch"}'), 2.0)
    stop(edge.process)
    return edge


# ---- serials and bare modules ----
def serials():
    edge = Edge(name="serials")
    put(edge, "a", policy("ann"), {"revision": "r7", "metadata": {"regent": {"serial": 7}}})
    edge.start()
    put(edge, "a", policy("ann", "old"), {"revision": "r5", "metadata": {"regent": {"serial": 5}}})
    check("serials: an older version is refused", edge.wait_log("bundle refused", tenant_id="a"))
    check("serials: and why", "version r5 has serial 5, and this tenant has had 7" in edge.logged("bundle refused")[-1]["reason"], edge.logged("bundle refused"))
    equal("serials: the newer one answers", ask(edge, "a", "old"), False)
    put(edge, "a", policy("ann", "new"), {"revision": "r8", "metadata": {"regent": {"serial": 8}}})
    check("serials: a newer version goes live", answers(edge, "a", "new", True))
    stop(edge.process)


def raw_module(files, out):
    folder = tempfile.mkdtemp(dir=TMP)
    for name, text in files.items():
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    subprocess.run([REGENT, "build", "-t", "wasm", "-o", out + ".new", "-e", PATH, "--raw", "-b", folder], check=True, capture_output=True)
    digest = open(out + ".new.sha256").read()
    os.rename(out + ".new", out)
    return digest


def bare():
    edge = Edge(name="bare")
    folder = f"{edge.folder}/tenants/a"
    os.makedirs(folder)
    source = {"p.rego": "package t\n\nallow if input.user in data.users\n"}
    with open(folder + "/data.json", "w") as f:
        f.write('{"users": ["ann"]}')
    digest = raw_module(source, folder + "/policy.wasm")
    with open(folder + "/policy.wasm.sha256", "w") as f:
        f.write(digest)
    edge.start()
    equal("bare: policy.wasm with data.json answers", ask(edge, "a", "ann"), True)
    with open(folder + "/data.json.new", "w") as f:
        f.write('{"users": ["bob"]}')
    os.rename(folder + "/data.json.new", folder + "/data.json")
    check("bare: new data alone is a new version", answers(edge, "a", "bob", True))
    with open(folder + "/policy.wasm.sha256", "w") as f:
        f.write("0" * 64 + "\n")
    check("bare: a wrong checksum is refused", edge.wait_log("bundle refused", tenant_id="a"))
    equal("bare: and the version before answers", ask(edge, "a", "bob"), True)
    stop(edge.process)


# ---- the store ----
def store():
    edge = Edge(name="store")
    config(edge, f"store: {{directory: {edge.folder}/store}}\nactivation: {{watch: {{time: 60s, min_requests: 5}}}}\n")
    put(edge, "a", policy("ann"), {"revision": "one"})
    edge.start()
    for _ in range(10):
        ask(edge, "a", "ann")
    put(edge, "a", policy("bob"), {"revision": "two"})
    edge.wait_log("bundle activated", revision="two")
    wait_for(lambda: [ask(edge, "a", "ann")] and edge.logged("version taken back"))
    equal("store: the version before answers", ask(edge, "a", "ann"), True)
    os.rename(edge.bundle("a"), edge.folder + "/aside")
    os.rename(edge.folder + "/tenants", edge.folder + "/tenants.gone")
    stop(edge.process)
    edge.start()
    wait_for(lambda: len(edge.logged("ready")) == 2)
    equal("store: a restart begins with the version that was good", ask(edge, "a", "ann"), True)
    equal("store: and says so", [l["tenants"] for l in edge.logged("last good versions restored")], ["1"])
    os.rename(edge.folder + "/tenants.gone", edge.folder + "/tenants")
    check("store: what is gone from the folder goes", edge.wait_log("tenant removed", tenant_id="a"))
    stop(edge.process)


# ---- swaps under load ----
def swaps():
    tenants, rounds = 12, 200
    edge = Edge(name="swaps")
    two = [os.path.join(TMP, f"swap{i}.tar.gz") for i in range(2)]
    for i in range(2):
        build({"p.rego": f"package t\n\nanswer := {{\"v\": {i}, \"for\": input.user}}\n"}, ["t/answer"], two[i])
    own = {}
    for i in range(tenants):
        own[f"n{i}"] = f"n{i}"
        build({"p.rego": f"package t\n\nanswer := {{\"v\": \"n{i}\", \"for\": input.user}}\n"}, ["t/answer"], edge.bundle(f"n{i}"))
    for name in ("one", "r0", "r1", "r2"):
        os.makedirs(os.path.dirname(edge.bundle(name)), exist_ok=True)
        subprocess.run(["cp", two[0], edge.bundle(name)], check=True)
    edge.start()
    state = {"stop": False, "asked": 0, "failed": [], "wrong": []}

    def load(seed):
        r = random.Random(seed)
        while not state["stop"]:
            tenant = r.choice(list(own) + ["one", "r0", "r1", "r2", "one"])
            user = str(r.random())
            status, _, body = edge.post(tenant, "t/answer", json.dumps({"input": {"user": user}}))
            state["asked"] += 1
            if status != 200:
                state["failed"].append((tenant, status, body))
                continue
            got = json.loads(body).get("result", {})
            if got.get("for") != user or got.get("v") not in ([own[tenant]] if tenant in own else [0, 1]):
                state["wrong"].append((tenant, user, got))
    threads = [threading.Thread(target=load, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    r = random.Random(5)
    made = 0
    for i in range(rounds):
        tenant = "one" if i % 2 else r.choice(["r0", "r1", "r2"])
        subprocess.run(["cp", two[(i // 2) % 2], edge.bundle(tenant) + ".new"], check=True)
        os.rename(edge.bundle(tenant) + ".new", edge.bundle(tenant))
        made += 1
        time.sleep(0.03)
    time.sleep(0.3)
    state["stop"] = True
    for t in threads:
        t.join()
    swapped = metric(edge, 'regent_activations_total{outcome="active"}') - tenants - 4
    check(f"swaps: {int(swapped)} swaps while {state['asked']} requests were answered", swapped >= rounds / 4 and state["asked"] > 200, made)
    equal("swaps: no request failed", state["failed"][:3], [])
    equal("swaps: no answer was wrong, none of another tenant changed", state["wrong"][:3], [])
    equal("swaps: nothing is wrong in the log", edge.logged("bundle refused"), [])
    stop(edge.process)


checks()
shadow()
shadow_time()
watch()
serials()
bare()
store()
swaps()
finish()
