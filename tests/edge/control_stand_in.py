"""A control plane in little: the feed, single tenants and status reports of docs/edge-protocol.md, over memory.

in:  calls of the test. out: replies. owns: the history of changes."""
import hashlib
import json
import time
import urllib.parse

from sources_lib import Files, Server


class Control(Server):
    def __init__(self, token="edge-token", tls=None):
        self.history, self.current, self.versions, self.oldest, self.reports, self.page = [], {}, {}, 0, [], 1000
        super().__init__(ControlHandler, tls)
        self.token = token

    def publish(self, tenant, version, data, serial=0, **wrong):
        path = f"/blobs/{tenant}/{version}.tar.gz"
        change = {"tenant": tenant, "version": version, "serial": serial, "sha256": hashlib.sha256(data).hexdigest(), "url": path, **wrong}
        with self.lock:
            self.files[path] = data
            self.versions[tenant, version] = change
            self.current[tenant] = change
            self.history.append(change)

    def delete(self, tenant):
        with self.lock:
            del self.current[tenant]
            self.history.append({"tenant": tenant, "deleted": True})

    def reported(self, tenant):
        """The last that was said of a tenant."""
        said = [t for r in list(self.reports) for t in r["tenants"] if t["tenant"] == tenant]
        return said[-1] if said else {}


class ControlHandler(Files):
    def give(self, path):
        asked = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        s = self.server
        if path == "/v1/edges/feed":
            return self.feed(asked)
        if path.startswith("/v1/edges/tenants/"):
            tenant = path.rsplit("/", 1)[1]
            change = s.versions.get((tenant, asked["version"])) if "version" in asked else s.current.get(tenant)
            return self.json(200, change) if change else self.json(404, {})
        return super().give(path)

    def json(self, status, value):
        self.reply(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def feed(self, asked):
        s = self.server
        since = asked.get("since", "")
        if since.startswith("page"):
            return self.snapshot(int(since[4:]))
        if not since:
            return self.snapshot(0)
        if int(since) < s.oldest or int(since) > len(s.history):
            return self.json(410, {})
        end = time.time() + int(asked.get("wait", 0))
        while len(s.history) == int(since) and time.time() < end:
            time.sleep(0.02)
        with s.lock:
            newest = {c["tenant"]: c for c in s.history[int(since):]}
            return self.json(200, {"cursor": str(len(s.history)), "changes": list(newest.values())})

    def snapshot(self, first):
        s = self.server
        with s.lock:
            names = sorted(s.current)
            more = first + s.page < len(names)
            changes = [s.current[n] for n in names[first:first + s.page]]
            return self.json(200, {"cursor": f"page{first + s.page}" if more else str(len(s.history)), "snapshot": True, "more": more,
                                   "changes": changes})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != "Bearer " + self.server.token:
            return self.reply(401)
        if self.path.endswith("/status"):
            self.server.reports.append(json.loads(body))
            return self.reply(204)
        return self.reply(404)
