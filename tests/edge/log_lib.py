"""What the tests of decision logs share: a node that logs, a log service that can be told to fail, events by tenant.

in:  BUILD. out: nothing by itself. owns: the nodes and services it starts."""
import gzip
import json
import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from edge_lib import REGENT, TMP, build, free_port, http, start, started, stop, wait_for

POLICY = """package app

default allow := false

allow if input.user == "ann"

pick := 1 if input.a

pick := 2 if input.b

all := {"allow": allow, "user": input.user}
"""
ENTRYPOINTS = ["app/allow", "app/pick", "app/all"]


class Service:
    """A log service. `script`: what the next requests get, {"status", "headers", "stall"}; then 200."""

    def __init__(self):
        self.events, self.requests, self.script, self.down = [], [], [], False
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with outer.lock:
                    step = outer.script.pop(0) if outer.script else {"status": 503} if outer.down else {}
                if step.get("stall"):
                    time.sleep(step["stall"])
                status = step.get("status", 200)
                batch = json.loads(gzip.decompress(body))
                with outer.lock:
                    outer.requests.append({"path": self.path, "status": status, "bytes": len(body), "n": len(batch), "time": time.time(),
                                           "ids": [e["decision_id"] for e in batch], "headers": {k.lower(): v for k, v in self.headers.items()}})
                    if status == 200:
                        outer.events += batch
                self.send_response(status)
                for name, value in step.get("headers", {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass
        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def got(self, n, seconds=10):
        return wait_for(lambda: len(self.events) >= n, seconds)


class Node:
    """An edge with doors rest, http_authz, ext_authz and metrics; `log`: its decision_log section."""

    def __init__(self, name, log, tenants, more="", wrap=None, **how):
        self.folder, self.file = os.path.join(TMP, name), os.path.join(TMP, name + ".decisions")
        self.rest, self.grpc = free_port(), free_port()
        self.out, self.err = os.path.join(TMP, name + ".out"), os.path.join(TMP, name + ".err")
        for tenant, (files, entrypoints) in tenants.items():
            build(files, entrypoints, f"{self.folder}/tenants/{tenant}/bundle.tar.gz", "-r", "r1")
        self.more = more
        self.configure(log)
        command = [*(wrap or []), REGENT, "edge", "--config", self.config, "--log-format", "json"]
        self.process = start(command, self.err) if how.get("stdout") is None else self.with_stdout(command, how["stdout"])
        if not wait_for(lambda: self.said("ready")):
            raise RuntimeError("the edge does not start: " + open(self.err).read())

    def with_stdout(self, command, stdout):
        process = subprocess.Popen(command, stdout=stdout, stderr=open(self.err, "ab"), stdin=subprocess.DEVNULL)
        started.append(process)
        return process

    def configure(self, log):
        self.config = self.folder + ".yaml"
        with open(self.config, "w") as f:
            f.write(f"tenants: {{directory: {self.folder}, poll: 50ms}}\n"
                    f"listeners:\n  - {{address: '127.0.0.1:{self.rest}', doors: [rest, http_authz, metrics]}}\n"
                    f"  - {{address: '127.0.0.1:{self.grpc}', doors: [ext_authz]}}\n"
                    f"node: {{threads: 1}}\ndecision_log: {log.replace('FILE', self.file)}\n{self.more}")

    def reload(self, log):
        n = len(self.said("configuration read again"))
        self.configure(log)
        self.process.send_signal(signal.SIGHUP)
        return wait_for(lambda: len(self.said("configuration read again")) > n)

    def said(self, message):
        with open(self.err) as f:
            return [line for line in map(json.loads, (l for l in f if l.startswith("{"))) if line.get("msg") == message]

    def ask(self, tenant, path="app/allow", body=None, method="POST", headers=None):
        body = json.dumps({"input": {"user": "ann"}} if body is None else body) if method == "POST" else ""
        status, _, text = http(self.rest, method, f"/v1/data/{path}", body, {"x-tenant-id": tenant, **(headers or {})})
        return status, json.loads(text) if text.startswith(b"{") else text

    def lines(self):
        try:
            with open(self.file, errors="surrogateescape") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def events(self, n, seconds=10):
        """The first n events of the file, as soon as they are there; all after a while when there are fewer."""
        wait_for(lambda: len(self.lines()) >= n, seconds)
        return [json.loads(line) for line in self.lines()]

    def metric(self, name):
        text = http(self.rest, "GET", "/metrics")[2].decode()
        return sum(int(float(line.rsplit(" ", 1)[1])) for line in text.splitlines() if line.startswith("regent_decision_log_" + name))

    def stop(self):
        return stop(self.process)
