"""The demo's second half: a control plane builds and publishes a folder's tenants, and an edge follows it.

in: the folder to work in, the regent program. out: lines for people, and whether all went as expected. owns: nothing; processes go to
the caller's list."""
import http.client
import json
import os
import re
import shutil
import subprocess
import time

EDGE_YAML = """\
sources:
  - {{name: control, control: {{url: "{url}"}}, token_file: edge.token}}
store: {{directory: store}}
tenant_from:
  - header: {{name: x-tenant-id, trusted: [127.0.0.1]}}
listeners:
  - {{name: rest, address: "127.0.0.1:{port}", doors: [rest, health]}}
"""
ORDER = {"user": {"name": "ann", "roles": ["clerk"], "region": "eu"}, "order": {"amount": 7000}}


class Platform:
    def __init__(self, regent, root, folder, say, processes):
        self.regent, self.root, self.folder, self.say, self.processes = regent, root, folder, say, processes
        os.makedirs(folder)
        self.env = {**os.environ, "REGENT_CONFIG": os.path.join(folder, "profiles.yaml")}
        for name in ("REGENT_URL", "REGENT_TOKEN"):
            self.env.pop(name, None)

    def start(self, out, *words):
        with open(os.path.join(self.folder, out), "w") as f, open(os.path.join(self.folder, out + ".log"), "w") as log:
            self.processes.append(subprocess.Popen([self.regent, *words], stdout=f, stderr=log, cwd=self.folder, env=self.env))
        return self.processes[-1]

    def run(self, *words, stdin="", show=True):
        """The command, shown with what it prints."""
        if show:
            self.say("  $ regent " + " ".join(words))
        done = subprocess.run([self.regent, *words], input=stdin, capture_output=True, text=True, cwd=self.folder, env=self.env)
        if show:
            for line in (done.stdout + done.stderr).splitlines():
                self.say("    " + line)
        return done.returncode == 0

    def printed(self, out, pattern):
        """What a process prints, once it does."""
        for _ in range(200):
            found = re.search(pattern, open(os.path.join(self.folder, out)).read())
            if found:
                return found[1]
            time.sleep(0.05)
        raise RuntimeError(f"{out} does not start: {open(os.path.join(self.folder, out + '.log')).read()[-2000:]}")

    def ask(self, tenant):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("POST", "/v1/data/shop/reasons", json.dumps({"input": ORDER}),
                           {"content-type": "application/json", "x-tenant-id": tenant})
        return json.loads(connection.getresponse().read()).get("result")

    def until(self, tenant, want):
        """The answer, and the milliseconds until it was so."""
        began = time.perf_counter()
        while time.perf_counter() - began < 10:
            try:
                got = self.ask(tenant)
            except OSError:
                got = None
            if got and want in got[0]:
                return got, (time.perf_counter() - began) * 1000
            time.sleep(0.002)
        return got, -1

    def edit(self, path, old, new):
        path = os.path.join(self.folder, "repo", path)
        text = open(path).read().replace(old, new)
        with open(path, "w") as f:
            f.write(text)


def show(regent, root, folder, port, step, say, processes):
    step("8. A control plane: a folder as Git would hold it becomes templates, libraries, tenants (examples/control)")
    p = Platform(regent, root, os.path.join(folder, "platform"), say, processes)
    p.start("control", "control", "--addr", "127.0.0.1:0")
    url = p.printed("control", r"Console: (http://[^/\s]+)")
    good = p.run("login", url, stdin=p.printed("control", r"One-time admin token[^:]*: (\S+)") + "\n")
    shutil.copytree(os.path.join(root, "examples", "control"), os.path.join(p.folder, "repo"))
    good = p.run("apply", "-f", "repo") and good
    step("9. An edge that follows it")
    p.port = port
    with open(os.path.join(p.folder, "edge.yaml"), "w") as f:
        f.write(EDGE_YAML.format(url=url, port=port))
    good = p.run("token", "edge-1", "--role", "edge", "--file", "edge.token") and good
    p.start("edge", "edge", "--config", "edge.yaml")
    got, ms = p.until("acme", "need a manager")
    say(f"  acme, an order of 7000: {got}")
    step("10. The template changes, for all its tenants; acme has a check that wants the old text")
    p.edit("templates/shop/policy.rego", "need a manager", "wait for a manager")
    refused = not p.run("apply", "-f", "repo")
    say(f"  acme keeps what it had: {p.ask('acme')}; its check is put right:")
    p.edit("policies/acme/checks.json", "need a manager", "wait for a manager")
    good = p.run("apply", "-f", "repo") and good and ms >= 0 and refused
    got, ms = p.until("acme", "wait for a manager")
    say(f"  acme, an order of 7000: {got}, {ms:.0f} ms after `apply` has ended")
    good = p.run("release", "acme", "--rollback") and good and ms >= 0
    got, ms = p.until("acme", "need a manager")
    say(f"  acme, an order of 7000: {got}, {ms:.0f} ms later")
    return good and ms >= 0
