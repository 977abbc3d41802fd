"""The command line as a client of a real control plane: profiles, apply and export, imports from real databases, tokens; at terminals too.

in:  BUILD, OPA. out: TAP lines; exit status 1 when a case fails. owns: the control planes, databases and terminals it starts."""
import glob
import http.server
import json
import os
import pty
import re
import select
import shutil
import sqlite3
import stat
import subprocess
import threading
import time

from control_lib import REGENT, ROOT, TMP, Control, Postgres, check, equal, free_port, postgres_bin, run_parts

EXAMPLE = os.path.join(ROOT, "examples", "control")
MANY = int(os.environ.get("REGENT_CLIENT_TENANTS", "1000"))


class Done:
    def __init__(self, code, out, err, took):
        self.code, self.out, self.err, self.took = code, out, err, took

    def __repr__(self):
        return f"exit {self.code}\n{self.out}\n{self.err}"


def environment(control=None, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("REGENT_") or k == "REGENT_CACHE"}
    env["REGENT_CONFIG"] = os.path.join(TMP, "no-profiles.yaml")
    if control:
        env.update(REGENT_URL=control.url, REGENT_TOKEN=control.token)
    env.update(more)
    return env


def regent(control, *words, stdin="", **env):
    """The command, without a terminal."""
    began = time.time()
    done = subprocess.run([REGENT, *words], input=stdin, capture_output=True, text=True, env=environment(control, **env), timeout=120)
    return Done(done.returncode, done.stdout, done.stderr, time.time() - began)


