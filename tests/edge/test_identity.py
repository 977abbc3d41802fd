#!/usr/bin/env python3
"""Whose request it is, asked of a real edge: each rule as it is meant, then every way to spoof it that we know of.

in: BUILD, OPA; openssl. out: TAP. owns: edges, a key server, certificates in the temporary folder.
"""
import base64
import hashlib
import hmac
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

from edge_lib import REGENT, TMP, Check, build, check_request, equal, check, finish, free_port, parse_reply, start, stop, wait_for

TENANTS = ["acme", "globex"]
FOLDER = os.path.join(TMP, "identity")


def bundles():
    for tenant in TENANTS:
        policy = f'package p\nwho := "{tenant}"\nallow := true\n'
        build({"p.rego": policy}, ["p/who", "p/allow"], f"{FOLDER}/tenants/{tenant}/bundle.tar.gz")


class Node:
    """An edge with the rules given as YAML text; `listeners` replaces the two plain ones."""
    count = 0

    def __init__(self, rules, listeners=None, environment=None):
        Node.count += 1
        self.port, self.grpc = free_port(), free_port()
        self.config = os.path.join(TMP, f"identity{Node.count}.yaml")
        self.log = self.config + ".log"
        self.listeners = listeners or (f'[{{address: "127.0.0.1:{self.port}", doors: [rest]}}, '
                                       f'{{address: "127.0.0.1:{self.grpc}", doors: [ext_authz]}}]')
        self.write(rules)
        self.process = start(["env", *(environment or []), REGENT, "edge", "--config", self.config], self.log)
        if not wait_for(lambda: "ready" in open(self.log).read()):
            raise RuntimeError("the edge does not start: " + open(self.log).read())

    def write(self, rules):
        with open(self.config, "w") as f:
            f.write(f"tenants: {{directory: {FOLDER}, poll: 50ms}}\nlog: {{format: json}}\nauthz: {{path: p/allow}}\n"
                    f"listeners: {self.listeners}\ntenant_from:\n{rules}")

    def reload(self, rules):
        self.write(rules)
        before = open(self.log).read().count("configuration read again")
        self.process.send_signal(signal.SIGHUP)
        return wait_for(lambda: open(self.log).read().count("configuration read again") > before)

    def ask(self, *headers, path="/v1/data/p/who", host="localhost", source=None, wrap=None):
        """The tenant that answers, or the status of what was answered instead."""
        head = f"GET {path} HTTP/1.1\r\n" + "".join(h + "\r\n" for h in (f"Host: {host}", "Connection: close", *headers)) + "\r\n"
        s = socket.create_connection(("127.0.0.1", self.port), timeout=5, source_address=(source, 0) if source else None)
        got = b""
        try:
            s = wrap.wrap_socket(s) if wrap else s
            s.sendall(head.encode("latin-1"))
            while part := s.recv(1 << 16):
                got += part
        except (ssl.SSLError, ConnectionError):
            pass
        s.close()
        status, _, body, _ = parse_reply(got)
        return json.loads(body).get("result", status) if status == 200 else status

    def stop(self):
        return stop(self.process)


def refused(name, got):
    check(name + " is refused", isinstance(got, int) and 400 <= got < 500, f"got {got!r}")


