"""Swaps versions under full load: of one tenant and of random tenants in turn, by the admin call; P99 with swaps beside without.

in:   BUILD with regent; wrk; flags --swaps, --tenants, --seconds, --rounds, --quick.
out:  a line a figure, a table with the targets; $BUILD/bench-swaps.json.
owns: the node and clients it starts.
Every answer names the tenant that was asked for, by the request, and the tenant that answered, by its own policy: wrk compares both in each
answer, so that an answer of another tenant, or none, is counted.
"""
import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import threading
import time

from measure import Report, free_port, start, stop_all, wait_for

BUILD = os.environ["BUILD"]
REGENT, WORK = os.path.join(BUILD, "regent"), os.path.join(BUILD, "bench", "work", "swaps")
POLICY = """package t

grants contains g if some g in data.roles[input.user.role].grants

answer := {"for": input.tenant, "is": data.tenant, "may": sprintf("%%s:%%s", [input.action, input.type]) in grants, "v": %d}
"""
LUA = """
local n, i, requests, threads = %d, 0, {}, {}
function setup(thread) table.insert(threads, thread) end
function init()
  wrong, answered = 0, 0
  for k = 0, n - 1 do
    local t = k %% 3 == 0 and "one" or string.format("t%%03d", k)
    local body = string.format('{"input":{"tenant":"%%s","user":{"role":"editor"},"action":"view","type":"report"}}', t)
    requests[k] = wrk.format("POST", "/v1/data/t/answer", {["x-tenant-id"] = t, ["content-type"] = "application/json"}, body)
  end
end
function request()
  i = (i + 7) %% n
  return requests[i]
end
function response(status, headers, body)
  answered = answered + 1
  local asked, is = body:match('"for":"(%%w+)","is":"(%%w+)","may":true')
  if status ~= 200 or not asked or asked ~= is then wrong = wrong + 1 end
end
function done(summary, latency)
  local wrong, answered = 0, 0
  for _, t in ipairs(threads) do wrong = wrong + t:get("wrong"); answered = answered + t:get("answered") end
  local e = summary.errors
  print(string.format("figures %%d %%d %%d %%d %%d", latency:percentile(99), latency:percentile(50), answered, wrong,
                      e.connect + e.read + e.write + e.timeout))
end
"""


def names(n):
    return ["one"] + [f"t{i:03d}" for i in range(n)]


def build(n):
    """Two versions of each tenant's bundle below WORK, v1 and v2."""
    for v in (1, 2):
        for name in names(n):
            made = os.path.join(WORK, f"v{v}", name)
            os.makedirs(made, exist_ok=True)
            grants = {"editor": {"grants": ["view:report", "edit:report"]}}
            for file, text in (("p.rego", POLICY % v), ("data.json", json.dumps({"tenant": name, "roles": grants}))):
                with open(os.path.join(made, file), "w", encoding="utf-8") as f:
                    f.write(text)
            subprocess.run([REGENT, "build", "-t", "wasm", "-e", "t/answer", "-o", "bundle.tar.gz", "p.rego", "data.json"], cwd=made, check=True,
                           stdout=subprocess.DEVNULL)


