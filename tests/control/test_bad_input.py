#!/usr/bin/env python3
"""What a control plane is given by mistake or in malice: refused clearly, nothing half-done, and what was served before goes
on being served.

in:  BUILD, OPA. out: TAP lines. owns: servers and temporary folders.
usage: test_bad_input.py [PART ...]

Floods of long polls are in test_waiting.py and test_edges.py, tokens in test_server.py, blob stores that fail in test_publishing.py."""
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from control_lib import OPA, TMP, Control, Postgres, check, equal, run_parts
from edge_lib import Edge, raw

TEMPLATE = {"parameters": {"REGION": {"default": "eu"}, "NAME": {"default": "-"}}, "entrypoints": ["t/allow", "t/raw", "t/both"],
            "files": {"policy.rego": 'package t\nimport data.lib\ndefault allow := false\nallow if input.r == "{{REGION}}"\n'
                                     'raw := `{{REGION}}`\nboth := "<{{REGION}}|{{NAME}}>"\nlabel := lib.label\n'}}
GOOD = {"template": {"id": "t"}, "parameters": {"REGION": "eu"}, "data": {"n": 1}, "labels": {"plan": "gold"}}
servers = {}


def server(engine="sqlite"):
    if engine not in servers:
        if engine == "postgres":
            servers["pg"] = Postgres()
        c = servers[engine] = Control(store=servers["pg"].database() if engine == "postgres" else None, name="bad-" + engine).start()
        c.must("PUT", "/v1/libraries/lib", {"files": {"lib.rego": 'package lib\nlabel := "lib"'}})
        c.must("PUT", "/v1/templates/t", TEMPLATE)
        c.wait_build(c.must("PUT", "/v1/tenants/good", GOOD)["build"])
    return servers[engine]


def each(part):
    """Runs a part against a server on each store; it is to leave what is there as it was."""
    def run():
        for engine in ("sqlite", "postgres"):
            c = server(engine)
            before = state(c)
            part(c, engine + ": ")
            equal(f"{engine}: {part.__name__}: nothing has changed", state(c), before)
    run.__name__ = part.__name__
    return run


def state(c):
    """All that is there, and what the tenant `good` is served."""
    row = c.must("GET", "/v1/tenants/good")
    status, bundle, headers = c.call("GET", "/bundles/good")
    return {"digests": c.items("/v1/digests"), "good": (row["version"], row["serial"], row["rev"]), "status": status,
            "bundle": hashlib.sha256(bundle).hexdigest(), "etag": headers.get("etag"), "tenants": [t["id"] for t in c.items("/v1/tenants")]}


def refused(c, name, method, path, body, statuses, **more):
    """The answer of a call that has to be refused, in the form that errors have."""
    status, answer, _ = c.call(method, path, body, **more)
    good = status in (statuses if isinstance(statuses, tuple) else (statuses,)) and isinstance(answer, dict) and answer.get("message")
    check(name, good, (status, answer))
    return answer if isinstance(answer, dict) else {"errors": [], "message": ""}


def job_errors(c, build):
    done = c.wait_build(build)
    return done["status"], [e for j in c.items(f"/v1/builds/{build}/jobs") for e in j["errors"]]


# ---- policies that do not compile ----
@each
def policies(c, on):
    broken = {
        "a rule without an end": ("package x\n\nallow if {\n\tinput.a ==\n}\n", (5, 1)),
        "no package": ("allow if true\n", (1, 1)),
        "an unknown character": ("package x\nallow if \x01\n", (2, 10)),
        "nothing at all": ("", None),
        "an endless string": ('package x\ny := "abc\n', (2, 6)),
        "very deep": ("package x\ny := " + "[" * 20000 + "]" * 20000, None),
    }
    for what, (rego, place) in broken.items():
        for path in ("tenants/good", "templates/t", "libraries/lib"):
            document = {"files": {"own.rego": rego}}
            answer = refused(c, f"{on}{what}: {path}", "PUT", "/v1/" + path, document, 422)
            where = [e for e in answer["errors"] if e["code"] == "rego_parse_error"]
            file = f"{path}/own.rego"
            check(f"{on}{what}: its place in {path}", where and where[0]["location"]["file"] == file and
                  (not place or (where[0]["location"]["row"], where[0]["location"]["col"]) == place), answer)


