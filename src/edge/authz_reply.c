/* Decisions as Envoy's CheckResponse, with the fields that opa-envoy-plugin fills in.
 * in: a checked decision, or a reason to deny. out: protobuf bytes. owns: nothing. */
#include "edge/authz.h"
#include "edge/json_text.h"
#include "net/protobuf.h"
#include <stdlib.h>

enum { RPC_OK = 0, RPC_PERMISSION_DENIED = 7 };
/* CheckResponse, DeniedHttpResponse and OkHttpResponse field numbers. */
enum { RESPONSE_STATUS = 1, RESPONSE_DENIED = 2, RESPONSE_OK = 3, RESPONSE_METADATA = 4 };
enum { DENIED_STATUS = 1, DENIED_HEADERS = 2, DENIED_BODY = 3 };
enum { OK_HEADERS = 2, OK_HEADERS_TO_REMOVE = 5, OK_RESPONSE_HEADERS = 6, OK_QUERY_SET = 7, OK_QUERY_REMOVE = 8 };

static void rpc_status(struct buf *out, int code) {
    size_t m = pb_begin(out, RESPONSE_STATUS);
    if (code) pb_varint(out, 1, (uint64_t)code);
    pb_end(out, m);
}

static void struct_value(struct buf *out, uint32_t field, const struct json *v);

static void struct_field(struct buf *out, struct str key, const struct json *v) {
    size_t m = pb_begin(out, 1);
    pb_string(out, 1, key);
    struct_value(out, 2, v);
    pb_end(out, m);
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
        for (uint32_t i = 0; i < v->n; i++) struct_field(out, v->keys[i], v->items[i]);
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

/* dynamic_metadata always carries the decision id, whatever the policy put there. */
static void dynamic_metadata(struct buf *out, const struct json *object, const char *decision_id) {
    size_t m = pb_begin(out, RESPONSE_METADATA);
    for (uint32_t i = 0; object && i < object->n; i++)
        if (!str_is(object->keys[i], "decision_id")) struct_field(out, object->keys[i], object->items[i]);
    struct json id = {.kind = JSON_STRING, .text = str_of(decision_id)};
    struct_field(out, STR("decision_id"), &id);
    pb_end(out, m);
}

struct header_target {
    struct buf *out;
    uint32_t field;
};

/* A HeaderValueOption; QueryParameter is the inner message alone. */
static bool header(void *ctx, struct str name, struct str value) {
    const struct header_target *t = ctx;
    size_t option = pb_begin(t->out, t->field), inner = 0;
    if (t->field != OK_QUERY_SET) inner = pb_begin(t->out, 1);
    pb_string(t->out, 1, name);
    pb_string(t->out, 2, value);
    if (t->field != OK_QUERY_SET) pb_end(t->out, inner);
    pb_end(t->out, option);
    return true;
}

static void headers(struct buf *out, uint32_t field, const struct json *v) {
    struct header_target t = {out, field};
    authz_headers_each(v, header, &t);
}

static void strings(struct buf *out, uint32_t field, const struct json *v) {
    for (uint32_t i = 0; v && i < v->n; i++) pb_string(out, field, v->items[i]->text);
}

static void ok_response(struct buf *out, const struct authz_decision *d) {
    size_t m = pb_begin(out, RESPONSE_OK);
    headers(out, OK_HEADERS, d->headers);
    strings(out, OK_HEADERS_TO_REMOVE, d->headers_to_remove);
    headers(out, OK_RESPONSE_HEADERS, d->response_headers);
    headers(out, OK_QUERY_SET, d->query_to_set);
    strings(out, OK_QUERY_REMOVE, d->query_to_remove);
    pb_end(out, m);
}

static void denied_response(struct buf *out, const struct authz_decision *d) {
    size_t m = pb_begin(out, RESPONSE_DENIED), s = pb_begin(out, DENIED_STATUS);
    pb_varint(out, 1, (uint64_t)d->status);
    pb_end(out, s);
    headers(out, DENIED_HEADERS, d->headers);
    if (d->has_body) pb_string(out, DENIED_BODY, d->body);
    pb_end(out, m);
}

enum err authz_reply(const struct authz_decision *d, bool dry_run, const char *decision_id, struct buf *out) {
    static const struct authz_decision nothing = {.allowed = true};
    bool allowed = d->allowed || dry_run;
    rpc_status(out, allowed ? RPC_OK : RPC_PERMISSION_DENIED);
    if (allowed && (d->is_object || !d->allowed))
        ok_response(out, d->allowed ? d : &nothing);
    else if (!allowed && d->is_object)
        denied_response(out, d);
    dynamic_metadata(out, d->metadata, decision_id);
    return out->err;
}

void authz_deny(int http_status, const char *reason, const char *decision_id, struct buf *out) {
    buf_clear(out);
    rpc_status(out, RPC_PERMISSION_DENIED);
    size_t m = pb_begin(out, RESPONSE_DENIED), s = pb_begin(out, DENIED_STATUS);
    pb_varint(out, 1, (uint64_t)http_status);
    pb_end(out, s);
    size_t body = pb_begin(out, DENIED_BODY);
    buf_cstr(out, "{\"reason\":");
    json_text_string(out, str_of(reason));
    buf_byte(out, '}');
    pb_end(out, body);
    pb_end(out, m);
    dynamic_metadata(out, NULL, decision_id);
}
