"""Compares `regent` with `opa` on the same command lines, and checks what only Regent's flags do.

in:  $BUILD, $OPA; the small policies below.
out: TAP lines.
owns: a scratch folder.
"""
import hashlib
import pathlib
import re
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import tap

FILES = {
    "p.rego": 'package p\n\ndefault allow := false\n\nallow if input.user == "ann"\n\nnames contains n if some n in data.names\n\n'
              "bad := 1 / input.zero\n\nx := 1 if input.a\n\nx := 2 if input.b\n\ntext := \"<b> & é\"\n\nboth[k] := v if some k, v in input.o\n",
    "data.json": '{"names": ["b", "a"], "n": 1.50}\n',
    "input.json": '{"user": "ann", "zero": 0, "a": true, "b": true, "o": {"k": [1, {"z": null}]}}\n',
    "input.yaml": "user: ann\n",
    "undefined.rego": "package u\n\nallow if input.never\n",
    "parse.rego": "package broken\n\nallow if {\n",
    "unsafe.rego": "package broken\n\nallow if x > 1\n",
    "types.rego": 'package broken\n\nallow if count(1) == 1\n',
    "two.rego": "package broken\n\na := x\n\nb := y\n",
    "v0.rego": "package old\n\nallow { input.user == \"ann\" }\n\nnames[x] { x := data.names[_] }\n",
    "tests_test.rego": "package p_test\n\nimport data.p\n\ntest_allow if p.allow with input.user as \"ann\"\n\ntest_fails if p.allow with input.user as \"bob\"\n\n"
                       "todo_test_later if false\n",
    "good_test.rego": "package p_test\n\nimport data.p\n\ntest_allow if p.allow with input.user as \"ann\"\n",
    "folder/a/data.json": '{"k": 1}\n',
    "folder/p.rego": "package f\n\nv := data.a.k\n",
    "template.rego": 'package t\n\nallow if input.role == "{{ROLE}}"\n\nname := "{{NAME}}"\n',
}
# Command lines that both programs must answer alike: the answer on standard output as JSON or as text, and the exit code.
SAME = [
    "eval data.p.allow -d p.rego -i input.json",
    "eval data.p -d p.rego -i input.yaml -d data.json",
    "eval data.p.names -d p.rego -d data.json",
    "eval data.p.x -d p.rego -i input.json",
    "eval data.p.bad -d p.rego -i input.json",
    "eval data.p.bad -d p.rego -i input.json --strict-builtin-errors",
    "eval data.u.allow -d undefined.rego",
    "eval data.u.allow -d undefined.rego --fail",
    "eval data.p.allow -d p.rego --fail",
    "eval data.p.allow -d p.rego --fail-defined",
    "eval data.u.allow -d undefined.rego --fail-defined",
    "eval data.names -d data.json",
    "eval data.n -d data.json",
    "eval data.old -d v0.rego -d data.json -i input.json --v0-compatible",
    "eval data.f.v -b folder",
    "eval data -d folder",
    "eval data.f.v -d folder",
    "eval 1+1",
    "eval x:=1;y:=x+1",
    "eval some/x;x=[1,2][_]",
    "eval x=data.names[i] -d data.json",
    "eval data.p.text -d p.rego",
    "eval allow --package p -d p.rego -i input.json",
    "eval p.allow --import data.p -d p.rego -i input.json",
    "eval data.broken -d parse.rego",
    "eval data.broken -d unsafe.rego",
    "eval data.broken -d types.rego",
    "eval data.broken -d two.rego",
    "eval x+1",
    "eval count(1)",
    "eval nofunction(1)",
    "eval {",
    "eval data.p -d missing.rego",
    *[f"eval {query} -d p.rego -d data.json -i input.json -f {form}"
      for form in ("pretty", "raw", "values", "bindings", "discard")
      for query in ("data.p.allow", "data.p.names", "data.p.text", "x=data.names[i]", "x:=1;y:=[x,2]", "data.p.both", "data.u.nothing")],
    "check p.rego", "check p.rego -f json", "check parse.rego -f json", "check unsafe.rego -f json", "check types.rego -f json",
    "check two.rego -f json", "check --v0-compatible v0.rego", "check v0.rego -f json", "check -S p.rego -f json",
    "test p.rego good_test.rego -f json", "test p.rego tests_test.rego -f json", "test p.rego tests_test.rego -f json -v",
    "test p.rego tests_test.rego -f json --run test_allow", "test p.rego good_test.rego", "test p.rego good_test.rego -v",
    "test p.rego", "test p.rego -z tests_test.rego --run later",
    "test unsafe.rego",
]