def terminal(control, *words, keys=(), **env):
    """The command at a terminal of its own: keys are (what it waits to see, what is typed then)."""
    master, slave = pty.openpty()
    process = subprocess.Popen([REGENT, *words], stdin=slave, stdout=slave, stderr=slave, close_fds=True,
                               env=environment(control, TERM="xterm", **env), start_new_session=True)
    os.close(slave)
    seen, keys, end = "", list(keys), time.time() + 60
    while time.time() < end:
        if select.select([master], [], [], 0.05)[0]:
            try:
                part = os.read(master, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part.decode("utf-8", "replace")
        elif process.poll() is not None:
            break
        if keys and keys[0][0] in seen:
            os.write(master, keys.pop(0)[1].encode())
    os.close(master)
    if process.poll() is None:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return Done(process.returncode, seen, "", 0)


def folder(name):
    target = os.path.join(TMP, "repo-" + name)
    shutil.copytree(EXAMPLE, target)
    return target


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def edit(path, old, new):
    text = open(path).read()
    assert old in text, (path, old)
    write(path, text.replace(old, new))


def files(path):
    found = {}
    for base, _, names in os.walk(path):
        for name in names:
            whole = os.path.join(base, name)
            found[os.path.relpath(whole, path)] = open(whole).read()
    return found


def plan(done):
    """The counts of create, update, delete of JSON output."""
    got = json.loads(done.out)
    return [len(got[verb]) for verb in ("create", "update", "delete")]


class Stranger(http.server.ThreadingHTTPServer):
    """A server that is no control plane: answers what it is told, and notes what it is asked."""
    daemon_threads = True

    def __init__(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.asked.append((self.command, self.path, dict(self.headers)))
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(length)
                status, reply, headers = answer(self.command, self.path, body, len(server.asked))
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_PUT = do_DELETE = do_GET

            def log_message(self, *words):
                pass

        self.asked = []
        server = self
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.token = "stranger"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


# ---- where and who ----

def addresses():
    done = regent(None, "get", "tenants")
    check("without an address: exit 1 and what to do", done.code == 1 and "regent login" in done.err, done)
    done = regent(None, "get", "tenants", "--url", "http://127.0.0.1:1")
    check("without a token: exit 1", done.code == 1 and "no token" in done.err, done)
    for url, says in (("http://192.0.2.1", "for this machine only"), ("ftp://127.0.0.1", "no address"), ("https://a@b", "no address"),
                      ("https://", "no address"), ("https://x/?q", "no address")):
        done = regent(None, "get", "tenants", "--url", url, REGENT_TOKEN="t")
        check(f"{url} is refused", done.code == 1 and says in done.err, done)
    began = time.time()
    done = regent(None, "get", "tenants", "--url", f"http://127.0.0.1:{free_port()}", REGENT_TOKEN="t")
    check("nobody there: exit 1, at once", done.code == 1 and "Failed to connect" in done.err and time.time() - began < 5, done)
    html = Stranger(lambda *q: (200, b"<html>", {"content-type": "text/html"}))
    done = regent(html, "get", "tenants")
    check("a web server is no control plane", done.code == 1 and "control plane of Regent" in done.err, done)
    html = Stranger(lambda *q: (404, b"<html>", {"content-type": "text/html"}))
    done = regent(html, "apply", "-f", EXAMPLE)
    check("nor is one that answers 404", done.code == 1 and "answered 404" in done.err, done)
    bad = Stranger(lambda *q: (403, {"code": "for\x1b[2Jbidden", "message": "no \x1b]0;title\x07\r\nway",
                                     "errors": [{"code": "c", "message": "m\x1b", "location": {"file": "f", "row": 1, "col": 2}}]}, {}))
    done = regent(bad, "get", "tenants")
    check("control characters of errors are not printed", done.code == 1 and "\x1b" not in done.err and "f:1:2: c: m?" in done.err, done)
    elsewhere = Stranger(lambda *q: (302, b"", {"location": html.url + "/stolen"}))
    done = regent(elsewhere, "get", "tenants")
    check("redirects are not followed", done.code == 1 and not [p for _, p, _ in html.asked if "stolen" in p], done)
    done = regent(None, "get", "tenants", "--url", html.url, "--token-file", TMP + "/none")
    check("a token file that is not there", done.code == 1 and "No such file" in done.err, done)
    write(TMP + "/token", "  tok-en \n")
    regent(None, "get", "tenants", "--url", html.url, "--token-file", TMP + "/token")
    equal("a token file's white space is not sent", html.asked[-1][2].get("authorization"), "Bearer tok-en")


def retries():
    def answer(method, path, body, n):
        return (503, {"code": "overload", "message": "m"}, {"retry-after": "0"}) if n < 3 else (201, {"id": "i", "token": "made"}, {})
    busy = Stranger(answer)
    done = regent(busy, "token", "ci", "--role", "author")
    equal("503 is asked again", (done.code, done.out), (0, "made\n"))
    keys = {h.get("idempotency-key") for _, _, h in busy.asked}
    check("with one idempotency key", len(busy.asked) == 3 and len(keys) == 1 and None not in keys, busy.asked)
    never = Stranger(lambda *q: (503, {"code": "overload", "message": "too busy"}, {"retry-after": "0"}))
    done = regent(never, "get", "tenants")
    check("and given up in the end", done.code == 1 and "overload: too busy" in done.err and 2 <= len(never.asked) <= 10, done)
    loop = Stranger(lambda *q: (200, {"items": [], "next": "same"}, {}))
    done = regent(loop, "get", "tenants")
    check("pages that go in circles end", done.code == 1 and "circles" in done.err, done)


def profiles():
    control = Control(name="profiles").start()
    conf = os.path.join(TMP, "conf", "deep", "profiles.yaml")
    once = control.must("POST", "/v1/tokens", {"name": "lasting", "role": "viewer"})["token"]
    done = regent(None, "login", control.url, "--profile", "main", stdin=once + "\n", REGENT_CONFIG=conf)
    check("login keeps a profile", done.code == 0 and os.path.exists(conf), done)
    equal("for its owner only", [stat.S_IMODE(os.stat(p).st_mode) for p in (conf, os.path.dirname(conf))], [0o600, 0o700])
    check("without printing the token", once not in done.out + done.err, done)
    done = regent(None, "get", "tenants", REGENT_CONFIG=conf)
    equal("which get uses", done.code, 0)
    done = regent(None, "login", control.url, "--profile", "other", stdin="rgt_wrong\n", REGENT_CONFIG=conf)
    check("a wrong token is not kept", done.code == 1 and "unauthorized" in done.err and "other" not in open(conf).read(), done)
    done = regent(None, "login", control.url, stdin="", REGENT_CONFIG=conf)
    check("nor is none", done.code == 1 and "no token" in done.err, done)
    os.chmod(conf, 0o640)
    done = regent(None, "get", "tenants", REGENT_CONFIG=conf)
    check("a profile that others may read is refused", done.code == 1 and "chmod 600" in done.err, done)
    os.chmod(conf, 0o600)
    done = regent(None, "get", "tenants", "--profile", "nobody", REGENT_CONFIG=conf)
    check("an unknown profile", done.code == 1 and "no profile" in done.err, done)
    thief = Stranger(lambda *q: (200, {"items": []}, {}))
    done = regent(None, "get", "tenants", "--url", thief.url, REGENT_CONFIG=conf)
    check("a profile's token does not go elsewhere", done.code == 1 and not thief.asked, done)
    done = regent(None, "get", "tenants", "--profile", "main", "--url", thief.url, REGENT_CONFIG=conf)
    check("even if the profile is named", done.code == 1 and not thief.asked, done)
    write(conf + ".bad", "profiles: [1, 2\n")
    os.chmod(conf + ".bad", 0o600)
    done = regent(None, "get", "tenants", REGENT_CONFIG=conf + ".bad")
    check("a broken file: its place", done.code == 1 and conf + ".bad:" in done.err, done)
    seen = terminal(None, "login", control.url, "--profile", "typed", keys=[("Token", once + "\n")], REGENT_CONFIG=conf)
    check("at a terminal the token is asked for, and not shown", seen.code == 0 and once not in seen.out, seen)
    done = regent(None, "logout", REGENT_CONFIG=conf)
    text = open(conf).read()
    check("logout forgets the current one", done.code == 0 and "typed" not in text and "main" in text, done)
    equal("but not a token that login did not make", control.call("GET", "/v1/tokens/self", token=once)[0], 200)


def first_token():
    """The one-time token of the first start becomes a lasting one."""
    control = Control(name="first", token="not yet").start()
    once = re.search(r"One-time admin token[^:]*: (\S+)", open(control.out).read())[1]
    conf = os.path.join(TMP, "first.yaml")
    done = regent(None, "login", control.url, "--name", "me", stdin=once + "\n", REGENT_CONFIG=conf)
    equal("login by the one-time token", done.code, 0)
    equal("which is gone", control.call("GET", "/v1/tokens/self", token=once)[0], 401)
    done = regent(None, "get", "tokens", "-o", "json", REGENT_CONFIG=conf)
    equal("for one with the name asked for", [t["name"] for t in json.loads(done.out)], ["me"])
    done = regent(None, "token", "ci", "--role", "author", "--tenant", "eu-*", "--label", "plan=gold", "--expires", "30d", REGENT_CONFIG=conf)
    check("a token for a pipeline", done.code == 0 and re.fullmatch(r"rgt_\w+\n", done.out), done)
    made = control.must("GET", "/v1/tokens/self", token=done.out.strip())
    equal("with its role and scopes", (made["role"], made["scopes"]), ("author", {"tenants": ["eu-*"], "labels": {"plan": "gold"}}))
    check("and its end", made["expires_at"], made)
    token = done.out.strip()
    equal("taken back", regent(None, "token", "--revoke", made["id"], REGENT_CONFIG=conf).code, 0)
    equal("it opens nothing", control.call("GET", "/v1/tokens/self", token=token)[0], 401)
    for words in (["x", "--role", "king"], ["x", "--role", "viewer", "--expires", "soon"], ["x", "--expires", "1d"], ["x", "--role", "viewer", "--label", "a"],
                  ["--role", "viewer"], ["x", "y", "--role", "viewer"]):
        equal(f"token {' '.join(words)}: exit 1", regent(None, "token", *words, REGENT_CONFIG=conf).code, 1)
    done = regent(None, "token", "e", "--role", "edge", "--file", TMP + "/edge.token", REGENT_CONFIG=conf)
    check("to a file, for its owner only", done.code == 0 and done.out == "" and stat.S_IMODE(os.stat(TMP + "/edge.token").st_mode) == 0o600, done)
    equal("that opens", control.call("GET", "/v1/tokens/self", token=open(TMP + "/edge.token").read().strip())[1]["role"], "edge")
    done = regent(None, "token", "ops", "reload")
    check("tokens of edges are made as before", done.code == 0 and "sha256:" in done.out, done)
    kept = re.search(r'token: "(\S+)"', open(conf).read())[1]
    equal("logout", regent(None, "logout", REGENT_CONFIG=conf).code, 0)
    equal("takes back the token that login made", control.call("GET", "/v1/tokens/self", token=kept)[0], 401)


def certificates():
    """TLS: who has no reason to trust the control plane sends no token."""
    folder_, name = TMP + "/tls", "/tls/cert.pem"
    os.makedirs(folder_)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder_ + "/key.pem", "-out", TMP + name],
                   check=True, capture_output=True)
    control = Control("--tls-cert", TMP + name, "--tls-key", folder_ + "/key.pem", name="tls", token="not yet").start()
    once = re.search(r"One-time admin token[^:]*: (\S+)", open(control.out).read())[1]
    url, conf = f"https://localhost:{control.port}", TMP + "/tls.yaml"
    done = regent(None, "login", url, stdin=once + "\n", REGENT_CONFIG=conf)
    check("a certificate that nobody vouches for: refused", done.code == 1 and "certificate" in done.err.lower() and not os.path.exists(conf), done)
    done = regent(None, "login", url, "--ca-file", TMP + name, stdin=once + "\n", REGENT_CONFIG=conf)
    equal("with its CA", done.code, 0)
    equal("which the profile keeps", regent(None, "get", "tenants", REGENT_CONFIG=conf).code, 0)
    done = regent(None, "get", "tenants", "--url", f"http://127.0.0.1:{control.port}", "--token-file", conf)
    check("http to a port of https: exit 1", done.code == 1, done)


