#!/usr/bin/env python3
"""The door admin: who may open it, every call and every status; reloads now, under load, and of what is hostile.

in: BUILD. out: TAP. owns: the servers it starts."""
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time

from edge_lib import REGENT, TMP, build, check, equal, finish, free_port, http, parse_reply, raw, start, stop, wait_for

CONFIG = """
tenants: {{directory: "{folder}", poll: {poll}}}
tenant_from: [{{header: {{name: x-tenant-id, trusted: ["127.0.0.1"]}}}}]
listeners:
  - {{name: rest, address: "127.0.0.1:{rest}", doors: [rest, status, health, metrics]}}
  - {{name: admin, address: "127.0.0.1:{admin}", doors: [admin, health]}}
  - {{name: some, address: "127.0.0.1:{some}", doors: [admin], tenants: ["acme", "t-*"]}}
  - {{name: socket, address: "unix:{base}/admin.sock", doors: [admin]}}
  - {{name: tls, address: "127.0.0.1:{tls}", doors: [admin], tls: {{certificate: {base}/server.crt, key: {base}/server.key, client_ca: {base}/ca.crt, require_client_certificate: false}}}}
admin: {{tokens_file: {base}/tokens, certificates: ["spiffe://example.com/ops"]}}
store: {{directory: {base}/store, keep: 5}}
log: {{level: debug, format: json}}
"""


def policy(value):
    return {"p.rego": f"package t\nimport rego.v1\nanswer := {json.dumps(value)}\n"}


