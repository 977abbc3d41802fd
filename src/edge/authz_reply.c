/* Decisions as Envoy's CheckResponse, with the fields and types of opa-envoy-plugin.
 * in: a decision's JSON. out: protobuf bytes. owns: nothing. */
#include "edge/doors.h"
#include "net/protobuf.h"
#include <stdlib.h>

enum { RPC_OK = 0, RPC_PERMISSION_DENIED = 7 };
/* CheckResponse, DeniedHttpResponse and OkHttpResponse field numbers. */
enum { RESPONSE_STATUS = 1, RESPONSE_DENIED = 2, RESPONSE_OK = 3, RESPONSE_METADATA = 4 };
enum { DENIED_STATUS = 1, DENIED_HEADERS = 2, DENIED_BODY = 3 };
enum {
    OK_HEADERS = 2,
    OK_HEADERS_TO_REMOVE = 5,
    OK_RESPONSE_HEADERS = 6,
    OK_QUERY_SET = 7,
    OK_QUERY_REMOVE = 8
};

static void rpc_status(struct buf *out, int code) {
    size_t m = pb_begin(out, RESPONSE_STATUS);
    if (code) pb_varint(out, 1, (uint64_t)code);
    pb_end(out, m);
}

static void struct_value(struct buf *out, uint32_t field, const struct json *v);

static void struct_fields(struct buf *out, const struct json *o, const char *more_key,
                          struct str more) {
    for (uint32_t i = 0; o && i < o->n; i++) {
        size_t m = pb_begin(out, 1);
        pb_string(out, 1, o->keys[i]);
        struct_value(out, 2, o->items[i]);
        pb_end(out, m);
    }
    if (more_key) {
        size_t m = pb_begin(out, 1);
        pb_string(out, 1, str_of(more_key));
        size_t v = pb_begin(out, 2);
        pb_string(out, 3, more);
        pb_end(out, v);
        pb_end(out, m);
    }
}

static double double_of(struct str text) {
    char copy[64];
    size_t n = text.len < sizeof copy - 1 ? text.len : sizeof copy - 1;
    memcpy(copy, text.ptr, n);
    copy[n] = 0;
    return strtod(copy, NULL);
}

/* google.protobuf.Value in `field`. */
static void struct_value(struct buf *out, uint32_t field, const struct json *v) {
    size_t m = pb_begin(out, field), inner;
    switch (v->kind) {
    case JSON_NULL: pb_varint(out, 1, 0); break;
    case JSON_NUMBER: pb_double(out, 2, double_of(v->text)); break;
    case JSON_STRING: pb_string(out, 3, v->text); break;
    case JSON_BOOL: pb_varint(out, 4, v->boolean); break;
    case JSON_OBJECT:
        inner = pb_begin(out, 5);
        struct_fields(out, v, NULL, (struct str){NULL, 0});
        pb_end(out, inner);
        break;
    case JSON_ARRAY:
        inner = pb_begin(out, 6);
        for (uint32_t i = 0; i < v->n; i++) struct_value(out, 1, v->items[i]);
        pb_end(out, inner);
        break;
    }
    pb_end(out, m);
}

/* dynamic_metadata always carries the decision id. */
static void dynamic_metadata(struct buf *out, const struct json *object, const char *decision_id) {
    size_t m = pb_begin(out, RESPONSE_METADATA);
    struct_fields(out, object, "decision_id", str_of(decision_id));
    pb_end(out, m);
}

static void one_header(struct buf *out, uint32_t field, struct str name, struct str value) {
    size_t option = pb_begin(out, field), header = pb_begin(out, 1);
    pb_string(out, 1, name);
    pb_string(out, 2, value);
    pb_end(out, header);
    pb_end(out, option);
}

/* One object of headers: values are strings or lists of strings. */
static bool header_object(struct buf *out, uint32_t field, const struct json *o) {
    for (uint32_t i = 0; i < o->n; i++) {
        const struct json *v = o->items[i];
        if (v->kind == JSON_STRING) {
            one_header(out, field, o->keys[i], v->text);
        } else if (v->kind == JSON_ARRAY) {
            for (uint32_t k = 0; k < v->n; k++) {
                if (v->items[k]->kind != JSON_STRING) return false;
                one_header(out, field, o->keys[i], v->items[k]->text);
            }
        } else {
            return false;
        }
    }
    return true;
}

/* An object of headers, or an array of such objects; absent is fine. */
static bool headers(struct buf *out, uint32_t field, const struct json *v) {
    if (!v) return true;
    if (v->kind == JSON_OBJECT) return header_object(out, field, v);
    if (v->kind != JSON_ARRAY) return false;
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i]->kind != JSON_OBJECT || !header_object(out, field, v->items[i]))
            return false;
    return true;
}

static bool strings(struct buf *out, uint32_t field, const struct json *v) {
    if (!v) return true;
    if (v->kind != JSON_ARRAY) return false;
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->items[i]->kind != JSON_STRING) return false;
        pb_string(out, field, v->items[i]->text);
    }
    return true;
}

