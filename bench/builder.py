#!/usr/bin/env python3
"""How long bundles of many tenants of one template take: the control plane's builder beside `opa build -t wasm`, in one run.

usage: bench/builder.py [--quick]      BUILD: folder with bench/builder; OPA: the opa program

Each of 5,000 tenants (--quick: 500) has a value, data, a file of three tests and three checks of its own; its bundle is compiled,
tested, checked and signed (ES256), on one thread and on two. Nothing is written. OPA builds 20 of them, one after the other and two
at a time, without tests, checks and signature; scaled to all.
"""
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

BUILD, HERE = os.environ["BUILD"], os.path.dirname(os.path.abspath(__file__))
OPA = os.environ.get("OPA") or "opa"
OPA_TENANTS = 20
DATA = {"roles": {"viewer": {"grants": ["view:page", "view:image"]}, "administrator": {"grants": []},
                  "editor": {"grants": ["view:page", "edit:page", "view:image", "edit:image"]}}}


def ours(work, tenants, threads):
    done = subprocess.run([os.path.join(BUILD, "bench", "builder"), work, str(tenants), str(threads), work + "/key.pem"],
                          check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def opa(work, threads):
    def one(i):
        subprocess.run([OPA, "build", "-t", "wasm", "-e", "tenant/authz/allow", "-e", "tenant/authz/decision", "-b", f"{work}/{i}",
                        "-o", f"{work}/{i}.tar.gz"], check=True, capture_output=True)
    one(0)
    began = time.time()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(OPA_TENANTS)))
    return (time.time() - began) / OPA_TENANTS


def prepare(work):
    policy = open(os.path.join(HERE, "p1", "policy.rego")).read()
    shutil.copy(os.path.join(HERE, "builder", "policy_test.rego"), work)
    with open(work + "/policy.rego", "w") as f:
        f.write(policy)
    with open(work + "/data.json", "w") as f:
        json.dump(DATA, f)
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", work + "/key.pem"],
                   check=True, capture_output=True)
    for i in range(OPA_TENANTS):
        os.mkdir(f"{work}/{i}")
        with open(f"{work}/{i}/policy.rego", "w") as f:
            f.write(policy.replace("{{TENANT}}", f"tenant-{i}"))
        shutil.copy(work + "/data.json", f"{work}/{i}")


def main():
    tenants = 500 if "--quick" in sys.argv else 5000
    work = tempfile.mkdtemp(prefix="regent-bench-")
    prepare(work)
    for threads in (1, 2):
        mine, theirs = ours(work, tenants, threads), opa(work, threads) * tenants
        print(f"{tenants} bundles, {threads} thread(s): {mine['seconds']:.1f} s, {mine['cpu_ms']:.2f} ms of a core and {mine['bytes']} bytes each; "
              f"opa build {theirs:.0f} s; {theirs / mine['seconds']:.0f} times as long", flush=True)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
