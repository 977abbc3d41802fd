/* The body of a REST call as an input document: inflated, YAML turned into JSON, the member `input` found.
 * in: request bodies and queries, maybe hostile. out: views of the request or of worker.input. owns: nothing. */
#include "base/utf8.h"
#include "base/yaml.h"
#include "edge/gzip.h"
#include "edge/rest.h"
#include "edge/rest_input.h"
#include <stdio.h>

enum {
    DEFAULT_BODY_BYTES = 16 << 20, /* as the server's */
    BODY_IN_LOOP = 512 << 10,      /* what takes longer than a slice goes to a lane */
    INFLATE_IN_LOOP = 128 << 10,
    YAML_IN_LOOP = 16 << 10,
    YAML_DEPTH = 1000
};

static const char malformed[] = "body contains malformed input document: ";

static enum rest_outcome refuse(struct rest_call *c, const char *before, const char *why) {
    const char *text = arena_printf(&c->w->arena, NULL, "%s%s", before, why);
    c->why = text ? text : before;
    return REST_REFUSED;
}

static enum rest_outcome inflate_body(struct rest_call *c, struct str *body) {
    struct buf *out = &c->w->input;
    char why[128] = "";
    size_t limit = c->w->config->body_bytes ? c->w->config->body_bytes : DEFAULT_BODY_BYTES;
    if (limit > out->max / 2) limit = out->max / 2;
    bool cut = c->w->slice_us && limit > INFLATE_IN_LOOP;
    buf_clear(out);
    enum err e = gzip_inflate(*body, cut ? INFLATE_IN_LOOP : limit, out, why, sizeof why);
    if (e == ERR_LIMIT && cut) return REST_LATER;
    if (!e) return *body = buf_view(out), REST_OK;
    if (e == ERR_SYNTAX) return refuse(c, "could not decompress the body: ", why);
    if (e != ERR_LIMIT) return refuse(c, "could not decompress the body: ", err_meaning(e));
    c->why = arena_printf(&c->w->arena, NULL,
                          "request body too large: decompressed size exceeds limit of %zu bytes", limit);
    if (!c->why) c->why = "request body too large";
    return REST_REFUSED;
}

static bool contains(struct str s, struct str part) {
    for (size_t i = 0; i + part.len <= s.len; i++)
        if (memcmp(s.ptr + i, part.ptr, part.len) == 0) return true;
    return false;
}

enum rest_outcome rest_body(struct rest_call *c, struct str *body) {
    *body = c->q->body.ptr ? c->q->body : STR("");
    if (c->w->slice_us && body->len > BODY_IN_LOOP) return REST_LATER;
    struct str coding = http_header_get(c->q, STR("content-encoding"));
    if (coding.len == 0 || !contains(coding, STR("gzip"))) return REST_OK;
    return inflate_body(c, body);
}

bool rest_body_is_yaml(const struct rest_call *c) {
    struct str type = http_header_get(c->q, STR("content-type"));
    return type.len && contains(type, STR("yaml"));
}

/* ---- YAML ---- */

enum rest_outcome rest_yaml(struct rest_call *c, struct str yaml, struct str *json) {
    struct arena *a = &c->w->arena;
    struct json *v;
    struct json_error error = {0};
    struct str value;
    *json = STR("");
    if (yaml.len == 0) return REST_OK;
    if (c->w->slice_us && yaml.len > YAML_IN_LOOP) return REST_LATER;
    if (!rest_whole_value(a, yaml, &value)) return *json = value, REST_OK; /* JSON stays as it is */
    struct yaml_options options = {.max_values = 1024 + yaml.len * 8, .max_depth = YAML_DEPTH};
    enum err e = yaml_read(a, yaml, &options, &v, &error);
    if (e) return refuse(c, malformed, error.message ? error.message : err_meaning(e));
    yaml_as_opa(a, v);
    buf_clear(&c->w->input); /* the tree is made of copies */
    json_print(v, true, 0, &c->w->input);
    if (c->w->input.err) return refuse(c, malformed, "yaml: larger than its limit");
    *json = buf_view(&c->w->input);
    return REST_OK;
}

/* ---- Inputs ---- */

enum rest_outcome rest_read_input(struct rest_call *c, struct str *body, struct str *input, bool *checked) {
    enum rest_outcome o = rest_body(c, body);
    *input = (struct str){NULL, 0};
    *checked = true;
    if (!o && rest_body_is_yaml(c)) {
        struct str yaml = *body;
        o = rest_yaml(c, yaml, body);
    }
    if (o) return o;
    /* Only what the request itself holds can be looked at again. */
    if (body->ptr == c->q->body.ptr && rest_input_plain(*body, input)) return *checked = false, REST_OK;
    const char *why = rest_input(&c->w->arena, *body, input);
    return why ? refuse(c, malformed, why) : REST_OK;
}

enum rest_outcome rest_read_v0(struct rest_call *c, struct str *input) {
    struct str body;
    enum rest_outcome o = rest_body(c, &body);
    if (!o && rest_body_is_yaml(c)) {
        struct str yaml = body;
        o = rest_yaml(c, yaml, &body);
    }
    const char *why = o ? NULL : rest_value(&c->w->arena, body, input);
    if (why) o = refuse(c, malformed, why);
    if (o == REST_REFUSED) return refuse(c, "unexpected parse error for input: ", c->why);
    if (!o && !input->ptr) *input = STR("null"); /* OPA takes no body for null */
    return o;
}

enum rest_outcome rest_read_get(struct rest_call *c, struct str *input) {
    *input = (struct str){NULL, 0};
    if (!c->params.input.ptr) return REST_OK;
    const char *why = rest_whole_value(&c->w->arena, c->params.input, input);
    return why ? refuse(c, "parameter contains malformed input document: ", why) : REST_OK;
}
