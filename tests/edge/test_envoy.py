#!/usr/bin/env python3
"""A real Envoy that asks `regent edge`: over gRPC (TCP, Unix sockets, TLS, mTLS) and over HTTP, with the files of docs/envoy.md.

in: BUILD, REGENT_CACHE (Envoy is fetched there once). out: TAP. owns: Envoys, nodes and an upstream."""
import json
import os
import platform
import socket
import subprocess
import threading
import time

import yaml

from edge_lib import ROOT, TMP, check, equal, finish, free_port, start, stop, wait_for
from proxy_lib import Node, ask, doc_files, moved, start_upstream

VERSION = "1.40.0"
CACHE = os.environ.get("REGENT_CACHE") or os.path.expanduser("~/.cache/regent")
ENVOY = f"{CACHE}/envoy-{VERSION}/envoy"
FILTERS = "type.googleapis.com/envoy.extensions.filters.http."
BOB = {"X-Login": "bob"}

# Every member of a decision, and the input shown back.
MORE = """package shop.authz
import rego.v1
http := input.attributes.request.http
default decision := false
decision := {"allowed": true, "headers": {"x-user": ["a", "b"], "x-one": "1"}, "response_headers_to_add": [{"x-seen": "yes"}, {"x-seen": "twice"}],
    "request_headers_to_remove": ["x-secret"], "query_parameters_to_set": {"set": "new", "two": ["1", "2"]}, "query_parameters_to_remove": ["gone"],
    "dynamic_metadata": {"who": "bob", "n": 7, "deep": {"list": [true, null]}}} if input.parsed_path[0] == "all"
decision := {"allowed": false, "body": json.marshal(input), "http_status": 403} if input.parsed_path[0] == "show"
decision := {"allowed": false, "http_status": 429, "headers": {"retry-after": "7"}, "body": "slow", "dynamic_metadata": {"who": "eve"}} if input.parsed_path[0] == "slow"
decision := {"allowed": false, "http_status": to_number(input.parsed_path[1])} if input.parsed_path[0] == "status"
decision := {"allowed": 1} if input.parsed_path[0] == "mistyped"
decision := true if input.parsed_path[0] == "true"
"""
SPIN = """package shop.authz
import rego.v1
decision := count([1 | some i in numbers.range(1, 4000); some j in numbers.range(1, 4000); i * j < 0]) == 0
"""


def manager_of(listener):
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


