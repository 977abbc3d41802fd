"""Measures a node with many tenants beside the same node with one: throughput round robin over all of them, memory, start.

in:   BUILD with regent; wrk; flags --tenants, --seconds, --rounds, --only.
out:  a line a figure, a table with the targets; $BUILD/bench-tenants.json.
owns: the nodes and clients it starts.
Two kinds: `template`: one policy (P1) with each tenant's name and data; `different`: P1 with three more rules out of 19, in
another order for each tenant, so that no two have the same code.
"""
import argparse
import concurrent.futures
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time

from measure import Report, free_port, start, stop, stop_all, wait_for

BUILD, HERE = os.environ["BUILD"], os.path.dirname(os.path.abspath(__file__))
REGENT, WORK = os.path.join(BUILD, "regent"), os.path.join(BUILD, "bench", "work", "tenants")
P1 = os.path.join(HERE, "p1", "policy.rego")
ENTRYPOINTS = ["-e", "tenant/authz/allow", "-e", "tenant/authz/decision"]
RULES = [
    'input.action == "list"', 'input.action != "remove"\n\tinput.user.role == "auditor"', 'startswith(input.resource.id, "pub-")',
    'endswith(input.resource.id, "-draft")', 'contains(input.resource.id, "shared")',
    'input.request.method in {"GET", "HEAD"}\n\tinput.resource.public', 'not input.resource.locked\n\tinput.resource.owner == input.user.id',
    'count(input.user.groups) > 3', 'some g in input.user.groups\n\tg == input.resource.group',
    'every g in input.user.groups { g != "banned" }\n\tinput.user.trusted', 'input.user.level >= 7',
    'input.user.level + input.user.bonus > 20', 'lower(input.resource.type) == "public"',
    'concat("/", ["", input.resource.type, input.resource.id]) == input.request.path', 'split(input.request.path, "/")[1] == "open"',
    'is_string(input.user.badge)\n\tcount(input.user.badge) == 8', 'data.settings.calls_per_minute < input.user.calls',
    'input.user.id in data.settings.features', 'trim(input.action, " ") == "ping"']
# Requests are made beforehand: making them would take the client longer than answering them takes the node. It holds and
# walks through as many, all different, when they are of one tenant: what the client does is the same.
LUA = """
local n, tenants, i, step, requests = %d, %d, 0, 7919, {}
local threads = 0
function setup(thread) thread:set("from", threads * 1237); threads = threads + 1 end
function init()
  for k = 0, n - 1 do
    local t = string.format("t%%05d", k %% tenants)
    local body = ([[%s]]):gsub("TENANT", t, 1):gsub("RESOURCE", string.format("r%%05d", k), 1)
    requests[k] = wrk.format("POST", "/v1/data/tenant/authz/allow", {["x-tenant-id"] = t, ["content-type"] = "application/json"}, body)
  end
  i = from %% n
end
function request()
  i = (i + step) %% n
  return requests[i]
end
"""


def tenant(i):
    return f"t{i:05d}"


def data_of(i):
    grants = {"administrator": ["view:report", "edit:report", "manage:members"], "editor": ["view:report", f"edit:report{i}"], "reader": ["view:report"]}
    return {"roles": {r: {"grants": g} for r, g in grants.items()},
            "settings": {"calls_per_minute": 1000 + i, "networks": [f"10.{i // 250}.{i % 250}.0/24"], "features": ["export", "audit"]}}


def build(kind, n):
    """A bundle a tenant below WORK/kind; kept for the next run of the same program."""
    folder = os.path.join(WORK, kind)
    stamp, version = os.path.join(folder, "made"), f"{n} {os.stat(REGENT).st_mtime_ns}"
    if os.path.exists(stamp) and open(stamp, encoding="utf-8").read() == version:
        return folder
    source = open(P1, encoding="utf-8").read()
    orders = list(itertools.islice(itertools.permutations(range(len(RULES)), 3), n))

    def one(i):
        made, target = os.path.join(folder, "src", tenant(i)), os.path.join(folder, "tenants", tenant(i))
        os.makedirs(made, exist_ok=True)
        os.makedirs(target, exist_ok=True)
        rules = "" if kind == "template" else "".join(
            f"\nallow if {{\n\tinput.user.tenant_id == tenant\n\t{RULES[k]}\n}}\n" for k in orders[i])
        for name, text in (("policy.rego", source.replace("{{TENANT}}", tenant(i)) + rules), ("data.json", json.dumps(data_of(i)))):
            with open(os.path.join(made, name), "w", encoding="utf-8") as f:
                f.write(text)
        subprocess.run([REGENT, "build", "-t", "wasm", *ENTRYPOINTS, "-o", os.path.join(target, "bundle.tar.gz"), "policy.rego", "data.json"],
                       cwd=made, check=True, stdout=subprocess.DEVNULL)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(n)))
    with open(stamp, "w", encoding="utf-8") as f:
        f.write(version)
    return folder


