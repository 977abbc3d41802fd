"""Compares what each stage of the compiler prints, and the decision, with the files of a case.

usage: run.py [--update] [CASE ...]

in:  CASE/{policy.rego, flags, [input.json, data.json]}; $BUILD.
out: TAP lines; with --update CASE/{parse,check,plan,transform,wasm,decision}.txt written anew: read the difference before
     it is committed. decision.txt has one line an entrypoint and is compared with OPA's answer too.
owns: nothing.
"""
import json
import pathlib
import re
import shlex
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import tap

STAGES = ["parse", "check", "plan", "transform", "wasm"]


def stage(case, name):
    flags = shlex.split((case / "flags").read_text())
    data = ["-d", "data.json"] if (case / "data.json").exists() else []
    done = tap.run([tap.REGENT, "build", "policy.rego", *data, *flags, "--dump", name], cwd=case)
    if done.code != 0:
        return f"exit {done.code}\n{done.out}{done.err}"
    # Addresses and sizes follow the runtime, which changes more often than the compiler does.
    return re.sub(r"(load|store) \d+(  ;)", r"\1 …\2", re.sub(r"full \d+ bytes", "full … bytes", done.out))


def entrypoints(case):
    words = shlex.split((case / "flags").read_text())
    return [words[i + 1] for i, word in enumerate(words) if word == "-e"]


def decisions(case, program):
    """One line an entrypoint."""
    lines = []
    for path in entrypoints(case):
        files = [x for name in ("policy.rego", "data.json") if (case / name).exists() for x in ("-d", name)]
        query = "data." + path.replace("/", ".")
        done = tap.run([program, "eval", "-f", "json", *files, "-i", "input.json", query] if (case / "input.json").exists()
                       else [program, "eval", "-f", "json", *files, query], cwd=case)
        lines.append(f"{path}: {json.dumps(tap.answer(done))}\n")
    return "".join(lines)


def difference(have, want):
    """None, or the first line that differs."""
    if have == want:
        return None
    ours, theirs = have.splitlines() + ["<end>"], want.splitlines() + ["<end>"]
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), 0)
    return f"line {at + 1}\nnow:  {ours[at]}\nfile: {theirs[at]}"


def main():
    words = sys.argv[1:]
    update = "--update" in words
    names = [w for w in words if not w.startswith("-")]
    cases = [HERE / n for n in names] or sorted(p.parent for p in HERE.glob("*/policy.rego"))
    lines = tap.Tap()
    for case in cases:
        outputs = {name: stage(case, name) for name in STAGES}
        template = "--set" in (case / "flags").read_text()
        if not template:
            outputs["decision"] = decisions(case, tap.REGENT)
            lines.equal(f"golden/{case.name}/opa", outputs["decision"], decisions(case, tap.OPA))
        for name, text in outputs.items():
            path = case / (name + ".txt")
            if update:
                path.write_text(text)
            lines.result(f"golden/{case.name}/{name}", difference(text, path.read_text() if path.exists() else ""))
    return lines.done()


if __name__ == "__main__":
    sys.exit(main())
