"""Our full modules under PyPI's wasmtime through OPA's ABI 1.3: the answers must be OPA's, each call as documented.

in:  $BUILD, $OPA, pip; $REGENT_CACHE keeps the environment with the pinned package.
out: TAP lines.
owns: a scratch folder.
"""
import json
import os
import sys
import venv

from cases import CASES, opa_answer, tap, write_case

VERSION = "48.0.0"
EXPORTS = """memory eval opa_eval builtins entrypoints opa_eval_ctx_new opa_eval_ctx_set_input opa_eval_ctx_set_data
    opa_eval_ctx_set_entrypoint opa_eval_ctx_get_result opa_malloc opa_free opa_json_parse opa_json_dump opa_value_parse
    opa_value_dump opa_value_free opa_value_add_path opa_value_remove_path opa_heap_ptr_get opa_heap_ptr_set opa_heap_blocks_stash
    opa_heap_blocks_restore opa_heap_stash_clear opa_wasm_abi_version opa_wasm_abi_minor_version""".split()


def enter_environment():
    """Goes on in the environment that has the package; makes it once for all checkouts."""
    folder = tap.CACHE / f"abi-python-{VERSION}"
    if os.path.realpath(sys.prefix) == os.path.realpath(folder):
        return
    python, done = folder / "bin/python", folder / ".done"
    if not done.exists():
        venv.create(folder, with_pip=True, clear=True)
        made = tap.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"wasmtime=={VERSION}"], timeout=300)
        if made.code:
            sys.exit("pip: " + made.err)
        done.touch()
    sys.stdout.flush()
    os.execv(python, [str(python), os.path.abspath(__file__)])


class Differ(Exception):
    pass


def want(what, ours, theirs):
    if ours != theirs:
        raise Differ(f"{what}: {tap.show(ours)}\nwanted: {tap.show(theirs)}")


def aborts(function, *arguments, **named):
    """What the module said through opa_abort; None when it did not."""
    try:
        function(*arguments, **named)
    except Abort as abort:
        return str(abort)
    return None


def build(rules, entrypoints=("answer",)):
    """The full module of package t."""
    (FOLDER / "p.rego").write_text("package t\n\n" + rules + "\n")
    flags = [f for e in entrypoints for f in ("-e", "t/" + e)]
    built = tap.run([tap.REGENT, "build", "-t", "wasm", "--raw", *flags, "p.rego", "-o", "p.wasm"], cwd=FOLDER)
    if built.code:
        raise Differ(built.err)
    return (FOLDER / "p.wasm").read_bytes()


def build_opa():
    """OPA's own module of the same policy, or None when it asks for builtins of the host."""
    made = tap.run([tap.OPA, "build", "-t", "wasm", "-e", "t/answer", "p.rego", "-o", "opa.tar.gz"], cwd=FOLDER)
    made = made if made.code else tap.run(["tar", "xzf", "opa.tar.gz", "/policy.wasm"], cwd=FOLDER)
    if made.code:
        raise Differ(made.err)
    host = Host((FOLDER / "policy.wasm").read_bytes())
    return None if host.ids else host


# ---- the shared policies: each way of the ABI gives OPA's answer, again and again ----

def answers(host, input_):
    """(how, result set as JSON text) for each way, with the heap reset in between."""
    yield "opa_eval", host.eval_once(input_)
    yield "opa_eval again", host.eval_once(input_)
    text = host.eval_once(input_, form=VALUE)
    yield "opa_eval as value", host.dump(host.parse(text, rego=True))
    yield "eval", host.eval_context(input_)
    text = host.eval_context(input_, 0, rego=True)
    yield "eval as value", host.dump(host.parse(text, rego=True))
    yield "opa_eval at last", host.eval_once(input_)


def check_error(host, input_):
    for evaluate in (host.eval_once, host.eval_context):
        message = aborts(evaluate, input_)
        if not message:
            raise Differ("an answer where OPA has an error")
        want("opa_abort's word", message.split(":")[0], "eval_conflict_error")


def check_case(case):
    rules, input_, data = case
    write_case(FOLDER, case)
    host, theirs = Host(build(rules)), opa_answer(FOLDER)
    host.load_data(data)
    if theirs[0] == "error":
        return check_error(host, input_)
    wanted = [{"result": v} for v in theirs[1]] if theirs[0] == "value" else []
    for how, text in answers(host, input_):
        want(how, tap.parse(text), wanted)
    opa = build_opa()
    if opa:
        check_dumps(host, opa, input_, data)


