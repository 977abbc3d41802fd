/* What of a bundle may lie where: roots of the manifest, as OPA checks them, and patterns of paths.
 * in: a bundle as it was read. out: yes, or a sentence with the place. owns: nothing. */
#include "base/utf8.h"
#include "edge/verify.h"
#include <stdio.h>

enum { SHOWN_BYTES = 128, MAX_ROOTS = 1000 };

struct roots {
    struct str *items;
    uint32_t n, cap;
};

static struct str trimmed(struct str s) {
    while (s.len && *s.ptr == '/') s = str_from(s, 1);
    while (s.len && s.ptr[s.len - 1] == '/') s.len--;
    return s;
}

/* Is every segment of `root` the same in `path`? */
static bool root_contains(struct str root, struct str path) {
    if (!root.len) return true;
    return str_starts(path, root) && (path.len == root.len || path.ptr[root.len] == '/');
}

static bool within(const struct roots *r, struct str path) {
    for (uint32_t i = 0; i < r->n; i++)
        if (root_contains(r->items[i], path)) return true;
    return false;
}

static enum err read_roots(struct arena *a, const struct bundle *b, struct roots *out, char *why,
                           size_t why_bytes) {
    const struct json *v = json_get_c(b->manifest, "roots");
    if (!v || v->kind == JSON_NULL) {
        ARENA_PUSH(a, out, STR(""));
        return out->n ? OK : ERR_MEMORY;
    }
    if (v->kind != JSON_ARRAY || v->n > MAX_ROOTS) {
        snprintf(why, why_bytes, ".manifest: `roots` is no list of at most %d paths", MAX_ROOTS);
        return ERR_INVALID;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->items[i]->kind != JSON_STRING) {
            snprintf(why, why_bytes, ".manifest: `roots` holds something that is no path");
            return ERR_INVALID;
        }
        ARENA_PUSH(a, out, trimmed(v->items[i]->text));
    }
    return out->n == v->n ? OK : ERR_MEMORY;
}

static enum err check_overlap(const struct roots *r, char *why, size_t why_bytes) {
    for (uint32_t i = 0; i < r->n; i++)
        for (uint32_t k = i + 1; k < r->n; k++) {
            struct str x = r->items[i], y = r->items[k];
            if (!root_contains(x, y) && !root_contains(y, x)) continue;
            snprintf(why, why_bytes, ".manifest: the roots \"%.*s\" and \"%.*s\" overlap",
                     STR_FMT(str_head(x, SHOWN_BYTES)), STR_FMT(str_head(y, SHOWN_BYTES)));
            return ERR_INVALID;
        }
    return OK;
}

static enum err outside(const char *what, struct str where, char *why, size_t why_bytes) {
    snprintf(why, why_bytes, "%s %.*s lies outside of the roots that .manifest names", what,
             STR_FMT(str_head(where, SHOWN_BYTES)));
    return ERR_INVALID;
}

/* ---- data ---- */

/* `rest`: what of each root is left below v; at: v's path. */
static enum err check_data(struct arena *a, const struct json *v, const struct roots *rest,
                           struct str at, char *why, size_t why_bytes) {
    for (uint32_t i = 0; i < v->n; i++) {
        struct roots below = {0};
        struct str key = v->keys[i];
        size_t len = 0;
        bool whole = false;
        for (uint32_t k = 0; k < rest->n && !whole; k++) {
            struct str r = rest->items[k];
            if (!root_contains(key, r) || !key.len) continue;
            whole = r.len == key.len;
            uint32_t before = below.n;
            ARENA_PUSH(a, &below, str_from(r, key.len + 1));
            if (below.n == before) return ERR_MEMORY;
        }
        if (whole) continue;
        char *path = arena_printf(a, &len, "%.*s/%.*s", STR_FMT(at), STR_FMT(key));
        if (!path) return ERR_MEMORY;
        if (!below.n || v->items[i]->kind != JSON_OBJECT)
            return outside("data at", (struct str){path, len}, why, why_bytes);
        enum err e = check_data(a, v->items[i], &below, (struct str){path, len}, why, why_bytes);
        if (e) return e;
    }
    return OK;
}

