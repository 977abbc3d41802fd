"""Measures what tenants get while another one burns its limits on every call: spins to its deadline, grows to its memory
limit, or floods from a thousand connections.

in:   BUILD with regent; wrk and h2load; nginx for the floor.
out:  a line a figure, a JSON document, a table; $BUILD/bench-neighbours.json. Flags: --quick, --only KIND, --ahead.
owns: the servers and clients it starts, on free ports of loopback.

The neighbours are measured in two ways, alone and beside each kind of hostile tenant: the latency of four connections that
ask 2,000 times a second in all, and the throughput of eight connections that ask as fast as they are answered. Alone and
beside are measured in turn, seconds apart; what counts is the median of such pairs' ratios, so that what else the machine
does falls on both.

Their share: the hostile tenant always has work for the whole node, and so have the eight connections. A fair share of two that
both want all is half of what one has alone, and 80 % of that is the target: 0.4 of alone. The part of alone is printed too.

The floor: node and clients share the machine's cores, so that a hostile tenant's client and lanes cost the measuring client
time that is no server's doing. The same latency is measured at an nginx that does nothing else, while another nginx is flooded
by the same client, or two processes with the priority of lanes spin; and at the nginx that is flooded, as the peer without turns.
The clients of the hostile tenant run at a lower priority, as they would be on machines of their own.

--ahead gives the bench, with all that it starts, a scheduling group of its own that goes before other work on the machine
(Linux' autogroups; needs root): for figures while others are at work.
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "edge"))
from measure import Report, alternate, free_port, start, stop, stop_all, wait_for

BUILD, HERE = os.path.abspath(os.environ["BUILD"]), os.path.dirname(os.path.abspath(__file__))
REGENT = os.path.join(BUILD, "regent")
POLICIES = {
    "good": "allow if { input.role in {\"editor\", \"admin\"}; input.action == \"view\"; startswith(input.path, \"/reports/\") }",
    "spin": "allow if { some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j < 0 }",
    "memory": "allow if { x := numbers.range(1, 20000000); count(x) < 0 }",
}
FAIR_SHARE = 0.5  # of the node, for two who both want all of it
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


class Nginx:
    """Says yes to everything; the floor."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        os.makedirs(folder)
        os.chmod(folder, 0o755)
        paths = " ".join(f"{k}_temp_path {folder}/{k};" for k in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        with open(os.path.join(folder, "nginx.conf"), "w", encoding="utf-8") as f:
            f.write(f"""daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log; events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; {paths}
server {{ listen 127.0.0.1:{self.port} reuseport backlog=2048; location / {{ default_type application/json; return 200 '{{"result":true}}'; }} }} }}
""")
        with open(self.script("flood"), "w", encoding="utf-8") as f:
            f.write(SCRIPT % ("flood", INPUT))
        with open(os.path.join(folder, "input.json"), "w", encoding="utf-8") as f:
            f.write(INPUT)
        start(["nginx", "-p", folder, "-c", folder + "/nginx.conf"], os.path.join(folder, "log"))
        if not wait_for(lambda: urllib.request.urlopen(self.url, timeout=5).status == 200):
            sys.exit("bench: nginx does not answer")

    def script(self, tenant):
        return os.path.join(self.folder, tenant + ".lua")


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
    """What `measure` gives while node is asked by the hostile tenant."""
    return while_running([hostile(node, kind, seconds + 30)], measure)


def while_running(clients, measure):
    try:
        time.sleep(0.5)
        return measure()
    finally:
        for client in clients:
            stop(client)


def spinners():
    """Two processes that burn processor time as lanes do."""
    return [start(["chrt", "-b", "0", "nice", "-n", "7", sys.executable, "-c", "while True: pass"]) for _ in range(2)]


def pairs(node, kinds, seconds, rounds):
    """{kind: [(latency alone, beside, throughput alone, beside)]}"""
    results = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            results[kind].append((latency(node, seconds), beside(node, kind, seconds, lambda: latency(node, seconds)),
                                  throughput(node, seconds), beside(node, kind, seconds, lambda: throughput(node, seconds))))
    return results


def floor(folder, seconds, rounds):
    """{what: [(p50, p99, worst)]}; {} without nginx."""
    if not shutil.which("nginx"):
        print("note: no nginx, no floor")
        return {}
    asked, flooded = Nginx(folder + "/asked"), Nginx(folder + "/flooded")
    return alternate(rounds, {
        "alone": lambda: latency(asked, seconds),
        "beside two that spin": lambda: while_running(spinners(), lambda: latency(asked, seconds)),
        "beside a flooded one": lambda: beside(flooded, "flood", seconds, lambda: latency(asked, seconds)),
        "the flooded one": lambda: beside(flooded, "flood", seconds, lambda: latency(flooded, seconds))})


def tell(report, results, floors):
    alone = [row for rows in results.values() for row in rows]
    times = {"alone": [row[0] for row in alone], **{kind: [row[1] for row in rows] for kind, rows in results.items()}}
    for i, what in enumerate(["p50", "p99", "worst"]):
        median = report.figure(f"neighbours' latency, {what}", "ms", {k: [t[i] for t in v] for k, v in times.items()})
        if floors:
            report.figure(f"nginx' latency, {what}", "ms", {k: [t[i] for t in v] for k, v in floors.items()})
        if what == "p99":
            for kind in results:
                report.at_most(f"neighbours' p99 beside {kind}", 2, "ms", median[kind])
    report.figure("neighbours' throughput", "requests/s",
                  {"alone": [row[2] for row in alone], **{kind: [row[3] for row in rows] for kind, rows in results.items()}})
    part = report.figure("neighbours' throughput, part of alone", "", {k: [row[3] / row[2] for row in v] for k, v in results.items()})
    for kind, ratio in part.items():
        report.at_least(f"neighbours' throughput beside {kind}, of their half", 0.8, ratio, FAIR_SHARE)


def go_ahead(arguments):
    """Starts this program again, at the head of a session, whose scheduling group it may change."""
    if os.getpid() != os.getsid(0):
        sys.exit(subprocess.run([sys.executable, *arguments], start_new_session=True, check=False).returncode)
    with open("/proc/self/autogroup", "w", encoding="ascii") as f:
        f.write("-15")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["spin", "memory", "flood"])
    parser.add_argument("--ahead", action="store_true")
    args = parser.parse_args()
    if args.ahead:
        go_ahead(sys.argv)
    seconds, rounds = (1, 1) if args.quick else (2, 5)
    report, folder = Report(), tempfile.mkdtemp(prefix="regent-neighbours-")
    os.chmod(folder, 0o755)
    try:
        results = pairs(Node(folder + "/node"), [args.only] if args.only else ["spin", "memory", "flood"], seconds, rounds)
        tell(report, results, floor(folder, seconds, rounds))
        report.finish(os.path.join(BUILD, "bench-neighbours.json"))
    finally:
        stop_all()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
