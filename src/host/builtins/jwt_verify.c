/* io.jwt.decode_verify: decodes a token and holds it against constraints.
 *
 * in:   a token and an object of constraints (hostile).
 * out:  [valid, header, payload]; an invalid one shows nothing.
 * owns: the keys while it verifies.
 * Rules: RFC 7519 section 7.2 as OPA's v1/topdown/tokens.go follows it. */
#include "host/builtins/jwt.h"
#include "host/builtins/support.h"
#include "host/builtins/table.h"
#include <strings.h>

enum { NESTING_MAX = 16 };

struct constraints {
    struct jwks keys;
    bool has_keys;
    struct jwk secret;
    struct str alg, iss, aud;
    double time_ns;
};

static bool text_constraint(struct builtin_call *c, const char *name, const struct json *v,
                            struct str *out) {
    if (v->kind != JSON_STRING) return builtin_refuse(c, "%s constraint: must be a string", name);
    *out = v->text;
    return true;
}

static bool time_constraint(struct builtin_call *c, const struct json *v, double *out) {
    if (v->kind != JSON_NUMBER) return builtin_refuse(c, "token time constraint: must be a number");
    if (!number_double(v, out)) return builtin_refuse(c, "token time constraint: unvalid float64");
    return *out >= 0 || builtin_refuse(c, "token time constraint: must not be negative");
}

static bool read_constraint(struct builtin_call *c, struct constraints *k, struct str name,
                            const struct json *v) {
    struct str cert;
    if (str_is(name, "secret")) return text_constraint(c, "secret", v, &k->secret.secret);
    if (str_is(name, "alg")) return text_constraint(c, "alg", v, &k->alg);
    if (str_is(name, "iss")) return text_constraint(c, "iss", v, &k->iss);
    if (str_is(name, "aud")) return text_constraint(c, "aud", v, &k->aud);
    if (str_is(name, "time")) return time_constraint(c, v, &k->time_ns);
    if (!str_is(name, "cert"))
        return builtin_refuse(c, "unknown token validation constraint: %.*s", STR_FMT(name));
    if (!text_constraint(c, "cert", v, &cert) || !keys_read(c, cert, &k->keys)) return false;
    return k->has_keys = true;
}

static bool read_constraints(struct builtin_call *c, struct constraints *k) {
    const struct json *o = c->args[1];
    k->time_ns = (double)c->now_ns;
    for (uint32_t i = 0; i < o->n; i++)
        if (!read_constraint(c, k, o->keys[i], o->items[i])) return false;
    if (k->has_keys && k->secret.secret.len) return builtin_refuse(c, "duplicate key constraints");
    if (!k->has_keys && !k->secret.secret.len) return builtin_refuse(c, "no key constraint");
    return true;
}

static bool signature_holds(struct arena *a, const struct constraints *k, const struct jwt *t,
                            struct str signature) {
    if (!k->has_keys) return jws_verify(a, &k->secret, t->alg, t->signed_text, signature);
    for (uint32_t i = 0; t->kid.len && i < k->keys.n; i++)
        if (str_eq(k->keys.items[i].kid, t->kid))
            return jws_verify(a, &k->keys.items[i], t->alg, t->signed_text, signature);
    for (uint32_t i = 0; i < k->keys.n; i++) {
        const struct jwk *key = &k->keys.items[i];
        if (key->alg.len && !str_eq(key->alg, t->alg)) continue;
        if (jws_verify(a, key, t->alg, t->signed_text, signature)) return true;
    }
    return false;
}

/* OPA's words: a verdict, or an error in the call. */
enum verdict { VERDICT_ERROR, VERDICT_INVALID, VERDICT_VALID };

