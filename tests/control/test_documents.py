#!/usr/bin/env python3
"""Templates, libraries and tenants of a real `regent control`, on SQLite and PostgreSQL: made, changed, listed, deleted, by
one operator and by several; and many of them at once.

in:  BUILD. out: TAP lines. owns: servers and temporary folders.
usage: test_documents.py [PART ...]"""
import os
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from control_lib import ROOT, Control, Postgres, check, equal, run_parts

EXAMPLE = ROOT + "/examples/control/"
SHOP = {"description": "orders", "parameters": {"REGION": {"type": "string", "enum": ["eu", "us"]},
                                                "MAX_AMOUNT": {"type": "integer", "default": 10},
                                                "CURRENCY": {"pattern": "[A-Z]{3}", "default": "EUR"}},
        "entrypoints": ["shop/allow", "shop/reasons"],
        "files": {"policy.rego": open(EXAMPLE + "templates/shop/policy.rego").read()}}
PLAIN = {"files": {"p.rego": 'package plain\nallow if input.region == "{{REGION}}"'}}
servers = {}


def text(path):
    return open(EXAMPLE + path).read()


def each(part):
    """Runs a part against a server on each store."""
    def run():
        for engine in ("sqlite", "postgres"):
            if engine not in servers:
                if engine == "postgres":
                    servers["pg"] = Postgres()
                servers[engine] = Control(store=servers["pg"].database() if engine == "postgres" else None,
                                          name="documents-" + engine).start()
            part(servers[engine], engine + ": ")
    run.__name__ = part.__name__
    return run


def put(c, path, body, want=(200, 201), **headers):
    status, answer, got = c.call("PUT", "/v1/" + path, body, headers={k.replace("_", "-"): v for k, v in headers.items()})
    if status not in want:
        raise RuntimeError(f"PUT {path}: {status} {answer}")
    return answer, got


def libraries(c):
    for name in ("common", "utils"):
        put(c, "libraries/" + name, {"files": {name + ".rego": text(f"shared/{name}.rego")}})


def built(c, answer):
    """The build of a change, which has to go well."""
    b = c.wait_build(answer["build"])
    if b["status"] != "done":
        raise RuntimeError(f"{b}: {c.call('GET', '/v1/builds/' + answer['build'] + '/jobs')}")
    return b


def error(call):
    """(status, code) of a refusal."""
    status, body, _ = call
    return status, body.get("code") if isinstance(body, dict) else body


# ---- one kind after the other ----
@each
def templates(c, on):
    first, headers = put(c, "templates/t1", dict(PLAIN, description="one"))
    equal(on + "a template is made", (first["action"], first["version"], first["rev"], headers["etag"]), ("create", 1, 1, '"1"'))
    status, body, headers = c.call("GET", "/v1/templates/t1")
    equal(on + "and read", (status, body["spec"], body["description"], body["version"], body["sha256"], headers["etag"]),
          (200, dict(PLAIN, description="one"), "one", 1, first["sha256"], '"1"'))
    same, _ = put(c, "templates/t1", {"files": PLAIN["files"], "description": "one", "parameters": {}, "data": None})
    equal(on + "the same document makes no version and no build", (same["action"], same["version"], same["rev"], same["build"]),
          ("unchanged", 1, 1, None))
    words, _ = put(c, "templates/t1", dict(PLAIN, description="two"))
    equal(on + "another description makes a version, and no build", (words["version"], words["build"]), (2, None))
    more = {"files": dict(PLAIN["files"], **{"lib/more.rego": "package plain.more\nx := 1"})}
    third, _ = put(c, "templates/t1", more)
    check(on + "another file makes a version and a build", third["version"] == 3 and third["build"], third)
    versions = c.must("GET", "/v1/templates/t1/versions?limit=2")
    equal(on + "versions, the newest first", [v["version"] for v in versions["items"]], [3, 2])
    rest = c.must("GET", "/v1/templates/t1/versions?limit=2&after=" + versions["next"])
    equal(on + "and the rest", ([v["version"] for v in rest["items"]], "next" in rest), ([1], False))
    equal(on + "a version stays what it was", c.must("GET", "/v1/templates/t1/versions/1")["spec"], dict(PLAIN, description="one"))
    for method in ("PUT", "DELETE", "PATCH", "POST"):
        equal(on + f"{method} does not change a version", c.call(method, "/v1/templates/t1/versions/1", {})[0], 405)
    for n in ("4", "0", "-1", "x", "99999999999999999999"):
        equal(on + f"there is no version {n}", c.call("GET", "/v1/templates/t1/versions/" + n)[0], 404)
    put(c, "tenants/t1user", {"template": {"id": "t1"}, "parameters": {}})
    equal(on + "it counts its tenants", c.must("GET", "/v1/templates/t1")["tenants"], 1)
    status, body, _ = c.call("DELETE", "/v1/templates/t1")
    check(on + "in use: not deleted, and the answer says by whom", status == 409 and "t1user" in body["message"], (status, body))
    c.must("DELETE", "/v1/tenants/t1user")
    equal(on + "deleted", c.must("DELETE", "/v1/templates/t1")["action"], "delete")
    equal(on + "gone", (c.call("GET", "/v1/templates/t1")[0], c.call("DELETE", "/v1/templates/t1")[0],
                        [t["id"] for t in c.items("/v1/templates")].count("t1")), (404, 404, 0))
    equal(on + "its versions are still there", len(c.items("/v1/templates/t1/versions")), 3)
    again, _ = put(c, "templates/t1", PLAIN)
    equal(on + "made again, it goes on counting", (again["action"], again["version"], again["rev"]), ("create", 4, 5))
    c.must("DELETE", "/v1/templates/t1")


