/* Fuzzes the REST door: any method, target, headers that matter and body give a well-formed reply. Behind the door stands a
 * policy that echoes its input. in: libFuzzer's bytes: a byte of choices, a line with method and target, the body. out:
 * crashes only. owns: a worker an input. Build: tests/fuzz/run.sh. */
#include "edge/activator.h"
#include "edge/decision_log.h"
#include "edge/document.h"
#include "edge/gzip.h"
#include "edge/metrics.h"
#include "edge/life.h"
#include "edge/rest.h"
#include "edge/sources.h"
#include "edge/store.h"
#include "edge/tracer.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 1 << 16, YAML = 1, GZIP = 2, ACCEPT = 4, LOOP = 8, TENANT = 16, PREFIX = 32, COMPRESS = 64 };

static void law(bool holds) {
    if (!holds) abort();
}

/* ---- What the door asks ---- */

static struct tenant tenant = {.id = "t"};
static const struct tenant_entry entry = {.tenant = &tenant, .policy = (struct policy *)&tenant, .revision = {"r<1>", 4}};

const struct tenant_entry *tenants_find(const struct tenants *t, struct str id) {
    (void)t;
    return str_is(id, "t") ? &entry : NULL;
}
void tenants_expect(const struct tenants *t, struct str id) { (void)t, (void)id; }
const struct tenant_entry *tenants_at(const struct tenants *t, uint32_t i) {
    (void)t;
    return i == 0 ? &entry : NULL;
}
void tenants_reported(struct tenants *t, const struct tenant *of, struct load_report *out) {
    (void)t, (void)of;
    *out = (struct load_report){.requested_ns = 1700000000120000000, .err = ERR_SYNTAX, .message = "\"<"};
}
enum err metrics_print(struct metrics_names *n, const struct metrics_source *source, uint32_t most, int64_t now_ms,
                       struct buf *out) {
    (void)n, (void)source, (void)most, (void)now_ms, buf_cstr(out, "x 1\n");
    return out->err;
}
struct policy_stats policy_stats(const struct policy *p) { return (struct policy_stats){.load_us = p != NULL}; }
void activator_metrics(struct activator *a, struct buf *out) { (void)a, (void)out; }
void store_metrics(struct store *s, struct buf *out) { (void)s, (void)out; }
void sources_metrics(struct sources *s, struct buf *out) { (void)s, (void)out; }
void sources_status(struct sources *s, struct buf *out) { (void)s, buf_cstr(out, "{}"); }
void tracer_metrics(const struct tracer *t, struct buf *out) { (void)t, (void)out; }
void metrics_process(int64_t started_ns, struct buf *out) { (void)started_ns, (void)out; }
void metrics_node(const struct node *node, struct buf *out) { (void)node, (void)out; }
bool node_ready(const struct node *n, const struct edge_config *c, struct buf *missing) {
    (void)n, (void)c, (void)missing;
    return true;
}
bool node_ready_is_long(const struct node *n, const struct edge_config *c) { return n != NULL && c == NULL; }
void edge_config_print(const struct edge_config *c, struct buf *out) { (void)c, buf_cstr(out, "{}"); }
const char *limit_name(enum limit_kind k) { return k < LIMIT_COUNT ? "limit" : ""; }

static uint8_t choices;
enum identity_kind identify(struct identifier *i, const struct subject *s, struct arena *a, struct identity *out) {
    (void)i, (void)a;
    struct str prefix = STR("/t/x");
    *out = (struct identity){.path = s->path, .tenant = STR("t")};
    if (!(choices & TENANT)) return out->why = "none", IDENTITY_NONE;
    if (choices & PREFIX && str_starts(s->path, prefix)) out->path = str_from(s->path, prefix.len);
    return IDENTITY_FOUND;
}

const char *decision_reason(const struct decision *d) {
    return d->err == ERR_CONFLICT ? "eval_conflict_error: a<b.rego:3:14: \"two\": values" : "a reason";
}
int decision_status(const struct decision *d) { return d->err == ERR_RATE ? 429 : 500; }
void decision_refuse(struct worker *w, struct str t, struct str path, bool decided, enum err e, const char *why,
                     struct decision *d) {
    (void)w, (void)t, (void)path, (void)decided, (void)why;
    *d = (struct decision){.kind = DECISION_FAILED, .err = e};
}

void worker_notes(struct worker *w, const char *door, const struct http_request *q) { w->facts.door = door, (void)q; }
void decision_id(struct worker *w, char out[37]) { (void)w, memset(out, '0', 36), out[36] = 0; }
void decision_log_forget(struct worker *w) { (void)w; }
void decision_log_metrics(const struct decision_log *l, struct buf *out) { (void)l, (void)out; }

/* An entrypoint "e" that gives its input back, errors by name, documents elsewhere. */
void decide(struct worker *w, const struct ask *ask, struct decision *d) {
    struct json *v;
    *d = (struct decision){.kind = DECISION_UNDEFINED};
    law(ask->path.len > 0);
    if (str_is(ask->path, "e")) {
        d->kind = ask->input.ptr ? DECISION_VALUE : DECISION_UNDEFINED;
        d->json = ask->input;
        if (ask->input.ptr && json_parse(&w->arena, ask->input, &v, NULL)) d->kind = DECISION_FAILED, d->err = ERR_INPUT;
    } else if (str_is(ask->path, "c")) {
        d->kind = DECISION_FAILED, d->err = ask->input.len & 1 ? ERR_CONFLICT : ERR_RATE;
    } else if (str_is(ask->path, "/")) {
        d->kind = DECISION_NO_ENTRYPOINT, d->above_entrypoint = true;
    } else {
        d->kind = DECISION_NO_ENTRYPOINT;
        if (ask->document.ptr) document_find(w, &entry, ask->document, d);
    }
    if (d->kind == DECISION_FAILED) d->limit = LIMIT_COUNT;
}

