/* Documents of people, member by member.
 * in: JSON trees from requests or files (hostile). out: canonical documents, or what is wrong with
 * them. owns: a scratch arena while a document is read. */
#include "control/spec.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "base/words.h"
#include "bundle/checks.h"
#include "bundle/limits.h"
#include "control/control.h"
#include "control/spec_private.h"
#include <stdarg.h>
#include <stdio.h>

enum { SCRATCH_BYTES = 512 << 20, SHOWN_BYTES = 64, MAX_WORDS = 32 };

/* ---- problems ---- */

static struct loc place_of(struct str path) { return (struct loc){.file = path}; }

void spec_problem(struct reader *r, struct str path, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    diag_add(r->diags, DIAG_DOCUMENT, place_of(path), "%s", text);
}

const char *spec_shown(struct reader *r, struct str s) {
    struct str head = str_head(s, SHOWN_BYTES);
    while (head.len < s.len && head.len && ((unsigned char)s.ptr[head.len] & 0xc0) == 0x80)
        head.len--;
    return arena_printf(r->a, NULL, "%.*s%s", STR_FMT(head), head.len < s.len ? "…" : "");
}

struct str spec_path(struct reader *r, const char *member, struct str key) {
    struct str path = {NULL, 0};
    path.ptr = arena_printf(r->a, &path.len, "%s.%s", member, spec_shown(r, key));
    return path;
}

void spec_unknown(struct reader *r, struct str path, struct str name, const char *const *known,
                  uint32_t n) {
    const char *meant = word_meant(name, known, n), *dot = path.len ? "." : "",
               *shown = spec_shown(r, name);
    char all[1024] = "";
    size_t at = 0;
    struct str full = {NULL, 0};
    full.ptr = arena_printf(r->a, &full.len, "%.*s%s%s", STR_FMT(path), dot, shown);
    for (uint32_t i = 0; !meant && i < n && at < sizeof all - 1; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", known[i]);
    if (meant)
        spec_problem(r, full, "there is no `%s`: did you mean `%s`?", shown, meant);
    else if (n)
        spec_problem(r, full, "there is no `%s`: known here are %s", shown, all);
    else
        spec_problem(r, full, "there is no `%s`", shown);
}

static const char *kind_word(enum json_kind kind) {
    switch (kind) {
    case JSON_NULL: return "null";
    case JSON_BOOL: return "true or false";
    case JSON_NUMBER: return "a number";
    case JSON_STRING: return "text";
    case JSON_ARRAY: return "a list";
    case JSON_OBJECT: return "an object";
    }
    return "";
}

bool spec_is(struct reader *r, struct str path, const struct json *v, enum json_kind kind,
             const char *wants) {
    if (v->kind == kind) return true;
    spec_problem(r, path, "it must be %s, not %s", wants, kind_word(v->kind));
    return false;
}

static bool has_control(struct str s, bool lines) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < ' ' && !(lines && (c == '\n' || c == '\t' || c == '\r'))) || c == 127) return true;
    }
    return false;
}

bool spec_text_is(struct reader *r, struct str path, const struct json *v, size_t most,
                  bool lines) {
    if (!spec_is(r, path, v, JSON_STRING, "text")) return false;
    if (v->text.len > most)
        spec_problem(r, path, "it has %zu bytes; at most %zu are allowed", v->text.len, most);
    else if (!utf8_valid(v->text))
        spec_problem(r, path, "it is not UTF-8");
    else if (has_control(v->text, lines))
        spec_problem(r, path, "it contains control characters");
    else
        return true;
    return false;
}

/* ---- members ---- */

static void keep(struct reader *r, const char *name, const struct json *v) {
    json_append(r->a, r->out, str_of(name), (struct json *)v);
}

static void read_description(struct reader *r, const struct json *v) {
    if (spec_text_is(r, STR("description"), v, SPEC_DESCRIPTION_BYTES, true) && v->text.len)
        keep(r, "description", v);
}