def roles():
    """What a token may not do is refused, and nothing of it is done."""
    control = Control(name="roles").start()
    base = folder("roles")
    equal("apply as an admin", regent(control, "apply", "-f", base).code, 0)
    tokens = {}
    for role, scopes in (("viewer", {}), ("releaser", {}), ("edge", {}), ("author", {"tenants": ["acme"]})):
        tokens[role] = control.must("POST", "/v1/tokens", {"name": role, "role": role, "scopes": scopes} if scopes else {"name": role, "role": role})["token"]
    edit(base + "/policies/acme/tenant.yaml", "plan: gold", "plan: silver")
    done = regent(control, "apply", "-f", base, "--dry-run", REGENT_TOKEN=tokens["viewer"])
    check("a viewer sees the plan", done.code == 0 and "~ tenant acme" in done.out, done)
    for role in ("viewer", "releaser"):
        done = regent(control, "apply", "-f", base, REGENT_TOKEN=tokens[role])
        check(f"a {role} applies nothing", done.code == 1 and "forbidden" in done.err, done)
    equal("edges not even that", regent(control, "apply", "-f", base, "--dry-run", REGENT_TOKEN=tokens["edge"]).code, 1)
    done = regent(control, "apply", "-f", base, REGENT_TOKEN=tokens["author"])
    check("an author of acme alone does not add what is hidden", done.code in (1, 2) and "error: " in done.err, done)
    alone = TMP + "/acme-alone"
    shutil.copytree(base + "/policies/acme", alone + "/policies/acme")
    done = regent(control, "apply", "-f", alone, "--delete", "--yes", REGENT_TOKEN=tokens["author"])
    check("and cannot delete templates", done.code == 1 and control.call("GET", "/v1/templates/shop")[0] == 200, done)
    equal("but changes acme", regent(control, "apply", "-f", alone, REGENT_TOKEN=tokens["author"]).code, 0)
    seen = [t["id"] for t in json.loads(regent(control, "get", "tenants", "-o", "json", REGENT_TOKEN=tokens["author"]).out)]
    equal("and sees it alone", seen, ["acme"])


def by_hand():
    """Where versions are released by hand, an author builds, and does not release."""
    control = Control("--release-manually", name="by-hand").start()
    base = folder("by-hand")
    author = control.must("POST", "/v1/tokens", {"name": "author", "role": "author"})["token"]
    done = regent(control, "apply", "-f", base, REGENT_TOKEN=author)
    check("an author applies", done.code == 0 and "2 built" in done.out, done)
    equal("nothing is released", control.must("GET", "/v1/tenants/acme")["version"], None)
    tenant = control.must("GET", "/v1/tenants/acme")["spec"]
    tenant["labels"]["plan"] = "own"
    status, body, _ = control.call("PUT", "/v1/tenants/acme?release=true", tenant, token=author)
    equal("nor if the author asks for it", (status, body["code"]), (403, "forbidden"))
    status, body, _ = control.call("POST", "/v1/apply?release=true", {"tenants": {"acme": tenant}}, token=author)
    equal("nor by apply", (status, body["code"]), (403, "forbidden"))
    version = control.items("/v1/tenants/acme/versions")[0]["version"]
    equal("nor by releasing", regent(control, "release", "acme", version, REGENT_TOKEN=author).code, 1)
    equal("whoever may does", regent(control, "release", "acme", version).code, 0)


# ---- looking, releasing ----

