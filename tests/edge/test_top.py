"""`regent top` at a terminal of its own (pty): what it shows, keys, sizes, signals, a node that goes away; and --once for machines.

in:  $BUILD/regent. out: TAP lines; exit status 1 when a case fails. owns: the nodes and terminals it starts.
"""
import fcntl
import http.server
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

from edge_lib import REGENT, TMP, build, check, equal, finish, free_port, http as ask, start, stop, wait_for

SPIN = "allow if { some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j < 0 }"


class Node:
    def __init__(self, name):
        self.folder, self.port = f"{TMP}/{name}", free_port()
        self.socket = self.folder + "/ops.sock"
        for tenant, policy in (("busy", "allow if input.user == \"ann\""), ("denied", "default allow := false"), ("slow", SPIN)):
            build({"p.rego": f"package p\n{policy}\n"}, ["p/allow"], f"{self.folder}/tenants/{tenant}/bundle.tar.gz", "--revision", "rev-" + tenant)
        os.makedirs(self.folder + "/tenants/broken")
        with open(self.folder + "/tenants/broken/bundle.tar.gz", "w") as f:
            f.write("no bundle")
        with open(self.folder + "/edge.yaml", "w") as f:
            f.write(f"""tenants: {{directory: {self.folder}}}
tenant_from: [{{header: {{name: x-tenant-id, trusted: [127.0.0.0/8]}}}}]
listeners:
  - {{address: "127.0.0.1:{self.port}", doors: [rest, metrics, status]}}
  - {{address: "unix:{self.socket}", doors: [metrics, status]}}
limits: {{default: {{deadline: 5ms}}}}
log: {{format: json}}
""")
        self.log = self.folder + "/log"
        self.process = start([REGENT, "edge", "--config", self.folder + "/edge.yaml"], self.log)
        if not wait_for(lambda: '"ready"' in open(self.log).read()):
            raise RuntimeError("the node does not start: " + open(self.log).read())
        self.done = threading.Event()
        self.client = threading.Thread(target=self.traffic)
        self.client.start()

    def traffic(self):
        n = 0
        while not self.done.is_set():
            for tenant in ["busy", "busy", "denied"] + ["slow"] * (n % 3 == 0) + ["broken"] * (n % 5 == 0):
                try:
                    ask(self.port, "POST", "/v1/data/p/allow", '{"input": {"user": "ann"}}', {"x-tenant-id": tenant})
                except OSError:
                    pass
            n += 1
            time.sleep(0.01)

    def end(self):
        self.done.set()
        self.client.join()
        return stop(self.process)