def check_dumps(host, opa, input_, data):
    """OPA's module gives the same Rego value (blanks and the order of sets may differ); each module reads the other's text."""
    opa.load_data(data)
    ours, theirs = host.eval_once(input_, form=VALUE), opa.eval_once(input_, form=VALUE)
    want("value read by the other", opa.dump(opa.parse(ours, rego=True)), opa.dump(opa.parse(theirs, rego=True)))
    want("value of the other", host.dump(host.parse(theirs, rego=True)), host.dump(host.parse(ours, rego=True)))


# ---- single parts of the ABI ----

def check_surface():
    host = Host(build("answer := time.now_ns() if regex.match(input.re, input.s)"))
    for i in host.module.imports:
        if i.module != "env" or i.name != "memory" and i.name not in FUNCTIONS:
            raise Differ(f"import {i.module}.{i.name}")
        if i.name != "memory":
            want(i.name, (len(i.type.params), len(i.type.results)), FUNCTIONS[i.name])
    names = [e.name for e in host.module.exports]
    want("exports missing", [e for e in EXPORTS if e not in names], [])
    want("pages asked for, five being what hosts give", host.wanted_pages() <= 5, True)
    want("ABI", (host.constant("opa_wasm_abi_version"), host.constant("opa_wasm_abi_minor_version")), (1, 3))


def check_mappings():
    host = Host(build("a := 1\n\nb := data.x\n\nc := time.now_ns() if regex.match(`a`, input.s)", ("a", "b", "c")))
    entrypoints, builtins = host.mapping("entrypoints"), host.mapping("builtins")
    want("entrypoints", sorted(entrypoints), ["t/a", "t/b", "t/c"])
    want("entrypoint ids", sorted(entrypoints.values()), [0, 1, 2])
    want("builtins", sorted(builtins), ["regex.match", "time.now_ns"])
    want("builtin ids", len(set(builtins.values())), 2)
    host.load_data('{"x": 7}')
    for name, result in (("t/a", [{"result": 1}]), ("t/b", [{"result": 7}])):
        want(name, json.loads(host.eval_once("{}", entrypoints[name])), result)
        want(name + " in a context", json.loads(host.eval_context("{}", entrypoints[name])), result)
    want("the default entrypoint", host.eval_context("{}"), host.eval_context("{}", 0))


def check_bad_entrypoint():
    host = Host(build("answer := 1"))
    for evaluate in (host.eval_once, host.eval_context):
        for entrypoint in (1, 1000, -1):
            if not aborts(evaluate, "{}", entrypoint):
                raise Differ(f"entrypoint {entrypoint} was taken")


def check_values():
    """opa_json_* and opa_value_*: what goes in comes out, sets only as values; else address 0."""
    host = Host(build("answer := 1"))
    for text in ('null', 'true', '-1.5', '"é\\n"', '[]', '{}', '[1,[2,{"a":null}]]', '{"a":1,"b":[{}]}'):
        want("opa_json_dump", host.dump(host.parse(text)), text)
        want("opa_json_dump of a Rego value", host.dump(host.parse(text, rego=True)), text)
    for text, as_json in (("set()", "[]"), ("{1, 2, 2}", "[1,2]"), ('{{"a"}, {1: 2}}', None), ('{"k": {3}}', '{"k":[3]}'),
                          ("{1: true}", '{"1":true}')):
        value = host.parse(text, rego=True)
        want(text, bool(value), True)
        want("again", host.dump(host.parse(host.dump(value, rego=True), rego=True)), host.dump(value))
        want(text + " as JSON", as_json is None or host.dump(value), as_json is None or as_json)
    want("the literal of a set", host.dump(host.parse("{1}", rego=True), rego=True), "{1}")
    want("the literal of an empty set", host.dump(host.parse("set()", rego=True), rego=True), "set()")
    for text in ("", "{1}", "nul", "[1", '{"a"}', "1 2"):
        want("opa_json_parse of " + text, host.parse(text), 0)


def check_paths():
    """opa_value_add_path, opa_value_remove_path: results, codes, nothing changed by an error."""
    host = Host(build("answer := data.a"))
    host.load_data('{"a": {"b": 123}, "list": [1]}')
    def step(path, text, code, document):
        want(f"code of {path}", host.update_data(path, text), code)
        want(f"after {path}", json.loads(host.dump(host.data)), json.loads(document))
        want(f"decision after {path}", json.loads(host.eval_once("{}")), [{"result": json.loads(document)["a"]}])
    step(["a", "x", "y"], '{"foo": "bar"}', 0, '{"a": {"b": 123, "x": {"y": {"foo": "bar"}}}, "list": [1]}')
    step(["a", "x"], '[{"z": 1}]', 0, '{"a": {"b": 123, "x": [{"z": 1}]}, "list": [1]}')
    step(["a", "b", "c"], "1", 2, '{"a": {"b": 123, "x": [{"z": 1}]}, "list": [1]}')
    step(["a", "x", "0"], "1", 2, '{"a": {"b": 123, "x": [{"z": 1}]}, "list": [1]}')
    step([], "1", 3, '{"a": {"b": 123, "x": [{"z": 1}]}, "list": [1]}')
    step([1, "a"], "1", 3, '{"a": {"b": 123, "x": [{"z": 1}]}, "list": [1]}')
    step("a", "1", 3, '{"a": {"b": 123, "x": [{"z": 1}]}, "list": [1]}')
    step(["a", "x"], None, 0, '{"a": {"b": 123}, "list": [1]}')
    step(["a", "none", "deeper"], None, 0, '{"a": {"b": 123}, "list": [1]}')
    step(["list"], None, 0, '{"a": {"b": 123}}')
    step([], None, 3, '{"a": {"b": 123}}')
    step(["a", "b"], '"new"', 0, '{"a": {"b": "new"}}')


