"""Checks that policies in this folder give the errors that they say, and that OPA gives.

in:  *.rego beside this file; $BUILD/regent (or $REGENT), $OPA.
out: TAP lines; exit status 1 when a case fails.

A case's first lines may be
    # flags: --v0-compatible     flags for both programs
    # regent-only                OPA is not asked (errors that only Regent has)
    # opa-rows-differ            OPA must give errors of the same codes, at whatever place: it
                                 reports refs to rules where their package was last named
and its lines carry
    # expect: CODE               an error of that code on this line
    # expect: CODE ROW:COL       or at that place (ROW for any column)
A case without `expect` must give no errors at all.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BUILD = os.environ.get("BUILD", "build")
REGENT = os.environ.get("REGENT", os.path.join(BUILD, "regent"))
OPA = os.environ.get("OPA", "opa")
EXPECT = re.compile(r"#\s*expect:\s*([a-z_]+)(?:\s+(\d+)(?::(\d+))?)?")


def head(lines, word):
    """What follows `# word` in the first three lines, or None."""
    for line in lines[:3]:
        match = re.match(r"#\s*" + re.escape(word) + r"\s*(.*)", line)
        if match:
            return match.group(1).strip()
    return None


def expected(lines):
    """List of (code, row, column or None)."""
    out = []
    for number, line in enumerate(lines, 1):
        for code, row, col in EXPECT.findall(line):
            out.append((code, int(row) if row else number, int(col) if col else None))
    return out


def errors_of(command):
    """Errors that `check --format json` prints, each once, as (code, row, col); what went wrong."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as e:
        return None, f"{command[0]}: {e}"
    text = run.stdout.strip() or run.stderr.strip()
    if run.returncode < 0:
        return None, f"{command[0]}: signal {-run.returncode}"
    if not text:
        return [], "" if run.returncode == 0 else f"{command[0]}: exit {run.returncode}, no output"
    try:
        document = json.loads(text)
    except ValueError:
        return None, f"{command[0]}: no JSON: {text[:200]}"
    out = []
    for e in document.get("errors") or []:
        place = e.get("location") or {}
        out.append((e.get("code"), place.get("row", 0), place.get("col", 0), e.get("message", "")))
    return sorted(e[:3] for e in set(out)), ""


def missing(want, have):
    """What stands on one side only, columns compared where they are given."""
    all_of_them, problems = list(have), []
    for code, row, col in want:
        hit = next((h for h in all_of_them if h[0] == code and h[1] == row and col in (None, h[2])), None)
        if hit is None:
            problems.append(f"no {code} at {row}" + (f":{col}" if col else ""))
        else:
            have = [h for h in have if h != hit]  # several errors may share a place
    return problems + [f"unexpected {c} at {r}:{k}" for c, r, k in have]


def codes(errors):
    return sorted({(code, row) for code, row, _ in errors})


def same_judgement(ours, theirs, lines):
    if head(lines, "opa-rows-differ") is not None:
        return {c for c, _, _ in ours} == {c for c, _, _ in theirs}
    return codes(ours) == codes(theirs)


def check_case(path):
    """None when the case passes, else the reason."""
    lines = path.read_text().splitlines()
    flags = (head(lines, "flags:") or "").split()
    ours, problem = errors_of([REGENT, "check", "--format", "json", *flags, str(path)])
    if ours is None or problem:
        return problem
    problems = missing(expected(lines), ours)
    if problems:
        return "; ".join(problems)
    if head(lines, "regent-only") is not None:
        return None
    theirs, problem = errors_of([OPA, "check", "--format", "json", *flags, str(path)])
    if theirs is None:
        return problem
    if not same_judgement(ours, theirs, lines):
        return f"OPA says {codes(theirs)}, we say {codes(ours)}"
    return None


def main():
    names = [pathlib.Path(a) for a in sys.argv[1:]] or sorted(HERE.glob("*.rego"))
    failed = 0
    for number, path in enumerate(names, 1):
        reason = check_case(path)
        failed += reason is not None
        print(("ok" if reason is None else "not ok"), number, "-", "errors/" + path.stem, flush=True)
        if reason:
            print("  # " + reason.replace("\n", " "), flush=True)
    print(f"1..{len(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