# ---- header ----
def test_header():
    n = Node('  - header: {name: x-tenant-id, trusted: [127.0.0.1/32]}\n')
    equal("header: from a listed address", n.ask("x-tenant-id: acme"), "acme")
    equal("header: names have no case", n.ask("X-TENANT-ID: globex"), "globex")
    refused("header: from an address that is not listed", n.ask("x-tenant-id: acme", source="127.0.0.2"))
    refused("header: from an unlisted address that claims a listed one",
            n.ask("x-tenant-id: acme", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1", source="127.0.0.2"))
    refused("header: twice", n.ask("x-tenant-id: acme", "x-tenant-id: globex"))
    refused("header: twice in other cases", n.ask("x-tenant-id: acme", "X-Tenant-Id: globex"))
    refused("header: twice the same", n.ask("x-tenant-id: acme", "x-tenant-id: acme"))
    refused("header: a list", n.ask("x-tenant-id: acme, globex"))
    refused("header: with underscores", n.ask("x_tenant_id: acme"))
    refused("header: X-Forwarded-Host", n.ask("X-Forwarded-Host: acme.example.com", "X-Original-URL: /t/acme"))
    refused("header: empty", n.ask("x-tenant-id:"))
    refused("header: a blank before the colon", n.ask("x-tenant-id : acme"))
    refused("header: folded", n.ask("x-tenant-id: globex", " x: y"))
    refused("header: a path", n.ask("x-tenant-id: ../acme"))
    refused("header: unknown tenant", n.ask("x-tenant-id: nobody"))
    c = Check(n.grpc, check_request(headers={"x-tenant-id": "acme"}))
    equal("header: one in the request that Envoy describes is the client's", c.http_status, 403)
    n.stop()


# ---- host ----
def test_host():
    n = Node('  - host: {map: {shop.example.com: acme}}\n  - host: "{tenant}.example.org"\n')
    for host, want in [("shop.example.com", "acme"), ("SHOP.example.COM:8443", "acme"), ("shop.example.com.", "acme"),
                       ("globex.example.org", "globex"), ("Globex.Example.Org.:80", "globex")]:
        equal(f"host: {host}", n.ask(host=host), want)
    for host in ["acme@shop.example.com", "shop.example.com@globex.example.org", "http://shop.example.com", "shop.example.com/", "",
                 "a.globex.example.org", "globex.example.org.evil.com", "evilexample.org", "globex.example.org..", "*.example.org",
                 "shop.example.com, globex.example.org", "[::1]", "%67lobex.example.org", "shop.example.com:80@x"]:
        refused(f"host: {host!r}", n.ask(host=host))
    refused("host: two of them", n.ask("Host: globex.example.org", host="shop.example.com"))
    refused("host: X-Forwarded-Host", n.ask("X-Forwarded-Host: shop.example.com", host="x.test"))
    got = n.ask(path="http://shop.example.com/v1/data/p/who", host="globex.example.org")
    check("host: an absolute target does not name another tenant", got in (400, 404, "globex") or isinstance(got, int), got)
    equal("host: over ext_authz, the described request's", Check(n.grpc, check_request(http={5: "Shop.Example.com:443"})).code, 0)
    equal("host: over ext_authz, another", Check(n.grpc, check_request(http={5: "shop.example.com.evil"})).http_status, 403)
    n.stop()


# ---- path ----
def test_path():
    n = Node('  - path: "/t/{tenant}"\n')
    rest = "/v1/data/p/who"
    for path, want in [("/t/acme", "acme"), ("/t/globex", "globex"), ("/t/%61cme", "acme"), ("/%74/acme", "acme")]:
        equal(f"path: {path}", n.ask(path=path + rest), want)
    for path in ["/t/acme/../globex", "/t/acme/%2e%2e/globex", "/t/acme%2f..%2fglobex", "/t/acme/..;/globex", "/t/./acme", "//t/acme",
                 "/t//acme", "/x/../t/acme", "/t/acme%00", "/t/acme%5cglobex", "/t\\acme", "/t%2facme", "/t/%2e%2e", "/t/acme;x", "/t;x/acme",
                 "/t/%zz", "/t/acme%2", "/t/%252e%252e", "/T/acme", "/t"]:
        got = n.ask(path=path + rest)  # 307: go and ask for the clean path, as OPA's router says
        check(f"path: {path} is refused", got == 307 or isinstance(got, int) and 400 <= got < 500, got)
    refused("path: in the query", n.ask(path=rest + "?path=/t/acme"))
    refused("path: in headers", n.ask("X-Original-URI: /t/acme/v1/data/p/who", "X-Rewrite-URL: /t/acme", "X-Forwarded-Prefix: /t/acme", path=rest))
    equal("path: over ext_authz", Check(n.grpc, check_request(path="/t/acme/shop?x=1")).code, 0)
    equal("path: over ext_authz, with dots", Check(n.grpc, check_request(path="/t/acme/../globex/shop")).http_status, 403)
    n.stop()


# ---- context extension ----
def test_extension():
    n = Node('  - context_extension: tenant_id\n')
    equal("extension: set by the route", Check(n.grpc, check_request(context={"tenant_id": "acme"})).code, 0)
    for value in ["", "/acme", "acme/", "../acme", "acme,globex", "acme\n", ".acme", "a" * 128, " acme", "nobody"]:
        equal(f"extension: {value[:12]!r} is denied", Check(n.grpc, check_request(context={"tenant_id": value})).http_status, 403)
    for name, c in [("missing", check_request()), ("of another name", check_request(context={"Tenant_Id": "acme", "tenant": "acme"})),
                    ("as a header", check_request(headers={"tenant_id": "acme", "x-tenant-id": "acme"}))]:
        equal(f"extension: {name} is denied", Check(n.grpc, c).http_status, 403)
    refused("extension: as a header over REST", n.ask("tenant_id: acme", "x-tenant-id: acme"))
    n.stop()


def test_listener_tenants():
    ports = [free_port(), free_port()]
    listeners = f'[{{address: "127.0.0.1:{ports[0]}", doors: [rest], tenants: [acme]}}, {{address: "127.0.0.1:{ports[1]}", doors: [rest]}}]'
    n = Node('  - path: "/t/{tenant}"\n', listeners)
    n.port = ports[0]
    equal("listener: a tenant of its list", n.ask(path="/t/acme/v1/data/p/who"), "acme")
    refused("listener: another tenant", n.ask(path="/t/globex/v1/data/p/who"))
    n.port = ports[1]
    equal("listener: another one without a list", n.ask(path="/t/globex/v1/data/p/who"), "globex")
    n.stop()


# ---- tokens ----
def run(*command, data=None):
    return subprocess.run(command, input=data, capture_output=True, check=True, cwd=TMP).stdout


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


class Key:
    """An RSA key with its JWK."""

    def __init__(self, kid):
        self.kid, self.file = kid, os.path.join(TMP, kid + ".pem")
        run("openssl", "genrsa", "-out", self.file, "2048")
        modulus = run("openssl", "rsa", "-in", self.file, "-noout", "-modulus").decode().strip().split("=")[1]
        self.public = run("openssl", "rsa", "-in", self.file, "-pubout")
        self.jwk = {"kty": "RSA", "kid": kid, "use": "sig", "n": b64(bytes.fromhex(modulus)), "e": "AQAB"}

    def token(self, tenant, header=None, **claims):
        body = {"iss": "https://id", "aud": "edge", "exp": int(time.time()) + 300, "tenant": tenant, **claims}
        text = b64({"alg": "RS256", "kid": self.kid, **(header or {})}) + "." + b64(body)
        return text + "." + b64(run("openssl", "dgst", "-sha256", "-sign", self.file, data=text.encode()))


def jwt_rule(source, more=""):
    return f'  - jwt: {{claim: tenant, issuer: "https://id", audience: edge, {source}{more}}}\n'


def bearer(token):
    return "Authorization: Bearer " + token


def test_jwt(key, other):
    keys = os.path.join(TMP, "keys.json")
    with open(keys, "w") as f:
        json.dump({"keys": [key.jwk]}, f)
    n = Node(jwt_rule(f"keys_file: {keys}") + '  - host: "{tenant}.example.com"\n')
    here = "globex.example.com"  # what a refused token must not fall through to
    good = key.token("acme")
    equal("jwt: valid", n.ask(bearer(good), host=here), "acme")
    equal("jwt: again", n.ask(bearer(good), host=here), "acme")
    equal("jwt: without one the next rule decides", n.ask(host=here), "globex")
    none = b64({"alg": "none"}) + "." + good.split(".")[1] + "."
    text = b64({"alg": "HS256", "kid": key.kid}) + "." + good.split(".")[1]
    for name, token in [
            ("none", none), ("none with a signature", none + good.split(".")[2]),
            ("HS256 with the public key", text + "." + b64(hmac.new(key.public, text.encode(), hashlib.sha256).digest())),
            ("HS256 with the key file", text + "." + b64(hmac.new(open(keys, "rb").read(), text.encode(), hashlib.sha256).digest())),
            ("expired", key.token("acme", exp=int(time.time()) - 60)), ("not valid yet", key.token("acme", nbf=int(time.time()) + 60)),
            ("of another issuer", key.token("acme", iss="https://id.evil")), ("for another audience", key.token("acme", aud=["edge2"])),
            ("without issuer", key.token("acme", iss=None)), ("with an unknown kid", key.token("acme", {"kid": "k9"})),
            ("by another key", other.token("acme", {"kid": key.kid})), ("by another set's key", other.token("acme")),
            ("with a key in its header", other.token("acme", {"jwk": other.jwk})), ("with crit", key.token("acme", {"crit": ["b64"], "b64": True})),
            ("with another payload", good.split(".")[0] + "." + key.token("globex").split(".")[1] + "." + good.split(".")[2]),
            ("whose claim is a path", key.token("../acme")), ("whose claim is a list", key.token(["acme"])), ("cut", good[:-8]), ("garbage", "a.b.c"),
            ("empty", "")]:
        equal(f"jwt: {name} is refused", n.ask(bearer(token), host=here) not in TENANTS, True)
    refused("jwt: two tokens", n.ask(bearer(good), bearer(key.token("globex"))))
    refused("jwt: a broken one before a good one", n.ask(bearer("x"), bearer(good)))
    equal("jwt: over ext_authz", Check(n.grpc, check_request(headers={"authorization": "Bearer " + good})).code, 0)
    equal("jwt: over ext_authz, expired", Check(n.grpc, check_request(headers={"authorization": "Bearer " + key.token("acme", exp=1)})).http_status, 401)
    short = key.token("acme", exp=int(time.time()) - 8)  # clocks may differ by ten seconds
    equal("jwt: shortly before its end", n.ask(bearer(short), host=here), "acme")
    time.sleep(3.1)
    refused("jwt: in the cache, past its end", n.ask(bearer(short), host=here))
    with open(keys, "w") as f:
        json.dump({"keys": [other.jwk]}, f)
    check("jwt: keys are read again", n.reload(jwt_rule(f"keys_file: {keys}")))
    refused("jwt: a cached token whose key is gone", n.ask(bearer(good)))
    equal("jwt: the new key's", n.ask(bearer(other.token("acme"))), "acme")
    n.stop()


class KeyServer:
    """GET / answers as `mode` says."""

    def __init__(self, context=None, port=0):
        owner = self
        self.keys, self.mode, self.asked = [], "fine", 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked += 1
                body = {"fine": json.dumps({"keys": [k.jwk for k in owner.keys]}).encode(), "garbage": b"\x00<html>", "empty": b"",
                        "huge": b'{"keys":[' + b" " * (2 << 20) + b"]}"}.get(owner.mode, b"{}")
                if owner.mode == "slow":
                    time.sleep(4)
                self.send_response({"error": 500, "redirect": 302}.get(owner.mode, 200))
                self.send_header("Location", "http://127.0.0.1:1/")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                try:
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def test_jwks_url(key, other):
    server = KeyServer()
    server.keys = [key]
    url = f"http://127.0.0.1:{server.port}/keys"
    rule = jwt_rule(f'jwks_url: "{url}", refresh: 1s')
    n = Node(rule)
    good = bearer(key.token("acme"))
    check("jwks: fetched", wait_for(lambda: n.ask(good) == "acme"))
    for mode in ["garbage", "empty", "huge", "error", "redirect", "slow"]:
        server.mode, before, logged = mode, server.asked, open(n.log).read().count("keys not fetched")
        check(f"jwks: {mode}: asked again", wait_for(lambda: server.asked > before))
        if mode != "slow":
            check(f"jwks: {mode}: a line in the log", wait_for(lambda: open(n.log).read().count("keys not fetched") > logged))
        began = time.time()
        equal(f"jwks: {mode}: the keys before serve on", [n.ask(bearer(key.token("acme"))), n.ask(good)], ["acme", "acme"])
        check(f"jwks: {mode}: nobody waits for it", time.time() - began < 2, time.time() - began)
    server.close()
    server.mode = "fine"
    equal("jwks: down: the keys before serve on", n.ask(bearer(key.token("globex"))), "globex")
    check("jwks: down: a reload", n.reload(rule + '  - host: "{tenant}.example.com"\n'))
    equal("jwks: down: the keys before serve on after a reload", [n.ask(bearer(key.token("acme"))), n.ask(good)], ["acme", "acme"])
    again = KeyServer(port=server.port)
    again.keys = [other]
    check("jwks: up again with other keys", wait_for(lambda: n.ask(bearer(other.token("acme"))) == "acme", 20))
    refused("jwks: a cached token whose key is gone", n.ask(good))
    check("jwks: another refresh", n.reload(jwt_rule(f'jwks_url: "{url}", refresh: 1h')))
    asked = again.asked
    wait_for(lambda: again.asked > asked)
    again.keys, asked = [other, key], again.asked
    for i in range(20):
        n.ask(bearer(key.token("acme", {"kid": f"unknown{i}"})))
    check("jwks: an unknown kid has the keys fetched", wait_for(lambda: n.ask(good) == "acme", 15))
    check("jwks: but not once a request", again.asked - asked <= 2, again.asked - asked)
    n.stop()
    again.close()
    n = Node(rule)
    refused("jwks: never fetched", n.ask(good))
    began = time.time()
    equal("jwks: stops while the server is down", n.stop(), 0)
    check("jwks: soon", time.time() - began < 6, time.time() - began)


# ---- through a real proxy ----
def test_nginx():
    n = Node("  - header: {name: x-tenant-id, trusted: [127.0.0.1/32]}\n")
    port, edge = free_port(), n.port
    config = write("nginx.conf", f"""
daemon off; master_process off; pid {TMP}/nginx.pid; error_log {TMP}/nginx.err;
events {{}}
http {{
    access_log off; client_body_temp_path {TMP}/n1; proxy_temp_path {TMP}/n2; fastcgi_temp_path {TMP}/n3; uwsgi_temp_path {TMP}/n4;
    scgi_temp_path {TMP}/n5; underscores_in_headers on;
    map $host $tenant {{ acme.test acme; default ""; }}
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_set_header X-Tenant-Id $tenant; proxy_pass http://127.0.0.1:{edge}; }} }}
}}""")
    proxy = start(["nginx", "-c", config], os.path.join(TMP, "nginx.log"))
    n.port = port
    check("nginx: starts", wait_for(lambda: n.ask(host="acme.test") == "acme"), open(os.path.join(TMP, "nginx.log")).read())
    for name in ["x-tenant-id", "X-TENANT-ID", "X_Tenant_Id", "x-tenant_id"]:
        equal(f"nginx: a client's {name} is overwritten or another name", n.ask(f"{name}: globex", host="acme.test"), "acme")
        refused(f"nginx: a client's {name} where the proxy has none", n.ask(f"{name}: globex", host="other.test"))
    refused("nginx: a client's header hidden by Connection", n.ask("Connection: x-tenant-id", "x-tenant-id: globex", host="other.test"))
    stop(proxy)
    n.stop()


# ---- certificates ----
def authority(name):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", name + ".key", "-out", name + ".crt", "-addext", "basicConstraints=critical,CA:TRUE")


def issue(ca, name, alternative, usage="clientAuth"):
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", name + ".key", "-out",
        name + ".csr")
    with open(os.path.join(TMP, name + ".ext"), "w") as f:
        f.write(f"extendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n" + (f"subjectAltName={alternative}\n" if alternative else ""))
    run("openssl", "x509", "-req", "-in", name + ".csr", "-CA", ca + ".crt", "-CAkey", ca + ".key", "-CAcreateserial", "-days", "2", "-extfile",
        name + ".ext", "-out", name + ".crt")


def client(name=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if name:
        c.load_cert_chain(os.path.join(TMP, name + ".crt"), os.path.join(TMP, name + ".key"))
    return c


def test_certificates():
    authority("ca")
    authority("evilca")
    issue("ca", "server", "IP:127.0.0.1", "serverAuth")
    spiffe = "URI:spiffe://example.com/tenant/"
    port = free_port()
    tls = f"tls: {{certificate: {TMP}/server.crt, key: {TMP}/server.key, client_ca: {TMP}/ca.crt, require_client_certificate: false}}"
    n = Node('  - client_certificate: "spiffe://example.com/tenant/{tenant}"\n  - client_certificate: "dns:{tenant}.clients.example.com"\n',
             f'[{{address: "127.0.0.1:{port}", doors: [rest], {tls}}}]')
    n.port = port
    cases = [("c1", "ca", spiffe + "acme", "acme"), ("c2", "ca", "DNS:globex.clients.example.com", "globex"),
             ("c3", "ca", "DNS:x.test," + spiffe + "globex", "globex"),
             ("c4", "evilca", spiffe + "acme", None), ("c5", "ca", "URI:spiffe://example.com.evil.com/tenant/acme", None),
             ("c6", "ca", "DNS:acme.clients.example.com.evil.com", None), ("c7", "ca", "DNS:*.clients.example.com", None),
             ("c8", "ca", "DNS:a.acme.clients.example.com", None), ("c9", "ca", "DNS:spiffe://example.com/tenant/acme", None),
             ("c10", "ca", spiffe + "acme/x", None), ("c11", "ca", spiffe + "acme," + spiffe + "globex", None),
             ("c12", "ca", "email:acme@clients.example.com", None), ("acme.clients.example.com", "ca", "", None)]
    for name, ca, alternative, want in cases:
        issue(ca, name, alternative)
        got = n.ask(wrap=client(name))
        if want:
            equal(f"certificate: {alternative}", got, want)
        else:
            check(f"certificate: {ca} {alternative or name} gives no tenant", got not in TENANTS, got)
    der = run("openssl", "asn1parse", "-genconf", write("nul.cnf", "asn1=SEQUENCE:s\n[s]\nd=IMPLICIT:2C,FORMAT:HEX,OCT:"
              + b"acme.clients.example.com\0.evil.com".hex() + "\n"), "-noout", "-out", "nul.der") or open(f"{TMP}/nul.der", "rb").read()
    issue("ca", "nul", "DER:" + der.hex(":"))
    got = n.ask(wrap=client("nul"))
    check("certificate: a name with a nul byte gives no tenant", got not in TENANTS, got)
    refused("certificate: none", n.ask(wrap=client()))
    refused("certificate: none, but in headers", n.ask("X-Forwarded-Client-Cert: URI=spiffe://example.com/tenant/acme", "X-SSL-Client-Verify: SUCCESS",
                                                       wrap=client()))
    n.stop()
    n = Node('  - client_certificate: "spiffe://example.com/tenant/{tenant}"\n')
    for principal, code in [("spiffe://example.com/tenant/acme", 0), ("spiffe://example.com/tenant/acme/x", 7), ("CN=spiffe://example.com/tenant/acme", 7),
                            ("", 7)]:
        equal(f"certificate: over ext_authz, principal {principal!r}",
              Check(n.grpc, check_request(attributes={1: {4: principal}})).code, code)
    equal("certificate: over ext_authz, x-forwarded-client-cert",
          Check(n.grpc, check_request(headers={"x-forwarded-client-cert": "URI=spiffe://example.com/tenant/acme"})).code, 7)
    n.stop()


def write(name, text):
    with open(os.path.join(TMP, name), "w") as f:
        f.write(text)
    return os.path.join(TMP, name)


def test_jwks_tls(key):
    """After test_certificates, whose authority signs the key server's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(TMP, "server.crt"), os.path.join(TMP, "server.key"))
    server = KeyServer(context)
    server.keys = [key]
    rule = jwt_rule(f'jwks_url: "https://127.0.0.1:{server.port}/keys"')
    n = Node(rule)
    check("jwks: over TLS with an unknown authority: not fetched", wait_for(lambda: "keys not fetched" in open(n.log).read()))
    refused("jwks: over TLS with an unknown authority", n.ask(bearer(key.token("acme"))))
    n.stop()
    n = Node(rule, environment=[f"SSL_CERT_FILE={TMP}/ca.crt"])
    check("jwks: over TLS with a known authority", wait_for(lambda: n.ask(bearer(key.token("acme"))) == "acme"))
    n.stop()
    server.close()


bundles()
test_header()
test_host()
test_path()
test_extension()
test_listener_tenants()
RSA, OTHER = Key("k1"), Key("k2")
if shutil.which("nginx"):
    test_nginx()
test_jwt(RSA, OTHER)
test_jwks_url(RSA, OTHER)
test_certificates()
test_jwks_tls(RSA)
finish()
