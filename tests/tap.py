"""What the Python suites share: TAP lines, the two programs, running a command, comparing answers.

in:  $BUILD (folder of the build), $OPA (the reference program), $REGENT (default $BUILD/regent).
out: functions; one `Tap` a suite.
owns: nothing but what a suite asks for (`scratch`).
"""
import atexit
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
REGENT = os.path.abspath(os.environ.get("REGENT", os.path.join(BUILD, "regent")))
OPA = os.environ.get("OPA", "opa")
CACHE = pathlib.Path(os.environ.get("REGENT_CACHE", pathlib.Path.home() / ".cache/regent"))


class Tap:
    """Numbered lines; `done` prints the plan and gives the exit status."""

    def __init__(self):
        self.count = self.failed = 0

    def result(self, name, problem=None):
        """`problem` None: passed. Else its text, shown below the line."""
        self.count += 1
        self.failed += problem is not None
        print("ok" if problem is None else "not ok", self.count, "-", name, flush=True)
        for line in (problem or "").splitlines():
            print("  # " + line, flush=True)
        return problem is None

    def equal(self, name, ours, theirs):
        return self.result(name, None if ours == theirs else f"regent: {show(ours)}\nwanted: {show(theirs)}")

    def skip(self, name, why):
        self.count += 1
        print("ok", self.count, "-", name, "# SKIP", why, flush=True)

    def done(self):
        print(f"1..{self.count}")
        return 1 if self.failed or not self.count else 0


def show(value, limit=1500):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= limit else text[:limit] + " …"


def scratch():
    """A folder that goes when the suite ends."""
    path = tempfile.mkdtemp(prefix="regent-test-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return pathlib.Path(path)


class Outcome:
    """What a command did: exit code, output, errors; `json` is the output with numbers as their texts."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        try:
            return parse(self.out)
        except ValueError:
            return f"no JSON (exit {self.code}): {self.out[:300]} {self.err[:300]}"


class Number(str):
    """A JSON number as it is written: 1 and 1.0 differ, and differ from "1"."""

    def __eq__(self, other):
        return isinstance(other, Number) and str.__eq__(self, other)

    def __ne__(self, other):
        return not self == other

    __hash__ = str.__hash__


def parse(text):
    return json.loads(text, parse_int=Number, parse_float=Number)


def run(command, stdin=None, cwd=None, timeout=60, env=None):
    """Runs a command; a signal or a timeout is an exit code below zero."""
    try:
        done = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, text=True, errors="replace",
                              cwd=cwd, timeout=timeout, env={**os.environ, **(env or {})})
    except subprocess.TimeoutExpired:
        return Outcome(-1000, "", f"no end within {timeout} s")
    return Outcome(done.returncode, done.stdout, done.stderr)


def answer(outcome):
    """What `eval --format json` said: ("value", …), ("undefined",) or ("error", its codes)."""
    document = outcome.json
    if outcome.code < 0 or not isinstance(document, dict):
        return ("broken", document if isinstance(document, str) else outcome.err[:300])
    if document.get("errors"):
        errors = document["errors"]
        return ("error", sorted({e.get("code") or e.get("message", "") for e in errors}))
    if not document.get("result"):
        return ("undefined",)
    return ("value", [r["expressions"][0]["value"] for r in document["result"]])


def write(path, text):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def exit_with(tap):
    sys.exit(tap.done())
