"""S3 servers for tests: versitygw, which we did not write, and a stand-in that checks signatures by its own computation and fails as told.

in:  REGENT_CACHE, third_party/versitygw/build.sh. out: nothing. owns: the servers."""
import atexit
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse

from edge_lib import ROOT, TMP, free_port, http, start, stop, wait_for
from sources_lib import S3, Server

VERSION = "1.8.0"
PROGRAM = os.path.join(os.environ.get("REGENT_CACHE") or os.path.expanduser("~/.cache/regent"), "versitygw-" + VERSION, "versitygw")
KEYS = {"AWS_ACCESS_KEY_ID": S3.KEY, "AWS_SECRET_ACCESS_KEY": S3.SECRET}


def versitygw():
    """The program, built where it is not there yet (three minutes, once); None, and a line that says why, where Go is not."""
    if os.path.exists(PROGRAM):
        return PROGRAM
    if not shutil.which("go"):
        print("# skip: no versitygw, and no Go to build it with")
        return None
    done = subprocess.run([ROOT + "/third_party/versitygw/build.sh", os.path.dirname(PROGRAM)], capture_output=True, text=True)
    if done.returncode:
        print("# skip: versitygw is not built: " + done.stderr[-300:].replace("\n", " "))
        return None
    return PROGRAM


class Versity:
    """versitygw over a folder, with one bucket, "policies"."""
    count = 0

    def __init__(self, port=None):
        Versity.count += 1
        self.root = f"{TMP}/s3root{Versity.count}"
        os.makedirs(self.root + "/policies", exist_ok=True)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = start([PROGRAM, "--access", S3.KEY, "--secret", S3.SECRET, "--region", S3.REGION, "--port", f"127.0.0.1:{self.port}",
                              "posix", self.root], f"{TMP}/versitygw.log")
        wait_for(lambda: http(self.port, "GET", "/")[0] > 0, 20)

    def blobs(self, prefix="eu/prod", more="", bucket="policies"):
        return f"s3://{bucket}/{prefix}?endpoint={urllib.parse.quote(self.url, safe='')}&region={S3.REGION}{more}"

    def head(self, key):
        """Headers of an object, in lower case."""
        text = subprocess.run(["curl", "-s", "-I", "--aws-sigv4", f"aws:amz:{S3.REGION}:s3", "-u", f"{S3.KEY}:{S3.SECRET}", "-H",
                               "x-amz-content-sha256: UNSIGNED-PAYLOAD", f"{self.url}/policies/{key}"], capture_output=True, text=True).stdout
        return {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in text.splitlines()[1:]) if k}

    def stop(self):
        stop(self.process)


def quick_folder():
    """A folder in memory where there is such a thing, so that a figure is the program's and not that of a disk which others use too."""
    folder = tempfile.mkdtemp(prefix="regent-quick-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else TMP)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


class Puts(S3):
    """S3 with PUT, copies, HEAD and DELETE. self.server.fault(handler) -> bool may answer instead; what was asked is in server.asked."""

    def refused(self):
        n = int(self.headers.get("Content-Length") or 0)
        self.key = urllib.parse.unquote(self.path.partition("?")[0])
        if self.server.fault and self.server.fault(self):
            self.close_connection = True  # the body was not read
            return True
        self.body = self.rfile.read(n) if n else b""
        if not self.signed():
            self.xml(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.")
            return True
        sent = self.headers.get("x-amz-content-sha256")
        if self.command == "PUT" and sent != hashlib.sha256(self.body).hexdigest():
            self.xml(400, "XAmzContentSHA256Mismatch", "The provided checksum does not match what was computed.")
            return True
        signed = re.search(r"SignedHeaders=([^,]*)", self.headers["Authorization"])[1].split(";")
        missing = [h for h in (k.lower() for k in self.headers) if h.startswith("x-amz-") and h not in signed]
        if missing:
            self.xml(403, "AccessDenied", "There were headers present in the request which were not signed: " + ", ".join(missing))
        return bool(missing)

    def xml(self, status, code, message=""):
        self.reply(status, f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())

    def do_PUT(self):
        if self.refused():
            return
        s, source = self.server, self.headers.get("x-amz-copy-source")
        if source:
            source = urllib.parse.unquote(source)
            if source not in s.files:
                return self.xml(404, "NoSuchKey", "The specified key does not exist.")
            s.files[self.key] = s.files[source]
        else:
            s.files[self.key] = self.body
        s.headers[self.key] = {k.lower(): v for k, v in self.headers.items() if k.lower().startswith(("x-amz-meta-", "x-amz-acl", "content-type"))}
        self.reply(200, b"<CopyObjectResult/>" if source else b"")

    def do_GET(self):
        if self.refused():
            return
        if self.key not in self.server.files:
            return self.xml(404, "NoSuchKey", "The specified key does not exist.")
        self.give(self.key)

    def do_HEAD(self):
        if not self.refused():
            self.note(200 if self.key in self.server.files else 404)
            self.send_response(200 if self.key in self.server.files else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_DELETE(self):
        if not self.refused():
            self.server.files.pop(self.key, None)
            self.reply(204)


def store(fault=None, handler=Puts):
    s = Server(handler)
    s.fault = fault
    s.blobs = f"s3://policies/eu?endpoint={urllib.parse.quote(s.url, safe='')}&region={S3.REGION}"
    return s
