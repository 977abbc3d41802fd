#!/usr/bin/env python3
"""Groups of tenants in worker processes: same answers, what the process may not do, what happens when it dies.

in: BUILD. out: TAP. owns: the edge."""
import json
import os
import signal
import threading
import time

from edge_lib import REGENT, TMP, build, check, equal, finish, free_port, http, start, stop, wait_for

POLICY = """package t
import rego.v1
default allow := false
allow if input.user == "%s"
where := time.format([0, "America/New_York"])
numbers_20000 := numbers.range(1, 20000)
spin if { some x in numbers_20000; some y in numbers_20000; x * y == -1 }
"""
FOLDER, LOG = TMP + "/workers", TMP + "/workers.log"


def post(port, tenant, path, document):
    status, _, body = http(port, "POST", "/v1/data/" + path, json.dumps({"input": document}), {"x-tenant-id": tenant})
    return status, json.loads(body) if body else None


def logged(message):
    return [l for l in map(json.loads, filter(lambda l: l.startswith("{"), open(LOG))) if l["msg"] == message]


def facts(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def descriptors(pid):
    folder = f"/proc/{pid}/fd"
    return {n: os.readlink(f"{folder}/{n}") for n in os.listdir(folder)}


def sandboxed(pid):
    got = facts(pid)
    equal("the process has a seccomp filter on, and can get no privileges", (got["Seccomp"], got["NoNewPrivs"]), ("2", "1"))
    seen = descriptors(pid)
    sockets = [t for t in seen.values() if t.startswith("socket:")]
    files = [t for t in seen.values() if t.startswith("/") and
             t not in ("/dev/null", os.path.realpath(LOG), f"/proc/{pid}/pagemap") and not t.startswith("/memfd:")]
    equal("one socket, no files but memory", (len(sockets), files), (1, []))


def dies(port, pid):
    stop_others = threading.Event()
    others = []

    def ask_others():
        while not stop_others.is_set():
            others.append(post(port, "plain", "t/allow", {"user": "plain"})[1] == {"result": True})
    asker = threading.Thread(target=ask_others)
    asker.start()
    os.kill(pid, signal.SIGKILL)
    answers = []
    end = time.time() + 10
    while time.time() < end and (not answers or answers[-1][0] != 200):
        answers.append(post(port, "free-a", "t/allow", {"user": "free-a"}))
        time.sleep(0.02)
    stop_others.set()
    asker.join()
    equal("killed: its tenants are answered again", answers[-1], (200, {"result": True}))
    check("killed: until then errors, never an allow", all(s >= 500 for s, _ in answers[:-1]), answers)
    check(f"killed: {len(others)} requests of others went on", len(others) > 5 and all(others))
    check("killed: another process runs", len(logged("worker process started")) >= 2, logged("worker process started"))
    check("killed: the log says so", logged("worker process ended")[-1]["ended_by"].startswith("signal 9"))


def requests(port, edge):
    for tenant in ("plain", "free-a", "free-b"):
        equal(f"{tenant}: allow and deny", [post(port, tenant, "t/allow", {"user": u}) for u in (tenant, "other")],
              [(200, {"result": True}), (200, {"result": False})])
    equal("time zones without files", post(port, "free-a", "t/where", {}), post(port, "plain", "t/where", {}))
    equal("undefined", post(port, "free-a", "t/nothing", {}), (200, {}))
    started = logged("worker process started")
    equal("one process, started at the first request of its group", [(l["group"], int(l["pid"]) > 0) for l in started], [("free", True)])
    pid = int(started[0]["pid"])
    sandboxed(pid)
    status, body = post(port, "free-b", "t/spin", {})
    check("its deadline holds", status == 500 and "deadline" in body["message"], (status, body))
    build({"p.rego": POLICY % "second"}, ["t/allow", "t/where", "t/spin"], f"{FOLDER}/tenants/free-b/bundle.tar.gz")
    check("a new version is served", wait_for(lambda: post(port, "free-b", "t/allow", {"user": "second"})[1] == {"result": True}))
    equal("in the same process", len(logged("worker process started")), 1)
    dies(port, pid)
    pid = int(logged("worker process started")[-1]["pid"])
    stop(edge)
    check("the node's end is the process's end", wait_for(lambda: not os.path.exists(f"/proc/{pid}")))


def main():
    port = free_port()
    for tenant in ("plain", "free-a", "free-b"):
        build({"p.rego": POLICY % tenant}, ["t/allow", "t/where", "t/spin"], f"{FOLDER}/tenants/{tenant}/bundle.tar.gz")
    with open(TMP + "/workers.yaml", "w", encoding="utf-8") as f:
        f.write(f"""tenants: {{directory: {FOLDER}, poll: 50ms}}
tenant_from: [{{header: {{name: x-tenant-id, trusted: [127.0.0.1/32]}}}}]
listeners: [{{name: main, address: "127.0.0.1:{port}", doors: [rest, health, metrics]}}]
limits: {{default: {{deadline: 200ms}}}}
groups: [{{name: free, tenants: ["free-*"], processes: 1, memory: 512MiB}}]
log: {{format: json}}
""")
    edge = start([REGENT, "edge", "--config", TMP + "/workers.yaml"], LOG)
    if wait_for(lambda: logged("ready")):
        requests(port, edge)
    else:
        check("the edge starts", False, open(LOG).read())
    finish()


main()
