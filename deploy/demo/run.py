#!/usr/bin/env python3
"""The main job, shown: three tenants of one template are compiled, served, and asked over REST and through Envoy.

usage: make demo      (DEMO_EXIT=1 ends after the table; else it serves until Ctrl-C)
"""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
CACHE = os.environ.get("REGENT_CACHE", os.path.expanduser("~/.cache/regent"))
ENVOY_VERSION = "1.40.0"
REGENT = os.path.join(BUILD, "regent")
COLOUR = sys.stdout.isatty()

TENANTS = {
    "acme": {"admin": ["read:document", "write:document", "delete:document"], "member": ["read:document", "write:document"]},
    "globex": {"admin": ["read:invoice", "write:invoice"], "auditor": ["read:invoice"]},
    "initech": {"admin": ["read:report"], "guest": []},
}

# tenant asked, user, action, resource
QUESTIONS = [
    ("acme", {"id": "u1", "role": "member", "tenant_id": "acme"}, "write", {"type": "document", "id": "d1", "owner": "u9"}),
    ("acme", {"id": "u1", "role": "member", "tenant_id": "acme"}, "delete", {"type": "document", "id": "d1", "owner": "u9"}),
    ("globex", {"id": "u2", "role": "auditor", "tenant_id": "globex"}, "read", {"type": "invoice", "id": "i7", "owner": "u5"}),
    ("globex", {"id": "u1", "role": "admin", "tenant_id": "acme"}, "write", {"type": "invoice", "id": "i7", "owner": "u5"}),
    ("initech", {"id": "u3", "role": "guest", "tenant_id": "initech"}, "read", {"type": "report", "id": "r2", "owner": "u3"}),
    ("initech", {"id": "u3", "role": "guest", "tenant_id": "initech"}, "write", {"type": "report", "id": "r2", "owner": "u3"}),
    ("nobody", {"id": "u4", "role": "admin", "tenant_id": "nobody"}, "read", {"type": "report", "id": "r2", "owner": "u4"}),
]
METHOD = {"read": "GET", "write": "PUT", "delete": "DELETE"}


def say(text):
    print(text, flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process, what):
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"{what} ended with status {process.returncode}; its log is above")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{what} does not listen on port {port}")


def build_tenant(folder, tenant, roles):
    place = os.path.join(folder, "tenants", tenant)
    os.makedirs(place)
    data = os.path.join(folder, tenant + ".json")
    with open(data, "w") as f:
        json.dump({"roles": roles}, f)
    start = time.perf_counter()
    subprocess.run([REGENT, "build", "-t", "wasm", "-e", "tenant/authz/allow", "-e", "tenant/authz/decision",
                    "-e", "tenant/authz/envoy", "--set", "TENANT_ID=" + tenant, "-d", data,
                    os.path.join(HERE, "policy/authz.rego"), "-o", os.path.join(place, "bundle.tar.gz")], check=True)
    say(f"  {tenant:8} {os.path.getsize(os.path.join(place, 'bundle.tar.gz')):6} bytes, "
        f"{(time.perf_counter() - start) * 1000:.0f} ms")


def envoy_config(port, grpc_port):
    def host(tenant):
        return {"name": tenant, "domains": [tenant + ".localhost"],
                "typed_per_filter_config": {"envoy.filters.http.ext_authz": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
                    "check_settings": {"context_extensions": {"tenant_id": tenant}}}},
                "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "the service answers\n"}}}]}
    authz = {"@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", "transport_api_version": "V3",
             "grpc_service": {"envoy_grpc": {"cluster_name": "regent"}, "timeout": "0.2s"}}
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": "demo", "normalize_path": True, "merge_slashes": True,
               "route_config": {"virtual_hosts": [host(t) for t in [*TENANTS, "nobody"]]},
               "http_filters": [{"name": "envoy.filters.http.ext_authz", "typed_config": authz},
                                {"name": "envoy.filters.http.router", "typed_config": router}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    upstream = {"socket_address": {"address": "127.0.0.1", "port_value": grpc_port}}
    http2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}}
    return {"static_resources": {
        "listeners": [{"address": address, "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "regent", "type": "STATIC", "typed_extension_protocol_options": http2,
                      "load_assignment": {"cluster_name": "regent", "endpoints": [
                          {"lb_endpoints": [{"endpoint": {"address": upstream}}]}]}}]}}


def start_envoy(folder, grpc_port):
    place = os.path.join(CACHE, "envoy-" + ENVOY_VERSION)
    subprocess.run([os.path.join(ROOT, "third_party/envoy/build.sh"), place], check=True)
    port = free_port()
    config = os.path.join(folder, "envoy.json")
    with open(config, "w") as f:
        json.dump(envoy_config(port, grpc_port), f)
    log = open(os.path.join(folder, "envoy.log"), "w")
    process = subprocess.Popen([os.path.join(place, "envoy"), "-c", config, "--concurrency", "1", "-l", "warning",
                                "--disable-hot-restart", "--base-id", "0"], stdout=log, stderr=log)
    wait_for(port, process, "envoy")
    return process, port


