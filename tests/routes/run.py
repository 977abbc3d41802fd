"""One answer by every route: generated policies on source, optimised and not, with OPA as the judge.

in:  $BUILD, $OPA; $ROUTES_SECONDS (default 45), $ROUTES_SEED (default 1).
out: TAP lines, one a policy.
owns: a scratch folder. Longer runs: differential.py.
"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import tap
from routes.differential import compare_many


def main():
    lines = tap.Tap()
    each = lambda seed, kind, problem: lines.result(f"routes/{seed} ({kind})", problem)
    compare_many(int(os.environ.get("ROUTES_SEED", "1")), float(os.environ.get("ROUTES_SECONDS", "45")), 400, tap.scratch(), each)
    return lines.done()


if __name__ == "__main__":
    sys.exit(main())
