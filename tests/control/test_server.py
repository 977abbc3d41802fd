#!/usr/bin/env python3
"""The control plane's server: who may call, each refusal, changes done once, what is said wrongly, the end under load.

in: BUILD. out: TAP, each part on SQLite and on PostgreSQL. owns: the processes it starts."""
import concurrent.futures
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time

from control_lib import REGENT, TMP, Control, Postgres, check, equal, free_port, postgres_bin, run_parts, stop, wait_for

stores = {}


def each_store():
    """A new, empty store of each kind: (name, URL)."""
    stores["n"] = stores.get("n", 0) + 1
    yield "sqlite", f"sqlite:{TMP}/store{stores['n']}.db"
    if not postgres_bin():
        check("on PostgreSQL # SKIP it is not installed", True)
        return
    if "postgres" not in stores:
        stores["postgres"] = Postgres()
    yield "postgres", stores["postgres"].database()


def sql(store, text):
    if store.startswith("sqlite:"):
        with sqlite3.connect(store.removeprefix("sqlite:"), timeout=20) as db:
            rows = db.execute(text).fetchall()
        db.close()
        return "\n".join("|".join(str(v) for v in row) for row in rows)
    return stores["postgres"].sql(text, url=store, must=True)


def call_from(c, source, method, path, token=None):
    """A call from another loopback address: (status, headers)."""
    connection = http.client.HTTPConnection("127.0.0.1", c.port, timeout=20, source_address=(source, 0))
    connection.request(method, path, headers={"Authorization": "Bearer " + token} if token else {})
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status, dict(reply.getheaders())


def make(c, role, name=None, **more):
    return c.must("POST", "/v1/tokens", {"name": name or f"{role}-{time.monotonic_ns()}", "role": role, **more})


def code(reply):
    return reply[0], reply[1]["code"] if isinstance(reply[1], dict) and "code" in reply[1] else None


# ---- tokens ----
def first_token():
    for name, store in each_store():
        c = Control(store=store, token="none yet").start()
        once = re.search(r"One-time admin token[^:]*: (\S+)", open(c.out).read())[1]
        equal(f"{name}: the one-time token says what it is", c.call("GET", "/v1/tokens/self", token=once)[1]["one_time"], True)
        for method, path in (("GET", "/v1/tokens"), ("GET", "/v1/status"), ("GET", "/v1/audit"), ("GET", "/metrics")):
            equal(f"{name}: the one-time token is not for {method} {path}", code(c.call(method, path, token=once)), (403, "one_time_token"))
        equal(f"{name}: nor for taking tokens away", c.call("DELETE", "/v1/tokens/01ABC", token=once)[0], 403)
        equal(f"{name}: what is refused does not use it up", code(c.call("POST", "/v1/tokens", {"name": "", "role": "admin"}, token=once)),
              (400, "invalid_token"))
        c.stop()
        c.start()
        said = open(c.out).read()
        check(f"{name}: a second start prints no other token, and says why", "rgt_" not in said and "--new-admin-token" in said, said)
        other = subprocess.run([REGENT, "control", "--store", store, "--new-admin-token"], capture_output=True, text=True).stdout.strip()
        check(f"{name}: whoever has the store gets another one", re.fullmatch("rgt_[0-9a-f]{64}", other), other)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda i: c.call("POST", "/v1/tokens", {"name": f"n{i}", "role": "admin"}, token=once), range(8)))
        made = [body for status, body, _ in got if status == 201]
        equal(f"{name}: eight uses of it at once make one token", (len(made), sorted(s for s, _, _ in got)[1:]), (1, [401] * 7))
        c.token = made[0]["token"]
        equal(f"{name}: then it is gone", code(c.call("GET", "/v1/tokens/self", token=once)), (401, "unauthorized"))
        sql(store, f"UPDATE tokens SET expires_ms = {int(time.time() * 1000) - 1} WHERE once = 1 AND revoked_ms = 0 RETURNING id")
        status, _ = call_from(c, "127.0.0.2", "GET", "/v1/tokens/self", other)
        equal(f"{name}: one that nobody used in time is gone too", status, 401)
        other = subprocess.run([REGENT, "control", "--store", store, "--new-admin-token"], capture_output=True, text=True).stdout.strip()
        equal(f"{name}: another one works though there are tokens", c.call("POST", "/v1/tokens", {"name": "viewer", "role": "viewer"}, token=other)[0], 201)
        text = sql(store, "SELECT * FROM tokens") + sql(store, "SELECT * FROM replies") + sql(store, "SELECT * FROM audit") + open(c.log).read()
        check(f"{name}: no token stands in the store or the log", "rgt_" not in text)
        c.stop()