/* ---- Rego ---- */

static struct str skip_space(struct str s) {
    for (;;) {
        while (s.len && strchr(" \t\r\n", *s.ptr) && *s.ptr) s = str_from(s, 1);
        if (!s.len || *s.ptr != '#') return s;
        const char *end = memchr(s.ptr, '\n', s.len);
        s = end ? str_from(s, (size_t)(end - s.ptr)) : str_from(s, s.len);
    }
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct str take_word(struct str *s) {
    size_t n = 0;
    while (n < s->len && is_word(s->ptr[n])) n++;
    struct str word = str_head(*s, n);
    *s = str_from(*s, n);
    return word;
}

/* ["text"] behind a name. */
static bool take_bracket(struct arena *a, struct str *s, struct str *out) {
    struct json *v;
    size_t n = 2;
    if (s->len < 2 || s->ptr[1] != '"') return false;
    while (n < s->len && s->ptr[n] != '"') n += s->ptr[n] == '\\' ? 2 : 1;
    if (n + 1 >= s->len || s->ptr[n + 1] != ']') return false;
    if (json_parse(a, (struct str){s->ptr + 1, n}, &v, NULL) || v->kind != JSON_STRING)
        return false;
    *out = v->text;
    *s = str_from(*s, n + 2);
    return true;
}

/* The path of a Rego file's package: "a/b" for `package a.b`; false: it is not found. */
static bool package_of(struct arena *a, struct str text, struct str *out) {
    if (str_starts(text, STR("\xef\xbb\xbf"))) text = str_from(text, 3);
    struct str s = skip_space(text);
    if (!str_is(take_word(&s), "package")) return false;
    s = skip_space(s);
    struct str path = take_word(&s), segment;
    while (path.len && s.len && (*s.ptr == '.' || *s.ptr == '[')) {
        if (*s.ptr == '.') {
            s = str_from(s, 1);
            segment = take_word(&s);
        } else if (!take_bracket(a, &s, &segment)) {
            return false;
        }
        size_t len = 0;
        char *longer = arena_printf(a, &len, "%.*s/%.*s", STR_FMT(path), STR_FMT(segment));
        if (!longer || !segment.len) return false;
        path = (struct str){longer, len};
    }
    *out = path;
    return path.len > 0;
}

static enum err check_rego(struct arena *a, const struct bundle *b, const struct roots *r,
                           char *why, size_t why_bytes) {
    struct str path;
    for (uint32_t i = 0; i < b->files.n; i++) {
        const struct bundle_file *f = &b->files.items[i];
        if (!str_ends(f->path, STR(".rego"))) continue;
        if (package_of(a, f->bytes, &path)) {
            if (!within(r, path)) return outside("the package of", f->path, why, why_bytes);
            continue;
        }
        snprintf(why, why_bytes, "%.*s: its package is not found, and .manifest names roots",
                 STR_FMT(str_head(f->path, SHOWN_BYTES)));
        return ERR_INVALID;
    }
    return OK;
}

static enum err check_entrypoints(const struct bundle *b, const struct roots *r, char *why,
                                  size_t why_bytes) {
    const struct json *list = json_get_c(b->manifest, "wasm");
    for (uint32_t i = 0; list && list->kind == JSON_ARRAY && i < list->n; i++) {
        const struct json *v = json_get_c(list->items[i], "entrypoint");
        if (v && v->kind == JSON_STRING && !within(r, v->text))
            return outside("the entrypoint", v->text, why, why_bytes);
    }
    return OK;
}

static enum err refuse_delta(const struct bundle *b, char *why, size_t why_bytes) {
    for (uint32_t i = 0; i < b->files.n; i++) {
        struct str path = b->files.items[i].path;
        if (!str_ends(path, STR("/patch.json")) && !str_is(path, "patch.json")) continue;
        snprintf(
            why, why_bytes,
            "%.*s: delta bundles are not supported: have the source send whole ones (snapshots)",
            STR_FMT(str_head(path, SHOWN_BYTES)));
        return ERR_UNSUPPORTED;
    }
    return OK;
}

enum err verify_roots(struct arena *a, const struct bundle *b, char *why, size_t why_bytes) {
    struct roots r = {0};
    enum err e = refuse_delta(b, why, why_bytes);
    if (!e) e = read_roots(a, b, &r, why, why_bytes);
    if (!e) e = check_overlap(&r, why, why_bytes);
    if (e || within(&r, STR(""))) return e; /* one that holds everything */
    if (b->data && b->data->kind == JSON_OBJECT)
        e = check_data(a, b->data, &r, STR(""), why, why_bytes);
    if (!e) e = check_rego(a, b, &r, why, why_bytes);
    return e ? e : check_entrypoints(b, &r, why, why_bytes);
}

/* ---- patterns ---- */

/* One character, which may have several bytes, off the front. */
static struct str take_char(struct str *s) {
    uint32_t ch;
    int n = utf8_decode(s->ptr, s->len, &ch);
    struct str c = str_head(*s, n > 0 ? (size_t)n : 1);
    *s = str_from(*s, c.len);
    return c;
}

/* An escaped or plain character of a class; false at its end or when the pattern ends. */
static bool class_char(struct str *p, struct str *out) {
    if (!p->len || *p->ptr == '-' || *p->ptr == ']') return false;
    if (*p->ptr == '\\') *p = str_from(*p, 1);
    if (!p->len) return false;
    *out = take_char(p);
    return true;
}

/* [a-z] behind its bracket. false: the pattern is wrong. */
static bool take_class(struct str *p, struct str ch, bool *match) {
    bool negated = p->len && *p->ptr == '^', any = false;
    if (negated) *p = str_from(*p, 1);
    for (uint32_t n = 0; !(n && p->len && *p->ptr == ']'); n++) {
        struct str low, high;
        if (!class_char(p, &low)) return false;
        high = low;
        if (p->len && *p->ptr == '-') {
            *p = str_from(*p, 1);
            if (!class_char(p, &high)) return false;
        }
        any = any || (str_cmp(low, ch) <= 0 && str_cmp(ch, high) <= 0);
    }
    *p = str_from(*p, 1);
    *match = any != negated;
    return true;
}

/* Matches one character of the path with what stands in front of the pattern. */
static bool match_one(struct str *p, struct str *s) {
    bool match = false;
    struct str ch = take_char(s);
    char kind = *p->ptr;
    if (kind == '?' || kind == '[') *p = str_from(*p, 1);
    if (kind == '?') return !str_is(ch, "/");
    if (kind == '[') return take_class(p, ch, &match) && match;
    if (kind == '\\') *p = str_from(*p, 1);
    return p->len && str_eq(take_char(p), ch);
}

bool verify_glob(struct str p, struct str s) {
    struct str star = {NULL, 0},
               behind = {NULL, 0}; /* pattern after the last `*`, and the text it is tried at */
    while (s.len || p.len) {
        if (p.len && *p.ptr == '*') {
            p = star = str_from(p, 1);
            behind = s;
            continue;
        }
        struct str before = p;
        if (s.len && p.len && match_one(&p, &s)) continue;
        p = before;
        if (!star.ptr || !behind.len || *behind.ptr == '/') return false;
        (void)take_char(&behind);
        s = behind;
        p = star;
    }
    return true;
}

const char *verify_glob_wrong(struct str p) {
    bool match;
    if (!p.len) return "it is empty";
    while (p.len) {
        char kind = *p.ptr;
        p = str_from(p, 1);
        if (kind == '\\' && !p.len) return "nothing stands behind `\\`";
        if (kind == '\\') (void)take_char(&p);
        if (kind == '[' && !take_class(&p, STR("a"), &match))
            return "a `[` has no `]`, or what is between them is no class";
    }
    return NULL;
}