static bool query_parameters(struct buf *out, const struct json *v) {
    if (!v) return true;
    if (v->kind != JSON_OBJECT) return false;
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        uint32_t n = item->kind == JSON_ARRAY ? item->n : 1;
        for (uint32_t k = 0; k < n; k++) {
            const struct json *s = item->kind == JSON_ARRAY ? item->items[k] : item;
            if (s->kind != JSON_STRING) return false;
            size_t m = pb_begin(out, OK_QUERY_SET);
            pb_string(out, 1, v->keys[i]);
            pb_string(out, 2, s->text);
            pb_end(out, m);
        }
    }
    return true;
}

static enum err mistyped(const char **why, const char *what) { return *why = what, ERR_INVALID; }

static enum err allowed(const struct json *o, struct buf *out, const char **why) {
    rpc_status(out, RPC_OK);
    size_t m = pb_begin(out, RESPONSE_OK);
    if (!headers(out, OK_HEADERS, json_get_c(o, "headers")))
        return mistyped(why, "headers must hold strings");
    if (!strings(out, OK_HEADERS_TO_REMOVE, json_get_c(o, "request_headers_to_remove")))
        return mistyped(why, "request_headers_to_remove must be a list of strings");
    if (!headers(out, OK_RESPONSE_HEADERS, json_get_c(o, "response_headers_to_add")))
        return mistyped(why, "response_headers_to_add must hold strings");
    if (!query_parameters(out, json_get_c(o, "query_parameters_to_set")))
        return mistyped(why, "query_parameters_to_set must hold strings");
    if (!strings(out, OK_QUERY_REMOVE, json_get_c(o, "query_parameters_to_remove")))
        return mistyped(why, "query_parameters_to_remove must be a list of strings");
    pb_end(out, m);
    return OK;
}

/* Envoy's enum StatusCode holds these. */
static bool known_status(int64_t s) {
    return s == 100 || (s >= 200 && s <= 208) || s == 226 || (s >= 300 && s <= 308 && s != 306) ||
           (s >= 400 && s <= 417) || (s >= 421 && s <= 424) || s == 426 || s == 428 || s == 429 ||
           s == 431 || (s >= 500 && s <= 508) || s == 510 || s == 511;
}

static enum err denied(const struct json *o, struct buf *out, const char **why) {
    struct json *status = json_get_c(o, "http_status"), *body = json_get_c(o, "body");
    int64_t code = 403;
    if (status && (!json_int64(status, &code) || !known_status(code)))
        return mistyped(why, "http_status must be a known HTTP status code");
    if (body && body->kind != JSON_STRING) return mistyped(why, "body must be a string");
    rpc_status(out, RPC_PERMISSION_DENIED);
    size_t m = pb_begin(out, RESPONSE_DENIED), s = pb_begin(out, DENIED_STATUS);
    pb_varint(out, 1, (uint64_t)code);
    pb_end(out, s);
    if (!headers(out, DENIED_HEADERS, json_get_c(o, "headers")))
        return mistyped(why, "headers must hold strings");
    if (body) pb_string(out, DENIED_BODY, body->text);
    pb_end(out, m);
    return OK;
}

enum err authz_reply(struct arena *a, struct str json, const char *decision_id, struct buf *out,
                     const char **why) {
    struct json *o = NULL, *flag, *metadata = NULL;
    bool allow = str_is(json, "true");
    if (!allow && !str_is(json, "false")) {
        if (json_parse(a, json, &o, NULL) || o->kind != JSON_OBJECT)
            return mistyped(why, "the decision must be a boolean or an object");
        flag = json_get_c(o, "allowed");
        if (!flag || flag->kind != JSON_BOOL)
            return mistyped(why, "the decision object needs the boolean `allowed`");
        allow = flag->boolean;
        metadata = json_get_c(o, "dynamic_metadata");
        if (metadata && metadata->kind != JSON_OBJECT)
            return mistyped(why, "dynamic_metadata must be an object");
    }
    enum err e = allow ? allowed(o, out, why) : denied(o, out, why);
    if (e) return e;
    dynamic_metadata(out, metadata, decision_id);
    return out->err;
}

void authz_deny(struct arena *a, int http_status, const char *reason, const char *decision_id,
                struct buf *out) {
    struct buf text;
    (void)a;
    buf_clear(out);
    rpc_status(out, RPC_PERMISSION_DENIED);
    size_t m = pb_begin(out, RESPONSE_DENIED), s = pb_begin(out, DENIED_STATUS);
    pb_varint(out, 1, (uint64_t)http_status);
    pb_end(out, s);
    buf_init(&text, 4096);
    buf_cstr(&text, "{\"reason\":");
    json_print_string(str_of(reason), &text);
    buf_cstr(&text, "}");
    pb_string(out, DENIED_BODY, buf_view(&text));
    buf_deinit(&text);
    pb_end(out, m);
    dynamic_metadata(out, NULL, decision_id);
}
