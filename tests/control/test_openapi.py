#!/usr/bin/env python3
"""The API's description: each route of the server stands in it and the other way round; replies of a real run are as it says.

in: BUILD. out: TAP. owns: the processes it starts."""
import collections
import re
import subprocess

from control_lib import REGENT, Control, check, equal, run_parts, wait_for
from openapi_lib import reply_wrong, resolve, wrong

METHODS = ("get", "put", "post", "delete", "patch")
seen = collections.defaultdict(set)


def routes():
    """The server's table as (METHOD, path)."""
    lines = subprocess.run([REGENT, "control", "--routes"], capture_output=True, text=True, check=True).stdout.split("\n")
    return [tuple(line.split(" ")) for line in lines if line]


def plain(path):
    return path.replace("*}", "}")


def described(document):
    return {(m.upper(), plain(path)) for path, methods in document["paths"].items() for m in methods if m in METHODS}


def both_ways():
    c = Control().start()
    document = c.must("GET", "/v1/openapi.json", token=False)
    table = {(m, plain(path)) for m, path in routes()}
    equal("no route twice", len(routes()), len(table))
    for method, path in sorted(table | described(document)):
        where = ("" if (method, path) in table else "described, and not there; ") + ("" if (method, path) in described(document) else "there, and not described")
        check(f"{method} {path}", not where, where)
    c.stop()


def sound():
    c = Control().start()
    document = c.must("GET", "/v1/openapi.json", token=False)
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            if method not in METHODS:
                continue
            what = f"{method.upper()} {path}"
            problems = []
            named = set(re.findall(r"\{([^}*]+)\*?\}", path))
            parameters = [resolve(document, p) for p in operation.get("parameters", []) + methods.get("parameters", [])]
            problems += [f"{n} is no parameter" for n in named - {p["name"] for p in parameters if p["in"] == "path"}]
            problems += [f"the path has no {p['name']}" for p in parameters if p["in"] == "path" and p["name"] not in named]
            problems += [] if operation.get("summary") else ["no summary"]
            problems += [f"{status}: no description" for status, r in operation["responses"].items() if not resolve(document, r).get("description")]
            if operation.get("security") != []:
                problems += [f"{s} is not described" for s in ("401", "429") if s not in operation["responses"]]
            check(f"{what} is described well", not problems, problems)
    c.stop()


class Watched(Control):
    """A control plane whose every reply is compared with its description."""

    def call(self, method, path, body=None, **more):
        status, data, headers = super().call(method, path, body, **more)
        if getattr(self, "document", None):
            self.wrong += reply_wrong(self.document, method, path, status, data, headers)
            seen[status].add((method, re.sub(r"\?.*", "", path)))
        return status, data, headers


REGO = "package shop\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.user == \"{{OWNER}}\"\n"


def documents(c):
    """Templates, libraries, tenants, builds, versions, releases: what is there of them."""
    there = {path for _, path in routes()}
    if "/v1/templates/{id}" not in there:
        return
    c.call("PUT", "/v1/templates/shop", {"files": {"policy.rego": REGO}, "parameters": {"OWNER": {"type": "string", "default": "ann"}}})
    c.call("PUT", "/v1/templates/bad", {"files": {"policy.rego": "package x\nallow if {"}})
    if "/v1/libraries/{id}" in there:
        c.call("PUT", "/v1/libraries/util", {"files": {"util.rego": "package util\n\nimport rego.v1\n\none := 1\n"}})
    for i in range(3):
        c.call("PUT", f"/v1/tenants/t{i}", {"template": {"id": "shop"}, "parameters": {"OWNER": f"o{i}"}, "labels": {"plan": "gold"}})
    c.call("PUT", "/v1/tenants/t9", {"template": {"id": "nothing"}})
    c.call("PUT", "/v1/tenants/t0", {"template": {"id": "shop"}}, headers={"If-Match": "\"999\""})
    if "/v1/builds" in there:
        wait_for(lambda: not c.must("GET", "/v1/status")["build_jobs_open"], 20)
    for path in ("/v1/templates", "/v1/libraries", "/v1/tenants", "/v1/builds", "/v1/rollouts", "/v1/edges", "/v1/releases", "/v1/versions"):
        if path in there:
            page = c.call("GET", path)[1]
            for item in page.get("items", [])[:3]:
                c.call("GET", f"{path}/{item['id']}") if path + "/{id}" in there and "id" in item else None
    for path in sorted(p for m, p in routes() if m == "GET" and p.startswith(("/v1/tenants/{id}/", "/v1/templates/{id}/", "/v1/libraries/{id}/")) and p.count("{") == 1):
        kind = path.split("/")[2]
        c.call("GET", path.replace("{id}", {"tenants": "t1", "templates": "shop", "libraries": "util"}[kind]))
    c.call("DELETE", "/v1/tenants/t2")


