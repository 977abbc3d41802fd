#!/usr/bin/env python3
"""Traefik's ForwardAuth beside `regent edge`, with the files of docs/envoy.md.

Traefik itself cannot be had from the package registries (modules that it needs are missing there), so a stand-in sends what its
middleware sends (v3.7, pkg/middlewares/auth) and treats the answer as it does.

in: BUILD. out: TAP. owns: the node, an upstream and the stand-in."""
import threading
from http import server as http_server

import yaml

from edge_lib import check, equal, finish
from proxy_lib import Node, ask, doc_files, moved, start_upstream

BOB = {"X-Login": "bob"}
SHOW = """package shop.authz
import rego.v1
decision := {"allowed": false, "http_status": to_number(input.parsed_path[1]), "body": json.marshal(input), "headers": {"x-why": ["a", "b"]}}
    if input.parsed_path[0] == "status"
decision := {"allowed": true, "query_parameters_to_remove": ["a"]} if input.parsed_path[0] == "query"
""".replace('}\n    if', '} if')
HOP = {"connection", "keep-alive", "te", "trailers", "transfer-encoding", "upgrade", "proxy-connection", "proxy-authorization", "proxy-authenticate"}


class Traefik(http_server.BaseHTTPRequestHandler):
    """ForwardAuth in front of an upstream, as `config` (a forwardAuth of Traefik's) says."""
    protocol_version = "HTTP/1.1"
    config, upstream = {}, 0

    def forwarded(self):
        trusted = self.config.get("trustForwardHeader", False)
        headers = [(k, v) for k, v in self.headers.items() if k.lower() not in HOP and k.lower() not in ("host", "content-length")
                   and (trusted or not k.lower().startswith("x-forwarded-"))]
        had = {k.lower(): v for k, v in headers}
        mine = {"X-Forwarded-Method": self.command, "X-Forwarded-Proto": "http", "X-Forwarded-Port": "80", "X-Forwarded-Host": self.headers["host"],
                "X-Forwarded-Uri": self.path}
        headers += [(k, v) for k, v in mine.items() if k.lower() not in had]
        before = had.get("x-forwarded-for")
        headers = [(k, v) for k, v in headers if k.lower() != "x-forwarded-for"]
        return headers + [("X-Forwarded-For", (before + ", " if before else "") + self.client_address[0])]

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        host, _, path = self.config["address"].removeprefix("http://").partition("/")
        door = ask(int(host.split(":")[1]), "GET", "/" + path, self.forwarded(), body if self.config.get("forwardBody") and body else None, host=host)
        if not 200 <= door.status < 300:
            return self.reply(door.status, {k: v for k, v in door.headers.items() if k not in HOP | {"content-length", "date"}}, door.body)
        listed = {h.lower() for h in self.config.get("authResponseHeaders", [])}
        headers = [(k, v) for k, v in self.headers.items() if k.lower() not in listed | HOP | {"host", "content-length"}]
        headers += [(k, v) for k, v in door.headers.items() if k in listed]
        got = ask(self.upstream, self.command, self.path, headers, body, host=self.headers["host"])
        self.reply(got.status, {}, got.body)

    def reply(self, status, headers, body):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


