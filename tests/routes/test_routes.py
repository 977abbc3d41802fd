"""One answer by every route: each case from source, as a bundle in the host, and from a running edge, with OPA as the judge.

in:  $BUILD (with regent and tests/decide), $OPA; cases/NAME/: *.rego with `data.t.answer`, input.json, data.json, and flags
     (words: v0, strict). Input that holds Envoy's attributes is asked over ext_authz too.
out: TAP lines, one a case and route.
owns: a scratch folder, one edge.
"""
import concurrent.futures
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "edge")]
import edge_lib
import tap

JOBS = 2
TRANSFORMS = re.findall(r'^    \{"(\w+)", "', (HERE.parents[1] / "src/compiler/transform/transform.c").read_text(), re.M)


class Case:
    """One policy with what it is asked."""

    def __init__(self, folder):
        flags = (folder / "flags").read_text().split() if (folder / "flags").exists() else []
        self.name, self.folder, self.strict = folder.name, folder, "strict" in flags
        self.input = folder / "input.json" if (folder / "input.json").exists() else None
        self.text = self.input.read_text().strip() if self.input else None
        self.version = ["--v0-compatible"] if "v0" in flags else []
        files = [*sorted(folder.glob("*.rego")), *folder.glob("data.json")]
        self.load = [word for path in files for word in ("-d", path)]

    def ask(self, program, strict, with_input=True, extra=()):
        """The answer of a program's `eval` on source."""
        flags = [*self.load, *self.version, *(["--strict-builtin-errors"] if strict else [])]
        if self.input and with_input:
            flags += ["-i", self.input]
        return tap.answer(tap.run([program, "eval", "-f", "json", *flags, *extra, "data.t.answer"]))

    def build(self, out, *extra):
        """None, or why there is no bundle."""
        done = tap.run([tap.REGENT, "build", "-t", "wasm", "-e", "t/answer", "-o", out, *self.version, *extra, "-b", self.folder])
        return None if done.code == 0 else done.out + done.err


def judge(case):
    """OPA's answer under the case's flags, and what its server would give: no strict builtin errors; null is no input."""
    answer, null = case.ask(tap.OPA, case.strict), case.text == "null"
    return answer, case.ask(tap.OPA, False, not null) if case.strict or null else answer


def of_decide(line):
    """A line of tests/decide in the terms of tap.answer."""
    try:
        return ("value", [tap.parse(line)])
    except ValueError:
        word = line.split(" ", 1)[0]
        return ("undefined",) if word == "undefined" else ("error", [word])


def of_rest(reply):
    """A reply to POST /v1/data in the terms of tap.answer."""
    status, _, body = reply
    document = tap.parse(body.decode())
    if status == 200:
        return ("value", [document["result"]]) if "result" in document else ("undefined",)
    word = re.search(r"eval_\w+_error", body.decode())
    return ("error", [word.group() if word else f"{status} {body.decode()}"])


def of_check(check):
    """A reply to Check, and below, what opa-envoy-plugin makes of a decision."""
    if check.status:
        return ("gRPC error", check.status)
    return ("checked", check.code == 0, check.http_status if check.denied else None, check.body or "", check.headers(2))


def wanted_check(answer):
    if answer[0] != "value":
        return ("gRPC error", 2)
    value = answer[1][0]
    if isinstance(value, bool):
        return ("checked", value, None, "", [])  # no HTTP part, as opa-envoy-plugin: Envoy's own 403
    allowed = value.get("allowed", False)
    status = None if allowed else int(value.get("http_status", 403))
    return ("checked", allowed, status, "" if allowed else value.get("body", ""), sorted(value.get("headers", {}).items()))


def from_source(lines, pool, cases, answers):
    for level in ("0", "1"):
        for case, ours in zip(cases, pool.map(lambda c: c.ask(tap.REGENT, c.strict, extra=["-O", level]), cases)):
            lines.equal(f"{case.name}: eval -O {level}", ours, answers[case.name][0])


def build_all(pool, cases, folder):
    """{(case, variant): None or the problem}; the files lie at bundle_path."""
    variants = [("-O 1", []), ("-O 0", ["-O", "0"]), *((f"without {t}", ["--disable-transform", t]) for t in TRANSFORMS)]
    jobs = [(case, name, flags) for case in cases for name, flags in variants]
    done = pool.map(lambda job: job[0].build(bundle_path(folder, job[0], job[1]), *job[2]), jobs)
    return {(case, name): problem for (case, name, _), problem in zip(jobs, done)}


def bundle_path(folder, case, variant):
    return folder / (case.name + variant.replace(" ", "_") + ".tar.gz")


def from_bundles(lines, built, answers, folder):
    """Every build in its thin form, the usual one in its full form too."""
    asked = []
    for (case, variant), problem in built.items():
        if problem:
            lines.result(f"{case.name}: bundle {variant}", problem)
            continue
        asked += [(case, variant, form) for form in (("thin", "full") if variant == "-O 1" else ("thin",))]
    questions = "".join(f"{bundle_path(folder, c, v)} t/answer {c.input or '-'} {form} {'strict' if c.strict else 'lenient'}\n"
                        for c, v, form in asked)
    done = tap.run([pathlib.Path(tap.BUILD) / "tests/decide"], stdin=questions)
    replies = done.out.splitlines()
    if done.code or len(replies) != len(asked):
        lines.result("tests/decide answers every line", f"exit {done.code}, {len(replies)} of {len(asked)} lines\n{done.err[:1000]}")
    for (case, variant, form), reply in zip(asked, replies):
        lines.equal(f"{case.name}: bundle {variant}, {form}", of_decide(reply), answers[case.name][0])


def from_edge(lines, built, cases, answers, folder):
    edge = edge_lib.Edge("--deadline-ms", "2000", "--authz-path", "t/answer", name="routes")
    served = [case for case in cases if built[case, "-O 1"] is None]
    for case in served:
        target = pathlib.Path(edge.bundle(case.name))
        target.parent.mkdir(parents=True)
        target.write_bytes(bundle_path(folder, case, "-O 1").read_bytes())
    edge.start()
    for case in served:
        body = "{}" if case.text is None else '{"input": ' + case.text + "}"
        lines.equal(f"{case.name}: REST", of_rest(edge.post(case.name, "t/answer", body)), answers[case.name][1])
        document = json.loads(case.text or "null")
        if isinstance(document, dict) and "attributes" in document:
            http = document["attributes"]["request"]["http"]
            message = edge_lib.check_request(http["method"], http["path"], http["headers"], context={"tenant_id": case.name})
            lines.equal(f"{case.name}: ext_authz", of_check(edge_lib.Check(edge.grpc, message)), wanted_check(answers[case.name][1]))
    lines.equal("the edge ends in order", edge_lib.stop(edge.process), 0)


def main():
    lines, folder = tap.Tap(), tap.scratch()
    cases = [Case(path) for path in sorted((HERE / "cases").iterdir()) if path.is_dir() and sys.argv[1:] in ([], [path.name])]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        answers = dict(zip((case.name for case in cases), pool.map(judge, cases)))
        for name, (answer, _) in answers.items():
            compiles = answer[0] in ("value", "undefined") or all(code.startswith("eval_") for code in answer[1])
            lines.result(f"{name}: OPA has an answer", None if compiles else tap.show(answer))
        from_source(lines, pool, cases, answers)
        built = build_all(pool, cases, folder)
    from_bundles(lines, built, answers, folder)
    from_edge(lines, built, cases, answers, folder)
    return lines.done()


if __name__ == "__main__":
    sys.exit(main())
