/* The door distribution: modules and bundles that serve here, for neighbours that have this node as a source, and for
 * an Envoy beside it.
 *
 *   /policies/ID                   the module; /policies/ID.sha256 its sum
 *   /tenants/index.json            ids of all tenants
 *   /tenants/ID/FILE               bundle.tar.gz, policy.wasm, data.json; FILE.sha256 of the first two
 *
 * in: HTTP requests. out: files of the version that serves, from the store or the folder. owns: what it reads, while it
 * answers. */
#include "base/hash.h"
#include "edge/admin.h"
#include <stdio.h>
#include <stdlib.h>

enum { FILE_BYTES = 64 << 20, UNPACKED_BYTES = 256 << 20, PATH_BYTES = 4096, TAG_BYTES = 80 };

enum file { FILE_BUNDLE, FILE_MODULE, FILE_DATA, FILE_INDEX };

struct fetch_of {
    struct admin_call call; /* first */
    enum file file;
    bool sum; /* its SHA-256 instead */
    struct load_report report;
    char tag[TAG_BYTES];
    uint64_t serial;
};

/* ---- what is asked for ---- */

static bool take_end(struct str *s, const char *end) {
    if (!str_ends(*s, str_of(end)) || s->len == strlen(end)) return false;
    s->len -= strlen(end);
    return true;
}

