#!/usr/bin/env python3
"""Input documents of random CheckRequests, beside a judge made of the Go libraries that opa-envoy-plugin uses.

in: BUILD, REGENT_CACHE (the judge is built there once), AUTHZ_CASES (how many; default 4,000), AUTHZ_SEED. out: TAP. owns:
a temporary folder."""
import json
import os
import random
import struct
import subprocess
from decimal import Decimal

from edge_lib import ROOT, TMP, check, encode, equal, finish

CACHE = os.environ.get("REGENT_CACHE") or os.path.expanduser("~/.cache/regent")
JUDGE = f"{CACHE}/authz_judge/judge"
CASES = int(os.environ.get("AUTHZ_CASES", "4000"))
SEED = int(os.environ.get("AUTHZ_SEED", "20261122"))
SOURCES = ["json_text", "authz_check", "authz_input", "authz_parsed", "authz_multipart", "authz_decision"]

WORDS = ["", "a", "x y", "tenant", "Ünïcode ☃", "\U0001f600", "quo\"te", "back\\slash", "\0\x01\x1f", "\u2028", "a" * 200, "%41", "é" * 9,
         "1234567", "12345678", "<&>", "\x7f", "/", "//", ".."]
JSON_TEXTS = ['{"a":1,"b":[true,null,"x"]}', "[]", "{}", '"s"', "0", "-1.5e3", " [1 , 2] ", '{"a":{"b":{"c":[[[]]]}}}', '{"a":1,"a":2}', "1e400",
              '"\\ud83d\\ude00 \\u00e9 \\ud800"', "{", "[1,]", '{"a":}', "1 2", "{}x", "01", "+1", ".5", "1.", "'a'", "nul", "\x00", '"\t"',
              '{"a" : "b" ,\n"c":\t3}', "123456789012345678901234567890.123", "true ", "  ", "[" * 50 + "]" * 50, "[" * 11000 + "]" * 11000]
FORMS = ["a=1&b=2&a=3", "a", "=v", "&&", "a=%20b+c", "a=%zz", "a=%4", "a;b=1", "%", "a=b=c", "ä=ö", "a=%C3%A4", "a=1&" * 20, "x=%00", "+=+"]
TYPES = ["application/json", "application/json; charset=utf-8", "text/application/json", "application/grpc", "application/grpc+proto",
         "application/x-www-form-urlencoded", "multipart/form-data; boundary=B", 'multipart/form-data; boundary="B B"', "text/plain",
         "multipart/form-data", "Application/JSON", "multipart/form-data;boundary=B;", "multipart/form-data; boundary=B; boundary=B",
         "multipart/form-data; boundary=B; boundary=C", "x multipart/form-data; boundary=B", "multipart/form-data; boundary", "", "application/jso",
         'multipart/form-data; charset="a\\"b"; BOUNDARY=B', "multipart/form-data; boundary=\"\"", "application/grpc application/json"]