def clean(value):
    """Without durations, traces, and the details of errors, of which code and row are compared."""
    if isinstance(value, dict):
        if "errors" in value:
            return {"errors": sorted({error_of(e) for e in value["errors"]})}
        return {k: clean(v) for k, v in value.items() if k not in ("duration", "trace", "capabilities", "metrics")}
    return [clean(v) for v in value] if isinstance(value, list) else value


def error_of(error):
    """A code and its row; OPA gives no code to files that are missing."""
    code, row = error.get("code", "io_error"), (error.get("location") or {}).get("row", "0")
    return f"{code} {'?' if code == 'eval_builtin_error' else row}"


def output(done):
    """`opa check` writes its JSON on standard error, and nothing at all when there is no error."""
    text = done.out.strip() or done.err.strip()
    try:
        value = clean(tap.parse(text))
    except ValueError:
        return re.sub(r"\([0-9.]+(ns|µs|ms|s)\)", "(time)", done.out)
    if isinstance(value, list) and all(isinstance(test, dict) for test in value):
        value.sort(key=lambda test: test.get("name", ""))
    return value or ""


def beside_opa(lines, folder):
    for line in SAME:
        words = [w.replace("/", " ") if w.startswith("some/") else w for w in line.split(" ")]
        ours, theirs = (tap.run([program, *words], cwd=folder) for program in (tap.REGENT, tap.OPA))
        lines.equal(f"cli/{line}", {"exit": ours.code, "out": output(ours)}, {"exit": theirs.code, "out": output(theirs)})
    words = ["eval", "-I", "data.p.allow", "-d", "p.rego"]
    ours, theirs = (tap.run([program, *words], '{"user":"ann"}', folder) for program in (tap.REGENT, tap.OPA))
    lines.equal("cli/eval -I", output(ours), output(theirs))
    ours, theirs = (tap.run([program, "eval", "--stdin"], "1 + 2", folder) for program in (tap.REGENT, tap.OPA))
    lines.equal("cli/eval --stdin", output(ours), output(theirs))


def bundles(lines, folder):
    """A bundle of each program is read by the other, and inspected alike."""
    for builder in (tap.REGENT, tap.OPA):
        who = "regent" if builder == tap.REGENT else "opa"
        made = tap.run([builder, "build", "-t", "wasm", "-e", "p/allow", "-o", f"{who}.tar.gz", "p.rego", "data.json", "-r", "r1"], cwd=folder)
        if not lines.result(f"cli/build -t wasm by {who}", None if made.code == 0 else made.err):
            continue
        said = tap.run([tap.REGENT, "eval", "-f", "json", "-b", f"{who}.tar.gz", "-i", "input.json", "data.names"], cwd=folder)
        lines.equal(f"cli/eval -b of {who}", tap.answer(said), ("value", [["b", "a"]]))
        ours, theirs = (tap.run([p, "inspect", "-f", "json", f"{who}.tar.gz"], cwd=folder).json for p in (tap.REGENT, tap.OPA))
        pick = lambda o: {k: o.get(k) for k in ("manifest", "namespaces")} if isinstance(o, dict) else o
        lines.equal(f"cli/inspect of {who}", pick(ours), pick(theirs))
    sums = (folder / "regent.tar.gz.sha256").read_text().split()
    lines.equal("cli/.sha256", sums, [hashlib.sha256((folder / "regent.tar.gz").read_bytes()).hexdigest(), "regent.tar.gz"])


def code_section(module):
    """Bytes of section 10."""
    at = 8
    while at < len(module):
        kind, at, size, shift = module[at], at + 1, 0, 0
        while True:
            byte, at = module[at], at + 1
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        if kind == 10:
            return module[at:at + size]
        at += size
    return b""


def template(folder, out, *values, form="full"):
    sets = [w for v in values for w in ("--set", v)]
    return tap.run([tap.REGENT, "build", "-t", "wasm", "--raw", "--form", form, "-e", "t/allow", "-e", "t/name", "template.rego", *sets, "-o", out], cwd=folder)


