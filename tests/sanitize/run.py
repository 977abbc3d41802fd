#!/usr/bin/env python3
"""Builds unit tests with sanitizers and runs them: all with address and undefined, those with threads with thread.

in:  $BUILD (sanitized builds go to $BUILD/asan and $BUILD/tsan). out: TAP, one line a test program; its own lines on failure.
"""
import glob
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
THREADED = ["tenants", "isolation", "server", "server_h2", "server_tls", "decision_record", "trial", "activator"]
OPTIONS = {
    "asan": {"ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1"},
    "tsan": {"TSAN_OPTIONS": f"suppressions={ROOT}/tests/sanitize/tsan.supp report_signal_unsafe=0"},
}
FLAGS = {"asan": "-fsanitize=address,undefined -fno-sanitize-recover=undefined", "tsan": "-fsanitize=thread"}


def build(kind, names):
    place = os.path.join(BUILD, kind)
    os.makedirs(place, exist_ok=True)
    for mark in (".deps", ".deps-test"):  # the plain build has seen to them
        if os.path.exists(os.path.join(BUILD, mark)):
            open(os.path.join(place, mark), "a").close()
    made = subprocess.run(["make", "-k", "-j2", "BUILD=" + place, "OPT=-O1", "SANITIZE=" + FLAGS[kind],
                           *[f"{place}/tests/unit/{n}" for n in names]], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, **OPTIONS[kind]})  # a tool of the build runs sanitized too
    if made.returncode:
        print(made.stdout[-3000:], made.stderr[-3000:])


def run(kind, name):
    """None when the program passes, else what it said."""
    try:
        done = subprocess.run([f"{BUILD}/{kind}/tests/unit/{name}"], capture_output=True, text=True, errors="replace", timeout=900,
                              cwd=ROOT, env={**os.environ, "BUILD": BUILD, "CMOCKA_MESSAGE_OUTPUT": "stdout", **OPTIONS[kind]})
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    return None if done.returncode == 0 else done.stdout + done.stderr


def main():
    everything = [os.path.relpath(p, os.path.join(ROOT, "tests/unit"))[:-2]
                  for p in sorted(glob.glob(ROOT + "/tests/unit/*.c") + glob.glob(ROOT + "/tests/unit/runtime/*.c"))]
    number = failed = 0
    for kind, names in (("asan", everything), ("tsan", THREADED)):
        build(kind, names)
        for name in names:
            number += 1
            problem = run(kind, name)
            failed += problem is not None
            print("ok" if problem is None else "not ok", number, f"- {kind}/{name}", flush=True)
            if problem is not None:
                print("\n".join("# " + line for line in problem.splitlines()[-40:]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
