#!/usr/bin/env python3
"""Sources that fail in every way we could think of: each time the version before goes on answering, the log says why, and the next good reply is
taken.

in:  BUILD. out: TAP. owns: the servers and the node it starts."""
import os
import socket
import ssl
import subprocess
import threading
import time

from edge_lib import TMP, check, equal, finish, free_port, stop, wait_for
from sources_lib import Server, becomes, bundle, sourced, who

PATH = "/cdn/tenants/a/bundle.tar.gz"
CURRENT = {"n": 1}


def raw_reply(head, body=b"", pause=0.0, close=True):
    """A fault that writes these bytes to the socket."""
    def fault(h):
        h.note(0)
        h.close_connection = close
        try:
            h.connection.sendall(head)
            for i in range(0, len(body), 1000) if pause else [0]:
                h.connection.sendall(body[i:i + 1000] if pause else body)
                time.sleep(pause)
        except OSError:
            pass
        return True
    return fault


def status(code, body=b"no", **headers):
    def fault(h):
        h.reply(code, body, {k.replace("_", "-"): v for k, v in headers.items()})
        return True
    return fault


def hang(h):
    h.note(0)
    h.close_connection = True
    time.sleep(1.5)
    return True


def length(n):
    return f"HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n".encode()


def case(e, s, name, fault, reason):
    """The source fails so; then it is well again and has a new version."""
    before, old = len(e.logged("bundle refused", tenant_id="a")), who(e, "a")
    good = bundle("ann", str(CURRENT["n"] + 1))
    failed = int(e.metrics()['regent_source_fetches_total{source="cdn",outcome="failed"}'])
    refused = int(e.metrics()['regent_source_refused_total{source="cdn"}'])
    s.faults[PATH] = fault

    def counted():
        m = e.metrics()
        return (int(m['regent_source_fetches_total{source="cdn",outcome="failed"}']) > failed
                or int(m['regent_source_refused_total{source="cdn"}']) > refused)
    seen = wait_for(counted, 8)
    said = [l["reason"] for l in e.logged("bundle refused", tenant_id="a")[before:]]
    check(f"{name}: counted", seen)
    check(f"{name}: the log says why", any(reason in r for r in said), said)
    equal(f"{name}: the version before answers", who(e, "a"), old)
    CURRENT["n"] += 1
    s.files[PATH] = good
    del s.faults[PATH]
    check(f"{name}: it recovers", becomes(e, "a", str(CURRENT["n"])), e.lines()[-5:])