def lifetimes():
    for name, store in each_store():
        a = Control(store=store).start()
        b = Control(store=store, blobs=a.blobs, token=a.token).start()
        t = make(a, "viewer", expires_in_s=2)
        equal(f"{name}: good at first", b.call("GET", "/v1/status", token=t["token"])[0], 200)
        s = make(a, "viewer")
        equal(f"{name}: good on the other replica", [b.call("GET", "/v1/status", token=s["token"])[0] for _ in range(3)], [200] * 3)
        equal(f"{name}: revoked", a.call("DELETE", "/v1/tokens/" + s["id"])[0], 204)
        equal(f"{name}: at once here", call_from(a, "127.0.0.3", "GET", "/v1/status", s["token"])[0], 401)
        began = time.monotonic()
        wait_for(lambda: call_from(b, "127.0.0.3", "GET", "/v1/status", s["token"])[0] == 401, 5)
        took = time.monotonic() - began
        check(f"{name}: and on the other replica before what it had seen is too old", took < 4.5, took)
        equal(f"{name}: revoking it again is harmless", a.call("DELETE", "/v1/tokens/" + s["id"])[0], 204)
        equal(f"{name}: one that never was", code(a.call("DELETE", "/v1/tokens/01NOPE")), (404, "not_found"))
        wait_for(lambda: time.time() * 1000 > 0 and call_from(b, "127.0.0.4", "GET", "/v1/status", t["token"])[0] == 401, 4)
        equal(f"{name}: expired", call_from(b, "127.0.0.5", "GET", "/v1/status", t["token"])[0], 401)
        own = make(a, "edge")
        equal(f"{name}: everybody may revoke themselves", a.call("DELETE", "/v1/tokens/self", token=own["token"])[0], 204)
        equal(f"{name}: and are gone", call_from(a, "127.0.0.3", "GET", "/v1/tokens/self", own["token"])[0], 401)
        v = make(a, "viewer")
        equal(f"{name}: but nobody else", code(a.call("DELETE", "/v1/tokens/" + t["id"], token=v["token"])), (403, "forbidden"))
        all_tokens = a.items("/v1/tokens?all=true")
        good = a.items("/v1/tokens")
        check(f"{name}: revoked ones are listed when asked for", s["id"] in [x["id"] for x in all_tokens] and s["id"] not in [x["id"] for x in good])
        check(f"{name}: nothing in a list opens anything", not any("token" in x or "hash" in x for x in all_tokens))
        used = [x for x in all_tokens if x["id"] == s["id"]][0]["used_at"]
        check(f"{name}: when it was used is known", used and used.startswith("20"), used)
        a.stop(), b.stop()


def right_of(method, path):
    """Which roles may call a route, as docs/control.md has it."""
    if path in ("/", "/health", "/v1/openapi.json", "/v1/signing-keys"):
        return {"", "admin", "author", "releaser", "viewer", "edge"}
    if path == "/v1/tokens/self" or (method, path) == ("DELETE", "/v1/tokens/{id}"):
        return {"admin", "author", "releaser", "viewer", "edge"}
    if path.startswith(("/v1/tokens", "/v1/audit")):
        return {"admin"}
    if path.startswith(("/v1/edges/feed", "/v1/edges/tenants", "/bundles", "/blobs")) or (method, path) == ("POST", "/v1/edges/{node}/status"):
        return {"admin", "edge"}
    if method == "GET":
        return {"admin", "author", "releaser", "viewer"}
    return {"admin", "releaser"} if path.startswith(("/v1/rollouts", "/v1/releases")) or path.endswith("/rollback") else {"admin", "author"}


def rights():
    c = Control().start()
    tokens = {role: make(c, role)["token"] for role in ("admin", "author", "releaser", "viewer", "edge")}
    expired = make(c, "admin", expires_in_s=1)["token"]
    time.sleep(1.1)
    for line in subprocess.run([REGENT, "control", "--routes"], capture_output=True, text=True).stdout.split("\n")[:-1]:
        method, path = line.split(" ")
        may = right_of(method, path)
        at = re.sub(r"\{[^}]*\}", "nothing", path)
        body = None if method in ("GET", "DELETE") else {}
        got = {role: c.call(method, at, body, token=token)[:2] for role, token in tokens.items()}
        refused = {role for role, (status, reply) in got.items() if status == 403 and reply["code"] == "forbidden" and "the role" in reply["message"]}
        equal(f"{line}: who may", set(tokens) - refused, may - {""})
        check(f"{line}: nobody unknown", (c.call(method, at, body, token=False)[0] == 401) == ("" not in may))
        if "" not in may:
            c2 = call_from(c, f"127.0.2.{hash(line) % 250 + 1}", method, at, expired)
            equal(f"{line}: no expired token", c2[0], 401)
    c.stop()