class Rest:
    """One kept-alive connection to the edge."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port)

    def post(self, tenant, path, document):
        body = json.dumps({"input": document})
        self.http.request("POST", "/v1/data/" + path, body, {"content-type": "application/json", "x-tenant-id": tenant})
        reply = self.http.getresponse()
        return reply.status, json.loads(reply.read())

    def spent(self, tenant):
        """Seconds and number of the tenant's evaluations, from /metrics."""
        self.http.request("GET", "/metrics")
        lines = self.http.getresponse().read().decode().splitlines()
        found = {line.split("{")[0]: float(line.split()[-1]) for line in lines
                 if line.startswith("envoy_wasm_opa_eval_duration_") and f'tenant_id="{tenant}"' in line and "bucket" not in line}
        return found.get("envoy_wasm_opa_eval_duration_sum", 0), found.get("envoy_wasm_opa_eval_duration_count", 0)


def ask_rest(rest, tenant, user, action, resource):
    document = {"user": user, "action": action, "resource": resource}
    rest.post(tenant, "tenant/authz/decision", document)  # the first call makes the instance
    before = rest.spent(tenant)
    best = 1e9
    for _ in range(50):
        start = time.perf_counter()
        status, reply = rest.post(tenant, "tenant/authz/decision", document)
        best = min(best, time.perf_counter() - start)
    after = rest.spent(tenant)
    count = after[1] - before[1]
    decision = (after[0] - before[0]) / count * 1e6 if count else None
    if status != 200 or "result" not in reply:
        return "refused", reply.get("message", "undefined"), decision, best * 1e6
    return ("allow" if reply["result"]["allow"] else "deny"), reply["result"]["reason"], decision, best * 1e6


def ask_envoy(port, tenant, user, action, resource):
    headers = {"host": tenant + ".localhost", "x-user": user["id"], "x-role": user["role"], "x-tenant-id": user["tenant_id"],
               "x-owner": resource["owner"]}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    best = 1e9
    for _ in range(20):
        start = time.perf_counter()
        connection.request(METHOD[action], f"/{resource['type']}/{resource['id']}", headers=headers)
        reply = connection.getresponse()
        body = reply.read().decode().strip()
        best = min(best, time.perf_counter() - start)
    return ("allow" if reply.status == 200 else "deny"), f"{reply.status} {body}", None, best * 1e6


def table(rows):
    head = ("door", "tenant", "question", "answer", "reason", "decision µs", "round trip µs")
    cells = [head] + [tuple("" if c is None else f"{c:.1f}" if isinstance(c, float) and i == 5 else f"{c:.0f}" if isinstance(c, float)
                            else c for i, c in enumerate(r)) for r in rows]
    widths = [max(len(r[i]) for r in cells) for i in range(len(head))]
    for number, row in enumerate(cells):
        line = "  ".join(c.rjust(w) if i >= 5 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
        if COLOUR and number:
            line = line.replace(row[3].ljust(widths[3]), f"\033[{'32' if row[3] == 'allow' else '31'}m{row[3].ljust(widths[3])}\033[0m", 1)
        say(line)
        if number == 0:
            say("  ".join("-" * w for w in widths))


def main():
    folder = tempfile.mkdtemp(prefix="regent-demo-")
    processes = []
    try:
        say("Compiling three tenants of one template (deploy/demo/policy/authz.rego):")
        for tenant, roles in TENANTS.items():
            build_tenant(folder, tenant, roles)
        rest_port, grpc_port = free_port(), free_port()
        log = open(os.path.join(folder, "edge.log"), "w")
        edge = subprocess.Popen([REGENT, "edge", "--directory", folder, "--rest-addr", f"127.0.0.1:{rest_port}", "--grpc-addr",
                                 f"127.0.0.1:{grpc_port}", "--authz-path", "tenant/authz/envoy"], stderr=log)
        processes.append(edge)
        wait_for(rest_port, edge, "regent edge")
        envoy, envoy_port = start_envoy(folder, grpc_port)
        processes.append(envoy)
        say("\nAsking over REST and through Envoy:\n")
        rest, rows = Rest(rest_port), []
        for tenant, user, action, resource in QUESTIONS:
            what = f"{user['role']} {user['id']} of {user['tenant_id']}: {action} {resource['type']}"
            rows.append(("REST", tenant, what, *ask_rest(rest, tenant, user, action, resource)))
            rows.append(("Envoy", tenant, what, *ask_envoy(envoy_port, tenant, user, action, resource)))
        table(rows)
        say("\nWhat the edge logged of answers that were no plain decisions:")
        with open(os.path.join(folder, "edge.log")) as f:
            denied = [line for line in f if "denied" in line]
        say("  " + denied[0].strip() if denied else "  nothing")
        if os.environ.get("DEMO_EXIT") == "1":
            return 0
        say(f"""
Serving until Ctrl-C. Try:
  curl -s -H 'x-tenant-id: acme' 127.0.0.1:{rest_port}/v1/data/tenant/authz/decision -d '{{"input":{{"user":{{"id":"u1",
    "role":"member","tenant_id":"acme"}},"action":"read","resource":{{"type":"document","owner":"u1"}}}}}}'
  curl -si -H 'host: acme.localhost' -H 'x-user: u1' -H 'x-role: member' -H 'x-tenant-id: acme' 127.0.0.1:{envoy_port}/document/d1
  curl -s 127.0.0.1:{rest_port}/metrics | grep acme
Tenants and logs are in {folder}; a new bundle.tar.gz there is picked up at once.""")
        signal.pause()
    except KeyboardInterrupt:
        say("")
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