enum err policy_document(const struct policy *p, const struct document_key *path, uint32_t n, struct arena *scratch,
                         struct buf *out) {
    (void)p, (void)scratch;
    if (n == 0 || path[0].name.len == 0 || path[0].name.ptr[0] == 'x') return ERR_NOT_FOUND;
    buf_byte(out, '[');
    for (uint32_t i = 0; i < n; i++) {
        if (i) buf_byte(out, ',');
        if (path[i].is_index) buf_printf(out, "%lld", (long long)path[i].index);
        else json_print_string(path[i].name, out);
    }
    buf_byte(out, ']');
    return out->err;
}

/* ---- One call ---- */

static void check_json(struct str body) {
    struct arena a;
    struct json *v;
    arena_init(&a, 256 << 20);
    law(json_parse(&a, body, &v, NULL) != ERR_SYNTAX);
    arena_deinit(&a);
}

static struct str header(const struct http_reply *r, const char *name) {
    for (uint32_t i = 0; i < r->n_extra; i++)
        if (str_is(r->extra[i].name, name)) return r->extra[i].value;
    return (struct str){NULL, 0};
}

static void check_reply(const struct http_reply *r) {
    struct buf plain;
    char why[128];
    struct str body = buf_view(r->body), location = header(r, "Location");
    law(!r->body->err && r->status >= 200 && r->status < 600 && r->n_extra <= 8);
    if (location.ptr) law(location.len > 0 && location.ptr[0] == '/' && (location.len == 1 || location.ptr[1] != '/'));
    for (size_t i = 0; i < location.len; i++) law((unsigned char)location.ptr[i] > ' ' && (unsigned char)location.ptr[i] < 0x7f);
    buf_init(&plain, 64 << 20);
    if (header(r, "Content-Encoding").ptr) {
        law(gzip_inflate(body, 32 << 20, &plain, why, sizeof why) == OK);
        body = buf_view(&plain);
    }
    if (r->content_type && strcmp(r->content_type, "application/json") == 0) check_json(body);
    buf_deinit(&plain);
}

static void call(struct str method, struct str target, struct str body) {
    static struct node node;
    static const struct edge_config config = {.rest_path = {"e", 1}, .batch_inputs = 8, .body_bytes = 1 << 20};
    static const struct edge_listener listener = {.doors = ~0u};
    static struct http_request q;
    struct http_reply r;
    struct worker w = {.config = &config, .node = &node, .slice_us = choices & LOOP ? 1000 : 0};
    struct buf reply_body;
    arena_init(&w.arena, 64 << 20);
    buf_init(&w.input, 8 << 20);
    buf_init(&reply_body, 64 << 20);
    const char *mark = target.len ? memchr(target.ptr, '?', target.len) : NULL;
    q = (struct http_request){.method = method, .target = target, .path = target, .body = body, .listener = &listener};
    if (mark) {
        q.path = str_head(target, (size_t)(mark - target.ptr));
        q.query = str_from(target, q.path.len + 1);
    }
    if (choices & YAML) q.headers[q.n_headers++] = (struct http_header){STR("content-type"), STR("application/x-yaml")};
    if (choices & (GZIP | COMPRESS)) q.headers[q.n_headers++] = (struct http_header){STR("content-encoding"), STR("gzip")};
    if (choices & ACCEPT) q.headers[q.n_headers++] = (struct http_header){STR("accept-encoding"), STR("br, gzip")};
    r = (struct http_reply){.status = 500, .body = &reply_body, .grpc_status = -1};
    if (rest_handle(&w, &q, &r) == DOOR_LATER)
        law(w.slice_us && reply_body.len == 0);
    else
        check_reply(&r);
    struct str of = rest_tenant(&w, &q);
    law(of.ptr == NULL || str_is(of, "t"));
    arena_deinit(&w.arena);
    buf_deinit(&w.input);
    buf_deinit(&reply_body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf packed;
    if (size < 2 || size > MAX_INPUT) return 0;
    choices = data[0];
    struct str all = {(const char *)data + 1, size - 1};
    const char *line = memchr(all.ptr, '\n', all.len);
    struct str head = line ? str_head(all, (size_t)(line - all.ptr)) : all, body = str_from(all, head.len + 1);
    const char *blank = head.len ? memchr(head.ptr, ' ', head.len) : NULL;
    struct str method = blank ? str_head(head, (size_t)(blank - head.ptr)) : STR("GET");
    struct str target = blank ? str_from(head, method.len + 1) : head;
    buf_init(&packed, 1 << 20);
    if (choices & COMPRESS && gzip_deflate(body, 1, &packed) == OK) body = buf_view(&packed);
    char *exact = malloc(body.len ? body.len : 1); /* so that reading past the end is seen */
    if (body.len) memcpy(exact, body.ptr, body.len);
    call(method, target, (struct str){exact, body.len});
    free(exact);
    buf_deinit(&packed);
    return 0;
}
