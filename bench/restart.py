"""Measures how soon a node with thousands of tenants is ready again: from its folder, and from its last known good versions.

in:   BUILD with regent; flags --tenants, --rounds, --quick.
out:  a line a figure, a table with the targets; $BUILD/bench-restart.json.
owns: the nodes it starts, the server that vanishes.
Ready is the log line `ready`; the clock starts before the process does. Compiled code is cached, as on every node that was up
before. From the folder: tenants.directory, as it is. Without network: the node got its tenants from an HTTP server once, with a
store; the server is gone, and every tenant is asked once afterwards.
"""
import argparse
import functools
import http.server
import json
import os
import shutil
import sys
import threading
import time

import tenants as many
from measure import Report, free_port, start, stop, stop_all, wait_for

WORK = os.path.join(os.path.abspath(many.BUILD), "bench", "work", "restart")
RULES = "tenant_from:\n  - header: {name: x-tenant-id, trusted: [127.0.0.0/8]}\n"


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass


def serve(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Node:
    """A node until it says that it is ready; .seconds tells how long that took."""

    def __init__(self, name, text):
        self.port, self.log = free_port(), os.path.join(WORK, name + ".log")
        path = os.path.join(WORK, name + ".yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text + RULES + "log: {level: info, format: json}\n"
                    f"listeners:\n  - {{name: rest, address: \"127.0.0.1:{self.port}\", doors: [rest, metrics]}}\n")
        begun = time.perf_counter()
        self.process = start([many.REGENT, "edge", "--config", path], self.log)
        while self.process.poll() is None and not self.said():
            time.sleep(0.005)
        self.seconds = time.perf_counter() - begun
        if self.process.poll() is not None:
            sys.exit(f"bench: the node does not start: {open(self.log, encoding='utf-8').read()[-2000:]}")

    def said(self):
        with open(self.log, encoding="utf-8") as f:
            return next((json.loads(line) for line in f if '"ready"' in line), None)


def cold(text, n, rounds):
    """Seconds to ready, each time by a new process; all tenants must be there."""
    seconds = []
    for i in range(rounds + 1):  # the first fills the code cache
        node = Node("cold", text)
        loaded = int(node.said()["tenants"])
        if loaded != n:
            sys.exit(f"bench: {loaded} of {n} tenants are there")
        if i == rounds:
            many.ask_each(node, n)
        stop(node.process)
        seconds.append(node.seconds)
    return seconds[1:]


def index(folder, n):
    with open(os.path.join(folder, "tenants", "index.json"), "w", encoding="utf-8") as f:
        json.dump([many.tenant(i) for i in range(n)], f)


def from_store(folder, n, rounds, cache):
    store = os.path.join(WORK, "store")
    shutil.rmtree(store, ignore_errors=True)
    server = serve(folder)
    text = (f"sources:\n  - name: cdn\n    http: {{base: \"http://127.0.0.1:{server.server_port}\"}}\n    discover: true\n    timeout: 2s\n"
            f"store: {{directory: {store}}}\nnode: {{threads: 2, code_cache: {cache}}}\n")
    node = Node("first", text)
    wait_for(lambda: sum(len(files) for _, _, files in os.walk(store)) >= 2 * n, 120)
    stop(node.process)
    server.shutdown()
    server.server_close()
    return cold(text, n, rounds)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="500 tenants, one round: for trying the bench itself")
    parser.add_argument("--tenants", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.quick:
        args.tenants, args.rounds = 500, 1
    os.makedirs(WORK, exist_ok=True)
    os.makedirs(many.WORK, exist_ok=True)
    report = Report()
    try:
        folder, cache = many.build("template", args.tenants), os.path.join(WORK, "cache")
        index(folder, args.tenants)
        disk = cold(f"tenants: {{directory: {folder}}}\nnode: {{threads: 2, code_cache: {cache}}}\n", args.tenants, args.rounds)
        kept = from_store(folder, args.tenants, args.rounds, cache)
        what = f"{args.tenants} tenants, process start to ready"
        median = report.figure(what, "s", {"from the folder": disk, "from last known good": kept})
        report.at_most("cold start from disk", 3, "s", median["from the folder"])
        report.at_most("restart without network", 2, "s", median["from last known good"])
    finally:
        stop_all()
    report.finish(os.path.join(os.path.abspath(many.BUILD), "bench-restart.json"))


if __name__ == "__main__":
    main()
