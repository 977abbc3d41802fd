#!/usr/bin/env python3
"""Runs the test suites and counts their TAP lines.

usage: tests/run.py [SUITE ...]      (default: all; BUILD names the build folder)

Every suite prints TAP ("ok N - name", "not ok N - name", "# SKIP reason"). Failing lines are shown as they come; the last
line counts: "N passed, N failed, N skipped". Exit status 1 when anything failed or a suite ended badly.
"""
import glob
import os
import re
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
LINE = re.compile(r"^\s*(not ok|ok) \d+(?: -)? ?(.*)$")
FUZZ_SECONDS = os.environ.get("FUZZ_SECONDS", "10")


def opa_cases():
    """The folder of OPA's conformance cases, from its pinned Go module."""
    version = os.path.basename(os.path.dirname(os.environ["OPA"])).removeprefix("opa-")
    module = subprocess.run(["go", "mod", "download", "-json", "github.com/open-policy-agent/opa@v" + version],
                            cwd="/", capture_output=True, text=True, env={**os.environ, "GOFLAGS": "-mod=mod"})
    found = re.search(r'"Dir": "([^"]+)"', module.stdout)
    if not found:
        sys.exit("cannot get OPA's module for its test cases:\n" + module.stdout + module.stderr)
    return os.path.join(found.group(1), "v1/test/cases/testdata")


def commands():
    """(suite, command, folder) in the order in which they run; commands of one suite may run side by side."""
    def script(path, *more):
        return ["python3", os.path.join(ROOT, path), *more]
    suites = []
    for binary in sorted(glob.glob(BUILD + "/tests/unit/*") + glob.glob(BUILD + "/tests/unit/runtime/*")):
        if os.access(binary, os.X_OK) and os.path.isfile(binary):
            suites.append(("unit", [binary]))
    for path in sorted(glob.glob(ROOT + "/tests/*/*.py")):
        name = os.path.basename(os.path.dirname(path))
        if re.match(r"(test_.*|run)\.py$", os.path.basename(path)):
            suites.append((name, script(os.path.relpath(path, ROOT))))
    suites.append(("fuzz", [os.path.join(ROOT, "tests/fuzz/run.sh"), FUZZ_SECONDS]))
    for version in ("v1", "v0"):
        for shard in ("0/2", "1/2"):
            command = [BUILD + "/tests/conformance", "--shard", shard, "--exceptions",
                       os.path.join(ROOT, "tests/conformance/exceptions.txt")]
            suites.append(("conformance", command + (["--v0"] if version == "v0" else []) + [None, version]))
    return suites


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def line(self, text, where):
        match = LINE.match(text)
        if not match:
            return
        if match.group(1) == "not ok":
            self.failed += 1
            print(f"  FAILED {where}: {match.group(2)}", flush=True)
        elif "# SKIP" in match.group(2):
            self.skipped += 1
        else:
            self.passed += 1


def run(command, count, lock, where):
    """Runs one command, counts its lines; a bad exit without a failed line counts as a failure of its own."""
    tail, before = [], count.failed
    env = {**os.environ, "BUILD": BUILD, "CMOCKA_MESSAGE_OUTPUT": "tap"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env,
                               cwd=ROOT)
    for line in process.stdout:
        tail = (tail + [line])[-30:]
        with lock:
            count.line(line, where)
    code = process.wait()
    if code != 0 and count.failed == before:
        with lock:
            count.failed += 1
            print(f"  FAILED {where}: exit status {code}\n" + "".join("    " + t for t in tail), flush=True)


def main():
    wanted = sys.argv[1:]
    total, lock = Count(), threading.Lock()
    plan = [s for s in commands() if not wanted or s[0] in wanted]
    cases = opa_cases() if any(s[0] == "conformance" for s in plan) else None
    names = list(dict.fromkeys(s[0] for s in plan))
    for name in names:
        start, count = time.time(), Count()
        threads = []
        for suite, command in plan:
            if suite != name:
                continue
            where = os.path.basename(next(c for c in reversed(command) if c and not c.startswith("-")))
            if None in command:
                where = "conformance"
                command = command[:command.index(None)] + [os.path.join(cases, command[-1])]
            if name == "conformance":
                threads.append(threading.Thread(target=run, args=(command, count, lock, where)))
                threads[-1].start()
                if len(threads) % 2 == 0:
                    [t.join() for t in threads]
            else:
                run(command, count, lock, where)
        for thread in threads:
            thread.join()
        total.passed += count.passed
        total.failed += count.failed
        total.skipped += count.skipped
        print(f"{name}: {count.passed} passed, {count.failed} failed, {count.skipped} skipped ({time.time() - start:.0f} s)",
              flush=True)
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
