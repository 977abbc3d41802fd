"""`regent replay`: events as a node writes them, asked again of bundles that are the same, changed, missing or broken.

in:  $BUILD. out: TAP lines. owns: a scratch folder.
"""
import gzip
import hashlib
import json
import pathlib
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import tap

POLICY = """package app

default allow := false

allow if input.user == data.boss

pick := 1 if input.a

pick := 2 if input.b

bad := 1 / input.zero

all := {"user": input.user, "list": [1, 2]}

late if time.now_ns() > 1800000000000000000
"""
ENTRYPOINTS = ["app/allow", "app/pick", "app/bad", "app/all", "app/late"]


def build(folder, out, policy=POLICY, boss="ann", revision="r1"):
    """A bundle; the SHA-256 of its module."""
    tap.write(folder / "src" / "p.rego", policy)
    tap.write(folder / "src" / "data.json", json.dumps({"boss": boss, "x": {"y": [1.50]}}))
    (folder / out).parent.mkdir(parents=True, exist_ok=True)
    entrypoints = [word for e in ENTRYPOINTS for word in ("-e", e)]
    done = tap.run([tap.REGENT, "build", "-t", "wasm", *entrypoints, "-r", revision, "-o", str(folder / out), "p.rego", "data.json"], cwd=folder / "src")
    assert done.code == 0, done.err
    with tarfile.open(folder / out) as t:
        return hashlib.sha256(t.extractfile("/policy.wasm").read()).hexdigest()


def event(sha, path, n=[0], **members):
    n[0] += 1
    e = {"labels": {}, "decision_id": f"id-{n[0]}", "path": path, "timestamp": "2026-11-29T05:06:09.5Z",
         "custom": {"tenant_id": "acme", "module_sha256": sha, "version": "r1"}, **members}
    return {k: v for k, v in e.items() if v is not None}


def replay(folder, *words):
    done = tap.run([tap.REGENT, "replay", *map(str, words), "-f", "json"], cwd=folder)
    return done.code, json.loads(done.out) if done.out.startswith("{") else done.err


def main():
    lines, folder = tap.Tap(), tap.scratch()
    sha = build(folder, "node/tenants/acme/bundle.tar.gz")
    other = build(folder, "node/tenants/globex/bundle.tar.gz", boss="eve")
    lines.equal("replay/both tenants have one module", sha, other)
    ann = {"user": "ann"}
    events = [
        event(sha, "app/allow", input=ann, result=True),
        event(sha, "app/allow", input={"user": "bob"}, result=False),
        event(sha, "app/allow", result=False),
        event(sha, "app/all", input=ann, result={"list": [1.0, 2], "user": "ann"}),
        event(sha, "app/all/user", input=ann, result="ann"),
        event(sha, "app/all/nothing", input=ann),
        event(sha, "app/pick", input={}),
        event(sha, "app/pick", input={"a": 1, "b": 1}, error={"code": "eval_conflict_error", "message": "complete rules"}),
        event(sha, "app/bad", input={"zero": 0}, error={"code": "eval_builtin_error", "message": "divide by zero"}),
        event(sha, "app/bad", input={"zero": 0}),
        event(sha, "x/y", result=[1.5]),
        event(sha, "app/nothing", input=ann),
        event(sha, "app/late", input=ann, timestamp="2027-01-15T07:59:59Z"),
        event(sha, "app/late", input=ann, timestamp="2027-01-15T08:00:00.000000001Z", result=True),
        event(sha, "app/allow", input={"user": "eve"}, result=True, custom={"tenant_id": "globex", "module_sha256": sha}),
    ]
    log = folder / "decisions.log"
    text = "".join(json.dumps(e) + "\n" for e in events)
    tap.write(log, text)
    whole = {"events": 15, "same": 15, "different": 0, "skipped": {}, "unreadable": 0, "differences": []}
    lines.equal("replay/the same bundles", replay(folder, log, "--directory", "node"), (0, whole))
    lines.equal("replay/… named one by one", replay(folder, log, "-b", "node/tenants/globex/bundle.tar.gz", "-b", "node/tenants/acme/bundle.tar.gz"), (0, whole))
    (folder / "log.gz").write_bytes(gzip.compress(text[:400].encode()) + gzip.compress(text[400:].encode()))
    lines.equal("replay/gzip'ed, in two members", replay(folder, "log.gz", "--store", "node"), (0, whole))
    (folder / "batch.gz").write_bytes(gzip.compress(json.dumps(events, indent=1).encode()))
    lines.equal("replay/a batch as it is sent", replay(folder, "batch.gz", "-d", "node"), (0, whole))
    lines.equal("replay/several logs", replay(folder, log, "batch.gz", "-d", "node")[1]["same"], 30)
    changed = [dict(e) for e in events[:4]]
    changed[0]["result"], changed[3]["result"] = False, {"user": "bob"}
    del changed[1]["result"]
    tap.write(folder / "changed.log", "\n".join(map(json.dumps, changed)))
    code, said = replay(folder, "changed.log", "-d", "node")
    lines.equal("replay/differences", (code, said["same"], [(d["decision_id"], d["logged"], d["now"]) for d in said["differences"]]),
                (2, 1, [("id-1", "false", "true"), ("id-2", "", "false"), ("id-4", '{"user":"bob"}', '{"list":[1,2],"user":"ann"}')]))
    text = tap.run([tap.REGENT, "replay", "changed.log", "-d", "node", "--differences", "1"], cwd=folder)
    lines.equal("replay/as text", (text.code, text.out), (2, "id-1 acme app/allow: was false, is true\n… and 2 more\n4 events: 1 same, 3 different\n"))
    skipped = [
        event(sha, "app/allow", input={}, result=True, erased=["/input/user"]),
        event(sha, "app/allow", input={}, result=True, masked=["/input/user"]),
        event(sha, "app/allow", input=ann, error={"code": "deadline", "message": "…"}),
        event("0" * 64, "app/allow", input=ann, result=True),
        event(sha, "app/allow", input=ann, result=True, custom={"tenant_id": "acme"}),
        {"level": "info", "msg": "something else"},
    ]
    tap.write(folder / "skipped.log", "\n".join(map(json.dumps, skipped)) + "\nno json\n\n[1\n")
    lines.equal("replay/what cannot be asked again", replay(folder, "skipped.log", "-d", "node"), (0, {
        "events": 6, "same": 0, "different": 0, "unreadable": 2, "differences": [],
        "skipped": {"no decision": 1, "masked": 2, "refused by a limit or fault": 1, "names no module": 1, "no bundle holds its module": 1}}))
    tap.write(folder / "node/tenants/junk/bundle.tar.gz", "junk")
    (folder / "node/tenants/half").mkdir()
    (folder / "node/tenants/half/bundle.tar.gz").write_bytes((folder / "node/tenants/acme/bundle.tar.gz").read_bytes()[:500])
    lines.equal("replay/files that are no bundles are passed over", replay(folder, log, "-d", "node")[0], 0)
    (folder / "cut.gz").write_bytes((folder / "batch.gz").read_bytes()[:-20])
    for words in (["nothing.log", "-d", "node"], ["cut.gz", "-d", "node"], [log], [log, "-d", "nothing"], ["-d", "node"], [log, "-d", "src"]):
        code, said = replay(folder, *words)
        lines.result(f"replay/{' '.join(str(w).rsplit('/', 1)[-1] for w in words)} is refused",
                     None if code == 1 and isinstance(said, str) and said.startswith("error: ") else f"{code} {said}")
    return lines.done()


if __name__ == "__main__":
    sys.exit(main())