def scoped():
    """Whoever has scopes neither sees nor changes anything else, by whatever route."""
    c = Control().start()
    for tenant, plan in (("eu-1", "gold"), ("us-1", "gold"), ("eu-2", "free")):
        c.must("PUT", "/v1/tenants/" + tenant, {"files": {"policy.rego": "package p\n\nallow := true\n"}, "labels": {"plan": plan}})
    wait_for(lambda: not c.must("GET", "/v1/status")["build_jobs_open"], 20)
    before = {t: c.must("GET", "/v1/tenants/" + t) for t in ("eu-1", "us-1", "eu-2")}
    scopes = {"tenants": ["eu-*"], "labels": {"plan": "gold"}}
    tokens = {role: make(c, role, scopes=scopes)["token"] for role in ("admin", "author", "releaser", "viewer", "edge")}
    for role in ("admin", "viewer"):
        equal(f"a list shows a scoped {role} what it sees", [t["id"] for t in c.must("GET", "/v1/tenants", token=tokens[role])["items"]], ["eu-1"])
    lists = ("/v1/tenants", "/v1/builds", "/v1/versions", "/v1/releases", "/v1/rollouts", "/v1/digests", "/v1/edges/feed?node=n")
    for line in subprocess.run([REGENT, "control", "--routes"], capture_output=True, text=True).stdout.split("\n")[:-1]:
        method, path = line.split(" ")
        files = {"files": {"policy.rego": "package q\n"}}
        body = None if method in ("GET", "DELETE") else {"/v1/tenants/{id}": files, "/v1/templates/{id}": files, "/v1/libraries/{id}": files, "/v1/tokens": {"name": "x", "role": "admin"},
                                                         "/v1/tenants/{id}/checks": []}.get(path, {})
        for role, token in tokens.items():
            for other in ("us-1", "eu-2"):
                if not path.startswith(("/v1/tenants/{id}", "/bundles/{id}", "/v1/edges/tenants/{id}")):
                    break
                at = re.sub(r"\{[^}]*\}", "x", path.replace("{id}", other, 1))
                status, reply, _ = c.call(method, at, body, token=token)
                check(f"{method} {at}: not for a scoped {role}", status in (400, 403, 404), (status, reply))
            if path.startswith(("/v1/templates", "/v1/libraries", "/v1/tokens", "/v1/audit")) and method != "GET" and "/tokens/{id}" not in path and not path.endswith("/try"):  # which changes nothing
                status, reply, _ = c.call(method, path.replace("{id}", "shared"), body, token=token)
                check(f"{method} {path}: what all share is not for a scoped {role}", status in (400, 403), (status, reply))
    for method, path, body in (("POST", "/v1/builds", {"tenants": ["us-1"]}), ("POST", "/v1/releases", {"tenant": "us-1", "version": "1-000000000000"}),
                               ("POST", "/v1/releases", {"tenants": ["eu-2"]}), ("PUT", "/v1/tenants/eu-9", {"labels": {"plan": "free"}}),
                               ("PUT", "/v1/tenants/us-9", {"labels": {"plan": "gold"}}), ("POST", "/v1/apply", {"tenants": {"us-1": {}}})):
        status, reply, _ = c.call(method, path, body, token=tokens["admin"])
        check(f"{method} {path} {str(body)[:60]}: not for a scoped admin", status in (400, 403, 404, 422), (status, reply))
    for path in lists:
        for role in ("admin", "viewer", "edge"):
            status, reply, _ = c.call("GET", path, token=tokens[role])
            text = json.dumps(reply)
            check(f"GET {path} tells a scoped {role} of no other tenant", "us-1" not in text and "eu-2" not in text, (status, text[:500]))
    after = {t: c.must("GET", "/v1/tenants/" + t) for t in before}
    equal("others are what they were", after, before)
    c.stop()


def guesses():
    for name, store in each_store():
        c = Control(store=store).start()
        equal(f"{name}: a good token is known", c.call("GET", "/v1/status")[0], 200)
        got = [call_from(c, "127.0.0.9", "GET", "/v1/status", f"rgt_{i:064x}") for i in range(14)]
        equal(f"{name}: ten guesses follow each other, then they have to wait", [s for s, _ in got], [401] * 10 + [429] * 4)
        check(f"{name}: Retry-After says how long", 1 <= int(got[-1][1]["Retry-After"]) <= 7, got[-1][1])
        equal(f"{name}: who has a good token and uses it is not kept out", call_from(c, "127.0.0.9", "GET", "/v1/status", c.token)[0], 200)
        equal(f"{name}: nor are other addresses", call_from(c, "127.0.0.10", "GET", "/v1/status", "rgt_x")[0], 401)
        equal(f"{name}: without a token nobody guesses", [call_from(c, "127.0.0.11", "GET", "/v1/status")[0] for _ in range(15)], [401] * 15)
        failed = c.items("/v1/audit?action=login.failed")
        check(f"{name}: the audit log has it, once a second at most", 1 <= len(failed) <= 3 and failed[0]["detail"]["address"].startswith("127."), failed)
        equal(f"{name}: the log has each", len(c.logged("login failed")), 11)
        for odd in ("", "x", "rgt_" + "a" * 5000, "rgt_'; DROP TABLE tokens; --"):
            equal(f"{name}: {odd[:30]!r} is nobody", call_from(c, f"127.0.1.{len(odd) % 200 + 1}", "GET", "/v1/status", odd or " ")[0], 401)
        status, _, headers = c.call("GET", "/v1/status", headers={"Authorization": "Basic dXNlcjpwYXNz"})
        equal(f"{name}: other schemes are nobody", (status, headers.get("www-authenticate")), (401, "Bearer"))
        c.stop()


