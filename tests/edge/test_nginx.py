#!/usr/bin/env python3
"""A real nginx that asks `regent edge` by auth_request, with the files of docs/envoy.md.

in: BUILD, nginx. out: TAP. owns: nginx, the node and an upstream."""
import json
import os
import shutil
import subprocess

from edge_lib import TMP, Check, check, check_request, equal, finish, free_port, start, stop, wait_for
from proxy_lib import Node, ask, doc_files, moved, start_upstream

BOB = {"X-Login": "bob"}
MORE = """package shop.authz
import rego.v1
http := input.attributes.request.http
decision := {"allowed": false, "http_status": 418} if input.parsed_path[0] == "mistyped"
decision := {"allowed": false, "http_status": to_number(input.parsed_path[1])} if input.parsed_path[0] == "status"
decision := {"allowed": true, "request_headers_to_remove": ["x-login"]} if input.parsed_path[0] == "remove"
decision := {"allowed": true, "headers": {"x-user": "a\\r\\nx-evil: 1"}} if input.parsed_path[0] == "split"
decision := {"allowed": true, "headers": {"x-user": json.marshal(input)}} if input.parsed_path[0] == "show"
"""


class Nginx:
    def __init__(self, files, node, upstream):
        self.port = free_port()
        folder = os.path.join(TMP, "nginx")
        os.makedirs(folder + "/logs", exist_ok=True)
        with open(folder + "/nginx.conf", "w") as f:
            f.write(moved(files["nginx.conf"], {**node.ports, 10000: self.port, 9000: upstream}))
        self.process = start(["nginx", "-p", folder, "-c", folder + "/nginx.conf", "-e", folder + "/error.log", "-g", "daemon off;"], TMP + "/nginx.log")
        self.error_log = folder + "/error.log"
        self.up = wait_for(lambda: ask(self.port, path="/up").status != 0, 20)


def decisions(nginx):
    reply = ask(nginx.port, path="/public/a%20b?x=1")
    equal("a guest reads what is public, and the upstream learns who", (reply.status, reply.upstream().get("path"), reply.upstream()["headers"].get("x-user")),
          (200, "/public/a%20b?x=1", "guest"))
    reply = ask(nginx.port, "POST", "/orders", BOB, b"{}")
    equal("who is logged in may write", (reply.status, reply.upstream().get("method"), reply.upstream()["headers"].get("x-user")), (200, "POST", "bob"))
    reply = ask(nginx.port, path="/orders")
    equal("who is not is told to log in", (reply.status, reply.headers.get("www-authenticate")), (401, "Bearer"))
    equal("a denial with 403", ask(nginx.port, "DELETE", "/orders", BOB).status, 403)
    equal("a header of the client's that the decision sets is overwritten",
          ask(nginx.port, path="/public/", headers={"X-User": "root"}).upstream()["headers"].get("x-user"), "guest")
    equal("a host that is nobody's", ask(nginx.port, path="/public/", host="other.example.com").status, 403)
    equal("a path that cannot be decoded", ask(nginx.port, path="/public/?a=%zz").status, 403)


def spoofed(nginx):
    """What the client writes itself decides nothing."""
    lies = {"X-Original-Method": "GET", "X-Original-URI": "/public/", "X-Original-Scheme": "https", "X-Original-Address": "10.9.9.9", "X-Forwarded-Method": "GET",
            "X-Forwarded-Uri": "/public/", "X-Forwarded-Host": "shop.example.com"}
    equal("method and path of the client's own headers", ask(nginx.port, "POST", "/orders", lies, b"").status, 401)
    equal("DELETE said to be GET", ask(nginx.port, "DELETE", "/public/x", {**lies, **BOB}).status, 403)
    equal("a tenant of the client's own", ask(nginx.port, path="/public/", headers={"X-Tenant-Id": "shop", "tenant_id": "shop"}, host="other.example.com").status, 403)
    equal("another dialect cannot be reached through nginx", ask(nginx.port, path="/../traefik/public/", headers=lies).status, 400)


def missing(node):
    """The door itself: each header that nginx must set, missing or twice."""
    told = {"X-Original-Method": "GET", "X-Original-URI": "/public/", "X-Original-Scheme": "http", "X-Original-Address": "10.0.0.7"}
    port = node.ports[8181]
    reply = ask(port, path="/authz/nginx", headers=told)
    equal("the door: allowed", (reply.status, reply.headers.get("x-user"), len(reply.headers.get("x-regent-decision-id", ""))), (200, "guest", 36))
    for name in told:
        rest = {k: v for k, v in told.items() if k != name}
        equal(f"without {name}", ask(port, path="/authz/nginx", headers=rest).status, 403)
        equal(f"{name} twice", ask(port, path="/authz/nginx", headers=[*told.items(), (name, told[name])]).status, 403)
        equal(f"{name} empty", ask(port, path="/authz/nginx", headers={**told, name: ""}).status, 403)
    for path in ("/authz", "/authz/", "/authz/apache", "/authz/nginxx", "/authz/Nginx", "/authznginx/public/"):
        check(f"{path} allows nothing", ask(port, path=path, headers=told).status in (403, 404))


