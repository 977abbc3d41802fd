"""Checks what `regent edge --check` says about configurations, and that the documents know every key.

in:  config/*.yaml beside this file, src/edge/config_keys.def, limits.def, deploy/edge.yaml, docs/configuration.md; $BUILD/regent.
out: TAP lines; exit status 1 when a case fails.

A case is a configuration with lines
    # expect: ROW:COL MESSAGE          a problem in the file (or SOURCE:ROW:COL: in a variable or flag); none: it is accepted
    # warn: ROW:COL MESSAGE            a warning
    # flags: …                         instead of `-d FOLDER`
    # env: NAME=VALUE
The program runs in a folder with certificates (a.crt, a.key, other.key, open.crt, open.key), keys.json and an empty file.
"""
import glob
import json
import os
import re
import shlex
import signal
import subprocess

from edge_lib import REGENT, ROOT, TMP, check, equal, finish, free_port, http, start, stop, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
DIR = os.path.join(TMP, "config")
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("REGENT_EDGE_")}


def write(name, text, mode=0o600):
    path = os.path.join(DIR, name)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def certificate(name, mode=0o600):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
                    "-days", "2", "-keyout", f"{DIR}/{name}.key", "-out", f"{DIR}/{name}.crt"], check=True, capture_output=True)
    os.chmod(f"{DIR}/{name}.key", mode)


def prepare():
    os.makedirs(DIR)
    certificate("a")
    certificate("other")
    certificate("open", 0o644)
    write("empty", "")
    write("keys.json", '{"keys": []}')
    write("tokens", "ops sha256:" + "0" * 64 + "\n")


def run(*flags, env=None):
    return subprocess.run([REGENT, "edge", *flags], capture_output=True, text=True, timeout=60, cwd=DIR,
                          env={**ENVIRONMENT, **(env or {})})


def marked(text, word):
    return re.findall(rf"^\s*# {word}: (.*)$", text, re.M)


def lines_of(problems):
    """What --format json says, as the cases write it."""
    return sorted(f"{'' if p['location']['file'].endswith('.yaml') else p['location']['file'] + ':'}"
                  f"{p['location']['row']}:{p['location']['col']} {p['message']}" for p in problems)


def case(path):
    with open(path) as f:
        text = f.read()
    flags = marked(text, "flags")
    flags = shlex.split(flags[0]) if flags else ["-d", DIR]
    env = dict(e.split("=", 1) for e in marked(text, "env"))
    expected, warnings = sorted(marked(text, "expect")), sorted(marked(text, "warn"))
    done = run("--check", "--format", "json", "--config", path, *flags, env=env)
    name = "config/" + os.path.basename(path)
    got = lines_of(json.loads(done.stdout)["errors"]) if done.stdout.strip() else []
    said = sorted(l[len("warning: "):].replace(path + ":", "", 1).replace(": ", " ", 1) for l in done.stderr.splitlines())
    good = got == expected and said == warnings and done.returncode == (1 if expected else 0)
    missing, more = set(expected) - set(got), set(got) - set(expected)
    check(name, good, f"exit {done.returncode}\nmissing {missing}\nunexpected {more}\nwarnings {said}\nwanted {warnings}")


def keys():
    """(path, default) of every key, limits included."""
    with open(ROOT + "/src/edge/config_keys.def") as f:
        rows = re.findall(r'^KEY\("([^"]+)", (\w+), .*?, "((?:[^"\\]|\\.)*)", "(?:[^"\\]|\\.)*"\)$', f.read(), re.M)
    with open(ROOT + "/src/bundle/limits.def") as f:
        limits = re.findall(r'^LIMIT\(\w+, "(\w+)"', f.read(), re.M)
    return [(p, d) for p, kind, d in rows if kind != "LIMITS"] + [("limits.default." + l, "") for l in limits]


def variable(path):
    return "REGENT_EDGE_" + path.upper().replace(".", "_")