def token(base, name, *scopes):
    done = subprocess.run([REGENT, "token", name, *scopes, "--file", base + "/tokens"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class Node:
    def __init__(self, name, poll="1h"):
        self.base = f"{TMP}/{name}"
        self.folder = self.base + "/node"
        os.makedirs(self.folder + "/tenants")
        self.ports = {p: free_port() for p in ("rest", "admin", "some", "tls")}
        self.tokens = {n: token(self.base, n, *scopes) for n, scopes in (
            ("ops", ()), ("reader", ("read",)), ("acme-ci", ("reload", "read", "tenant:acme")), ("roller", ("rollback", "pin", "reload")))}
        authority(self.base)
        for tenant in ("acme", "globex"):
            self.put(tenant, "v1")
        with open(self.base + "/edge.yaml", "w") as f:
            f.write(CONFIG.format(folder=self.folder, base=self.base, poll=poll, **self.ports))
        self.log = self.base + "/log"
        self.process = start([REGENT, "edge", "--config", self.base + "/edge.yaml"], self.log)
        if not wait_for(lambda: self.logged("ready"), 30):
            raise RuntimeError("the node does not start: " + open(self.log).read())

    def put(self, tenant, value):
        build(policy(value), ["t/answer"], f"{self.folder}/tenants/{tenant}/bundle.tar.gz", "-r", value)

    def logged(self, message):
        return [l for l in (json.loads(x) for x in open(self.log) if x.startswith("{")) if l["msg"] == message]

    def call(self, method, path, body=None, who="ops", port="admin"):
        """(status, body) of a call; who: a name of self.tokens, a token as it is sent, or None."""
        headers = {"Authorization": f"Bearer {self.tokens.get(who, who)}"} if who else {}
        text = body if isinstance(body, (str, bytes)) else "" if body is None else json.dumps(body)
        status, _, reply = http(self.ports[port], method, path, text, headers)
        return status, json.loads(reply) if reply else None

    def reload(self, tenant, version=None, **more):
        return self.call("POST", "/v1/policies/reload", {"tenant_id": tenant, **({"version": version} if version else {})}, **more)

    def answer(self, tenant):
        status, _, body = http(self.ports["rest"], "POST", "/v1/data/t/answer", "{}", {"x-tenant-id": tenant})
        return json.loads(body).get("result", status)


def authority(base):
    """A CA with certificates of the server, an administrator and somebody else."""
    def run(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("req", "-x509", *key, "-subj", "/CN=ca", "-days", "2", "-keyout", base + "/ca.key", "-out", base + "/ca.crt")
    for name, alt in (("server", "IP:127.0.0.1"), ("ops", "URI:spiffe://example.com/ops"), ("other", "URI:spiffe://example.com/ops2")):
        with open(f"{base}/{name}.ext", "w") as f:
            f.write(f"subjectAltName={alt}\n")
        run("req", *key, "-subj", f"/CN={name}", "-keyout", f"{base}/{name}.key", "-out", f"{base}/{name}.csr")
        run("x509", "-req", "-in", f"{base}/{name}.csr", "-CA", base + "/ca.crt", "-CAkey", base + "/ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{base}/{name}.ext", "-out", f"{base}/{name}.crt")


# ---- calls ----
def reloads(node):
    equal("what the folder has", node.answer("acme"), "v1")
    node.put("acme", "v2")
    equal("is not looked at by itself here", node.answer("acme"), "v1")
    began = time.monotonic()
    status, reply = node.reload("acme")
    took = time.monotonic() - began
    equal("reload", (status, reply["tenant_id"], reply["version"], reply["revision"], reply["state"], reply["from"]), (200, "acme", "v2", "v2", "active", "folder"))
    check("with the module's SHA-256", re.fullmatch("[0-9a-f]{64}", reply["sha256"]), reply)
    equal("answers at once", node.answer("acme"), "v2")
    check("quickly", took < 10, took)
    print(f"# reload call: {took * 1000:.1f} ms")
    equal("again", (node.reload("acme")[0], node.reload("acme")[1]["state"]), (200, "unchanged"))
    equal("by its version", node.reload("acme", "v2")[0], 200)
    status, reply = node.reload("acme", "v9")
    equal("a version that is not there yet", (status, reply["code"]), (409, "resource_conflict"))
    equal("an unknown tenant", node.reload("nobody"), (404, {"code": "resource_not_found", "message": "no source has this tenant"}))
    equal("nor does asking make one", node.call("GET", "/v1/policies/nobody")[0], 404)
    with open(f"{node.folder}/tenants/acme/bundle.tar.gz", "wb") as f:
        f.write(b"no bundle")
    status, reply = node.reload("acme")
    equal("what cannot be loaded", (status, reply["code"]), (422, "policy_refused"))
    check("with its reason", len(reply["message"]) > 5, reply)
    equal("the version before serves on", node.answer("acme"), "v2")
    status, reply = node.call("GET", "/v1/policies/acme")
    equal("its status tells", (status, reply["version"], reply["serving"], "message" in reply["error"]), (200, "v2", True, True))
    node.put("new", "n1")
    equal("a new tenant", (node.reload("new")[0], node.answer("new")), (200, "n1"))
    node.put("acme", "v3")
    equal("and on", (node.reload("acme")[1]["version"], node.answer("acme"), node.answer("globex")), ("v3", "v3", "v1"))


def lists(node):
    for i in range(12):
        node.put(f"t-{i:02}", "x")
        node.reload(f"t-{i:02}")
    status, reply = node.call("GET", "/v1/policies")
    ids = [p["tenant_id"] for p in reply["policies"]]
    check("all tenants, in order", status == 200 and ids == sorted(ids) and "acme" in ids and len(ids) >= 14, ids)
    got, after = [], ""
    for _ in range(20):
        status, reply = node.call("GET", f"/v1/policies?limit=5&after={after}")
        got += [p["tenant_id"] for p in reply["policies"]]
        after = reply.get("next", "")
        if not after:
            break
    equal("by pages", got, ids)
    equal("what a token may not speak of is not listed", [p["tenant_id"] for p in node.call("GET", "/v1/policies", who="acme-ci")[1]["policies"]], ["acme"])
    equal("nor what the listener is not for", {p["tenant_id"][:2] for p in node.call("GET", "/v1/policies", port="some")[1]["policies"]}, {"ac", "t-"})
    equal("wrong parameters", [node.call("GET", "/v1/policies?" + q)[0] for q in ("limit=0", "limit=1001", "limit=x", "limit=-1", "page=2", "after=%zz", "limit=99999999999999999999")], [400] * 7)
    equal("HEAD", parse_reply(raw(node.ports["admin"], f"HEAD /v1/policies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {node.tokens['ops']}\r\nConnection: close\r\n\r\n".encode()))[0], 200)


def versions(node):
    """Back to kept versions, and held at one. The node keeps them in its store."""
    for v in ("p1", "p2", "p3"):
        node.put("pinned", v)
        node.reload("pinned")
    back = lambda body=None, **more: node.call("POST", "/v1/policies/pinned/rollback", body, **more)  # noqa: E731
    status, reply = back()
    equal("rollback", (status, reply.get("version"), node.answer("pinned")), (200, "p2", "p2"))
    status, reply = node.call("GET", "/v1/policies/pinned")
    equal("what is kept", (status, reply["version"], sorted(k["version"] for k in reply["kept"]), [k["version"] for k in reply["kept"] if k.get("active")]), (200, "p2", ["p1", "p2", "p3"], ["p2"]))
    equal("what was taken back is refused", (node.reload("pinned")[0], node.answer("pinned")), (422, "p2"))
    equal("but for an operator", (node.call("POST", "/v1/policies/reload", {"tenant_id": "pinned", "at_once": True})[0], node.answer("pinned")), (200, "p3"))
    status, reply = back({"version": "p1"})
    equal("rollback to any kept version", (status, reply.get("version"), node.answer("pinned")), (200, "p1", "p1"))
    equal("to one that is not kept", back({"version": "p9"})[0], 404)
    equal("of an unknown tenant", node.call("POST", "/v1/policies/nobody/rollback")[0], 404)
    status, reply = node.call("POST", "/v1/policies/pinned/pin", {"version": "p2"})
    equal("pin", (status, reply.get("version"), node.answer("pinned")), (200, "p2", "p2"))
    node.put("pinned", "p4")
    status, reply = node.reload("pinned")
    equal("a pinned tenant stays", (status, reply["state"], reply["version"], reply["offered"], node.answer("pinned")), (200, "pinned", "p2", "p4", "p2"))
    equal("its status says so", node.call("GET", "/v1/policies/pinned")[1].get("pinned"), "p2")
    equal("to a version that is not kept", node.call("POST", "/v1/policies/pinned/pin", {"version": "p9"})[0], 404)
    equal("pin wants a version", [node.call("POST", "/v1/policies/pinned/pin", b)[0] for b in (None, {}, {"version": 1})], [400] * 3)
    status, reply = node.call("DELETE", "/v1/policies/pinned/pin")
    equal("let go: what came meanwhile serves", (status, reply.get("version"), node.answer("pinned")), (200, "p4", "p4"))
    equal("no pin any more", "pinned" in node.call("GET", "/v1/policies/pinned")[1], False)


# ---- who ----
def rights(node):
    equal("no token", node.call("GET", "/v1/policies", who=None), (401, {"code": "unauthorized", "message": "this needs a token: Authorization: Bearer TOKEN"}))
    equal("an unknown one", node.call("GET", "/v1/policies", who="x" * 40)[0], 401)
    equal("the hash itself is no token", node.call("GET", "/v1/policies", who=re.search("sha256:([0-9a-f]+)", open(node.base + "/tokens").read()).group(1))[0], 401)
    equal("another scheme", http(node.ports["admin"], "GET", "/v1/policies", "", {"Authorization": "Basic " + node.tokens["ops"]})[0], 401)
    equal("the scheme in other letters", http(node.ports["admin"], "GET", "/v1/policies", "", {"authorization": "BEARER " + node.tokens["ops"]})[0], 200)
    equal("a reader reads", node.call("GET", "/v1/policies/acme", who="reader")[0], 200)
    equal("and no more", [node.reload("acme", who="reader"), node.call("POST", "/v1/policies/acme/rollback", who="reader"), node.call("POST", "/v1/policies/acme/pin", {"version": "v1"}, who="reader"),
                          node.call("DELETE", "/v1/policies/acme/pin", who="reader")], [(403, {"code": "forbidden", "message": "this token may not do this"})] * 4)
    equal("one tenant's token", [node.reload("acme", who="acme-ci")[0], node.reload("globex", who="acme-ci")[0], node.reload("nobody", who="acme-ci")[0], node.call("GET", "/v1/policies/globex", who="acme-ci")[0]], [200, 403, 403, 403])
    equal("older versions, and those without a trial, are for who may roll back", [node.call("POST", "/v1/policies/reload", {"tenant_id": "acme", how: True}, who=who)[0] for how in ("allow_older", "at_once")
                                                                                   for who in ("acme-ci", "roller")], [403, 200, 403, 200])
    equal("a listener's tenants", [node.reload("acme", port="some")[0], node.reload("globex", port="some")[0]], [200, 403])
    equal("other doors are not here", [http(node.ports["admin"], "POST", p, "{}", {"Authorization": "Bearer " + node.tokens["ops"]})[0] for p in ("/v1/data/t/answer", "/metrics", "/")], [404, 404, 404])
    equal("but health", http(node.ports["admin"], "GET", "/health")[0], 200)
    equal("and this door is not elsewhere", node.call("POST", "/v1/policies/reload", {"tenant_id": "acme"}, port="rest")[0] in (404, 405, 400), True)
    check("the log names who did what, by the token's name", [l for l in node.logged("administration") if l["action"] == "reload" and l["by"] == "acme-ci" and l["tenant_id"] == "acme" and l["status"] == "200"])
    log = open(node.log).read()
    check("and never the token", not any(t in log for t in node.tokens.values()))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(node.base + "/admin.sock")
        s.sendall(f"GET /v1/policies/acme HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {node.tokens['reader']}\r\nConnection: close\r\n\r\n".encode())
        s.settimeout(5)
        equal("over a Unix socket", s.recv(12), b"HTTP/1.1 200")


def certificates(node):
    def status(name, headers=""):
        context = ssl.create_default_context(cafile=node.base + "/ca.crt")
        if name:
            context.load_cert_chain(f"{node.base}/{name}.crt", f"{node.base}/{name}.key")
        with socket.create_connection(("127.0.0.1", node.ports["tls"]), timeout=5) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as s:
            s.sendall(f"GET /v1/policies/acme HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n".encode())
            return int(s.recv(4096).split()[1])
    equal("a certificate that is named", status("ops"), 200)
    equal("one that is not", status("other"), 401)
    equal("none", status(None), 401)
    equal("a token will do too", status(None, f"Authorization: Bearer {node.tokens['reader']}\r\n"), 200)


def guesses(node):
    got = [node.call("GET", "/v1/policies", who=f"guess-{i}")[0] for i in range(14)]
    check("who guesses has to wait", got[0] == 401 and got[-1] == 429 and got == sorted(got), got)
    head = raw(node.ports["admin"], f"GET /v1/policies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {node.tokens['ops']}\r\nConnection: close\r\n\r\n".encode())
    wait = re.search(rb"retry-after: (\d+)", head.lower())
    check("for as long as it says, also with the right one", b" 429 " in head[:20] and wait and 1 <= int(wait.group(1)) <= 7, head)
    check("and not for ever", wait_for(lambda: node.call("GET", "/v1/policies")[0] == 200, 15))
    check("failures are logged with their address", [l for l in node.logged("login failed") if l["address"] == "127.0.0.1"])


# ---- what is hostile ----
def hostile(node):
    bodies = ["", "{", "[]", "null", "1", '"acme"', "{}", '{"tenant_id":1}', '{"tenant_id":""}', '{"tenant_id":"../acme"}', '{"tenant_id":"a/b"}', '{"tenant_id":".x"}', '{"tenant_id":"a\\u0000b"}',
              '{"tenant_id":"acme","version":1}', '{"tenant_id":"acme","version":""}', '{"tenant_id":"acme","version":"%s"}' % ("v" * 129), '{"tenant_id":"acme","versoin":"v1"}', '{"tenant_id":"acme","at_once":1}',
              '{"tenant_id":"%s"}' % ("a" * 128), "[" * 20000, '{"tenant_id":"acme"} x', b"\xff\xfe", "{" + '"a":' * 5000]
    got = [node.call("POST", "/v1/policies/reload", b)[0] for b in bodies]
    check("bodies that are none", got == [400] * len(bodies), list(zip(got, bodies)))
    equal("a large one", node.call("POST", "/v1/policies/reload", '{"tenant_id":"' + "a" * 70000 + '"}')[0], 413)
    paths = ["/v1/policies/a%2fb", "/v1/policies/..%2f..%2fetc", "/v1/policies/%2e%2e", "/v1/policies/%00", "/v1/policies/%zz", "/v1/policies/" + "a" * 128, "/v1/policies/.hidden"]
    equal("paths that name no tenant", [node.call("GET", p)[0] for p in paths], [400] * len(paths))
    others = ["/v1/policies/", "/v1/policies//", "/v1/policies/a/b", "/v1/policies/acme/rollback/x", "/v1/policies/a/b/pin", "/v1/policies//pin"]
    equal("paths that are none", [node.call("GET", p)[0] for p in others], [404] * len(others))
    equal("methods", [node.call(m, p)[0] for m, p in (("DELETE", "/v1/policies"), ("PUT", "/v1/policies/acme"), ("GET", "/v1/policies/acme/pin"), ("PATCH", "/v1/policies/reload"), ("GET", "/v1/policies/acme/rollback"))], [405] * 5)
    check("the folder is as it was", not os.path.exists("/etc/passwd.new") and node.answer("acme") == "v3")


# ---- many at once ----
def storm(node):
    """A hundred reloads at once while others are asked: some may be told to come again, none does harm."""
    stop_asking, wrong, statuses = threading.Event(), [], []

    def ask():
        while not stop_asking.is_set():
            for tenant, fine in (("globex", ("v1",)), ("acme", ("v3", "v4"))):
                got = node.answer(tenant)
                if got not in fine:
                    wrong.append((tenant, got))
    askers = [threading.Thread(target=ask) for _ in range(2)]
    node.put("acme", "v4")
    for t in askers:
        t.start()
    callers = [threading.Thread(target=lambda i=i: statuses.append(node.reload("acme" if i % 2 else f"t-{i % 12:02}")[0])) for i in range(100)]
    for t in callers:
        t.start()
    for t in callers:
        t.join(30)
    stop_asking.set()
    for t in askers:
        t.join(30)
    check("a hundred reloads at once", len(statuses) == 100 and set(statuses) <= {200, 503} and statuses.count(200) >= 50, {s: statuses.count(s) for s in set(statuses)})
    equal("no wrong answer meanwhile", wrong[:5], [])
    equal("the last version answers", (node.reload("acme")[0], node.answer("acme")), (200, "v4"))


def configuration():
    base = TMP + "/config-admin"
    os.makedirs(base)

    def problems(admin, doors="[admin]", tokens="ops sha256:" + "0" * 64, mode=0o600):
        with open(base + "/tokens", "w") as f:
            f.write(tokens + "\n")
        os.chmod(base + "/tokens", mode)
        with open(base + "/edge.yaml", "w") as f:
            f.write(f"tenants: {{directory: {base}}}\nlisteners: [{{address: '127.0.0.1:1', doors: {doors}}}]\n{admin}\n")
        done = subprocess.run([REGENT, "edge", "--check", "--config", base + "/edge.yaml"], capture_output=True, text=True)
        return done.stdout + done.stderr
    file = f"admin: {{tokens_file: {base}/tokens}}"
    equal("a file of tokens", problems(file), "")
    check("nobody could come in", "nobody could open the door `admin`" in problems(""))
    check("certificates need TLS", "needs tls.client_ca" in problems('admin: {certificates: ["CN=x"]}'))
    check("no decisions beside it", "listener without doors that decide" in problems(file, "[admin, rest]"))
    check("mistakes have their line", f"{base}/tokens:2:1: config_error: no such scope" in problems(file, tokens="# ours\nops sha256:" + "0" * 64 + " all"), problems(file, tokens="# ours\nops sha256:" + "0" * 64 + " all"))
    check("others may not write into it", "may write into" in problems(file, mode=0o620))
    check("names of certificates", "want a URI" in problems('admin: {tokens_file: %s/tokens, certificates: ["ops"]}' % base))


def tokens_command():
    done = subprocess.run([REGENT, "token", "ci", "reload", "tenant:acme"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    check("regent token prints the token and its line", len(lines) == 2 and lines[0].startswith("rgnt_") and re.fullmatch("ci sha256:[0-9a-f]{64} reload tenant:acme", lines[1]), done.stdout + done.stderr)
    done = subprocess.run([REGENT, "token", "own", "--stdin"], input="secret\n", capture_output=True, text=True)
    equal("of one's own token only the line", done.stdout, "own sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\n")
    equal("wrong scopes and names", [subprocess.run([REGENT, "token", *a], capture_output=True).returncode for a in ([], ["a:b"], ["a", "write"], ["a", "tenant:a/b"])], [1] * 4)


configuration()
tokens_command()
main = Node("main")
for part in (reloads, lists, versions, rights, certificates, hostile, storm, guesses):
    part(main)
equal("it ends well", stop(main.process), 0)
finish()
