#!/usr/bin/env python3
"""Blob stores: the same cases on a folder and on a real S3 server, what goes with an object, and what happens when a store is slow, full,
wrong or half-way down: a clear refusal, nothing half-done.

in:  BUILD (with tests/unit/test_blob, which makes the calls), REGENT_CACHE. out: TAP. owns: servers and folders of its own."""
import os
import pwd
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from control_lib import BUILD, TMP, check, equal, run_parts  # noqa: E402
from s3_lib import KEYS, Puts, Versity, quick_folder, store, versitygw  # noqa: E402
from sources_lib import S3  # noqa: E402

TOOL = BUILD + "/tests/unit/test_blob"
KEY = "tenants/acme/versions/1-a/bundle.tar.gz"
AT = "/policies/eu/"


def file(name, data):
    path = f"{TMP}/{name}"
    with open(path, "wb") as f:
        f.write(data)
    return path


def call(url, *arguments, env=None, user=None, before=()):
    """(exit status, output, what it says) of one call of a blob store."""
    who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    done = subprocess.run([*before, TOOL, url, *arguments], capture_output=True, text=True, env={**clean, "HOME": TMP, **KEYS, **(env or {})}, **who)
    return done.returncode, done.stdout, done.stderr.strip()


def cases(name, url):
    done = subprocess.run([TOOL], capture_output=True, text=True, env={**os.environ, **KEYS, "REGENT_BLOBS": url})
    check(f"{name}: objects, bounds, names, pointers", done.returncode == 0, (done.stdout + done.stderr)[-1500:])


def folder():
    """The cases themselves are the unit test's; here what a command line needs."""
    url = f"dir:{TMP}/made/on/the/way"
    equal("a folder is made", call(url, "put", KEY, file("one", b"one"))[0], 0)
    equal("and read", call(url, "get", KEY)[1], "one")
    status, seconds, why = call(f"dir:{quick_folder()}/many", "versions", "0", "5000")
    check("5,000 pointers in a folder take well under 2 s", status == 0 and float(seconds) < 2, seconds + why)
    print(f"# 5,000 pointers: {seconds.strip()} s")


def real_s3():
    if not versitygw():
        return
    s = Versity()
    cases("versitygw", s.blobs())
    cases("versitygw, without a prefix", s.blobs(""))
    equal("versitygw: many at once", call(s.blobs(), "versions", "0", "60")[::2], (0, ""))
    head = s.head("eu/prod/tenants/t3/bundle.tar.gz")
    want = {"x-amz-meta-tenant-id": "t3", "x-amz-meta-version": "1-a", "x-amz-meta-timestamp": "1700000000000", "x-amz-meta-serial": "1",
            "content-type": "application/gzip"}
    equal("versitygw: a pointer has metadata and type", {k: head.get(k) for k in want}, want)
    check("versitygw: and an ETag", head.get("etag"), head)
    head = s.head("eu/prod/tenants/t3/versions/1-a/policy.wasm")
    equal("versitygw: a version says that it never changes", head.get("cache-control"), "max-age=31536000, immutable")
    equal("versitygw: wrong credentials", call(s.blobs(), env={"AWS_SECRET_ACCESS_KEY": "wrong"})[0], 1)
    status, _, why = call(s.blobs(), "put", KEY, file("one", b"one"), env={"AWS_ACCESS_KEY_ID": "stranger"})
    check("versitygw: a stranger's", status == 1 and "XAdminUserNotFound" in why, why)
    status, _, why = call(s.blobs(bucket="nothere"))
    check("versitygw: no such bucket", status == 1 and "NoSuchBucket" in why, why)
    s.stop()
    status, _, why = call(s.blobs(), "put", KEY, file("one", b"one"))
    check("versitygw: not there", status == 1 and KEY in why and why.startswith("io"), why)