class Envoy:
    """One Envoy on a documented configuration, changed by `change(listener, filter, clusters by name)`."""
    count = 0

    def __init__(self, text, node, upstream, change=None):
        Envoy.count += 1
        self.port = free_port()
        config = yaml.safe_load(moved(text, {**node.ports, 10000: self.port, 9000: upstream}))
        resources = config["static_resources"]
        listener = resources["listeners"][0]
        if change:
            change(listener, manager_of(listener)["http_filters"][0]["typed_config"], {c["name"]: c for c in resources["clusters"]})
        path = f"{TMP}/envoy{Envoy.count}.json"
        with open(path, "w") as f:
            json.dump(config, f)
        self.log = f"{TMP}/envoy{Envoy.count}.log"
        self.process = start([ENVOY, "-c", path, "--concurrency", "1", "-l", "warning", "--disable-hot-restart", "--base-id", str(os.getpid() % 10000 + Envoy.count)],
                             self.log)
        self.up = wait_for(self.answers, 30)

    def answers(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True

    def stop(self):
        stop(self.process)


def answers(name, envoy):
    """The documented policy, whatever the way between Envoy and the node."""
    reply = ask(envoy.port, path="/public/a?x=1")
    got = (reply.status, reply.upstream().get("path"), reply.upstream().get("headers", {}).get("x-user"))
    equal(f"{name}: a guest reads what is public", got, (200, "/public/a?x=1", "guest"))
    reply = ask(envoy.port, "POST", "/orders", BOB, b'{"a":1}')
    got = (reply.status, reply.upstream().get("body"), reply.upstream().get("headers", {}).get("x-user"), reply.headers.get("x-decided-by"))
    equal(f"{name}: who is logged in writes", got, (200, '{"a":1}', "bob", "regent"))
    reply = ask(envoy.port, path="/orders")
    equal(f"{name}: who is not is told to log in", (reply.status, reply.headers.get("www-authenticate"), reply.body), (401, "Bearer", b"log in first\n"))
    reply = ask(envoy.port, "DELETE", "/orders", BOB)
    equal(f"{name}: a denial", (reply.status, reply.body), (403, b"not that\n"))


def documented(files, upstream):
    node = Node(files["edge.yaml"], {"shop": (files["policy.rego"], "shop/authz/decision")})
    envoy = Envoy(files["envoy.yaml"], node, upstream)
    check("Envoy starts on the documented configuration", envoy.up, open(envoy.log).read())
    answers("gRPC", envoy)
    lies = {"X-Login": "", "X-Tenant-Id": "other", "tenant_id": "other", "X-Original-Method": "GET", "X-Forwarded-Method": "GET"}
    equal("gRPC: a client cannot name the tenant", ask(envoy.port, path="/public/", headers={**lies}, host="other.example.com").status, 200)
    equal("gRPC: a path that cannot be decoded", (ask(envoy.port, path="/public/?a=%zz").status), 400)
    equal("gRPC: JSON that is none", ask(envoy.port, "POST", "/orders", {**BOB, "Content-Type": "application/json"}, b'{"a":').status, 400)
    node.stop()
    equal("gRPC: the node is gone: denied", ask(envoy.port, path="/public/").status, 403)
    node.start()
    check("gRPC: the node is back: allowed", wait_for(lambda: ask(envoy.port, path="/public/").status == 200))
    envoy.stop()
    return node


def over_http(files, node, upstream):
    """envoy-http.yaml in the place of grpc_service."""
    part = files["envoy-http.yaml"]
    text = files["envoy.yaml"]
    at = text.index("              grpc_service:")
    text = text[:at] + part + text[text.index("          - name: envoy.filters.http.router"):]

    def plain(_listener, _filter, clusters):
        del clusters["regent"]["typed_extension_protocol_options"]
        address(clusters["regent"], node.ports[8181])
    envoy = Envoy(text, node, upstream, plain)
    check("Envoy starts with http_service", envoy.up, open(envoy.log).read())
    answers("HTTP", envoy)
    lies = {"X-Original-URI": "/public/", "X-Forwarded-Uri": "/public/", "X-Forwarded-Method": "GET", "X-Original-Method": "GET", "X-Envoy-Original-Path": "/public/"}
    equal("HTTP: headers of other dialects count for nothing", ask(envoy.port, "POST", "/orders", lies, b"").status, 401)
    for path in ("/authz/nginx", "/../nginx/public/", "//public/", "/nginx", "/traefik/public/"):
        check(f"HTTP: {path} is decided about as it is", ask(envoy.port, path=path, headers=lies).status in (200 if path == "//public/" else 401, 400))
    equal("HTTP: a host that is nobody's", ask(envoy.port, path="/public/", host="other.example.com").status, 403)
    check("HTTP: the id of the decision reaches the client", len(ask(envoy.port, path="/orders").headers.get("x-regent-decision-id", "")) == 36)
    envoy.stop()
    return text, plain


def address(cluster, where):
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"] = {"pipe": {"path": where}} if isinstance(where, str) else {"socket_address": {"address": "127.0.0.1", "port_value": where}}


def certificates():
    """A CA, a server's certificate for regent.example, a client's with a SPIFFE id, and one that no CA of ours has signed."""
    def run(*command):
        subprocess.run(["openssl", *command], check=True, capture_output=True, cwd=TMP)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-days", "2")
    for name, san in (("server", "DNS:regent.example"), ("client", "URI:spiffe://example.com/tenant/shop")):
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
        with open(TMP + "/san.cnf", "w") as f:
            f.write("subjectAltName=" + san)
        run("x509", "-req", "-in", name + ".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", name + ".crt", "-days", "2", "-extfile", "san.cnf")
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "stranger.key", "-out", "stranger.crt", "-subj", "/CN=stranger",
        "-addext", "subjectAltName=URI:spiffe://example.com/tenant/shop", "-days", "2")


