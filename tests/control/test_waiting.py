#!/usr/bin/env python3
"""Requests that wait: who may how many, floods, clients that leave, a revoked token, the end; and that they are woken together.

in: BUILD, WAITING (how many wait at once, 3,000 if not given). out: TAP. owns: the processes it starts."""
import json
import os
import resource
import select
import socket
import subprocess
import time

from control_lib import Control, check, equal, run_parts, wait_for

WAITING = int(os.environ.get("WAITING", "3000"))


class Waiter:
    """One connection that asks for the feed and waits."""

    def __init__(self, c, token, node, since, wait=30, source="127.0.0.1"):
        self.s = socket.socket()
        self.s.bind((source, 0))
        self.s.connect(("127.0.0.1", c.port))
        self.s.sendall(f"GET /v1/edges/feed?node={node}&since={since}&wait={wait} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        self.data = b""

    def answer(self, seconds=10):
        """(status, JSON), or None if there is none in time."""
        end = time.monotonic() + seconds
        while True:
            head, _, body = self.data.partition(b"\r\n\r\n")
            if body and len(body) >= int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
                return int(head.split(b" ")[1]), json.loads(body)
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.s], [], [], left)[0]:
                return None
            got = self.s.recv(65536)
            if not got:
                return None
            self.data += got

    def close(self):
        self.s.close()


def cursor(c, token):
    return c.must("GET", "/v1/edges/feed?node=first", token=token)["cursor"]


def edge_token(c, name):
    return c.must("POST", "/v1/tokens", {"name": name, "role": "edge"})


def waiting(c):
    return c.must("GET", "/v1/status")["waiting"]


def limits():
    c = Control("--max-waiting", "30", "--max-waiting-token", "20").start()
    a, b = edge_token(c, "a")["token"], edge_token(c, "b")["token"]
    since = cursor(c, a)
    first = [Waiter(c, a, f"a{i}", since) for i in range(20)]
    check("twenty of one token wait", wait_for(lambda: waiting(c) == 20, 5), waiting(c))
    status, body, headers = c.call("GET", f"/v1/edges/feed?node=x&since={since}&wait=30", token=a)
    equal("the next is refused", (status, body["code"], "retry-after" in headers), (429, "too_many_wait", True))
    other = [Waiter(c, b, f"b{i}", since) for i in range(10)]
    check("another token may still", wait_for(lambda: waiting(c) == 30, 5), waiting(c))
    status, body, headers = c.call("GET", f"/v1/edges/feed?node=x&since={since}&wait=30", token=b)
    equal("until too many wait in all", (status, body["code"], "retry-after" in headers), (503, "too_many_wait", True))
    equal("asking without waiting goes on", c.call("GET", f"/v1/edges/feed?node=x&since={since}", token=b)[0], 200)
    for w in first:
        w.close()
    began = time.monotonic()
    check("who leaves makes room", wait_for(lambda: waiting(c) == 10, 8), waiting(c))
    check(f"after {time.monotonic() - began:.1f} s", time.monotonic() - began < 5)
    short = Waiter(c, a, "short", since, wait=1)
    began = time.monotonic()
    got = short.answer()
    took = time.monotonic() - began
    check("nothing new is an answer too, in time", got and got[0] == 200 and got[1]["changes"] == [] and 0.8 < took < 2, (got, took))
    began = time.monotonic()
    equal("the end comes soon", c.stop(), 0)
    took = time.monotonic() - began
    check("however long they would wait", took < 4, took)
    answers = [w.answer(1) for w in other]
    check("and all are answered before", all(x and x[0] == 200 and x[1]["changes"] == [] for x in answers), answers)


