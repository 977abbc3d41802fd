"""Measures what tenants get while another one burns its limits on every call: spins to its deadline, grows to its memory
limit, or floods from a thousand connections.

in:   BUILD with regent; wrk and h2load.
out:  a line a figure, a JSON document, a table; $BUILD/bench-neighbours.json. Flags: --quick, --only KIND.
owns: the servers and clients it starts, on free ports of loopback.

The neighbours are measured in two ways, alone and beside each kind of hostile tenant: the latency of four connections that
ask 2,000 times a second in all, and the throughput of eight connections that ask as fast as they are answered. Alone, that
takes the whole node, so beside a tenant that floods, half of it is their share. The machine's cores are shared by the node and
by all clients; the clients of the hostile tenant run at a lower priority, as they would be on machines of their own.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "edge"))
from measure import Report, start, stop, stop_all, wait_for

BUILD, HERE = os.path.abspath(os.environ["BUILD"]), os.path.dirname(os.path.abspath(__file__))
REGENT = os.path.join(BUILD, "regent")
POLICIES = {
    "good": "allow if { input.role in {\"editor\", \"admin\"}; input.action == \"view\"; startswith(input.path, \"/reports/\") }",
    "spin": "allow if { some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j < 0 }",
    "memory": "allow if { x := numbers.range(1, 20000000); count(x) < 0 }",
}
INPUT = '{"input":{"role":"editor","action":"view","path":"/reports/2031/07"}}'
SCRIPT = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-Tenant-Id"] = "%s"
wrk.body = '%s'
"""


class Node:
    def __init__(self, folder):
        self.folder = folder
        for tenant, policy in [("good", "good"), ("flood", "good"), ("spin", "spin"), ("memory", "memory")]:
            source, target = os.path.join(folder, tenant + ".rego"), os.path.join(folder, "tenants", tenant)
            os.makedirs(target)
            with open(source, "w", encoding="utf-8") as f:
                f.write(f"package p\n{POLICIES[policy]}\n")
            subprocess.run([REGENT, "build", "-t", "wasm", "-e", "p/allow", "-o", target + "/bundle.tar.gz", source], check=True,
                           stdout=subprocess.DEVNULL)
            with open(self.script(tenant), "w", encoding="utf-8") as f:
                f.write(SCRIPT % (tenant, INPUT))
        with open(os.path.join(folder, "input.json"), "w", encoding="utf-8") as f:
            f.write(INPUT)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1/data/p/allow"
        self.process = start([REGENT, "edge", "--directory", folder, "--rest-addr", f"127.0.0.1:{self.port}", "--grpc-addr", "none",
                              "--log-level", "error"], os.path.join(folder, "edge.log"))
        if not wait_for(lambda: self.ask("good") == 200):
            sys.exit("bench: the node does not answer")

    def script(self, tenant):
        return os.path.join(self.folder, tenant + ".lua")

    def ask(self, tenant):
        headers = {"content-type": "application/json", "x-tenant-id": tenant}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, INPUT.encode(), headers), timeout=5) as reply:
                return reply.status
        except urllib.error.HTTPError as e:
            return e.code


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def latency(node, seconds, rate=2000, connections=4):
    """(p50, p99, worst) in ms of the neighbours' calls; all must be answered with 2xx."""
    log = os.path.join(node.folder, "h2load.log")
    if os.path.exists(log):
        os.unlink(log)
    out = subprocess.run(["h2load", "--h1", f"-c{connections}", f"--rps={rate / connections:.0f}", f"-D{seconds}", "--warm-up-time=1",
                          "-d", os.path.join(node.folder, "input.json"), "-H", "content-type: application/json", "-H",
                          "x-tenant-id: good", f"--log-file={log}", node.url], check=True, stdout=subprocess.PIPE, text=True).stdout
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
    with open(log, encoding="ascii") as f:
        rows = [line.split("\t") for line in f]
    refused = sum(row[1] != "200" for row in rows)
    if not done or done.group(2) != "0" or done.group(3) != "0" or refused:
        print(f"note: {refused} of {len(rows)} refused; {done.group(0) if done else out}", flush=True)
    times = sorted(int(row[2]) / 1000 for row in rows)
    return times[len(times) // 2], times[len(times) * 99 // 100], times[-1]


def throughput(node, seconds, tenant="good", connections=8, threads=1):
    out = subprocess.run(["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", node.script(tenant), node.url], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    refused = int(out.split("responses:")[1].split()[0]) if "Non-2xx" in out else 0
    if refused:
        print(f"note: {refused} refused", flush=True)
    return float(out.split("Requests/sec:")[1].split()[0])


def hostile(node, kind, seconds):
    """A client that calls as the hostile tenant until it is stopped."""
    connections = 1000 if kind == "flood" else 32
    return start(["nice", "-n", "10", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", node.script(kind), node.url])


def beside(node, kind, seconds, measure):
    client = hostile(node, kind, seconds + 30)
    try:
        subprocess.run(["sleep", "0.5"], check=True)
        return measure()
    finally:
        stop(client)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["spin", "memory", "flood"])
    args = parser.parse_args()
    seconds, rounds = (2, 1) if args.quick else (4, 3)
    report, folder = Report(), tempfile.mkdtemp(prefix="regent-neighbours-")
    try:
        node = Node(folder)
        times, rates = {}, {}
        kinds = [args.only] if args.only else ["spin", "memory", "flood"]
        for _ in range(rounds):
            times.setdefault("alone", []).append(latency(node, seconds))
            rates.setdefault("alone", []).append(throughput(node, seconds))
            for kind in kinds:
                times.setdefault(kind, []).append(beside(node, kind, seconds, lambda: latency(node, seconds)))
                rates.setdefault(kind, []).append(beside(node, kind, seconds, lambda: throughput(node, seconds)))
        for i, what in enumerate(["p50", "p99", "worst"]):
            median = report.figure(f"neighbours' latency, {what}", "ms", {k: [t[i] for t in v] for k, v in times.items()})
            if what == "p99":
                for kind in kinds:
                    report.at_most(f"neighbours' p99 beside {kind}", 2, "ms", median[kind])
        median = report.figure("neighbours' throughput", "requests/s", rates)
        for kind in kinds:
            share = 0.5 if kind == "flood" else 1
            report.at_least(f"neighbours' throughput beside {kind}, of their share", 0.8, median[kind], share * median["alone"])
        report.finish(os.path.join(BUILD, "bench-neighbours.json"))
    finally:
        stop_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
