/* Bundles as files: OPA's bundle protocol for plain OPA agents, and the blob store's objects for
 * edges without a CDN.
 *
 *   /bundles/ID                            the current bundle: ETag, If-None-Match, Prefer: wait
 *   /bundles/ID/rego                       the same without modules, for OPAs without WebAssembly
 *   /blobs/tenants/ID/versions/V/FILE      immutable
 *   /blobs/tenants/ID/FILE                 the current one
 *   /blobs/tenants/index.json              ids of tenants that have one
 *   FILE: bundle.tar.gz, policy.wasm, policy.wasm.sha256
 *
 * What is current is told by the store, not by the blob store's pointer, which follows.
 * in: requests with the right `edge`. out: files of versions. owns: nothing. */
#include "base/clock.h"
#include "control/api.h"
#include "control/bundle_cache.h"
#include "control/bundle_rego.h"
#include "control/edges.h"
#include <stdio.h>

enum { WAIT_MOST_S = 600, TAG_BYTES = 80 };
static const char LONG_POLLED[] = "application/vnd.openpolicyagent.bundles";
static const char FOREVER[] = "private, max-age=31536000, immutable";

enum file { FILE_BUNDLE, FILE_MODULE, FILE_SUM };
static const char *const file_names[] = {"bundle.tar.gz", "policy.wasm", "policy.wasm.sha256"};
static const char *const file_types[] = {"application/gzip", "application/wasm",
                                         "text/plain; charset=utf-8"};

/* A version's file. */
struct wanted {
    struct str tenant, version; /* version: "" the current one; then its name */
    enum file file;
    bool immutable, rego; /* rego: the bundle without its modules */
    struct str sha256, module_sha256;
    int64_t serial;
    char tag[TAG_BYTES];
};

/* ---- which ---- */

static const char CURRENT[] = "SELECT v.version, v.sha256, v.module_sha256, f.serial, t.labels "
                              "FROM feed f JOIN tenants t ON t.id = f.tenant"
                              " JOIN versions v ON v.tenant = f.tenant AND v.version = f.version "
                              "WHERE f.tenant = $1 AND f.deleted = 0";
static const char OF_VERSION[] = "SELECT v.version, v.sha256, v.module_sha256, 0, t.labels FROM "
                                 "versions v JOIN tenants t ON t.id = v.tenant"
                                 " WHERE v.tenant = $1 AND v.version = $2 AND t.deleted = 0";

/* false: answered. */
static bool find_version(struct api_call *c, struct wanted *w) {
    struct db_rows rows = {0};
    enum err e = w->immutable ? DB_QUERY(c->db, c->arena, &rows, OF_VERSION, db_text(w->tenant),
                                         db_text(w->version))
                              : DB_QUERY(c->db, c->arena, &rows, CURRENT, db_text(w->tenant));
    if (e && e != ERR_INVALID) {
        api_store_error(c, e);
        return false;
    }
    const struct db_value *v = rows.n ? db_row(&rows, 0) : NULL;
    if (!v || !edge_sees(c, w->tenant, v[4].s)) {
        api_error(c, 404, "not_found", "there is no such bundle");
        return false;
    }
    w->version = v[0].s;
    w->sha256 = v[1].s;
    w->module_sha256 = v[2].s;
    w->serial = v[3].i;
    struct str sum = w->file == FILE_BUNDLE ? w->sha256 : w->module_sha256;
    snprintf(w->tag, sizeof w->tag, "\"%.*s%s\"", STR_FMT(str_head(sum, 64)),
             w->file == FILE_SUM ? ".sum"
             : w->rego           ? ".rego"
                                 : "");
    return true;
}

/* ---- answers ---- */

static void put_headers(struct api_call *c, const struct wanted *w) {
    struct arena *a = c->arena;
    char *tag = arena_strndup(a, w->tag, strlen(w->tag));
    if (tag) api_header(c, STR("ETag"), str_of(tag));
    api_header(c, STR("Cache-Control"), w->immutable ? str_of(FOREVER) : STR("no-cache"));
    api_header(c, STR("X-Regent-Version"), w->version);
    size_t len = 0;
    const char *serial = w->serial ? arena_printf(a, &len, "%lld", (long long)w->serial) : NULL;
    if (serial) api_header(c, STR("X-Regent-Serial"), (struct str){serial, len});
}

static void send_unchanged(struct api_call *c, const struct wanted *w, const char *type) {
    c->r->status = 304;
    c->r->content_type = type;
    put_headers(c, w);
}

/* Bytes that are as they were published, without the modules among them. */
static enum err take_modules_out(struct api_call *c, struct buf *body) {
    char *copy = arena_copy(c->arena, body->ptr, body->len);
    struct str bundle = {copy, body->len};
    buf_clear(body);
    return copy ? bundle_rego(c->arena, c->control->signer, bundle, body) : ERR_MEMORY;
}

static void send_file(struct api_call *c, const struct wanted *w, const char *type) {
    char key[BLOB_KEY_BYTES], why[BLOB_WHY_BYTES] = "";
    struct buf *body = c->r->body;
    struct str sum = w->file == FILE_BUNDLE ? w->sha256 : w->module_sha256;
    snprintf(key, sizeof key, "tenants/%.*s/versions/%.*s/%s", STR_FMT(w->tenant),
             STR_FMT(w->version), file_names[w->file]);
    buf_clear(body);
    enum err e = w->file == FILE_SUM ? blobs_get(c->control->blobs, str_of(key), body, why)
                                     : bundle_cache_get(c->control->bundles, c->control->blobs,
                                                        str_of(key), sum, body, why);
    if (!e && w->rego) e = take_modules_out(c, body);
    if (e) {
        log_line(c->control->log, LOG_ERROR, "bundle not read", "key", key, "error", err_word(e),
                 "reason", why, NULL);
        buf_clear(body);
        api_error(c, e == ERR_MEMORY ? 503 : 502, "blob_store_failed",
                  "the blob store did not give this file as it was published");
        api_header(c, STR("Retry-After"), STR("1"));
        return;
    }
    c->r->status = 200;
    c->r->content_type = type;
    put_headers(c, w);
}