def real_run():
    c = Watched(token=None).start()
    c.document, c.wrong = c.call("GET", "/v1/openapi.json", token=False)[1], []
    made = c.must("POST", "/v1/tokens", {"name": "edge", "role": "edge", "scopes": {"tenants": ["t*"]}})
    viewer = c.must("POST", "/v1/tokens", {"name": "viewer", "role": "viewer"})["token"]
    documents(c)
    c.call("DELETE", "/v1/tokens/" + c.must("POST", "/v1/tokens", {"name": "short", "role": "viewer"})["id"])
    c.call("BREW", "/v1/tokens")
    for method, path in routes():
        if path == "/v1/tokens/self" and method == "DELETE":
            continue
        at = re.sub(r"\{[^}]*\}", "nothing", path)
        for token, headers in ((False, {}), (made["token"], {}), (viewer, {}), (None, {}), (None, {"Content-Type": "text/plain"}), (None, {"Idempotency-Key": "a b"})):
            body = None if method in ("GET", "DELETE") else "{\"what\": oops" if not headers else "{}"
            headers = {"Content-Type": "application/json", **headers} if body else headers
            c.call(method, at, body, token=token, headers=headers)
        if method != "GET":
            c.call(method, at, {"surely_unknown": 1})
        c.call(method, re.sub(r"\{[^}]*\}", "%2e%2e", path), None if method in ("GET", "DELETE") else {})
        if method == "GET":
            c.call("GET", at + "?limit=0&after=x")
            c.call("HEAD", at)
    for answer in sorted(set(c.wrong)):
        check("as described", False, answer)
    check(f"{sum(len(v) for v in seen.values())} kinds of answers are as they are described", not c.wrong, c.wrong[:5])
    for status in (200, 201, 204, 400, 401, 403, 404, 405, 415):
        check(f"status {status} really occurs", seen.get(status), dict(seen))
    c.stop()


def judge():
    """The judge itself finds what is wrong."""
    d = {"paths": {"/a/{id}": {"get": {"responses": {"200": {"description": "", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/A"}}}}}}}},
         "components": {"schemas": {"A": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}, "s": {"enum": ["x"]}}, "additionalProperties": False}}}}
    kind = {"content-type": "application/json"}
    equal("fits", reply_wrong(d, "GET", "/a/b", 200, {"n": 1, "s": "x"}, kind), [])
    for name, body in (("missing", {}), ("another type", {"n": "1"}), ("true is no integer", {"n": True}), ("one more", {"n": 1, "m": 1}), ("none of the enum", {"n": 1, "s": "y"}), ("no object", [])):
        check(name, len(reply_wrong(d, "GET", "/a/b", 200, body, kind)) == 1, reply_wrong(d, "GET", "/a/b", 200, body, kind))
    check("a status that is not described", reply_wrong(d, "GET", "/a/b", 500, {}, kind))
    check("an unknown keyword", list(wrong(d, {"contains": 1}, 1)))


if __name__ == "__main__":
    run_parts([judge, both_ways, sound, real_run])