# ---- changes ----
def once():
    for name, store in each_store():
        c = Control(store=store).start()
        key = {"Idempotency-Key": "k1"}
        body = {"name": "first", "role": "viewer"}
        equal(f"{name}: made", c.call("POST", "/v1/tokens", body, headers=key)[0], 201)
        equal(f"{name}: a repetition makes no second one, and cannot have the secret", code(c.call("POST", "/v1/tokens", body, headers=key)), (409, "already_done"))
        equal(f"{name}: another request by that key", code(c.call("POST", "/v1/tokens", {**body, "name": "x"}, headers=key)), (422, "key_reused"))
        equal(f"{name}: another's key is another key", c.call("POST", "/v1/tokens", {**body, "name": "y"}, headers=key, token=make(c, "admin")["token"])[0], 201)
        t = make(c, "viewer")
        first = c.call("DELETE", "/v1/tokens/" + t["id"], headers={"Idempotency-Key": "k2"})
        again = c.call("DELETE", "/v1/tokens/" + t["id"], headers={"Idempotency-Key": "k2"})
        equal(f"{name}: a repetition is answered alike, and says so", (first[0], again[0], again[2].get("idempotency-replayed")), (204, 204, "true"))
        equal(f"{name}: what was refused is not kept", [c.call("DELETE", "/v1/tokens/01NOPE", headers={"Idempotency-Key": "k3"})[0],
                                                        c.call("DELETE", "/v1/tokens/" + make(c, "viewer")["id"], headers={"Idempotency-Key": "k3"})[0]], [404, 204])
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            got = list(pool.map(lambda _: c.call("POST", "/v1/tokens", {"name": "twelve", "role": "viewer"}, headers={"Idempotency-Key": "k4"})[0], range(12)))
        equal(f"{name}: twelve at once by one key make one", sorted(got), [201] + [409] * 11)
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            got = list(pool.map(lambda _: c.call("POST", "/v1/tokens", {"name": "operators", "role": "viewer"})[0], range(12)))
        equal(f"{name}: twelve at once of one name make one", sorted(got), [201] + [409] * 11)
        document = {"files": {"policy.rego": "package p\n\nallow := true\n"}, "labels": {"n": "0"}}
        first = c.call("PUT", "/v1/tenants/acme", document, headers={"Idempotency-Key": "k5"})
        again = c.call("PUT", "/v1/tenants/acme", document, headers={"Idempotency-Key": "k5"})
        equal(f"{name}: the same answer with the same ETag", (again[0], again[1], again[2]["etag"]), (first[0], first[1], first[2]["etag"]))
        equal(f"{name}: and one change", c.must("GET", "/v1/audit?object=acme&action=tenant.*")["items"][1:], [])
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda i: c.call("PUT", "/v1/tenants/acme", {**document, "labels": {"n": str(i)}}, headers={"If-Match": first[2]["etag"]})[0], range(1, 9)))
        equal(f"{name}: of eight operators who read the same one is first, and the others are told", sorted(got), [200] + [412] * 7)
        for tag, status in (("*", 200), ("\"999\"", 412), ("\"1\", \"999\"", 412), ("x", 412), ("", 412), ("W/" + c.call("GET", "/v1/tenants/acme")[2]["etag"], 412)):
            equal(f"{name}: If-Match: {tag}", c.call("PUT", "/v1/tenants/acme", document, headers={"If-Match": tag})[0], status)
        for bad in ("", "a b", "x" * 256, "ä"):
            connection = http.client.HTTPConnection("127.0.0.1", c.port)
            connection.request("DELETE", "/v1/tokens/01NOPE", headers={"Authorization": "Bearer " + c.token, "Idempotency-Key": bad.encode()})
            equal(f"{name}: {bad[:9]!r} is no key", connection.getresponse().status, 400)
            connection.close()
        sql(store, f"UPDATE replies SET created_ms = {int((time.time() - 25 * 3600) * 1000)} RETURNING key")
        equal(f"{name}: after a day a key is new", c.call("POST", "/v1/tokens", {"name": "next day", "role": "viewer"}, headers=key)[0], 201)
        c.stop()


def pages():
    for name, store in each_store():
        c = Control(store=store).start()
        ids = [make(c, "viewer", name=f"t{i}")["id"] for i in range(12)]
        got, after, n = [], "", 0
        while True:
            page = c.must("GET", "/v1/tokens?limit=5" + after)
            got += [t["id"] for t in page["items"]]
            n += 1
            if "next" not in page:
                break
            after = "&after=" + page["next"]
        equal(f"{name}: thirteen tokens on three pages, in order", (n, set(got[1:]), got), (3, set(ids), sorted(got)))
        entries = c.must("GET", "/v1/audit?limit=1000")["items"]
        equal(f"{name}: the audit log counts down", [e["seq"] for e in entries], list(range(len(entries), 0, -1)))
        some = c.must("GET", "/v1/audit?limit=3&action=token.*")
        equal(f"{name}: its pages", [e["seq"] for e in c.must("GET", "/v1/audit?limit=3&action=token.*&after=" + some["next"])["items"]],
              [e["seq"] - 3 for e in some["items"]])
        equal(f"{name}: by object", [e["action"] for e in c.must("GET", "/v1/audit?object=" + ids[3])["items"]], ["token.create"])
        equal(f"{name}: by time", c.must("GET", "/v1/audit?since=2099-01-01T00:00:00Z")["items"], [])
        equal(f"{name}: by whom", {e["who"] for e in c.must("GET", "/v1/audit?who=test")["items"]}, {"test"})
        for bad in ("limit=0", "limit=1001", "limit=-1", "limit=x", "limit=99999999999999999999", "limit="):
            equal(f"{name}: {bad}", code(c.call("GET", "/v1/tokens?" + bad)), (400, "invalid_parameter"))
        for bad in ("since=yesterday", "until=2026-13-45T99:99:99Z", "after=x", "since=%00", "after=%"):
            equal(f"{name}: audit {bad}", c.call("GET", "/v1/audit?" + bad)[0], 400)
        c.stop()


# ---- what is said wrongly ----
HOSTILE = ["'; DROP TABLE tokens; --", "' OR '1'='1", "\\'); DELETE FROM audit; --", "$1", "%s%n", "\"; SELECT pg_sleep(9); --", "x' UNION SELECT hash FROM tokens --",
           "<script>alert(1)</script>", "../../etc/passwd", "a\u202eb", "😀" * 30]