def looking():
    control = Control(name="looking").start()
    base = folder("looking")
    equal("apply", regent(control, "apply", "-f", base).code, 0)
    for kind, word in (("tenants", "acme"), ("templates", "shop"), ("libraries", "common"), ("builds", "apply"), ("edges", "NODE"), ("rollouts", "WAVE"),
                       ("tokens", "test")):
        done = regent(control, "get", kind)
        check(f"get {kind}", done.code == 0 and word in done.out, done)
        check(f"get {kind} -o json", isinstance(json.loads(regent(control, "get", kind, "-o", "json").out), list))
    equal("one thing", json.loads(regent(control, "get", "tenant", "acme").out)["spec"]["labels"]["plan"], "gold")
    for words in (["get"], ["get", "things"], ["get", "versions"], ["get", "tenants", "-o", "xml"], ["get", "tenant", "nobody"], ["get", "tenant", "../tokens"],
                  ["get", "edges", "-l", "a=b"], ["get", "tenants", "-l", "plan"], ["release", "acme"], ["release", "acme", "9-none"], ["release", "nobody", "--rollback"],
                  ["suspend"], ["suspend", "nobody"], ["activate", "a/b"]):
        done = regent(control, *words)
        check(f"{' '.join(words)}: exit 1, and why", done.code == 1 and done.err.startswith("error: "), done)
    first = control.must("GET", "/v1/tenants/acme")["version"]
    write(base + "/policies/acme/data.json", '{"blocked": ["mallory", "zoe"], "counting": false}')
    equal("another version, kept back", regent(control, "apply", "-f", base, "--no-release").code, 0)
    versions = [v["version"] for v in json.loads(regent(control, "get", "versions", "acme", "-o", "json").out)]
    equal("there are two, the first is current", (len(versions), control.must("GET", "/v1/tenants/acme")["version"]), (2, first))
    other = next(v for v in versions if v != first)
    done = regent(control, "release", "acme", other)
    check("released", done.code == 0 and f"{other} is current now" in done.out, done)
    done = regent(control, "release", "acme", other)
    check("again: nothing new", done.code == 0 and "was current already" in done.out, done)
    done = regent(control, "release", "acme", "--rollback")
    check("and back", done.code == 0 and f"{first} is current now" in done.out, done)
    done = regent(control, "get", "releases", "acme")
    check("as the list of releases has it", done.code == 0 and "rollback" in done.out and other in done.out, done)
    equal("suspended", (regent(control, "suspend", "acme").code, control.must("GET", "/v1/tenants/acme")["status"]), (0, "suspended"))
    equal("active", (regent(control, "activate", "acme").code, control.must("GET", "/v1/tenants/acme")["status"]), (0, "active"))


# ---- apply and export ----

def stores():
    yield "sqlite", None
    if postgres_bin():
        stores.server = Postgres()
        yield "postgres", stores.server.database()
    else:
        print("# no PostgreSQL is installed: apply is tried on SQLite only")


def apply_and_export():
    for name, store in stores():
        workflow(Control(name="apply-" + name, store=store).start(), name)


def workflow(control, name):
    base = folder(name)
    done = regent(control, "apply", "-f", base, "--dry-run")
    check(f"{name}: dry run", done.code == 0 and "+ template shop" in done.out and "+ tenant acme" in done.out and
          "Plan: 6 to create, 0 to update, 0 to delete, 0 unchanged." in done.out, done)
    equal(f"{name}: which changes nothing", control.items("/v1/tenants"), [])
    done = regent(control, "apply", "-f", base)
    check(f"{name}: apply", done.code == 0 and "done:" in done.out, done)
    check(f"{name}: without colours or progress", "\x1b" not in done.out + done.err and "\r" not in done.out + done.err, done)
    versions = {t: control.items(f"/v1/tenants/{t}/versions") for t in ("acme", "globex")}
    equal(f"{name}: what is active was built", [len(v) for v in versions.values()], [1, 1])
    done = regent(control, "apply", "-f", base)
    check(f"{name}: again: no changes", done.code == 0 and "No changes: 6 unchanged." in done.out, done)

    out = os.path.join(TMP, "export-" + name)
    done = regent(control, "export", "-o", out)
    check(f"{name}: export", done.code == 0 and "1 templates, 2 libraries, 3 tenants" in done.out, done)
    rego = {p for p in files(base) if p.endswith(".rego")}
    equal(f"{name}: the same rego files", {p: t for p, t in files(out).items() if p in rego}, {p: t for p, t in files(base).items() if p in rego})
    done = regent(control, "apply", "-f", out, "--delete", "--yes")
    check(f"{name}: apply of an export: no changes", done.code == 0 and "No changes" in done.out, done)
    done = regent(control, "export", "-o", out)
    check(f"{name}: not into a folder that is not empty", done.code == 1 and "--force" in done.err, done)
    write(out + "/policies/old/policy.rego", "package old\n")
    write(out + "/README.md", "mine\n")
    done = regent(control, "export", "-o", out, "--force")
    check(f"{name}: --force takes away what is not there any more, and nothing else",
          done.code == 0 and not os.path.exists(out + "/policies/old") and os.path.exists(out + "/README.md"), done)

    # as Git would: a template, a library, data, one commit after the other
    edit(base + "/templates/shop/policy.rego", '"the user is blocked"', '"this user is blocked"')
    done = regent(control, "apply", "-f", base, "-o", "json")
    equal(f"{name}: a template's change", plan(done), [0, 1, 0])
    equal(f"{name}: builds its tenants", json.loads(done.out)["build"]["succeeded"], 2)
    edit(base + "/shared/utils.rego", '[amount, currency]', '[amount + 0, currency]')
    done = regent(control, "apply", "-f", base, "-o", "json")
    got = json.loads(done.out)
    equal(f"{name}: a library's", (done.code, plan(done), got["update"]), (0, [0, 1, 0], [{"kind": "library", "id": "utils"}]))
    equal(f"{name}: builds those that import it", got["build"]["succeeded"], 2)
    os.remove(base + "/policies/globex/data.json")
    with open(base + "/policies/globex/tenant.yaml", "a") as f:
        f.write("data: {blocked: [eve]}\n")
    done = regent(control, "apply", "-f", base, "-o", "json")
    equal(f"{name}: data", (plan(done), json.loads(done.out)["build"]["total"]), ([0, 1, 0], 1))

    broken(control, name, base)
    deletions(control, name, base)
    operators(control, name, base)