def once(*arguments):
    done = subprocess.run([REGENT, "top", "--once", "--interval", "0.5", *arguments], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


class Terminal:
    """A program at a pseudo-terminal, and what its screen shows: only the movements that top uses are understood."""

    def __init__(self, *command, columns=110, lines=14):
        self.size = (lines, columns)
        self.master, slave = pty.openpty()
        self.resize(lines, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.out, self.screen = "", ""

    def resize(self, lines, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds=0.1):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                break
            if not part:
                break
            self.out += part.decode("utf-8", "replace")
        frames = self.out.split("\x1b[H")
        self.screen = next((f for f in reversed(frames) if "\x1b[J" in f), "")

    def lines(self):
        return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", l).rstrip() for l in self.screen.split("\r\n")]

    def shows(self, what, seconds=8):
        """Waits until a line has the pattern."""
        def look():
            self.read()
            return any(re.search(what, l) for l in self.lines())
        return wait_for(look, seconds)

    def keys(self, text):
        os.write(self.master, text.encode())

    def ended(self):
        def look():
            self.read(0.05)
            return self.process.poll() is not None
        return wait_for(look, 10)

    def tidy(self):
        """The alternate screen was left, the cursor is back, and the terminal echoes as before."""
        self.read(0.05)
        tail = self.out[self.out.rfind("\x1b[?1049"):]
        return tail.startswith("\x1b[?1049l") and "\x1b[?25h" in self.out[-40:] and termios.tcgetattr(self.slave)[3] == self.before[3]

    def close(self):
        stop(self.process)
        os.close(self.master)
        os.close(self.slave)


def once_cases(node):
    code, text, said = once("-f", "json", f"127.0.0.1:{node.port}")
    equal("JSON: success", (code, said), (0, ""))
    view = json.loads(text)
    rows = {t["tenant_id"]: t for t in view["tenants"]}
    equal("JSON: tenants", set(rows), {"busy", "denied", "slow", "broken"})
    equal("JSON: the busiest comes first", view["tenants"][0]["tenant_id"], "busy")
    equal("JSON: denials", (rows["busy"]["deny_rate"], rows["denied"]["deny_rate"]), (0, 1))
    check("JSON: P99", 0 < rows["busy"]["p99_seconds"] < rows["slow"]["p99_seconds"], rows)
    equal("JSON: the limit that was reached", (rows["slow"]["limit"], rows["slow"]["limits_per_second"] > 0), ("deadline", True))
    check("JSON: errors", rows["slow"]["errors_per_second"] > 0 and rows["busy"]["errors_per_second"] == 0, rows)
    equal("JSON: revision", rows["busy"]["revision"], "rev-busy")
    check("JSON: what is wrong with a bundle", rows["broken"]["problem"], rows["broken"])
    check("JSON: the node", view["node"]["ready"] and view["node"]["tenants"] == 4 and view["node"]["tenants_without_policy"] == 1 and
          view["node"]["requests_per_second"] > 0 and view["node"]["memory_bytes"] > 1 << 20, view["node"])
    code, text, said = once("--sort", "name", f"http://127.0.0.1:{node.port}/metrics")
    lines = text.splitlines()
    equal("text: by name", ([l.split()[0] for l in lines[4:]], code), (["broken", "busy", "denied", "slow"], 0))
    check("text: no colours in a pipe", "\x1b" not in text, text)
    check("a Unix socket", "busy" in once(f"unix:{node.socket}")[1])


def wrong_cases(node):
    port = free_port()
    for what, arguments, want in (
            ("nobody there", [f"127.0.0.1:{port}"], f"127.0.0.1:{port}: .*connect"),
            ("no such socket", [f"unix:{TMP}/none"], "none: .*"),
            ("another path", [f"127.0.0.1:{node.port}/x"], "answered 404: is it a listener"),
            ("two nodes", ["a", "b"], "one node"),
            ("no order", ["--sort", "size"], "--sort wants"),
            ("no format", ["-f", "xml"], "--format wants"),
            ("no interval", ["--interval", "0"], "--interval wants"),
            ("no interval at all", ["--interval", "1s"], "--interval wants"),
            ("no such flag", ["--colour"], "colour")):
        code, text, said = once(*arguments)
        check(what, code == 1 and text == "" and re.search(want, said), (code, text, said))
    done = subprocess.run([REGENT, "top", f"127.0.0.1:{node.port}"], capture_output=True, text=True)
    check("live needs a terminal", done.returncode == 1 and "--once" in done.stderr, done)


class Page(http.server.BaseHTTPRequestHandler):
    """Something that is no node, or a wicked one."""
    def do_GET(self):
        body = self.server.page if self.path == "/metrics" else b"{"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def hostile_cases():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_address[1]}"
    for what, page in (("a web page", b"<html>hello</html>"), ("nothing", b""), ("another exporter", b"go_threads 7\n"),
                       ("half a line", b'regent_build_info{version="1\n'), ("a label without end", b'x{a="\\'), ("no number", b"regent_ready one\n")):
        server.page = page
        code, text, said = once(address)
        check(f"{what} is no node", code == 1 and "not a Regent node" in said, (code, text, said))
    server.page = ('regent_build_info{version="\x1b[31m1"} 1\nenvoy_wasm_opa_total{tenant_id="a\x1b]0;x\x07\\n\\"\u202eé"} 5\n' +
                   'envoy_wasm_opa_eval_duration_bucket{tenant_id="a",le="x"} NaN\n').encode() + b'regent_tenants{} 1e999\nenvoy_wasm_opa_total{tenant_id="\xff\xc2\x9b1m"} 1\n'
    code, text, said = once(address)
    check("no control character reaches the terminal", code == 0 and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text), (code, repr(text), said))
    check("letters do", "é" in text, repr(text))
    server.shutdown()