def wrong_builds():
    """What only building finds: taken, the build fails with the place, and the version before goes on being served."""
    for engine in ("sqlite", "postgres"):
        c, on = server(engine), engine + ": "
        before = c.must("GET", "/v1/tenants/good")
        served = c.call("GET", "/bundles/good")
        cases = {
            "an unsafe variable": ("package own\nallow if x == y\n", "rego_unsafe_var_error", (2, 10)),
            "an unknown function": ("package own\nallow if nothing.at.all(1)\n", "rego_type_error", (2, 10)),
            "types that never fit": ('package own\nallow if 1 == "a"\n', "rego_type_error", (2, 10)),
            "recursion": ("package own\nallow if not allow\n", "rego_recursion_error", None),
            "a value that no parameter has": ('package own\nx := "{{NOBODY}}"\n', None, (2, 7)),
            "a failing test": ("package own_test\ntest_no if 1 == 2\n", None, None),
        }
        for what, (rego, code, place) in cases.items():
            name = "own_test.rego" if "test" in what else "own.rego"
            answer = c.must("PUT", "/v1/tenants/good", dict(GOOD, files={name: rego}))
            status, errors = job_errors(c, answer["build"])
            found = errors[0] if errors else {}
            spot = found.get("location", {})
            check(f"{on}{what}: the build fails and says where", status == "failed" and (not code or found["code"] == code) and
                  (not place or (spot.get("file"), spot.get("row"), spot.get("col")) == ("tenants/good/" + name, *place)), (status, errors))
            row = c.must("GET", "/v1/tenants/good")
            equal(f"{on}{what}: served is the version before", (row["version"], row["serial"], row["build_state"], c.call("GET", "/bundles/good")[1] == served[1]),
                  (before["version"], before["serial"], "failed", True))
        checks = [{"entrypoint": "t/allow", "input": {"r": "eu"}, "expect": False}]
        status, errors = job_errors(c, c.must("PUT", "/v1/tenants/good", dict(GOOD, checks=checks))["build"])
        check(on + "a check that does not hold", status == "failed" and "t/allow" in str(errors), errors)
        c.wait_build(c.must("PUT", "/v1/tenants/good", GOOD)["build"])
        more = dict(TEMPLATE, parameters=dict(TEMPLATE["parameters"], NEW={}))
        status, errors = job_errors(c, c.must("PUT", "/v1/templates/t", more)["build"])
        equal(on + "a template that asks for what a tenant does not give", (status, [e["location"]["file"] for e in errors]), ("failed", ["tenants/good/parameters.NEW"]))
        c.wait_build(c.must("PUT", "/v1/templates/t", TEMPLATE)["build"])
        row = c.must("GET", "/v1/tenants/good")
        equal(on + "put right again", (row["version"], row["build_state"]), (before["version"], "built"))


# ---- template values that try to break out of their string ----
VALUES = ['eu"\nallow := true #', '"', '\\', '\\"', '\\\\"\nallow := true\n#', '`', '`\nallow := true\nx := `', '}}', '{{', "{{REGION}}", "{{NAME}}", "{{NOBODY}}",
          'eu" ; allow := true', "\n", "\r\nallow := true", "\t\b\f", "\u0000", "\x7f", "\u2028allow := true", "\U0001f600", "${x}", "%s%n", "$1", "\\u0022", "\\n",
          "eu\" if true else := true #", "</script>", "' OR '1'='1", "a" * 60000]