def broken(control, name, base):
    path = base + "/policies/acme/policy.rego"
    good = open(path).read()
    before = control.items("/v1/tenants/acme/versions")
    write(path, good + "\nallow if {\n  input.x ==\n}\n")
    done = regent(control, "apply", "-f", base)
    check(f"{name}: rego that does not parse: the file's own path, exit 2", done.code == 2 and re.search(re.escape(path) + r":\d+: rego_parse_error", done.err), done)
    done = regent(control, "apply", "-f", base, "-o", "json")
    got = json.loads(done.out)["errors"][0]["location"]
    equal(f"{name}: as JSON too", (done.code, got["file"]), (2, path))
    write(path, good + "\nreasons contains x\n")
    done = regent(control, "apply", "-f", base)
    check(f"{name}: what the compiler refuses fails the build, exit 2", done.code == 2 and "tenant acme:" in done.err and path + ":" in done.err, done)
    done = regent(control, "apply", "-f", base)
    check(f"{name}: and is not sent again", done.code == 0 and "No changes" in done.out, done)
    equal(f"{name}: the tenant keeps its version", control.items("/v1/tenants/acme/versions"), before)
    write(path, good)
    equal(f"{name}: repaired", regent(control, "apply", "-f", base).code, 0)


def deletions(control, name, base):
    gone = TMP + "/gone-" + name
    shutil.move(base + "/policies/globex", gone)
    done = regent(control, "apply", "-f", base)
    check(f"{name}: what is not in the folder stays", "No changes" in done.out, done)
    done = regent(control, "apply", "-f", base, "--delete")
    check(f"{name}: --delete without a terminal wants --yes", done.code == 1 and "- tenant globex" in done.out and "--yes" in done.err, done)
    seen = terminal(control, "apply", "-f", base, "--delete", keys=[("[y/N]", "n\n")])
    check(f"{name}: a terminal is asked", seen.code == 1 and "nothing was changed" in seen.out and "\x1b[31m- tenant globex" in seen.out, seen)
    equal(f"{name}: and no means no", control.call("GET", "/v1/tenants/globex")[0], 200)
    seen = terminal(control, "apply", "-f", base, "--delete", keys=[("[y/N]", "y\n")])
    check(f"{name}: yes means yes", seen.code == 0 and control.call("GET", "/v1/tenants/globex")[0] == 404, seen)
    shutil.move(gone, base + "/policies/globex")
    done = regent(control, "apply", "-f", base, "-o", "json")
    equal(f"{name}: and back again", (done.code, plan(done)), (0, [1, 0, 0]))


def operators(control, name, base):
    """Another one changes acme between the plan and its being applied."""
    edit(base + "/policies/acme/tenant.yaml", "plan: gold", "plan: platinum")
    gate = Gate(control)
    done = regent(gate, "apply", "-f", base)
    check(f"{name}: two operators: refused", done.code == 1 and "conflict" in done.err and "Somebody else" in done.err, done)
    got = control.must("GET", "/v1/tenants/acme")["spec"]["labels"]["plan"]
    equal(f"{name}: the other one's change stays", got, "theirs")
    done = regent(control, "apply", "-f", base)
    equal(f"{name}: planned anew it works", done.code, 0)


class Gate(Stranger):
    """Passes everything on, but has somebody else's change come before POST /v1/apply."""

    def __init__(self, control):
        def answer(method, path, body, n):
            if path == "/v1/apply":
                spec = control.must("GET", "/v1/tenants/acme")["spec"]
                spec["labels"]["plan"] = "theirs"
                control.must("PUT", "/v1/tenants/acme", spec, headers={"If-Match": "*"})
            status, reply, _ = control.call(method, path, body or None, headers={"content-type": "application/json"})
            return status, reply, {}
        super().__init__(answer)
        self.token = control.token


def terminals():
    control = Control(name="terminal").start()
    base = folder("terminal")
    seen = terminal(control, "apply", "-f", base)
    check("a terminal gets colours and progress", seen.code == 0 and "\x1b[32m+ template shop" in seen.out and "built" in seen.out and "\r" in seen.out, seen)
    edit(base + "/shared/utils.rego", '[amount, currency]', '[amount + 0, currency]')
    seen = terminal(control, "apply", "-f", base, "--dry-run", NO_COLOR="1")
    check("but not with NO_COLOR", seen.code == 0 and "\x1b[" not in seen.out and "~ library utils" in seen.out, seen)
    done = regent(control, "apply", "-f", base, "--no-release", "--wait=false")
    check("--wait=false does not wait", done.code == 0 and "goes on" in done.out, done)


def hostile_names():
    """A server that names what lies outside of the folder."""
    bad = [("tenants", "../evil", {}), ("tenants", "..", {}), ("tenants", "a/b", {}), ("tenants", "", {}),
           ("templates", "ok", {"files": {"../../evil.rego": "package x"}}), ("templates", "ok", {"files": {"/etc/evil.rego": "package x"}}),
           ("templates", "ok", {"files": {"a/../../evil.rego": "package x"}}), ("templates", "ok", {"files": {"evil.sh": "x"}}),
           ("templates", "ok", {"files": {".git/hooks.rego": "x"}}), ("libraries", "ok", {"files": {"a//b.rego": "x"}})]
    for i, (kind, id, spec) in enumerate(bad):
        def answer(method, path, body, n):
            if path.startswith("/v1/" + kind + "?"):
                return 200, {"items": [{"id": id, "spec": spec}]}, {}
            return (200, {"items": []}, {}) if "?" in path else (200, {"id": id, "spec": spec}, {})
        inside = os.path.join(TMP, f"cage{i}", "inside")
        os.makedirs(os.path.dirname(inside))
        done = regent(Stranger(answer), "export", "-o", inside)
        outside = [p for p in files(os.path.dirname(inside)) if not p.startswith("inside/")]
        check(f"{kind} {id!r} {list(spec.get('files', {}))}: refused, nothing outside", done.code == 1 and not outside and
              not [p for p in files(inside) if "evil" in p], (done, outside))
    inside = os.path.join(TMP, "linked")
    os.makedirs(inside)
    os.makedirs(TMP + "/target")
    os.symlink(TMP + "/target", inside + "/policies")

    def answer(method, path, body, n):
        if path.startswith("/v1/tenants?"):
            return 200, {"items": [{"id": "a", "spec": {"data": {"x": 1}}}]}, {}
        return (200, {"items": []}, {}) if "?" in path else (200, {"id": "a", "spec": {"data": {"x": 1}}}, {})
    done = regent(Stranger(answer), "export", "-o", inside, "--force")
    check("nor through a link", done.code == 1 and not os.listdir(TMP + "/target"), done)


