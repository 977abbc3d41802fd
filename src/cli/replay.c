/* Decisions of a log, evaluated again by the module that each names.
 * in: events, bundles. out: same or not, and why it cannot be told.
 * owns: an engine, loaded policies, an index of bundles. */
#include "cli/replay.h"
#include "base/hash.h"
#include "bundle/bundle.h"
#include "edge/decide.h"
#include "edge/document.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum {
    BUNDLE_BYTES = 1 << 30,
    BUNDLE_ARENA_BYTES = 2047 << 20,
    MAX_DEPTH = 16,
    INDEX_BYTES = 256 << 20,
    TEXT_BYTES = 1 << 30,
    DEADLINE_US = 10000000,
    MAX_STEPS = 512,
    LIVE_INSTANCES = 64
};

struct known {
    char sha256[65];
    struct str path, revision;
    struct policy *policy; /* NULL: not loaded yet */
    bool broken;
};

struct replay {
    struct engine *engine;
    struct instances *pool;
    struct arena arena, bundle; /* of the index; of a bundle that is being read */
    struct {
        struct known *items;
        uint32_t n, cap;
    } bundles;
    struct buf logged, now, document;
};

const char *replay_word(enum replay_outcome o) {
    static const char *const words[REPLAY_OUTCOMES] = {
        "same",    "different", "no decision", "masked", "refused by a limit or fault", "names no module",
        "no bundle holds its module", "its bundle cannot be loaded"};
    return words[o];
}

enum err replay_new(struct replay **out) {
    struct replay *r = calloc(1, sizeof *r);
    if (!r) return ERR_MEMORY;
    struct engine_options options = {.max_instances = LIVE_INSTANCES + 8};
    arena_init(&r->arena, INDEX_BYTES);
    arena_init(&r->bundle, BUNDLE_ARENA_BYTES);
    buf_init(&r->logged, TEXT_BYTES);
    buf_init(&r->now, TEXT_BYTES);
    buf_init(&r->document, TEXT_BYTES);
    enum err e = engine_new(&options, &r->engine);
    if (!e) e = instances_new(r->engine, LIVE_INSTANCES, &r->pool);
    if (e) {
        replay_free(r);
        return e;
    }
    *out = r;
    return OK;
}

void replay_free(struct replay *r) {
    if (r->pool) instances_free(r->pool);
    for (uint32_t i = 0; i < r->bundles.n; i++)
        if (r->bundles.items[i].policy) policy_release(r->bundles.items[i].policy);
    if (r->engine) engine_free(r->engine);
    arena_deinit(&r->arena);
    arena_deinit(&r->bundle);
    buf_deinit(&r->logged);
    buf_deinit(&r->now);
    buf_deinit(&r->document);
    free(r);
}

/* ---- bundles ---- */

static enum err read_bundle(struct replay *r, const char *path, struct bundle *b) {
    struct diag_list diags;
    struct buf bytes;
    arena_reset(&r->bundle);
    diag_list_init(&diags, &r->bundle);
    buf_init(&bytes, BUNDLE_BYTES);
    enum err e = buf_read_file(&bytes, path);
    char *copy = e ? NULL : arena_copy(&r->bundle, bytes.ptr, bytes.len); /* the bundle holds views */
    struct str archive = {copy, bytes.len};
    buf_deinit(&bytes);
    if (!e && !copy) e = ERR_MEMORY;
    if (!e) e = bundle_read(&r->bundle, archive, b, &diags);
    return !e && !b->full.len ? ERR_INVALID : e;
}

static void add_file(struct replay *r, const char *path, uint32_t *bundles) {
    struct known k = {.broken = false};
    struct bundle b;
    unsigned char head[2] = {0, 0};
    FILE *f = fopen(path, "rbe");
    bool packed = f && fread(head, 1, 2, f) == 2 && head[0] == 0x1f && head[1] == 0x8b;
    if (f) fclose(f);
    if (!packed || read_bundle(r, path, &b)) return;
    sha256_hex(b.full.ptr, b.full.len, k.sha256);
    k.path = (struct str){arena_strndup(&r->arena, path, strlen(path)), strlen(path)};
    k.revision = (struct str){arena_strndup(&r->arena, b.revision.ptr, b.revision.len), b.revision.len};
    if (!k.path.ptr || !k.revision.ptr) return;
    ARENA_PUSH(&r->arena, &r->bundles, k);
    ++*bundles;
}

