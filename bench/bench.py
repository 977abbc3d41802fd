"""Measures Regent beside OPA: runs both in alternation, takes medians, compares them with the targets.

in:   BUILD, OPA, NATIVE from run.sh, and the files it prepared.
out:  a line a figure, a JSON document, a table; $BUILD/bench.json.
owns: the processes it starts.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request

BUILD, OPA, NATIVE = os.environ["BUILD"], os.environ["OPA"], os.environ["NATIVE"]
WORK, HERE = os.path.join(BUILD, "bench", "work"), os.path.dirname(os.path.abspath(__file__))
REGENT = os.path.join(BUILD, "regent")
CASES = ["p1_allow", "p1_decision", "p2_hit", "p2_miss"]
P1 = os.path.join(WORK, "p1")


class Talker:
    """A program that answers each line with a line."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            sys.exit(f"bench: no answer to {words} (exit {self.process.wait()})")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Report:
    def __init__(self):
        self.figures, self.rows = [], []

    def figure(self, what, unit, samples):
        """samples: {peer: [numbers]}."""
        entry = {"what": what, "unit": unit, "peers": {}}
        for peer, numbers in samples.items():
            entry["peers"][peer] = {"median": statistics.median(numbers), "min": min(numbers), "max": max(numbers),
                                    "samples": len(numbers)}
        self.figures.append(entry)
        text = "  ".join(f"{p} {v['median']:.4g} ({v['min']:.4g})" for p, v in entry["peers"].items())
        print(f"{what} [{unit}, median (min)]: {text}", flush=True)
        return {p: v["median"] for p, v in entry["peers"].items()}

    def target(self, what, target, measured, reached):
        self.rows.append({"what": what, "target": target, "measured": measured, "reached": bool(reached)})

    def times(self, what, factor, ours, theirs):
        """Ours is a time: at least factor times shorter."""
        ratio = theirs / ours
        self.target(what, f">= {factor:g}x", f"{ratio:.1f}x", ratio >= factor)

    def at_most(self, what, limit, unit, value):
        self.target(what, f"<= {limit:g} {unit}", f"{value:.3g} {unit}", value <= limit)


def alternate(rounds, measures):
    """{name: function} → {name: [results]}, one of each in turn, so that all share the machine's moods."""
    samples = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            samples[name].append(measure())
    return samples