static void read_status(struct reader *r, const struct json *v) {
    bool suspended = v->kind == JSON_STRING && str_is(v->text, "suspended");
    if (suspended)
        keep(r, "status", v);
    else if (v->kind != JSON_STRING || !str_is(v->text, "active"))
        spec_problem(r, STR("status"), "it must be `active` or `suspended`");
}

static void read_template(struct reader *r, const struct json *v) {
    static const char *const known[] = {"id", "version"};
    struct json *out = json_object(r->a);
    const struct json *id = NULL, *version = NULL;
    int64_t n = 0;
    if (!spec_is(r, STR("template"), v, JSON_OBJECT, "an object such as {\"id\": \"shop\"}"))
        return;
    for (uint32_t i = 0; i < v->n; i++) {
        if (str_is(v->keys[i], "id"))
            id = v->items[i];
        else if (str_is(v->keys[i], "version"))
            version = v->items[i]->kind == JSON_NULL ? NULL : v->items[i];
        else
            spec_unknown(r, STR("template"), v->keys[i], known, 2);
    }
    const char *wrong = !id || id->kind != JSON_STRING ? "the template's id is missing"
                                                       : control_id_wrong(id->text);
    if (wrong) {
        spec_problem(r, STR("template.id"), "%s", wrong);
        return;
    }
    if (version && (!json_int64(version, &n) || n < 0))
        spec_problem(r, STR("template.version"),
                     "it must be a whole number; 0, or none, is always the newest");
    json_append(r->a, out, STR("id"), (struct json *)id);
    if (n > 0) json_append(r->a, out, STR("version"), json_int(r->a, n));
    keep(r, "template", out);
}

static bool label_key(struct str s) {
    if (!s.len || s.len > SPEC_LABEL_KEY_BYTES) return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = char_lower(s.ptr[i]);
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && (i == 0 || !c || !strchr("._-/", c))) return false;
    }
    return true;
}

static void read_labels(struct reader *r, const struct json *v) {
    struct json *out = json_object(r->a);
    if (!spec_is(r, STR("labels"), v, JSON_OBJECT, "an object of texts")) return;
    for (uint32_t i = 0; i < v->n; i++) {
        struct str path = spec_path(r, "labels", v->keys[i]);
        if (v->items[i]->kind == JSON_NULL) continue;
        if (!label_key(v->keys[i]))
            spec_problem(r, path,
                         "a label's name has 1 to %d of A-Z a-z 0-9 . _ - / and begins with a "
                         "letter or digit",
                         SPEC_LABEL_KEY_BYTES);
        else if (spec_text_is(r, path, v->items[i], SPEC_LABEL_BYTES, false))
            json_append(r->a, out, v->keys[i], v->items[i]);
    }
    if (v->n > SPEC_LABELS)
        spec_problem(r, STR("labels"), "there are %u; at most %d are allowed", v->n, SPEC_LABELS);
    if (out->n) keep(r, "labels", out);
}

static void read_limits(struct reader *r, const struct json *v) {
    static const char *const known[] = {
#define LIMIT(identifier, name, unit, meaning) name,
#include "bundle/limits.def"
#undef LIMIT
    };
    struct tenant_limits limits = {0};
    struct json *out = json_object(r->a);
    char why[256];
    if (!spec_is(r, STR("limits"), v, JSON_OBJECT, "an object such as {\"deadline\": \"20ms\"}"))
        return;
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->items[i]->kind == JSON_NULL) continue;
        if (!limits_known(v->keys[i]))
            spec_unknown(r, STR("limits"), v->keys[i], known, LIMIT_COUNT);
        else if (limits_read_one(v->keys[i], v->items[i], &limits, why, sizeof why))
            spec_problem(r, spec_path(r, "limits", v->keys[i]), "%s", why);
        else
            json_append(r->a, out, v->keys[i], v->items[i]);
    }
    if (out->n) keep(r, "limits", out);
}