def opa_says(folder, query, document):
    done = subprocess.run([OPA, "eval", "-d", folder, "-I", "--format", "json", query], input=json.dumps(document), capture_output=True, text=True)
    result = json.loads(done.stdout or "{}")
    return result["result"][0]["expressions"][0]["value"] if result.get("result") else result or done.stderr


def values():
    c = server()
    before = state(c)
    edge = Edge(name="values-edge")
    for i, value in enumerate(VALUES):
        tenant = f"v{i}"
        answer = c.must("PUT", "/v1/tenants/" + tenant, dict(GOOD, parameters={"REGION": value, "NAME": value}))
        built = c.wait_build(answer["build"])
        shown = repr(value[:40])
        if built["status"] != "done":
            check(f"{shown} is built", False, job_errors(c, answer["build"]))
            continue
        equal(f"{shown} comes back", c.must("GET", "/v1/tenants/" + tenant)["spec"]["parameters"]["REGION"], value)
        bundle = c.call("GET", "/bundles/" + tenant)[1]
        os.makedirs(f"{edge.folder}/tenants/{tenant}")
        open(f"{edge.folder}/tenants/{tenant}/bundle.tar.gz", "wb").write(bundle)
        folder = tempfile.mkdtemp(dir=TMP)
        with tarfile.open(fileobj=io.BytesIO(bundle)) as tar:
            for member in tar.getmembers():
                if member.name.endswith((".rego", "data.json")):
                    path = folder + "/" + member.name.replace("/", "_").lstrip("_")
                    open(path, "wb").write(tar.extractfile(member).read())
        os.rename(folder + "/data.json", folder + "/d.json")
        want = ({"allow": True, "raw": value, "both": f"<{value}|{value}>"}, {"allow": False, "raw": value, "both": f"<{value}|{value}>"})
        got = [opa_says(folder, "data.t", {"r": r}) for r in (value, "other" + value)]
        for g in got:
            g.pop("label", None)
        equal(f"{shown}: to OPA it is a text", tuple(got), want)
    edge.start()
    for i, value in enumerate(VALUES):
        got = [json.loads(edge.post(f"v{i}", "t/" + p, json.dumps({"input": {"r": r}}))[2])["result"]
               for r in (value, "other" + value) for p in ("allow", "raw", "both")]
        equal(f"{value[:40]!r}: to an edge it is a text", got, [True, value, f"<{value}|{value}>", False, value, f"<{value}|{value}>"])
    c.must("POST", "/v1/apply", {"delete": {"tenants": [f"v{i}" for i in range(len(VALUES))]}})
    equal("values: nothing else has changed", state(c), before)


