/* Masks of a tenant's policy, applied to an event as OPA applies them.
 * in: an event, the rules that the policy gave. out: the event without what they name. owns: nothing. */
#include "base/json.h"
#include "bundle/bundle.h"
#include "edge/decision_log_private.h"
#include "net/http.h"

enum { MAX_STEPS = 256 };

struct mask {
    bool upsert;
    const struct json *value;
    struct str part;             /* input, result, nd_builtin_cache */
    struct str steps[MAX_STEPS]; /* below it, as written */
    uint32_t n;
};

/* ---- reading ---- */

static bool read_path(struct str path, struct mask *m) {
    if (path.len < 2 || *path.ptr != '/') return false;
    m->n = 0;
    for (struct str rest = str_from(path, 1);;) {
        const char *slash = memchr(rest.ptr, '/', rest.len);
        struct str step = slash ? str_head(rest, (size_t)(slash - rest.ptr)) : rest;
        if (m->part.ptr && m->n == MAX_STEPS) return false;
        if (m->part.ptr)
            m->steps[m->n++] = step;
        else
            m->part = step;
        if (!slash) break;
        rest = str_from(rest, step.len + 1);
    }
    return str_is(m->part, "input") || str_is(m->part, "result") || str_is(m->part, "nd_builtin_cache");
}

static bool read_rule(const struct json *rule, struct mask *m) {
    m->part = (struct str){NULL, 0};
    m->upsert = false;
    m->value = NULL;
    if (rule->kind == JSON_STRING) return read_path(rule->text, m);
    const struct json *op = json_get_c(rule, "op"), *path = json_get_c(rule, "path");
    if (!op || op->kind != JSON_STRING || !path || path->kind != JSON_STRING) return false;
    m->upsert = str_is(op->text, "upsert");
    m->value = json_get_c(rule, "value");
    return (m->upsert || str_is(op->text, "remove")) && read_path(path->text, m);
}

/* ---- looking ---- */

/* Go's Atoi; -1: no index. */
static int64_t index_of(struct str step) {
    int64_t n = 0;
    if (step.len && (*step.ptr == '+' || *step.ptr == '-')) {
        if (*step.ptr == '-' && step.len > 1 && *str_from(step, 1).ptr != '0') return -1;
        step = str_from(step, 1);
    }
    if (!step.len || step.len > 10) return -1;
    for (size_t i = 0; i < step.len; i++) {
        if (step.ptr[i] < '0' || step.ptr[i] > '9') return -1;
        n = n * 10 + (step.ptr[i] - '0');
    }
    return n;
}

/* "a~1b" → "a/b". */
static struct str unescape_pointer(struct arena *a, struct str step) {
    char *out = arena_alloc(a, step.len + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < step.len; i++) {
        bool mark = step.ptr[i] == '~' && i + 1 < step.len && (step.ptr[i + 1] == '0' || step.ptr[i + 1] == '1');
        out[n++] = mark ? (step.ptr[++i] == '1' ? '/' : '~') : step.ptr[i];
    }
    return (struct str){out, out ? n : 0};
}

static struct str unescape_percent(struct arena *a, struct str step) {
    char *out = arena_alloc(a, step.len + 1);
    long n = out ? http_percent_decode(step, false, out) : -1;
    return (struct str){n < 0 ? NULL : out, n < 0 ? 0 : (size_t)n};
}

static int64_t member(const struct json *object, struct str name) {
    for (uint32_t i = 0; name.ptr && i < object->n; i++)
        if (str_eq(object->keys[i], name)) return i;
    return -1;
}

/* A member is found by the step as it is written, which is all that OPA does; else by what it means as a part of a URL
 * or of a JSON pointer: a mask that is meant must not miss. */
static int64_t find(struct arena *a, const struct json *in, struct str step) {
    if (in->kind == JSON_ARRAY) {
        int64_t i = index_of(step);
        return i < (int64_t)in->n ? i : -1;
    }
    if (in->kind != JSON_OBJECT) return -1;
    int64_t i = member(in, step);
    if (i < 0 && memchr(step.ptr, '%', step.len)) i = member(in, unescape_percent(a, step));
    if (i < 0 && memchr(step.ptr, '~', step.len)) i = member(in, unescape_pointer(a, step));
    return i;
}

/* ---- changing ---- */

static void take_out(struct json *from, int64_t at) {
    for (uint32_t i = (uint32_t)at; i + 1 < from->n; i++) {
        from->items[i] = from->items[i + 1];
        if (from->kind == JSON_OBJECT) from->keys[i] = from->keys[i + 1];
    }
    from->n--;
}

static bool remove_value(struct arena *a, const struct mask *m, struct json *event) {
    struct json *in = event;
    int64_t at = member(event, m->part);
    for (uint32_t i = 0; at >= 0 && i < m->n; i++) {
        in = in->items[at];
        at = find(a, in, m->steps[i]);
    }
    if (at >= 0) take_out(in, at);
    return at >= 0;
}