def live_cases(node):
    t = Terminal(REGENT, "top", "--interval", "0.2", f"127.0.0.1:{node.port}")
    check("the busiest comes first", t.shows(r"^busy +\d") and t.lines()[4].startswith("busy"), t.lines())
    check("all columns", t.shows(r"TENANT.*REQ/S\*.*DENIED.*P99.*ERR/S.*LIMITS.*MEMORY.*REVISION|TENANT.*REQ/S\*.*LIMITS"), t.lines())
    check("limits", t.shows(r"^slow .*deadline [\d.]+"), t.lines())
    check("the node", t.shows(r"req/s  denied .* %  p99 .*  errors .*queue") and t.shows(r"tenants 4 \(1 without policy\)"), t.lines())
    check("keys are named", t.shows(r"q quit"), t.lines())
    check("what is wrong is red", "\x1b[31mslow" in t.screen, t.screen)
    for key, title, first in (("n", r"TENANT\*", "broken"), ("d", r"DENIED\*", "denied"), ("e", r"ERR/S\*", ""), ("l", r"P99\*", "slow"), ("r", r"REQ/S\*", "busy")):
        t.keys(key)
        check(f"key {key} sorts", t.shows(title) and t.lines()[4].startswith(first), t.lines())
    t.keys("p")
    check("p holds", t.shows("PAUSED"), t.lines())
    held = [l for l in t.lines() if l.startswith("busy")]
    time.sleep(0.7)
    t.read()
    equal("nothing moves", [l for l in t.lines() if l.startswith("busy")], held)
    t.keys("p")
    check("p goes on", wait_for(lambda: t.read() or "PAUSED" not in t.screen, 5), t.lines())
    t.resize(8, 44)
    os.kill(t.process.pid, signal.SIGWINCH)
    check("a narrow terminal", wait_for(lambda: t.read() or max(map(len, t.lines())) <= 44 and len(t.lines()) <= 8 and "REQ/S" in t.screen, 5), t.lines())
    t.resize(1, 3)
    os.kill(t.process.pid, signal.SIGWINCH)
    time.sleep(0.3)
    check("a tiny one", t.process.poll() is None)
    t.keys("q")
    check("q ends", t.ended() and t.process.returncode == 0, t.process.returncode)
    check("the terminal is as it was", t.tidy(), repr(t.out[-200:]))
    t.close()
    for name, how in (("SIGTERM", lambda t: os.kill(t.process.pid, signal.SIGTERM)), ("Ctrl-C", lambda t: t.keys("\x03"))):
        t = Terminal(REGENT, "top", "--interval", "0.2", f"127.0.0.1:{node.port}")
        t.shows("^busy")
        how(t)
        check(f"{name} ends it and tidies up", t.ended() and t.tidy(), (t.process.returncode, repr(t.out[-200:])))
        t.close()
    t = Terminal(REGENT, "top", f"127.0.0.1:{free_port()}")
    check("at the start nobody answers", t.ended() and t.process.returncode == 1 and "connect" in (t.read() or t.out), t.out)
    check("the screen was never taken", "\x1b[?1049h" not in t.out, repr(t.out))
    t.close()


def loss_cases(node):
    t = Terminal(REGENT, "top", "--interval", "0.2", f"127.0.0.1:{node.port}")
    t.shows("^busy")
    equal("the node ends well", node.end(), 0)
    check("the last line says that nobody answers", t.shows("^no answer: .*connect"), t.lines())
    check("the last picture stays", any(l.startswith("busy") for l in t.lines()), t.lines())
    t.keys("q")
    check("q still ends it", t.ended() and t.tidy())
    t.close()


main = Node("top")
once_cases(main)
wrong_cases(main)
hostile_cases()
live_cases(main)
loss_cases(main)
finish()