@each
def tenants(c, on):
    libraries(c)
    put(c, "templates/shop", SHOP)
    equal(on + "a template that is not there", error(c.call("PUT", "/v1/tenants/a1", {"template": {"id": "nope"}})),
          (422, "invalid_document"))
    equal(on + "a version that is not there",
          error(c.call("PUT", "/v1/tenants/a1", {"template": {"id": "shop", "version": 77}, "parameters": {"REGION": "eu"}})),
          (422, "invalid_document"))
    status, body, _ = c.call("PUT", "/v1/tenants/a1", {"template": {"id": "shop"}, "parameters": {"REGION": "moon", "MAXAMOUNT": 1}})
    equal(on + "parameters that do not fit, each with its place", (status, sorted(e["location"]["file"] for e in body["errors"])),
          (422, ["tenants/a1/parameters.MAXAMOUNT", "tenants/a1/parameters.REGION"]))
    equal(on + "nothing was made of it", c.call("GET", "/v1/tenants/a1")[0], 404)
    spec = {"template": {"id": "shop"}, "parameters": {"REGION": "eu", "MAX_AMOUNT": 5000}, "labels": {"plan": "gold"},
            "files": {"policy.rego": text("policies/acme/policy.rego")}, "data": {"blocked": ["mallory"], "counting": False},
            "limits": {"deadline": "20ms"}}
    answer, _ = put(c, "tenants/a1", spec)
    equal(on + "one job is built", built(c, answer)["total"], 1)
    row = c.must("GET", "/v1/tenants/a1")
    equal(on + "its row", (row["status"], row["template"], row["labels"], row["serial"], row["build_state"], row["rev"], row["spec"]),
          ("active", {"id": "shop", "version": 0}, {"plan": "gold"}, 1, "built", 1, spec))
    check(on + "it has a version, of the newest change", row["version"].startswith("1-") and row["built"] >= row["wanted"], row)
    used = {"REGION": "eu"}
    status, body, _ = c.call("DELETE", "/v1/libraries/common")
    check(on + "a library that a build imports is not deleted", status == 409 and "a1" in body["message"], body)
    answer = c.must("PATCH", "/v1/tenants/a1", {"labels": {"plan": None, "tier": "2"}})
    equal(on + "a patch of labels builds nothing", (answer["action"], answer["build"]), ("update", None))
    equal(on + "labels are merged", c.must("GET", "/v1/tenants/a1")["labels"], {"tier": "2"})
    answer = c.must("PATCH", "/v1/tenants/a1", {"parameters": {"MAX_AMOUNT": 6000}})
    built(c, answer)
    row = c.must("GET", "/v1/tenants/a1")
    equal(on + "a patch of a parameter is built and released", (row["spec"]["parameters"], row["serial"], row["version"][:2]),
          ({"REGION": "eu", "MAX_AMOUNT": 6000}, 2, "2-"))
    current = row["version"]
    answer = c.must("PATCH", "/v1/tenants/a1", {"status": "suspended"})
    row = c.must("GET", "/v1/tenants/a1")
    equal(on + "suspended: no version any more, at once", (row["status"], row["version"], row["serial"], answer["build"]),
          ("suspended", None, 3, None))
    answer, _ = put(c, "templates/shop", dict(SHOP, data={"x": 1}))
    equal(on + "a suspended tenant is not built", answer["jobs"], 0)
    put(c, "templates/shop", SHOP)
    built(c, c.must("PATCH", "/v1/tenants/a1", {"status": "active"}))
    row = c.must("GET", "/v1/tenants/a1")
    equal(on + "active again: the version before, as nothing has changed", (row["version"], row["serial"]), (current, 4))
    equal(on + "deleted", c.must("DELETE", "/v1/tenants/a1")["action"], "delete")
    equal(on + "gone", (c.call("GET", "/v1/tenants/a1")[0], c.call("DELETE", "/v1/tenants/a1")[0],
                        c.call("PATCH", "/v1/tenants/a1", {})[0], c.call("GET", "/v1/tenants/a1/data")[0]), (404, 404, 404, 404))
    answer, _ = put(c, "tenants/a1", dict(spec, parameters=used))
    built(c, answer)
    row = c.must("GET", "/v1/tenants/a1")
    equal(on + "made again: revisions and serials go on", (answer["action"], row["rev"], row["serial"]), ("create", 7, 6))
    manual = c.must("PATCH", "/v1/tenants/a1?release=false", {"parameters": {"MAX_AMOUNT": 1}})
    built(c, manual)
    equal(on + "release=false: built, not released", c.must("GET", "/v1/tenants/a1")["serial"], 6)
    equal(on + "release= is true or false", c.call("PATCH", "/v1/tenants/a1?release=maybe", {})[0], 400)
    c.must("DELETE", "/v1/tenants/a1")