def tls_socket(client):
    context = {"validation_context": {"trusted_ca": {"filename": TMP + "/ca.crt"},
                                      "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "regent.example"}}]}}
    if client:
        context["tls_certificates"] = [{"certificate_chain": {"filename": f"{TMP}/{client}.crt"}, "private_key": {"filename": f"{TMP}/{client}.key"}}]
    return {"name": "tls", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": "regent.example",
                                            "common_tls_context": context}}


def transports(files, upstream):
    """One node with a listener of each kind."""
    certificates()
    ports = {"tls": free_port(), "mtls": free_port()}
    sockets = {"unix": TMP + "/authz.sock", "abstract": f"@regent-{os.getpid()}"}
    tls = {"certificate": TMP + "/server.crt", "key": TMP + "/server.key"}

    def config(p):
        return {"tenants": {"directory": p["/var/lib/regent"]}, "authz": {"path": "shop/authz/decision"},
                "tenant_from": [{"client_certificate": "spiffe://example.com/tenant/{tenant}"}, {"context_extension": "tenant_id"}],
                "listeners": [{"name": "unix", "address": "unix:" + sockets["unix"], "doors": ["ext_authz"]},
                              {"name": "abstract", "address": "unix:" + sockets["abstract"], "doors": ["ext_authz"]},
                              {"name": "tls", "address": f"127.0.0.1:{ports['tls']}", "doors": ["ext_authz"], "tls": tls},
                              {"name": "mtls", "address": f"127.0.0.1:{ports['mtls']}", "doors": ["ext_authz"], "tls": {**tls, "client_ca": TMP + "/ca.crt"}}]}
    node = Node(config, {"shop": (files["policy.rego"], "shop/authz/decision")}, "transports")
    for name, where, client in (("Unix socket", sockets["unix"], None), ("abstract socket", sockets["abstract"], None), ("TLS", ports["tls"], ""),
                                ("mTLS", ports["mtls"], "client")):
        def change(_listener, _filter, clusters, where=where, client=client):
            address(clusters["regent"], where)
            if client is not None:
                clusters["regent"]["transport_socket"] = tls_socket(client)
        envoy = Envoy(files["envoy.yaml"], node, upstream, change)
        answers(name, envoy)
        envoy.stop()

    def stranger(_listener, _filter, clusters):
        address(clusters["regent"], ports["mtls"])
        clusters["regent"]["transport_socket"] = tls_socket("stranger")
    envoy = Envoy(files["envoy.yaml"], node, upstream, stranger)
    equal("mTLS: a certificate that nobody vouches for", ask(envoy.port, path="/public/").status, 403)
    envoy.stop()
    principals(files, node, upstream, sockets["unix"])
    node.stop()


def principals(files, node, upstream, where):
    """The certificate that a client shows to Envoy names the tenant; without one there is none."""
    def change(listener, _filter, clusters):
        address(clusters["regent"], where)
        del manager_of(listener)["route_config"]["virtual_hosts"][0]["typed_per_filter_config"]
        listener["filter_chains"][0]["transport_socket"] = {"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": {
                "tls_certificates": [{"certificate_chain": {"filename": TMP + "/server.crt"}, "private_key": {"filename": TMP + "/server.key"}}],
                "validation_context": {"trusted_ca": {"filename": TMP + "/ca.crt"}}}}}
    envoy = Envoy(files["envoy.yaml"], node, upstream, change)

    def status(*more):
        done = subprocess.run(["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", TMP + "/ca.crt", "--connect-to",
                               f"regent.example:443:127.0.0.1:{envoy.port}", *more, "https://regent.example/public/"], capture_output=True, text=True)
        return done.stdout
    check("a client's certificate names the tenant", wait_for(lambda: status("--cert", TMP + "/client.crt", "--key", TMP + "/client.key") == "200"))
    equal("without one there is no tenant", status(), "403")
    equal("a certificate of a stranger gets nowhere", status("--cert", TMP + "/stranger.crt", "--key", TMP + "/stranger.key"), "000")
    envoy.stop()


def with_log(listener, filters, _clusters):
    """An access log with the filter's dynamic metadata, and a second tenant by its route."""
    manager = manager_of(listener)
    manager["access_log"] = [{"name": "file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": TMP + "/access.log",
        "log_format": {"json_format": {"path": "%REQ(:PATH)%", "authz": "%DYNAMIC_METADATA(envoy.filters.http.ext_authz)%"}}}}]
    host = manager["route_config"]["virtual_hosts"][0]
    host["routes"].insert(0, {"match": {"prefix": "/of-spin"}, "route": {"cluster": "upstream"}, "typed_per_filter_config": {"envoy.filters.http.ext_authz": {
        "@type": FILTERS + "ext_authz.v3.ExtAuthzPerRoute", "check_settings": {"context_extensions": {"tenant_id": "spin"}}}}})
    host["routes"].insert(0, {"match": {"prefix": "/of-nobody"}, "route": {"cluster": "upstream"}, "typed_per_filter_config": {"envoy.filters.http.ext_authz": {
        "@type": FILTERS + "ext_authz.v3.ExtAuthzPerRoute", "check_settings": {"context_extensions": {"tenant_id": "nobody"}}}}})
    filters["failure_mode_allow"] = True
    filters["grpc_service"]["timeout"] = "5s"
    filters["include_peer_certificate"] = True
    filters["metadata_context_namespaces"] = ["envoy.filters.http.ext_authz"]


