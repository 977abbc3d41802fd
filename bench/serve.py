"""Measures the edge node beside its peers under load: OPA's server, nginx, Go servers for ext_authz, Envoy with each.

in:   BUILD, OPA, EXT_AUTHZ_GO, ENVOY from run.sh, and the files it prepared.
out:  a line a figure, a JSON document, a table; $BUILD/bench-serve.json.
owns: the servers it starts, on free ports of loopback.
"""
import argparse
import json
import os
import re
import socket
import struct
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "edge"))
import edge_lib
import envoy as envoy_lib
from envoy import start_envoy
from measure import Report, alternate, free_port, start, stop_all, wait_for

BUILD, OPA, GO = (os.environ[name] for name in ("BUILD", "OPA", "EXT_AUTHZ_GO"))
WORK, HERE = os.path.join(BUILD, "bench", "work"), os.path.dirname(os.path.abspath(__file__))
REGENT = os.path.join(BUILD, "regent")
P1, AUTHZ = os.path.join(WORK, "p1"), os.path.join(WORK, "authz")
CHECK = "/envoy.service.auth.v3.Authorization/Check"


def free(n):
    return [free_port() for _ in range(n)]


def edge(folder, rest="none", grpc="none", *more):
    return [REGENT, "edge", "--directory", folder, "--rest-addr", rest, "--grpc-addr", grpc, "--log-level", "error", *more]


def stop_here(message):
    stop_all()
    sys.exit("bench: " + message)


# ---- load generators ----
def wrk(url, seconds, connections=32, threads=2, script="post.lua", latency=False, bad=0.0001):
    """(requests/s, {50: ms, 99: ms}); more than `bad` of the replies other than 2xx stop the bench."""
    env = {**os.environ, "INPUT": os.path.join(P1, "input.json")}
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", *(["--latency"] if latency else []),
               *(["-s", os.path.join(HERE, script)] if script else []), url]
    out = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    refused = int(out.split("responses:")[1].split()[0]) if "Non-2xx" in out else 0
    answered = int(out.split(" requests in ")[0].split()[-1])
    if "Socket errors" in out or refused > bad * answered:
        stop_here(f"{url}: {out}")
    if refused:
        print(f"note: {refused} of {answered} requests to {url} were not answered with 2xx", flush=True)
    unit = {"us": 0.001, "ms": 1, "s": 1000}
    times = {int(p): float(v) * unit[u] for p, v, u in re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s)$", out, re.M)}
    return float(out.split("Requests/sec:")[1].split()[0]), times


