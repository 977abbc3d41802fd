#!/usr/bin/env python3
"""The main job, shown: tenants of one template are compiled, served under limits and asked over REST and through Envoy, while a
hostile tenant does its worst; then the node changes while it serves; then a control plane builds, publishes and rolls back.

usage: make demo      (DEMO_EXIT=1 ends after the last step; else it serves until Ctrl-C)
"""
import concurrent.futures
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

import control_part

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
CACHE = os.environ.get("REGENT_CACHE", os.path.expanduser("~/.cache/regent"))
ENVOY_VERSION = "1.40.0"
REGENT = os.path.join(BUILD, "regent")
COLOUR = sys.stdout.isatty()
HOSTILE, WALLED = "mallory", "initech"
ENTRYPOINTS = [a for e in ("allow", "decision", "envoy") for a in ("-e", "tenant/authz/" + e)]

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
    ("nobody", {"id": "u4", "role": "admin", "tenant_id": "nobody"}, "read", {"type": "report", "id": "r2", "owner": "u4"}),
]
METHOD = {"read": "GET", "write": "PUT", "delete": "DELETE"}

# The whole configuration of the node.
EDGE_YAML = """\
tenants: {{directory: {folder}, poll: 100ms}}
tenant_from:
  - context_extension: tenant_id                        # through Envoy: the route says whose request it is
  - header: {{name: x-tenant-id, trusted: [127.0.0.1]}}   # over REST: this header, from this machine only
listeners:
  - {{name: envoy, address: "unix:{folder}/authz.sock", doors: [ext_authz]}}
  - {{name: rest, address: "127.0.0.1:{port}", doors: [rest, health, metrics, status]}}
limits:
  default: {{deadline: 20ms, memory: 32MiB}}
  tenants:
    {hostile}: {{deadline: 5ms, requests_per_second: {rate}, burst: {rate}, concurrent: 2}}
groups:
  - {{name: walled, tenants: [{walled}], memory: 512MiB}}   # evaluated in a process of its own
authz: {{path: tenant/authz/envoy}}
"""


def say(text=""):
    print(text, flush=True)