def decision_object(envoy):
    """Each member does what it says, in Envoy."""
    reply = ask(envoy.port, path="/all/x?set=old&gone=1&kept=2", headers={"X-Secret": "s", "X-User": "root"})
    seen = reply.upstream()
    query = sorted(seen.get("path", "?").partition("?")[2].split("&"))
    equal("query parameters set and removed", [q for q in query if q != "two=1"], ["kept=2", "set=new", "two=2"])
    equal("request headers set and removed", (seen["headers"].get("x-one"), "x-secret" in seen["headers"], "root" in seen["headers"].get("x-user", "")), ("1", False, False))
    equal("response headers added", "yes" in reply.headers.get("x-seen", "") or "twice" in reply.headers.get("x-seen", ""), True)
    reply = ask(envoy.port, path="/slow")
    equal("status, header and body of a denial", (reply.status, reply.headers.get("retry-after"), reply.body), (429, "7", b"slow"))
    equal("true", ask(envoy.port, path="/true").status, 200)
    equal("false", ask(envoy.port, path="/false").status, 403)

    def logged(path):
        return [l["authz"] for l in map(json.loads, open(TMP + "/access.log")) if l["path"].startswith(path)]
    wait_for(lambda: logged("/slow") and logged("/all") and logged("/true"), 15)
    allowed, denied, plain = logged("/all")[0], logged("/slow")[0], logged("/true")[0]
    equal("dynamic metadata of an allowed request", {k: v for k, v in allowed.items() if k in ("who", "n", "deep")}, {"who": "bob", "n": 7, "deep": {"list": [True, None]}})
    check("dynamic metadata of a denied one", denied and denied.get("who") == "eve", denied)
    check("the decision's id in all of them", all(len(m.get("decision_id", "")) == 36 for m in (allowed, denied, plain)), (allowed, denied, plain))


def shown(envoy, method="POST", path="/show/a%20b?q=1", headers=(), body=None):
    reply = ask(envoy.port, method, path, headers, body)
    return json.loads(reply.body) if reply.body.startswith(b"{") else {"status": reply.status, "body": reply.body}


def inputs(envoy):
    """What the policy sees of a real Envoy's request."""
    seen = shown(envoy, headers={"Content-Type": "application/json", "X-A": "1"}, body=b'{"k":[1,2.50]}')
    http = seen["attributes"]["request"]["http"]
    equal("input: the request", (http["method"], http["path"], http["host"], http["scheme"], http["protocol"], http["headers"]["x-a"], http["headers"][":path"]),
          ("POST", "/show/a%20b?q=1", "shop.example.com", "http", "HTTP/1.1", "1", "/show/a%20b?q=1"))
    equal("input: parsed", (seen["parsed_path"], seen["parsed_query"], seen["parsed_body"], seen["truncated_body"]), (["show", "a b"], {"q": ["1"]}, {"k": [1, 2.5]}, False))
    equal("input: size and time are numbers", (http["size"], type(seen["attributes"]["request"]["time"]["seconds"])), (14, int))
    source = seen["attributes"]["source"]["address"]["socketAddress"]
    equal("input: source", (source["address"], type(source["portValue"])), ("127.0.0.1", int))
    equal("input: context extensions", seen["attributes"]["contextExtensions"], {"tenant_id": "shop"})
    seen = shown(envoy, headers={"Content-Type": "application/json"}, body=b'{"k":"' + b"x" * 9000 + b'"}')
    equal("input: a body that came in part", (seen["parsed_body"], seen["truncated_body"], len(seen["attributes"]["request"]["http"]["body"])), (None, True, 8192))
    seen = shown(envoy, headers={"Content-Type": "application/x-www-form-urlencoded"}, body=b"a=1&a=%20&b")
    equal("input: a form", seen["parsed_body"], {"a": ["1", " "], "b": [""]})
    seen = shown(envoy, headers={"Content-Type": "multipart/form-data; boundary=B"},
                 body=b'--B\r\nContent-Disposition: form-data; name=f\r\nContent-Type: application/json\r\n\r\n{"x":1}\r\n--B--\r\n')
    equal("input: a multipart form", seen["parsed_body"], {"f": [{"x": 1}]})
    seen = shown(envoy, headers=[("X-Twice", "1"), ("X-Twice", "2"), ("X-Bytes", "a\xffb")])
    headers = seen["attributes"]["request"]["http"]["headers"]
    equal("input: a header that comes twice", headers["x-twice"], "1,2")
    check("input: a header that is no UTF-8", headers["x-bytes"][0] == "a" and headers["x-bytes"][-1] == "b", headers["x-bytes"])