def h2load(address, seconds, rate=None):
    """(calls/s, p99 in ms) of Check with 8 connections of 8 streams; with `rate`, so many calls a second and no more."""
    log = os.path.join(WORK, "h2load.log")
    if os.path.exists(log):
        os.unlink(log)
    command = ["h2load", "-c8", "-m8", f"-D{seconds}", "--warm-up-time=1", "-d", os.path.join(AUTHZ, "check.bin"), "-H",
               "content-type: application/grpc", "-H", "te: trailers", f"http://{address}{CHECK}"]
    if rate:
        command[1:1] = [f"--rps={rate / 8:.0f}", f"--log-file={log}"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", out)
    if not done or done.group(2) != "0" or done.group(3) != "0":
        stop_here(f"h2load {address}: {out}")
    p99 = None
    if rate:
        with open(log, encoding="ascii") as f:
            times = sorted(int(line.split("\t")[2]) for line in f)
        p99 = times[len(times) * 99 // 100] / 1000
    return float(re.search(r"finished in .*?, ([\d.]+) req/s", out).group(1)), p99


# ---- REST ----
def post(url):
    with open(os.path.join(P1, "input.json"), "rb") as f:
        body = b'{"input":' + f.read() + b"}"
    headers = {"content-type": "application/json", "x-tenant-id": "acme"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as reply:
        return json.load(reply)


def nginx(at):
    """The floor: two workers that answer each POST with 200."""
    folder = os.path.join(WORK, "nginx")
    os.makedirs(folder, exist_ok=True)
    with open(folder + "/nginx.conf", "w", encoding="utf-8") as f:
        f.write(f"""daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{at} reuseport; location / {{ return 200 '{{"result":true}}'; }} }} }}
""")
    return ["nginx", "-p", folder, "-c", folder + "/nginx.conf"]


def rest(report, args):
    ports = dict(zip(("regent", "opa", "nginx"), free(3)))
    start(edge(os.path.join(P1, "tenants"), f"127.0.0.1:{ports['regent']}"))
    start([OPA, "run", "--server", "--addr", f"127.0.0.1:{ports['opa']}", "--log-level", "error", "policy.rego", "data.json"], cwd=P1)
    start(nginx(ports["nginx"]))
    for entry in ("allow", "decision"):
        urls = {peer: f"http://127.0.0.1:{p}/v1/data/tenant/authz/{entry}" for peer, p in ports.items()}
        answers = {peer: wait_for(lambda u=url: post(u)) for peer, url in urls.items()}
        if not answers["nginx"] or not answers["opa"] or answers["regent"] != answers["opa"]:
            stop_here(f"serving: the peers do not agree: {answers}")
        alternate(1, {p: lambda u=u: wrk(u, 1) for p, u in urls.items()})
        median = report.figure(f"REST P1 {entry}, wrk -t2 -c32", "requests/s", alternate(
            3 if args.quick else 5, {p: lambda u=u: wrk(u, 1 if args.quick else 3)[0] for p, u in urls.items()}))
        report.at_least(f"edge over REST, {entry}: opa run --server", 8, median["regent"], median["opa"])
        if entry == "allow":
            report.at_least("edge over REST, allow: nginx return 200", 0.7, median["regent"], median["nginx"])


# ---- ext_authz ----
def check_request():
    """Writes one gRPC message, a CheckRequest with P1's input as body, for tenant acme; gives the message."""
    with open(os.path.join(P1, "input.json"), encoding="utf-8") as f:
        body = f.read()
    headers = {":method": "POST", ":path": "/v1/documents/d1", ":authority": "api.example.com", "content-type": "application/json",
               "user-agent": "client/8", "authorization": "Bearer abcdef"}
    message = edge_lib.check_request("POST", "/v1/documents/d1", headers, body, {"tenant_id": "acme"})
    with open(os.path.join(AUTHZ, "check.bin"), "wb") as f:
        f.write(b"\0" + struct.pack(">I", len(message)) + message)
    return message


def go(mode, address):
    return [GO, mode, address, *([os.path.join(AUTHZ, "policy.rego"), os.path.join(P1, "data.json")] if mode == "opa" else [])]


def listening(address):
    kind, where = (socket.AF_UNIX, address[5:]) if address.startswith("unix:") else (
        socket.AF_INET, ("127.0.0.1", int(address.rsplit(":", 1)[1])))

    def connects():
        with socket.socket(kind) as s:
            s.connect(where)
            return True
    if not wait_for(connects):
        stop_here(f"no server at {address}")


def ext_authz(report, args):
    message = check_request()
    at = dict(zip(("regent", "go, opa library", "go, always OK"), [f"127.0.0.1:{p}" for p in free(3)]))
    start(edge(os.path.join(AUTHZ, "tenants"), grpc=at["regent"]))
    start(go("opa", at["go, opa library"]))
    start(go("ok", at["go, always OK"]))
    for peer, address in at.items():
        listening(address)
        if edge_lib.Check(int(address.rsplit(":", 1)[1]), message).code != 0:
            stop_here(f"ext_authz: {peer} does not allow P1's request")
    seconds = 1 if args.quick else 3
    median = report.figure("ext_authz P1 allow, h2load -c8 -m8", "calls/s", alternate(
        3 if args.quick else 5, {p: lambda a=a: h2load(a, seconds)[0] for p, a in at.items()}))
    report.at_least("edge over ext_authz: Go with OPA's library", 8, median["regent"], median["go, opa library"])
    report.at_least("edge over ext_authz: Go, always OK", 1, median["regent"], median["go, always OK"])
    half = {p: median[p] / 2 for p in at}
    p99 = report.figure("ext_authz P1, 99th percentile at half of each one's capacity", "ms", alternate(
        3, {p: lambda a=a, p=p: h2load(a, seconds, half[p])[1] for p, a in at.items()}))
    report.at_most("ext_authz P99 at half of capacity", 2, "ms", p99["regent"])


# ---- a real Envoy ----
def envoy(report, args):
    servers = {"regent, unix": ("unix:" + os.path.join(WORK, "authz.sock"), lambda a: edge(os.path.join(AUTHZ, "tenants"), grpc=a)),
               "regent, tcp": (f"127.0.0.1:{free_port()}", lambda a: edge(os.path.join(AUTHZ, "tenants"), grpc=a)),
               "go, opa library": (f"127.0.0.1:{free_port()}", lambda a: go("opa", a)),
               "go, always OK": (f"127.0.0.1:{free_port()}", lambda a: go("ok", a)), "no filter": (None, None)}
    urls = {}
    for name, (address, command) in servers.items():
        if address:
            start(command(address))
            listening(address)
        url, _ = start_envoy(name, WORK, [envoy_lib.ext_authz(True)] if address else [], address)
        urls[name] = url + "/v1/documents/d1"
    for url in urls.values():
        if not wait_for(lambda u=url: urllib.request.urlopen(post_request(u), timeout=5).status == 200):
            stop_here(f"Envoy at {url} does not allow P1's request")
    seconds = 1 if args.quick else 4
    load = {p: lambda u=u: wrk(u, seconds, 16, 1, "body.lua")[0] for p, u in urls.items()}
    alternate(1, load)
    median = report.figure("Envoy, one worker, wrk -t1 -c16", "requests/s", alternate(3 if args.quick else 5, load))
    report.at_least("Envoy, ext_authz over a Unix socket: Envoy with Go and OPA's library", 2.5, median["regent, unix"],
                    median["go, opa library"])
    report.figure("Envoy, one connection, 50th percentile", "us", alternate(3, {
        p: lambda u=u: 1000 * wrk(u, seconds, 1, 1, "body.lua", True)[1][50] for p, u in urls.items()}))
    return median


def post_request(url):
    with open(os.path.join(P1, "input.json"), "rb") as f:
        return urllib.request.Request(url, f.read(), {"content-type": "application/json"})


PARTS = {"rest": rest, "ext_authz": ext_authz, "envoy": envoy}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few and short rounds: for trying the bench itself")
    parser.add_argument("--only", choices=PARTS, action="append")
    args = parser.parse_args()
    report = Report()
    try:
        for part in args.only or PARTS:
            PARTS[part](report, args)
            stop_all()
    finally:
        stop_all()
    report.finish(os.path.join(BUILD, "bench-serve.json"))


main()
