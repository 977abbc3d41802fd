"""Measures one tenant's update on a node of thousands: from the reload call to the first new answer, and what the others notice.

in:   BUILD with regent; wrk; flags --tenants, --updates, --seconds, --rounds, --quick.
out:  a line a figure, a table with the targets; $BUILD/bench-update.json.
owns: the node and clients it starts.
The others are asked in turn by wrk, in alternating rounds with and without updates once in 50 ms. A round's P99 is wrk's; an answer
that is none ends the bench.
"""
import argparse
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time

import tenants as many
from measure import Report, free_port, start, stop_all, wait_for

BUILD = os.path.abspath(many.BUILD)
WORK = os.path.join(BUILD, "bench", "work", "update")
CHANGED = "changed"  # the tenant that is updated
POLICY = "package tenant.authz\n\nallow := {\"version\": %d, \"user\": input.user}\n"


class Node:
    def __init__(self, folder, cache):
        self.rest, self.admin, log = free_port(), free_port(), os.path.join(WORK, "node.log")
        tokens, config = os.path.join(WORK, "tokens"), os.path.join(WORK, "node.yaml")
        made = subprocess.run([many.REGENT, "token", "bench"], capture_output=True, text=True, check=True).stdout.split("\n")
        self.token = made[0].strip()
        with open(tokens, "w", encoding="utf-8") as f:
            f.write("\n".join(line for line in made[1:] if "sha256:" in line) + "\n")
        os.chmod(tokens, 0o600)
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"tenants: {{directory: {folder}, poll: 60s}}\nnode: {{threads: 2, code_cache: {cache}}}\nlog: {{level: warn, format: json}}\n"
                    f"admin: {{tokens_file: {tokens}}}\ntenant_from:\n  - header: {{name: x-tenant-id, trusted: [127.0.0.0/8]}}\n"
                    f"listeners:\n  - {{name: rest, address: \"127.0.0.1:{self.rest}\", doors: [rest, health]}}\n"
                    f"  - {{name: admin, address: \"127.0.0.1:{self.admin}\", doors: [admin]}}\n")
        self.process = start([many.REGENT, "edge", "--config", config], log)
        self.port = self.rest  # as many.throughput wants it
        if not wait_for(lambda: self.ask(CHANGED) is not None, 120):
            sys.exit(f"bench: the node does not start: {open(log, encoding='utf-8').read()[-2000:]}")

    def ask(self, tenant):
        c = http.client.HTTPConnection("127.0.0.1", self.rest)
        c.request("POST", "/v1/data/tenant/authz/allow", '{"input": {"user": "u"}}', {"x-tenant-id": tenant})
        return json.loads(c.getresponse().read()).get("result")


class Updater:
    """Brings versions of one tenant, each once: puts its bundle there, calls reload, asks; the answer must be the new version's."""

    def __init__(self, node, folder, most):
        self.node, self.n = node, 0
        self.made = os.path.join(WORK, "versions")
        for version in range(1, most + 1):  # beforehand: building would take more of the machine than bringing it
            bundle(version, os.path.join(self.made, f"{version}.tar.gz"))
        self.place = os.path.join(folder, "tenants", CHANGED, "bundle.tar.gz")
        self.admin = http.client.HTTPConnection("127.0.0.1", node.admin)
        self.rest = http.client.HTTPConnection("127.0.0.1", node.rest)

    def once(self):
        """Milliseconds to the new answer."""
        self.n += 1
        os.rename(os.path.join(self.made, f"{self.n}.tar.gz"), self.place)
        begun = time.perf_counter()
        self.admin.request("POST", "/v1/policies/reload", json.dumps({"tenant_id": CHANGED}), {"authorization": "Bearer " + self.node.token})
        reply = self.admin.getresponse()
        body = reply.read()
        if reply.status != 200:
            sys.exit(f"bench: reload says {reply.status}: {body.decode()}")
        self.rest.request("POST", "/v1/data/tenant/authz/allow", '{"input": {"user": "u"}}', {"x-tenant-id": CHANGED})
        got = json.loads(self.rest.getresponse().read())["result"]["version"]
        if got != self.n:
            sys.exit(f"bench: version {got} answers after {self.n} was reloaded")
        return (time.perf_counter() - begun) * 1000


def bundle(version, target):
    source = os.path.join(WORK, "changed.rego")
    with open(source, "w", encoding="utf-8") as f:
        f.write(POLICY % version)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    subprocess.run([many.REGENT, "build", "-t", "wasm", "-e", "tenant/authz/allow", "-o", target + ".new", source], check=True, stdout=subprocess.DEVNULL)
    os.rename(target + ".new", target)


def others(node, n, seconds):
    """wrk's P99 in ms over the other tenants in turn."""
    body = {"input": {"user": {"id": "u7", "tenant_id": "TENANT", "role": "editor"}, "action": "view",
                      "resource": {"type": "report", "id": "RESOURCE"}, "request": {"method": "GET", "path": "/v1/reports/r1"}}}
    script = os.path.join(WORK, "others.lua")
    with open(script, "w", encoding="utf-8") as f:
        f.write(many.LUA % (n, n, json.dumps(body)))
    out = subprocess.run(["wrk", "-t1", "-c16", "--latency", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{node.rest}"],
                         check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"bench: answers that are none: {out}")
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def with_updates(node, updater, n, seconds, took):
    ended = threading.Event()

    def run():
        while not ended.is_set():
            took.append(updater.once())
            ended.wait(0.05)
    thread = threading.Thread(target=run)
    thread.start()
    p99 = others(node, n, seconds)
    ended.set()
    thread.join()
    return p99


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few updates and short rounds: for trying the bench itself")
    parser.add_argument("--tenants", type=int, default=5000)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.quick:
        args.updates, args.seconds, args.rounds = 20, 1, 2
    os.makedirs(WORK, exist_ok=True)
    os.makedirs(many.WORK, exist_ok=True)
    report = Report()
    folder = many.build("template", args.tenants)
    try:
        bundle(0, os.path.join(folder, "tenants", CHANGED, "bundle.tar.gz"))
        node = Node(folder, os.path.join(WORK, "cache"))
        updater = Updater(node, folder, args.updates + args.rounds * args.seconds * 20 + args.rounds)
        idle = [updater.once() for _ in range(args.updates)]
        quiet, busy, loaded = [], [], []
        for _ in range(args.rounds):
            quiet.append(others(node, args.tenants, args.seconds))
            busy.append(with_updates(node, updater, args.tenants, args.seconds, loaded))
        idle.sort()
        loaded.sort()
        what = f"one tenant's update among {args.tenants}: reload call to the new answer"
        report.figure(what, "ms", {"otherwise idle": idle, "under load": loaded})
        p99 = idle[len(idle) * 99 // 100]
        print(f"P99: {p99:.1f} ms idle, {loaded[len(loaded) * 99 // 100]:.1f} ms under load ({len(loaded)} updates)")
        report.at_most("update, P99, otherwise idle", 50, "ms", p99)
        report.at_most("update, median, under full load", 50, "ms", statistics.median(loaded))
        median = report.figure("the others' P99", "ms", {"without updates": quiet, "with": busy})
        report.at_most("the others' P99 with updates, to that without", 1.5, "x", median["with"] / median["without updates"])
    finally:
        stop_all()
        shutil.rmtree(os.path.join(folder, "tenants", CHANGED), ignore_errors=True)
    report.finish(os.path.join(BUILD, "bench-update.json"))


if __name__ == "__main__":
    main()