def hostile_text():
    for name, store in each_store():
        c = Control(store=store).start()
        before = sql(store, "SELECT count(*) FROM audit")
        for text in HOSTILE:
            status, body, _ = c.call("POST", "/v1/tokens", {"name": text, "role": "viewer", "scopes": {"labels": {text: text}}})
            check(f"{name}: a name like {text[:24]!r} is a name", status == 201 and body["name"] == text and body["scopes"] == {"labels": {text: text}}, (status, body))
            for path in ("/v1/audit?who=", "/v1/audit?action=", "/v1/audit?object=", "/v1/tokens?after=", "/v1/audit?nothing="):
                status, body, _ = c.call("GET", path + "".join(f"%{b:02x}" for b in text.encode()))
                check(f"{name}: {path}{text[:12]!r}", status == 200, (status, body))
            for path in ("/v1/tokens/", "/v1/nothing/"):
                status, body, _ = c.call("DELETE", path + "".join(f"%{b:02x}" for b in text.encode()))
                check(f"{name}: {path}{text[:12]!r}", status in (400, 404), (status, body))
        equal(f"{name}: the names are found again", {e["detail"]["name"] for e in c.items("/v1/audit?who=test")}, set(HOSTILE))
        check(f"{name}: and all tables are there", int(sql(store, "SELECT count(*) FROM audit")) == int(before) + len(HOSTILE))
        bad_scopes = [[], "x", {"tenants": []}, {"tenants": "x"}, {"tenants": [1]}, {"tenants": ["a*b"]}, {"tenants": ["*a*"]}, {"tenants": ["a/b"]}, {"tenants": [""]},
                      {"tenants": ["x"] * 13}, {"tenants": ["' OR 1=1"]}, {"labels": {}}, {"labels": {"a": 1}}, {"labels": {"": "x"}}, {"labels": {"a": "x" * 256}},
                      {"labels": {str(i): "x" for i in range(5)}}, {"other": []}, {"tenants": ["a"], "more": 1}, {"labels": {"a\0": "x"}}, {"labels": {"a": "\0"}}]
        for scopes in bad_scopes:
            equal(f"{name}: scopes {str(scopes)[:40]}", code(c.call("POST", "/v1/tokens", {"name": "n", "role": "viewer", "scopes": scopes})), (400, "invalid_token"))
        for body in ({}, {"name": "x"}, {"name": 1, "role": "viewer"}, {"name": "x" * 128, "role": "viewer"}, {"name": "a\nb", "role": "viewer"}, {"name": "a\0b", "role": "viewer"},
                     {"name": "x", "role": "root"}, {"name": "x", "role": ["admin"]}, {"name": "x", "role": "viewer", "expires_in_s": 0},
                     {"name": "x", "role": "viewer", "expires_in_s": -1}, {"name": "x", "role": "viewer", "expires_in_s": 1.5}, {"name": "x", "role": "viewer", "expires_in_s": 10 ** 30}):
            equal(f"{name}: {str(body)[:60]}", code(c.call("POST", "/v1/tokens", body)), (400, "invalid_token"))
        c.stop()