static void add_folder(struct replay *r, const char *path, int depth, uint32_t *bundles) {
    struct stat st;
    char name[4096];
    DIR *dir = depth < MAX_DEPTH ? opendir(path) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (str_is(str_of(e->d_name), ".") || str_is(str_of(e->d_name), "..")) continue;
        int n = snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (n < 0 || (size_t)n >= sizeof name || lstat(name, &st)) continue;
        if (S_ISDIR(st.st_mode)) add_folder(r, name, depth + 1, bundles);
        if (S_ISREG(st.st_mode)) add_file(r, name, bundles);
    }
    if (dir) closedir(dir);
}

enum err replay_add(struct replay *r, const char *path, uint32_t *bundles) {
    struct stat st;
    if (stat(path, &st)) return ERR_NOT_FOUND;
    if (S_ISDIR(st.st_mode))
        add_folder(r, path, 0, bundles);
    else
        add_file(r, path, bundles);
    return OK;
}

static bool has_step(struct str path, struct str step) {
    for (;;) {
        const char *slash = path.len ? memchr(path.ptr, '/', path.len) : NULL;
        if (str_eq(slash ? str_head(path, (size_t)(slash - path.ptr)) : path, step)) return true;
        if (!slash) return false;
        path = str_from(path, (size_t)(slash - path.ptr) + 1);
    }
}

static struct str text_of(const struct json *object, const char *name) {
    const struct json *v = json_get_c(object, name);
    return v && v->kind == JSON_STRING ? v->text : STR("");
}

/* Of several bundles with the module (their data may differ): the tenant's own, of that version. */
static struct known *find(struct replay *r, const struct json *custom) {
    struct str sha256 = text_of(custom, "module_sha256"), tenant = text_of(custom, "tenant_id");
    struct str version = text_of(custom, "version");
    struct known *best = NULL;
    int best_score = -1;
    for (uint32_t i = 0; i < r->bundles.n; i++) {
        struct known *k = &r->bundles.items[i];
        if (!str_is(sha256, k->sha256)) continue;
        int score = 2 * has_step(k->path, tenant) + str_eq(version, k->revision);
        if (score > best_score) best = k, best_score = score;
    }
    return best;
}

static bool load(struct replay *r, struct known *k) {
    struct bundle b;
    if (k->policy || k->broken) return !k->broken;
    enum err e = read_bundle(r, k->path.ptr, &b);
    struct policy_source source = {.full = b.full, .thin = b.thin, .data = b.data, .name = k->path};
    if (!e) e = policy_load(r->engine, &source, &k->policy, NULL);
    k->broken = e != OK;
    arena_reset(&r->bundle);
    return !e;
}

/* ---- events ---- */

/* RFC 3339 with up to nine digits of a second; 0: none. */
static int64_t time_of(struct str text) {
    struct tm t = {0};
    char copy[64];
    int used = 0;
    int64_t ns = 0, unit = 100000000;
    if (text.len >= sizeof copy) return 0;
    snprintf(copy, sizeof copy, "%.*s", STR_FMT(text));
    if (sscanf(copy, "%4d-%2d-%2dT%2d:%2d:%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec,
               &used) != 6)
        return 0;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    const char *c = copy + used;
    if (*c == '.')
        for (c++; *c >= '0' && *c <= '9'; c++, unit /= 10) ns += (*c - '0') * unit;
    return (int64_t)timegm(&t) * 1000000000 + ns;
}

static bool of_the_policy(struct str code) {
    return str_is(code, "eval_conflict_error") || str_is(code, "eval_builtin_error") || str_is(code, "eval_type_error");
}

/* What was answered then, as text: a result, {"error": code}, or nothing. */
static void put_logged(const struct json *event, struct buf *out) {
    const struct json *result = json_get_c(event, "result");
    buf_clear(out);
    if (result) {
        json_print(result, false, 0, out);
    } else if (json_get_c(event, "error")) {
        buf_cstr(out, "{\"error\":");
        json_print_string(text_of(json_get_c(event, "error"), "code"), out);
        buf_byte(out, '}');
    }
}