/* Every segment of the path stands for itself: nothing is empty, nothing is a control character. */
static bool entrypoint_is(struct str s) {
    bool empty = !s.len || s.ptr[0] == '/' || s.ptr[s.len - 1] == '/';
    for (size_t i = 1; i < s.len && !empty; i++) empty = s.ptr[i] == '/' && s.ptr[i - 1] == '/';
    return !empty;
}

static void read_entrypoints(struct reader *r, const struct json *v) {
    struct json *out = json_array(r->a);
    if (!spec_is(r, STR("entrypoints"), v, JSON_ARRAY, "a list such as [\"shop/allow\"]")) return;
    if (v->n > SPEC_ENTRYPOINTS)
        return spec_problem(r, STR("entrypoints"), "there are %u; at most %d are allowed", v->n,
                            SPEC_ENTRYPOINTS);
    for (uint32_t i = 0; i < v->n; i++) {
        struct str path = {NULL, 0};
        path.ptr = arena_printf(r->a, &path.len, "entrypoints[%u]", i);
        if (!spec_text_is(r, path, v->items[i], SPEC_ENTRYPOINT_BYTES, false)) continue;
        bool there = false;
        for (uint32_t k = 0; k < out->n && !there; k++)
            there = str_eq(out->items[k]->text, v->items[i]->text);
        if (!entrypoint_is(v->items[i]->text))
            spec_problem(r, path, "\"%s\" is no decision's path: write shop/allow",
                         spec_shown(r, v->items[i]->text));
        else if (!there)
            json_push(r->a, out, v->items[i]);
    }
    if (out->n) keep(r, "entrypoints", out);
}

/* Depth of a tree, cut at `most`. */
static uint32_t depth_of(const struct json *v, uint32_t most) {
    uint32_t deepest = 0;
    for (uint32_t i = 0; i < v->n && deepest < most; i++) {
        uint32_t d = most ? depth_of(v->items[i], most - 1) : 0;
        if (d > deepest) deepest = d;
    }
    return v->n ? deepest + 1 : 0;
}

static bool depth_is(struct reader *r, struct str path, const struct json *v) {
    if (depth_of(v, SPEC_DEPTH + 1) <= SPEC_DEPTH) return true;
    spec_problem(r, path, "it is nested more than %d deep", SPEC_DEPTH);
    return false;
}

static void read_data(struct reader *r, const struct json *v) {
    if (!spec_is(r, STR("data"), v, JSON_OBJECT, "an object: its members are data's, as data.NAME"))
        return;
    if (depth_is(r, STR("data"), v) && v->n) keep(r, "data", v);
}

static void read_checks(struct reader *r, const struct json *v) {
    if (!spec_is(r, STR("checks"), v, JSON_ARRAY, "a list of checks")) return;
    if (v->n > CHECKS_MAX)
        return spec_problem(r, STR("checks"), "there are %u; at most %d are allowed", v->n,
                            CHECKS_MAX);
    for (uint32_t i = 0; i < v->n; i++) {
        struct str path = {NULL, 0};
        path.ptr = arena_printf(r->a, &path.len, "checks[%u]", i);
        const char *wrong = check_wrong(v->items[i]);
        if (wrong) spec_problem(r, path, "%s", wrong);
    }
    if (depth_is(r, STR("checks"), v) && v->n) keep(r, "checks", v);
}

/* ---- the document ---- */

enum {
    OF_TEMPLATE = 1 << SPEC_TEMPLATE,
    OF_LIBRARY = 1 << SPEC_LIBRARY,
    OF_TENANT = 1 << SPEC_TENANT
};