/* The innermost token with its payload; all of its layers verify. */
static enum verdict open_token(struct builtin_call *c, const struct constraints *k, struct str text,
                               struct jwt *t, struct str *payload) {
    struct str signature;
    for (uint32_t depth = 0; depth < NESTING_MAX; depth++, text = *payload) {
        if (!jwt_split(c, text, t) || !jwt_decode_header(c, t) || !jwt_read_header(c, t))
            return VERDICT_ERROR;
        if (!t->alg.len || t->critical) return VERDICT_INVALID;
        if (k->alg.len && !str_eq(k->alg, t->alg)) return VERDICT_INVALID;
        if (!jwt_decode_part(c, t->signature, "", &signature)) return VERDICT_ERROR;
        if (!signature_holds(c->arena, k, t, signature)) return VERDICT_INVALID;
        if (!jwt_decode_part(c, t->payload, "JWT payload had invalid encoding: ", payload))
            return VERDICT_ERROR;
        if (t->cty.len != 3 || strncasecmp(t->cty.ptr, "JWT", 3) != 0) return VERDICT_VALID;
    }
    builtin_refuse(c, "JWT is nested too deep");
    return VERDICT_ERROR;
}

static bool audience_holds(const struct json *aud, struct str wanted) {
    if (aud->kind == JSON_STRING) return str_eq(aud->text, wanted);
    if (aud->kind != JSON_ARRAY) return false;
    for (uint32_t i = 0; i < aud->n; i++)
        if (aud->items[i]->kind == JSON_STRING && str_eq(aud->items[i]->text, wanted)) return true;
    return false;
}

/* Seconds of a claim; a number too large for a double lies beyond all times. */
static bool claim_seconds(struct builtin_call *c, const struct json *v, const char *name,
                          double *out) {
    if (v->kind != JSON_NUMBER) return builtin_refuse(c, "%s value must be a number", name);
    if (!number_double(v, out)) return builtin_refuse(c, "%s value is out of range", name);
    return true;
}

static enum verdict claims_hold(struct builtin_call *c, const struct constraints *k,
                                const struct json *payload) {
    const struct json *iss = json_get_c(payload, "iss"), *aud = json_get_c(payload, "aud");
    const struct json *exp = json_get_c(payload, "exp"), *nbf = json_get_c(payload, "nbf");
    double now = k->time_ns / 1000000000, then;
    if (k->iss.len && (!iss || iss->kind != JSON_STRING || !str_eq(iss->text, k->iss)))
        return VERDICT_INVALID;
    if (aud ? !audience_holds(aud, k->aud) : k->aud.len > 0) return VERDICT_INVALID;
    if (exp && !claim_seconds(c, exp, "exp", &then)) return VERDICT_ERROR;
    if (exp && now >= then) return VERDICT_INVALID;
    if (nbf && !claim_seconds(c, nbf, "nbf", &then)) return VERDICT_ERROR;
    return nbf && now < then ? VERDICT_INVALID : VERDICT_VALID;
}

static enum err return_verdict(struct builtin_call *c, bool valid, struct json *header,
                               struct json *payload) {
    struct arena *a = c->arena;
    struct json *list = json_array(a);
    bool ok = list_add(a, list, json_bool(a, valid)) &&
              list_add(a, list, valid ? header : json_object(a)) &&
              list_add(a, list, valid ? payload : json_object(a));
    return ok ? builtin_return(c, list) : ERR_MEMORY;
}

enum err hb_io_jwt_decode_verify(struct builtin_call *c) {
    struct constraints k = {.has_keys = false};
    struct str text, body;
    struct jwt t = {.decoded = NULL};
    struct json *payload = NULL;
    enum verdict v = VERDICT_ERROR;
    if (c->args[1]->kind != JSON_OBJECT) return builtin_fail_operand(c, 2, "object");
    if (read_constraints(c, &k) && builtin_string(c, 0, &text))
        v = open_token(c, &k, text, &t, &body);
    jwks_free(&k.keys);
    if (v == VERDICT_VALID)
        v = jwt_object(c, body, "", &payload) ? claims_hold(c, &k, payload) : VERDICT_ERROR;
    return v == VERDICT_ERROR ? OK : return_verdict(c, v == VERDICT_VALID, t.decoded, payload);
}