static bool read_file_name(struct str name, struct fetch_of *f) {
    static const struct {
        const char *name;
        enum file file;
        bool sum;
    } files[] = {{"bundle.tar.gz", FILE_BUNDLE, false},
                 {"policy.wasm", FILE_MODULE, false},
                 {"data.json", FILE_DATA, false},
                 {"bundle.tar.gz.sha256", FILE_BUNDLE, true},
                 {"policy.wasm.sha256", FILE_MODULE, true}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (str_is(name, files[i].name)) return f->file = files[i].file, f->sum = files[i].sum, true;
    return false;
}

static bool is_tenant(const struct fetch_of *f, struct str segment) {
    return tenants_find(f->call.rest.w->tenants, segment) != NULL;
}

/* false: answered. */
static bool read_path(struct fetch_of *f) {
    struct str path = f->call.rest.q->path, segment = {NULL, 0};
    if (str_is(path, "/tenants/index.json")) return f->file = FILE_INDEX, true;
    if (str_starts(path, STR("/policies/"))) {
        segment = str_from(path, 10);
        f->file = FILE_MODULE;
        if (!is_tenant(f, segment)) f->sum = take_end(&segment, ".sha256"); /* a tenant may be called so */
    } else if (str_starts(path, STR("/tenants/"))) {
        segment = str_from(path, 9);
        const char *slash = segment.len ? memchr(segment.ptr, '/', segment.len) : NULL;
        struct str name = slash ? str_from(segment, (size_t)(slash - segment.ptr) + 1) : STR("");
        if (slash) segment.len = (size_t)(slash - segment.ptr);
        if (!read_file_name(name, f)) segment.len = 0;
    }
    if (!segment.len || memchr(segment.ptr, '/', segment.len)) {
        admin_error(&f->call, 404, "resource_not_found", "there is no such file");
        return false;
    }
    return admin_path_tenant(&f->call, segment, &f->call.id);
}

/* ---- conditions ---- */

static void make_tag(struct fetch_of *f) {
    char text[sizeof f->report.version + sizeof f->report.sha256 + 64], hex[65];
    if (f->file == FILE_MODULE && !f->sum) {
        snprintf(f->tag, sizeof f->tag, "\"%s\"", f->report.sha256);
        return;
    }
    int n = snprintf(text, sizeof text, "%s %s %llu %d %d", f->report.sha256, f->report.version,
                     (unsigned long long)f->report.bytes, (int)f->file, f->sum);
    sha256_hex(text, (size_t)n, hex);
    snprintf(f->tag, sizeof f->tag, "\"%.32s\"", hex);
}

static bool matches(const struct fetch_of *f) { return http_has_tag(f->call.rest.q, str_of(f->tag)); }

static void put_headers(struct fetch_of *f) {
    struct arena *a = &f->call.rest.w->arena;
    char *tag = arena_strndup(a, f->tag, strlen(f->tag));
    char *version = arena_strndup(a, f->report.version, strlen(f->report.version));
    if (tag) rest_header(&f->call.rest, STR("ETag"), str_of(tag));
    rest_header(&f->call.rest, STR("Cache-Control"), STR("no-cache"));
    if (version && version[0]) rest_header(&f->call.rest, STR("X-Regent-Version"), str_of(version));
    if (!f->serial) return;
    char digits[24];
    struct str number = http_number(f->serial, digits);
    char *copy = arena_strndup(a, number.ptr, number.len);
    if (copy) rest_header(&f->call.rest, STR("X-Regent-Serial"), (struct str){copy, number.len});
}

static bool unchanged(struct fetch_of *f) {
    if (!f->tag[0] || !matches(f)) return false;
    f->call.rest.r->status = 304;
    f->call.rest.r->content_type = NULL;
    put_headers(f);
    return true;
}

/* ---- files ---- */

/* A bundle's bytes, and what is in them when that is needed. */
struct opened {
    struct buf bytes, module, data;
    struct arena arena;
    struct bundle bundle;
};

static bool is_active(const struct fetch_of *f, struct str module) {
    char hex[65];
    sha256_hex(module.ptr ? module.ptr : "", module.len, hex);
    return module.len && strcmp(hex, f->report.sha256) == 0;
}

static enum err unpack(struct opened *o) {
    struct diag_list diags;
    diag_list_init(&diags, &o->arena);
    return bundle_read(&o->arena, buf_view(&o->bytes), &o->bundle, &diags);
}

static struct str module_of(const struct opened *o) {
    if (o->module.len) return buf_view(&o->module);
    return o->bundle.full.len ? o->bundle.full : o->bundle.thin;
}

static enum err read_of_folder(const struct fetch_of *f, const char *name, struct buf *out) {
    char path[PATH_BYTES];
    int n =
        snprintf(path, sizeof path, "%s/tenants/%.*s/%s", f->call.rest.w->config->directory, STR_FMT(f->call.id), name);
    return n > 0 && n < PATH_BYTES ? buf_read_file(out, path) : ERR_LIMIT;
}

/* The folder may hold a newer version already: what serves is told by its sum. ERR_OVERLOAD: ask again. */
static enum err open_of_folder(struct fetch_of *f, struct opened *o) {
    if (!f->call.rest.w->config->directory) return ERR_UNSUPPORTED;
    enum err e = read_of_folder(f, "bundle.tar.gz", &o->bytes);
    if (e == ERR_IO) {
        if ((e = read_of_folder(f, "policy.wasm", &o->module))) return ERR_UNSUPPORTED;
        if (read_of_folder(f, "data.json", &o->data)) buf_clear(&o->data);
    } else if (!e) {
        e = unpack(o);
    }
    if (!e && !is_active(f, module_of(o))) return ERR_OVERLOAD;
    return e;
}

static enum err open_active(struct fetch_of *f, struct opened *o) {
    struct worker *w = f->call.rest.w;
    *o = (struct opened){0};
    buf_init(&o->bytes, FILE_BYTES);
    buf_init(&o->module, FILE_BYTES);
    buf_init(&o->data, FILE_BYTES);
    arena_init(&o->arena, UNPACKED_BYTES);
    char version[VERSION_BYTES] = "";
    tenants_offline(w->tenants, w->number); /* it may wait for a version that is just going live */
    enum err e = activator_bundle(w->node->activator, f->call.id, &o->bytes, version, &f->serial);
    if (!e && f->file != FILE_BUNDLE) e = unpack(o);
    if (e && e != ERR_NOT_FOUND) {
        buf_clear(&o->bytes);
        e = open_of_folder(f, o);
    }
    tenants_online(w->tenants, w->number);
    if (!e && version[0] && strcmp(version, f->report.version) != 0) return ERR_OVERLOAD; /* replaced meanwhile */
    return e;
}

static void close_opened(struct opened *o) {
    buf_deinit(&o->bytes);
    buf_deinit(&o->module);
    buf_deinit(&o->data);
    arena_deinit(&o->arena);
}

static enum err put_file(const struct fetch_of *f, const struct opened *o, struct buf *out) {
    switch (f->file) {
    case FILE_BUNDLE: buf_str(out, buf_view(&o->bytes)); return o->bytes.len ? out->err : ERR_UNSUPPORTED;
    case FILE_MODULE: buf_str(out, module_of(o)); return out->err;
    case FILE_DATA:
        if (o->module.len)
            buf_str(out, o->data.len ? buf_view(&o->data) : STR("{}"));
        else if (o->bundle.data)
            json_print(o->bundle.data, true, 0, out);
        else
            buf_cstr(out, "{}");
        return out->err;
    case FILE_INDEX: break;
    }
    return ERR_UNSUPPORTED;
}

static const char *type_of(const struct fetch_of *f) {
    if (f->sum) return "text/plain; charset=utf-8";
    switch (f->file) {
    case FILE_BUNDLE: return "application/gzip";
    case FILE_MODULE: return "application/wasm";
    case FILE_DATA:
    case FILE_INDEX: return "application/json";
    }
    return NULL;
}

/* As sha256sum prints it. */
static void replace_by_sum(const struct fetch_of *f, struct buf *out) {
    char hex[65];
    sha256_hex(out->ptr, out->len, hex);
    buf_clear(out);
    buf_printf(out, "%s  %s\n", hex, f->file == FILE_BUNDLE ? "bundle.tar.gz" : "policy.wasm");
}

static void refuse(struct fetch_of *f, enum err e) {
    if (e == ERR_NOT_FOUND)
        admin_error(&f->call, 404, "resource_not_found", "no such policy serves here");
    else if (e == ERR_UNSUPPORTED)
        admin_error(&f->call, 404, "resource_not_found",
                    "this file of the version that serves is not kept here: give the node a store (store.directory)");
    else {
        admin_error(&f->call, 503, "service_unavailable",
                    e == ERR_OVERLOAD ? "another version is going live: ask again" : err_meaning(e));
        rest_header(&f->call.rest, STR("Retry-After"), STR("1"));
    }
}

static void send_file(struct fetch_of *f) {
    struct opened o;
    struct http_reply *r = f->call.rest.r;
    enum err e = open_active(f, &o);
    buf_clear(r->body);
    if (!e) e = put_file(f, &o, r->body);
    close_opened(&o);
    if (e) {
        refuse(f, e);
        return;
    }
    if (f->sum) replace_by_sum(f, r->body);
    r->status = 200;
    r->content_type = type_of(f);
    put_headers(f);
}

static int by_id(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void send_index(struct fetch_of *f) {
    struct {
        const char **items;
        uint32_t n, cap;
    } ids = {0};
    struct http_reply *r = f->call.rest.r;
    const struct tenant_entry *t;
    for (uint32_t i = 0; (t = tenants_at(f->call.rest.w->tenants, i)); i++) {
        const char *id = t->tenant->id;
        if (t->policy && admin_sees(&f->call, str_of(id))) ARENA_PUSH(&f->call.rest.w->arena, &ids, id);
    }
    if (ids.n) qsort(ids.items, ids.n, sizeof *ids.items, by_id);
    buf_byte(r->body, '[');
    for (uint32_t i = 0; i < ids.n; i++) {
        if (i) buf_byte(r->body, ',');
        json_print_string(str_of(ids.items[i]), r->body);
    }
    buf_cstr(r->body, "]\n");
    char hex[65];
    sha256_hex(r->body->ptr, r->body->len, hex);
    snprintf(f->tag, sizeof f->tag, "\"%.32s\"", hex);
    if (matches(f)) buf_clear(r->body);
    if (unchanged(f)) return;
    r->status = 200;
    r->content_type = type_of(f);
    put_headers(f);
}

/* ---- the door ---- */

/* false: answered. */
static bool may_read(struct fetch_of *f) {
    const struct edge_config *c = f->call.rest.w->config;
    struct str method = f->call.rest.q->method;
    if (c->distribution_tokens_file && !admin_identify(&f->call, c->distribution_tokens, NULL)) return false;
    if (!str_is(method, "GET") && !str_is(method, "HEAD")) {
        admin_error(&f->call, 405, "method_not_allowed", "files are read with GET and HEAD");
        rest_header(&f->call.rest, STR("Allow"), STR("GET, HEAD"));
        return false;
    }
    return read_path(f) && admin_may(&f->call, ADMIN_DISTRIBUTE, f->call.id);
}

static bool find_version(struct fetch_of *f) {
    const struct tenant_entry *t = tenants_find(f->call.rest.w->tenants, f->call.id);
    if (t && t->policy) tenants_reported(f->call.rest.w->tenants, t->tenant, &f->report);
    if (!f->report.sha256[0]) {
        refuse(f, ERR_NOT_FOUND);
        return false;
    }
    make_tag(f);
    return true;
}

enum door_outcome distribution_handle(struct worker *w, const struct http_request *q, struct http_reply *r) {
    struct fetch_of f = {.call = {.rest = {.w = w, .q = q, .r = r}, .action = "distribution"}};
    arena_reset(&w->arena);
    if (!may_read(&f)) return DOOR_ANSWERED;
    if (f.file != FILE_INDEX && (!find_version(&f) || unchanged(&f))) return DOOR_ANSWERED;
    if (w->slice_us) return DOOR_LATER;
    if (f.file == FILE_INDEX)
        send_index(&f);
    else
        send_file(&f);
    if (r->body->err) admin_error(&f.call, 500, "internal_error", "the file does not fit an answer");
    return DOOR_ANSWERED;
}

bool distribution_has_path(struct str path) {
    return str_starts(path, STR("/policies/")) || str_starts(path, STR("/tenants/"));
}