@each
def parts(c, on):
    put(c, "templates/plain", dict(PLAIN, parameters={"REGION": {}}))
    built(c, put(c, "tenants/p1", {"template": {"id": "plain"}, "parameters": {"REGION": "eu"}})[0])
    equal(on + "no checks, no data", (c.must("GET", "/v1/tenants/p1/checks"), c.must("GET", "/v1/tenants/p1/data")), ([], {}))
    checks = [{"entrypoint": "plain/allow", "input": {"region": "eu"}, "expect": True}]
    status, answer, _ = c.call("PUT", "/v1/tenants/p1/checks", checks)
    equal(on + "checks are put", (status, c.must("GET", "/v1/tenants/p1/checks")), (200, checks))
    built(c, answer)
    answer = c.must("PUT", "/v1/tenants/p1/data", {"a": {"b": 1}, "list": [1]})
    built(c, answer)
    status, answer, _ = c.call("PUT", "/v1/tenants/p1/data/a/c/d", ["x"])
    equal(on + "data below a path is put", (status, c.must("GET", "/v1/tenants/p1/data")),
          (200, {"a": {"b": 1, "c": {"d": ["x"]}}, "list": [1]}))
    equal(on + "and read", (c.must("GET", "/v1/tenants/p1/data/a/c"), c.call("GET", "/v1/tenants/p1/data/zz")[0]), ({"d": ["x"]}, 404))
    status, body, _ = c.call("PUT", "/v1/tenants/p1/data/a/b/c", 1)
    equal(on + "not through what is no object", (status, body["code"]), (409, "conflict"))
    equal(on + "nor through a list", c.call("PUT", "/v1/tenants/p1/data/list/0", 1)[0], 409)
    jobs = c.items("/v1/builds/" + answer["build"] + "/jobs")
    built(c, answer)
    jobs = c.items("/v1/builds/" + answer["build"] + "/jobs")
    equal(on + "data alone is not compiled", [(j["tenant"], j["state"], j["compiled"]) for j in jobs], [("p1", "built", False)])
    etag = c.call("GET", "/v1/tenants/p1/data")[2]["etag"]
    equal(on + "parts know If-Match", (c.call("PUT", "/v1/tenants/p1/data", {}, headers={"If-Match": '"1"'})[0],
                                       c.call("PUT", "/v1/tenants/p1/data", {}, headers={"If-Match": etag})[0]), (412, 200))
    equal(on + "checks that are no list", error(c.call("PUT", "/v1/tenants/p1/checks", {})), (422, "invalid_document"))
    c.must("DELETE", "/v1/tenants/p1")
    c.must("DELETE", "/v1/templates/plain")