def faults():
    s, other = Server(), Server()
    good = s.files[PATH] = bundle("ann", "1")
    other.files["/there"] = bundle("ann", "elsewhere")
    port = other.port
    s.headers[PATH] = {"x-regent-serial": "5"}
    e = sourced("faults", [{"name": "cdn", "http": {"base": s.url + "/cdn"}, "tenants": ["a"], "poll": "100ms", "timeout": "600ms",
                            "max_size": "64KiB"}]).begin()
    equal("it begins well", who(e, "a"), "1")
    for code in (500, 503, 403, 404, 204, 206, 418):
        case(e, s, f"status {code}", status(code, b"" if code == 204 else good), f"status {code}")
    case(e, s, "empty", status(200, b""), "empty")
    case(e, s, "304 for what was never given", lambda h: (h.headers.get("If-None-Match") is None and status(304)(h)) or status(500)(h), "status")
    case(e, s, "hanging", hang, "timed out")
    case(e, s, "slow drip", raw_reply(length(len(good)), good, pause=0.1), "timed out")
    case(e, s, "cut short", raw_reply(length(len(good)), good[:len(good) // 2]), "remaining")
    case(e, s, "Content-Length too small", raw_reply(length(len(good) // 2), good), "")
    case(e, s, "Content-Length too large", raw_reply(length(len(good) + 1000), good), "")
    case(e, s, "Content-Length absurd", raw_reply(length(1 << 40), good), "")
    case(e, s, "no HTTP", raw_reply(b"SSH-2.0-OpenSSH\r\n"), "")
    case(e, s, "endless headers", raw_reply(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 200000), "")
    case(e, s, "huge", status(200, b"x" * 200000), "max_size")
    case(e, s, "huge, in chunks", raw_reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 10), "max_size")
    case(e, s, "no bundle", status(200, b"<html>maintenance</html>"), "")
    case(e, s, "half a bundle", status(200, good[:len(good) // 2]), "")
    case(e, s, "another host", status(302, b"", Location=f"http://localhost:{port}/there"), "does not allow")
    case(e, s, "a redirect to a file", status(302, b"", Location="file:///etc/passwd"), "does not allow")
    case(e, s, "a redirect to nowhere", status(302, b""), "nowhere")
    case(e, s, "last year's version", status(200, bundle("ann", "0"), x_regent_serial="4"), "allow_older")
    case(e, s, "connection reset", lambda h: (h.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"), h.connection.close(), True)[2], "")
    equal("nobody was asked who was not to be", other.count(), 0)
    gone(e, s)
    redirects(s, other)
    s.stop()
    other.stop()


def gone(e, s):
    """Nobody listens for a while."""
    s.faults["*"] = lambda h: setattr(h, "close_connection", True) or True
    s.shutdown()
    s.socket.close()
    check("refused connections: the version before answers", wait_for(lambda: any("onnect" in l["reason"] for l in e.logged("bundle refused"))))
    equal("refused connections: …", who(e, "a"), str(CURRENT["n"]))
    equal("the node ends while its source is gone", stop(e.process), 0)
    e = sourced("dead", [{"name": "dead", "http": {"base": f"http://127.0.0.1:{free_port()}"}, "tenants": ["a", "b"], "poll": "100ms"}]).begin()
    told = e.logged("tenants not loaded")
    equal("a source that is gone at the start: the node starts, and says whom it lacks", (len(told), told[0]["count"], who(e, "a")), (1, "2", 404))
    stop(e.process)


def redirects(s, other):
    """Hosts that the configuration allows; tokens stay at home; loops end."""
    s2 = Server()
    s2.token = "t0"
    other.asked.clear()
    with open(TMP + "/r.token", "w") as f:
        f.write("t0")
    os.chmod(TMP + "/r.token", 0o600)
    s2.faults[PATH] = status(307, b"", Location=f"http://localhost:{other.port}/there")
    s2.faults[PATH.replace("/a/", "/loop/")] = status(302, b"", Location=PATH.replace("/a/", "/loop/"))
    e = sourced("redirects", [{"name": "cdn", "http": {"base": s2.url + "/cdn"}, "tenants": ["a", "loop"], "poll": "100ms",
                               "redirects": ["localhost", "127.0.0.1"], "token_file": TMP + "/r.token"}]).begin()
    equal("a host that is allowed is followed", who(e, "a"), "elsewhere")
    check("without the token", "authorization" not in other.last("/there"))
    check("a loop of redirects ends", any("more than 3 times" in l["reason"] for l in e.logged("bundle refused", tenant_id="loop")))
    stop(e.process)
    s2.stop()


def tls():
    folder = f"{TMP}/tls"
    os.makedirs(folder)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-days", "2", "-keyout", f"{folder}/k.key", "-out", f"{folder}/k.crt"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/k.crt", f"{folder}/k.key")
    context.load_verify_locations(f"{folder}/k.crt")
    s = Server(tls=context)
    s.files[PATH] = bundle("ann", "1")
    source = {"name": "cdn", "http": {"base": s.url + "/cdn"}, "tenants": ["a"], "poll": "100ms"}
    e = sourced("unknown_ca", [source]).begin()
    told = e.logged("tenants not loaded")
    check("an unknown CA: refused, and said", told and "certificate" in told[0]["reason"] and who(e, "a") == 404, told)
    stop(e.process)
    context.verify_mode = ssl.CERT_REQUIRED
    known = {**source, "ca_file": f"{folder}/k.crt"}
    e = sourced("no_client", [known]).begin()
    equal("a server that wants a certificate", who(e, "a"), 404)
    stop(e.process)
    os.chmod(f"{folder}/k.key", 0o600)
    e = sourced("known_ca", [{**known, "client_certificate": f"{folder}/k.crt", "client_key": f"{folder}/k.key"}]).begin()
    equal("a known CA, and a certificate to show", who(e, "a"), "1")
    stop(e.process)
    s.stop()


def storm():
    """Versions change all the time and the server fails at random, while requests come: nobody sees anything but a version."""
    s = Server()
    bundles = [bundle("ann", str(i)) for i in range(4)]
    tenants = [f"t{i}" for i in range(20)]
    for t in tenants:
        s.files[f"/cdn/tenants/{t}/bundle.tar.gz"] = bundles[0]
    e = sourced("storm", [{"name": "cdn", "http": {"base": s.url + "/cdn"}, "tenants": tenants, "poll": "100ms", "timeout": "300ms"}]).begin()
    end, turn = time.time() + 4, 0
    wrong = []

    def ask():
        while time.time() < end:
            got = who(e, tenants[int(time.time() * 1e6) % 20])
            if got not in ("0", "1", "2", "3"):
                wrong.append(got)
    asker = threading.Thread(target=ask)
    asker.start()
    while time.time() < end:
        turn += 1
        kinds = [status(500), status(200, b""), raw_reply(length(9999), b"x"), hang, None, None]
        s.faults = {f"/cdn/tenants/{t}/bundle.tar.gz": f for i, t in enumerate(tenants) if (f := kinds[(turn * 7 + i) % 6])}
        for i, t in enumerate(tenants):
            s.files[f"/cdn/tenants/{t}/bundle.tar.gz"] = bundles[(turn + i) % 4]
        time.sleep(0.05)
    asker.join()
    s.faults = {}
    equal("a storm: every answer was a version's", wrong, [])
    check("a storm: afterwards all are current", wait_for(lambda: all(who(e, t) == str((turn + i) % 4) for i, t in enumerate(tenants))))
    equal("a storm: the node ends", stop(e.process), 0)
    s.stop()


for part in (faults, tls, storm):
    if os.environ.get("PARTS", part.__name__).find(part.__name__) >= 0:
        part()
finish()
