"""Stores as operators meet them: the same cases on PostgreSQL as on SQLite, servers that go away, full and damaged disks, tampering.

in: BUILD, PostgreSQL's programs. out: TAP lines. owns: its processes and folders."""
import concurrent.futures
import os
import resource
import signal
import sqlite3
import subprocess
import time

from control_lib import (BUILD, REGENT, TMP, Control, Postgres, check, equal, finish, run_parts, wait_for)  # noqa: F401

postgres = Postgres()


def unit_tests_on_postgres():
    for name in ("test_control_db", "test_control_audit"):
        done = subprocess.run([f"{BUILD}/tests/unit/{name}"], env={**os.environ, "REGENT_TEST_STORE": postgres.database(), "CMOCKA_MESSAGE_OUTPUT": "stdout"}, capture_output=True, text=True)
        check(f"{name} on PostgreSQL", done.returncode == 0 and "PASSED" in done.stdout + done.stderr, done.stdout + done.stderr)


def stores():
    return {"SQLite": None, "PostgreSQL": postgres.database()}


def sql(control, text):
    """Changes a store behind its control plane's back."""
    if control.store.startswith("sqlite:"):
        with sqlite3.connect(control.store[7:]) as db:
            return db.executescript(text)
    return postgres.sql(text, control.store, must=True)


def verify(control, *flags, api=False):
    where = ["--url", control.url] if api else ["--store", control.store]
    return subprocess.run([REGENT, "audit", "verify", *where, *flags], env={**os.environ, "REGENT_TOKEN": control.token}, capture_output=True, text=True)


# ---- the audit log ----

TAMPERING = {
    "a changed entry": "UPDATE audit SET who = 'nobody' WHERE seq = 4",
    "a removed entry": "DELETE FROM audit WHERE seq = 4",
    "an inserted entry": "INSERT INTO audit SELECT 0, at_ms, who, action, object, detail, hash FROM audit WHERE seq = 4",
    "a removed end": "DELETE FROM audit WHERE seq > 3; UPDATE counters SET value = 3, note = (SELECT hash FROM audit WHERE seq = 3) WHERE name = 'audit'",
}


def tampering_is_found():
    for engine, store in stores().items():
        c = Control(store=store).start()
        for i in range(4):
            c.must("POST", "/v1/tokens", {"name": f"é{i}", "role": "viewer"})
        before = verify(c)
        head = before.stdout.split("\n")[1] if before.returncode == 0 else ""
        check(f"{engine}: the log is whole", before.returncode == 0 and head.startswith("6:"), before.stdout + before.stderr)
        equal(f"{engine}: by the API too, with the same end", verify(c, "--expect", head, api=True).stdout, before.stdout)
        saved = "CREATE TABLE saved AS SELECT * FROM audit; CREATE TABLE saved_counters AS SELECT * FROM counters"
        sql(c, saved)
        for what, change in TAMPERING.items():
            sql(c, change)
            for api in (False, True):
                by = "API" if api else "store"
                done = verify(c, "--expect", head, "-f", "json", api=api)
                check(f"{engine}: {what} is found by the {by}", done.returncode == 2 and '"ok": false' in done.stdout, done.stdout + done.stderr)
            sql(c, "DELETE FROM audit; INSERT INTO audit SELECT * FROM saved; DELETE FROM counters; INSERT INTO counters SELECT * FROM saved_counters")
        equal(f"{engine}: whole again", verify(c, "--expect", head).returncode, 0)
        # The counter's row can tell without an expected entry.
        sql(c, "DELETE FROM audit WHERE seq = 6")
        done = verify(c)
        check(f"{engine}: a missing end is found by the counter", done.returncode == 2 and "entry 6" in done.stdout, done.stdout)
        equal(f"{engine}: a wrong --expect is a usage error", verify(c, "--expect", "6:abc").returncode, 1)
        c.stop()
    nowhere = subprocess.run([REGENT, "audit", "verify", "--store", f"sqlite:{TMP}/nowhere.db"], capture_output=True, text=True)
    check("a store that is not there is exit 1, and is not made", nowhere.returncode == 1 and not os.path.exists(f"{TMP}/nowhere.db"), nowhere.stderr)


