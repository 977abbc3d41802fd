"""Measures a node that logs every decision to a file beside the same node without a log: REST, P1 allow.

in:   BUILD with regent; wrk; flags --seconds, --rounds, --quick.
out:  a line a figure, a table with the target; $BUILD/bench-decision-log.json.
owns: the nodes and clients it starts, the log's file.
Both nodes run during the whole bench and take turns under wrk. Afterwards every answered request must be in the log, or counted
as dropped: a log that loses events for speed would be easy to make fast.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request

from measure import Report, free_port, start, stop_all, wait_for

BUILD, HERE = os.environ["BUILD"], os.path.dirname(os.path.abspath(__file__))
REGENT, WORK = os.path.join(BUILD, "regent"), os.path.join(BUILD, "bench", "work", "decision_log")
LOG = os.path.join(WORK, "decisions.log")


def build():
    """One tenant's bundle of P1."""
    folder = os.path.join(WORK, "node", "tenants", "acme")
    os.makedirs(folder, exist_ok=True)
    grants = {"editor": {"grants": ["view:report", "edit:report"]}, "reader": {"grants": ["view:report"]}}
    with open(os.path.join(HERE, "p1", "policy.rego"), encoding="utf-8") as f:
        policy = f.read().replace("{{TENANT}}", "acme")
    for name, text in (("policy.rego", policy), ("data.json", json.dumps({"roles": grants}))):
        with open(os.path.join(WORK, name), "w", encoding="utf-8") as f:
            f.write(text)
    subprocess.run([REGENT, "build", "-t", "wasm", "-e", "tenant/authz/allow", "-o", os.path.join(folder, "bundle.tar.gz"), "policy.rego",
                    "data.json"], cwd=WORK, check=True, stdout=subprocess.DEVNULL)


class Node:
    def __init__(self, name, more):
        self.port, log = free_port(), os.path.join(WORK, name + ".out")
        config = os.path.join(WORK, name + ".yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f"tenants: {{directory: {WORK}/node}}\nlog: {{level: info, format: json}}\n{more}"
                    f"listeners:\n  - {{name: rest, address: \"127.0.0.1:{self.port}\", doors: [rest, metrics]}}\n")
        self.process = start([REGENT, "edge", "--config", config], log)
        if not wait_for(lambda: '"ready"' in open(log, encoding="utf-8").read()):
            sys.exit(f"bench: the node does not start: {open(log, encoding='utf-8').read()[-2000:]}")

    def busy(self):
        """Seconds of processor time so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def counts(self):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5).read().decode()
        return {m[1]: int(m[2]) for m in re.finditer(r"^(regent_decision_log_\S+) (\d+)$", text, re.M)}


def throughput(node, seconds):
    """Requests a second, and how many were answered."""
    body = {"input": {"user": {"id": "u7", "tenant_id": "acme", "role": "editor"}, "action": "view",
                      "resource": {"type": "report", "id": "r1"}, "request": {"method": "GET", "path": "/v1/reports/r1"}}}
    script = os.path.join(WORK, "post.lua")
    with open(script, "w", encoding="utf-8") as f:
        f.write('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.headers["X-Tenant-Id"] = "acme"\n'
                f"wrk.body = [[{json.dumps(body)}]]\n")
    out = subprocess.run(["wrk", "-t2", "-c32", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{node.port}/v1/data/tenant/authz/allow"],
                         check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"bench: answers that are none: {out}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), int(re.search(r"(\d+) requests in", out)[1])


def lines_of(path):
    with open(path, "rb") as f:
        return sum(part.count(b"\n") for part in iter(lambda: f.read(1 << 20), b""))


def settle(node):
    """Waits until all is written: (lines, events, dropped)."""
    def quiet():
        counts = node.counts()
        dropped = sum(n for name, n in counts.items() if name.startswith("regent_decision_log_dropped_total"))
        got = lines_of(LOG), counts["regent_decision_log_events_total"], dropped
        return got if got[0] + dropped >= got[1] else None
    return wait_for(quiet, 20) or sys.exit("bench: events are missing from the log")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="short rounds: for trying the bench itself")
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.rounds = 1, 3
    os.makedirs(WORK, exist_ok=True)
    if os.path.exists(LOG):
        os.remove(LOG)
    report = Report()
    try:
        build()
        plain, logging = Node("plain", ""), Node("logging", f"decision_log: {{file: {LOG}}}\n")
        without, with_log, cost, answered = [], [], ([], []), 0
        for turn in range(args.rounds + 1):  # the first warms up
            for i, node in enumerate((plain, logging)):
                busy = node.busy()
                rate, n = throughput(node, args.seconds)
                answered += n * i
                if turn:
                    (without, with_log)[i].append(rate)
                    cost[i].append(1e6 * (node.busy() - busy) / n)
            time.sleep(0.2)
        lines, events, dropped = settle(logging)
        print(f"{answered} answers, {events} events, {lines} lines, {dropped} dropped, {os.path.getsize(LOG) / lines:.0f} bytes a line")
        if events < answered or lines < events - dropped:
            sys.exit("bench: decisions are missing from the log")
        report.figure("REST, P1 allow", "1/s", {"without a log": without, "every decision to a file": with_log})
        report.figure("events dropped", "", {"regent": [dropped]})
        report.figure("processor time of the node for a request", "us", {"without a log": cost[0], "every decision to a file": cost[1]})
        ratio = statistics.median(b / a for a, b in zip(without, with_log))
        report.target("throughput with a decision log, of that without, in pairs", ">= 80 %", f"{100 * ratio:.0f} %", ratio >= 0.8)
    finally:
        stop_all()
        if os.path.exists(LOG):
            os.remove(LOG)
    report.finish(os.path.join(BUILD, "bench-decision-log.json"))


if __name__ == "__main__":
    main()