static const struct member {
    const char *name;
    uint32_t kinds;
    void (*read)(struct reader *r, const struct json *v);
} members[] = {
    {"description", OF_TEMPLATE | OF_LIBRARY, read_description},
    {"status", OF_TENANT, read_status},
    {"template", OF_TENANT, read_template},
    {"parameters", OF_TEMPLATE, spec_read_parameters},
    {"parameters", OF_TENANT, spec_read_values},
    {"files", OF_TEMPLATE | OF_LIBRARY | OF_TENANT, spec_read_files},
    {"data", OF_TEMPLATE | OF_TENANT, read_data},
    {"checks", OF_TEMPLATE | OF_TENANT, read_checks},
    {"limits", OF_TENANT, read_limits},
    {"labels", OF_TENANT, read_labels},
    {"entrypoints", OF_TEMPLATE | OF_TENANT, read_entrypoints},
};
enum { N_MEMBERS = sizeof members / sizeof *members };

static const struct member *member_of(enum spec_kind kind, struct str name) {
    for (size_t i = 0; i < N_MEMBERS; i++)
        if (members[i].kinds & 1u << kind && str_is(name, members[i].name)) return &members[i];
    return NULL;
}

static void unknown_member(struct reader *r, struct str name) {
    const char *known[MAX_WORDS];
    uint32_t n = 0;
    for (size_t i = 0; i < N_MEMBERS && n < MAX_WORDS; i++)
        if (members[i].kinds & 1u << r->kind) known[n++] = members[i].name;
    spec_unknown(r, STR(""), name, known, n);
}

static void read_document(struct reader *r, const struct json *document) {
    r->out = json_object(r->a);
    if (!spec_is(r, STR(""), document, JSON_OBJECT, "an object")) return;
    for (uint32_t i = 0; i < document->n; i++) {
        const struct member *m = member_of(r->kind, document->keys[i]);
        if (!m)
            unknown_member(r, document->keys[i]);
        else if (document->items[i]->kind != JSON_NULL)
            m->read(r, document->items[i]);
    }
}

/* Runs `read` with arenas that jump here when they are full. */
static enum err guarded(struct reader *r, const struct json *document) {
    jmp_buf full, *before = r->a->exhausted;
    if (setjmp(full)) {
        r->a->exhausted = before;
        return ERR_MEMORY;
    }
    r->a->exhausted = r->scratch.exhausted = &full;
    read_document(r, document);
    r->a->exhausted = before;
    return OK;
}

enum err spec_read(struct arena *a, enum spec_kind kind, const struct json *document,
                   struct json **out, struct diag_list *diags) {
    struct reader r = {.a = a, .kind = kind, .diags = diags};
    uint32_t n = diags->n, dropped = diags->dropped;
    arena_init(&r.scratch, SCRATCH_BYTES);
    enum err e = guarded(&r, document);
    arena_deinit(&r.scratch);
    if (e) return e;
    if (diags->n != n || diags->dropped != dropped) return ERR_DIAG;
    *out = r.out;
    return OK;
}

enum err spec_print(struct arena *a, const struct json *canonical, struct str *out) {
    struct buf b;
    buf_init(&b, 2 * SPEC_BYTES); /* escapes make it longer */
    json_print(canonical, true, 0, &b);
    enum err e = b.err;
    char *copy = e ? NULL : arena_strndup(a, (const char *)b.ptr, b.len);
    if (!e && !copy) e = ERR_MEMORY;
    if (!e) *out = (struct str){copy, b.len};
    buf_deinit(&b);
    return e;
}

void spec_sha256(struct arena *a, const struct json *canonical, char out[65]) {
    struct str text;
    out[0] = 0;
    if (spec_print(a, canonical, &text) == OK) sha256_hex(text.ptr, text.len, out);
}

static const char *const words[][2] = {
    [SPEC_TEMPLATE] = {"template", "templates"},
    [SPEC_LIBRARY] = {"library", "libraries"},
    [SPEC_TENANT] = {"tenant", "tenants"},
};

const char *spec_word(enum spec_kind kind) { return words[kind][0]; }
const char *spec_words(enum spec_kind kind) { return words[kind][1]; }

struct str spec_text(const struct json *canonical, const char *member) {
    const struct json *v = json_get_c(canonical, member);
    return v && v->kind == JSON_STRING ? v->text : STR("");
}
