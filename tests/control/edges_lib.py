"""What the tests of edges, bundles and rollouts share: stores of both kinds, tenants and versions put straight into them, nodes
that are only pretended, real edges on a control plane.

in:  BUILD. out: nothing. owns: the PostgreSQL server and the folders it makes."""
import hashlib
import json
import os
import sqlite3
import subprocess
import threading
import time

from control_lib import TMP, Control, Postgres, check, postgres_bin, wait_for
from sources_lib import POLICY, sourced

made = {"n": 0}


class Store:
    """A new, empty store of one kind, beside a folder for blobs."""

    def __init__(self, kind):
        made["n"] += 1
        self.kind, self.folder = kind, f"{TMP}/edges{made['n']}"
        os.makedirs(self.folder)
        if kind == "postgres" and "postgres" not in made:
            made["postgres"] = Postgres()
        self.url = f"sqlite:{self.folder}/store.db" if kind == "sqlite" else made["postgres"].database()
        self.blobs = f"dir:{self.folder}/blobs"

    def sql(self, text):
        if self.kind == "sqlite":
            with sqlite3.connect(self.url.removeprefix("sqlite:"), timeout=20) as db:
                if text.lstrip().upper().startswith("SELECT"):
                    return "\n".join("|".join(str(v) for v in row) for row in db.execute(text))
                db.executescript("BEGIN IMMEDIATE;" + text + ";COMMIT")
            return ""
        done = subprocess.run([made["postgres"].bin + "/psql", "-XAtq", "-1", "-v", "ON_ERROR_STOP=1", "-d", self.url], input=text,
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(text[:200] + ": " + done.stderr)
        return done.stdout.strip()

    def control(self, *flags, **more):
        return Control(*flags, store=self.url, blobs=self.blobs, **more)


def each_store(*kinds):
    """A store of each kind that there is here, with its name for the lines of TAP."""
    for kind in kinds or ("sqlite", "postgres"):
        if kind == "postgres" and not postgres_bin():
            check("on PostgreSQL # SKIP it is not installed", True)
            continue
        yield kind, Store(kind)


def named(number, data):
    """A version's name, as a build gives it."""
    return f"{number}-{hashlib.sha256(data).hexdigest()[:12]}"


def seed(store, tenants, released=False):
    """Puts {id: {"labels": {}, "template": id, "bundles": [bytes]}} into a store whose schema is there: versions, of which none is
    released, or each tenant's first."""
    rows, versions, labels, now = [], [], [], int(time.time() * 1000)
    feed, releases = [], []
    for t, what in tenants.items():
        text = json.dumps(what.get("labels", {}), sort_keys=True, separators=(",", ":"))
        n = len(what["bundles"])
        first = named(1, what["bundles"][0]) if released else ""
        rows.append(f"('{t}','active','{what.get('template', '')}',0,1,'','{{}}','{text}',0,0,0,'built',{n},{int(released)},'{first}',"
                    f"{int(released)},{now},{now},'test')")
        feed.append(f"({len(feed) + 1},'{t}','{first}',1,'{hashlib.sha256(what['bundles'][0]).hexdigest()}',0,{now})")
        releases.append(f"('{t}',1,'{first}','','request','',{now},'test')")
        labels += [f"('{t}','{k}','{v}')" for k, v in what.get("labels", {}).items()]
        for i, data in enumerate(what["bundles"]):
            sum_ = hashlib.sha256(data).hexdigest()
            module = b"module of " + data[:20]
            versions.append(f"('{t}',{i + 1},'{named(i + 1, data)}','{sum_}','{hashlib.sha256(module).hexdigest()}','c{i}','c{i}',{len(data)},"
                            f"'{{}}','regent','','',{now},'test')")
            if what.get("files", True):
                folder = f"{store.folder}/blobs/tenants/{t}/versions/{named(i + 1, data)}"
                os.makedirs(folder, exist_ok=True)
                for name, content in (("bundle.tar.gz", data), ("policy.wasm", module),
                                      ("policy.wasm.sha256", (hashlib.sha256(module).hexdigest() + "  policy.wasm\n").encode())):
                    with open(f"{folder}/{name}", "wb") as f:
                        f.write(content)
    text = "INSERT INTO tenants VALUES " + ",".join(rows) + ";INSERT INTO versions VALUES " + ",".join(versions)
    if released:
        text += (";INSERT INTO feed VALUES " + ",".join(feed) + ";INSERT INTO releases VALUES " + ",".join(releases)
                 + f";UPDATE counters SET value = {len(feed)} WHERE name = 'feed'")
    if labels:
        text += ";INSERT INTO tenant_labels VALUES " + ",".join(labels)
    store.sql(text)


def release(c, versions, **more):
    """Releases {tenant: version} at once, by a rollout of one wave; waits until it is done."""
    r = c.must("POST", "/v1/rollouts", {"versions": versions, "wait_s": 0, "max_failed": "100%", **more})
    if not wait_for(lambda: c.must("GET", "/v1/rollouts/" + r["id"])["status"] == "done", 30):
        raise RuntimeError(f"not released: {c.must('GET', '/v1/rollouts/' + r['id'])}")
    return r["id"]


def token(c, role="edge", scopes=None):
    made["tokens"] = made.get("tokens", 0) + 1
    body = {"name": f"{role}{made['tokens']}", "role": role}
    return c.must("POST", "/v1/tokens", {**body, "scopes": scopes} if scopes else body)["token"]


class Node:
    """A node that reads the feed and reports, by hand."""

    def __init__(self, c, name, token=None):
        self.c, self.name, self.token, self.cursor, self.has = c, name, token, None, {}

    def feed(self, wait=None, cursor=None):
        """(status, body) of one request for the feed; follows it."""
        at = self.cursor if cursor is None else cursor
        path = f"/v1/edges/feed?node={self.name}" + (f"&since={at}" if at else "") + (f"&wait={wait}" if wait else "")
        status, body, _ = self.c.call("GET", path, token=self.token)
        if status == 200:
            self.cursor = body["cursor"]
            for change in body["changes"]:
                if change.get("deleted"):
                    self.has.pop(change["tenant"], None)
                else:
                    self.has[change["tenant"]] = change
        return status, body

    def read(self):
        """Reads on until there is no more; what came."""
        changes = []
        while True:
            status, body = self.feed()
            if status != 200:
                raise RuntimeError(f"feed: {status} {body}")
            changes += body["changes"]
            if not body["more"]:
                return changes

    def report(self, tenants, more=False):
        return self.c.call("POST", f"/v1/edges/{self.name}/status",
                           {"node": self.name, "host": "host-" + self.name, "software": "regent/0", "cursor": self.cursor or "",
                            "tenants": tenants, "more": more}, token=self.token)[0]

    def brings_up(self, *failing):
        """Reads the feed and reports all that it has as active, but for those that fail."""
        self.read()
        return self.report([{"tenant": t, "active": "", "outcome": "failed", "error": {"code": "invalid", "message": "a check fails"}}
                            if t in failing else {"tenant": t, "active": v["version"], "outcome": "active"}
                            for t, v in sorted(self.has.items())])


def later(call):
    """Runs it on a thread; a function that waits for (its result, seconds that it took)."""
    out = {}

    def run():
        began = time.monotonic()
        out["result"] = call()
        out["took"] = time.monotonic() - began
    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result(seconds=30):
        thread.join(seconds)
        return out.get("result"), out.get("took", 99)
    return result


def edge_on(c, name, secret, url=None, more="", **source):
    """A `regent edge` whose only source is that control plane, started."""
    path = f"{TMP}/{name}.token"
    with open(path, "w") as f:
        f.write(secret)
    what = {"name": "control", "control": {"url": url or c.url, "long_poll": "20s"}, "poll": "300ms", **source}
    if secret:
        what["token_file"] = path
    return sourced(name, [what], more).begin()


def put_policy(c, tenant, user, version, **more):
    """Gives a tenant a policy of its own, whose t/who is `version`; waits for the build. (Build, seconds until it was over.)"""
    began = time.monotonic()
    body = {"files": {"policy.rego": POLICY % (user, version)}, "entrypoints": ["t/allow", "t/who"], **more}
    reply = c.must("PUT", f"/v1/tenants/{tenant}", body, headers={"If-Match": "*"} if c.call("GET", f"/v1/tenants/{tenant}")[0] == 200 else {})
    return c.wait_build(reply["build"]), time.monotonic() - began


def memory_kb(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0