def templates(lines, folder):
    for form in ("full", "thin"):
        a = template(folder, "a.wasm", "ROLE=admin", "NAME=x", form=form)
        template(folder, "b.wasm", "ROLE=another role", "NAME=a much longer name", form=form)
        template(folder, "c.wasm", "ROLE=admin", "NAME=x", form=form)
        one, two, again = ((folder / f).read_bytes() if (folder / f).exists() else b"" for f in ("a.wasm", "b.wasm", "c.wasm"))
        lines.result(f"cli/template/{form} builds", None if a.code == 0 and code_section(one) else a.err)
        lines.result(f"cli/template/{form} has one code for two tenants", None if code_section(one) == code_section(two) else "code differs")
        lines.result(f"cli/template/{form} is deterministic", None if one == again else "bytes differ")
    missing = template(folder, "d.wasm", "ROLE=admin")
    lines.result("cli/template unset name is an error with its place",
                 None if missing.code and "template.rego:5" in missing.err and "NAME" in missing.err else missing.err + missing.out)
    for number, value in enumerate(('x" or true', '"\nallow := true #', "{{ROLE}}", "\\", "é\u2028\"", "")):
        built = tap.run([tap.REGENT, "build", "-t", "wasm", "-e", "t/allow", "-e", "t/name", "template.rego", "--set", "ROLE=admin",
                         "--set", "NAME=" + value, "-o", "v.tar.gz"], cwd=folder)
        said = tap.answer(tap.run([tap.REGENT, "eval", "-f", "json", "-b", "v.tar.gz", "data.t.allow"], cwd=folder)) if built.code == 0 else built.err
        with tarfile.open(folder / "v.tar.gz") as archive:
            source = next((archive.extractfile(m).read().decode() for m in archive if m.name.endswith(".rego")), "")
        (folder / "value.rego").write_text(source)
        name = tap.answer(tap.run([tap.OPA, "eval", "-f", "json", "-d", "value.rego", "data.t.name"], cwd=folder))
        lines.equal(f"cli/template value {number} stays a string", [said, name], [("undefined",), ("value", [value])])


def limits(lines, folder):
    big = tap.run([tap.REGENT, "build", "-t", "wasm", "-e", "p/allow", "p.rego", "--max-size", "1KB", "-o", "m.tar.gz"], cwd=folder)
    lines.result("cli/build --max-size", None if big.code == 1 and "limit of 1000" in big.err else f"{big.code} {big.err}")
    lines.result("cli/build --max-size writes nothing", None if not (folder / "m.tar.gz").exists() else "there is a file")
    raw = tap.run([tap.REGENT, "build", "-t", "wasm", "--raw", "-e", "p/allow", "p.rego", "-o", "p.wasm"], cwd=folder)
    lines.result("cli/build --raw", None if raw.code == 0 and (folder / "p.wasm").read_bytes()[:4] == b"\0asm" else raw.err)
    for words in (["eval"], ["nonsense"], ["eval", "--nonsense", "1"], ["build"], ["eval", "1", "-f", "nonsense"]):
        done, theirs = (tap.run([p, *words], cwd=folder) for p in (tap.REGENT, tap.OPA))
        lines.result(f"cli/{' '.join(words)} is refused", None if done.code > 0 and done.err else f"{done.code} {done.err} (opa {theirs.code})")
    bench = tap.run([tap.REGENT, "bench", "data.p.allow", "-d", "p.rego", "-i", "input.json", "-f", "json"], cwd=folder)
    lines.result("cli/bench -f json", None if bench.code == 0 and isinstance(bench.json, (dict, list)) else bench.err + bench.out)
    version = tap.run([tap.REGENT, "version"])
    lines.result("cli/version", None if version.code == 0 and "ersion" in version.out else version.out + version.err)


def main():
    lines, folder = tap.Tap(), tap.scratch()
    for name, text in FILES.items():
        tap.write(folder / name, text)
    beside_opa(lines, folder)
    bundles(lines, folder)
    templates(lines, folder)
    limits(lines, folder)
    return lines.done()


if __name__ == "__main__":
    sys.exit(main())