def documents():
    with open(ROOT + "/docs/configuration.md") as f:
        page = f.read()
    with open(ROOT + "/deploy/edge.yaml") as f:
        example = f.read()
    every = keys()
    check("the table of keys is read", len(every) > 60, len(every))
    # A row of the page: | `node.threads` | 0 | … ; the last name of every path stands in the example.
    lost = [p for p, d in every if not re.search(r"^\| `" + re.escape(p) + r"` \| " + (re.escape(f"`{d}`") if d else ""), page, re.M)]
    equal("docs/configuration.md has a row with its default for every key", lost, [])
    lost = [p for p, _ in every if not re.search(r"(^|[\s#{\[-])" + re.escape(p.split(".")[-1].replace("[]", "")) + ":", example, re.M)]
    equal("deploy/edge.yaml shows every key", lost, [])
    names = [variable(p) for p, _ in every if "[]" not in p]
    equal("no two keys have one variable", sorted(set(names)), sorted(names))


def with_files(text):
    """The text with files that are there instead of those of /etc."""
    for name, file in (("tls.crt", "a.crt"), ("tls.key", "a.key"), ("clients.crt", "a.crt"), ("jwks.json", "a.crt"),
                       ("signers.pem", "a.crt"), ("tokens", "tokens"), ("neighbours", "tokens"), ("token", "a.key"), ("ca.pem", "a.crt"), ("client.pem", "a.crt"),
                       ("client.key", "a.key"), ("aws", "a.key")):
        text = text.replace("/etc/regent/" + name, f"{DIR}/{file}")
    return text


def page_examples():
    """Every configuration that docs/configuration.md shows is accepted."""
    with open(ROOT + "/docs/configuration.md") as f:
        blocks = re.findall(r"(?:^    .*\n)+", f.read(), re.M)
    wrong, number = [], 0
    for block in blocks:
        text = with_files(re.sub(r"^    ", "", block, flags=re.M))
        if not re.match(r"(# .*\n)?(tenants|tenant_from|listeners|limits|groups):", text):
            continue
        number += 1
        done = run("--check", "--config", write("page.yaml", text), "-d", DIR)
        if done.returncode:
            wrong.append((text, done.stderr))
    equal("the configurations of docs/configuration.md are accepted", wrong, [])
    check("… which are many", number > 12, number)


def example():
    """deploy/edge.yaml is accepted and says what holds without it; with its examples uncommented too."""
    path = ROOT + "/deploy/edge.yaml"
    done = run("--check", "--config", path, "-d", DIR)
    equal("deploy/edge.yaml is accepted", (done.returncode, done.stdout, done.stderr), (0, "", ""))
    with open(path) as f:
        text = f.read()
    text = re.sub(r"^(\s*)# ((- |  )*(  )*[\w\"*-]+:( .*)?)$", r"\1\2", text, flags=re.M)
    text = with_files(re.sub(r"^\s*jwks_url:.*\n", "", text, flags=re.M))
    done = run("--check", "--config", write("uncommented.yaml", text), "-d", DIR)
    equal("deploy/edge.yaml is accepted with its examples", (done.returncode, done.stdout, done.stderr), (0, "", ""))
    check("… which are many", len(re.findall(r"^\s*# ", text, re.M)) < 60 and "jwt:" in text and re.search(r"^groups:", text, re.M), text)


def hostile():
    """Files made to fill memory or to take long are refused at once."""
    texts = {
        "nested lists": "[" * 5000000,
        "nested mappings": "{a: " * 2000000,
        "many values": "[" + "a," * 4000000 + "]",
        "many keys": "".join(f"k{i}: 1\n" for i in range(900000)),
        "an alias bomb": "a: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"a{i}: &a{i} [" + ",".join([f"*a{i - 1}"] * 9) + "]\n" for i in range(1, 12)),
        "a large file": "#" * (17 << 20),
        "no UTF-8": "node: {threads: 1}\nlog: {level: \udcff}\n",
        "zero bytes": "node: \0",
    }
    for name, text in texts.items():
        path = os.path.join(DIR, "hostile.yaml")
        with open(path, "w", errors="surrogateescape") as f:
            f.write(text)
        done = subprocess.run(["bash", "-c", "ulimit -t 20; exec \"$@\"", "bash", REGENT, "edge", "--check", "-d", DIR, "--config", path],
                              capture_output=True, text=True, timeout=120, env=ENVIRONMENT)
        check(f"{name} are refused", done.returncode == 1 and "hostile.yaml:" in done.stderr, (done.returncode, done.stderr[-300:]))


