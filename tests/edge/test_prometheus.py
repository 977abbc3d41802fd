"""A real Prometheus scrapes a real node: rules and alerts (promtool), recording rules and every panel of the dashboards have data,
names for some tenants.

in:  $BUILD/regent; prometheus and promtool. out: TAP lines; exit status 1 when a case fails. owns: the processes it starts.
"""
import functools
import gzip
import http.server
import json
import os
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import yaml

from edge_lib import REGENT, ROOT, TMP, build, check, equal, finish, free_port, http as ask, start, stop, wait_for

RULES = ROOT + "/deploy/prometheus"
GRAFANA = ROOT + "/deploy/grafana"
POLICIES = {
    "fast": "allow if input.user == \"ann\"",
    "denied": "default allow := false\nallow if input.user == \"nobody\"",
    "slow": "allow if { some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i * j < 0 }",
}
NAMES = 4  # tenants with series of their own


def promtool(*arguments, **more):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, **more)
    return done.returncode, done.stdout + done.stderr


# ---- files alone ----
def files_cases():
    for arguments in (["check", "rules", "rules.yml", "alerts.yml"], ["check", "config", "prometheus.yml"],
                      ["test", "rules", "rules_test.yml"]):
        code, said = promtool(*arguments, cwd=RULES)
        equal(f"promtool {' '.join(arguments)}", (code, said if code else ""), (0, ""))
    rules = [r for g in yaml.safe_load(open(RULES + "/rules.yml"))["groups"] for r in g["rules"]]
    alerts = [r for g in yaml.safe_load(open(RULES + "/alerts.yml"))["groups"] for r in g["rules"]]
    page = open(ROOT + "/docs/monitoring.md", encoding="utf-8").read()
    equal("every rule and alert is described", [r for r in [a.get("alert") or a["record"] for a in rules + alerts] if f"`{r}`" not in page], [])
    tested = open(RULES + "/rules_test.yml").read()
    equal("every alert has a test", [a["alert"] for a in alerts if f"alertname: {a['alert']}" not in tested], [])
    for path in ("datasources/prometheus.yml", "dashboards/regent.yml"):
        equal(f"provisioning of {path.split('/')[0]}", yaml.safe_load(open(f"{GRAFANA}/provisioning/{path}"))["apiVersion"], 1)


def dashboards():
    return [json.load(open(f"{GRAFANA}/dashboards/{name}")) for name in sorted(os.listdir(GRAFANA + "/dashboards"))]


def overlaps(panels):
    taken = set()
    for p in panels:
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        if cells & taken or g["x"] + g["w"] > 24:
            return p["title"]
        taken |= cells
    return None


def dashboard_cases():
    boards = dashboards()
    equal("dashboards", sorted(b["title"] for b in boards), ["Multi-Tenant Performance", "Tenant"])
    equal("each has a name of its own", len({b["uid"] for b in boards}), len(boards))
    for b in boards:
        variables = {v["name"] for v in b["templating"]["list"]}
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(b["panels"]))) - {"__all", "__rate_interval"}
        equal(f"{b['title']}: variables are declared", used - variables, set())
        equal(f"{b['title']}: no panel lies on another", overlaps(b["panels"]), None)
        equal(f"{b['title']}: panels are numbered", len({p["id"] for p in b["panels"]}), len(b["panels"]))
        links = [l["url"].rsplit("/", 1)[1] for l in b["links"]]
        check(f"{b['title']}: links lead to dashboards", links and set(links) <= {x["uid"] for x in boards}, links)
    titles = {p["title"] for b in boards for p in b["panels"]}
    equal("the panels that were asked for", {"P99 by tenant", "Requests/s by tenant", "Denial rate by tenant", "Module load time"} - titles, set())