def more(node, nginx):
    for path, status, why in (("/mistyped", 500, "http_status must be a known HTTP status code"), ("/remove", 500, "the decision removes request headers"),
                              ("/split", 500, "the decision has a header that HTTP cannot carry"), ("/undefined", 403, "undefined")):
        equal(f"{path}: denied", ask(nginx.port, path=path).status, status)
        check(f"{path}: the log says why", any(why in r for r in node.reasons()), node.reasons()[-2:])
    for wanted, got in ((200, 403), (204, 403), (302, 403), (401, 401), (402, 403), (403, 403), (404, 403), (429, 403), (500, 500), (503, 403)):
        reply = ask(nginx.port, path=f"/status/{wanted}")
        check(f"a denial with {wanted} denies: {got}", reply.status == got and not reply.upstream(), (reply.status, reply.body))
    told = {"X-Original-Method": "PUT", "X-Original-URI": "/show/a?q=1", "X-Original-Scheme": "https", "X-Original-Address": "10.0.0.7", "Cookie": "a=1",
            "Accept": "x"}
    reply = ask(node.ports[8181], path="/authz/nginx?z", headers=[*told.items(), ("Cookie", "b=2"), ("Accept", "y")])
    seen = json.loads(reply.headers["x-user"])
    http = seen["attributes"]["request"]["http"]
    equal("the input: request", (http["method"], http["path"], http["host"], http["scheme"], "body" in http), ("PUT", "/show/a?q=1", "shop.example.com", "https", False))
    equal("the input: headers", http["headers"], {":method": "PUT", ":path": "/show/a?q=1", ":authority": "shop.example.com", ":scheme": "https", "cookie": "a=1; b=2",
                                                  "accept": "x,y"})
    equal("the input: parsed", (seen["parsed_path"], seen["parsed_query"], seen["parsed_body"], seen["truncated_body"]), (["show", "a"], {"q": ["1"]}, None, False))
    equal("the input: address", seen["attributes"]["source"]["address"]["socketAddress"], {"address": "10.0.0.7"})
    equal("the input: its shape is ext_authz's", (sorted(seen), seen["version"], sorted(seen["attributes"]["request"]["time"])),
          (["attributes", "parsed_body", "parsed_path", "parsed_query", "truncated_body", "version"], {"ext_authz": "v3", "encoding": "protojson"}, ["nanos", "seconds"]))


def tokens(files):
    """A token that is not valid: 401 at both doors; no token: 403."""
    key, public = TMP + "/token.key", TMP + "/token.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)

    def config(p):
        return {"tenants": {"directory": p["/var/lib/regent"]}, "tenant_from": [{"jwt": {"claim": "tenant", "keys_file": public}}],
                "listeners": [{"address": f"127.0.0.1:{p[9191]}", "doors": ["ext_authz"]}, {"address": f"127.0.0.1:{p[8181]}", "doors": ["http_authz"]}]}
    node = Node(config, {"shop": ("package shop.authz\ndecision := true", "shop/authz/decision")}, "tokens")
    for name, headers, status in (("a token that is none", {"authorization": "Bearer x.y.z"}, 401), ("no token", {}, 403)):
        equal(f"{name}: {status} over gRPC", Check(node.ports[9191], check_request(headers=headers)).http_status, status)
        equal(f"{name}: {status} over HTTP", ask(node.ports[8181], path="/authz/envoy/", headers=headers).status, status)
    node.stop()


def main():
    if not shutil.which("nginx"):
        print("ok 1 - nginx # SKIP no nginx on this machine\n1..1")
        return
    files, upstream = doc_files(), start_upstream()
    node = Node(files["edge.yaml"], {"shop": (files["policy.rego"], "shop/authz/decision")})
    nginx = Nginx(files, node, upstream)
    check("nginx starts on the documented configuration", nginx.up, open(TMP + "/nginx.log").read())
    decisions(nginx)
    spoofed(nginx)
    missing(node)
    node.stop()
    equal("the node is gone: nginx denies", ask(nginx.port, path="/public/").status, 500)
    stop(nginx.process)
    other = Node(files["edge.yaml"], {"shop": (MORE, "shop/authz/decision")}, "more")
    nginx = Nginx(files, other, upstream)
    more(other, nginx)
    tokens(files)
    finish()


main()
