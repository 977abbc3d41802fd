"""Modules of `opa build -t wasm` in our host: the answers must be those of `opa eval`.

in:  $BUILD (with tests/decide), $OPA.
out: TAP lines.
owns: a scratch folder.
"""
import pathlib
import sys

from cases import CASES, opa_answer, tap, write_case

# What OPA's module brings along, and what it asks its host for.
OWN_CASES = {
    "regex inside": ('answer := [regex.match(p, input.s) | some p in ["^a+$", "b", "(?i)A."]]', '{"s": "aaa"}', "{}"),
    "glob inside": ('answer := [glob.match(p, ["/"], input.path) | some p in ["/a/*", "/a/**", "/*/c"]]', '{"path": "/a/b/c"}', "{}"),
    "strings inside": ('answer := [split(input.s, ","), trim_space(input.s), indexof(input.s, "é"), substring(input.s, 1, 2)]',
                       '{"s": " a,é,日 "}', "{}"),
    "json inside": ('answer := [json.unmarshal(input.text), json.marshal({"a": ["é", 1, null]})]', r'{"text": "{\"x\": [1.5]}"}', "{}"),
    "sets inside": ('a := {x | some x in input.a}\n\nb := {x | some x in data.b}\n\nanswer := [a & b, a | b, a - b, count(a)]',
                    '{"a": [1, "2", [3], {"k": 4}]}', '{"b": [[3], 1, 5]}'),
    "walk and data": ("answer := {p: v | walk(data.tree, [q, v]); not is_object(v); p := concat(\"/\", q)}", "{}",
                      '{"tree": {"a": {"b": 1}, "c": "d"}}'),
    "partial sets of rules": ('deny contains msg if {\n\tinput.n > data.max\n\tmsg := "too many"\n}\n\n'
                              'deny contains "none" if input.n == 0\n\nanswer := deny', '{"n": 9}', '{"max": 5}'),
    "hashes by the host": ("answer := [crypto.sha256(input.s), crypto.hmac.sha256(input.s, data.key), crypto.md5(input.s)]",
                           '{"s": "abc"}', '{"key": "secret"}'),
    "times by the host": ('answer := [time.parse_rfc3339_ns(input.at), time.date(time.parse_rfc3339_ns(input.at)), '
                          'time.weekday(0)]', '{"at": "2024-02-29T12:00:00Z"}', "{}"),
    "undefined by the host": ('answer := {"ok": [t | some s in input.xs; t := time.parse_rfc3339_ns(s)]}',
                              '{"xs": ["never", "1970-01-01T00:00:01Z"]}', "{}"),
    "sets to the host": ('answer := sprintf("%v %v %s", [{3, 1, 2}, {"a": {1}}, input.s])', '{"s": "é"}', "{}"),
    "sets from the host": ('answer := net.cidr_expand(input.net) & {"10.0.0.1", "10.0.0.9"}', '{"net": "10.0.0.0/30"}', "{}"),
    "function conflict": ("f(x) := 1 if x > 0\n\nf(x) := 2 if x > 1\n\nanswer := f(input.n)", '{"n": 2}', "{}"),
    "object conflict": ("answer[k] := v if some k, v in input.a\n\nanswer[k] := v if some k, v in input.b",
                        '{"a": {"x": 1}, "b": {"x": 2}}', "{}"),
}
# Answers with sets that OPA's module writes in an order of its own.
UNORDERED = {"sets in sets", "sets inside"}
# Builtins that our modules bring along and that this host therefore does not offer.
REFUSED = {"json.patch": 'answer := json.patch(input, [{"op": "add", "path": "/x", "value": 1}])',
           "semver.compare": 'answer := semver.compare(input.v, "1.2.3")'}


def build(folder, case):
    """bundle.tar.gz of the case by OPA; None, or why not."""
    folder.mkdir(parents=True)
    write_case(folder, case)
    return tap.run([tap.OPA, "build", "-t", "wasm", "-e", "t/answer", "p.rego", "data.json", "-o", "bundle.tar.gz"], cwd=folder)


def decide(folders, input_="input.json", entrypoint="t/answer"):
    """One answer of tests/decide for each folder's bundle."""
    asked = "".join(f"{f / 'bundle.tar.gz'} {entrypoint} {input_ if input_ == '-' else f / input_} full lenient\n" for f in folders)
    done = tap.run([pathlib.Path(tap.BUILD) / "tests/decide"], stdin=asked, timeout=240)
    answers = done.out.split("\n")[:-1]
    if done.code or len(answers) != len(folders):
        sys.exit(f"tests/decide: exit {done.code}, {len(answers)} answers of {len(folders)}: {done.err}")
    return answers


def ordered(value):
    """Lists in one order, whatever theirs was."""
    if isinstance(value, dict):
        return {k: ordered(v) for k, v in value.items()}
    return sorted(map(ordered, value), key=repr) if isinstance(value, list) else value


def differs(ours, theirs, form=lambda value: value):
    """None, or how the host's line differs from OPA's answer; `form` makes values comparable."""
    if theirs[0] == "error":
        fine = ours.split(" ")[0] in theirs[1]
    elif theirs[0] == "undefined":
        fine = ours == "undefined"
    else:
        try:
            fine = form([tap.parse(ours)]) == form(theirs[1])
        except ValueError:
            fine = False
    return None if fine else f"host: {tap.show(ours)}\nopa:  {tap.show(theirs)}"


def check_answers(lines, folder):
    cases = {**CASES, **OWN_CASES}
    built = {name: folder / f"case{n}" for n, name in enumerate(cases)}
    for name, where in list(built.items()):
        made = build(where, cases[name])
        if made.code:
            lines.result(f"abi/opa-module/{name}", made.err)
            del built[name]
    for name, ours in zip(built, decide(built.values())):
        what = f"abi/opa-module/{name}"
        if ours.startswith("unsupported ") and "sprintf" in ours:
            lines.skip(what, "the host's sprintf writes plain values only, and says so")
        elif name in UNORDERED:
            lines.result(what, differs(ours, opa_answer(built[name]), ordered))
        else:
            lines.result(what, differs(ours, opa_answer(built[name])))


def check_refused(lines, folder):
    """A builtin that this host does not have is named when the module is loaded."""
    built = {name: folder / f"refused-{name}" for name in REFUSED}
    for name, where in built.items():
        build(where, (REFUSED[name], '{"v": "1.0.0"}', "{}"))
    for name, ours in zip(built, decide(built.values())):
        lines.equal(f"abi/opa-module/refused: {name}", ours, f"abi the module needs builtin {name}, which this host does not have")


def check_edges(lines, folder):
    """No input; an entrypoint that the module does not have; input that is no JSON."""
    where = folder / "edges"
    build(where, ('answer := {"in": input} if input\n\nanswer := "none" if not input', "{}", "{}"))
    lines.equal("abi/opa-module/no input", decide([where], "-"), ['"none"'])
    lines.equal("abi/opa-module/other entrypoint", decide([where], entrypoint="t/other")[0].split(" ")[0], "not_found")
    (where / "bad.json").write_text('{"a": {1}}')
    lines.equal("abi/opa-module/bad input", decide([where], "bad.json")[0].split(" ")[0], "input")


def main():
    lines, folder = tap.Tap(), tap.scratch()
    check_answers(lines, folder)
    check_refused(lines, folder)
    check_edges(lines, folder)
    return lines.done()


if __name__ == "__main__":
    sys.exit(main())
