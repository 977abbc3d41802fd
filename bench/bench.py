"""Measures decisions, modules and commands beside OPA: runs both in alternation, takes medians, compares them with the targets.

in:   BUILD, OPA, NATIVE from run.sh, and the files it prepared.
out:  a line a figure, a JSON document, a table; $BUILD/bench.json.
owns: the programs it talks to.
"""
import argparse
import json
import os
import subprocess
import sys
import time

from measure import Report, Talker, alternate

BUILD, OPA, NATIVE = os.environ["BUILD"], os.environ["OPA"], os.environ["NATIVE"]
WORK, HERE = os.path.join(BUILD, "bench", "work"), os.path.dirname(os.path.abspath(__file__))
REGENT = os.path.join(BUILD, "regent")
CASES = ["p1_allow", "p1_decision", "p2_hit", "p2_miss"]
P1 = os.path.join(WORK, "p1")


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


PARTS = {"decisions": decisions, "sizes": sizes, "machine_code": machine_code, "resident": resident,
         "processes": processes}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few and short rounds: for trying the bench itself")
    parser.add_argument("--only", choices=PARTS, action="append")
    args = parser.parse_args()
    args.rounds = 3 if args.quick else 11
    report = Report()
    for part in args.only or PARTS:
        PARTS[part](report, args)
    report.finish(os.path.join(BUILD, "bench.json"))


main()