def streams():
    """The same over HTTP/2, where one connection carries several that wait."""
    c = Control().start()
    token = edge_token(c, "h2")["token"]
    url = f"http://127.0.0.1:{c.port}/v1/edges/feed?since={cursor(c, token)}&wait=30&node=n"
    command = ["nghttp", "-H", "Authorization: Bearer " + token]
    clients = [subprocess.Popen([*command, url + "1", url + "2"], stdout=subprocess.PIPE), subprocess.Popen([*command, url + "3"], stdout=subprocess.PIPE)]
    check("three wait", wait_for(lambda: waiting(c) == 3, 10), waiting(c))
    clients[1].kill()
    check("who leaves makes room", wait_for(lambda: waiting(c) == 2, 5), waiting(c))
    c.must("PUT", "/v1/tenants/acme", {"files": {"policy.rego": "package p\n\nallow := true\n"}})
    out = clients[0].communicate(timeout=20)[0]
    equal("both of one connection hear", out.count(b'"tenant":"acme"'), 2)
    clients[1].wait()
    equal("it ends well", c.stop(), 0)


def revoked():
    c = Control().start()
    t = edge_token(c, "stolen")
    since = cursor(c, t["token"])
    w = [Waiter(c, t["token"], f"n{i}", since, wait=2) for i in range(5)]
    check("five wait", wait_for(lambda: waiting(c) == 5, 5))
    c.must("DELETE", "/v1/tokens/" + t["id"])
    equal("who waits on a token that is revoked learns nothing more", [x.answer()[0] for x in w], [401] * 5)
    c.stop()


def woken():
    """What is released reaches all that wait, soon, and those who wait for something else not at all."""
    c = Control().start()
    token, other = edge_token(c, "all")["token"], c.must("POST", "/v1/tokens", {"name": "other", "role": "edge", "scopes": {"tenants": ["x*"]}})["token"]
    since, since_other = cursor(c, token), cursor(c, other)
    n = min(WAITING, 300)
    waiters = [Waiter(c, token, f"n{i}", since) for i in range(n)]
    others = [Waiter(c, other, f"o{i}", since_other, wait=6) for i in range(5)]
    check(f"{n + 5} wait", wait_for(lambda: waiting(c) == n + 5, 10), waiting(c))
    c.must("PUT", "/v1/tenants/acme", {"files": {"policy.rego": "package p\n\nallow := true\n"}})
    began = time.monotonic()
    answers = [w.answer(20) for w in waiters]
    took = time.monotonic() - began
    print(f"# all {n} knew {took:.2f} s after the change, its build included")
    check("all hear of the release", all(a and a[0] == 200 and [x["tenant"] for x in a[1]["changes"]] == ["acme"] for a in answers), answers[:3])
    check("soon", took < 10, took)
    equal("who sees other tenants only goes on waiting", waiting(c), 5)
    check("until its time is over", all((a := w.answer(8)) and a[1]["changes"] == [] for w in others))
    wakes = [l for l in c.call("GET", "/metrics")[1].decode().split("\n") if l.startswith("regent_control_wakes_total")][0]
    check("each was looked at a few times, not all the time", int(float(wakes.split()[1])) <= 12 * (n + 5), wakes)
    c.stop()


def flood():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    n = min(WAITING, hard - 500)
    c = Control("--max-waiting-token", "100000").start()
    token = edge_token(c, "many")["token"]
    since = cursor(c, token)

    def memory():
        with open(f"/proc/{c.process.pid}/status") as f:
            return int([l for l in f if l.startswith("VmRSS")][0].split()[1])
    before = memory()
    began = time.monotonic()
    all_of_them = [Waiter(c, token, f"n{i}", since, wait=60, source=f"127.0.0.{1 + i // 20000}") for i in range(n)]
    check(f"{n} wait at once", wait_for(lambda: waiting(c) == n, 30), waiting(c))
    print(f"# {n} in {time.monotonic() - began:.1f} s, {(memory() - before) / n:.1f} KiB each")
    check("each takes less than 40 KiB", (memory() - before) / n < 40)
    times = []
    for _ in range(50):
        began = time.monotonic()
        c.must("GET", "/v1/tokens/self")
        times.append(time.monotonic() - began)
    check("others are answered meanwhile", sorted(times)[45] < 0.1, sorted(times)[-5:])
    began = time.monotonic()
    for w in all_of_them:
        w.close()
    check("all leave", wait_for(lambda: waiting(c) == 0, 20), waiting(c))
    print(f"# noticed after {time.monotonic() - began:.1f} s")
    equal("it ends well", c.stop(), 0)


if __name__ == "__main__":
    run_parts([limits, streams, revoked, woken, flood])