def start_traefik(files, node, upstream, **more):
    config = yaml.safe_load(moved(files["traefik.yaml"], {**node.ports, 9000: upstream}))["http"]
    shop = config["routers"]["shop"]
    forward = config["middlewares"][shop["middlewares"][0]]["forwardAuth"]
    port = int(config["services"][shop["service"]]["loadBalancer"]["servers"][0]["url"].rsplit(":", 1)[1])
    server = http_server.ThreadingHTTPServer(("127.0.0.1", 0), type("T", (Traefik,), {"config": {**forward, **more}, "upstream": port}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def decisions(port):
    reply = ask(port, path="/public/a%20b?x=1")
    equal("a guest reads what is public", (reply.status, reply.upstream().get("path"), reply.upstream().get("headers", {}).get("x-user")),
          (200, "/public/a%20b?x=1", "guest"))
    reply = ask(port, "POST", "/orders", BOB, b"{}")
    equal("who is logged in may write", (reply.status, reply.upstream().get("method"), reply.upstream().get("headers", {}).get("x-user")), (200, "POST", "bob"))
    reply = ask(port, path="/orders")
    equal("who is not is told to log in", (reply.status, reply.headers.get("www-authenticate"), reply.body), (401, "Bearer", b"log in first\n"))
    equal("a denial", ask(port, "DELETE", "/orders", BOB).status, 403)
    equal("a client's X-User is replaced", ask(port, path="/public/", headers={"X-User": "root"}).upstream()["headers"].get("x-user"), "guest")
    equal("a host that is nobody's", ask(port, path="/public/", host="other.example.com").status, 403)


def spoofed(port):
    lies = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/public/", "X-Forwarded-Host": "shop.example.com", "X-Original-Method": "GET",
            "X-Original-URI": "/public/", "X-Original-Scheme": "http", "X-Original-Address": "1.1.1.1"}
    equal("method and path of the client's own headers", ask(port, "POST", "/orders", lies, b"").status, 401)
    equal("a host of the client's own header", ask(port, path="/public/", headers=lies, host="other.example.com").status, 403)


def missing(node):
    told = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/public/", "X-Forwarded-Host": "shop.example.com", "X-Forwarded-Proto": "https",
            "X-Forwarded-For": "10.0.0.9, 10.0.0.7"}
    port = node.ports[8181]
    equal("the door: allowed", ask(port, path="/authz/traefik", headers=told).status, 200)
    for name in told:
        equal(f"without {name}", ask(port, path="/authz/traefik", headers={k: v for k, v in told.items() if k != name}).status, 403)
        equal(f"{name} twice", ask(port, path="/authz/traefik", headers=[*told.items(), (name, told[name])]).status, 403)
    equal("nginx's headers at Traefik's path", ask(port, path="/authz/traefik", headers={"X-Original-Method": "GET", "X-Original-URI": "/public/"}).status, 403)


def more(node, port):
    for wanted, got in ((200, 403), (204, 403), (302, 302), (401, 401), (429, 429), (503, 503)):
        reply = ask(port, path=f"/status/{wanted}")
        check(f"a denial with {wanted}: {got}, and nothing reaches the upstream", reply.status == got and "attributes" in reply.upstream(), (reply.status, reply.body[:200]))
    equal("the query cannot be changed: denied", ask(port, path="/query").status, 500)
    equal("undefined: denied", ask(port, path="/else").status, 403)
    reply = ask(port, "POST", "/status/403?q=1", {"Content-Type": "application/json", "X-A": "1", "X-Forwarded-For": "9.9.9.9"}, b'{"k":[1]}')
    seen = reply.upstream()
    request = seen["attributes"]["request"]["http"]
    equal("the input: request", (request["method"], request["path"], request["host"], request["scheme"], request["headers"]["x-a"], request["body"]),
          ("POST", "/status/403?q=1", "shop.example.com", "http", "1", '{"k":[1]}'))
    equal("the input: parsed", (seen["parsed_path"], seen["parsed_query"], seen["parsed_body"]), (["status", "403"], {"q": ["1"]}, {"k": [1]}))
    equal("the input: the address that Traefik saw", seen["attributes"]["source"]["address"]["socketAddress"], {"address": "127.0.0.1"})
    reply = ask(port, "POST", "/status/403", {"Content-Type": "application/json"}, b"{")
    equal("a body that cannot be parsed", (reply.status, reply.upstream().get("reason")), (400, "the request's JSON body cannot be parsed"))
    told = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/status/403", "X-Forwarded-Host": "shop.example.com", "X-Forwarded-Proto": "http",
            "X-Forwarded-For": "6.6.6.6, 10.0.0.7"}
    seen = ask(node.ports[8181], path="/authz/traefik", headers=told).upstream()
    equal("the input: of several addresses the last", seen["attributes"]["source"]["address"]["socketAddress"], {"address": "10.0.0.7"})
    reply = ask(node.ports[8181], "POST", "/authz/traefik", {**told, "Content-Type": "application/x"}, b"\xff\x00")
    equal("the input: a body that is no text", (reply.upstream()["attributes"]["request"]["http"].get("rawBody"), reply.upstream()["parsed_body"]), ("/wA=", None))


def main():
    files, upstream = doc_files(), start_upstream()
    node = Node(files["edge.yaml"], {"shop": (files["policy.rego"], "shop/authz/decision")})
    port = start_traefik(files, node, upstream)
    decisions(port)
    spoofed(port)
    missing(node)
    node.stop()
    other = Node(files["edge.yaml"], {"shop": (SHOW, "shop/authz/decision")}, "more")
    more(other, start_traefik(files, other, upstream, forwardBody=True))
    finish()


main()
