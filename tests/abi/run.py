"""Our full modules in npm's opa-wasm: the answers must be OPA's.

in:  $BUILD, $OPA, node and npm; $REGENT_CACHE keeps the installed package.
out: TAP lines.
owns: a scratch folder.
"""
import json
import shutil
import sys

from cases import CASES, HERE, JS_ROUNDS, opa_answer, tap, write_case


def node_folder():
    """Where the pinned package is installed, once for all checkouts."""
    version = json.loads((HERE / "package.json").read_text())["dependencies"]["@open-policy-agent/opa-wasm"]
    folder = tap.CACHE / f"abi-node-{version}"
    if not (folder / "node_modules/@open-policy-agent/opa-wasm").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        done = tap.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, timeout=300)
        if done.code:
            sys.exit("npm ci: " + done.err)
    return folder


def check(case, folder, node):
    """None, or what differs from OPA's answer."""
    _, input_, data = case
    write_case(folder, case)
    built = tap.run([tap.REGENT, "build", "-t", "wasm", "--raw", "-e", "t/answer", "p.rego", "-o", "p.wasm"], cwd=folder)
    if built.code:
        return built.err
    ours = tap.run(["node", HERE / "host.mjs", "p.wasm", data, input_, "t/answer"], cwd=folder, env={"ABI_NODE": str(node)}).json
    theirs = opa_answer(folder)
    if theirs[0] == "error":
        return None if "error" in ours else f"an answer where OPA has an error: {tap.show(ours)}"
    want = [{"result": v} for v in theirs[1]] if theirs[0] == "value" else []
    if not isinstance(ours, dict) or ours.get("result") != want or ours.get("again") != want:
        return f"host: {tap.show(ours)}\nopa:  {tap.show(want)}"
    return None if int(ours["exports"]) >= 26 else f"{ours['exports']} exports"


def main():
    lines, folder, node = tap.Tap(), tap.scratch(), node_folder()
    for name, case in CASES.items():
        if name in JS_ROUNDS:
            continue
        lines.result(f"abi/node/{name}", check(case, folder, node))
    lines.skip("abi/opa", "the pinned opa program has no wasm engine")
    return lines.done()


if __name__ == "__main__":
    sys.exit(main())