def bodies():
    c = Control().start()

    def post(body, kind="application/json"):
        return c.call("POST", "/v1/tokens", body, headers={"Content-Type": kind} if kind else {})
    status, body, _ = post('{\n  "name": "x",\n  "role": oops}')
    equal("bad JSON has a place", (status, body["code"], body["errors"][0]["location"]), (400, "invalid_json", {"file": "body", "row": 3, "col": 11}))
    for text in ("", "[]", "null", "1", "\"x\"", "{", "{}{}", "{\"a\":", "[" * 100000, "{\"a\":" * 20000, b"\xff\xfe", b"\0"):
        equal(f"{text[:12]!r} is no body", code(post(text)), (400, "invalid_json"))
    equal("invalid UTF-8 in a text", post(b'{"name": "a\xff", "role": "viewer"}')[0], 400)
    equal("an unknown member", code(post('{"name": "x", "role": "viewer", "rolle": 1}')), (400, "unknown_member"))
    equal("another type", code(post('{"name": "x", "role": "viewer"}', "application/x-www-form-urlencoded")), (415, "unsupported_media_type"))
    equal("no type", post('{"name": "no type", "role": "viewer"}', None)[0], 201)
    equal("a type with more", post('{"name": "charset", "role": "viewer"}', "application/json; charset=utf-8")[0], 201)
    big = b'{"name": "' + b"x" * (63 << 20) + b'", "role": "viewer"}'
    equal("63 MiB of a name", code(post(big)), (400, "invalid_token"))
    many = b'{"scopes": [' + b"1," * (20 << 20) + b"1]}"
    status, body, _ = post(many)
    check("twenty million numbers", status in (400, 413) and "code" in body, (status, body))
    with socket.create_connection(("127.0.0.1", c.port)) as s:
        s.sendall(b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 70000000\r\n\r\n")
        equal("more than 64 MiB", s.recv(100).split(b" ")[1], b"413")
    equal("the server is well", c.call("GET", "/health")[0], 200)
    c.stop()


def many_bodies():
    """Half a gibibyte of unfinished requests is held, and no more, whoever sends them."""
    c = Control().start()
    block, waiting, answers = b"x" * (1 << 20), [], []
    for i in range(14):
        s = socket.create_connection(("127.0.0.1", c.port))
        s.settimeout(10)
        waiting.append(s)
        try:
            s.sendall(b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 67000000\r\n\r\n")
            for _ in range(60):
                s.sendall(block)
        except OSError:
            pass
    for s in waiting:
        s.setblocking(False)
        try:
            answers.append(s.recv(100).split(b" ")[1])
        except OSError:
            answers.append(b"")
    equal("nine of 60 MiB are held, the others are refused", (answers[:8], set(answers[9:])), ([b""] * 8, {b"503"}))
    with open(f"/proc/{c.process.pid}/status") as f:
        peak = int([l for l in f if l.startswith("VmHWM")][0].split()[1]) >> 10
    check("memory stays within bounds", peak < 1400, f"{peak} MiB")
    equal("others are served meanwhile", c.call("GET", "/v1/status")[0], 200)
    equal("small requests too", c.call("POST", "/v1/tokens", {"name": "small", "role": "viewer"})[0], 201)
    for s in waiting:
        s.close()
    equal("large ones when there is room again", wait_for(lambda: c.call("POST", "/v1/tokens", b'{"name": "' + b"x" * (50 << 20) + b'"}', headers={"Content-Type": "application/json"})[0] == 400, 5), True)
    c.stop()


def paths():
    c = Control().start()

    def get(path, method="GET", **more):
        return c.call(method, path, **more)
    equal("nothing is there", code(get("/v1/nothing")), (404, "no_such_route"))
    status, body, headers = get("/v1/audit", "POST")
    equal("another method", (status, body["code"], headers["allow"]), (405, "method_not_allowed", "GET, HEAD"))
    equal("several methods", get("/v1/tokens", "PUT")[2]["allow"], "GET, HEAD, POST")
    for method in ("BREW", "OPTIONS", "TRACE", "PATCH"):
        equal(f"{method} is no method of /health", get("/health", method)[0], 405)
    status, body, headers = get("/v1/tokens", "HEAD")
    check("HEAD is GET without a body", status == 200 and body == b"" and int(headers["content-length"]) > 20, (status, body, headers))
    for path in ("/v1/tokens/", "//v1/tokens", "/v1//tokens", "/v1/tokens/x/y", "/V1/tokens", "/v1/tokens%2f", "/v1/%74okens", "/v1/./tokens", "/v1/../v1/tokens"):
        equal(f"{path} is no path", get(path)[0] in (404, 405), True)
    for bad in (".x", "..", "a%2fb", "a%00b", "a%", "a%zz", "%ff", "a%20b", "x" * 128, "%2e%2e%2f", "a%0ab", "%3cscript%3e"):
        equal(f"DELETE of {bad[:20]} ", code(get("/v1/tokens/" + bad, "DELETE")), (400, "invalid_id"))
    equal("a path of 70,000 bytes", get("/" + "x" * 70000)[0] in (414, 431), True)
    status, body, headers = get("/", token=False)
    check("a page for people", status == 200 and b"openapi.json" in body and headers["content-type"].startswith("text/html"), (status, headers))
    status, body, headers = get("/health", token=False)
    equal("health needs no token", (status, body), (200, {"status": "ok"}))
    status, body, _ = get("/v1/openapi.json", token=False)
    equal("nor does the description", (status, body["openapi"]), (200, "3.1.0"))
    keys = c.must("GET", "/v1/signing-keys", token=False)["keys"]
    check("nor do the public keys", len(keys) == 1 and keys[0]["alg"] == "ES256" and "d" not in keys[0], keys)
    equal("the drawn key is nobody else's", oct(os.stat(c.folder + "/signing.pem").st_mode & 0o777), "0o600")
    status = c.must("GET", "/v1/status")
    check("status", status["store"] == "sqlite" and status["tenants"] == 0 and status["process"], status)
    text = c.call("GET", "/metrics")[1].decode()
    check("metrics count by route and class", 'regent_control_requests_total{method="DELETE",route="none",status="4xx"}' not in text
          and re.search(r'regent_control_requests_total\{method="",route="none",status="4xx"\} \d+', text)
          and re.search(r'regent_control_requests_total\{method="GET",route="/health",status="2xx"\} 1', text), text[:1500])
    promtool = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    check("promtool likes the metrics", promtool.returncode == 0, promtool.stdout + promtool.stderr)
    c.stop()


# ---- TLS ----
def authority(base):
    def run(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for ca in ("ca", "other"):
        run("req", "-x509", *key, "-subj", f"/CN={ca}", "-days", "2", "-keyout", f"{base}/{ca}.key", "-out", f"{base}/{ca}.crt")
    for name, ca in (("server", "ca"), ("edge7", "ca"), ("stranger", "other")):
        with open(f"{base}/{name}.ext", "w") as f:
            f.write("subjectAltName=IP:127.0.0.1\n")
        run("req", *key, "-subj", f"/O=Example/CN={name}", "-keyout", f"{base}/{name}.key", "-out", f"{base}/{name}.csr")
        run("x509", "-req", "-in", f"{base}/{name}.csr", "-CA", f"{base}/{ca}.crt", "-CAkey", f"{base}/{ca}.key", "-CAcreateserial", "-days", "2",
            "-extfile", f"{base}/{name}.ext", "-out", f"{base}/{name}.crt")


def certificates():
    base = TMP + "/tls"
    os.makedirs(base)
    authority(base)
    c = Control("--tls-cert", base + "/server.crt", "--tls-key", base + "/server.key", "--client-ca", base + "/ca.crt", token="none yet").start()
    once = re.search(r"One-time admin token[^:]*: (\S+)", open(c.out).read())[1]
    check("its address begins with https", "Console: https://127.0.0.1:" in open(c.out).read())

    def call(method, path, who=None, token=None, body=None):
        context = ssl.create_default_context(cafile=base + "/ca.crt")
        if who:
            context.load_cert_chain(f"{base}/{who}.crt", f"{base}/{who}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", c.port, context=context, timeout=20)
        try:
            connection.request(method, path, json.dumps(body) if body else None,
                               {**({"Authorization": "Bearer " + token} if token else {}), **({"Content-Type": "application/json"} if body else {})})
            reply = connection.getresponse()
            data = reply.read()
            return reply.status, json.loads(data) if data else None
        except (ssl.SSLError, ConnectionError) as e:
            return 0, str(e)
        finally:
            connection.close()
    equal("health over TLS", call("GET", "/health"), (200, {"status": "ok"}))
    equal("without a certificate or token nobody is anybody", call("GET", "/v1/tokens/self")[0], 401)
    status, body = call("GET", "/v1/tokens/self", "edge7")
    equal("a certificate is an edge, by its subject", (status, body["role"], "edge7" in body["name"]), (200, "edge", True))
    for path in ("/v1/status", "/v1/tokens", "/v1/audit", "/metrics"):
        equal(f"and may not do more: {path}", call("GET", path, "edge7")[0], 403)
    status, body = call("GET", "/v1/tokens/self", "stranger")
    check("another authority's certificate is nobody's", status in (0, 401), (status, body))
    status, body = call("POST", "/v1/tokens", "edge7", once, {"name": "tls", "role": "admin"})
    equal("a token beside a certificate is what counts", status, 201)
    equal("a wrong token beside a good certificate is refused", call("GET", "/v1/tokens/self", "edge7", "rgt_no")[0], 401)
    equal("admins by token, over TLS", call("GET", "/v1/tokens", None, body["token"])[0], 200)

    def served():
        return ssl.get_server_certificate(("127.0.0.1", c.port))
    before = served()
    with open(base + "/server.crt", "rb+") as f:
        kept = f.read()
        f.seek(0)
        f.write(b"broken")
    c.process.send_signal(signal.SIGHUP)
    check("a certificate that is wrong is logged", wait_for(lambda: c.logged("certificates stay as they were"), 5))
    equal("and changes nothing", served(), before)
    os.makedirs(base + "/new")
    authority(base + "/new")
    for name in ("server.crt", "server.key", "ca.crt"):
        os.replace(f"{base}/new/{name}", f"{base}/{name}")
    c.process.send_signal(signal.SIGHUP)
    check("a new one is served", wait_for(lambda: served() != before, 5) and kept)
    equal("and works", call("GET", "/health")[0], 200)
    equal("edges of the CA that was are nobody now", call("GET", "/v1/tokens/self", "edge7")[0] in (0, 401), True)
    with socket.create_connection(("127.0.0.1", c.port)) as s:
        s.settimeout(15)
        s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        check("plain HTTP is not answered", b"200" not in s.recv(100))
    c.stop()


# ---- what it is told ----
def told():
    base = TMP + "/told"
    os.makedirs(base)
    path = base + "/control.yaml"

    def check_with(text, *flags, env=None):
        with open(path, "w") as f:
            f.write(text)
        done = subprocess.run([REGENT, "control", "--check", "--config", path, *flags], capture_output=True, text=True, cwd=base,
                              env={**os.environ, **(env or {})})
        return done.returncode, done.stdout + done.stderr
    good = f"store: sqlite:{base}/s.db\nblobs: dir:{base}/b\naddr: 127.0.0.1:0\nsigning-key: [{base}/a.pem]\npurge: varnish:http://127.0.0.1:1\nbuild-threads: 2\nrelease-manually: true\n"
    equal("a good file", check_with(good), (0, ""))
    for text, place, word in (("stoer: x\n", "control.yaml:1:1", "stoer"), ("addr: x\nstore: 5\n", "control.yaml:2:8", "a text"),
                              ("build-threads: many\n", "control.yaml:1:16", "a number"), ("build-threads: -1\n", "control.yaml:1:16", "a number"),
                              ("release-manually: perhaps\n", "control.yaml:1:19", "true or false"), ("purge: [1]\n", "control.yaml:1:8", "list"),
                              ("a: [\n", "control.yaml:2:1", ""), ("- x\n", "control.yaml:1:1", "object"), ("addr: a\naddr: b\n", "control.yaml:2:1", ""),
                              ("addr: {x: 1}\n", "control.yaml:1:7", "a text")):
        status, said = check_with(text)
        check(f"{text.strip()[:30]!r} is wrong at {place}", status == 1 and place in said and word in said, (status, said))
    for flags, word in ((["--tls-cert", "x"], "--tls-key"), (["--client-ca", "x"], "--tls-cert"), (["--lease-ms", "-5"], "--lease-ms"),
                        (["--log-level", "loud"], "--log-level"), (["more"], "more"), (["--nothing"], "nothing")):
        status, said = check_with("", *flags)
        check(f"{' '.join(flags)} is wrong", status == 1 and word in said, (status, said))
    status, said = check_with("", env={"REGENT_CONTROL_BUILD_THREADS": "x"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(base + "/notify")
        systemd.settimeout(10)
        c = Control(env={"NOTIFY_SOCKET": base + "/notify"}).start()
        equal("systemd hears that it is ready", systemd.recv(100), b"READY=1")
        c.stop()
        equal("and about to stop", systemd.recv(100), b"STOPPING=1")
    check("a wrong variable is named", status == 1 and "REGENT_CONTROL_BUILD_THREADS" in said, said)
    done = subprocess.run([REGENT, "control", "--store", "postgres://127.0.0.1:1/x", "--blobs", "s3://b?endpoint=http://127.0.0.1:1&region=x"], cwd=base, capture_output=True, text=True)
    check("no database, no start", done.returncode == 1 and "127.0.0.1" in done.stderr, done.stderr)
    done = subprocess.run([REGENT, "control", "--addr", "127.0.0.1:0", "--store", f"sqlite:{base}/k.db", "--blobs", f"dir:{base}/kb", "--signing-key", base + "/none.pem"], cwd=base, capture_output=True, text=True)
    check("a named key has to be there", done.returncode == 1 and "none.pem" in done.stderr and not os.path.exists(base + "/none.pem"), done.stderr)
    c = Control(name="told1")
    os.makedirs(base + "/run", exist_ok=True)
    port = free_port()
    with open(path, "w") as f:
        f.write(f"addr: 127.0.0.1:1\nstore: sqlite:{base}/s.db\nblobs: dir:{base}/nothing\nlog-level: error\n")
    process = subprocess.Popen([REGENT, "control", "-c", path, "--addr", f"127.0.0.1:{port}"], cwd=base + "/run", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**os.environ, "REGENT_CONTROL_ADDR": "127.0.0.1:2", "REGENT_CONTROL_BLOBS": f"dir:{base}/b2", "REGENT_CONTROL_LOG_LEVEL": "info"})
    c.port = port
    check("flags win over the environment, that over the file", wait_for(lambda: c.call("GET", "/health", token=False)[0] == 200, 10))
    stop(process)
    said = process.stdout.read().decode()
    check("its log level came from the environment", '"ready"' in said, said)
    for store, word in ((f"sqlite:{base}/no/such/folder/x.db", "folder"), ("mysql://x", "mysql"), ("", "")):
        done = subprocess.run([REGENT, "control", "--addr", "127.0.0.1:0", *(["--store", store] if store else ["--addr", "nowhere"])], cwd=base, capture_output=True, text=True, timeout=20)
        check(f"it does not start with {store or '--addr nowhere'!r}, and says why", done.returncode == 1 and word in done.stderr and "error:" in done.stderr, done.stderr)
    a = Control().start()
    done = subprocess.run([REGENT, "control", "--store", f"sqlite:{base}/z.db", "--blobs", f"dir:{base}/zb", "--addr", f"127.0.0.1:{a.port}"], cwd=base, capture_output=True, text=True, timeout=20)
    check("nor at an address that is taken", done.returncode == 1 and "cannot listen" in done.stderr, done.stderr)
    a.stop()


# ---- the store and the end ----
def store_gone():
    if not postgres_bin():
        return check("a store that goes away # SKIP PostgreSQL is not installed", True)
    server = Postgres()
    c = Control(store=server.database()).start()
    equal("well at first", c.call("GET", "/v1/tokens")[0], 200)
    server.stop(signal.SIGQUIT)
    status, body, _ = c.call("GET", "/health")
    equal("then the store is gone", (status, body["status"]), (503, "store_unavailable"))
    status, body, headers = c.call("GET", "/v1/tokens")
    equal("and calls say so", (status, body["code"], "retry-after" in headers), (503, "store_unavailable", True))
    equal("a token that was not seen lately cannot be looked up", c.call("GET", "/v1/tokens", token="rgt_unseen")[0], 503)
    check("metrics say so too", c.call("GET", "/metrics")[0] == 503)
    server.start()
    check("it is well again with the store", wait_for(lambda: c.call("GET", "/v1/tokens")[0] == 200, 10))
    c.stop()
    server.stop()


def reads_beside_changes():
    """Changes that wait for each other hold up nobody who only looks."""
    if not postgres_bin():
        return check("reads beside changes # SKIP PostgreSQL is not installed", True)
    server = Postgres()
    store = server.database()
    c = Control(store=store).start()
    holder = subprocess.Popen([server.bin + "/psql", "-XAtq", "-d", store], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdin.write(b"BEGIN; SELECT * FROM counters WHERE name = 'change' FOR UPDATE;\n")
    holder.stdin.flush()
    holder.stdout.readline()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        changes = [pool.submit(c.call, "POST", "/v1/tokens", {"name": f"w{i}", "role": "viewer"}) for i in range(40)]
        time.sleep(0.5)
        times = []
        for _ in range(20):
            began = time.monotonic()
            equal_status = c.call("GET", "/v1/tokens")[0]
            times.append((time.monotonic() - began, equal_status))
        check("forty changes that wait hold up no reading", max(t for t, _ in times) < 1 and {s for _, s in times} == {200}, times)
        check("they still wait", not any(f.done() for f in changes))
        holder.stdin.write(b"COMMIT;\n")
        holder.stdin.close()
        holder.wait(10)
        equal("and are all made in the end", {f.result()[0] for f in changes}, {201})
    c.stop()
    server.stop()


def end_under_load():
    for name, store in each_store():
        c = Control(store=store).start()
        answers, broken, stop_now = [], [], threading.Event()

        def hammer(i):
            n = 0
            while not stop_now.is_set():
                n += 1
                try:
                    answers.append(c.call("POST", "/v1/tokens", {"name": f"h{i}-{n}", "role": "viewer"}, seconds=15)[0])
                except ConnectionRefusedError:
                    return
                except OSError as e:
                    broken.append(repr(e))
                    return
                except http.client.HTTPException as e:
                    broken.append(repr(e))
                    return
        threads = [threading.Thread(target=hammer, args=(i,)) for i in range(6)]
        for t in threads:
            t.start()
        time.sleep(1)
        began = time.monotonic()
        result = c.stop()
        took = time.monotonic() - began
        stop_now.set()
        for t in threads:
            t.join()
        equal(f"{name}: ends well under load", result, 0)
        check(f"{name}: soon", took < 5, took)
        check(f"{name}: who was heard was answered", not [b for b in broken if "reset" not in b.lower()] and len(broken) <= 2, broken)
        equal(f"{name}: {len(answers)} answers, each a success", set(answers), {201})
        n = int(sql(store, "SELECT count(*) FROM tokens WHERE name LIKE 'h%'"))
        check(f"{name}: what was answered is in the store", len(answers) <= n <= len(answers) + len(broken), (n, len(answers), broken))
        c.start()
        equal(f"{name}: and starts again", c.call("GET", "/v1/status")[0], 200)
        equal(f"{name}: the audit log is whole", subprocess.run([REGENT, "audit", "verify", "--store", store], capture_output=True).returncode, 0)
        c.stop()


if __name__ == "__main__":
    run_parts([first_token, lifetimes, rights, scoped, guesses, once, pages, hostile_text, bodies, many_bodies, paths, certificates, told, store_gone, reads_beside_changes, end_under_load])