def signatures():
    """The stand-in computes signatures itself, and wants every x-amz- header in them."""
    s = store()
    cases("a stand-in that checks signatures", s.blobs)
    equal("acl, type and metadata of a version", {k: v for k, v in s.headers[AT + "tenants/p/versions/1-a/policy.wasm"].items()},
          {"x-amz-acl": "private", "x-amz-meta-tenant-id": "p", "x-amz-meta-version": "1-a", "x-amz-meta-timestamp": "1700000000000",
           "content-type": "application/gzip"})
    equal("of a copied pointer", s.headers[AT + "tenants/p/policy.wasm"]["x-amz-meta-serial"] + s.headers[AT + "tenants/p/policy.wasm"]["content-type"],
          "5application/wasm")

    class Session(Puts):
        SESSION = "session/token+of==" + "x" * 1500
    t = store(handler=Session)
    one = file("one", b"one")
    equal("a session's token is sent and signed", call(t.blobs, "put", KEY, one, env={"AWS_SESSION_TOKEN": Session.SESSION})[::2], (0, ""))
    status, _, why = call(t.blobs, "put", KEY, one)
    check("and wanted", status == 1 and "SignatureDoesNotMatch" in why, why)
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    status, _, why = call(s.blobs, "put", KEY, one, env=none)
    check("no credentials at all", status == 1 and "no AWS credentials" in why, why)
    path = file("credentials", f"[ci]\naws_access_key_id = {S3.KEY}\naws_secret_access_key = {S3.SECRET}\n".encode())
    more = {**none, "AWS_SHARED_CREDENTIALS_FILE": path}
    equal("a profile of a credentials file", call(s.blobs, "put", KEY, one, env={**more, "AWS_PROFILE": "ci"})[0], 0)
    status, _, why = call(s.blobs, "put", KEY, one, env=more)
    check("another profile", status == 1 and '"default"' in why, why)
    s.stop()
    t.stop()


class Script:
    """Answers the first requests as it is told, then lets them through."""

    def __init__(self, *steps, only="PUT"):
        self.steps, self.only, self.seen = list(steps), only, 0

    def __call__(self, handler):
        if handler.command != self.only:
            return False
        self.seen += 1
        step = self.steps[0] if self.steps else None
        if isinstance(step, tuple) and step[0] == "always":
            step = step[1]
        elif step:
            self.steps.pop(0)
        if not step:
            return False
        handler.close_connection = True
        if step == "cut":
            handler.rfile.read(3)
            handler.connection.close()
        elif step == "hang":
            time.sleep(2)
            handler.connection.close()
        elif isinstance(step, int):
            handler.reply(step)
        else:
            handler.xml(*step)
        return True


def tried(name, script, ok, says="", requests=None, command=("put", KEY), more=""):
    s = store(script)
    arguments = [*command, file("one", b"one" * 50000)] if command[0] == "put" else list(command)
    began = time.time()
    status, _, why = call(s.blobs + more, *arguments)
    good = (status == 0) == ok and says in why and (requests is None or script.seen == requests)
    check(name, good, f"{status} {why}\n{script.seen} requests, {time.time() - began:.1f} s")
    whole = s.files.get(AT + KEY)
    check(name + ": whole or not there", whole == (b"one" * 50000 if ok else None) or command[0] != "put", len(whole or b""))
    s.stop()