class Node:
    def __init__(self, n):
        self.names, self.now = names(n), {name: 1 for name in names(n)}
        self.port, self.admin, log = free_port(), free_port(), os.path.join(WORK, "node.out")
        self.folder = os.path.join(WORK, "node", "tenants")
        for name in self.names:
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
            self.place(name, 1)
        tokens = os.path.join(WORK, "tokens")
        if os.path.exists(tokens):
            os.unlink(tokens)
        self.token = subprocess.run([REGENT, "token", "bench", "--file", tokens], check=True, capture_output=True, text=True).stdout.strip()
        config = os.path.join(WORK, "node.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"tenants: {{directory: {WORK}/node, poll: 1h}}\nlog: {{level: warn, format: json}}\nadmin: {{tokens_file: {tokens}}}\n"
                    "tenant_from:\n  - header: {name: x-tenant-id, trusted: [127.0.0.0/8]}\nlisteners:\n"
                    f"  - {{name: rest, address: \"127.0.0.1:{self.port}\", doors: [rest, health]}}\n"
                    f"  - {{name: admin, address: \"127.0.0.1:{self.admin}\", doors: [admin]}}\n")
        self.process = start([REGENT, "edge", "--config", config], log)

        def answers():
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            c.request("GET", "/health?bundles")
            return c.getresponse().status == 200
        if not wait_for(answers):
            sys.exit(f"bench: the node does not start: {open(log, encoding='utf-8').read()[-2000:]}")

    def place(self, name, version):
        target = os.path.join(self.folder, name, "bundle.tar.gz")
        if os.path.exists(target + ".new"):
            os.unlink(target + ".new")
        os.link(os.path.join(WORK, f"v{version}", name, "bundle.tar.gz"), target + ".new")
        os.replace(target + ".new", target)

    def swap(self, connection, name):
        """Seconds from the call to its answer; ends the bench when it is not taken."""
        self.now[name] = 3 - self.now[name]
        self.place(name, self.now[name])
        begun = time.perf_counter()
        connection.request("POST", "/v1/policies/reload", json.dumps({"tenant_id": name}), {"authorization": "Bearer " + self.token})
        reply = connection.getresponse()
        body = reply.read()
        if reply.status != 200 or json.loads(body)["state"] != "active":
            sys.exit(f"bench: a swap of {name} gave {reply.status}: {body[:500]}")
        return time.perf_counter() - begun


def load(node, seconds):
    """(P99 in ms, answered, wrong, failed) of wrk's requests over all tenants."""
    script = os.path.join(WORK, "load.lua")
    with open(script, "w", encoding="utf-8") as f:
        f.write(LUA % (len(node.names) - 1))
    out = subprocess.run(["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{node.port}"], check=True,
                         capture_output=True, text=True).stdout
    p99, _, answered, wrong, failed = map(int, re.search(r"figures (\d+) (\d+) (\d+) (\d+) (\d+)", out).groups())
    return p99 / 1000, answered, wrong, failed


def load_with_swaps(node, seconds, swaps):
    """The same, while versions change all the time, evenly over the seconds."""
    took, chance = [], random.Random(3)

    def change():
        connection, begun = http.client.HTTPConnection("127.0.0.1", node.admin, timeout=30), time.perf_counter()
        for i in range(swaps):
            wait = begun + i * seconds * 0.95 / swaps - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            took.append(node.swap(connection, "one" if i % 2 else chance.choice(node.names[1:])))
    thread = threading.Thread(target=change)
    thread.start()
    figures = load(node, seconds)
    thread.join()
    if len(took) != swaps:
        sys.exit(f"bench: {len(took)} of {swaps} swaps")
    return (*figures, took)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few swaps, short rounds: for trying the bench itself")
    parser.add_argument("--only", help="what other benches measure: nothing is done")
    parser.add_argument("--tenants", type=int, default=100)
    parser.add_argument("--swaps", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.only:
        return
    if args.quick:
        args.tenants, args.swaps, args.seconds, args.rounds = 20, 100, 1, 2
    os.makedirs(WORK, exist_ok=True)
    build(args.tenants)
    report, without, during, took = Report(), [], [], []
    answered = wrong = failed = 0
    try:
        node = Node(args.tenants)
        load(node, 1)
        for _ in range(args.rounds):
            p99, n, bad, none = load(node, args.seconds)
            without.append(p99)
            wrong, failed, answered = wrong + bad, failed + none, answered + n
            p99, n, bad, none, times = load_with_swaps(node, args.seconds, args.swaps // args.rounds)
            during.append(p99)
            wrong, failed, answered = wrong + bad, failed + none, answered + n
            took += times
    finally:
        stop_all()
    median = report.figure(f"P99 under full load, {args.tenants} tenants", "ms", {"without swaps": without, "during swaps": during})
    report.figure("a swap, reload call to its answer", "ms", {"regent": [1000 * t for t in took]})
    print(f"{len(took)} swaps, {answered} requests answered, {failed} failed, {wrong} wrong")
    report.at_most("P99 during swaps, to that without", 1.5, "x", median["during swaps"] / median["without swaps"])
    report.at_most(f"requests that failed during {len(took)} swaps", 0, "", failed)
    report.at_most(f"wrong answers during {len(took)} swaps", 0, "", wrong)
    report.finish(os.path.join(BUILD, "bench-swaps.json"))


if __name__ == "__main__":
    main()