# ---- data and bodies that are not JSON ----
@each
def bodies(c, on):
    wrong = {
        "a list": ("[1, 2]", (400, 422)), "a text": ('"x"', (400, 422)), "nothing": ("", 400), "half": ('{"data": {"a": 1', 400),
        "NaN": ('{"data": {"a": NaN}}', 400), "Infinity": ('{"data": {"a": -Infinity}}', 400), "a hexadecimal number": ('{"data": {"a": 0x10}}', 400),
        "single quotes": ("{'data': {}}", 400), "a comment": ('{"data": {} /* x */}', 400), "a comma too many": ('{"data": {"a": 1,}}', 400),
        "something behind it": ('{"data": {}} x', 400), "two documents": ('{"data": {}} {"data": {}}', 400), "YAML": ("data:\n  a: 1\n", 400),
        "a member twice": ('{"data": {"a": 1, "a": 2}}', 400), "labels twice": ('{"labels": {"plan": "free"}, "labels": {"plan": "gold"}}', 400),
        "members twice among many": ('{"data": {' + ",".join(f'"k{i}": 1' for i in range(50)) + ', "k7": 2}}', 400),
        "bytes that are no UTF-8": (b'{"labels": {"plan": "\xff\xfe"}}', 400), "half a surrogate": ('{"labels": {"plan": "\\ud800"}}', 400),
        "a control character": ('{"labels": {"plan": "\x01"}}', 400), "UTF-16": ('{"data": {}}'.encode("utf-16"), 400),
        "too deep": ('{"data": ' + '{"a":' * 600 + "1" + "}" * 600 + "}", (400, 413, 422)), "far too deep": ("[" * 1000000, (400, 413, 422)),
        "a NUL": (b'{"data": {}\x00}', 400),
        "data that is a list": ('{"data": [1]}', 422), "data that is a number": ('{"data": 5}', 422), "files that are a list": ('{"files": ["package x"]}', 422),
        "checks that are an object": ('{"checks": {"entrypoint": "t/allow"}}', 422), "a status that is none": ('{"status": {"$ne": 1}}', 422),
        "a member that there is not": ('{"dat": {}}', 422), "a prototype": ('{"__proto__": {"status": "suspended"}}', 422),
    }
    json_type = {"Content-Type": "application/json"}
    for what, (body, statuses) in wrong.items():
        body = body.encode() if isinstance(body, str) else body
        refused(c, f"{on}{what}", "PUT", "/v1/tenants/good", body, statuses, headers=json_type)
    for what in ("a list", "NaN", "a member twice", "half", "a control character"):
        refused(c, f"{on}apply: {what}", "POST", "/v1/apply", wrong[what][0].encode(), 400, headers=json_type)
    for what, body in (("a list", b"[1]"), ("NaN", b"NaN"), ("nothing", b"")):
        refused(c, f"{on}data: {what}", "PUT", "/v1/tenants/good/data", body, (400, 422), headers=json_type)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx"):
        refused(c, f"{on}a body of type {kind}", "PUT", "/v1/tenants/good", b"{}", 415, headers={"Content-Type": kind})
    exact = {"big": 123456789012345678901234567890, "small": "1e-400", "text": "\u0000\u001f\"\\/\u2028\U0001f600"}
    body = '{"data": {"big": 123456789012345678901234567890, "small": "1e-400", "text": ' + json.dumps(exact["text"]) + "}}"
    answer = c.must("PUT", "/v1/tenants/exact", body, headers=json_type)
    equal(on + "what is allowed is kept to the digit", c.must("GET", "/v1/tenants/exact/data"), exact)
    c.wait_build(answer["build"])
    c.must("DELETE", "/v1/tenants/exact")


# ---- names that lead elsewhere ----
def files_of(folder):
    return sorted(os.path.join(d, f) for d, _, files in os.walk(folder) for f in files if "/store.db" not in os.path.join(d, f))