def odd_values():
    """Values that YAML might take for something else come back from an export as they were."""
    control = Control(name="odd").start()
    texts = ["yes", "no", "NO", "on", "null", "~", "", " ", "007", "1e3", "1.50", "0x1f", "2026-01-01", "a: b", "- a", "#x", "a #b", "'", '"', "\\", "\n", "a\nb\n",
             "\t", "\x7f", "\x85", "\u2028", "\ufeff", "\U0001f600", "é", "{a}", "[a]", "*a", "&a", "!a", "%a", "@a", "`a", "|", ">", "a\u0301", "true", "Null", "<<", "=", "x" * 3000]
    numbers = ["1", "-1", "0", "1.5", "-0.25", "1e3", "1.50", "1E+2", "123456789012345678", "0.1", "1e-7"]
    parameters = {f"T{i}": {"type": "string", "default": t, "description": t.replace("\x7f", "")} for i, t in enumerate(texts)}
    body = json.dumps({"files": {"p.rego": "package p\nallow := true\n"}, "description": "\n".join(texts).replace("\x7f", "")[:2000], "parameters": parameters})
    more = "".join(f', "N{i}": {{"type": "number", "default": {n}, "enum": [{n}, 7]}}' for i, n in enumerate(numbers))
    body = body.replace('"parameters": {', '"parameters": {"B": {"type": "boolean", "default": false, "required": false}', 1).replace('{"B": {"type": "boolean", "default": false, "required": false}',
                        '{"B": {"type": "boolean", "default": false, "required": false}' + more + ", ", 1)
    status, reply, _ = control.call("PUT", "/v1/templates/odd", body, headers={"Content-Type": "application/json"})
    equal("odd values of a template are taken", (status, reply if status > 201 else ""), (201, ""))
    steady = json.dumps({"template": {"id": "odd"}, "parameters": {f"T{i}": t for i, t in enumerate(texts)}, "labels": {"plan": "yes", "a/b.c-d": "1.0"}})
    control.must("PUT", "/v1/tenants/yaml", steady, headers={"Content-Type": "application/json"})
    numbered = '{"template": {"id": "odd"}, "parameters": {' + ", ".join(f'"N{i}": {n}' for i, n in enumerate(numbers)) + "}}"
    control.must("PUT", "/v1/tenants/json", numbered, headers={"Content-Type": "application/json"})
    control.must("PUT", "/v1/tenants/nothing", {})
    out = TMP + "/odd-out"
    equal("exported", regent(control, "export", "-o", out).code, 0)
    check("YAML where it is safe, JSON where it is not", sorted(p for p in files(out) if "tenant." in p) ==
          ["policies/json/tenant.json", "policies/nothing/tenant.yaml", "policies/yaml/tenant.yaml"], sorted(files(out)))
    done = regent(control, "apply", "-f", out, "--delete", "--yes", "-o", "json")
    equal("and they come back as they were", (done.code, plan(done) if done.code == 0 else done), (0, [0, 0, 0]))


def bad_folders():
    base = folder("bad")
    os.symlink("/etc/hostname", base + "/policies/acme/link.rego")
    write(base + "/policies/acme/check.json", "{}")
    write(base + "/policies/globex/tenant.yaml", "template: {id: shop}\nlables: {plan: free}\nlabels: {plan: [free]}\n")
    write(base + "/policies/globex/data.json", '{"a": }')
    write(base + "/policies/two words/tenant.yaml", "{}")
    write(base + "/templates/shop/template.yml", "description: twice\n")
    write(base + "/shared/common/common.rego", "package common\n")
    done = regent(None, "apply", "-f", base, REGENT_URL="http://127.0.0.1:1", REGENT_TOKEN="t")
    check("a folder with mistakes: exit 2, without asking anybody", done.code == 2 and "connect" not in done.err, done)
    for says in ("acme/link.rego: neither", "acme/check.json: tenant.yaml, data.json and checks.json", "globex/tenant.yaml:2: document_error: lables: ",
                 "globex/tenant.yaml:3: document_error: labels.plan: ", "globex/data.json:1: io_error", "policies/two words: ", "template.yml: ",
                 "two libraries of one name"):
        check(f"it says {says}", says in done.err, done)
    base = folder("twice")
    with open(base + "/policies/acme/tenant.yaml", "a") as f:
        f.write("data: {x: 1}\n")
    with open(base + "/policies/globex/tenant.yaml", "a") as f:
        f.write("files: {a.rego: package a}\n")
    done = regent(None, "apply", "-f", base, REGENT_URL="http://127.0.0.1:1", REGENT_TOKEN="t")
    check("data twice, files in the wrong place", done.code == 2 and "acme/tenant.yaml: data is given" in done.err and "globex/tenant.yaml: files are" in done.err, done)
    for path, says in ((TMP + "/none", "no such folder"), (TMP, "none of templates/"), (base + "/templates/shop/policy.rego", "no such folder")):
        done = regent(None, "apply", "-f", path, REGENT_URL="http://127.0.0.1:1", REGENT_TOKEN="t")
        check(f"apply -f {os.path.basename(path)}: exit 2", done.code == 2 and says in done.err, done)
    equal("without -f: exit 1", regent(None, "apply").code, 1)


