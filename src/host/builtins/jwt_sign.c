/* io.jwt.encode_sign and encode_sign_raw: makes a signed token.
 *
 * in:   headers, payload and key, as objects or as JSON text (hostile).
 * out:  the token in compact form.
 * owns: the key and the printing buffers while it signs.
 * Rules: RFC 7515 section 7.1. */
#include "host/builtins/jwt.h"
#include "host/builtins/support.h"
#include "host/builtins/table.h"

enum { PART_MAX = 1 << 24 };

/* What OPA's reader of headers lets pass as a number ("e"). */
static bool number_like(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (!s.ptr[i] || !strchr("0123456789+-.eE", s.ptr[i])) return false;
    return true;
}

static bool header_alg(struct builtin_call *c, struct str header, struct json **parsed,
                       struct str *alg) {
    struct json_error error;
    static const char prefix[] = "missing or invalid 'alg' header: ";
    if (!header.len)
        return builtin_refuse(c, "%scannot parse JSON: cannot parse empty string", prefix);
    if (!number_like(header) && json_parse(c->arena, header, parsed, &error) != OK)
        return builtin_refuse(c, "%scannot parse JSON: %s", prefix, error.message);
    const struct json *v = number_like(header) ? NULL : json_get_c(*parsed, "alg");
    if (!v) return builtin_refuse(c, "%sjwsbb: header \"alg\" not found", prefix);
    if (v->kind != JSON_STRING)
        return builtin_refuse(c, "%sjwsbb: header \"alg\" is no string", prefix);
    *alg = v->text;
    return jws_known(*alg) || builtin_refuse(c, "unknown JWS algorithm: %.*s", STR_FMT(*alg));
}

/* A token of type "JWT", or of none, carries JSON. */
static bool payload_fits(struct builtin_call *c, const struct json *header, struct str payload) {
    struct json *v, *typ = json_get_c(header, "typ");
    struct json_error error;
    if (typ && typ->kind == JSON_STRING && !str_is(typ->text, "JWT")) return true;
    return json_parse(c->arena, payload, &v, &error) == OK ||
           builtin_refuse(c, "type is JWT but payload is not JSON");
}

static enum err sign(struct builtin_call *c, struct str header, struct str payload,
                     struct str key) {
    struct jwks keys = {0};
    struct json *parsed;
    struct str alg, signature;
    size_t n1, n2, n3, len = 0, total = 0;
    if (!jwks_read(c, key, &keys)) return OK;
    if (!keys.n) return builtin_fail(c, "no keys found in JWK set");
    int flags = BASE64_URL | BASE64_NO_PADDING;
    char *text = NULL, *token = NULL;
    bool fine = header_alg(c, header, &parsed, &alg) && payload_fits(c, parsed, payload);
    if (fine) {
        char *first = base64_encode(c->arena, header, flags, &n1);
        char *second = base64_encode(c->arena, payload, flags, &n2);
        if (first && second)
            text = arena_printf(c->arena, &len, "%.*s.%.*s", (int)n1, first, (int)n2, second);
    }
    bool made =
        text && jws_sign(c->arena, &keys.items[0], alg, (struct str){text, len}, &signature);
    jwks_free(&keys);
    if (!fine) return OK;
    if (!text) return ERR_MEMORY;
    if (!made) return builtin_fail(c, "the key cannot sign by %.*s", STR_FMT(alg));
    char *third = base64_encode(c->arena, signature, flags, &n3);
    if (third) token = arena_printf(c->arena, &total, "%s.%.*s", text, (int)n3, third);
    return token ? builtin_return_string(c, (struct str){token, total}) : ERR_MEMORY;
}

enum err hb_io_jwt_encode_sign_raw(struct builtin_call *c) {
    struct str header, payload, key;
    if (!builtin_string(c, 2, &key) || !builtin_string(c, 0, &header) ||
        !builtin_string(c, 1, &payload))
        return OK;
    if (header.len > PART_MAX || payload.len > PART_MAX) return builtin_fail(c, "token too large");
    return sign(c, header, payload, key);
}

/* As Go's json.Marshal writes it, which keeps HTML's signs out of the text. */
static void print_for_go(const struct json *v, struct buf *out) {
    struct buf plain;
    buf_init(&plain, PART_MAX);
    json_print(v, true, 0, &plain);
    for (size_t i = 0; i < plain.len; i++) {
        uint8_t ch = plain.ptr[i];
        if (ch == '<' || ch == '>' || ch == '&')
            buf_printf(out, "\\u%04x", ch);
        else
            buf_byte(out, ch);
    }
    if (plain.err && !out->err) out->err = plain.err;
    buf_deinit(&plain);
}

enum err hb_io_jwt_encode_sign(struct builtin_call *c) {
    struct buf parts[3];
    enum err err = OK;
    for (int i = 0; i < 3; i++) {
        buf_init(&parts[i], PART_MAX);
        print_for_go(c->args[i], &parts[i]);
        if (parts[i].err) err = parts[i].err;
    }
    if (!err)
        err = sign(c, buf_view(&parts[0]), buf_view(&parts[1]), buf_view(&parts[2]));
    else if (err == ERR_LIMIT)
        err = builtin_fail(c, "token too large");
    for (int i = 0; i < 3; i++) buf_deinit(&parts[i]);
    return err;
}