@each
def lists(c, on):
    tenants = {f"l{i:02d}{'_x' if i % 5 == 0 else ''}": {"labels": {"plan": "gold" if i % 2 else "free", "region": "eu" if i % 3 else "us"},
                                                        "status": "suspended" if i == 7 else "active"} for i in range(25)}
    c.must("POST", "/v1/apply", {"tenants": tenants})
    equal(on + "pages", [t["id"] for t in c.items("/v1/tenants?q=l")], sorted(tenants))
    found, after, pages = [], "", 0
    while pages < 10:
        page = c.must("GET", "/v1/tenants?q=l&limit=10" + after)
        found, pages = found + [t["id"] for t in page["items"]], pages + 1
        if "next" not in page:
            break
        after = "&after=" + urllib.parse.quote(page["next"])
    equal(on + "pages of ten", (pages, found), (3, sorted(tenants)))

    def ids(query):
        return [t["id"] for t in c.items("/v1/tenants?" + query)]

    def where(good):
        return sorted(i for i, t in tenants.items() if good(t))
    equal(on + "a label", ids("q=l&label=plan:gold"), where(lambda t: t["labels"]["plan"] == "gold"))
    equal(on + "two labels", ids("q=l&label=plan:gold&label=region:us"), where(lambda t: t["labels"] == {"plan": "gold", "region": "us"}))
    equal(on + "status", ids("q=l&status=suspended"), ["l07"])
    equal(on + "a prefix is no pattern", (ids("q=l%25"), ids("q=l_"), ids("q=l00_")), ([], [], ["l00_x"]))
    equal(on + "build state", ids("q=l&build_state=built&status=suspended"), [])
    equal(on + "nothing fits", ids("label=plan:none"), [])
    equal(on + "a label without a value", (c.call("GET", "/v1/tenants?label=plan")[0], c.call("GET", "/v1/tenants?full=perhaps")[0],
                                           c.call("GET", "/v1/tenants?limit=0")[0]), (400, 400, 400))
    full = c.must("GET", "/v1/tenants?q=l01&full=true")["items"]
    equal(on + "full: with documents", [t["spec"] for t in full], [{"labels": tenants["l01"]["labels"]}])
    put(c, "templates/listed", PLAIN)
    put(c, "tenants/l99", {"template": {"id": "listed"}})
    equal(on + "those of a template", ids("template=listed"), ["l99"])
    digests = c.items("/v1/digests")
    kinds = [d["kind"] for d in digests]
    order = ["template", "library", "tenant"]
    check(on + "digests: all kinds in order", kinds == sorted(kinds, key=order.index) and {(d["kind"], d["id"]) for d in digests} >=
          {("template", "listed"), ("tenant", "l99")}, kinds)
    found, after = [], ""
    while True:
        page = c.must("GET", "/v1/digests?limit=3" + after)
        found += page["items"]
        if "next" not in page:
            break
        after = "&after=" + urllib.parse.quote(page["next"])
    equal(on + "digests in small pages", found, digests)
    equal(on + "digests of one kind", c.items("/v1/digests?kind=tenant"), [d for d in digests if d["kind"] == "tenant"])
    equal(on + "digests of what is not a kind", (c.call("GET", "/v1/digests?kind=x")[0], c.call("GET", "/v1/digests?after=zz")[0]), (400, 400))
    c.must("POST", "/v1/apply", {"delete": {"tenants": sorted(tenants) + ["l99"], "templates": ["listed"]}})


# ---- several operators ----
@each
def conditions(c, on):
    put(c, "templates/if", PLAIN)
    equal(on + "If-None-Match: * on what is there", error(c.call("PUT", "/v1/templates/if", PLAIN, headers={"If-None-Match": "*"})),
          (412, "exists"))
    equal(on + "and on what is not", c.call("PUT", "/v1/templates/if2", PLAIN, headers={"If-None-Match": "*"})[0], 201)
    equal(on + "If-Match on what is not there", error(c.call("PUT", "/v1/templates/if3", PLAIN, headers={"If-Match": "*"})),
          (412, "changed_meanwhile"))
    etag = c.call("GET", "/v1/templates/if")[2]["etag"]
    equal(on + "the first of two changes wins",
          (c.call("PUT", "/v1/templates/if", dict(PLAIN, description="a"), headers={"If-Match": etag})[0],
           error(c.call("PUT", "/v1/templates/if", dict(PLAIN, description="b"), headers={"If-Match": etag}))),
          (200, (412, "changed_meanwhile")))
    equal(on + "nothing of the second is there", c.must("GET", "/v1/templates/if")["description"], "a")
    equal(on + "deleting asks too", (c.call("DELETE", "/v1/templates/if", headers={"If-Match": etag})[0],
                                     c.call("DELETE", "/v1/templates/if", headers={"If-Match": '"1", "2"'})[0]), (412, 200))
    equal(on + "an ETag of before the deletion stays wrong",
          (put(c, "templates/if", PLAIN)[0]["rev"], c.call("PUT", "/v1/templates/if", PLAIN, headers={"If-Match": etag})[0]), (4, 412))
    for name in ("if", "if2"):
        c.must("DELETE", "/v1/templates/" + name)


def at_once(calls):
    """Runs them on a thread each; what they return, in order."""
    results = [None] * len(calls)

    def run(i):
        results[i] = calls[i]()
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return results