/* A path below an entrypoint's. */
static const struct json *look_below(struct arena *a, const struct json *v, struct str below) {
    struct document_key step;
    while (v && document_step(a, &below, &step)) v = json_get(v, step.name);
    return v;
}

static enum err document(struct replay *r, struct arena *a, const struct policy *p, struct str path) {
    struct document_key steps[MAX_STEPS];
    uint32_t n = 0;
    buf_clear(&r->document);
    while (n < MAX_STEPS && document_step(a, &path, &steps[n])) n++;
    return policy_document(p, steps, n, a, &r->document);
}

/* What is answered now: *now is NULL when it is undefined. */
static enum err answer(struct replay *r, struct arena *a, const struct json *event, struct policy *p,
                       const struct json **now) {
    struct str path = text_of(event, "path"), below;
    const struct json *input = json_get_c(event, "input");
    struct buf text;
    struct eval_result result;
    struct json *v = NULL;
    int32_t entrypoint = policy_entrypoint_at(p, path, &below);
    *now = NULL;
    if (entrypoint < 0) {
        if (document(r, a, p, path)) return OK;
        enum err e = json_parse(a, buf_view(&r->document), &v, NULL);
        *now = v;
        return e;
    }
    buf_init(&text, TEXT_BYTES);
    if (input) json_print(input, false, 0, &text);
    struct eval_request q = {.policy = p,
                             .entrypoint = (uint32_t)entrypoint,
                             .input = input ? buf_view(&text) : (struct str){NULL, 0},
                             .limits = {.deadline_us = DEADLINE_US, .memory_bytes = 1 << 30},
                             .strict_builtin_errors =
                                 str_is(text_of(json_get_c(event, "error"), "code"), "eval_builtin_error"),
                             .now_ns = time_of(text_of(event, "timestamp"))};
    enum err e = text.err ? text.err : policy_eval(r->pool, &q, &result);
    buf_deinit(&text);
    if (e || !result.defined) return e;
    char *copy = arena_strndup(a, result.json.ptr, result.json.len);
    if (!copy || json_parse(a, (struct str){copy, result.json.len}, &v, NULL)) return ERR_MEMORY;
    *now = below.ptr ? look_below(a, v, below) : v;
    return OK;
}

static enum replay_outcome compare(struct replay *r, const struct json *event, enum err e, const struct json *now,
                                   struct replay_difference *out) {
    const struct json *logged = json_get_c(event, "result"), *error = json_get_c(event, "error");
    bool same = logged                ? !e && now && json_equal(logged, now)
                : error && !logged ? e && str_is(text_of(error, "code"), err_word(e))
                                      : !e && !now;
    put_logged(event, &r->logged);
    buf_clear(&r->now);
    if (e)
        buf_printf(&r->now, "{\"error\":\"%s\"}", err_word(e));
    else if (now)
        json_print(now, false, 0, &r->now);
    *out = (struct replay_difference){buf_view(&r->logged), buf_view(&r->now)};
    return same ? REPLAY_SAME : REPLAY_DIFFERENT;
}

enum replay_outcome replay_event(struct replay *r, struct arena *a, const struct json *event,
                                 struct replay_difference *out) {
    const struct json *custom = json_get_c(event, "custom"), *error = json_get_c(event, "error"), *now;
    *out = (struct replay_difference){{NULL, 0}, {NULL, 0}};
    if (!text_of(event, "decision_id").len) return REPLAY_NO_EVENT;
    if (json_get_c(event, "erased") || json_get_c(event, "masked")) return REPLAY_MASKED;
    if (error && !json_get_c(event, "result") && !of_the_policy(text_of(error, "code"))) return REPLAY_REFUSED;
    if (!text_of(custom, "module_sha256").len) return REPLAY_UNNAMED;
    struct known *k = find(r, custom);
    if (!k) return REPLAY_NO_MODULE;
    if (!load(r, k)) return REPLAY_NOT_LOADED;
    enum err e = answer(r, a, event, k->policy, &now);
    return compare(r, event, e, now, out);
}
