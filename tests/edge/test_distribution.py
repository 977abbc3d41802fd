#!/usr/bin/env python3
"""The door distribution: files of the versions that serve, conditions, who may read; one edge that feeds another.

in: BUILD. out: TAP. owns: the servers it starts."""
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import threading
import time

from edge_lib import REGENT, TMP, build, check, equal, finish, free_port, http, raw, start, stop, wait_for

CONFIG = """
tenants: {{directory: "{folder}", poll: {poll}}}
tenant_from: [{{header: {{name: x-tenant-id, trusted: ["127.0.0.1"]}}}}]
{store}
listeners:
  - {{name: rest, address: "127.0.0.1:{rest}", doors: [rest, health]}}
  - {{name: files, address: "127.0.0.1:{files}", doors: [distribution]}}
  - {{name: some, address: "127.0.0.1:{some}", doors: [distribution], tenants: ["a*"]}}
{more}
log: {{level: info, format: json}}
"""
NEIGHBOUR = """
tenants: {{directory: "{folder}"}}
tenant_from: [{{header: {{name: x-tenant-id, trusted: ["127.0.0.1"]}}}}]
sources:
  - {{name: first, http: {{base: "http://127.0.0.1:{of}"{form}}}, discover: true, poll: {poll}{token}}}
listeners:
  - {{name: rest, address: "127.0.0.1:{rest}", doors: [rest, health]}}
  - {{name: admin, address: "127.0.0.1:{admin}", doors: [admin]}}
admin: {{tokens_file: {base}/tokens}}
log: {{level: info, format: json}}
"""


def policy(value):
    return {"p.rego": f"package t\nimport rego.v1\nanswer := [{json.dumps(value)}, data.more]\n", "data.json": json.dumps({"more": value + value})}


