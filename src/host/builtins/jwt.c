/* io.jwt.decode and io.jwt.verify_*.
 *
 * in:   tokens and keys (hostile).
 * out:  [header, payload, signature in hex]; booleans.
 * owns: the keys while it verifies.
 * Rules: RFC 7515 and 7519 as OPA's v1/topdown/tokens.go reads them. */
#include "host/builtins/jwt.h"
#include "host/builtins/support.h"
#include "host/builtins/table.h"

enum { NESTING_MAX = 16 };

bool jwt_split(struct builtin_call *c, struct str text, struct jwt *out) {
    struct str parts[3] = {{0}};
    uint32_t n = 0;
    size_t start = 0;
    *out = (struct jwt){.decoded = NULL};
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.ptr[i] != '.') continue;
        if (n < 3) parts[n] = (struct str){text.ptr + start, i - start};
        n++;
        start = i + 1;
    }
    if (n == 1) return builtin_refuse(c, "encoded JWT had no period separators");
    if (n != 3) return builtin_refuse(c, "encoded JWT must have 3 sections, found %u", n);
    out->header = parts[0], out->payload = parts[1], out->signature = parts[2];
    out->signed_text = str_head(text, parts[0].len + 1 + parts[1].len);
    return true;
}

bool jwt_decode_part(struct builtin_call *c, struct str part, const char *prefix, struct str *out) {
    bool padded = str_ends(part, STR("="));
    if (!padded && part.len % 4 == 1) {
        struct str quoted = part;
        return builtin_refuse(c, "%sillegal base64url string: %.*s", prefix, STR_FMT(quoted));
    }
    return builtin_base64(c, part, padded ? BASE64_URL : BASE64_URL | BASE64_NO_PADDING, prefix,
                          out);
}

bool jwt_object(struct builtin_call *c, struct str text, const char *prefix, struct json **out) {
    struct json_error error;
    if (json_parse(c->arena, text, out, &error) != OK)
        return builtin_refuse(c, "%sinvalid JSON: %s", prefix, error.message);
    return (*out)->kind == JSON_OBJECT ||
           builtin_refuse(c, "%sdecoded JSON type was not an Object", prefix);
}

bool jwt_decode_header(struct builtin_call *c, struct jwt *t) {
    struct str text;
    if (!jwt_decode_part(c, t->header, "JWT header had invalid encoding: ", &text) ||
        !jwt_object(c, text, "bad JWT header: ", &t->decoded))
        return false;
    return !json_get_c(t->decoded, "enc") ||
           builtin_refuse(c, "JWT is a JWE object, which is not supported");
}

static bool text_member(struct builtin_call *c, const struct json *header, const char *name,
                        struct str *out) {
    const struct json *v = json_get_c(header, name);
    if (!v) return true;
    if (v->kind != JSON_STRING) return builtin_refuse(c, "%s: must be a string", name);
    *out = v->text;
    return true;
}

/* RFC 7515 section 4.1.11: a name listed there must be understood. */
static bool read_critical(struct builtin_call *c, struct jwt *t) {
    static const char *const known[] = {"alg", "kid", "typ", "cty", "crit"};
    const struct json *crit = json_get_c(t->decoded, "crit");
    uint32_t n = 0;
    if (!crit) return true;
    if (crit->kind != JSON_ARRAY) return builtin_refuse(c, "crit: must be a list");
    for (; n < crit->n && crit->items[n]->kind == JSON_STRING; n++) {
        bool understood = !json_get(t->decoded, crit->items[n]->text);
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            understood = understood || str_is(crit->items[n]->text, known[k]);
        t->critical = t->critical || !understood;
    }
    return n > 0 || builtin_refuse(c, "crit: must be a nonempty list");
}

bool jwt_read_header(struct builtin_call *c, struct jwt *t) {
    struct str typ;
    return text_member(c, t->decoded, "alg", &t->alg) &&
           text_member(c, t->decoded, "kid", &t->kid) && text_member(c, t->decoded, "typ", &typ) &&
           text_member(c, t->decoded, "cty", &t->cty) && read_critical(c, t);
}

/* A payload that is a token in quotes, as cty "JWT" announces it. */
static struct str unquoted(struct str s) {
    while (s.len && (s.ptr[0] == '"' || s.ptr[0] == '\'')) s = str_from(s, 1);
    while (s.len && (s.ptr[s.len - 1] == '"' || s.ptr[s.len - 1] == '\'')) s.len--;
    return s;
}

