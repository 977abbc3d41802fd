"""What the tests of sources share: servers on loopback that hold files, count what they are asked, and fail as they are told; bundles; a node
on a configuration.

in:  BUILD. out: nothing. owns: the servers' threads."""
import hashlib
import hmac
from http import server as servers
import json
import os
import threading
import time
import urllib.parse

from edge_lib import BUILD, REGENT, TMP, Edge, build, free_port, http, start, wait_for

POLICY = """package t

default allow := false

allow if input.user == "%s"

who := "%s"
"""


class Server(servers.ThreadingHTTPServer):
    """Serves self.files {path: bytes} with ETags. self.faults {path: function(handler) -> bool} answer instead."""
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, handler=None, tls=None):
        super().__init__(("127.0.0.1", 0), handler or Files)
        self.files, self.headers, self.faults, self.asked, self.lock = {}, {}, {}, [], threading.RLock()
        self.token = self.type = None
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass

    def count(self, path=None, status=None):
        with self.lock:
            return len([1 for p, s, _ in self.asked if (path is None or p == path) and (status is None or s == status)])

    def last(self, path):
        """Headers of the last request for it."""
        with self.lock:
            return [h for p, _, h in self.asked if p == path][-1]

    def stop(self):
        self.shutdown()
        self.server_close()


class Files(servers.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def note(self, status):
        with self.server.lock:
            self.server.asked.append((self.path, status, {k.lower(): v for k, v in self.headers.items()}))

    def reply(self, status, body=b"", headers=None):
        self.note(status)
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 304:
            self.wfile.write(body)

    def do_GET(self):
        s = self.server
        path = urllib.parse.unquote(self.path.split("?")[0])
        if s.token and self.headers.get("Authorization") != "Bearer " + s.token:
            return self.reply(401)
        fault = s.faults.get(path) or s.faults.get("*")
        if fault and fault(self):
            return None
        return self.give(path)

    def give(self, path):
        s = self.server
        with s.lock:
            body = s.files.get(path)
        if body is None:
            return self.reply(404, b"not here")
        tag = '"' + hashlib.sha256(body).hexdigest()[:16] + '"'
        headers = {"ETag": tag, **s.headers.get(path, {})}
        if s.type:
            headers["Content-Type"] = s.type
        if self.headers.get("If-None-Match") == tag:
            return self.reply(304, headers=headers)
        return self.reply(200, body, headers)


class LongPoll(Files):
    """OPA's bundle protocol: holds a request whose ETag is the current one."""

    def give(self, path):
        wait = [int(p.split("=")[1]) for p in self.headers.get("Prefer", "").split(";") if p.strip().startswith("wait=")]
        end = time.time() + (wait[0] if wait and self.headers.get("If-None-Match") else 0)
        while time.time() < end:
            body = self.server.files.get(path, b"")
            if self.headers.get("If-None-Match") != '"' + hashlib.sha256(body).hexdigest()[:16] + '"':
                break
            time.sleep(0.02)
        return super().give(path)


class S3(Files):
    """An S3 server of one bucket, "policies", which checks signatures (SigV4) by its own computation; lists 2 tenants a page."""
    KEY, SECRET, REGION, SESSION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1", ""

    def signed(self):
        fields = dict(part.strip().split("=", 1) for part in self.headers.get("Authorization", "").removeprefix("AWS4-HMAC-SHA256").split(",")
                      if "=" in part)
        names = fields.get("SignedHeaders", "").split(";")
        day = fields.get("Credential", "////").split("/")[1]
        path, _, query = self.path.partition("?")
        query = "&".join(sorted(query.split("&"))) if query else ""
        canonical = "\n".join([self.command, path, query, *[f"{n}:{(self.headers.get(n) or '').strip()}" for n in names], "", ";".join(names),
                               self.headers.get("x-amz-content-sha256", hashlib.sha256(b"").hexdigest())])
        scope = f"{day}/{self.REGION}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers.get("x-amz-date", ""), scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + self.SECRET).encode()
        for part in (day, self.REGION, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        good = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return (fields.get("Signature") == good and fields.get("Credential") == f"{self.KEY}/{scope}" and "host" in names
                and (self.headers.get("x-amz-security-token") or "") == self.SESSION)

    def do_GET(self):
        if not self.signed():
            return self.reply(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        path, _, query = self.path.partition("?")
        if path == "/policies/" and query:
            return self.list(dict(urllib.parse.parse_qsl(query)))
        return self.give(urllib.parse.unquote(path))

    def list(self, asked):
        prefix = "/policies/" + asked["prefix"]
        names = sorted({p[len(prefix):].split("/")[0] for p in self.server.files if p.startswith(prefix)})
        first = int(asked.get("continuation-token", "page 0")[5:])
        page = names[first:first + 2]
        more = first + 2 < len(names)
        body = "<?xml version=\"1.0\"?><ListBucketResult>" + "".join(
            f"<CommonPrefixes><Prefix>{urllib.parse.quote(asked['prefix'] + n + '/')}</Prefix></CommonPrefixes>" for n in page)
        body += f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
        body += f"<NextContinuationToken>page {first + 2}</NextContinuationToken>" if more else ""
        return self.reply(200, (body + "</ListBucketResult>").encode())


def bundle(user, version, **manifest):
    """bundle.tar.gz whose policy allows `user`; t/who is `version`. Built once."""
    out = f"{TMP}/bundles/{user}-{version}-{abs(hash(json.dumps(manifest)))}.tar.gz"
    if not os.path.exists(out):
        build({"policy.rego": POLICY % (user, version), ".manifest": json.dumps({"revision": version, "roots": ["t"], **manifest})},
              ["t/allow", "t/who"], out)
    with open(out, "rb") as f:
        return f.read()


def sourced(name, sources, more="", tenants="", grpc="ext_authz"):
    """A node that lives by sources, not started."""
    edge = Edge(name=name)
    edge.config = os.path.join(TMP, name + ".yaml")
    edge.write = lambda s, m=more: open(edge.config, "w").write(
        f"{tenants}\nlog: {{format: json}}\nsources: {json.dumps(s)}\n{m}\n"
        f"listeners:\n  - {{name: rest, address: '127.0.0.1:{edge.rest}', doors: [rest, health, metrics, status]}}\n"
        f"  - {{name: grpc, address: '127.0.0.1:{edge.grpc}', doors: [{grpc}]}}\n")
    edge.write(sources)

    def begin(env=None, wait=True):
        environment = {**os.environ, **(env or {})}
        edge.process = start(["env", *[f"{k}={v}" for k, v in (env or {}).items()], REGENT, "edge", "--config", edge.config], edge.log)
        if wait and not wait_for(lambda: edge.logged("ready"), 20):
            raise RuntimeError("the edge does not start: " + open(edge.log).read())
        return edge
    edge.begin = begin
    return edge


def who(edge, tenant):
    """The version that answers, "" for undefined, or the status."""
    status, _, body = http(edge.rest, "POST", "/v1/data/t/who", "{}", {"x-tenant-id": tenant})
    return json.loads(body).get("result", "") if status == 200 else status


def becomes(edge, tenant, version, seconds=10):
    return wait_for(lambda: who(edge, tenant) == version, seconds)
