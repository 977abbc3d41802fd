#!/usr/bin/env python3
"""Builds the unit tests with address and undefined-behaviour sanitizers and runs them.

in:  $BUILD (the sanitized build goes to $BUILD/asan). out: TAP, one line a test program; its own lines on failure.
"""
import glob
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(ROOT, "build")))
ASAN = os.path.join(BUILD, "asan")


def main():
    names = [os.path.relpath(p, os.path.join(ROOT, "tests/unit"))[:-2]
             for p in sorted(glob.glob(ROOT + "/tests/unit/*.c") + glob.glob(ROOT + "/tests/unit/runtime/*.c"))]
    os.makedirs(ASAN, exist_ok=True)
    for mark in (".deps", ".deps-test"):  # the plain build has seen to them
        if os.path.exists(os.path.join(BUILD, mark)):
            open(os.path.join(ASAN, mark), "a").close()
    made = subprocess.run(["make", "-k", "-j2", "BUILD=" + ASAN, "OPT=-O1", "SANITIZE=-fsanitize=address,undefined "
                           "-fno-sanitize-recover=undefined", *[f"{ASAN}/tests/unit/{n}" for n in names]],
                          cwd=ROOT, capture_output=True, text=True)
    if made.returncode:
        print(made.stdout[-3000:], made.stderr[-3000:])
    failed = 0
    for number, name in enumerate(names, 1):
        path = f"{ASAN}/tests/unit/{name}"
        try:
            run = subprocess.run([path], capture_output=True, text=True, errors="replace", timeout=900, cwd=ROOT,
                                 env={**os.environ, "BUILD": BUILD, "CMOCKA_MESSAGE_OUTPUT": "stdout",
                                      "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1"})
            ok, text = run.returncode == 0, run.stdout + run.stderr
        except (OSError, subprocess.TimeoutExpired) as e:
            ok, text = False, str(e)
        failed += not ok
        print(("ok" if ok else "not ok"), number, "- sanitize/" + name, flush=True)
        if not ok:
            print("\n".join("# " + line for line in text.splitlines()[-40:]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