def raw(envoy):
    """with pack_as_bytes and encode_raw_headers."""
    seen = shown(envoy, headers=[("Content-Type", "application/octet-stream"), ("X-Bytes", "a\xffb")], body=b"\x00\xff\xfe")
    http = seen["attributes"]["request"]["http"]
    values = {h["key"]: h["rawValue"] for h in http["headerMap"]["headers"]}
    equal("raw: header and body", (values["x-bytes"], http["rawBody"], "headers" in http, "body" in http), ("Yf9i", "AP/+", False, False))
    seen = shown(envoy, headers={"Content-Type": "application/json"}, body=b'[1]')
    equal("raw: JSON is parsed all the same", (seen["parsed_body"], seen["truncated_body"]), ([1], False))


def never_open(node, envoy):
    """failure_mode_allow is true: what a client or tenant can provoke is denied all the same."""
    equal("a tenant that spins is denied", (ask(envoy.port, path="/of-spin").status), 403)
    check("because of its deadline", any("deadline" in r for r in node.reasons()), node.reasons()[-3:])
    others = []
    spinners = [threading.Thread(target=ask, args=(envoy.port, "GET", "/of-spin")) for _ in range(8)]
    for t in spinners:
        t.start()
    for _ in range(20):
        begin = time.time()
        others.append((ask(envoy.port, path="/true").status, time.time() - begin < 2))
    for t in spinners:
        t.join()
    equal("while it spins others are answered", set(others), {(200, True)})
    equal("an unknown tenant is denied", ask(envoy.port, path="/of-nobody").status, 403)
    equal("a query that cannot be parsed is denied", ask(envoy.port, path="/true?a=%zz").status, 400)
    equal("a body that cannot be parsed is denied", ask(envoy.port, "POST", "/true", {"Content-Type": "application/json"}, b"{").status, 400)
    equal("what opa-envoy-plugin leaves to the failure mode is left to it", ask(envoy.port, path="/mistyped").status, 200)


def http_never_open(node, text, plain, upstream):
    def opened(listener, filters, clusters):
        plain(listener, filters, clusters)
        filters["failure_mode_allow"] = True
        del filters["with_request_body"]
    envoy = Envoy(text, node, upstream, opened)
    for status in (200, 201, 204, 500, 502, 503):
        reply = ask(envoy.port, path=f"/status/{status}")
        check(f"HTTP: a denial with {status} is one, with failure_mode_allow", reply.status == 403 and not reply.upstream(), (reply.status, reply.body))
    equal("HTTP: other statuses stay", [ask(envoy.port, path=f"/status/{s}").status for s in (302, 404, 429)], [302, 404, 429])
    equal("HTTP: a mistyped decision is denied", ask(envoy.port, path="/mistyped").status, 403)
    equal("HTTP: query parameters cannot be changed: denied", ask(envoy.port, path="/all").status, 403)
    envoy.stop()


def main():
    if platform.machine() != "x86_64" or subprocess.run([ROOT + "/third_party/envoy/build.sh", os.path.dirname(ENVOY)]).returncode:
        print("ok 1 - Envoy # SKIP no Envoy for this machine\n1..1")
        return
    files, upstream = doc_files(), start_upstream()
    node = documented(files, upstream)
    text, plain = over_http(files, node, upstream)
    node.stop()
    transports(files, upstream)
    more = Node(files["edge.yaml"], {"shop": (MORE, "shop/authz/decision"), "spin": (SPIN, "shop/authz/decision")}, "more")
    envoy = Envoy(files["envoy.yaml"], more, upstream, with_log)
    decision_object(envoy)
    inputs(envoy)
    never_open(more, envoy)
    envoy.stop()

    def raw_change(_listener, filters, _clusters):
        filters["with_request_body"]["pack_as_bytes"] = True
        filters["encode_raw_headers"] = True
    envoy = Envoy(files["envoy.yaml"], more, upstream, raw_change)
    raw(envoy)
    envoy.stop()

    def plain_more(_listener, _filter, clusters):
        del clusters["regent"]["typed_extension_protocol_options"]
        address(clusters["regent"], more.ports[8181])
    http_never_open(more, text, plain_more, upstream)
    finish()


main()
