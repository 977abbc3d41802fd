"""What the control plane's test scripts share: a real PostgreSQL, a `regent control` over a store and blobs, calls of its API.

in:  BUILD (folder with regent), POSTGRES_BIN (folder of initdb and postgres; default: Debian's). out: TAP lines by edge_lib.
owns: the processes and the temporary folders it makes."""
import atexit
import glob
import http.client
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "edge"))
from edge_lib import (  # noqa: F401 (scripts take these from here)
    BUILD, OPA, REGENT, ROOT, TMP, check, equal, finish, free_port, run_parts, start, stop, wait_for)
import signal


def postgres_bin():
    """The folder of PostgreSQL's programs, or None."""
    found = [os.environ["POSTGRES_BIN"]] if "POSTGRES_BIN" in os.environ else \
        sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]), reverse=True)
    return next((p for p in found if os.path.exists(p + "/initdb")), None)


class Postgres:
    """A PostgreSQL server of this script's own: loopback and a Unix socket, not synced to disk, gone at the end."""

    def __init__(self, *settings, fsync=False):
        self.bin = postgres_bin()
        if not self.bin:
            raise RuntimeError("no PostgreSQL is installed (tools/packages-test.txt has it; or set POSTGRES_BIN)")
        self.folder = tempfile.mkdtemp(prefix="regent-pg-", dir="/tmp")
        self.port = free_port()
        self.user = self._user()
        if self.user:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        self.settings = ["unix_socket_directories=" + self.folder, "listen_addresses=127.0.0.1", f"port={self.port}",
                         f"fsync={'on' if fsync else 'off'}", "max_connections=200", "shared_buffers=128MB", *settings]
        self.databases = 0
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self._run([self.bin + "/initdb", "-D", self.folder + "/data", "-U", "postgres", "-A", "trust", "-E", "UTF8",
                   "--locale=C.UTF-8", "--no-sync"])
        self.start()

    @staticmethod
    def _user():
        """initdb refuses root: the user to become, or None."""
        if os.getuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                pass
        raise RuntimeError("neither a user postgres nor nobody: PostgreSQL does not run as root")

    def _as_user(self):
        who = self.user
        return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []} if who else {}

    def _run(self, command):
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **self._as_user())
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def start(self):
        command = [self.bin + "/postgres", "-D", self.folder + "/data"]
        for s in self.settings:
            command += ["-c", s]
        self.process = subprocess.Popen(command, stdout=open(self.folder + "/log", "ab"), stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, cwd=self.folder, **self._as_user())
        atexit.register(self.stop, signal.SIGQUIT)
        if not wait_for(lambda: self.sql("SELECT 1") == "1", 30):
            raise RuntimeError("PostgreSQL does not start: " + open(self.folder + "/log").read()[-2000:])
        return self

    def stop(self, how=signal.SIGINT):
        """SIGINT: fast shutdown; SIGQUIT: at once. Waits for the end of its own processes too."""
        stop(self.process, how)

    def url(self, database="postgres", socket=False):
        if socket:
            return f"postgres:///{database}?host={self.folder}&port={self.port}&user=postgres"
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def database(self):
        """A new, empty database; its URL."""
        self.databases += 1
        name = f"d{self.databases}"
        self.sql(f"CREATE DATABASE {name}", must=True)
        return self.url(name)

    def sql(self, text, url=None, must=False):
        """What psql prints, rows by line and columns by |."""
        done = subprocess.run([self.bin + "/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url or self.url(), "-c", text],
                              capture_output=True, text=True)
        if must and done.returncode:
            raise RuntimeError(f"{text[:200]}: {done.stderr}")
        return done.stdout.strip()


class Control:
    """One `regent control`; `token` is that of an admin once it has started. Several may share a store and blobs."""
    count = 0

    def __init__(self, *flags, store=None, blobs=None, name=None, token=None, env=None, popen=None):
        Control.count += 1
        self.name = name or f"control{Control.count}"
        self.folder = os.path.join(TMP, self.name)
        os.makedirs(self.folder, exist_ok=True)
        self.store = store or f"sqlite:{self.folder}/store.db"
        self.blobs = blobs or f"dir:{self.folder}/blobs"
        self.out, self.log = self.folder + "/out", self.folder + "/log"
        self.flags, self.token, self.env, self.port, self.popen = list(flags), token, env or {}, 0, popen or {}

    def start(self, seconds=30):
        """Starts it (again: at the same port) and waits until it listens; makes an admin token from the printed one."""
        command = [REGENT, "control", "--store", self.store, "--blobs", self.blobs, "--addr", f"127.0.0.1:{self.port}",
                   "--log-format", "json", *self.flags]
        open(self.out, "w").close()
        self.process = subprocess.Popen(command, stdout=open(self.out, "ab"), stderr=open(self.log, "ab"),
                                        stdin=subprocess.DEVNULL, env={**os.environ, **self.env}, cwd=self.folder, **self.popen)
        atexit.register(stop, self.process)
        if not wait_for(lambda: self._address() or self.process.poll() is not None, seconds) or not self._address():
            raise RuntimeError(f"{' '.join(command)} does not start: {open(self.out).read()}{open(self.log).read()[-3000:]}")
        self.port = self._address()
        once = re.search(r"One-time admin token[^:]*: (\S+)", open(self.out).read())
        if once and not self.token:
            status, body, _ = self.call("POST", "/v1/tokens", {"name": "test", "role": "admin"}, token=once[1])
            if status != 201:
                raise RuntimeError(f"the one-time token is refused: {status} {body}")
            self.token = body["token"]
        return self

    def _address(self):
        found = re.search(r"^Console: https?://[^/]*:(\d+)/", open(self.out).read(), re.M)
        return int(found[1]) if found else 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def stop(self, how=signal.SIGTERM):
        return stop(self.process, how)

    def kill(self):
        return stop(self.process, signal.SIGKILL)

    def call(self, method, path, body=None, token=None, headers=None, seconds=60):
        """(status, JSON or bytes, {lower-case name: value}). token False: none; None: the admin's. body: JSON, str or bytes."""
        fields = dict(headers or {})
        if token is not False and (token or self.token):
            fields.setdefault("Authorization", "Bearer " + (token or self.token))
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
            fields.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body.encode() if isinstance(body, str) else body, fields)
            reply = connection.getresponse()
            data, got = reply.read(), {k.lower(): v for k, v in reply.getheaders()}
        finally:
            connection.close()
        if got.get("content-type", "").startswith("application/json") and data:
            data = json.loads(data)
        return reply.status, data, got

    def must(self, method, path, body=None, **more):
        """The JSON of a call that has to succeed."""
        status, data, _ = self.call(method, path, body, **more)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {data}")
        return data

    def items(self, path):
        """All items of a list, page by page."""
        found, after = [], ""
        while True:
            page = self.must("GET", path + ("&" if "?" in path else "?") + "limit=1000" + after)
            found += page["items"]
            if not page.get("next"):
                return found
            after = "&after=" + page["next"]

    def wait_build(self, build, seconds=60):
        """The build, once it is over."""
        wait_for(lambda: self.must("GET", "/v1/builds/" + build)["status"] not in ("queued", "running"), seconds)
        return self.must("GET", "/v1/builds/" + build)

    def lines(self):
        return [json.loads(line) for line in open(self.log) if line.startswith("{")]

    def logged(self, message, **fields):
        return [l for l in self.lines() if l["msg"] == message and all(str(l.get(k)) == v for k, v in fields.items())]

    def wait_log(self, message, n=1, seconds=10, **fields):
        return wait_for(lambda: len(self.logged(message, **fields)) >= n, seconds)