# ---- import ----

QUERY = "SELECT tenant_id, state, plan, region, amount FROM customers ORDER BY tenant_id"
MAP = "id=tenant_id,status=state,label.plan=plan,parameter.REGION=region,parameter.MAX_AMOUNT=amount"
TABLE = "CREATE TABLE customers (tenant_id TEXT, state TEXT, plan TEXT, region TEXT, amount INTEGER)"


def rows_sql(rows):
    def cell(v):
        return "NULL" if v is None else str(v) if isinstance(v, int) else "'" + v.replace("'", "''") + "'"
    return "".join("INSERT INTO customers VALUES (" + ",".join(map(cell, r)) + ");" for r in rows)


class SqliteSource:
    def __init__(self, name):
        self.path = f"{TMP}/{name}.db"
        self.url = "sqlite:" + self.path
        self.do(TABLE)

    def do(self, sql):
        with sqlite3.connect(self.path) as c:
            c.executescript(sql)
        c.close()


class PostgresSource:
    def __init__(self, server):
        self.server, self.url = server, server.database()
        self.do(TABLE)

    def do(self, sql):
        self.server.sql(sql, self.url, must=True)


def imports():
    import_from("sqlite", SqliteSource("crm"))
    if postgres_bin():
        import_from("postgres", PostgresSource(getattr(stores, "server", None) or Postgres()))
    else:
        print("# no PostgreSQL is installed: imports are tried from SQLite only")


def import_from(name, source):
    control = Control(name="import-" + name).start()
    base = folder("import-" + name)
    shutil.rmtree(base + "/policies")
    equal(f"{name}: templates from the folder", regent(control, "apply", "-f", base).code, 0)
    control.must("PUT", "/v1/tenants/handmade", {"template": {"id": "shop"}, "parameters": {"REGION": "eu"}})
    flags = ["--from", source.url, "--query", QUERY, "--map", MAP, "--template", "shop", "--status-active", "live", "--label", "source=crm"]
    done = regent(control, "import", *flags, "--yes")
    check(f"{name}: no rows: refused", done.code == 1 and "no rows" in done.err, done)
    source.do(rows_sql([("t1", "live", "gold", "eu", 5), ("t2", "live", "it's; DROP TABLE customers", "us", None), ("t3", "gone", None, "eu", 7),
                        ("t4", "live", "free", "apac", 1)]))
    before = open(source.path, "rb").read() if name == "sqlite" else None
    done = regent(control, "import", *flags, "--dry-run")
    check(f"{name}: dry run", done.code == 0 and "Plan: 4 to create" in done.out and "+ tenant t3: suspended" in done.out, done)
    equal(f"{name}: changes nothing", len(control.items("/v1/tenants")), 1)
    done = regent(control, "import", *flags, "--yes", "-o", "json")
    equal(f"{name}: import", (done.code, plan(done)), (0, [4, 0, 0]))
    spec = control.must("GET", "/v1/tenants/t1")["spec"]
    equal(f"{name}: members by the map", (spec["parameters"], spec["labels"], spec["template"]["id"]),
          ({"REGION": "eu", "MAX_AMOUNT": 5}, {"plan": "gold", "source": "crm"}, "shop"))
    spec = control.must("GET", "/v1/tenants/t2")["spec"]
    equal(f"{name}: NULL leaves a parameter out, SQL in a value is a text", (spec["parameters"], spec["labels"]["plan"]),
          ({"REGION": "us"}, "it's; DROP TABLE customers"))
    done = regent(control, "import", *flags, "--yes", "-o", "json")
    equal(f"{name}: again: no changes", (plan(done), json.loads(done.out)["unchanged"]), ([0, 0, 0], 4))
    if before:
        check(f"{name}: the file is as it was", open(source.path, "rb").read() == before and glob.glob(source.path + "*") == [source.path])

    control.must("PUT", "/v1/tenants/t1", {**control.must("GET", "/v1/tenants/t1")["spec"], "data": {"blocked": ["x"]}}, headers={"If-Match": "*"})
    source.do("UPDATE customers SET plan = 'silver' WHERE tenant_id = 't1'; DELETE FROM customers WHERE tenant_id = 't4'")
    done = regent(control, "import", *flags, "--dry-run", "--missing", "suspend")
    check(f"{name}: changes and suspensions shown", "~ tenant t1\n" in done.out and "~ tenant t4: suspended" in done.out and "handmade" not in done.out, done)
    done = regent(control, "import", *flags, "--dry-run", "--missing", "remove")
    check(f"{name}: removals shown", "- tenant t4" in done.out and "handmade" not in done.out, done)
    done = regent(control, "import", *flags, "--dry-run")
    check(f"{name}: or kept", "t4" not in done.out and "1 tenants have no row" in done.out, done)
    equal(f"{name}: suspended", regent(control, "import", *flags, "--yes", "--missing", "suspend").code, 0)
    equal(f"{name}: the rest of a tenant stays", control.must("GET", "/v1/tenants/t1")["spec"]["data"], {"blocked": ["x"]})
    equal(f"{name}: t4", control.must("GET", "/v1/tenants/t4")["spec"].get("status"), "suspended")

    source.do("UPDATE customers SET state = 'gone'")
    done = regent(control, "import", *flags, "--yes")
    check(f"{name}: mass suspension refused", done.code == 1 and "more than half" in done.err and control.must("GET", "/v1/tenants/t1")["spec"].get("status", "active") == "active", done)
    equal(f"{name}: the dry run says so too", regent(control, "import", *flags, "--dry-run").code, 1)
    equal(f"{name}: unless it is meant", regent(control, "import", *flags, "--yes", "--force").code, 0)
    equal(f"{name}: all are suspended", {control.must("GET", "/v1/tenants/" + t)["spec"].get("status") for t in ("t1", "t2")}, {"suspended"})
    bad_rows(control, name, source, flags)
    bad_queries(control, name, source, flags)