PATHS = ["/", "", "/a/b", "//a///b/", "/a%20b/%2F%2f", "/a?x=1", "/?", "/a?x=%zz", "/%", "/%4", "/a%zz?x=1", "*", "http://h/a?b", "/a?b?c=d", "/é/☃",
         "/a/../b/./c", "/a;b/c?x;y", "?a=1", "/%00", "/a+b?c+d=e+f", "/a#frag?x=1", "/" + "a/" * 50, "/a?" + "k=v&" * 30, "/%ff/%C3%A4", "/a?%ff=%C3"]


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def word(self):
        return self.r.choice(WORDS)

    def maybe(self, p=0.5):
        return self.r.random() < p

    def pairs(self, most=4):
        """Entries of map<string, string>; sometimes one comes twice."""
        return [{1: self.word(), 2: self.word()} for _ in range(self.r.randint(0, most))]

    def address(self):
        kind = self.r.randint(0, 3)
        if kind == 0:
            return {2: {k: v for k, v in {1: "/run/" + self.word(), 2: self.r.choice([0, 420])}.items() if self.maybe(0.8)}}
        if kind == 1:
            return {3: {k: v for k, v in {1: self.word(), 2: self.word()}.items() if self.maybe(0.8)}}
        port = {3: self.r.choice([0, 80, 65535])} if self.maybe() else {4: self.word()}
        socket = {1: self.r.choice([0, 1]), 2: "10.0.0.1", **(port if self.maybe(0.9) else {}), 5: self.word(), 6: self.maybe(), 7: self.word()}
        return {1: {k: v for k, v in socket.items() if self.maybe(0.8)}}

    def peer(self):
        return self.some({1: self.address(), 2: self.word(), 3: self.pairs(), 4: self.word(), 5: self.word()})

    def some(self, fields, p=0.6):
        return {k: v for k, v in fields.items() if self.maybe(p)}

    def value(self, depth=0):
        kind = self.r.randint(0, 6 if depth < 4 else 4)
        if kind == 0:
            return {1: 0}
        if kind == 1:
            return {2: self.r.choice([0.0, 1.0, -1.5, 1e21, 1e-7, 123456789.125, 0.1, 1e300, 5e-324, float("nan"), float("inf"), -float("inf"), 1 / 3])}
        if kind == 2:
            return {3: self.word()}
        if kind == 3:
            return {4: self.maybe()}
        if kind == 4:
            return {}
        if kind == 5:
            return {5: self.struct(depth + 1)}
        return {6: {1: [self.value(depth + 1) for _ in range(self.r.randint(0, 3))]}}

    def struct(self, depth=0):
        return {1: [{1: self.word(), 2: self.value(depth)} for _ in range(self.r.randint(0, 3))]}

    def metadata(self):
        return self.some({1: [{1: self.word(), 2: self.struct()} for _ in range(self.r.randint(0, 2))],
                          2: [{1: self.word(), 2: self.some({1: "type.example/" + self.word(), 2: self.bytes()})} for _ in range(self.r.randint(0, 2))]})

    def bytes(self):
        return bytes(self.r.randrange(256) for _ in range(self.r.randint(0, 12)))

    def multipart(self):
        line = self.r.choice(["\r\n", "\r\n", "\n"])
        boundary = self.r.choice(["B", "B", "B B", "C"])
        out = self.r.choice(["", "", "preamble" + line, "x" * 5000 + line])
        for _ in range(self.r.randint(0, 3)):
            name = self.r.choice(['name=a', 'name="b c"', 'name=""', 'Name=a', 'name="q\\"q"', 'name="c:\\dir"', "name", 'name=a; name=a', 'name=a; name=b',
                                  'filename=f; name=z', 'name="é"', "x=y", "name=a;", "name = a", 'name=a; filename="f'])
            out += "--" + boundary + self.r.choice(["", "", " \t"]) + line
            out += self.r.choice(["Content-Disposition: form-data; ", "content-disposition:form-data;", "Content-Disposition: attachment; ",
                                  "Content-Disposition: Form-Data ;", "X: "]) + name + line
            out += self.r.choice(["", "", "Content-Type: application/json" + line, "content-TYPE:text/plain" + line, "X-Folded: a" + line + "  b" + line,
                                  "bad header" + line, " leading" + line, ": empty" + line, "Sp ace: x" + line, "Ctl: \x01" + line])
            out += line + self.r.choice(JSON_TEXTS[:8] + ["", "text", "--" + boundary + "x", line + "--" + boundary + "-", "a" + line + "b", "\r\n", "--"]) + line
        out += self.r.choice(["--" + boundary + "--", "--" + boundary + "--" + line, "--" + boundary + "-- " + line + "epilogue", "--" + boundary, ""])
        if self.maybe(0.1):
            out = out[:self.r.randint(0, len(out))]
        return out

    def http(self):
        kind, headers = self.r.choice(TYPES), []
        for _ in range(self.r.randint(0, 3)):
            headers.append((self.word(), self.word()))
        if self.maybe(0.8):
            headers.append(("content-type", kind))
        body = self.r.choice(JSON_TEXTS if "json" in kind else FORMS if "form-urlencoded" in kind else [self.multipart()] if "multipart" in kind else WORDS)
        if self.maybe(0.1):
            body = self.r.choice(JSON_TEXTS + FORMS + [self.multipart()])
        n = len(body.encode())
        if self.maybe(0.3):
            length = self.r.choice([str(n), str(n), str(n + 1), "-1", "0", "x", "", "+5", "-2", "99999999999999999999", "9223372036854775807", "9223372036854775808", " 1", "1_0"])
            headers.append(("content-length", length))
        if self.maybe(0.1):
            headers.append(("x-envoy-auth-partial-body", self.r.choice(["true", "false", "TRUE"])))
        self.r.shuffle(headers)
        fields = {1: self.word(), 2: "GET", 4: self.r.choice(PATHS), 5: self.word(), 6: "http", 7: self.word(), 8: self.word(),
                  9: self.r.choice([0, -1, 12, 1 << 40]), 10: "HTTP/2"}
        out = self.some(fields, 0.8)
        if self.maybe(0.85):
            out[3] = [{1: k, 2: v} for k, v in headers]
        else:
            out[13] = {1: [self.some({1: k, 2: v}, 0.95) if self.maybe() else {1: k, 3: v.encode()} for k, v in headers]}
        if self.maybe(0.8):
            out[11 if self.maybe() else 12] = body if self.maybe(0.95) else ""
        return out

    def request(self):
        attributes = self.some({1: self.peer(), 2: self.peer(), 10: self.pairs(), 11: self.metadata(), 12: self.some({1: self.word()}), 13: self.metadata()}, 0.3)
        if self.maybe(0.97):
            attributes[4] = self.some({1: self.some({1: self.r.choice([0, 1700000000, -1, -(1 << 40)]), 2: self.r.choice([0, 5, 999999999])}), 2: self.http()}, 0.95)
        items = list(attributes.items())
        if self.maybe(0.1):
            self.r.shuffle(items)
        message = encode({1: dict(items)}) if self.maybe(0.99) else b""
        if self.maybe(0.03):  # what serializers do not write: pieces that have to be joined, unknown fields
            message += encode({1: self.r.choice([{4: {2: self.http()}}, {1: self.peer()}, {99: "unknown"}, {11: self.metadata()}, {1: {1: self.address()}}])})
        return message