class Node:
    def __init__(self, name, config, **fields):
        self.base = f"{TMP}/{name}"
        self.folder = self.base + "/node"
        os.makedirs(self.folder + "/tenants", exist_ok=True)
        self.ports = {p: free_port() for p in ("rest", "files", "some", "admin")}
        self.config, self.fields, self.n = config, fields, 0

    def token(self, name, *scopes):
        return subprocess.run([REGENT, "token", name, *scopes, "--file", self.base + "/tokens"], capture_output=True, text=True, check=True).stdout.strip()

    def start(self):
        with open(self.base + "/edge.yaml", "w") as f:
            f.write(self.config.format(folder=self.folder, base=self.base, **self.ports, **self.fields))
        self.n += 1
        self.log = f"{self.base}/log{self.n}"
        self.process = start([REGENT, "edge", "--config", self.base + "/edge.yaml"], self.log)
        if not wait_for(lambda: '"ready"' in open(self.log).read(), 30):
            raise RuntimeError("the node does not start: " + open(self.log).read())
        return self

    def put(self, tenant, value):
        build(policy(value), ["t/answer"], f"{self.folder}/tenants/{tenant}/bundle.tar.gz", "-r", value)

    def answer(self, tenant):
        status, _, body = http(self.ports["rest"], "POST", "/v1/data/t/answer", "{}", {"x-tenant-id": tenant})
        return json.loads(body).get("result", [status])[0]

    def get(self, path, port="files", method="GET", **headers):
        """(status, headers, body)"""
        sent = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
        reply = raw(self.ports[port], f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{sent}\r\n".encode(), half_close=False)
        head, _, body = reply.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        return int(lines[0].split()[1]), {k.lower(): v.strip() for k, _, v in (l.partition(":") for l in lines[1:])}, body


def files_of(bundle):
    with tarfile.open(fileobj=io.BytesIO(bundle)) as t:
        return {m.name.lstrip("/"): t.extractfile(m).read() for m in t.getmembers() if m.isfile()}


def files(node, kept):
    """kept: the node has a store, so that it serves what is active and not what the folder holds."""
    with open(f"{node.folder}/tenants/acme/bundle.tar.gz", "rb") as f:
        inside = files_of(f.read())
    status, head, module = node.get("/policies/acme")
    sum_ = hashlib.sha256(module).hexdigest()
    equal("the module", (status, head["content-type"], module == inside["policy.wasm"]), (200, "application/wasm", True))
    equal("its ETag is its SHA-256", head["etag"], f'"{sum_}"')
    equal("its version", head["x-regent-version"], "v1")
    equal("HEAD has the same head and no body", [(s, h.get("etag"), h.get("content-length"), b) for s, h, b in [node.get("/policies/acme", method="HEAD")]],
          [(200, f'"{sum_}"', str(len(module)), b"")])
    for tag in (f'"{sum_}"', f'W/"{sum_}"', f'"x", "{sum_}"', "*"):
        status, head, body = node.get("/policies/acme", If_None_Match=tag)
        equal(f"nothing new for {tag[:12]}", (status, head["etag"], body), (304, f'"{sum_}"', b""))
    equal("another tag", node.get("/policies/acme", If_None_Match='"x"')[0], 200)
    equal("its sum", node.get("/policies/acme.sha256")[2], f"{sum_}  policy.wasm\n".encode())
    equal("as a source has it", [node.get("/tenants/acme/" + p)[2] for p in ("policy.wasm", "policy.wasm.sha256")], [module, f"{sum_}  policy.wasm\n".encode()])
    equal("data", json.loads(node.get("/tenants/acme/data.json")[2]), {"more": "v1v1"})
    status, head, bundle = node.get("/tenants/acme/bundle.tar.gz")
    equal("the bundle", (status, head["content-type"], files_of(bundle)["policy.wasm"] == module), (200, "application/gzip", True))
    equal("its sum too", node.get("/tenants/acme/bundle.tar.gz.sha256")[2].split()[0].decode(), hashlib.sha256(bundle).hexdigest())
    equal("nothing new", node.get("/tenants/acme/bundle.tar.gz", If_None_Match=head["etag"])[0], 304)
    status, head, index = node.get("/tenants/index.json")
    equal("the list", (status, json.loads(index)), (200, ["acme", "globex", "odd.sha256"]))
    equal("nothing new of it", node.get("/tenants/index.json", If_None_Match=head["etag"])[0], 304)
    equal("a tenant that is called like a sum", node.get("/policies/odd.sha256")[1]["content-type"], "application/wasm")
    equal("unknown tenants, broken ones, files that are none", [node.get(p)[0] for p in ("/policies/nobody", "/policies/broken", "/tenants/nobody/policy.wasm", "/tenants/acme/.manifest", "/tenants/acme/",
                                                                                         "/tenants/acme", "/policies/", "/policies/a/b", "/tenants/../index.json", "/nope")], [404] * 10)
    equal("paths that name no tenant", [node.get(p)[0] for p in ("/policies/..%2fx", "/policies/%00", "/policies/%zz", "/tenants/%2e%2e/policy.wasm")], [400] * 4)
    equal("nothing is written here", [node.get("/policies/acme", method=m)[0] for m in ("POST", "PUT", "DELETE")], [405] * 3)
    equal("a listener's tenants", ([node.get(p, port="some")[0] for p in ("/policies/acme", "/policies/globex")], json.loads(node.get("/tenants/index.json", port="some")[2])), ([200, 403], ["acme"]))
    equal("other doors are elsewhere", (node.get("/v1/data/t/answer")[0], node.get("/policies/acme", port="rest")[0]), (404, 404))
    node.put("acme", "v2")  # the folder is not looked at: v1 serves on
    got = node.get("/policies/acme")
    if kept:
        equal("what serves is given, whatever lies in the folder", (got[0], got[2] == module), (200, True))
    else:
        equal("what serves is not there any more: nothing else is given for it", (got[0], got[1].get("retry-after")), (503, "1"))


def tokens():
    node = Node("tokens", CONFIG, poll="1h", store="", more="distribution: {tokens_file: %s/tokens/tokens}" % TMP)
    reader, other = node.token("reader", "distribute", "tenant:acme"), node.token("other", "read")
    for tenant in ("acme", "globex"):
        node.put(tenant, "v1")
    node.start()
    ask = lambda path, token: node.get(path, **({"Authorization": "Bearer " + token} if token else {}))  # noqa: E731
    equal("with tokens", [ask("/policies/acme", t)[0] for t in (None, "x", other, reader)], [401, 401, 403, 200])
    equal("of one tenant", (ask("/policies/globex", reader)[0], json.loads(ask("/tenants/index.json", reader)[2])), (403, ["acme"]))
    stop(node.process)


def feeding(form):
    first = Node("first" + form, CONFIG, poll="50ms", store="", more="")
    for tenant in ("acme", "globex"):
        first.put(tenant, "v1")
    first.start()
    second = Node("second" + form, NEIGHBOUR, of=first.ports["files"], poll="1h", token="", form=", file: module" if form == "module" else "")
    token = second.token("ops")
    second.start()
    what = f"one edge feeds another by {form}s: "
    check(what + "its tenants", wait_for(lambda: (second.answer("acme"), second.answer("globex")) == ("v1", "v1")), open(second.log).read()[-2000:])
    first.put("acme", "v2")
    check("the first has a new version", wait_for(lambda: first.answer("acme") == "v2"))
    equal("which the second does not know yet", second.answer("acme"), "v1")
    status, _, body = http(second.ports["admin"], "POST", "/v1/policies/reload", '{"tenant_id":"acme"}', {"Authorization": "Bearer " + token})
    reply = json.loads(body)
    equal(what + "reload", (status, reply.get("version"), reply.get("from"), second.answer("acme")), (200, "v2", "first", "v2"))
    equal("the same module", hashlib.sha256(first.get("/policies/acme")[2]).hexdigest(), reply.get("sha256"))
    status, _, body = http(second.ports["admin"], "POST", "/v1/policies/reload", '{"tenant_id":"nobody"}', {"Authorization": "Bearer " + token})
    equal("a tenant that the first does not have", (status, json.loads(body)["code"]), (404, "resource_not_found"))
    stop(first.process)
    status, _, body = http(second.ports["admin"], "POST", "/v1/policies/reload", '{"tenant_id":"acme"}', {"Authorization": "Bearer " + token})
    check("when the first is gone", status in (503, 422) and second.answer("acme") == "v2", (status, body))
    stop(second.process)


def under_change():
    """While versions change all the time, what is read is whole and of one version."""
    node = Node("changing", CONFIG, poll="20ms", store="store: {directory: %s/changing/store}" % TMP, more="")
    node.put("acme", "v0")
    node.start()
    wrong, got, over = [], {}, threading.Event()

    def read():
        while not over.is_set():
            status, head, body = node.get("/policies/acme")
            got[status] = got.get(status, 0) + 1
            if status == 200 and head["etag"] != f'"{hashlib.sha256(body).hexdigest()}"' or status not in (200, 503):
                wrong.append((status, head))
    readers = [threading.Thread(target=read) for _ in range(3)]
    for t in readers:
        t.start()
    for i in range(1, 12):
        node.put("acme", f"v{i}")
        time.sleep(0.05)
    check("the last version comes", wait_for(lambda: node.answer("acme") == "v11"))
    over.set()
    for t in readers:
        t.join(20)
    check("modules that change are read whole", not wrong and got.get(200, 0) > 20, (wrong[:3], got))
    stop(node.process)


for name, store in (("folder", ""), ("store", "store: {directory: %s/store/versions}" % TMP)):
    one = Node(name, CONFIG, poll="1h", store=store, more="")
    for t in ("acme", "globex", "odd.sha256"):
        one.put(t, "v1")
    os.makedirs(one.folder + "/tenants/broken")
    with open(one.folder + "/tenants/broken/bundle.tar.gz", "w") as broken:
        broken.write("no bundle")
    one.start()
    files(one, kept=bool(store))
    equal("it ends well", stop(one.process), 0)
tokens()
feeding("bundle")
feeding("module")
under_change()
finish()