/* Members that are missing on the way are made. */
static enum err upsert_value(struct arena *a, const struct mask *m, struct json *event, bool *done) {
    struct json *value = m->value ? (struct json *)(uintptr_t)m->value : json_null(a), *in = event;
    int64_t at = member(event, m->part);
    for (uint32_t i = 0; at >= 0 && i < m->n; i++) {
        in = in->items[at];
        at = find(a, in, m->steps[i]);
        if (at >= 0 || in->kind != JSON_OBJECT) continue;
        struct json *made = json_object(a);
        if (made) json_append(a, in, m->steps[i], made);
        if ((at = member(in, m->steps[i])) < 0) return ERR_MEMORY;
    }
    if (!value) return ERR_MEMORY;
    if (at >= 0) in->items[at] = value;
    *done = at >= 0;
    return OK;
}

/* The path as Go's url.PathEscape prints its parts. */
static struct json *shown_path(struct arena *a, const struct mask *m) {
    static const char hex[] = "0123456789ABCDEF";
    size_t len = m->part.len + 1, n = 0;
    for (uint32_t i = 0; i < m->n; i++) len += 1 + 3 * m->steps[i].len;
    char *out = arena_alloc(a, len);
    if (!out) return NULL;
    for (uint32_t i = 0; i <= m->n; i++) {
        struct str step = i ? m->steps[i - 1] : m->part;
        out[n++] = '/';
        for (size_t k = 0; k < step.len; k++) {
            unsigned char b = (unsigned char)step.ptr[k];
            bool plain = (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
                         (b && strchr("-_.~$&+=:@", b));
            if (plain) {
                out[n++] = (char)b;
                continue;
            }
            out[n++] = '%';
            out[n++] = hex[b >> 4];
            out[n++] = hex[b & 15];
        }
    }
    return json_string(a, (struct str){out, n});
}

static void list_path(struct arena *a, struct json *event, const char *name, struct json *path) {
    struct json *list = json_get_c(event, name);
    if (!list) json_set(a, event, str_of(name), list = json_array(a));
    if (list && path) json_push(a, list, path);
}

enum err mask_apply(struct arena *a, const struct json *rules, struct json *event) {
    if (rules->kind != JSON_ARRAY) return ERR_TYPE;
    struct mask *m = ARENA_NEW(a, struct mask);
    if (!m) return ERR_MEMORY;
    for (uint32_t i = 0; i < rules->n; i++)
        if (!read_rule(rules->items[i], m)) return ERR_TYPE;
    for (uint32_t i = 0; i < rules->n; i++) {
        if (!read_rule(rules->items[i], m)) return ERR_TYPE;
        bool done = !m->upsert && remove_value(a, m, event);
        enum err e = m->upsert ? upsert_value(a, m, event, &done) : OK;
        if (e) return e;
        if (done) list_path(a, event, m->upsert ? "masked" : "erased", shown_path(a, m));
    }
    return OK;
}

void mask_hide(struct arena *a, struct json *event, const char *why) {
    static const char *const parts[] = {"input", "result", "nd_builtin_cache"};
    int64_t at;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        while ((at = member(event, str_of(parts[i]))) >= 0) {
            struct mask m = {.part = str_of(parts[i])};
            take_out(event, at);
            list_path(a, event, "erased", shown_path(a, &m));
        }
    }
    if ((at = member(event, STR("masked"))) >= 0) take_out(event, at);
    struct json *error = json_object(a);
    json_set(a, error, STR("code"), json_string(a, STR("mask_failed")));
    json_set(a, error, STR("message"), json_string(a, str_of(why)));
    if (!json_get_c(event, "error")) json_set(a, event, STR("error"), error);
    json_set(a, json_get_c(event, "custom"), STR("mask_error"), json_string(a, str_of(why)));
}

/* ---- bundles ---- */

/* Does a line of the Rego text begin with `words`, a blank between each two, and then no letter? */
static bool has_line(struct str text, const char *words) {
    for (size_t at = 0; at < text.len;) {
        struct str rest = str_from(text, at);
        const char *w = words;
        size_t i = 0;
        while (*w && i < rest.len) {
            bool blank = rest.ptr[i] == ' ' || rest.ptr[i] == '\t';
            if (*w == ' ' && blank) {
                while (i < rest.len && (rest.ptr[i] == ' ' || rest.ptr[i] == '\t')) i++;
                w++;
            } else if (*w == rest.ptr[i]) {
                w++, i++;
            } else {
                break;
            }
        }
        char next = i < rest.len ? rest.ptr[i] : ' ';
        next = char_lower(next);
        bool more = (next >= 'a' && next <= 'z') || (next >= '0' && next <= '9') || next == '_';
        if (!*w && !more) return true;
        const char *end = memchr(rest.ptr, '\n', rest.len);
        if (!end) return false;
        at += (size_t)(end - rest.ptr) + 1;
    }
    return false;
}

bool decision_log_has_masks(const struct bundle *b) {
    for (uint32_t i = 0; i < b->files.n; i++) {
        const struct bundle_file *f = &b->files.items[i];
        if (str_ends(f->path, STR(".rego")) && has_line(f->bytes, "package system.log") &&
            (has_line(f->bytes, "mask") || has_line(f->bytes, "default mask")))
            return true;
    }
    return false;
}