@each
def two_at_once(c, on):
    put(c, "tenants/both", {"labels": {"n": "0"}})
    won = []

    def operator(me):
        for _ in range(15):
            row = c.call("GET", "/v1/tenants/both")
            n = int(row[1]["labels"]["n"])
            status, _, _ = c.call("PUT", "/v1/tenants/both", {"labels": {"n": str(n + 1), "by": me}}, headers={"If-Match": row[2]["etag"]})
            if status == 200:
                won.append(me)
            elif status != 412:
                won.append(status)
    at_once([lambda: operator("x"), lambda: operator("y")])
    row = c.must("GET", "/v1/tenants/both")
    equal(on + "with If-Match no change is lost", (row["labels"]["n"], row["rev"], set(won) <= {"x", "y"}), (str(len(won)), 1 + len(won), True))
    answers = at_once([lambda i=i: c.call("PUT", "/v1/tenants/both", {"labels": {"w": str(i)}}) for i in range(8)])
    equal(on + "without it, one after the other", sorted(a[1]["rev"] for a in answers), list(range(row["rev"] + 1, row["rev"] + 9)))
    last = max(answers, key=lambda a: a[1]["rev"])
    equal(on + "and the last one stays", c.must("GET", "/v1/tenants/both")["sha256"], last[1]["sha256"])
    answers = at_once([lambda i=i: c.call("PUT", "/v1/templates/race", dict(PLAIN, description=str(i)), headers={"If-None-Match": "*"}) for i in range(6)])
    equal(on + "one of six makes it", sorted(a[0] for a in answers), [201] + [412] * 5)
    answers = at_once([lambda: c.call("PUT", "/v1/tenants/racer", {"template": {"id": "race"}}), lambda: c.call("DELETE", "/v1/templates/race")])
    there = c.call("GET", "/v1/templates/race")[0] == 200
    equal(on + "a template that is being deleted gets no tenant", (answers[0][0] == 201, answers[1][0] == 200), (there, not there))
    c.must("POST", "/v1/apply", {"delete": {"tenants": ["racer", "both"], "templates": ["race"]}})


@each
def idempotent(c, on):
    key = {"Idempotency-Key": "k1"}
    first = c.call("PUT", "/v1/templates/idem", PLAIN, headers=key)
    again = c.call("PUT", "/v1/templates/idem", PLAIN, headers=key)
    equal(on + "the same key: the same answer", (again[0], again[1], again[2].get("idempotency-replayed"), again[2].get("etag")),
          (first[0], first[1], "true", first[2]["etag"]))
    put(c, "templates/idem", dict(PLAIN, description="later"))
    equal(on + "also when it has changed since", (c.call("PUT", "/v1/templates/idem", PLAIN, headers=key)[1]["version"],
                                                  c.must("GET", "/v1/templates/idem")["description"]), (1, "later"))
    equal(on + "the key with another document", error(c.call("PUT", "/v1/templates/idem", {}, headers=key)), (422, "key_reused"))
    body = {"tenants": {"idem1": {}}, "templates": {"idem2": PLAIN}}
    answers = at_once([lambda: c.call("POST", "/v1/apply", body, headers={"Idempotency-Key": "k2"}) for _ in range(5)])
    check(on + "five at once: done once", len({str(a[1]) for a in answers}) == 1 and answers[0][0] == 200
          and c.must("GET", "/v1/templates/idem2")["rev"] == 1, answers)
    c.must("POST", "/v1/apply", {"delete": {"tenants": ["idem1"], "templates": ["idem", "idem2"]}})


