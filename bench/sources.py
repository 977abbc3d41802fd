"""Measures a cold start from a CDN: nginx on loopback with a bundle a tenant, a node without anything on disk.

in:   BUILD with regent; nginx; flags --tenants, --rounds, --quick.
out:  a line a figure, a table with the target; $BUILD/bench-sources.json.
owns: nginx and the nodes it starts.
The tenants share a template, as in tenants.py, whose bundles are used. Counted is the time from the node's start until it is
ready, which is after the first round over all of them.
"""
import argparse
import json
import os
import shutil
import time

from measure import Report, free_port, start, stop, stop_all, wait_for
from tenants import BUILD, REGENT, build, tenant

WORK = os.path.join(BUILD, "bench", "work", "sources")
TARGET_S = 30
NGINX = """daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; etag on; keepalive_requests 1000000; client_body_temp_path {work}/tmp;
  server {{ listen 127.0.0.1:{port}; location / {{ root {root}; }} }} }}
"""


def serve(folder, ids):
    """nginx over the folder, with a list of its tenants."""
    port = free_port()
    os.makedirs(WORK, exist_ok=True)
    with open(os.path.join(folder, "tenants", "index.json"), "w", encoding="utf-8") as f:
        json.dump(ids, f)
    with open(f"{WORK}/nginx.conf", "w", encoding="utf-8") as f:
        f.write(NGINX.format(work=WORK, port=port, root=folder))
    start([shutil.which("nginx") or "/usr/sbin/nginx", "-c", f"{WORK}/nginx.conf", "-e", f"{WORK}/error.log"], f"{WORK}/nginx.log")
    return port


def cold(port, n):
    """Seconds from the start of a node to `ready`, and what it says it loaded."""
    log, rest = f"{WORK}/edge.log", free_port()
    if os.path.exists(log):
        os.unlink(log)
    with open(f"{WORK}/edge.yaml", "w", encoding="utf-8") as f:
        f.write(f"log: {{format: json}}\nlisteners: [{{name: rest, address: '127.0.0.1:{rest}', doors: [rest, health]}}]\n"
                f"sources: [{{name: cdn, http: {{base: 'http://127.0.0.1:{port}'}}, discover: true}}]\n")
    began = time.monotonic()
    node = start([REGENT, "edge", "--config", f"{WORK}/edge.yaml"], log)

    def ready():
        return [line for line in open(log, encoding="utf-8") if '"msg":"ready"' in line]
    wait_for(ready, 120)
    took = time.monotonic() - began
    said = json.loads(ready()[0])
    stop(node)
    if said["tenants"] != str(n):
        raise SystemExit(f"{said['tenants']} of {n} tenants were loaded: {log}")
    return took


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--tenants", type=int, default=5000)
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument("--quick", action="store_true")
    args = flags.parse_args()
    n, rounds = (500, 1) if args.quick else (args.tenants, args.rounds)
    folder = build("template", n)
    port = serve(folder, [tenant(i) for i in range(n)])
    report, what = Report(), f"{n} tenants: cold start to ready, from a CDN on loopback"
    median = report.figure(what, "s", {"regent": [cold(port, n) for _ in range(rounds)]})
    report.at_most(what, TARGET_S, "s", median["regent"])
    report.finish(os.path.join(BUILD, "bench-sources.json"))


if __name__ == "__main__":
    try:
        main()
    finally:
        stop_all()