def commands():
    done = run("--check", "--config", DIR + "/nothing.yaml")
    equal("a file that is not there", (done.returncode, done.stderr),
          (1, f"1 error occurred: io_error: cannot read {DIR}/nothing.yaml: No such file or directory\n"))
    done = run("--check", "--config", write("two.yaml", "nod: {}\nlogs: {}\n"), "-d", DIR)
    equal("problems as text", (done.returncode, done.stdout, done.stderr),
          (1, "", f"2 errors occurred:\n{DIR}/two.yaml:1:1: config_error: unknown key `nod`: did you mean `node`?\n"
                  f"{DIR}/two.yaml:2:1: config_error: unknown key `logs`: did you mean `log`?\n"))
    done = run("--config", DIR + "/two.yaml", "-d", DIR)
    equal("a wrong configuration starts nothing", (done.returncode, done.stderr.count("config_error")), (1, 2))
    done = run("--check", "-d", DIR, env={"REGENT_EDGE_NODE_THREADS": "65"})
    equal("the environment without a file", (done.returncode, done.stderr),
          (1, "1 error occurred: REGENT_EDGE_NODE_THREADS:1:1: config_error: `threads` must be from 0 to 64, not 65\n"))
    wins = write("wins.yaml", "node: {threads: 70}\nlisteners: [{}]\n")
    done = run("--check", "-d", DIR, "--config", wins, "--threads", "2", env={"REGENT_EDGE_LISTENERS": "[{address: ':1', doors: [rest]}]"})
    equal("flags win over the file, and variables do", (done.returncode, done.stderr), (0, ""))
    done = run("--check", "-d", DIR, "--threads", "66", env={"REGENT_EDGE_NODE_THREADS": "65"})
    check("flags win over variables", done.stderr.startswith("1 error occurred: --threads:1:1: "), done.stderr)
    done = run("--check", "-d", DIR, "--authz-path", "-----BEGIN PRIVATE KEY-----")
    check("a key on the command line is refused", done.returncode == 1 and "private key does not belong here" in done.stderr, done.stderr)


def logged(log, message):
    with open(log) as f:
        return [line for line in map(json.loads, f) if line["msg"] == message]


def serving():
    """A node under a file: what it prints of it, and SIGHUP with a wrong file and a right one."""
    port, log = free_port(), TMP + "/config.log"
    text = ("tenants: {directory: %s}\nlisteners: [{name: a, address: '127.0.0.1:%d', doors: [rest, status]}]\n"
            "labels: {cell: one}\nlog: {format: json}\n" % (DIR, port))
    path = write("serving.yaml", text)
    process = start([REGENT, "edge", "--config", path, "--threads", "1"], log)
    check("a node starts under a file", wait_for(lambda: logged(log, "ready")), open(log).read())

    def config():
        status, _, body = http(port, "GET", "/v1/config")
        return json.loads(body)["result"] if status == 200 else status
    got = config()
    equal("/v1/config shows file, flags and defaults", (got["labels"], got["node"]["threads"], got["timeouts"]["idle"], got["listeners"]),
          ({"cell": "one"}, 1, "60s", [{"name": "a", "address": f"127.0.0.1:{port}", "doors": ["rest", "status"]}]))
    equal("what is no door of the listener is not found", http(port, "GET", "/health")[0], 404)
    write("serving.yaml", text.replace("one", "two").replace("[rest, status]", "[rest, stats]"))
    process.send_signal(signal.SIGHUP)
    check("a wrong file is refused with its place", wait_for(lambda: [
        l for l in logged(log, "configuration refused") if l["file"] == path + ":2:65" and "status" in l["reason"]]), open(log).read())
    equal("… and the one before serves on", config()["labels"], {"cell": "one"})
    write("serving.yaml", text.replace("one", "two").replace("[rest, status]", "[rest, status, health]"))
    process.send_signal(signal.SIGHUP)
    check("SIGHUP reads a right file", wait_for(lambda: config()["labels"] == {"cell": "two"}), open(log).read())
    equal("… flags still win", config()["node"]["threads"], 1)
    equal("… and doors change", http(port, "GET", "/health")[0], 200)
    equal("the node stops", stop(process), 0)


prepare()
for path in sorted(glob.glob(HERE + "/config/*.yaml")):
    case(path)
commands()
example()
documents()
page_examples()
hostile()
serving()
finish()
