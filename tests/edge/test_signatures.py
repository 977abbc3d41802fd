"""Bundles signed by real OPA, taken or refused by a real node: every algorithm, many kinds of content, and what attackers try.

in:  $BUILD/regent, $OPA, openssl. out: TAP lines; exit status 1 when a case fails."""
import base64
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time

from edge_lib import OPA, TMP, Edge, build, check, equal, finish, stop

DIR = os.path.join(TMP, "signing")
POLICY = "package shop\n\ndefault allow := false\nallow if input.user == data.boss\n"
DATA = '{"boss": "ann", "odd": [1e400, 1.0, -0, 12345678901234567890, 1E5, 0.10, -0.0, 1e-7], "text": "x<y>&z\\u2028\\u0001é\\ud83d\\ude00"}'
FILES = {}  # what regent builds of them, by name in the archive


def run(*command, cwd=DIR):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def read(name):
    with open(os.path.join(DIR, name)) as f:
        return f.read()


def write(name, text):
    with open(os.path.join(DIR, name), "w") as f:
        f.write(text)
    return os.path.join(DIR, name)


def key(name, *how):
    run("openssl", "genpkey", *how, "-out", f"{name}.pem")
    run("openssl", "pkey", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub")


def make_keys():
    os.makedirs(DIR)
    for name in ("rsa", "rsa2", "stranger"):
        key(name, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    for bits in ("256", "384", "521"):
        key("ec" + bits, "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:P-{bits}")
    key("ed", "-algorithm", "ED25519")
    write("signers.pem", "".join(read(n + ".pub") for n in ("rsa", "ec256", "ec384", "ec521", "ed")))
    secret = "0123456789abcdef" * 4
    k = base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
    write("secret.txt", secret)
    os.chmod(write("secrets.json", json.dumps({"keys": [{"kty": "oct", "kid": "s", "k": k}]})), 0o600)


def built():
    """The files of a bundle that regent builds."""
    out = os.path.join(DIR, "plain.tar.gz")
    build({"p.rego": POLICY, "data.json": DATA}, ["shop/allow"], out)
    with tarfile.open(out) as tar:
        for member in tar.getmembers():
            FILES[member.name.lstrip("/")] = tar.extractfile(member).read()


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def opa_signature(files, alg, key_text, claims=None):
    """What `opa sign --bundle .` writes for the files."""
    folder = os.path.join(DIR, "unpacked")
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
    extra = ["--claims-file", write("claims.json", json.dumps(claims))] if claims else []
    run(OPA, "sign", "--signing-alg", alg, "--signing-key", key_text, *extra, "-o", DIR, "--bundle", ".", cwd=folder)
    return read(".signatures.json").encode()


def archive(files, path, prefix=""):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tarfile.open(path + ".new", "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    os.rename(path + ".new", path)


def signed(files, alg="RS256", key_name="rsa", claims=None):
    return {**files, ".signatures.json": opa_signature(files, alg, os.path.join(DIR, key_name + ".pem"), claims)}


def by_hand(files, header, sign, claims=None):
    """The payload that OPA made, under another header and signature."""
    payload = json.loads(opa_signature(files, "RS256", os.path.join(DIR, "rsa.pem")))["signatures"][0].split(".")[1]
    if claims is not None:
        old = json.loads(base64.urlsafe_b64decode(payload + "=="))
        payload = b64(json.dumps({**old, **claims}).encode())
    text = b64(json.dumps(header).encode()) + "." + payload
    return {**files, ".signatures.json": json.dumps({"signatures": [text + "." + b64(sign(text.encode()))]}).encode()}


def ed25519(text):
    with open(os.path.join(DIR, "text"), "wb") as f:
        f.write(text)
    run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", "ed.pem", "-in", "text", "-out", "signature")
    with open(os.path.join(DIR, "signature"), "rb") as f:
        return f.read()


def kinds():
    """Contents that are hashed in different ways."""
    yield "nested", {**FILES, "a/b/data.json": b'{"z":1,"a":{"y":[],"b":{}}}', "c/data.json": b"{}"}
    yield "yaml", {**FILES, "y/data.yaml": b"k: [1, two, 1.50, 1e3, yes, off, ~, 0x10, 010, 1_000, .5]\nb: {<<: {c: 1}, d: 2}\n",
                   "m/data.yml": b"t: 2001-01-01\n"}
    yield "unicode", {**FILES, "notes/\u00e9\u4e16.txt": "\u00e9".encode(), "a b/x.txt": b"", "n/data.json": '{"\u00e9":"\\ud800"}'.encode()}
    yield "many", {**FILES, **{f"d/{i}/data.json": b'{"n": %d.0}' % i for i in range(200)}}


def good_cases(edge):
    """Tenants whose bundles are to be accepted."""
    names = []
    for alg, key_name in [("RS256", "rsa"), ("RS384", "rsa"), ("RS512", "rsa"), ("PS256", "rsa"), ("PS384", "rsa"), ("PS512", "rsa"),
                          ("ES256", "ec256"), ("ES384", "ec384"), ("ES512", "ec521")]:
        names.append(alg.lower())
        archive(signed(FILES, alg, key_name), edge.bundle(names[-1]))
    for name, files in kinds():
        names.append("kind-" + name)
        archive(signed(files), edge.bundle(names[-1]), "./" if name == "nested" else "/")
    names.append("eddsa")
    archive(by_hand(FILES, {"alg": "EdDSA"}, ed25519), edge.bundle("eddsa"))
    names.append("reordered")  # another text of the same data
    files = signed({**FILES, "x/data.json": b'{"a": 1, "b": [2.0]}'})
    archive({**files, "x/data.json": b'\n{"b":[2.0],\n"a":1}'}, edge.bundle("reordered"))
    names.append("excluded")
    archive({**signed(FILES), "docs/later.txt": b"x"}, edge.bundle("excluded"))
    names.append("valid-until")
    archive(signed(FILES, claims={"exp": int(time.time()) + 3600, "iss": "builder", "iat": int(time.time())}), edge.bundle("valid-until"))
    names.append("opa-built")
    os.makedirs(os.path.join(DIR, "source"))
    write("source/p.rego", POLICY)
    write("source/data.json", DATA)
    run(OPA, "build", "-t", "wasm", "-e", "shop/allow", "--signing-key", "rsa.pem", "-o", "opa.tar.gz", "-b", "source")
    os.makedirs(os.path.dirname(edge.bundle("opa-built")))
    shutil.copy(os.path.join(DIR, "opa.tar.gz"), edge.bundle("opa-built"))
    return names


def bad_cases(edge):
    """{tenant: what the reason must say}."""
    wanted = {}

    def case(name, files, sentence):
        wanted[name] = sentence
        archive(files, edge.bundle(name))

    good = signed(FILES)
    wasm = bytearray(FILES["policy.wasm"])
    wasm[len(wasm) // 2] ^= 1
    case("wasm-changed", {**good, "policy.wasm": bytes(wasm)}, "policy.wasm is not the file that was signed")
    case("data-changed", {**good, "data.json": DATA.replace("ann", "bob").encode()}, "data.json is not the file that was signed")
    case("number-changed", {**good, "data.json": DATA.replace("1.0,", "1,").encode()}, "data.json is not the file that was signed")
    case("manifest-changed", {**good, ".manifest": FILES[".manifest"].replace(b'"revision":""', b'"revision":"9"')
                              if b'"revision":""' in FILES[".manifest"] else b'{"revision":"9"}'}, ".manifest is not the file that was signed")
    case("file-added", {**good, "more/data.json": b'{"boss": "eve"}'}, "more/data.json is not in the bundle's signature")
    case("rego-added", {**good, "x.rego": b"package x\n"}, "x.rego is not in the bundle's signature")
    gone = dict(good)
    del gone["policy.thin.wasm" if "policy.thin.wasm" in gone else "data.json"]
    case("file-gone", gone, "is signed, but not in the bundle")
    case("stripped", FILES, "the bundle is not signed")
    case("stranger", signed(FILES, key_name="stranger"), "the token's signature is wrong")
    case("other-scope", signed(FILES, claims={"scope": "staging"}), 'the claim scope is "staging", and "" is wanted')
    case("expired", signed(FILES, claims={"exp": int(time.time()) - 3600}), "the token has expired (claim exp)")
    case("not-yet", signed(FILES, claims={"nbf": int(time.time()) + 3600}), "the token is not valid yet (claim nbf)")
    case("public-key-as-secret", {**FILES, ".signatures.json": opa_signature(FILES, "HS256", read("rsa.pub"))}, 'alg is "HS256"')
    case("none", by_hand(FILES, {"alg": "none"}, lambda text: b"x"), 'alg is "none"')
    case("no-signature", by_hand(FILES, {"alg": "RS256"}, lambda text: b""), "no signed JWT")
    case("other-payload", by_hand(FILES, {"alg": "RS256"}, lambda text: b"\0" * 256, {"files": []}), "the token's signature is wrong")
    case("two", {**good, ".signatures.json": json.dumps({"signatures": json.loads(good[".signatures.json"])["signatures"] * 2}).encode()}, "holds 2 JWTs")
    case("empty", {**good, ".signatures.json": b"{}"}, "holds no JWT")
    case("garbage", {**good, ".signatures.json": good[".signatures.json"][:-9]}, ".signatures.json:")
    case("two-files", {**good, "x/.signatures.json": good[".signatures.json"]}, "two signature files")
    case("delta", signed({"patch.json": b'{"data": [{"op": "upsert", "path": "/boss", "value": "eve"}]}', **FILES}), "delta bundles are not supported")
    case("outside-roots", signed({**FILES, ".manifest": b'{"roots":["other"],"wasm":[{"entrypoint":"shop/allow","module":"/policy.wasm"}]}'}), "outside of the roots")
    os.makedirs(os.path.dirname(edge.bundle("bare")))
    with open(os.path.dirname(edge.bundle("bare")) + "/policy.wasm", "wb") as f:
        f.write(FILES["policy.wasm"])
    wanted["bare"] = "the bundle is not signed"
    return wanted


def reason(edge, tenant):
    lines = edge.logged("bundle refused", tenant_id=tenant)
    return lines[-1]["reason"] if lines else None


def allows(edge, tenant):
    status, _, body = edge.post(tenant, "shop/allow", b'{"input": {"user": "ann"}}')
    return status, json.loads(body)


class Signed(Edge):
    def __init__(self, *flags, keys, name, **settings):
        super().__init__(*flags, name=name)
        self.settings = {"KEYS_FILE": os.path.join(DIR, keys), "REQUIRED": "true", **settings}

    def start(self):
        for k, v in self.settings.items():
            os.environ["REGENT_EDGE_TENANTS_SIGNATURE_" + k] = v
        try:
            return super().start()
        finally:
            for k in self.settings:
                del os.environ["REGENT_EDGE_TENANTS_SIGNATURE_" + k]


def asymmetric():
    edge = Signed(keys="signers.pem", name="asymmetric", EXCLUDE="[docs/*]")
    good, bad = good_cases(edge), bad_cases(edge)
    edge.start()
    for tenant in good:
        active = edge.logged("bundle activated", tenant_id=tenant)
        check(f"signed, taken: {tenant}", bool(active), reason(edge, tenant))
    got = allows(edge, "rs256")
    equal("and it answers", got, (200, {"result": True}))
    for tenant, sentence in bad.items():
        why = reason(edge, tenant)
        check(f"refused: {tenant}", bool(why and sentence in why), f"got  {why}\nwant {sentence}")
        check(f"… and serves nothing: {tenant}", allows(edge, tenant)[1] != {"result": True}, allows(edge, tenant))
    # A wrong version loses nothing.
    archive(FILES, edge.bundle("rs256"))
    check("a version without signature is refused", edge.wait_log("bundle refused", tenant_id="rs256"), reason(edge, "rs256"))
    equal("… and the version before answers", allows(edge, "rs256"), (200, {"result": True}))
    rotation(edge)
    equal("it ends", stop(edge.process), 0)


def rotation(edge):
    archive(signed(FILES, key_name="rsa2"), edge.bundle("rotated"))
    check("a key that is not known yet", edge.wait_log("bundle refused", tenant_id="rotated"))
    write("signers.pem", read("signers.pem") + read("rsa2.pub"))
    edge.process.send_signal(signal.SIGHUP)
    check("keys are read again", edge.wait_log("configuration read again"))
    check("… and the new key counts", edge.wait_log("bundle activated", tenant_id="rotated"), reason(edge, "rotated"))
    archive(signed({**FILES, "v2.txt": b""}), edge.bundle("rs384"))
    check("… beside the old one", edge.wait_log("bundle activated", 2, tenant_id="rs384"), reason(edge, "rs384"))
    write("signers.pem", read("rsa2.pub"))
    edge.process.send_signal(signal.SIGHUP)
    check("keys are read once more", edge.wait_log("configuration read again", 2))
    archive(signed({**FILES, "v3.txt": b""}), edge.bundle("rs384"))
    check("a key that was taken out signs nothing more", edge.wait_log("bundle refused", tenant_id="rs384"))
    equal("… and what it signed before answers", allows(edge, "rs384"), (200, {"result": True}))
    write("signers.pem", "broken")
    edge.process.send_signal(signal.SIGHUP)
    check("a broken key file is refused", edge.wait_log("configuration refused"))
    archive(signed({**FILES, "v4.txt": b""}, "RS256", "rsa2"), edge.bundle("rotated"))
    check("… and the keys before hold", edge.wait_log("bundle activated", 2, tenant_id="rotated"), reason(edge, "rotated"))


def secrets():
    edge = Signed(keys="secrets.json", name="secrets", SCOPE="production", ALGORITHMS="[HS256, HS384, HS512]", REQUIRED="false")
    claims = {"scope": "production", "keyid": "s"}
    for alg in ("HS256", "HS384", "HS512"):
        archive({**FILES, ".signatures.json": opa_signature(FILES, alg, read("secret.txt"), claims)}, edge.bundle(alg.lower()))
    archive({**FILES, ".signatures.json": opa_signature(FILES, "HS256", "0" * 64, claims)}, edge.bundle("guessed"))
    archive({**FILES, ".signatures.json": opa_signature(FILES, "HS256", read("secret.txt"), {"keyid": "s"})}, edge.bundle("no-scope"))
    archive(signed(FILES, claims={"scope": "production"}), edge.bundle("rsa"))
    archive(FILES, edge.bundle("unsigned"))
    edge.start()
    for tenant in ("hs256", "hs384", "hs512", "unsigned"):
        check(f"a shared secret, or none required: {tenant}", bool(edge.logged("bundle activated", tenant_id=tenant)), reason(edge, tenant))
    for tenant, sentence in (("guessed", "signature is wrong"), ("no-scope", 'scope is ""'), ("rsa", 'alg is "RS256"')):
        check(f"refused: {tenant}", sentence in (reason(edge, tenant) or ""), reason(edge, tenant))
    equal("it ends", stop(edge.process), 0)


make_keys()
built()
asymmetric()
secrets()
finish()
