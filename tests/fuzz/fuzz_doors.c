/* Fuzzes every door from request to reply, with a policy that is evaluated: a HTTP/1.1 request (REST, batch, HTTP authz,
 * health, metrics, status) or a CheckRequest, first as on an event loop, then as in a lane. in: libFuzzer's bytes; the first
 * chooses. out: crashes only. owns: a node of one tenant, kept from input to input. Laws: who does not say the word is
 * allowed nothing; a reply is whole. The policy: doors/, built by tests/fuzz/run.sh. */
#include "bundle/bundle.h"
#include "edge/activator.h"
#include "net/logins.h"
#include "edge/admin_tokens.h"
#include "edge/authz.h"
#include "edge/doors.h"
#include "edge/setup.h"
#include "net/http1.h"
#include "net/protobuf.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 1 << 16, CHECK = 1, PACKED = 2, DRY = 4, SPOILT = 8 };

static struct fuzz {
    struct node node;
    struct logins logins;
    struct edge_listener listener;
    struct setup *setup;
    struct worker worker;
    struct buf body;
    struct arena arena;
} *f;

static void law(bool holds) {
    if (!holds) abort();
}

/* ---- the node ---- */
static void load_policy(struct engine *engine) {
    struct bundle b;
    struct buf bytes;
    struct diag_list diags;
    struct load_message message;
    struct tenant_version version = {.revision = STR("r1")};
    diag_list_init(&diags, &f->arena);
    buf_init(&bytes, 1 << 24);
    law(buf_read_file(&bytes, FUZZ_POLICY) == OK && bundle_read(&f->arena, buf_view(&bytes), &b, &diags) == OK);
    struct policy_source source = {.full = b.full, .thin = b.thin, .data = b.data, .name = STR("t"), .input_mark = authz_wanted};
    law(policy_load(engine, &source, &version.policy, &message) == OK);
    law(tenants_set(f->node.tenants, STR("t"), &version) == OK);
    buf_deinit(&bytes);
}

static void configure(struct edge_config *c) {
    static struct tenant_rule rules[] = {
        {.kind = TENANT_BY_EXTENSION, .name = {"tenant_id", 9}},
        {.kind = TENANT_BY_PATH, .pattern = {"/in/{tenant}", 12}},
        {.kind = TENANT_BY_HEADER, .name = {"x-tenant-id", 11}, .of_subject = true}};
    static struct address_range all = {.bits = 0};
    static struct admin_token token = {.name = {"fuzz", 4}, .scopes = (1u << ADMIN_SCOPES) - 1};
    static struct admin_tokens tokens = {&token, 1, 1};
    rules[2].trusted.items = &all;
    rules[2].trusted.n = 1;
    edge_config_init(c, &f->arena);
    c->log.fd = -1;
    c->tenant_from.items = rules;
    c->tenant_from.n = sizeof rules / sizeof *rules;
    c->authz_path = STR("t/allow");
    c->http_authz_prefix = STR("/authz");
    c->rest_path = STR("t/allow");
    c->batch_inputs = 8;
    c->admin_tokens = &tokens;
    sha256("open", 4, token.hash);
    c->body_bytes = 1 << 20;
}

static void start(void) {
    static const struct edge_config none;
    struct engine_options options = {.max_instances = 64, .tick_us = 500};
    struct engine *engine;
    char why[256] = "";
    law(posix_memalign((void **)&f, 64, sizeof *f) == 0);
    memset((void *)f, 0, sizeof *f);
    arena_init(&f->arena, 256 << 20);
    law(setup_new(&none, &f->setup, why, sizeof why) == OK);
    configure(&f->setup->config);
    law(engine_new(&options, &engine) == OK && tenants_new(&f->node.tenants) == OK);
    law(metrics_names_new(&f->node.names) == OK);
    f->node.engine = engine;
    const struct activator_options activator = {
        .config = &f->setup->config, .engine = engine, .tenants = f->node.tenants, .log = &f->setup->config.log};
    law(activator_new(&activator, &f->node.activator) == OK);
    f->node.n_loops = 1;
    f->node.logins = &f->logins;
    f->listener = (struct edge_listener){.name = STR("all"), .address = "127.0.0.1:1", .doors = ~0u};
    struct worker *w = &f->worker;
    *w = (struct worker){.tenants = f->node.tenants, .config = &f->setup->config, .log = &f->setup->config.log, .node = &f->node, .random = {1, 2}};
    arena_init(&w->arena, 256 << 20);
    buf_init(&w->input, 64 << 20);
    buf_init(&f->body, 64 << 20);
    law(instances_new(engine, 16, &w->pool) == OK);
    law(identifier_new(w->config, NULL, &w->identifier) == OK);
    load_policy(engine);
    tenants_online(w->tenants, w->number);
}

/* ---- requests ---- */
static bool has(struct str s, const char *word) { return s.len && memmem(s.ptr, s.len, word, strlen(word)); }