@each
def scopes(c, on):
    put(c, "templates/sc", PLAIN)
    for name, region in (("eu-1", "eu"), ("eu-2", "eu"), ("us-1", "us")):
        put(c, "tenants/" + name, {"labels": {"region": region}, "template": {"id": "sc"}})

    def token(**scopes):
        return c.must("POST", "/v1/tokens", {"name": f"sc{on}{scopes}", "role": "author", "scopes": scopes})["token"]
    ids, labels = token(tenants=["eu-*"]), token(labels={"region": "eu"})
    for kind, t in (("ids", ids), ("labels", labels)):
        def call(method, path, body=None):
            return c.call(method, "/v1/" + path, body, token=t)
        equal(on + kind + ": sees its own", [x["id"] for x in call("GET", "tenants?q=eu")[1]["items"] + call("GET", "tenants?q=us")[1]["items"]],
              ["eu-1", "eu-2"])
        equal(on + kind + ": others are not there", [call(m, p, b)[0] for m, p, b in (
            ("GET", "tenants/us-1", None), ("PATCH", "tenants/us-1", {"labels": {"region": "eu"}}), ("DELETE", "tenants/us-1", None),
            ("GET", "tenants/us-1/data", None), ("PUT", "tenants/us-1/data", {}), ("GET", "tenants/us-1/checks", None))], [404] * 6)
        equal(on + kind + ": replaces no other's", error(call("PUT", "tenants/us-1", {"labels": {"region": "eu"}})), (403, "out_of_scope"))
        equal(on + kind + ": makes none outside", error(call("PUT", "tenants/us-9", {"labels": {"region": "us"}})), (403, "out_of_scope"))
        equal(on + kind + ": digests of its own", {x["id"] for x in call("GET", "digests?kind=tenant")[1]["items"]}, {"eu-1", "eu-2"})
        equal(on + kind + ": counts its own", call("GET", "templates/sc")[1]["tenants"], 2)
        equal(on + kind + ": changes no template", [error(call(m, p, {}))[0] for m, p in (
            ("PUT", "templates/sc"), ("DELETE", "templates/sc"), ("PUT", "libraries/sc"))], [403] * 3)
        equal(on + kind + ": nor by apply", error(call("POST", "apply", {"templates": {"sc": {}}}))[0], 403)
        equal(on + kind + ": apply reaches its own only", (
            call("POST", "apply", {"tenants": {"eu-1": {"labels": {"region": "eu", "x": "1"}, "template": {"id": "sc"}}}})[0],
            error(call("POST", "apply", {"tenants": {"us-1": {"labels": {"region": "eu"}}}})),
            error(call("POST", "apply", {"delete": {"tenants": ["us-1"]}}))), (200, (403, "out_of_scope"), (403, "out_of_scope")))
    status = error(c.call("PATCH", "/v1/tenants/eu-2", {"labels": {"region": "us"}}, token=labels))
    equal(on + "labels: moves none out of its scope", (status, c.must("GET", "/v1/tenants/eu-2")["labels"]["region"]), ((403, "out_of_scope"), "eu"))
    equal(on + "a viewer changes nothing", [c.call(m, "/v1/" + p, {}, token=c.must("POST", "/v1/tokens", {"name": f"v{on}{m}{p}", "role": "viewer"})["token"])[0]
                                            for m, p in (("PUT", "tenants/eu-1"), ("POST", "apply"), ("PUT", "libraries/x"))], [403] * 3)
    equal(on + "it is all as it was", c.must("GET", "/v1/tenants/us-1")["labels"], {"region": "us"})
    c.must("POST", "/v1/apply", {"delete": {"tenants": ["eu-1", "eu-2", "us-1"], "templates": ["sc"]}})


# ---- what a change builds ----
@each
def builds(c, on):
    libraries(c)
    first = c.must("POST", "/v1/apply", {"templates": {"bshop": SHOP, "bother": {"files": {"o.rego": "package other\nallow if true"}}}, "tenants": {
        "b1": {"template": {"id": "bshop"}, "parameters": {"REGION": "eu"}}, "b2": {"template": {"id": "bother"}},
        "b3": {"template": {"id": "bshop", "version": 1}, "parameters": {"REGION": "us"}}}})
    equal(on + "a new template and its tenants in one call, pinned ones too", (built(c, first)["succeeded"], first["counts"]["create"]), (3, 5))

    def tenants_of(answer):
        return sorted(j["tenant"] for j in c.items("/v1/builds/" + answer["build"] + "/jobs")) if answer["build"] else []
    changed = dict(SHOP, files={"policy.rego": SHOP["files"]["policy.rego"] + "\nx := 1\n"})
    answer, _ = put(c, "templates/bshop", changed)
    equal(on + "a template: those that follow its newest version", tenants_of(answer), ["b1"])
    built(c, answer)
    answer, _ = put(c, "libraries/utils", {"files": {"utils.rego": text("shared/utils.rego") + "\ny := 1\n"}})
    equal(on + "a library: those that import it", tenants_of(answer), ["b1", "b3"])
    built(c, answer)
    answer, _ = put(c, "libraries/unused", {"files": {"u.rego": "package unused\nx := 1"}})
    equal(on + "a library that nobody imports: none", (tenants_of(answer), c.must("GET", "/v1/builds/" + answer["build"])["status"]), ([], "done"))
    equal(on + "and it can be deleted", c.must("DELETE", "/v1/libraries/unused")["action"], "delete")
    audit = c.items("/v1/audit?object=b1")
    check(on + "the audit log has it", "tenant.create" in [e["action"] for e in audit if e["object"] == "b1"], audit[:3])
    c.must("POST", "/v1/apply", {"delete": {"tenants": ["b1", "b2", "b3"], "templates": ["bshop", "bother"]}})