def step(text):
    say(f"\n\033[1m{text}\033[0m" if COLOUR else f"\n== {text}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port, process, what):
    for _ in range(400):
        if process.poll() is not None:
            sys.exit(f"{what} ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{what} does not listen on port {port}")


# ---- tenants ----

def build_tenant(folder, tenant, policy, roles, options=()):
    place = os.path.join(folder, "tenants", tenant)
    os.makedirs(place, exist_ok=True)
    data = os.path.join(folder, tenant + ".json")
    with open(data, "w") as f:
        json.dump({"roles": roles}, f)
    bundle = os.path.join(place, "bundle.tar.gz")
    start = time.perf_counter()
    subprocess.run([REGENT, "build", "-t", "wasm", *ENTRYPOINTS, *options, "-d", data, os.path.join(HERE, policy), "-o", bundle], check=True)
    say(f"  {tenant:8} {os.path.getsize(bundle):6} bytes, {(time.perf_counter() - start) * 1000:.0f} ms")


def build_tenants(folder):
    step("1. Three tenants of one template (deploy/demo/policy), and one that is hostile (deploy/demo/hostile.rego)")
    for tenant, roles in TENANTS.items():
        build_tenant(folder, tenant, "policy/authz.rego", roles, ["--set", "TENANT_ID=" + tenant])
    build_tenant(folder, HOSTILE, "hostile.rego", {})


# ---- the node ----

class Edge:
    """`regent edge` with the configuration above."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.config, self.log = os.path.join(folder, "edge.yaml"), os.path.join(folder, "edge.log")
        self.process = None

    def configure(self, rate, change=lambda text: text):
        with open(self.config, "w") as f:
            f.write(change(EDGE_YAML.format(folder=self.folder, port=self.port, hostile=HOSTILE, walled=WALLED, rate=rate)))

    def start(self, processes):
        step("2. One node for all of them. Its configuration:")
        self.configure(50)
        say("".join("  " + line for line in open(self.config)).rstrip())
        subprocess.run([REGENT, "edge", "--config", self.config, "--check"], check=True)
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([REGENT, "edge", "--config", self.config, "--log-format", "json"], stderr=log)
        processes.append(self.process)
        wait_for(self.port, self.process, "regent edge")

    def lines(self):
        return [json.loads(line) for line in open(self.log) if line.startswith("{") and line.endswith("}\n")]

    def reload(self, rate, message, change=lambda text: text):
        """A new configuration by SIGHUP; the log line that tells what became of it."""
        before = len(self.lines())
        self.configure(rate, change)
        self.process.send_signal(signal.SIGHUP)
        for _ in range(200):
            found = [line for line in self.lines()[before:] if line["msg"] == message]
            if found:
                return found[0]
            time.sleep(0.02)
        sys.exit(f"no `{message}` in the node's log")


class Rest:
    """One kept-alive connection to the edge."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port)

    def post(self, tenant, path, document):
        body = json.dumps({"input": document})
        self.http.request("POST", "/v1/data/" + path, body, {"content-type": "application/json", "x-tenant-id": tenant})
        reply = self.http.getresponse()
        return reply.status, json.loads(reply.read())

    def metrics(self):
        """{series: value} of /metrics."""
        self.http.request("GET", "/metrics")
        lines = self.http.getresponse().read().decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


# ---- Envoy ----

def envoy_config(port, authz_socket):
    def host(tenant):
        return {"name": tenant, "domains": [tenant + ".localhost"],
                "typed_per_filter_config": {"envoy.filters.http.ext_authz": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
                    "check_settings": {"context_extensions": {"tenant_id": tenant}}}},
                "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "the service answers\n"}}}]}
    authz = {"@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", "transport_api_version": "V3",
             "grpc_service": {"envoy_grpc": {"cluster_name": "regent"}, "timeout": "0.5s"}}
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": "demo", "normalize_path": True, "merge_slashes": True,
               "path_with_escaped_slashes_action": "REJECT_REQUEST",
               "route_config": {"virtual_hosts": [host(t) for t in [*TENANTS, HOSTILE, "nobody"]]},
               "http_filters": [{"name": "envoy.filters.http.ext_authz", "typed_config": authz},
                                {"name": "envoy.filters.http.router", "typed_config": router}]}
    http2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}}
    return {"static_resources": {
        "listeners": [{"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "regent", "type": "STATIC", "typed_extension_protocol_options": http2,
                      "load_assignment": {"cluster_name": "regent", "endpoints": [
                          {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": authz_socket}}}}]}]}}]}}


def start_envoy(folder, processes):
    place = os.path.join(CACHE, "envoy-" + ENVOY_VERSION)
    subprocess.run([os.path.join(ROOT, "third_party/envoy/build.sh"), place], check=True)
    port, config = free_port(), os.path.join(folder, "envoy.json")
    with open(config, "w") as f:
        json.dump(envoy_config(port, os.path.join(folder, "authz.sock")), f)
    with open(os.path.join(folder, "envoy.log"), "w") as log:
        process = subprocess.Popen([os.path.join(place, "envoy"), "-c", config, "--concurrency", "1", "-l", "warning",
                                    "--disable-hot-restart", "--base-id", "0"], stdout=log, stderr=log)
    processes.append(process)
    wait_for(port, process, "envoy")
    return port


# ---- questions ----

def best_of(count, call):
    """The answer and the shortest time in microseconds."""
    best = 1e9
    for _ in range(count):
        start = time.perf_counter()
        answer = call()
        best = min(best, time.perf_counter() - start)
    return answer, best * 1e6


def ask_rest(rest, tenant, user, action, resource):
    document = {"user": user, "action": action, "resource": resource}
    (status, reply), us = best_of(50, lambda: rest.post(tenant, "tenant/authz/decision", document))
    if status != 200 or "result" not in reply:
        return "refused", f"{status} {reply.get('message', 'undefined')}", us
    return ("allow" if reply["result"]["allow"] else "deny"), reply["result"]["reason"], us


def envoy_call(connection, tenant, user, action, resource):
    connection.request(METHOD[action], f"/{resource['type']}/{resource['id']}",
                       headers={"host": tenant + ".localhost", "x-user": user["id"], "x-role": user["role"],
                                "x-tenant-id": user["tenant_id"], "x-owner": resource["owner"]})
    reply = connection.getresponse()
    return reply.status, reply.read().decode().strip()


def ask_envoy(port, *question):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    (status, body), us = best_of(20, lambda: envoy_call(connection, *question))
    return ("allow" if status == 200 else "deny"), f"{status} {body}", us


def table(head, rows, right):
    cells = [tuple(f"{c:.0f}" if isinstance(c, float) else str(c) for c in r) for r in rows]
    widths = [max(len(r[i]) for r in [head, *cells]) for i in range(len(head))]
    for number, row in enumerate([head, ["-" * w for w in widths], *cells]):
        line = "  ".join(c.rjust(w) if i >= right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
        if COLOUR and number > 1:
            for word, colour in (("allow ", "32"), ("deny ", "31"), ("refused ", "31")):
                line = line.replace("  " + word, f"  \033[{colour}m{word}\033[0m", 1)
        say("  " + line)


def ask_all(edge, envoy_port):
    step("3. The same questions over OPA's REST API, and as HTTP requests through Envoy (ext_authz over a Unix socket)")
    rest, rows = Rest(edge.port), []
    for tenant, user, action, resource in QUESTIONS:
        what = f"{user['role']} {user['id']} of {user['tenant_id']}: {action} {resource['type']}"
        rows.append(("REST", tenant, what, *ask_rest(rest, tenant, user, action, resource)))
        rows.append(("Envoy", tenant, what, *ask_envoy(envoy_port, tenant, user, action, resource)))
    table(("door", "tenant", "question", "answer", "reason", "best µs"), rows, 5)


# ---- a hostile neighbour ----

def attack(port, seconds, per_second):
    """Runs as a process of its own: asks for HOSTILE's endless policy, so often, over eight connections; prints what came back."""
    end = time.perf_counter() + seconds

    def run():
        rest, statuses, due = Rest(port), {}, time.perf_counter()
        while time.perf_counter() < end:
            status = rest.post(HOSTILE, "tenant/authz/allow", {})[0]
            statuses[status] = statuses.get(status, 0) + 1
            due += 8 / per_second
            time.sleep(max(0, due - time.perf_counter()))
        return statuses

    total = {}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(run) for _ in range(8)]:
            for status, count in future.result().items():
                total[status] = total.get(status, 0) + count
    print(json.dumps(total))


def neighbours(edge, envoy_port, seconds):
    """What acme (through Envoy) and globex (over REST) see: (tenant, door, answers a second, p50, p99, errors)."""
    def run(call, good):
        times, wrong, start = [], 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            before = time.perf_counter()
            wrong += not good(call())
            times.append(time.perf_counter() - before)
            time.sleep(0.002)
        times.sort()
        return times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000, len(times), wrong
    tenant, user, action, resource = QUESTIONS[2]
    rest, connection = Rest(edge.port), http.client.HTTPConnection("127.0.0.1", envoy_port)
    document = {"user": user, "action": action, "resource": resource}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        a = pool.submit(run, lambda: envoy_call(connection, *QUESTIONS[0]), lambda r: r[0] == 200)
        g = pool.submit(run, lambda: rest.post(tenant, "tenant/authz/decision", document), lambda r: r[0] == 200 and r[1]["result"]["allow"])
        return {"acme, Envoy": a.result(), "globex, REST": g.result()}


def show_neighbours(edge, envoy_port):
    step(f"4. {HOSTILE} sends 400 requests a second, each of which would compute for minutes")
    alone = neighbours(edge, envoy_port, 3)
    attacker = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--attack", str(edge.port), "4.5", "400"],
                                stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    beside = neighbours(edge, envoy_port, 3)
    statuses = json.loads(attacker.communicate(timeout=60)[0])
    rows = []
    for name in alone:
        for when, (p50, p99, count, wrong) in (("alone", alone[name]), (f"beside {HOSTILE}", beside[name])):
            rows.append((name, when, count, wrong, f"{p50:.2f}", f"{p99:.2f}"))
    table(("tenant, door", "", "asked", "wrong", "p50 ms", "p99 ms"), rows, 2)
    say(f"  (milliseconds as a Python client sees them)\n\n  What {HOSTILE} got:")
    meaning = {"429": "over its requests per second, or over its concurrency", "500": "stopped at its deadline of 5 ms", "503": "shed"}
    for status, count in sorted(statuses.items()):
        say(f"    {count:5} × {status}  {meaning.get(status, '')}")
    return sum(row[3] for row in rows) == 0 and "200" not in statuses


# ---- changes ----

def show_changes(edge):
    step("5. Changes while it serves")
    rest, (tenant, user, _, resource) = Rest(edge.port), QUESTIONS[0]
    question = {"user": user, "action": "delete", "resource": resource}
    before = rest.post(tenant, "tenant/authz/decision", question)[1]["result"]["allow"]
    say("  A new bundle for acme, in which members may delete:")
    build_tenant(edge.folder, tenant, "policy/authz.rego", {**TENANTS[tenant], "member": TENANTS[tenant]["admin"]},
                 ["--set", "TENANT_ID=" + tenant, "--revision", "2"])
    after, deadline = before, time.monotonic() + 5
    while after == before and time.monotonic() < deadline:
        after = rest.post(tenant, "tenant/authz/decision", question)[1]["result"]["allow"]
    say(f"  member u1 of acme: delete document: {'allow' if before else 'deny'}, and with revision 2: {'allow' if after else 'deny'}")
    line = edge.reload(1, "configuration read again")
    codes = [rest.post(HOSTILE, "tenant/authz/allow", {})[0] for _ in range(10)]
    say(f"  SIGHUP with {HOSTILE}'s rate at 1 instead of 50: \"{line['msg']}\"; ten of its requests: {' '.join(map(str, codes))}")
    line = edge.reload(1, "configuration refused", lambda text: text.replace("deadline: 20ms", "deadlin: 20ms"))
    say(f"  SIGHUP with a mistake: \"{line['msg']}\": {os.path.basename(line['file'])}: {line['reason']}\n    … and it serves {line['serving']}:"
        f" globex gets {rest.post('globex', 'tenant/authz/allow', {})[0]}")
    edge.configure(1)
    return after and not before and codes.count(429) >= 8


def show_worker(edge):
    step(f"6. {WALLED}'s policies run in a process of their own. Somebody kills it:")
    started = [line for line in edge.lines() if line["msg"] == "worker process started"]
    if not started:
        say("  there is no such process: does this system allow seccomp?")
        return False
    rest = Rest(edge.port)
    os.kill(int(started[-1]["pid"]), signal.SIGKILL)
    codes = {WALLED: [], "acme": []}
    for _ in range(8):
        for tenant, seen in codes.items():
            seen.append(rest.post(tenant, "tenant/authz/allow", {})[0])
        time.sleep(0.02)
    for tenant, seen in codes.items():
        say(f"  {tenant:8} {' '.join(map(str, seen))}")
    return codes["acme"] == [200] * 8 and codes[WALLED][-1] == 200


def show_counts(edge):
    step("7. What the node counted (GET /metrics)")
    for series, value in Rest(edge.port).metrics().items():
        if series.startswith(("regent_limit_total", "envoy_wasm_opa_total", "regent_reloads")) and "bucket" not in series:
            say(f"  {series} {value:.0f}")
    denied = [line for line in edge.lines() if line["msg"] == "denied" and line["tenant_id"] == HOSTILE]
    say(f"  and a line of its log:\n  {json.dumps(denied[0])}" if denied else "")


def wait_for_user(edge, envoy_port):
    say(f"""
Serving until Ctrl-C. Try:
  curl -s -H 'x-tenant-id: acme' 127.0.0.1:{edge.port}/v1/data/tenant/authz/decision -d '{{"input": {{"user": {{"id": "u1",
    "role": "member", "tenant_id": "acme"}}, "action": "read", "resource": {{"type": "document", "owner": "u1"}}}}}}'
  curl -si -H 'host: acme.localhost' -H 'x-user: u1' -H 'x-role: member' -H 'x-tenant-id: acme' 127.0.0.1:{envoy_port}/document/d1
  edit {edge.config}, then: kill -HUP {edge.process.pid}
  tail -f {edge.log}""")
    signal.pause()


def main():
    folder = tempfile.mkdtemp(prefix="regent-demo-")
    processes = []
    good = False
    try:
        build_tenants(folder)
        edge = Edge(folder)
        edge.start(processes)
        envoy_port = start_envoy(folder, processes)
        ask_all(edge, envoy_port)
        good = show_neighbours(edge, envoy_port)
        good = show_changes(edge) and good
        good = show_worker(edge) and good
        show_counts(edge)
        good = control_part.show(REGENT, ROOT, folder, free_port(), step, say, processes) and good
        say("" if good else "\nSomething went otherwise than this demo expects: see the steps above.")
        if os.environ.get("DEMO_EXIT") != "1":
            wait_for_user(edge, envoy_port)
    except KeyboardInterrupt:
        say()
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) == 5 and sys.argv[1] == "--attack":
        attack(int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(main())