def bad_rows(control, name, source, flags):
    source.do("DELETE FROM customers; " + rows_sql([(None, "live", "p", "eu", 1), ("../x", "live", "p", "eu", 1), ("t1", "live", "p", "eu", 1),
                                                    ("t1", "live", "p", "eu", 1), ("u1", None, "p", "eu", 1), ("u2", "live", "p", "moon", 1)]))
    query = "SELECT * FROM customers"
    done = regent(control, "import", *flags, "--query", query, "--yes")
    check(f"{name}: bad rows: exit 2, nothing is changed", done.code == 2 and "nothing was changed" in done.err, done)
    for says in ("row 1: the id is NULL", 'row 2: "../x" cannot be', "row 4: t1 is in row 3 too", "row 5: the status is NULL", "row 6: u2: parameters.REGION"):
        check(f"{name}: it says {says}", says in done.err, done)
    done = regent(control, "import", "--from", source.url, "--query", "SELECT 'a' AS i, 'x' AS n", "--map", "id=i,parameter.MAX_AMOUNT=n", "--template", "shop", "--dry-run")
    check(f"{name}: a text where a number is wanted", done.code == 2 and "row 1: parameter MAX_AMOUNT" in done.err, done)
    done = regent(control, "import", "--from", source.url, "--query", "SELECT 'a' AS i, 'odd' AS s", "--map", "id=i,status=s", "--dry-run")
    check(f"{name}: a status that is none", done.code == 2 and "--status-active" in done.err, done)


def bad_queries(control, name, source, flags):
    def ask(query, *more, map="id=i"):
        return regent(control, "import", "--from", source.url, "--query", query, "--map", map, "--template", "shop", "--dry-run", *more)
    for query in ("DROP TABLE customers", "DELETE FROM customers RETURNING tenant_id AS i", "SELECT 1 AS i; DROP TABLE customers", "SELECT 1 AS i) AS a; DROP TABLE customers; --",
                  "", "SELEC", "SELECT 'a' AS j"):
        done = ask(query)
        check(f"{name}: {query[:40]!r} is refused", done.code == 1, done)
    check(f"{name}: the table is there", regent(control, "import", *flags, "--query", "SELECT 'q' AS tenant_id, 'live' AS state, 'p' AS plan, 'eu' AS region, 1 AS amount "
                                                "FROM (SELECT count(*) AS n FROM customers) AS c WHERE n = 6 -- a comment", "--dry-run").code == 0)
    for map in ("", "x=i", "id", "status=i", "id=i,id=i", "label.=i,id=i"):
        equal(f"{name}: --map {map!r} is refused", ask("SELECT 'a' AS i", map=map).code, 1)
    done = regent(control, "import", "--from", "mysql://h/d", "--query", "q", "--map", "id=i")
    check(f"{name}: MySQL is not supported, and said so", done.code == 1 and "MySQL" in done.err, done)
    done = regent(control, "import", "--from", "sqlite:" + TMP + "/none.db", "--query", "SELECT 1 AS i", "--map", "id=i")
    check(f"{name}: a file that is not there is not made", done.code == 1 and not os.path.exists(TMP + "/none.db"), done)


# ---- many ----

def many():
    control = Control(name="many").start()
    base = folder("many")
    for i in range(MANY):
        write(f"{base}/policies/t{i:05}/tenant.yaml", "template: {id: shop}\nparameters: {REGION: eu, MAX_AMOUNT: %d}\nlabels: {wave: w%d}\n" % (i + 1, i % 7))
    done = regent(control, "apply", "-f", base, "--wait=false")
    check(f"{MANY} tenants are sent quickly: {done.took:.1f} s", done.code == 0 and done.took < 20 * MANY / 1000, done.err)
    done = regent(control, "apply", "-f", base, "-o", "json")
    check(f"compared quickly: {done.took:.1f} s", done.code == 0 and json.loads(done.out)["unchanged"] == MANY + 6 and done.took < 5 * MANY / 1000, done.err)
    out = os.path.join(TMP, "many-out")
    done = regent(control, "export", "-o", out)
    check(f"exported quickly: {done.took:.1f} s", done.code == 0 and len(os.listdir(out + "/policies")) == MANY + 3 and done.took < 20 * MANY / 1000, done.err)
    done = regent(control, "apply", "-f", out, "--delete", "--yes", "-o", "json")
    equal("and an export of them is what they are", plan(done), [0, 0, 0])
    done = regent(control, "get", "tenants", "-l", "wave=w3", "-o", "json")
    equal("by label", len(json.loads(done.out)), len([i for i in range(MANY) if i % 7 == 3]))
    done = regent(control, "get", "tenants", "--limit", "5")
    check("a table of some", done.out.count("shop") == 5 and "--limit 0" in done.out, done)
    builds = [b["id"] for b in control.items("/v1/builds")]
    equal("all of it was one build", len(builds), 1)


def restarts():
    """kill -9 of the control plane while apply sends: it is sent again, once each."""
    control = Control(name="restarts").start()
    base = folder("restarts")
    for i in range(1200):
        write(f"{base}/policies/r{i:04}/tenant.yaml", "template: {id: shop}\nparameters: {REGION: us}\n")
    process = subprocess.Popen([REGENT, "apply", "-f", base, "--wait=false", "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=environment(control))
    while not control.logged("request", path="/v1/apply") and process.poll() is None:
        time.sleep(0.01)
    control.kill()
    control.start()
    out, err = process.communicate(timeout=60)
    check("apply goes on after the control plane's death", process.returncode == 0 and len(json.loads(out)["create"]) == 1206, err)
    equal("with all tenants", len(control.items("/v1/tenants")), 1203)
    done = regent(control, "apply", "-f", base)
    check("and nothing is left to do", "No changes" in done.out, done)
    equal("in one build", len(control.items("/v1/builds?cause=apply")), 1)


run_parts([addresses, retries, profiles, first_token, certificates, roles, by_hand, looking, bad_folders, odd_values, hostile_names, apply_and_export, terminals, imports,
           many, restarts])
