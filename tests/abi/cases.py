"""The policies that other hosts evaluate: name → (rules of package t with the entrypoint t/answer, input, data).

in:  nothing.
out: CASES; JS_ROUNDS, those whose numbers JavaScript alters; `write_case`, `opa_answer` for the suites that run them.
owns: nothing.
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import tap

CASES = {
    "constant": ('answer := {"n": 42, "list": [1, "two", null]}', "{}", "{}"),
    "input": ('default answer := false\n\nanswer if input.user == "ann"', '{"user": "ann"}', "{}"),
    "default": ('default answer := false\n\nanswer if input.user == "ann"', '{"user": "bob"}', "{}"),
    "undefined": ("answer if input.never", "{}", "{}"),
    "false": ("answer := input.ok", '{"ok": false}', "{}"),
    "null": ("answer := input.x", '{"x": null}', "{}"),
    "data": ('answer if {\n\tsome g in data.grants[input.role]\n\tg.action == input.action\n}', '{"role": "dev", "action": "read"}',
             '{"grants": {"dev": [{"action": "write"}, {"action": "read"}]}}'),
    "data in packages": ("answer := [data.t.own, data.u, data.t.answer_of]\n\nanswer_of := 1", "{}",
                         '{"t": {"own": {"a": [1, 2.5]}}, "u": "x"}'),
    "set": ("answer contains x if some x in input.xs", '{"xs": [3, 1, 3, "a", null]}', "{}"),
    "sets in sets": ("answer := {{1, 2}, {2}, set()} | {{2, 1}, {input.n}}", '{"n": 2}', "{}"),
    "object keys": ('answer := {k: v | some k, v in input}', '{"b": 1, "a": [true], "": {}}', "{}"),
    "partial object": ("answer[k] := v if some k, v in data.m", "{}", '{"m": {"x": 1, "y": {"z": []}}}'),
    "numbers": ("answer := [y | some x in input.xs; y := x * 2]", '{"xs": [1, -2, 0.5, 9007199254740992]}', "{}"),
    "number texts": ("answer := input", '[1e3, 0.1, 123456789012345678901234567890, -0, 1.50]', "{}"),
    "unicode": ('answer := sprintf("%s-é-日本", [upper(input.s)])', '{"s": "ß\U0001F600"}', "{}"),
    "escapes": ("answer := concat(input.by, input.xs)", r'{"by": "\n\"", "xs": ["\u0000", "\\", "\u2028"]}', "{}"),
    "conflict": ("answer := 1 if input.a\n\nanswer := 2 if input.a", '{"a": true}', "{}"),
    "every": ("answer if every x in input.xs { x > 0 }", '{"xs": [1, 2]}', "{}"),
    "function": ("f(x) := x + 1\n\nanswer := f(f(input.n))", '{"n": 1}', "{}"),
    "else": ('answer := "a" if input.n > 2 else := "b" if input.n > 1 else := "c"', '{"n": 2}', "{}"),
    "not": ("answer if not input.blocked", '{"blocked": false}', "{}"),
    "with": ("a := input.n\n\nanswer := v if v := a with input.n as 7", '{"n": 1}', "{}"),
    "with data": ("answer := [x, data.n] if x := data.n with data.n as input.n", '{"n": 1}', '{"n": 9}'),
    "walk": ("answer := count([p | walk(input, [p, v]); is_number(v)])", '{"a": [1, {"b": 2}], "c": 3}', "{}"),
    "sprintf": ('answer := sprintf("%v %d %q", [input, 3, "x"])', '{"n": [1, {"k": null}]}', "{}"),
    "builtin error": ("answer := 1 / input.n", '{"n": 0}', "{}"),
}
JS_ROUNDS = {"number texts"}


def write_case(folder, case):
    """p.rego, data.json and input.json of the case."""
    rules, input_, data = case
    for name, text in (("p.rego", "package t\n\n" + rules + "\n"), ("data.json", data), ("input.json", input_)):
        (folder / name).write_text(text)


def opa_answer(folder):
    """What the reference program says of data.t.answer, as `tap.answer` puts it."""
    return tap.answer(tap.run([tap.OPA, "eval", "-f", "json", "-d", "p.rego", "-d", "data.json", "-i", "input.json",
                               "data.t.answer"], cwd=folder))