class Node:
    def __init__(self, name, folder, cache):
        self.port, self.log = free_port(), os.path.join(WORK, name + ".log")
        config = os.path.join(WORK, name + ".yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"tenants: {{directory: {folder}}}\nnode: {{threads: 2, code_cache: {cache}}}\nlog: {{level: info, format: json}}\n"
                    "tenant_from:\n  - header: {name: x-tenant-id, trusted: [127.0.0.0/8]}\n"
                    f"listeners:\n  - {{name: rest, address: \"127.0.0.1:{self.port}\", doors: [rest]}}\n")
        begun = time.perf_counter()
        # As docs/operating.md says for nodes of many tenants; the node with one gets the same.
        self.process = start([REGENT, "edge", "--config", config], self.log,
                             env={**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"})
        wait_for(lambda: self.process.poll() is not None or '"ready"' in open(self.log, encoding="utf-8").read(), 600)
        if self.process.poll() is not None:
            sys.exit(f"bench: the node does not start: {open(self.log, encoding='utf-8').read()[-2000:]}")
        self.seconds = time.perf_counter() - begun

    def resident_mb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) * 1024 / 1e6


def throughput(node, n, requests, seconds):
    """Requests a second over n tenants in turn, out of so many different requests; stops the bench when an answer is wrong."""
    body = {"input": {"user": {"id": "u7", "tenant_id": "TENANT", "role": "editor"}, "action": "view",
                      "resource": {"type": "report", "id": "RESOURCE"}, "request": {"method": "GET", "path": "/v1/reports/r1"}}}
    script = os.path.join(WORK, f"round-{n}.lua")
    with open(script, "w", encoding="utf-8") as f:
        f.write(LUA % (requests, n, json.dumps(body)))
    out = subprocess.run(["wrk", "-t2", "-c32", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{node.port}"],
                         check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"bench: answers that are none: {out}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])


def ask_each(node, n):
    """Every tenant once, in random order: its own answer, or the bench ends."""
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", node.port)
    order = list(range(n))
    random.Random(7).shuffle(order)
    for i in order:
        for who, want in ((tenant(i), True), (tenant((i + 1) % n), n == 1)):
            body = json.dumps({"input": {"user": {"id": "u7", "tenant_id": who, "role": "editor"}, "action": "view", "resource": {"type": "report", "id": "r1"}}})
            connection.request("POST", "/v1/data/tenant/authz/allow", body, {"x-tenant-id": tenant(i), "content-type": "application/json"})
            got = json.loads(connection.getresponse().read()).get("result")
            if got != want:
                sys.exit(f"bench: {tenant(i)} answers {got} for {who}")


def measure(report, kind, args, megabytes):
    folder, cache = build(kind, args.tenants), os.path.join(WORK, kind + "-cache")
    Node(kind + "-warm", folder, cache)  # fills the cache of machine code
    stop_all()
    node = Node(kind, folder, cache)
    print(f"{kind}: {args.tenants} tenants ready after {node.seconds:.2f} s, {node.resident_mb():.0f} MB", flush=True)
    ask_each(node, args.tenants)
    one, many = [], []
    for _ in range(args.rounds):
        one.append(throughput(node, 1, args.tenants, args.seconds))
        many.append(throughput(node, args.tenants, args.tenants, args.seconds))
    resident = node.resident_mb()
    stop(node.process)
    median = report.figure(f"{args.tenants} tenants, {kind}: REST, P1 allow", "1/s", {"one of them": one, "in turn": many})
    report.figure(f"{args.tenants} tenants, {kind}", "s to ready, code cached", {"regent": [node.seconds]})
    report.figure(f"{args.tenants} tenants, {kind}: resident", "MB", {"regent": [resident]})
    report.at_most(f"{args.tenants} tenants, {kind}: time of a request, to one tenant's", 1.25, "×", median["one of them"] / median["in turn"])
    report.at_most(f"{args.tenants} tenants, {kind}: resident", megabytes, "MB", resident)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="500 tenants, short rounds: for trying the bench itself")
    parser.add_argument("--tenants", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["template", "different"], action="append")
    args = parser.parse_args()
    if args.quick:
        args.tenants, args.seconds, args.rounds = 500, 1, 2
    os.makedirs(WORK, exist_ok=True)
    report = Report()
    try:
        for kind, megabytes in (("template", 100), ("different", 300)):
            if kind in (args.only or [kind]):
                measure(report, kind, args, megabytes)
    finally:
        stop_all()
    report.finish(os.path.join(BUILD, "bench-tenants.json"))


if __name__ == "__main__":
    main()