# ---- PostgreSQL that goes away ----

def status(control):
    try:
        return control.call("GET", "/v1/tokens", seconds=10)[0]
    except OSError as e:
        return str(e)


def a_restarted_server_is_found_again():
    server = Postgres()
    c = Control(store=server.database()).start()
    d = Control(store=c.store, token=c.token).start()
    equal("the API answers", status(c), 200)
    for how, name in ((signal.SIGINT, "shut down"), (signal.SIGQUIT, "killed")):
        server.stop(how)
        code, body, headers = c.call("GET", "/v1/tokens")
        check(f"503 with Retry-After while the server is {name}", code == 503 and "retry-after" in headers, (code, body, headers))
        equal(f"nobody is let in, nor refused, while it is {name}", c.call("GET", "/v1/tokens", token="rgt_" + "0" * 64)[0], 503)
        check("the process lives on", c.process.poll() is None)
        server.start()
        check(f"the API answers again after it was {name}", wait_for(lambda: status(c) == 200, 10), status(c))
        made = c.must("POST", "/v1/tokens", {"name": name, "role": "viewer"})
        equal("another process sees the change", d.call("GET", "/v1/status", token=made["token"])[0], 200)
    equal("the log is whole", verify(c).returncode, 0)
    equal("it ends well", (c.stop(), d.stop()), (0, 0))
    server.stop()


def certificate(folder, name):
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                           "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.crt"], capture_output=True)
    if done.returncode:
        raise RuntimeError(done.stderr)


def tls_to_the_server():
    server = Postgres()
    certificate(server.folder, "server")
    certificate(server.folder, "other")
    if server.user:
        os.chown(server.folder + "/server.key", server.user.pw_uid, server.user.pw_gid)
    os.chmod(server.folder + "/server.key", 0o600)
    os.chmod(server.folder + "/server.crt", 0o644)
    server.stop()
    server.settings += ["ssl=on", f"ssl_cert_file={server.folder}/server.crt", f"ssl_key_file={server.folder}/server.key"]
    server.start()
    url = server.database().replace("127.0.0.1", "localhost") + f"?sslmode=verify-full&sslrootcert={server.folder}/"
    c = Control(store=url + "server.crt").start()
    of_ours = "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'regent'"
    equal("the API answers over TLS", {status(c) for _ in range(10)}, {200})
    check("all connections are over TLS", server.sql(f"SELECT bool_and(ssl) {of_ours}") == "t")
    before = server.sql(f"SELECT pid {of_ours} ORDER BY pid")
    equal("it answers again", {status(c) for _ in range(10)}, {200})
    equal("by the connections that it had", server.sql(f"SELECT pid {of_ours} ORDER BY pid"), before)
    c.stop()
    code, says = run_control(url + "other.crt")
    check("a server with another certificate is refused", code == 1 and "certificate" in says, says)
    server.stop()


def errors_have_no_passwords():
    url = f"postgres://postgres:secret%40word@127.0.0.1:{postgres.port}/nothing"
    done = subprocess.run([REGENT, "control", "--store", url, "--blobs", f"dir:{TMP}/b", "--addr", "127.0.0.1:0"], capture_output=True, text=True, cwd=TMP)
    check("a database that is not there is said, without the password", done.returncode == 1 and "nothing" in done.stderr
          and "secret" not in done.stderr + done.stdout, done.stderr + done.stdout)
    c = Control(store=f"postgres://postgres:secret%40word@127.0.0.1:{postgres.port}/{postgres.database().split('/')[-1]}").start()
    check("logs neither", "secret" not in open(c.log).read() + open(c.out).read())
    c.stop()