# ---- a node and its Prometheus ----
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Node:
    def __init__(self):
        self.folder, self.port = TMP + "/node", free_port()
        for tenant, policy in [*POLICIES.items(), *((f"quiet{i}", POLICIES["fast"]) for i in range(4)), ("other", POLICIES["fast"])]:
            build({"p.rego": "package p\n" + policy + "\n"}, ["p/allow"], f"{self.folder}/tenants/{tenant}/bundle.tar.gz")
        build({"p.rego": "package p\n" + POLICIES["fast"] + "\n"}, ["p/allow"], f"{TMP}/cdn/tenants/fetched/bundle.tar.gz")
        handler = functools.partial(Quiet, directory=TMP + "/cdn")
        self.cdn = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.cdn.serve_forever, daemon=True).start()
        self.file, self.log = self.folder + "/edge.yaml", self.folder + "/log"
        with open(self.file, "w") as f:
            f.write(f"""tenants: {{directory: {self.folder}}}
tenant_from: [{{header: {{name: x-tenant-id, trusted: [127.0.0.0/8]}}}}]
listeners: [{{address: "127.0.0.1:{self.port}", doors: [rest, health, metrics, status]}}]
limits: {{default: {{deadline: 6ms}}}}
metrics: {{tenants: {NAMES}}}
store: {{directory: {self.folder}/store}}
sources: [{{name: "c\\"dn", http: {{base: "http://127.0.0.1:{self.cdn.server_address[1]}"}}, tenants: [fetched, missing], poll: 1s}}]
decision_log: {{file: {self.folder}/decisions}}
log: {{format: json}}
""")
        self.asked = {}
        self.process = start([REGENT, "edge", "--config", self.file], self.log)
        if not wait_for(lambda: '"ready"' in open(self.log).read()):
            raise RuntimeError("the node does not start: " + open(self.log).read())

    def ask(self, tenant):
        status = ask(self.port, "POST", "/v1/data/p/allow", '{"input": {"user": "ann"}}', {"x-tenant-id": tenant})[0]
        if status not in (0, 503):  # refused for overload: the node's count, and no tenant's
            self.asked[tenant] = self.asked.get(tenant, 0) + 1

    def metrics(self):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10).read().decode()