@each
def trials(c, on):
    put(c, "libraries/trylib", {"files": {"l.rego": "package trylib\nf(x) := x"}})
    template = {"parameters": {"REGION": {}}, "files": {"p.rego": 'package tried\nimport data.trylib\nallow if trylib.f(input.r) == "{{REGION}}"'}}
    before = c.items("/v1/digests")

    def run(body, name="tried"):
        status, answer, _ = c.call("POST", f"/v1/templates/{name}/try", body)
        return (status, answer["ok"], [(e["code"], *e["location"].values()) for e in answer["errors"]]) if status == 200 else (status, answer["code"])
    eu = {"REGION": 'eu"'}
    equal(on + "a good template", run({"template": template, "parameters": eu}), (200, True, []))
    equal(on + "a value that is missing", run({"template": template}), (200, False, [("document_error", "tenants/-/parameters.REGION")]))
    equal(on + "one that does not parse", run({"template": dict(template, files={"p.rego": "package tried\nallow if {"}), "parameters": eu}),
          (200, False, [("rego_parse_error", "templates/tried/p.rego", 2, 10)]))
    equal(on + "one that does not compile", run({"template": dict(template, files={"p.rego": "package tried\nallow if x == 1"}), "parameters": eu}),
          (200, False, [("rego_unsafe_var_error", "templates/tried/p.rego", 2, 10)]))
    equal(on + "nothing to try", run({"parameters": eu}), (404, "not_found"))
    equal(on + "nothing was kept", c.items("/v1/digests"), before)
    put(c, "templates/tried", template)
    put(c, "tenants/tried", {"template": {"id": "tried"}, "parameters": {"REGION": "eu"}, "files": {"own.rego": "package tried\nown := 1"}})
    equal(on + "the stored one, with a tenant", run({"tenant": "tried"}), (200, True, []))
    equal(on + "a change that does not go with the tenant's files", run({"tenant": "tried", "template": dict(template, files={"p.rego": "package tried\nown(x) := x"})})[:2],
          (200, False))
    equal(on + "other values", run({"tenant": "tried", "parameters": {"REGION": 5}}), (200, False, [("document_error", "tenants/tried/parameters.REGION")]))
    equal(on + "no such tenant", (run({"tenant": "nobody"}), run({"tenant": "../x"}), run({"tenant": 5}), run({"parameters": []})),
          ((404, "not_found"), (400, "invalid_body"), (400, "invalid_body"), (400, "invalid_body")))
    token = c.must("POST", "/v1/tokens", {"name": "try" + on, "role": "author", "scopes": {"tenants": ["eu-*"]}})["token"]
    equal(on + "a tenant outside of the scope", c.call("POST", "/v1/templates/tried/try", {"tenant": "tried"}, token=token)[0], 404)
    c.must("POST", "/v1/apply", {"delete": {"tenants": ["tried"], "templates": ["tried"], "libraries": ["trylib"]}})


