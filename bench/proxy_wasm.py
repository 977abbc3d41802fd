"""Measures Envoy with a policy as a proxy-wasm filter beside Envoy with a filter that only reads the headers, Envoy
that asks a Go server with OPA's library, and Envoy alone.

in:   BUILD (folder with regent), ENVOY, EXT_AUTHZ_GO (run.sh sets them); clang, wasm-ld and wrk. out: a line a figure, a
      JSON document, a table; $BUILD/bench-proxy-wasm.json. owns: the Envoys it starts, on free ports of loopback.

P1's rules, with the user in headers, the action in the method and the resource in the path (bench/proxy_wasm/policy.rego).
"""
import argparse
import os
import subprocess
import sys
import urllib.request

from envoy import ENVOY, ext_authz, start_envoy, wasm
from measure import Report, alternate, free_port, start, stop_all, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(HERE, "..", "build")))
REGENT = os.environ.get("REGENT", os.path.join(BUILD, "regent"))
GO = os.environ["EXT_AUTHZ_GO"]
WORK = os.path.join(BUILD, "bench", "work")
HEADERS = {"x-tenant-id": "acme", "x-role": "editor", "x-user": "u7", "authorization": "Bearer 012345", "user-agent": "client/4"}
PATH = "/v1/reports/r1?page=2"
ALLOW, BOTH = {"entrypoint": "tenant/authz/allow"}, {"entrypoint": "tenant/authz/allow", "decision_entrypoint": "tenant/authz/decision"}


def build():
    """The filter, and the peer that reads headers only."""
    subprocess.run([sys.executable, os.path.join(HERE, "generate.py"), WORK], check=True)
    ours, peer = os.path.join(WORK, "filter.wasm"), os.path.join(WORK, "headers.wasm")
    subprocess.run([REGENT, "build", "-t", "proxy-wasm", "-e", "tenant/authz/allow", "-e", "tenant/authz/decision", "-o", ours,
                    os.path.join(HERE, "proxy_wasm", "policy.rego"), os.path.join(WORK, "p1", "data.json")], check=True)
    subprocess.run(["clang", "--target=wasm32", "-O2", "-nostdlib", "-mbulk-memory", "-Wl,--no-entry", "-o", peer,
                    os.path.join(HERE, "proxy_wasm", "headers.c")], check=True)
    return ours, peer


def status(url, headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5).status
    except urllib.error.HTTPError as e:
        return e.code


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk(url, pid, seconds):
    """(requests/s, microseconds of Envoy's processor time a request): the second suffers less from a busy machine."""
    before = cpu_seconds(pid)
    flags = [flag for name, value in HEADERS.items() for flag in ("-H", f"{name}: {value}")]
    out = subprocess.run(["wrk", "-t1", "-c16", f"-d{seconds}s", *flags, url], check=True, stdout=subprocess.PIPE, text=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        stop_all()
        sys.exit(f"bench: {url}: {out}")
    requests = int(out.split(" requests in ")[0].split()[-1])
    return float(out.split("Requests/sec:")[1].split()[0]), 1e6 * (cpu_seconds(pid) - before) / requests


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few and short rounds: for trying the bench itself")
    args, _ = parser.parse_known_args()  # --only is of the other benches
    os.makedirs(WORK, exist_ok=True)
    subprocess.run([os.path.join(HERE, "..", "third_party", "envoy", "build.sh"), os.path.dirname(ENVOY)], check=True)
    ours, peer = build()
    address = f"127.0.0.1:{free_port()}"
    start([GO, "opa", address, os.path.join(HERE, "proxy_wasm", "policy.rego"), os.path.join(WORK, "p1", "data.json")])
    chains = {"policy": ([wasm(ours, ALLOW)], None), "policy with decision": ([wasm(ours, BOTH)], None),
              "headers only": ([wasm(peer, {})], None), "no filter": ([], None),
              "go, opa library": ([ext_authz(False)], address)}
    urls = {name: start_envoy("wasm " + name, WORK, *chain) for name, chain in chains.items()}
    urls = {name: (url + PATH, pid) for name, (url, pid) in urls.items()}
    try:
        for name, (url, _) in urls.items():
            wanted = 200 if name in ("headers only", "no filter") else 403
            if not wait_for(lambda u=url: status(u, HEADERS) == 200) or status(url, {**HEADERS, "x-role": "reader-"}) != wanted:
                sys.exit(f"bench: Envoy with {name} does not answer as it should")
        seconds = 1 if args.quick else 4
        load = {name: lambda u=u: wrk(*u, seconds) for name, u in urls.items()}
        alternate(1, load)
        report = Report()
        samples = alternate(3 if args.quick else 7, load)
        median = report.figure("Envoy, one worker, wrk -t1 -c16", "requests/s", {p: [r for r, _ in l] for p, l in samples.items()})
        cost = report.figure("Envoy's processor time a request", "us", {p: [c for _, c in l] for p, l in samples.items()})
        report.at_least("Envoy with the policy: with a filter that reads headers", 0.8, median["policy"], median["headers only"])
        report.at_least("Envoy with the policy: with Go and OPA's library over ext_authz", 4, median["policy"], median["go, opa library"])
        report.at_least("the same by Envoy's processor time", 0.8, cost["headers only"], cost["policy"])
        report.finish(os.path.join(BUILD, "bench-proxy-wasm.json"))
    finally:
        stop_all()


main()