def frames(messages):
    return b"".join(struct.pack(">I", len(m)) + m for m in messages)


def plain(v):
    """Comparable: numbers by value, lone surrogates as Go replaces them."""
    if isinstance(v, dict):
        return {plain(k): plain(x) for k, x in v.items()}
    if isinstance(v, list):
        return [plain(x) for x in v]
    if isinstance(v, str):
        return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in v)
    return v


def answers(program, data):
    done = subprocess.run([program], input=data, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr.decode(errors='replace')[-2000:]}")
    return [plain(json.loads(line, parse_int=Decimal, parse_float=Decimal)) if len(line) < 100000 or b"[[[[" not in line else line[:50]
            for line in done.stdout.split(b"\n")[:-1]]


def build_programs():
    os.makedirs(os.path.dirname(JUDGE), exist_ok=True)
    judge = subprocess.run(["go", "build", "-o", JUDGE, "."], cwd=ROOT + "/tests/edge/authz_judge", capture_output=True, text=True)
    ours = os.path.join(TMP, "authz_dump")
    sources = [f"src/edge/{s}.c" for s in SOURCES] + ["src/net/protobuf.c", "src/net/http.c"]
    base = [os.path.join("src/base", f) for f in os.listdir(ROOT + "/src/base") if f.endswith(".c")]
    dump = subprocess.run(["clang", "-std=c11", "-O1", "-g", "-D_GNU_SOURCE", "-Isrc", "-Iinclude", "-fsanitize=address,undefined",
                           "-fno-sanitize-recover=undefined", "-o", ours, "tests/edge/authz_dump.c", *sources, *base, "-lcrypto", "-lyaml", "-lz", "-lm"],
                          cwd=ROOT, capture_output=True, text=True)
    check("the judge builds", judge.returncode == 0, judge.stderr)
    check("the dump of ours builds", dump.returncode == 0, dump.stderr)
    return ours if judge.returncode == dump.returncode == 0 else None


# Where Regent denies what the plugin reads: encodings of multipart that no browser sends.
STRICTER = ("quoted-printable", "extended form name*")


def compare(ours):
    maker = Maker(SEED)
    messages = [maker.request() for _ in range(CASES)]
    data = frames(messages)
    got, want = answers(ours, data), answers(JUDGE, data)
    equal("both answer every CheckRequest", (len(got), len(want)), (CASES, CASES))
    kinds, wrong = {}, []
    for message, g, w in zip(messages, got, want):
        kind = next(iter(w)) if isinstance(w, dict) else "deep"
        kinds[kind] = kinds.get(kind, 0) + 1
        same = g == w if kind in ("input", "deep") else next(iter(g)) in (kind, "error")
        if not same and not (next(iter(g)) == "error" and any(s in g["error"] for s in STRICTER)):
            wrong.append((message, g, w))
    check(f"{CASES} input documents are the judge's (seed {SEED})", not wrong,
          "\n".join(f"{m.hex()}\n  got  {json.dumps(g, default=str)}\n  want {json.dumps(w, default=str)}" for m, g, w in wrong[:3]) + f"\n{len(wrong)} differ")
    check("the cases hold documents and refusals", kinds.get("input", 0) > CASES // 3 and kinds.get("error", 0) > CASES // 20, kinds)


if __name__ == "__main__":
    program = build_programs()
    if program:
        compare(program)
    finish()