enum err hb_io_jwt_decode(struct builtin_call *c) {
    struct arena *a = c->arena;
    struct str text, payload, signature;
    struct json *body, *list = json_array(a);
    struct jwt t;
    uint32_t depth = 0;
    if (!builtin_string(c, 0, &text)) return OK;
    for (;; text = unquoted(payload)) {
        if (!jwt_split(c, text, &t) || !jwt_decode_header(c, &t)) return OK;
        if (!jwt_decode_part(c, t.payload, "JWT payload had invalid encoding: ", &payload))
            return OK;
        if (!text_member(c, t.decoded, "cty", &t.cty)) return OK;
        if (!str_is(t.cty, "JWT")) break;
        if (++depth > NESTING_MAX) return builtin_fail(c, "JWT is nested too deep");
    }
    if (!jwt_object(c, payload, "", &body)) return OK;
    if (!jwt_decode_part(c, t.signature, "JWT signature had invalid encoding: ", &signature))
        return OK;
    bool ok = list_add(a, list, t.decoded) && list_add(a, list, body) &&
              list_add(a, list, hex_value(a, (const uint8_t *)signature.ptr, signature.len));
    return ok ? builtin_return(c, list) : ERR_MEMORY;
}

/* The key that the header names, else any that says nothing else of its algorithm. */
static bool verify_any(struct arena *a, const struct jwks *keys, const struct jwt *t,
                       struct str alg, struct str signature) {
    for (uint32_t i = 0; t->kid.len && i < keys->n; i++)
        if (str_eq(keys->items[i].kid, t->kid))
            return jws_verify(a, &keys->items[i], alg, t->signed_text, signature);
    for (uint32_t i = 0; i < keys->n; i++) {
        if (keys->items[i].alg.len && !str_eq(keys->items[i].alg, t->alg)) continue;
        if (jws_verify(a, &keys->items[i], alg, t->signed_text, signature)) return true;
    }
    return false;
}

/* OPA takes the algorithm from the builtin's name, whatever the header says. */
static enum err verify(struct builtin_call *c, const char *alg) {
    struct str text, key_text, signature;
    struct jwks keys = {0};
    struct jwt t;
    if (!builtin_string(c, 0, &text) || !jwt_split(c, text, &t) ||
        !builtin_string(c, 1, &key_text) || !keys_read(c, key_text, &keys))
        return OK;
    bool read = jwt_decode_part(c, t.signature, "", &signature) && jwt_decode_header(c, &t) &&
                jwt_read_header(c, &t);
    bool valid = read && verify_any(c->arena, &keys, &t, str_of(alg), signature);
    jwks_free(&keys);
    return read ? builtin_return_bool(c, valid) : OK;
}

enum err hb_io_jwt_verify_rs256(struct builtin_call *c) { return verify(c, "RS256"); }
enum err hb_io_jwt_verify_rs384(struct builtin_call *c) { return verify(c, "RS384"); }
enum err hb_io_jwt_verify_rs512(struct builtin_call *c) { return verify(c, "RS512"); }
enum err hb_io_jwt_verify_ps256(struct builtin_call *c) { return verify(c, "PS256"); }
enum err hb_io_jwt_verify_ps384(struct builtin_call *c) { return verify(c, "PS384"); }
enum err hb_io_jwt_verify_ps512(struct builtin_call *c) { return verify(c, "PS512"); }
enum err hb_io_jwt_verify_es256(struct builtin_call *c) { return verify(c, "ES256"); }
enum err hb_io_jwt_verify_es384(struct builtin_call *c) { return verify(c, "ES384"); }
enum err hb_io_jwt_verify_es512(struct builtin_call *c) { return verify(c, "ES512"); }
enum err hb_io_jwt_verify_eddsa(struct builtin_call *c) { return verify(c, "EdDSA"); }

static enum err verify_secret(struct builtin_call *c, const char *alg) {
    struct str text, signature;
    struct jwk key = {.pkey = NULL};
    struct jwt t;
    if (!builtin_string(c, 0, &text) || !builtin_string(c, 1, &key.secret) ||
        !jwt_split(c, text, &t) || !jwt_decode_part(c, t.signature, "", &signature))
        return OK;
    if (key.secret.len > KEY_TEXT_MAX) return builtin_fail(c, "a secret of more than 256 KiB");
    return builtin_return_bool(c,
                               jws_verify(c->arena, &key, str_of(alg), t.signed_text, signature));
}

enum err hb_io_jwt_verify_hs256(struct builtin_call *c) { return verify_secret(c, "HS256"); }
enum err hb_io_jwt_verify_hs384(struct builtin_call *c) { return verify_secret(c, "HS384"); }
enum err hb_io_jwt_verify_hs512(struct builtin_call *c) { return verify_secret(c, "HS512"); }