def decisions(report, args):
    host, native = Talker(os.path.join(BUILD, "bench", "decide"), WORK), Talker(NATIVE, WORK)
    for case in CASES:
        answers = {form: json.loads(host.ask("result", case, form)) for form in ("thin", "full", "opa")}
        answers["native"] = json.loads(native.ask("result", case))
        if any(a != answers["native"] for a in answers.values()):
            sys.exit(f"bench: {case}: the peers do not agree: {answers}")
    for case in CASES:
        n = 2000 if args.quick else 10000
        median = report.figure(f"decision {case}", "us", alternate(args.rounds, {
            "regent thin": lambda: float(host.ask("eval", case, "thin", n)) / 1000,
            "regent full": lambda: float(host.ask("eval", case, "full", n)) / 1000,
            "opa wasm, same host": lambda: float(host.ask("eval", case, "opa", n)) / 1000,
            "opa native": lambda: float(native.ask("eval", case, n // 20)) / 1000,
        }))
        ours = median["regent thin"]
        report.times(f"{case}: OPA's wasm build, our host", 3, ours, median["opa wasm, same host"])
        report.times(f"{case}: OPA native", 25 if case[:2] == "p1" else 50, ours, median["opa native"])
    host.close()
    native.close()


def sizes(report, args):
    del args
    size = {"regent full": "full.wasm", "regent thin": "thin.wasm", "opa": "opa/policy.wasm"}
    median = report.figure("P1 module without data", "bytes",
                           {peer: [os.path.getsize(os.path.join(P1, f))] for peer, f in size.items()})
    report.at_most("P1 module, full", 60, "KB", median["regent full"] / 1000)
    report.at_most("P1 module, thin", 8, "KB", median["regent thin"] / 1000)


def machine_code(report, args):
    host = Talker("taskset", "-c", "0", os.path.join(BUILD, "bench", "decide"), WORK)
    median = report.figure("P1 wasm to machine code, one thread", "ms", alternate(
        5 if args.quick else 9, {form: lambda f=form: float(host.ask("compile", "p1", f)) / 1000 for form in ("thin", "full", "opa")}))
    report.at_most("P1 to machine code, thin", 10, "ms", median["thin"])
    report.at_most("P1 to machine code, full", 80, "ms", median["full"])
    median = report.figure("second tenant of P1's template, wasm to ready", "ms",
                           {"regent thin": [float(host.ask("second")) / 1000 for _ in range(200)]})
    report.at_most("second tenant of a template", 0.2, "ms", median["regent thin"])
    host.close()


def resident(report, args):
    host = Talker(os.path.join(BUILD, "bench", "decide"), WORK)
    live, loaded = map(int, host.ask("resident", 100 if args.quick else 500).split())
    report.figure("resident memory", "KB", {"live instance": [live / 1000], "loaded policy": [loaded / 1000]})
    report.at_most("live instance of P1", 40, "KB", live / 1000)
    host.close()


def run_seconds(command, cwd):
    start = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def processes(report, args):
    rounds = 5 if args.quick else 15
    build = ["build", "-t", "wasm", "-e", "tenant/authz/allow", "-e", "tenant/authz/decision", "-o"]
    files = ["policy.rego", "data.json"]
    median = report.figure("P1 Rego to wasm bundle, whole process", "ms", alternate(rounds, {
        "regent": lambda: 1000 * run_seconds([REGENT, *build, "out-regent.tar.gz", *files], P1),
        "opa": lambda: 1000 * run_seconds([OPA, *build, "out-opa.tar.gz", *files], P1)}))
    report.times("P1 Rego to wasm", 10, median["regent"], median["opa"])
    rule = ["eval", "-d", os.path.join(HERE, "rule", "policy.rego"), "-i", os.path.join(WORK, "rule.json"), "data.rule.allow"]
    with open(rule[4], "w", encoding="utf-8") as f:
        f.write('{"role":"editor"}')
    answers = [json.loads(subprocess.run([p, *rule], check=True, stdout=subprocess.PIPE).stdout) for p in (REGENT, OPA)]
    if answers[0] != answers[1]:
        sys.exit(f"bench: eval: the peers do not agree: {answers}")
    median = report.figure("eval of a one-rule policy, whole process", "ms", alternate(rounds, {
        "regent": lambda: 1000 * run_seconds([REGENT, *rule], WORK), "opa": lambda: 1000 * run_seconds([OPA, *rule], WORK)}))
    report.times("eval of a one-rule policy", 2, median["regent"], median["opa"])


def post(url):
    with open(os.path.join(P1, "input.json"), "rb") as f:
        body = b'{"input":' + f.read() + b"}"
    headers = {"content-type": "application/json", "x-tenant-id": "acme"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as reply:
        return json.load(reply)


def wait_for(url):
    for _ in range(200):
        try:
            return post(url)
        except OSError:
            time.sleep(0.05)
    sys.exit(f"bench: no server at {url}")


def requests_a_second(url, seconds):
    env = {**os.environ, "INPUT": os.path.join(P1, "input.json")}
    out = subprocess.run(["wrk", "-t2", "-c32", f"-d{seconds}s", "-s", os.path.join(HERE, "post.lua"), url],
                         env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
    refused = int(out.split("responses:")[1].split()[0]) if "Non-2xx" in out else 0
    answered = int(out.split(" requests in ")[0].split()[-1])
    if "Socket errors" in out or refused * 10000 > answered:
        sys.exit(f"bench: {url}: {out}")
    if refused:
        print(f"note: {refused} of {answered} requests to {url} were not answered with 2xx", flush=True)
    return float(out.split("Requests/sec:")[1].split()[0])


def serving(report, args):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    servers = {
        "regent": ([REGENT, "edge", "--directory", os.path.join(P1, "tenants"), "--rest-addr", "127.0.0.1:18191", "--grpc-addr", "none",
                    "--log-level", "error"], "http://127.0.0.1:18191"),
        "opa": ([OPA, "run", "--server", "--addr", "127.0.0.1:18192", "--log-level", "error", "policy.rego", "data.json"],
                "http://127.0.0.1:18192"),
    }
    started = [subprocess.Popen(command, cwd=P1, **quiet) for command, _ in servers.values()]
    try:
        for entry in ("allow", "decision"):
            urls = {peer: f"{base}/v1/data/tenant/authz/{entry}" for peer, (_, base) in servers.items()}
            answers = {peer: wait_for(url)["result"] for peer, url in urls.items()}
            if answers["regent"] != answers["opa"]:
                sys.exit(f"bench: serving: the peers do not agree: {answers}")
            seconds = 1 if args.quick else 3
            alternate(1, {p: lambda u=u: requests_a_second(u, 1) for p, u in urls.items()})
            median = report.figure(f"REST P1 {entry}, wrk -t2 -c32", "requests/s", alternate(
                3 if args.quick else 5, {p: lambda u=u: requests_a_second(u, seconds) for p, u in urls.items()}))
            ratio = median["regent"] / median["opa"]
            report.target(f"edge over REST, {entry}", ">= 4x", f"{ratio:.1f}x", ratio >= 4)
    finally:
        for process in started:
            process.terminate()
            process.wait()


PARTS = {"decisions": decisions, "sizes": sizes, "machine_code": machine_code, "resident": resident,
         "processes": processes, "serving": serving}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few and short rounds: for trying the bench itself")
    parser.add_argument("--only", choices=PARTS, action="append")
    args = parser.parse_args()
    args.rounds = 3 if args.quick else 11
    report = Report()
    for part in args.only or PARTS:
        PARTS[part](report, args)
    document = {"cpus": os.cpu_count(), "figures": report.figures, "targets": report.rows}
    with open(os.path.join(BUILD, "bench.json"), "w", encoding="utf-8") as f:
        json.dump(document, f, indent=1)
    print(json.dumps(document))
    for row in [{"what": "what", "target": "target", "measured": "measured", "reached": "reached"}, *report.rows]:
        reached = row["reached"] if isinstance(row["reached"], str) else ("yes" if row["reached"] else "no")
        print(f"| {row['what']:44} | {row['target']:>9} | {row['measured']:>9} | {reached:7} |")


main()