/* ---- OPA's bundle protocol ---- */

/* Prefer: modes=snapshot,delta;wait=60. Seconds, 0 none. */
static int64_t preferred_wait_s(const struct api_call *c) {
    struct str v = http_header_get(c->q, STR("prefer"));
    int64_t n = 0;
    for (size_t i = 0; i + 5 <= v.len; i++) {
        bool begins = !i || v.ptr[i - 1] == ';' || v.ptr[i - 1] == ',' || v.ptr[i - 1] == ' ';
        if (!begins || !str_eq_fold((struct str){v.ptr + i, 5}, STR("wait="))) continue;
        for (size_t k = i + 5; k < v.len && v.ptr[k] >= '0' && v.ptr[k] <= '9' && n < WAIT_MOST_S;
             k++)
            n = n * 10 + (v.ptr[k] - '0');
        break;
    }
    return n < WAIT_MOST_S ? n : WAIT_MOST_S;
}

/* The answer has OPA's type when it asked for long polls: by that it knows that they work here.
 * Deltas are not made. */
static void give_bundle(struct api_call *c, bool rego) {
    struct wanted w = {.tenant = c->args[0], .rego = rego};
    int64_t wait_s = preferred_wait_s(c);
    const char *type = wait_s ? LONG_POLLED : file_types[FILE_BUNDLE];
    if (!find_version(c, &w)) return;
    if (!http_has_tag(c->q, str_of(w.tag))) {
        send_file(c, &w, type);
        return;
    }
    int64_t left = wait_s * 1000 - (clock_ms() - (int64_t)c->q->received_ms);
    if (wait_s && left > 0 && !c->last) {
        api_wait(c, c->args[0], (uint32_t)(left < wait_s * 1000 ? left : wait_s * 1000));
        return;
    }
    send_unchanged(c, &w, type);
}

static void bundle_get(struct api_call *c) { give_bundle(c, false); }
static void bundle_rego_get(struct api_call *c) { give_bundle(c, true); }

/* ---- files of the blob store ---- */

static struct str take_segment(struct str *rest) {
    const char *slash = rest->len ? memchr(rest->ptr, '/', rest->len) : NULL;
    struct str segment = str_head(*rest, slash ? (size_t)(slash - rest->ptr) : rest->len);
    *rest = str_from(*rest, segment.len + (slash != NULL));
    return segment;
}

/* tenants/ID/FILE or tenants/ID/versions/V/FILE, and nothing else. */
static bool read_path(struct str path, struct wanted *w) {
    if (!str_is(take_segment(&path), "tenants")) return false;
    w->tenant = take_segment(&path);
    struct str name = take_segment(&path);
    if (str_is(name, "versions")) {
        w->immutable = true;
        w->version = take_segment(&path);
        if (control_id_wrong(w->version)) return false;
        name = take_segment(&path);
    }
    if (path.len || control_id_wrong(w->tenant)) return false;
    for (uint32_t i = 0; i < sizeof file_names / sizeof *file_names; i++)
        if (str_is(name, file_names[i])) return w->file = (enum file)i, true;
    return false;
}

/* ["acme", …]: whose bundles there are, for a node that discovers its tenants. */
static void index_get(struct api_call *c) {
    struct sql_filter f = {
        .sql = "SELECT t.id FROM feed f JOIN tenants t ON t.id = f.tenant WHERE f.deleted = 0"};
    struct db_rows rows = {0};
    struct json *ids = json_array(c->arena);
    size_t len = 0;
    enum err e = ids && api_scope_filter(c, &f) ? OK : ERR_LIMIT;
    if (!e && (len = strlen(f.sql)) + 16 > sizeof f.sql) e = ERR_LIMIT;
    if (!e) snprintf(f.sql + len, sizeof f.sql - len, " ORDER BY t.id");
    if (!e) e = db_query(c->db, c->arena, &rows, f.sql, f.params, f.n);
    if (e) {
        api_store_error(c, e);
        return;
    }
    for (uint32_t i = 0; i < rows.n; i++)
        json_push(c->arena, ids, json_string(c->arena, db_row(&rows, i)->s));
    api_json(c, 200, ids);
    api_header(c, STR("Cache-Control"), STR("no-cache"));
}

static void blob_get(struct api_call *c) {
    struct wanted w = {0};
    if (str_is(c->args[0], "tenants/index.json")) {
        index_get(c);
        return;
    }
    if (!read_path(c->args[0], &w)) {
        api_error(c, 404, "not_found", "there is no such file");
        return;
    }
    if (!find_version(c, &w)) return;
    if (http_has_tag(c->q, str_of(w.tag)))
        send_unchanged(c, &w, NULL);
    else
        send_file(c, &w, file_types[w.file]);
}

const struct api_route api_bundles_routes[] = {
    {"GET", "/bundles/{id}", RIGHT_EDGE, bundle_get},
    {"GET", "/bundles/{id}/rego", RIGHT_EDGE, bundle_rego_get},
    {"GET", "/blobs/{path*}", RIGHT_EDGE, blob_get},
    {0},
};