def failures():
    tried("a server that is busy twice", Script(503, (500, "InternalError", "try again")), True, requests=3)
    tried("one that closes half-way", Script("cut"), True, requests=2)
    tried("one that is busy for ever", Script(("always", (503, "SlowDown", "Reduce your request rate."))), False, "SlowDown", 5)
    tried("one that does not answer", Script(("always", "hang")), False, KEY, 5, more="&timeout_ms=300")
    tried("a full one (507)", Script(507), False, "limit", 1)
    tried("a quota", Script((403, "QuotaExceeded", "The quota is used up.")), False, "limit: S3: PUT " + KEY, 1)
    tried("MinIO's full disk", Script((507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold.")), False, "limit", 1)
    tried("no right to write", Script((403, "AccessDenied", "Access Denied")), False, "AccessDenied", 1)
    tried("a redirect", Script((301, "PermanentRedirect", "another region")), False, "PermanentRedirect", 1)
    no_acls = lambda h: h.command == "PUT" and h.headers.get("x-amz-acl") and h.xml(400, "AccessControlListNotSupported", "The bucket does not "
                                                                                   "allow ACLs") is None
    s = store(no_acls)
    equal("a bucket without ACLs gets none", call(s.blobs, "versions", "0", "3")[::2], (0, ""))
    check("and everything else", len(s.files) == 3 * 7 and "x-amz-acl" not in s.headers[AT + "tenants/t2/bundle.tar.gz"], sorted(s.files))
    s.stop()
    s = store(lambda h: h.command == "GET" and h.xml(403, "RequestTimeTooSkewed", "The difference between the request time and the current "
                                                     "time is too large.") is None)
    status, _, why = call(s.blobs)
    check("a clock that is wrong is said at the start", status == 1 and "RequestTimeTooSkewed" in why and "clocks" in why, why)
    s.stop()


def half_pointed():
    """The server fails somewhere among the copies: current.json names the old version until all are there, and doing it again ends well."""
    for what in ("bundle.tar.gz", "current.json"):
        s = store()
        call(s.blobs, "versions", "0", "1")
        for part in ("bundle.tar.gz", "policy.wasm", "policy.wasm.sha256"):
            s.files[AT + f"tenants/t0/versions/2-b/{part}"] = b"new " + part.encode()

        def fault(h, what=what):
            return h.command == "PUT" and h.key == AT + "tenants/t0/" + what and h.xml(200, "InternalError", "We encountered an internal error.") is None
        s.fault = fault
        status, _, why = call(s.blobs, "point", "t0", "2-b")
        check(f"a copy that fails late ({what}) is a failure", status == 1 and what in why, why)
        check("and the last word is the old one", b'"1-a"' in s.files[AT + "tenants/t0/current.json"])
        s.fault = None
        equal("again: it is done", call(s.blobs, "point", "t0", "2-b")[0], 0)
        equal("wholly", (s.files[AT + "tenants/t0/bundle.tar.gz"], b'"2-b"' in s.files[AT + "tenants/t0/current.json"]), (b"new bundle.tar.gz", True))
        s.stop()


def readonly_folder():
    if os.getuid() != 0:
        print("# skip: a read-only folder of root's needs root to make")
        return
    nobody = pwd.getpwnam("nobody")
    path = TMP + "/readonly"
    os.makedirs(path)
    os.chmod(path, 0o555)
    os.chmod(TMP, 0o755)
    status, _, why = call("dir:" + path, "put", KEY, "/etc/hostname", user=nobody, env={"HOME": "/"})
    check("a folder that cannot be written is refused at the start", status == 1 and path in why and "Permission denied" in why, why)
    equal("and nothing is in it", os.listdir(path), [])


def full_disk():
    """A file system of 1 MB."""
    big, disk = file("big", os.urandom(300_000)), TMP + "/disk"
    os.makedirs(disk, exist_ok=True)
    script = f"""set -e
mount -t tmpfs -o size=1m none {disk}
for i in 1 2 3 4 5; do {TOOL} dir:{disk}/b put tenants/acme/versions/$i/bundle.tar.gz {big} 2>>{TMP}/said || echo $i; done
echo; {TOOL} dir:{disk}/b get tenants/acme/versions/1/bundle.tar.gz | cmp - {big} && echo same
find {disk} -type f -size -300000c -printf '%P\\n'
rm {disk}/b/tenants/acme/versions/1/bundle.tar.gz
{TOOL} dir:{disk}/b put tenants/acme/versions/9/bundle.tar.gz {big} && echo again
"""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    if "mount" in done.stderr and "permi" in done.stderr:
        print("# skip: no file system may be mounted here; tests/unit/test_blob.c has a file size limit in its place")
        return
    parts = done.stdout.split("\n\n") if "\n\n" in done.stdout else [done.stdout, ""]
    equal("a full disk refuses", parts[0].split(), ["4", "5"])
    said = open(TMP + "/said").read()
    check("and says it", said.count("limit: ") == 2 and "No space left" in said and "versions/4" in said, said)
    equal("what was there stays, nothing half is left, and with room it goes on", parts[1].split(), ["same", "again"])


if not os.path.exists(TOOL):
    raise SystemExit(f"{TOOL} is not built: make {os.path.relpath(TOOL)}")
run_parts([folder, real_s3, signatures, failures, half_pointed, readonly_folder, full_disk])