/* Could the request say the word to the policy? Not what comes packed or escaped: that is let pass. */
static bool says_the_word(const struct http_request *q) {
    bool said = has(q->body, "sesame") || has(q->body, "\\") || has(q->body, "%") || has(q->target, "%") || has(q->target, "sesame");
    for (uint32_t i = 0; i < q->n_headers; i++)
        said |= has(q->headers[i].value, "sesame") || has(q->headers[i].value, "gzip") || has(q->headers[i].value, "yaml");
    return said;
}

/* Takes the first request off bytes that come from a client. */
static bool read_request(char *bytes, size_t len, struct http_request *q) {
    static const struct http1_limits limits = {.head_bytes = 16384, .body_bytes = 1 << 20};
    struct http1_progress progress = {0};
    size_t used = 0;
    int status = 0;
    return http1_parse(bytes, len, &limits, &progress, q, &used, &status) == HTTP1_DONE;
}

static void check_call(struct str message, struct http_request *q) {
    *q = (struct http_request){.method = STR("POST"), .target = STR("/envoy.service.auth.v3.Authorization/Check"), .http2 = true,
                               .is_grpc = true, .keep_alive = true, .body = message};
    q->path = q->target;
    q->query = STR("");
    q->headers[q->n_headers++] = (struct http_header){STR("content-type"), STR("application/grpc")};
}

/* ---- replies ---- */
static bool check_allows(const struct http_reply *r) {
    struct reader top = reader_of(r->body->ptr, r->body->len);
    struct pb_field field, inner;
    bool answered = false, denied = false;
    uint64_t code = 0;
    if (r->grpc_status != 0) return false;
    while (pb_next(&top, &field)) {
        denied |= field.number == 2;
        if (field.number != 1) continue;
        answered = true;
        struct reader status = reader_of(field.bytes.ptr, field.bytes.len);
        while (pb_next(&status, &inner))
            if (inner.number == 1) code = inner.varint;
        law(!status.failed);
    }
    law(!top.failed && answered && !(denied && code == 0));
    return code == 0;
}

static bool allows(const struct http_request *q, const struct http_reply *r) {
    if (q->is_grpc) return check_allows(r);
    if (str_starts(q->path, STR("/authz"))) return r->status >= 200 && r->status < 300;
    return r->status == 200 && str_is(buf_view(r->body), "{\"result\":true}\n");
}

static void check_reply(const struct http_request *q, const struct http_reply *r) {
    law(!r->body->err && r->status >= 200 && r->status < 600 && r->n_extra <= HTTP_MAX_REPLY_HEADERS);
    law(r->grpc_status <= 16 && (q->is_grpc || r->grpc_status < 0));
    for (uint32_t i = 0; i < r->n_extra; i++) law(http_header_sendable(&r->extra[i]) || !q->is_grpc);
    if (allows(q, r)) law(says_the_word(q) || f->setup->config.authz_dry_run);
}

/* As a loop and, where that puts it off, a lane do. */
static void serve(const struct http_request *q) {
    struct worker *w = &f->worker;
    struct http_reply r;
    const struct door *door = door_of(w->config, q);
    enum door_outcome outcome = DOOR_LATER;
    uint32_t charged = 0;
    struct tenant_quota *held = NULL;
    struct str of = door->tenant(w, q);
    law(!of.ptr || of.len < 4096);
    for (int lane = 0; lane < 2 && outcome == DOOR_LATER; lane++) {
        w->slice_us = lane ? 0 : 1000;
        buf_clear(&f->body);
        http_reply_init(&r, &f->body);
        worker_begin(w, charged, held);
        outcome = door->handle(w, q, &r);
        if (outcome == DOOR_LATER) law(!lane && f->body.len == 0);
        charged = w->admitted;
        held = w->held;
    }
    if (held) quota_done(held);
    check_reply(q, &r);
    buf_clear(&f->body);
    http_reply_init(&r, &f->body);
    door->refuse(w, q, ERR_OVERLOAD, &r);
    law(!allows(q, &r) && !(r.status >= 200 && r.status < 300 && !q->is_grpc));
    tenants_quiescent(w->tenants, w->number);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct http_request q;
    static const struct http_peer peer = {.address = "127.0.0.1", .ip = {[10] = 255, 255, 127, 0, 0, 1}};
    if (size < 2 || size > MAX_INPUT) return 0;
    if (!f) start();
    f->setup->config.authz_dry_run = data[0] & DRY;
    char *bytes = malloc(size - 1); /* views past its end show */
    memcpy(bytes, data + 1, size - 1);
    bool whole = true;
    if (data[0] & CHECK)
        check_call((struct str){bytes, size - 1}, &q);
    else
        whole = read_request(bytes, size - 1, &q);
    q.peer = &peer;
    q.listener = &f->listener;
    if (whole) serve(&q);
    free(bytes);
    return 0;
}
