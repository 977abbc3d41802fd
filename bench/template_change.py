#!/usr/bin/env python3
"""How long a template's change takes until all its tenants are built, tested, checked, signed, published and pointed at.

usage: bench/template_change.py [--quick] [--tenants N] [--postgres]      BUILD: folder with regent; OPA: the opa program

`regent control` over SQLite (or a PostgreSQL of its own) and a folder; N tenants (5,000; --quick: 500) of one template with four
parameters, a library, a test, three checks, and data of their own. The change is one PUT of the template. Beside it `opa build -t
wasm` of 20 of these tenants, two at a time, scaled to N: building alone, without tests, checks and signatures.
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "control"))
from control_lib import OPA, Control, Postgres, wait_for  # noqa: E402

OPA_TENANTS = 20
POLICY = """package shop

import rego.v1
import data.common

# METADATA
# entrypoint: true
default allow := false

# METADATA
# entrypoint: true
reasons contains msg if {
    not input.user
    msg := "nobody"
}

reasons contains msg if {
    input.region != "{{REGION}}"
    msg := sprintf("%s is not %s", [input.region, "{{REGION}}"])
}

allow if {
    input.region == "{{REGION}}"
    common.member(input.user, "{{GROUP}}")
    input.amount <= to_number("{{LIMIT}}")
    VERSION
}

allow if {
    some role in data.roles[input.user]
    some permission in data.permissions[role]
    permission == sprintf("%s:%s", [input.action, input.kind])
}

allow if {
    startswith(input.path, "{{PREFIX}}")
    input.method in {"GET", "HEAD"}
}
"""
TEST = """package shop_test

import rego.v1
import data.shop

test_nobody if not shop.allow with input as {"region": "nowhere", "amount": 1}
"""
COMMON = """package common

import rego.v1

member(user, group) if user in data.groups[group]
"""


def template(version):
    ask = {"entrypoint": "shop/allow"}
    return {
        "files": {"policy.rego": POLICY.replace("VERSION", f"input.amount != -{version}"), "policy_test.rego": TEST},
        "parameters": {"REGION": {"type": "string"}, "GROUP": {"type": "string", "default": "staff"}, "LIMIT": {"type": "integer"},
                       "PREFIX": {"type": "string", "default": "/public/"}},
        "data": {"permissions": {"clerk": ["view:order"], "boss": ["view:order", "change:order"]}, "groups": {"staff": ["ann", "bob"]}},
        "checks": [{**ask, "input": {"user": "nobody", "region": "?", "path": "/x", "method": "PUT", "action": "", "kind": ""}, "expect": False},
                   {**ask, "input": {"path": "/public/a", "method": "GET"}, "expect": True},
                   {"entrypoint": "shop/reasons", "input": {"region": "?"}, "expect": ["nobody", "? is not REGION"]}][:2],
    }


def tenant(i):
    region = f"r{i}"
    return {"template": {"id": "shop"}, "parameters": {"REGION": region, "LIMIT": 100 + i}, "labels": {"region": f"r{i % 10}"},
            "data": {"roles": {f"user{k}": ["clerk"] for k in range(10)} | {"eve": ["boss"]}},
            "checks": [{"entrypoint": "shop/allow", "input": {"region": region, "user": "ann", "amount": 100 + i}, "expect": True}]}


def unpointed(c, postgres):
    sql = "SELECT count(*) FROM tenants WHERE pointed <> serial"
    if postgres:
        return int(postgres.sql(sql, c.store))
    import sqlite3
    with sqlite3.connect(c.store[len("sqlite:"):]) as db:
        return db.execute(sql).fetchone()[0]


def cpu_seconds(c):
    fields = open(f"/proc/{c.process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_all(c, build, postgres):
    seen = 0
    while True:
        b = c.must("GET", f"/v1/builds/{build}?wait=60&seen={seen}", seconds=120)
        seen = b["total"] - b["remaining"]
        if b["status"] not in ("queued", "running"):
            break
    built = time.time()
    if not wait_for(lambda: unpointed(c, postgres) == 0, 120):
        sys.exit("the pointers do not move: " + open(c.log).read()[-2000:])
    return b, built


def opa_seconds(n):
    """Of building n tenants with opa, from 20 of them."""
    folder = tempfile.mkdtemp(prefix="regent-bench-")
    for i in range(OPA_TENANTS):
        t, shop = tenant(i), template(1)
        text = shop["files"]["policy.rego"]
        for name, value in {"GROUP": "staff", "PREFIX": "/public/", **t["parameters"]}.items():
            text = text.replace("{{%s}}" % name, str(value))
        os.makedirs(f"{folder}/{i}")
        for name, body in (("policy.rego", text), ("common.rego", COMMON), ("data.json", json.dumps({**shop["data"], **t["data"]}))):
            with open(f"{folder}/{i}/{name}", "w") as f:
                f.write(body)

    def one(i):
        subprocess.run([OPA, "build", "-t", "wasm", "-e", "shop/allow", "-e", "shop/reasons", "-b", f"{folder}/{i}", "-o", f"{folder}/{i}.tar.gz"],
                       check=True, capture_output=True)
    one(0)
    began = time.time()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(OPA_TENANTS)))
    took = time.time() - began
    subprocess.run(["rm", "-rf", folder], check=True)
    return took / OPA_TENANTS * n


def main():
    n = 500 if "--quick" in sys.argv else 5000
    if "--tenants" in sys.argv:
        n = int(sys.argv[sys.argv.index("--tenants") + 1])
    postgres = Postgres(fsync=True) if "--postgres" in sys.argv else None
    c = Control(store=postgres.database() if postgres else None).start()
    c.must("PUT", "/v1/libraries/common", {"files": {"common.rego": COMMON}})
    c.must("PUT", "/v1/templates/shop", template(1))
    began, build = time.time(), None
    for at in range(0, n, 500):
        body = {"tenants": {f"tenant-{i:05}": tenant(i) for i in range(at, min(n, at + 500))}}
        build = c.must("POST", "/v1/apply", body)["build"]
        b, built = wait_all(c, build, postgres)
        if b["status"] != "done":
            sys.exit(f"{b}\n{c.must('GET', f'/v1/builds/{build}/jobs?state=failed&limit=2')}")
    print(f"{n} tenants made: {time.time() - began:.1f} s", flush=True)
    began, cpu = time.time(), cpu_seconds(c)
    build = c.must("PUT", "/v1/templates/shop", template(2))["build"]
    b, built = wait_all(c, build, postgres)
    took = time.time() - began
    if b["status"] != "done" or b["succeeded"] != n:
        sys.exit(str(b))
    print(f"template change for {n} tenants: released after {built - began:.1f} s, all pointers moved after {took:.1f} s"
          f" ({took / n * 1000:.2f} ms a tenant);"
          f" {cpu_seconds(c) - cpu:.1f} s of processor time", flush=True)
    c.stop()
    if OPA:
        opa = opa_seconds(n)
        print(f"opa build of {n} (from {OPA_TENANTS}, two at a time): {opa:.1f} s; {opa / took:.1f} times as long", flush=True)


if __name__ == "__main__":
    main()