@each
def names(c, on):
    parent = os.path.dirname(c.folder)
    open(c.folder + "/secret.json", "w").write('{"secret": 1}')
    before = [f for f in files_of(parent) if not f.endswith("/log")]
    ids = ["..", ".", "../x", "../../etc/passwd", ".hidden", "a/b", "a\\b", "a b", "a\x00b", "a\nb", "-\x1b[2J", "x" * 128, "\u00e4", "%2e%2e", "a%2fb", "a?b", "a#b", "con\u202e",
           "*", "a;b", "a'b", 'a"b', "a$b", "a|b", "<a>", "a&b", "{}", "a=b", "a,b", "(a)"]
    for name in ids:
        coded = urllib.parse.quote(name, safe="")
        for path, body in ((f"/v1/tenants/{coded}", {}), (f"/v1/templates/{coded}", {}), (f"/v1/libraries/{coded}", {})):
            refused(c, f"{on}PUT {path}"[:100], "PUT", path, body, (400, 404))
        answer = refused(c, f"{on}apply {name[:20]!r}", "POST", "/v1/apply", {"tenants": {name: {}}}, (400, 422))
        refused(c, f"{on}a template called {name[:20]!r}", "PUT", "/v1/tenants/good", {"template": {"id": name}}, (400, 422))
    for name in ["../a.rego", "/a.rego", "a/../../b.rego", "a//b.rego", "./a.rego", "a/./b.rego", ".a.rego", "a\\..\\b.rego", "a.rego/", "a\x00.rego", "a.json", "policy.wasm",
                 ".manifest", "data.json", "%2e%2e/a.rego", "x" * 201 + ".rego", "\u00e4.rego", "", "a b.rego", "con:.rego"]:
        for kind in ("tenants/good", "templates/t", "libraries/lib"):
            refused(c, f"{on}file {name[:30]!r} of {kind}", "PUT", "/v1/" + kind, {"files": {name: "package a"}}, 422)
    for label in ["", ".x", "a b", "a:b", "../x", "a\x00", "x" * 64, "a'--", "\u00e4", "a\n"]:
        refused(c, f"{on}label {label[:20]!r}", "PUT", "/v1/tenants/good", {"labels": {label: "x"}}, 422)
    for value in ["a\x00b", "a\nb", "x" * 256, 5, None, ["x"]]:
        if value is not None:
            refused(c, f"{on}label value {str(value)[:20]!r}", "PUT", "/v1/tenants/good", {"labels": {"a": value}}, 422)
    paths = ["/v1/tenants/../templates/t", "/v1/tenants/good/versions/..%2f..%2f", "/v1/tenants/good/versions/../../../secret.json", "/v1/templates/t/versions/1%2f..%2f2",
             "/v1/templates/t/versions/%00", "/bundles/..%2f..%2fsecret.json", "/bundles/../secret.json", "/bundles/%2e%2e/secret.json", "/blobs/../secret.json",
             "/blobs/tenants/..%2f..%2fsecret.json", "/blobs/%2e%2e/secret.json", "/blobs/tenants/good/versions/..%2f..%2f..%2f..%2fsecret.json", "/blobs//etc/passwd",
             "/blobs/tenants/good/%00", "/blobs/tenants/good/..", "//v1/tenants", "/v1//tenants", "/v1/tenants/good/data/..%2f..", "/v1/tenants/good/data/%2e%2e/x",
             "/v1/tenants/good/data//", "/v1/tenants/%", "/v1/tenants/%zz", "/v1/tenants/%c0%ae%c0%ae", "/v1/tenants/good%00", "/v1/tenants/good/data/%ff"]
    for path in paths:
        reply = raw(c.port, f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {c.token}\r\nConnection: close\r\n\r\n".encode(), half_close=False)
        status = int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else 0
        check(f"{on}GET {path}", status in (400, 404) and b'"secret"' not in reply and b"root:" not in reply, reply[:300])
    equal(on + "no file was made or touched outside", [f for f in files_of(parent) if not f.endswith("/log")], before)


# ---- more than there may be ----
@each
def too_much(c, on):
    many = {f"f{i}.rego": "package a" for i in range(10000)}
    answer = refused(c, on + "10,000 files", "PUT", "/v1/tenants/good", {"files": many}, 422)
    check(on + "with a sentence that says so", "10000" in answer["message"] and "1000" in answer["message"], answer["message"])
    refused(c, on + "10,000 files of a template", "PUT", "/v1/templates/t", {"files": many}, 422)
    refused(c, on + "10,000 files by apply", "POST", "/v1/apply", {"tenants": {"new": {"files": many}, "new2": {}}}, 422)
    refused(c, on + "65 labels", "PUT", "/v1/tenants/good", {"labels": {f"l{i}": "x" for i in range(65)}}, 422)
    refused(c, on + "201 parameters", "PUT", "/v1/templates/t", {"parameters": {f"P{i}": {} for i in range(201)}}, 422)
    refused(c, on + "10,001 checks", "PUT", "/v1/tenants/good/checks", [{"entrypoint": "t/allow"}] * 10001, 422)
    refused(c, on + "201 entrypoints", "PUT", "/v1/tenants/good", {"entrypoints": [f"t/e{i}" for i in range(201)]}, 422)
    refused(c, on + "a file of 5 MB", "PUT", "/v1/tenants/good", {"files": {"a.rego": "package a\n#" + "x" * 5000000}}, 422)
    refused(c, on + "a value of 100 kB", "PUT", "/v1/tenants/good", dict(GOOD, parameters={"REGION": "x" * 100000}), 422)
    refused(c, on + "a description of 5 kB", "PUT", "/v1/templates/t", {"description": "x" * 5000}, 422)
    refused(c, on + "a pattern that explodes", "PUT", "/v1/templates/t", {"parameters": {"A": {"pattern": "((a{1000}){1000}){1000}"}}}, 422)
    slow = dict(TEMPLATE, parameters={"REGION": {"pattern": "(a+)+$", "default": "a"}, "NAME": {"default": "-"}})
    c.must("PUT", "/v1/templates/slow", slow)
    refused(c, on + "a pattern that would run for ever elsewhere", "PUT", "/v1/tenants/slow", {"template": {"id": "slow"}, "parameters": {"REGION": "a" * 50000 + "!"}}, 422, seconds=30)
    c.must("DELETE", "/v1/templates/slow")
    refused(c, on + "data of 51 MB", "PUT", "/v1/tenants/good", {"data": {"x": "y" * 51000000}}, 422)
    refused(c, on + "a body of 68 MB", "PUT", "/v1/tenants/good", {"data": {"x": "y" * 68000000}}, 413)
    head = f"PUT /v1/tenants/good HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {c.token}\r\nContent-Type: application/json\r\n"
    reply = raw(c.port, (head + "Content-Length: 9999999999\r\n\r\n{").encode(), half_close=False)
    check(on + "a body of 10 GB", reply.startswith(b"HTTP/1.1 413"), reply[:200])
    reply = raw(c.port, (head + "Content-Length: 10\r\n\r\n{").encode())
    check(on + "a body that ends early", b" 200 " not in reply[:20] and b" 201 " not in reply[:20], reply[:200])
    labels = "&".join(f"label=a{i}:b" for i in range(60))
    refused(c, on + "60 filters", "GET", "/v1/tenants?" + labels, None, 400)
    rss = int(next(l for l in open(f"/proc/{c.process.pid}/status") if l.startswith("VmRSS")).split()[1]) // 1024
    check(f"{on}it holds {rss} MiB afterwards", rss < 1500, rss)


# ---- SQL in every field ----
SQL = ["'; DROP TABLE tenants; --", "' OR '1'='1", '" OR 1=1 --', "x'); DELETE FROM sources; --", "$1", "$2::text", "?1", ":id", "%s", "\\'; --", "'' OR ''='", "1; SELECT pg_sleep(9)",
       "\\x27", "/* */", "`", "NULL", "%", "_", "';\tVACUUM;", "0 UNION SELECT hash FROM tokens"]


LISTS = ("tenants", "templates", "libraries", "digests", "templates/t/versions", "builds", "releases", "audit", "tokens", "edges", "versions", "rollouts")


@each
def sql(c, on):
    for i, evil in enumerate(SQL):
        template = {"description": evil, "files": {"p.rego": "package e\n# " + evil.replace("\n", " ") + "\nx := " + json.dumps(evil)},
                    "parameters": {"P": {"default": evil, "description": evil, "enum": [evil, "other"]}}, "data": {evil: evil},
                    "checks": [{"entrypoint": evil.strip("/") or "x", "note": evil, "input": evil, "expect": {evil: [evil]}}]}
        tenant = {"template": {"id": "evil"}, "parameters": {"P": evil}, "data": {evil: [evil]}, "labels": {"l": evil[:200].replace("\t", " ")},
                  "checks": template["checks"], "entrypoints": [evil.replace("\t", " ").strip("/")] if "//" not in evil and "/*" not in evil else []}
        wants = {k: v for k, v in tenant.items() if v}
        c.must("PUT", "/v1/templates/evil", template)
        c.must("PUT", "/v1/libraries/evil", {"description": evil, "files": {"l.rego": template["files"]["p.rego"]}})
        c.must("PUT", "/v1/tenants/evil", tenant)
        want = dict(template, parameters={"P": dict(template["parameters"]["P"], type="string")})
        equal(f"{on}{evil!r} comes back", (c.must("GET", "/v1/templates/evil")["spec"], c.must("GET", "/v1/tenants/evil")["spec"],
                                           c.must("GET", "/v1/templates/evil")["description"]), (want, wants, evil))
        quoted = urllib.parse.quote(tenant["labels"]["l"])
        equal(f"{on}{evil!r} finds its label", [t["id"] for t in c.items("/v1/tenants?label=l:" + quoted)], ["evil"])
        quoted = urllib.parse.quote(evil)
        for query in ("q", "template", "status", "build_state", "label=x:", "label=x" + quoted + ":"):
            glue = "" if "=" in query else "="
            status, body, _ = c.call("GET", "/v1/tenants?" + query + glue + quoted)
            check(f"{on}{evil!r} as {query[:9]} finds nothing", status == 200 and body["items"] == [], (status, body))
        for path in LISTS if i < 6 else LISTS[i % len(LISTS):][:2]:
            status, body, _ = c.call("GET", f"/v1/{path}?after={quoted}")
            check(f"{on}{path} after {evil!r}", status in (200, 400), (status, body))
            status, body, _ = c.call("GET", f"/v1/{path}?limit={quoted}")
            check(f"{on}{path} limit {evil!r}", status == 400, (status, body))
        for header in ("If-Match", "Idempotency-Key", "If-None-Match"):
            status, body, _ = c.call("PUT", "/v1/tenants/evil", tenant, headers={header: evil})
            check(f"{on}{header}: {evil!r}", status in (200, 400, 412), (status, body))
        for path in ("tenants/", "templates/", "libraries/", "builds/", "tenants/good/versions/", "templates/t/versions/", "tenants/good/data/", "tokens/"):
            status, body, _ = c.call("GET", "/v1/" + path + urllib.parse.quote(evil, safe=""))
            check(f"{on}{path}{evil!r}", status in (400, 404, 405), (status, body))
        c.must("POST", "/v1/apply", {"expect": {"tenants": {"evil": c.must("GET", "/v1/tenants/evil")["sha256"]}}})
        refused(c, f"{on}expect {evil!r}", "POST", "/v1/apply", {"expect": {"tenants": {"evil": evil}}}, 409)
        status, body, _ = c.call("POST", "/v1/apply", {"delete": {"tenants": [evil]}})
        check(f"{on}delete {evil!r}", status == 422 or (status == 200 and body["counts"]["unchanged"] == 1), (status, body))
    c.must("POST", "/v1/apply", {"delete": {"tenants": ["evil"], "templates": ["evil"], "libraries": ["evil"]}})
    equal(on + "the tokens are still there", len(c.items("/v1/tokens")) > 0, True)


# ---- two operators, and requests that end half-way ----
@each
def cut_off(c, on):
    body = json.dumps(dict(GOOD, data={"x": "y" * 200000})).encode()
    head = (f"PUT /v1/tenants/good HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {c.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body) + 1}\r\n\r\n").encode()

    def half(n):
        raw(c.port, head + body[:n], seconds=1)
    threads = [threading.Thread(target=half, args=(len(body) * k // 12,)) for k in range(12)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    equal(on + "it goes on answering", c.call("GET", "/health", token=False)[0], 200)


if __name__ == "__main__":
    run_parts([policies, wrong_builds, values, bodies, names, too_much, sql, cut_off])
