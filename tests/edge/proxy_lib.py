"""What the tests of real proxies share: the files of docs/envoy.md, a node on one of them, an upstream that tells what reached it.

in: docs/envoy.md. out: files below TMP. owns: nothing but the processes that edge_lib ends."""
import http.client
import json
import os
import re
import threading
from http import server as http_server

from edge_lib import REGENT, ROOT, TMP, build, free_port, start, stop, wait_for


def doc_files(name="docs/envoy.md"):
    """{file name: text} of the marked blocks of a document."""
    text = open(os.path.join(ROOT, name), encoding="utf-8").read()
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```", text, re.S))


def moved(text, ports):
    """A documented file with its ports and folders replaced: {9191: 40123, …}."""
    for old, new in ports.items():
        text = re.sub(rf"(?<!\d){old}(?!\d)", str(new), text) if isinstance(old, int) else text.replace(old, new)
    return text


class Node:
    """A `regent edge` with a configuration file. `ports` are of the document: 9191 and 8181."""

    def __init__(self, config, policies, name="node"):
        self.folder = os.path.join(TMP, name)
        self.ports = {9191: free_port(), 8181: free_port(), "/var/lib/regent": self.folder}
        for tenant, (text, entrypoint) in policies.items():
            build({"policy.rego": text}, [entrypoint], f"{self.folder}/tenants/{tenant}/bundle.tar.gz")
        self.config = os.path.join(TMP, name + ".yaml")
        with open(self.config, "w") as f:
            f.write(moved(config, self.ports) if isinstance(config, str) else json.dumps(config(self.ports)))
        self.log = os.path.join(TMP, name + ".log")
        self.start()

    def start(self):
        before = self.ready()
        self.process = start([REGENT, "edge", "--config", self.config, "--log-format", "json"], self.log)
        if not wait_for(lambda: self.ready() > before):
            raise RuntimeError("the node does not start: " + open(self.log).read())

    def ready(self):
        return len([l for l in open(self.log) if '"msg":"ready"' in l]) if os.path.exists(self.log) else 0

    def lines(self):
        return [json.loads(l) for l in open(self.log) if l.startswith("{")]

    def reasons(self):
        return [l["reason"] for l in self.lines() if l["msg"] == "denied"]

    def stop(self):
        stop(self.process)


class Upstream(http_server.BaseHTTPRequestHandler):
    """Answers with what it was asked."""
    protocol_version = "HTTP/1.1"

    def answer(self):
        n = int(self.headers.get("content-length", 0))
        body = json.dumps({"method": self.command, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()},
                           "body": self.rfile.read(n).decode("latin-1")}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = answer

    def log_message(self, *_):
        pass


def start_upstream():
    server = http_server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


class Reply:
    def __init__(self, response):
        self.status, self.headers = response.status, {k.lower(): v for k, v in response.getheaders()}
        self.body = response.read()

    def upstream(self):
        """What the upstream saw, or {} when the reply is not its."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


def ask(port, method="GET", path="/", headers=(), body=None, host="shop.example.com"):
    """One request on a connection of its own; the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host)
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    reply = Reply(connection.getresponse())
    connection.close()
    return reply
