#!/usr/bin/env python3
"""A real Envoy that asks `regent edge` over ext_authz: allowed and denied requests end to end.

in: BUILD, REGENT_CACHE (Envoy is fetched there once). out: TAP. owns: Envoy, the edge and an upstream."""
import json
import os
import platform
import subprocess
import sys
import threading
from http import server as http_server

from edge_lib import ROOT, TMP, Edge, build, equal, check, finish, free_port, http, start, stop, wait_for

VERSION = "1.40.0"
CACHE = os.environ.get("REGENT_CACHE") or os.path.expanduser("~/.cache/regent")
ENVOY = f"{CACHE}/envoy-{VERSION}/envoy"

POLICY = """package envoy.authz
import rego.v1
default decision := {"allowed": false, "http_status": 401, "headers": {"x-why": "tenant %s"}, "body": "denied by %s"}
decision := {"allowed": true, "headers": {"x-user": "%s"}, "response_headers_to_add": {"x-seen": "yes"},
    "request_headers_to_remove": ["x-secret"], "query_parameters_to_set": {"q": "1"}} if input.parsed_path[1] == "open"
decision := {"allowed": true} if input.parsed_body.pass == true
"""


class Upstream(http_server.BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self):
        n = int(self.headers.get("content-length", 0))
        body = json.dumps({"path": self.path, "headers": dict(self.headers), "body": self.rfile.read(n).decode()}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def cluster(name, port, http2):
    c = {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": {"cluster_name": name, "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}]}]}}
    if http2:
        c["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}}
    return c


def route(prefix, tenant):
    return {"match": {"prefix": prefix}, "route": {"cluster": "upstream"}, "typed_per_filter_config": {"envoy.filters.http.ext_authz": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        "check_settings": {"context_extensions": {"tenant_id": tenant}}}}}


def config(port, edge_port, upstream_port):
    authz = {"name": "envoy.filters.http.ext_authz", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", "transport_api_version": "V3",
        "with_request_body": {"max_request_bytes": 8192, "allow_partial_message": True},
        "grpc_service": {"envoy_grpc": {"cluster_name": "edge"}, "timeout": "2s"}, "failure_mode_allow": False}}
    router = {"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
    manager = {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": "in", "http_filters": [authz, router], "route_config": {"virtual_hosts": [
                   {"name": "all", "domains": ["*"], "routes": [route("/a/", "a"), route("/b/", "b"), route("/nobody/", "nobody"),
                                                                {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]}]}}
    return {"static_resources": {
        "listeners": [{"name": "in", "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [cluster("edge", edge_port, True), cluster("upstream", upstream_port, False)]}}


def requests(port, edge):
    status, _, body = http(port, "GET", "/a/open?z=1", headers={"x-secret": "s", "x-tenant-id": "b"})
    seen = json.loads(body) if status == 200 else {"headers": {}, "path": status}
    names = {k.lower(): v for k, v in seen["headers"].items()}
    equal("allowed: upstream sees the policy's headers", (status, names.get("x-user"), "x-secret" in names), (200, "a", False))
    equal("allowed: the query is changed", seen["path"], "/a/open?q=1&z=1")
    status, _, body = http(port, "GET", "/a/closed")
    equal("denied: status and body", (status, body), (401, b"denied by a"))
    equal("tenant of the route, not of the client's header",
          [http(port, "GET", p, headers={"x-tenant-id": "a"})[2] for p in ("/b/closed", "/a/closed")], [b"denied by b", b"denied by a"])
    equal("without a route's tenant: by header", http(port, "GET", "/x/closed", headers={"x-tenant-id": "b"})[2], b"denied by b")
    equal("without any tenant: 403", http(port, "GET", "/x/open")[0], 403)
    equal("unknown tenant: 403", http(port, "GET", "/nobody/open")[0], 403)
    json_body = {"content-type": "application/json"}
    equal("the body is judged", [http(port, "POST", "/a/x", b, json_body)[0] for b in ('{"pass":true}', '{"pass":false}', '{"pass":')],
          [200, 401, 400])
    equal("a cut body is not judged", http(port, "POST", "/a/x", '{"pass":true,"x":"' + "x" * 9000 + '"}', json_body)[0], 401)
    answers = [http(port, "GET", "/a/open" if i % 2 else "/a/closed")[0] for i in range(200)]
    equal("200 requests", answers, [401, 200] * 100)
    stop(edge.process)
    equal("edge gone: Envoy denies", http(port, "GET", "/a/open")[0], 403)
    edge.start()
    check("edge back: Envoy allows again", wait_for(lambda: http(port, "GET", "/a/open")[0] == 200))


def main():
    if platform.machine() != "x86_64" or subprocess.run([ROOT + "/third_party/envoy/build.sh", os.path.dirname(ENVOY)]).returncode:
        print("ok 1 - Envoy # SKIP no Envoy for this machine\n1..1")
        sys.exit(0)
    edge = Edge()
    for tenant in ("a", "b"):
        build({"p.rego": POLICY % (tenant, tenant, tenant)}, ["envoy/authz/decision"], edge.bundle(tenant))
    edge.start()
    upstream = http_server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    port = free_port()
    with open(TMP + "/envoy.json", "w") as f:
        json.dump(config(port, edge.grpc, upstream.server_address[1]), f)
    envoy = start([ENVOY, "-c", TMP + "/envoy.json", "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"], TMP + "/envoy.log")
    if wait_for(lambda: http(port, "GET", "/x/open")[0] != 0, 20):
        requests(port, edge)
    else:
        check("Envoy starts", False, open(TMP + "/envoy.log").read()[-1500:])
    stop(envoy)
    stop(edge.process)
    upstream.shutdown()
    finish()


main()
