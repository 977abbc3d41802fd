#!/usr/bin/env python3
"""A bundle of the control plane's builder, read by the real `opa`: signature, policy, data; and by `regent eval`.

in:  BUILD (folder with regent and the unit tests), OPA. out: TAP lines.
The bundle is made by tests/unit/builder.c, from a template with a value that tries to break out of its string."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "edge"))
from edge_lib import BUILD, OPA, REGENT, ROOT, check, equal, finish  # noqa: E402

REGION = 'eu" } allow := true #`\n'
TMP = tempfile.mkdtemp(prefix="regent-builder-")


def run(*command, stdin=""):
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=TMP)


def value(done):
    """What `eval` of one expression gave: its value, None when undefined, or what went wrong."""
    try:
        result = json.loads(done.stdout).get("result")
        return result[0]["expressions"][0]["value"] if result else None
    except (ValueError, KeyError):
        return done.stdout + done.stderr


def ask(program, query, given):
    return value(run(program, "eval", "-b", "bundle.tar.gz", "-I", "-f", "json", query, stdin=json.dumps(given)))


def main():
    made = subprocess.run([os.path.join(BUILD, "tests/unit/builder")], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "BUILDER_OUT": TMP})
    check("the builder makes a signed bundle", made.returncode == 0 and os.path.exists(TMP + "/bundle.tar.gz"), made.stdout + made.stderr)
    run("openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "key.pub")
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "other.pem")
    run("openssl", "pkey", "-in", "other.pem", "-pubout", "-out", "other.pub")
    kid = json.load(open(TMP + "/keys.json"))["keys"][0]["kid"]
    verify = ["--signing-alg", "ES256", "--verification-key-id", kid]
    done = run(OPA, "build", "-b", "bundle.tar.gz", "--verification-key", "key.pub", *verify, "-o", "again.tar.gz")
    equal("opa build accepts the signature", done.returncode, 0)
    done = run(OPA, "build", "-b", "bundle.tar.gz", "--verification-key", "other.pub", *verify, "-o", "again.tar.gz")
    check("opa build refuses another key", done.returncode != 0, done.stdout + done.stderr)
    for program, name in ((OPA, "opa"), (REGENT, "regent")):
        equal(f"{name} eval: the value is a string", ask(program, "data.shop.region", {}), REGION)
        equal(f"{name} eval: allowed", ask(program, "data.shop.allow", {"region": REGION, "user": "ann"}), True)
        equal(f"{name} eval: the value opens no door", ask(program, "data.shop.allow", {"region": "eu", "user": "ann"}), False)
        equal(f"{name} eval: data", ask(program, "[data.n, data.text]", {}), [150, "ü€\x01"])
    run("tar", "xzf", "bundle.tar.gz")
    check("tests are no part of the bundle", not os.path.exists(TMP + "/templates/shop/policy_test.rego"))
    subprocess.run(["rm", "-r", TMP], check=True)
    return finish()


if __name__ == "__main__":
    sys.exit(main())