class Prometheus:
    """deploy/prometheus/prometheus.yml as it is, but for the target and the pace."""

    def __init__(self, target):
        config = yaml.safe_load(open(RULES + "/prometheus.yml"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [f"{RULES}/{f}" for f in config["rule_files"]]
        for job in config["scrape_configs"]:
            job["scrape_timeout"] = "1s"
            job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
        self.port, file = free_port(), TMP + "/prometheus.yml"
        yaml.safe_dump(config, open(file, "w"))
        self.log = TMP + "/prometheus.log"
        self.process = start(["prometheus", f"--config.file={file}", f"--storage.tsdb.path={TMP}/tsdb",
                              f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"], self.log)
        if not wait_for(lambda: self.get("/-/ready") is not None, 30):
            raise RuntimeError("Prometheus does not start: " + open(self.log).read())

    def get(self, path, **parameters):
        query = "?" + urllib.parse.urlencode(parameters, doseq=True) if parameters else ""
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}{query}", timeout=10).read()

    def query(self, expression):
        """[(labels, value)], without what is no number."""
        try:
            reply = json.loads(self.get("/api/v1/query", query=expression))
        except urllib.error.HTTPError as e:
            return [({"query_error": e.read().decode()}, 0)]
        result = reply["data"]["result"]
        values = [(r["metric"], float(r["value"][1])) for r in result] if isinstance(result[:1], list) and result else []
        return [(m, v) for m, v in values if v == v]

    def by_tenant(self, expression):
        return {m.get("tenant_id"): v for m, v in self.query(expression)}

    def pending(self, alert):
        alerts = json.loads(self.get("/api/v1/alerts"))["data"]["alerts"]
        return {a["labels"].get("tenant_id") for a in alerts if a["labels"]["alertname"] == alert}


def traffic(node, until):
    """The three tenants all the time; what is slow less often, for each request takes its whole deadline."""
    n = 0
    while not until.is_set():
        node.ask("fast")
        node.ask("denied")
        if n % 4 == 0:
            node.ask("slow")
        if n % 10 == 0:
            for tenant in ("quiet0", "quiet1", "other"):
                node.ask(tenant)
        n += 1
        time.sleep(0.01)


def rule_cases(prometheus):
    rate = prometheus.by_tenant("opa_wasm:requests_per_second:by_tenant")
    check("requests/s of the tenants", set(rate) >= {"fast", "denied", "slow", "other"} and rate["fast"] > rate["slow"] > 0, rate)
    equal("so many have names, and the others are one", len(rate), NAMES + 1)
    deny = prometheus.by_tenant("opa_wasm:deny_rate:by_tenant")
    equal("denial rates", [round(deny.get(t, -1), 3) for t in ("fast", "denied", "slow")], [0, 1, 1])
    p99 = prometheus.by_tenant("opa_wasm:eval_duration_seconds:p99")
    check("P99 of who is slow is near the deadline", p99.get("slow", 0) > 0.004, p99)
    check("P99 of who is fast is not", 0 < p99.get("fast", 1) < 0.004, p99)
    load = prometheus.by_tenant("opa_wasm:load_duration_seconds:p99")
    check("loading", all(0 < load.get(t, 0) < 10 for t in ("fast", "denied", "slow")), load)
    wait_for(lambda: prometheus.pending("OPAWASMHighDenyRate") == {"denied", "slow"}, 10)
    equal("the alert waits for who denies all", prometheus.pending("OPAWASMHighDenyRate"), {"denied", "slow"})


def panel_cases(prometheus):
    for board in dashboards():
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            values = json.loads(prometheus.get(f"/api/v1/label/{label}/values", **{"match[]": metric}))["data"]
            check(f"{board['title']}: {variable['name']} has values", values, values)
        values = {"tenant_id": ".*" if "multi" in board["uid"] else "slow", "instance": ".*"}
        for panel in board["panels"]:
            for target in panel["targets"]:
                expression = re.sub(r"\$(tenant_id|instance)", lambda m: values[m.group(1)], target["expr"])
                got = prometheus.query(expression)
                check(f"{board['title']}: {panel['title']} {target['refId']}", got and "query_error" not in got[0][0], f"{expression}\n{got}")


def node_cases():
    node = Node()
    prometheus = Prometheus(node.port)
    done = threading.Event()
    client = threading.Thread(target=traffic, args=(node, done))
    client.start()
    ready = wait_for(lambda: prometheus.by_tenant("opa_wasm:deny_rate:by_tenant").get("slow") and
                     prometheus.query("rate(regent_decision_log_events_total[5m]) > 0"), 40)
    check("the rules have values", ready, open(prometheus.log).read()[-1500:])
    rule_cases(prometheus)
    panel_cases(prometheus)
    done.set()
    client.join()
    want = sum(node.asked.values())
    check("sums over tenants are exact", wait_for(lambda: prometheus.query("sum(envoy_wasm_opa_total)")[0][1] == want, 15),
          f"{prometheus.query('envoy_wasm_opa_total')} of {node.asked}")
    text = node.metrics()
    code, said = promtool("check", "metrics", input=text)
    equal("promtool check metrics finds nothing", (code, said), (0, ""))
    request = urllib.request.Request(f"http://127.0.0.1:{node.port}/metrics", headers={"Accept-Encoding": "gzip"})
    packed = urllib.request.urlopen(request, timeout=10)
    equal("compressed for who takes it", (packed.headers["Content-Encoding"], re.findall("^# TYPE .*", gzip.decompress(packed.read()).decode(), re.M)),
          ("gzip", re.findall("^# TYPE .*", text, re.M)))
    others = sum(n for t, n in node.asked.items() if f'envoy_wasm_opa_total{{tenant_id="{t}"}}' not in text or t == "other")
    check("a tenant named other is one of them", f'envoy_wasm_opa_total{{tenant_id="other"}} {others}\n' in text, text[:600])
    page = "".join(open(f"{ROOT}/docs/{name}", encoding="utf-8").read() for name in os.listdir(ROOT + "/docs") if name.endswith(".md"))
    families = re.findall(r"^# TYPE (\S+)", text, re.M)
    equal("no family twice", len(families), len(set(families)))
    equal("every family is described", [f for f in families if not re.search(rf"`{f}[`{{]", page)], [])
    for name in ("envoy_wasm_opa_total", "envoy_wasm_opa_deny_total", "envoy_wasm_opa_eval_duration_bucket", "regent_errors_total"):
        equal(f"{name} never went backwards", prometheus.query(f"resets({name}[1h]) > 0"), [])
    equal("the node ends well", stop(node.process), 0)
    check("it misses the node", wait_for(lambda: [v for _, v in prometheus.query("up")] == [0], 10))
    stop(prometheus.process)


files_cases()
dashboard_cases()
node_cases()
finish()