def check_updates():
    """Data changes between decisions, by the calling convention of stashed blocks; then back to the start."""
    host = Host(build("answer := {\"n\": count(data.users), \"who\": data.users[input.id].name}"))
    host.load_data('{"users": {}}')
    for n in range(100):
        want("code", host.update_data(["users", f"u{n}"], json.dumps({"name": f"name {n}"})), 0)
        for evaluate in (host.eval_once, host.eval_context):
            want("decision", json.loads(evaluate(json.dumps({"id": f"u{n // 2}"}))), [{"result": {"n": n + 1, "who": f"name {n // 2}"}}])
    for n in range(99):
        want("code", host.update_data(["users", f"u{n}"]), 0)
    want("decision", json.loads(host.eval_once('{"id": "u99"}')), [{"result": {"n": 1, "who": "name 99"}}])
    host.forget_data()
    want("without data", host.eval_once('{"id": "u99"}'), "[]")
    host.load_data('{"users": {"a": {"name": "b"}}}')
    want("other data", json.loads(host.eval_once('{"id": "a"}')), [{"result": {"n": 1, "who": "b"}}])


def check_nothing():
    """No input, no data: references to them are undefined."""
    host = Host(build("answer := {\"in\": object.get({1: input}, 1, null)}\n\nhas if input\n\nown if data.x", ("answer", "has", "own")))
    ids = host.mapping("entrypoints")
    for name in ids:
        want(name, host.eval_once(None, ids[name]), "[]")
        want(name + " in a context", host.eval_context(None, ids[name]), "[]")
    want("with input", json.loads(host.eval_context("[3]", ids["t/has"])), [{"result": True}])
    want("without again", host.eval_context(None, ids["t/has"]), "[]")


def check_contexts():
    """One context for several evaluations, values shared between contexts, no heap reset in between."""
    host = Host(build("a := {x | some x in input.xs}\n\nb := [data.n, input]", ("a", "b")))
    ids = host.mapping("entrypoints")
    data, inputs = host.parse('{"n": 5}'), [host.parse('{"xs": [2, 1, 2]}'), host.parse('{"xs": []}')]
    first, second = host.call("opa_eval_ctx_new"), host.call("opa_eval_ctx_new")
    results = []
    for ctx, entrypoint, number in ((first, "t/a", 0), (second, "t/b", 1), (first, "t/a", 1), (second, "t/b", 0), (first, "t/b", 0)):
        host.call("opa_eval_ctx_set_input", ctx, inputs[number])
        host.call("opa_eval_ctx_set_data", ctx, data)
        host.call("opa_eval_ctx_set_entrypoint", ctx, ids[entrypoint])
        want("eval", host.call("eval", ctx), 0)
        results.append(host.call("opa_eval_ctx_get_result", ctx))
    texts = [json.loads(host.dump(r)) for r in results]
    want("results", [t[0]["result"] for t in texts], [[1, 2], [5, {"xs": []}], [], [5, {"xs": [2, 1, 2]}], [5, {"xs": [2, 1, 2]}]])
    host.call("opa_eval_ctx_set_data", first, 0)
    host.call("eval", first)
    want("without data", host.dump(host.call("opa_eval_ctx_get_result", first)), "[]")


def check_heap():
    """Thousands of decisions in one instance: the heap pointer takes all memory back."""
    host = Host(build("answer := [concat(\"-\", [x, y]) | some x in input.xs; some y in input.xs]"))
    input_ = json.dumps({"xs": [f"item {n}" for n in range(30)]})
    host.load_data('{"some": "data"}')
    first = host.eval_once(input_)
    size = host.memory.data_len(host.store)
    for n in range(1000):
        text = host.eval_context(input_) if n % 2 else host.eval_once(input_)
        want("decision", text, first)
    want("memory", host.memory.data_len(host.store), size)
    want("data", host.dump(host.data), '{"some":"data"}')