# ---- many at once ----
@each
def apply(c, on):
    tenants = {f"m{i}": {"template": {"id": "many"}, "parameters": {"REGION": "eu"}, "data": {"i": i}} for i in range(20)}
    body = {"templates": {"many": dict(PLAIN, parameters={"REGION": {}})}, "libraries": {"mlib": {"files": {"m.rego": "package mlib"}}}, "tenants": tenants}
    plan = c.must("POST", "/v1/apply", dict(body, dry_run=True))
    equal(on + "a dry run plans", (plan["counts"]["create"], plan["build"], plan["dry_run"]), (22, None, True))
    equal(on + "and does nothing", (c.call("GET", "/v1/templates/many")[0], c.call("GET", "/v1/tenants/m1")[0]), (404, 404))
    done = c.must("POST", "/v1/apply", body)
    equal(on + "the same plan is done, each tenant once", (done["counts"], done["jobs"], built(c, done)["succeeded"]), (plan["counts"], 20, 20))
    equal(on + "again: nothing", [done[k] for k in ("counts", "build") for done in [c.must("POST", "/v1/apply", body)]],
          [{"unchanged": 22, "create": 0, "update": 0, "delete": 0}, None])
    digests = {d["id"]: d["sha256"] for d in c.items("/v1/digests?kind=tenant")}
    wrong = {"m0": {"files": {"x.rego": "package x\ny if {"}}, "m1": {"template": {"id": "gone"}}, "m2": {"labels": {"!": "x"}}, "../x": {}, "m3": dict(tenants["m3"], data={"i": 99})}
    status, error_body, _ = c.call("POST", "/v1/apply", {"tenants": wrong, "delete": {"tenants": ["m4"]}})
    equal(on + "what is wrong is listed, all of it", (status, sorted(e["location"]["file"] for e in error_body["errors"])),
          (422, ["tenants/../x", "tenants/m0/x.rego", "tenants/m2/labels.!"]))
    status, error_body, _ = c.call("POST", "/v1/apply", {"tenants": {"m1": wrong["m1"], "m3": wrong["m3"]}, "delete": {"tenants": ["m4"]}})
    equal(on + "and what the store knows to be wrong", (status, error_body["errors"][0]["location"]["file"]), (422, "tenants/m1/template.id"))
    equal(on + "nothing was done of either", {d["id"]: d["sha256"] for d in c.items("/v1/digests?kind=tenant")}, digests)
    status, error_body, _ = c.call("POST", "/v1/apply", {"tenants": {"m3": wrong["m3"], "m5": wrong["m3"]}, "expect": {"tenants": {"m3": digests["m3"], "m5": "0" * 64, "m99": "x"}}})
    equal(on + "somebody else's changes are not undone", (status, error_body["code"], sorted(e["location"]["file"] for e in error_body["errors"])),
          (409, "conflict", ["tenants/m5", "tenants/m99"]))
    equal(on + "what was seen may be changed", c.must("POST", "/v1/apply", {"tenants": {"m3": wrong["m3"]}, "expect": {"tenants": {"m3": digests["m3"], "m99": ""}}})["counts"]["update"], 1)
    build = "01J" + "0" * 23 if on.startswith("sqlite") else "01J" + "1" * 23
    for i in (6, 7):
        answer = c.must("POST", "/v1/apply", {"build": build, "tenants": {f"m{i}": dict(tenants[f"m{i}"], data={"i": "new"})}})
        equal(on + "a named build", (answer["build"], answer["jobs"]), (build, 1))
    equal(on + "one build of two calls", built(c, {"build": build})["total"], 2)
    other = put(c, "tenants/m8", dict(tenants["m8"], data={"i": 5}))[0]["build"]
    equal(on + "not somebody else's build", error(c.call("POST", "/v1/apply", {"build": other, "tenants": {"m9": {}}})), (409, "conflict"))
    empty = "01J" + ("2" if on.startswith("sqlite") else "3") * 23
    answer = c.must("POST", "/v1/apply", {"build": empty, "delete": {"tenants": ["m9"]}})
    equal(on + "a named build without jobs is there, and done", (answer["build"], c.must("GET", "/v1/builds/" + empty)["status"]), (empty, "done"))
    equal(on + "a template that is in use stays", error(c.call("POST", "/v1/apply", {"delete": {"templates": ["many"]}})), (409, "conflict"))
    moved = {i: {} for i in tenants if i != "m9"}
    equal(on + "unless the same call takes its tenants away", c.must("POST", "/v1/apply", {"tenants": moved, "delete": {"templates": ["many"], "libraries": ["mlib"]}})["counts"],
          {"unchanged": 0, "create": 0, "update": 19, "delete": 2})
    equal(on + "changed and deleted at once", error(c.call("POST", "/v1/apply", {"tenants": {"m1": {}}, "delete": {"tenants": ["m1"]}})), (422, "invalid_document"))
    for wrong_body in ({"tenants": []}, {"delete": ["m1"]}, {"delete": {"tenant": ["m1"]}}, {"dry_run": 1}, {"build": "x"}, {"build": "../../../../../../../../x"},
                       {"expect": {"tenants": []}}, {"items": []}):
        equal(on + f"no form: {wrong_body}", c.call("POST", "/v1/apply", wrong_body)[0], 400)
    c.must("POST", "/v1/apply", {"delete": {"tenants": sorted(tenants) + ["never"]}})


@each
def many(c, on):
    own = text("policies/acme/policy.rego")
    tenants = {f"n{i:03d}": {"files": {"policy.rego": own}, "data": {"blocked": [f"u{k}" for k in range(50)]}, "labels": {"plan": "gold", "n": str(i)}}
               for i in range(500)}
    began = time.time()
    answer = c.must("POST", "/v1/apply", {"tenants": tenants})
    took = time.time() - began
    check(on + f"500 tenants in a call ({took:.2f} s)", answer["counts"]["create"] == 500 and took < float(os.environ.get("APPLY_SECONDS", "8")), took)
    equal(on + "501 are too many", error(c.call("POST", "/v1/apply", {"tenants": dict(tenants, more={})})), (413, "too_large"))
    c.must("POST", "/v1/builds/" + answer["build"] + "/cancel")
    c.must("POST", "/v1/apply", {"delete": {"tenants": sorted(tenants)}})
    equal(on + "and gone", c.items("/v1/tenants?q=n"), [])


if __name__ == "__main__":
    run_parts([templates, tenants, parts, lists, conditions, two_at_once, idempotent, scopes, builds, trials, apply, many])
