"""Runs generated policies in both programs and compares the answers.

usage: differential.py [--seconds N] [--seed S] [--count N] [--keep FOLDER]

in:  $BUILD, $OPA; a first seed.
out: TAP lines (run.py calls `compare_many`); each disagreement with its policy, input, data and both answers.
owns: nothing.
"""
import argparse
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import tap
from routes.generate import generate


def ask(program, folder, extra=()):
    flags = ["-f", "json", "-d", folder / "policy.rego", "-d", folder / "data.json", "-i", folder / "input.json"]
    return tap.run([program, "eval", *flags, *extra, "data.t"], timeout=30)


def compare(seed, folder):
    """(kind of OPA's answer, None or a description of the disagreement)"""
    made = generate(seed)
    for name, text in (("policy.rego", made.source), ("data.json", made.data), ("input.json", made.input)):
        (folder / name).write_text(text)
    theirs = tap.answer(ask(tap.OPA, folder))
    for level in ("1", "0"):
        outcome = ask(tap.REGENT, folder, ["-O", level])
        ours = tap.answer(outcome)
        agreed = ours == theirs
        if not agreed and "eval_conflict_error" in ours[1]:
            # OPA's rule index may leave out the rule that conflicts; without the index OPA has to agree.
            agreed = tap.answer(ask(tap.OPA, folder, ["--disable-indexing", "--disable-early-exit"])) == ours
        if not agreed:
            detail = f"-O{level}\nregent: {tap.show(ours)}\nopa:    {tap.show(theirs)}\n{outcome.err[:300]}"
            if ours[0] == "error":
                detail += outcome.out[:600]
            return theirs[0], f"seed {seed} {detail}\n{made.source}input {made.input}\ndata {made.data}"
    return theirs[0], None


def compare_many(first, seconds, limit, folder, each):
    """Calls each(seed, kind, problem) for seeds from `first` on until time or count is reached."""
    end, seed = time.time() + seconds, first
    while time.time() < end and seed < first + limit:
        each(seed, *compare(seed, folder))
        seed += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10**9)
    options = parser.parse_args()
    lines, kinds = tap.Tap(), {}

    def each(seed, kind, problem):
        kinds[kind] = kinds.get(kind, 0) + 1
        lines.result(f"differential/{seed}", problem)

    compare_many(options.seed, options.seconds, options.count, tap.scratch(), each)
    print("#", lines.failed, "disagree;", json.dumps(kinds))
    return lines.done()


if __name__ == "__main__":
    sys.exit(main())