def postgres_with_a_full_disk():
    """A file system of 60 MB; needs the right to mount."""
    folder = postgres.folder + "/small"
    os.makedirs(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M", "tmpfs", folder], capture_output=True).returncode:
        print("# this user may not mount a small file system: a full disk is tried with SQLite only")
        return
    try:
        database = postgres.database()
        os.chown(folder, postgres.user.pw_uid, postgres.user.pw_gid)
        os.makedirs(f"{folder}/space")
        os.chown(f"{folder}/space", postgres.user.pw_uid, postgres.user.pw_gid)
        postgres.sql(f"CREATE TABLESPACE small LOCATION '{folder}/space'", must=True)
        name = database.split("/")[-1]
        postgres.sql(f"ALTER DATABASE {name} SET TABLESPACE small", must=True)
        c = Control(store=database).start()
        subprocess.run(["dd", "if=/dev/zero", f"of={folder}/fill", "bs=1M"], capture_output=True)
        codes = [c.call("POST", "/v1/tokens", {"name": f"{i} " + "x" * 100, "role": "viewer"}) for i in range(400)]
        refused = [x for x in codes if x[0] != 201]
        check("a full disk is 503", refused and all(x[0] == 503 for x in refused), refused[:1])
        equal("reading goes on", status(c), 200)
        os.unlink(f"{folder}/fill")
        equal("and writing, once there is space", c.call("POST", "/v1/tokens", {"name": "y", "role": "viewer"})[0], 201)
        equal("nothing is half done", verify(c).returncode, 0)
        c.stop()
        postgres.sql(f"ALTER DATABASE {name} SET TABLESPACE pg_default", must=True)
        postgres.sql("DROP TABLESPACE small", must=True)
    finally:
        subprocess.run(["umount", "-l", folder])


# ---- SQLite's file ----

def run_control(store, cwd=TMP, **more):
    """Exit code and errors of a control plane that should not start."""
    try:
        done = subprocess.run([REGENT, "control", "--store", store, "--blobs", f"dir:{TMP}/b", "--addr", "127.0.0.1:0"],
                              capture_output=True, text=True, timeout=20, cwd=cwd, **more)
    except subprocess.TimeoutExpired:
        return "it runs", ""
    return done.returncode, done.stderr


def files_that_cannot_be_used():
    folder = f"{TMP}/files"
    os.makedirs(folder)
    with open(folder + "/none.db", "w") as f:
        f.write("no database at all\n" * 100)
    code, says = run_control(f"sqlite:{folder}/none.db")
    check("a file that is no database", code == 1 and "not a database" in says, says)
    code, says = run_control(f"sqlite:{folder}/missing/store.db")
    check("a folder that is missing", code == 1 and "missing/store.db" in says, says)
    c = Control(store=f"sqlite:{folder}/store.db").start()
    c.stop()
    if os.getuid() == 0:
        os.chmod(folder, 0o755)
        os.chmod(TMP, 0o755)
        os.chmod(folder + "/store.db", 0o644)
        os.makedirs(folder + "/home")
        os.chmod(folder + "/home", 0o777)
        code, says = run_control(f"sqlite:{folder}/store.db", cwd=folder + "/home", user=65534, group=65534, extra_groups=[])
    else:
        os.chmod(folder + "/store.db", 0o444)
        code, says = run_control(f"sqlite:{folder}/store.db")
    check("a file that may only be read", code == 1 and "may only be read" in says, says)
    with open(folder + "/store.db", "r+b") as f:
        size = os.path.getsize(folder + "/store.db")
        f.seek(4096)
        f.write(b"\xaa" * (size - 4096))
    code, says = run_control(f"sqlite:{folder}/store.db")
    check("a damaged file", code == 1 and "malformed" in says, says)


def sqlite_with_a_full_disk():
    """No file may grow past what the store has: writes fail as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    c = Control(popen={"restore_signals": False}).start()
    names = [c.folder + "/store.db-wal", c.folder + "/store.db"]
    most = max(os.path.getsize(n) for n in names if os.path.exists(n)) + 8192
    resource.prlimit(c.process.pid, resource.RLIMIT_FSIZE, (most, most))
    replies = [c.call("POST", "/v1/tokens", {"name": f"{i} " + "x" * 100, "role": "viewer"}) for i in range(60)]
    refused = [r for r in replies if r[0] != 201]
    check("a full disk is 503", refused and all(r[0] == 503 for r in refused), refused[:1] or replies[-1:])
    equal("reading goes on", status(c), 200)
    made = len(c.items("/v1/tokens"))
    check("what was answered is kept, and nothing else", made == len(replies) - len(refused) + 1, (made, len(replies), len(refused)))
    c.kill()
    c.start()
    equal("after a kill and with space it goes on", c.call("POST", "/v1/tokens", {"name": "y", "role": "viewer"})[0], 201)
    equal("with all that was answered", len(c.items("/v1/tokens")), made + 1)
    equal("nothing is half done", verify(c).returncode, 0)
    c.stop()


# ---- migrations ----

def several_start_at_once():
    for engine, store in {"SQLite": f"sqlite:{TMP}/at-once.db", "PostgreSQL": postgres.database()}.items():
        controls = [Control(store=store, blobs=f"dir:{TMP}/at-once-{engine}", token="none") for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            started = list(pool.map(lambda c: c.start(), controls))
        equal(f"{engine}: four start at once on an empty store", [c.process.poll() for c in started], [None] * 4)
        tokens = [open(c.out).read().count("One-time admin token,") for c in started]
        equal(f"{engine}: one prints a token", sum(tokens), 1)
        for c in started:
            equal(f"{engine}: ends well", c.stop(), 0)


def a_newer_schema_is_refused():
    for engine, store in stores().items():
        c = Control(store=store).start()
        c.stop()
        sql(c, "INSERT INTO schema_migrations (version, name, applied_ms) VALUES (999, 'later', 1)")
        code, says = run_control(c.store)
        check(f"{engine}: a store of a newer program is refused", code == 1 and "999" in says and "newer" in says, says)


# ---- lists ----

def tenants_with_versions(c, tenants=24, versions=15):
    """Rows as builds leave them; several of one millisecond."""
    rows = []
    for t in range(tenants):
        rows.append(f"INSERT INTO tenants VALUES ('t{t:02}', 'active', 'tpl', 0, 1, '', '{{}}', '{{\"team\":\"{'ab'[t % 2]}\"}}', 0, 1, 1, 'built', {versions}, {versions}, "
                    f"'{versions}-x', {versions}, 1, 1, 'x')")
        rows.append(f"INSERT INTO tenant_labels VALUES ('t{t:02}', 'team', '{'ab'[t % 2]}')")
        for n in range(1, versions + 1):
            at = 1000 + n * 10 + t % 3
            rows.append(f"INSERT INTO versions VALUES ('t{t:02}', {n}, '{n}-x', 's', 'm', 'c', 'd', 1, '{{}}', 'r', 'k', 'b', {at}, 'x')")
            rows.append(f"INSERT INTO releases VALUES ('t{t:02}', {n}, '{n}-x', '', 'build', '', {at}, 'x')")
    sql(c, ";\n".join(rows))


def walk(c, path, token):
    found, after = [], ""
    while True:
        page = c.must("GET", f"{path}?limit=7{after}", token=token)
        found += [(i["tenant"], i["version"]) for i in page["items"]]
        if not page.get("next"):
            return found
        after = "&after=" + page["next"]


def lists_of_those_who_see_few():
    for engine, store in stores().items():
        c = Control(store=store).start()
        tenants_with_versions(c)
        scopes = {"a label": ({"labels": {"team": "a"}}, lambda t: int(t[1:]) % 2 == 0), "a pattern": ({"tenants": ["t1*", "t03"]}, lambda t: t[1] == "1" or t == "t03"),
                  "nothing": ({"labels": {"team": "c"}}, lambda t: False)}
        for path in ("/v1/versions", "/v1/releases"):
            everything = walk(c, path, c.token)
            check(f"{engine}: all of {path} in pages", len(everything) == 360 and len(set(everything)) == 360, len(everything))
            for i, (name, (scope, sees)) in enumerate(scopes.items()):
                token = c.must("POST", "/v1/tokens", {"name": f"{path[4:]}{i}", "role": "viewer", "scopes": scope})["token"]
                equal(f"{engine}: who sees {name} gets the same list of {path} without the others", walk(c, path, token), [x for x in everything if sees(x[0])])
        c.stop()


if __name__ == "__main__":
    run_parts([unit_tests_on_postgres, tampering_is_found, a_restarted_server_is_found_again, tls_to_the_server, errors_have_no_passwords,
               postgres_with_a_full_disk, files_that_cannot_be_used, sqlite_with_a_full_disk, several_start_at_once, a_newer_schema_is_refused,
               lists_of_those_who_see_few])