def check_large():
    """Input and data of many pages: the host grows memory for the input, the module for all else."""
    host = Host(build("answer := {\"xs\": count(input.xs), \"last\": input.xs[count(input.xs) - 1], \"d\": count(data.d)}"))
    host.load_data(json.dumps({"d": {f"key {n}": n for n in range(20000)}}))
    for count in (100000, 10, 200000):
        input_ = json.dumps({"xs": [f"item {n}" for n in range(count)]})
        wanted = [{"result": {"xs": count, "last": f"item {count - 1}", "d": 20000}}]
        want("opa_eval", json.loads(host.eval_once(input_)), wanted)
        want("eval", json.loads(host.eval_context(input_)), wanted)


def check_memories():
    """The memory that the host gives may be larger than asked."""
    module = build("answer := data.x + input.y")
    for more in (0, 1, 100):
        host = Host(module, pages=Host(module).wanted_pages() + more)
        host.load_data('{"x": 1}')
        want("decision", json.loads(host.eval_once('{"y": 2}')), [{"result": 3}])


def check_builtins():
    """Calls of host builtins: arguments as values, the result as one, address 0 for undefined."""
    mocks = {"time.now_ns": lambda: "1700000000000000000",
             "regex.match": lambda pattern, text: "true" if pattern == "^a+$" and set(text) == {"a"} else "false",
             "regex.replace": lambda text, pattern, by: json.dumps(text.replace(pattern, by)),
             "crypto.md5": lambda text: None if text == "undefined" else json.dumps("md5 of " + text),
             "net.cidr_expand": lambda net: '{"%s", "b"}' % net}
    host = Host(build("""answer := {
	"now": time.now_ns(),
	"match": [regex.match("^a+$", s) | some s in input.xs],
	"replaced": regex.replace(input.xs[0], "a", "ä"),
	"hashes": [h | some s in input.xs; h := crypto.md5(s)],
	"set": net.cidr_expand("a") & {"a", "c"},
}"""), mocks)
    wanted = [{"result": {"now": 1700000000000000000, "match": [True, False, False], "replaced": "ää",
                          "hashes": ["md5 of aa", "md5 of b"], "set": ["a"]}}]
    for evaluate in (host.eval_once, host.eval_context, host.eval_once):
        host.calls.clear()
        want("decision", json.loads(evaluate('{"xs": ["aa", "b", "undefined"]}')), wanted)
        want("calls of regex.match", [a for n, a in host.calls if n == "regex.match"], [["^a+$", s] for s in ("aa", "b", "undefined")])
        want("calls of time.now_ns", [a for n, a in host.calls if n == "time.now_ns"], [[]])


def check_composite_arguments():
    """A builtin of the host gets and gives deep values."""
    mocks = {"yaml.marshal": lambda v: json.dumps(json.dumps(v, sort_keys=True)), "yaml.unmarshal": lambda text: text}
    host = Host(build("answer := yaml.unmarshal(yaml.marshal([input, {1, {2}}])) == [input, [1, [2]]]"), mocks)
    want("decision", json.loads(host.eval_once('{"a": [1.5, {"b": null}], "é": "\\n"}')), [{"result": True}])


def check_conflict():
    """opa_abort tells rule and place; a new instance of the module goes on."""
    module = build("answer := 1 if input.a\n\nanswer := 2 if input.b")
    host = Host(module)
    want("without conflict", json.loads(host.eval_once('{"a": 1}')), [{"result": 1}])
    message = aborts(host.eval_once, '{"a": 1, "b": 1}') or ""
    want("message", [part in message for part in ("eval_conflict_error", "p.rego:5", "answer")], [True] * 3)
    want("the next", json.loads(Host(module).eval_once('{"b": 1}')), [{"result": 2}])


def check(lines, name, function, *arguments):
    try:
        function(*arguments)
        lines.result(name)
    except (Differ, Abort, LookupError, ValueError, WasmtimeError, Trap) as problem:
        lines.result(name, f"{type(problem).__name__}: {problem}")


def main():
    lines = tap.Tap()
    for name, function in list(globals().items()):
        if name.startswith("check_") and name not in ("check_case", "check_error", "check_dumps"):
            check(lines, "abi/wasmtime/" + name.removeprefix("check_"), function)
    for name, case in CASES.items():
        check(lines, f"abi/wasmtime/case/{name}", check_case, case)
    return lines.done()


if __name__ == "__main__":
    enter_environment()
    from opa_host import FUNCTIONS, JSON, VALUE, Abort, Host
    from wasmtime import Trap, WasmtimeError
    FOLDER = tap.scratch()
    sys.exit(main())
