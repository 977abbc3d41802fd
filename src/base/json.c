/* JSON reader with exact numbers, and the tree's builders.
 * in: UTF-8 text. out: a tree in an arena. owns: nothing; views into the text. */
#include "base/json.h"
#include "base/hash.h"
#include "base/utf8.h"
#include <stdio.h>
#include <stdlib.h>


struct parser {
    struct arena *arena;
    const char *start, *at, *end;
    const char *message;
    enum err err;
    int depth, max_depth;
    bool strict;
};

static struct json *fail(struct parser *p, enum err e, const char *message) {
    if (!p->err) {
        p->err = e;
        p->message = message;
    }
    return NULL;
}

static struct json *node(struct parser *p, enum json_kind kind) {
    struct json *v = ARENA_NEW(p->arena, struct json);
    if (!v) return fail(p, ERR_MEMORY, "out of memory");
    v->kind = kind;
    return v;
}

static void skip_space(struct parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r'))
        p->at++;
}

static int hex4(struct parser *p) {
    if (p->end - p->at < 4) return -1;
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p->at[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) return -1;
        v = v << 4 | d;
    }
    p->at += 4;
    return v;
}

/* After "\u": the code point, joined with a following low surrogate; a lone surrogate is U+FFFD. */
static long unicode_escape(struct parser *p, bool *replaced) {
    int high = hex4(p);
    if (high < 0) return -1;
    if (high < 0xd800 || high > 0xdfff) return high;
    if (high < 0xdc00 && p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u') {
        const char *back = p->at;
        p->at += 2;
        int low = hex4(p);
        if (low >= 0xdc00 && low <= 0xdfff) return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        p->at = back;
    }
    *replaced = true;
    return 0xfffd;
}

static char *escape(struct parser *p, char *out) {
    char c = p->at < p->end ? *p->at++ : 0;
    switch (c) {
    case '"': case '\\': case '/': *out++ = c; return out;
    case 'b': *out++ = '\b'; return out;
    case 'f': *out++ = '\f'; return out;
    case 'n': *out++ = '\n'; return out;
    case 'r': *out++ = '\r'; return out;
    case 't': *out++ = '\t'; return out;
    case 'u': break;
    default: return NULL;
    }
    bool replaced = false;
    long cp = unicode_escape(p, &replaced);
    if (replaced && p->strict) return NULL;
    return cp < 0 ? NULL : out + utf8_encode((uint32_t)cp, out);
}

/* Copies a string that has escapes or invalid UTF-8; at is behind the opening quote. */
static bool string_slow(struct parser *p, size_t max_len, struct str *out) {
    char *to = arena_alloc(p->arena, max_len * 3 + 4), *start = to; /* a bad byte becomes 3 */
    if (!to) return fail(p, ERR_MEMORY, "out of memory"), false;
    while (p->at < p->end && *p->at != '"') {
        if ((uint8_t)*p->at < 0x20) return fail(p, ERR_SYNTAX, "control character in string"), false;
        if (*p->at == '\\') {
            p->at++;
            if (!(to = escape(p, to))) return fail(p, ERR_SYNTAX, "invalid escape in string"), false;
            continue;
        }
        uint32_t cp;
        int n = utf8_decode(p->at, (size_t)(p->end - p->at), &cp);
        if (!n && p->strict) return fail(p, ERR_SYNTAX, "invalid UTF-8 in string"), false;
        to += utf8_encode(n ? cp : 0xfffd, to);
        p->at += n ? n : 1;
    }
    if (p->at == p->end) return fail(p, ERR_SYNTAX, "unterminated string"), false;
    p->at++;
    *out = (struct str){start, (size_t)(to - start)};
    return true;
}

static bool string(struct parser *p, struct str *out) {
    const char *start = ++p->at, *q = start;
    bool plain = true;
    for (; q < p->end && *q != '"'; q++) {
        if (*q == '\\') {
            plain = false;
            if (++q == p->end) break;
        } else if ((uint8_t)*q < 0x20) {
            plain = false;
        }
    }
    struct str view = {start, (size_t)(q - start)};
    if (q < p->end && plain && utf8_valid(view)) {
        p->at = q + 1;
        *out = view;
        return true;
    }
    return string_slow(p, view.len, out);
}

static bool digits(struct parser *p) {
    const char *start = p->at;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') p->at++;
    return p->at > start;
}

static struct json *number(struct parser *p) {
    const char *start = p->at;
    if (*p->at == '-') p->at++;
    if (p->at < p->end && *p->at == '0') p->at++;
    else if (!digits(p)) return fail(p, ERR_SYNTAX, "invalid number");
    if (p->at < p->end && *p->at == '.') {
        p->at++;
        if (!digits(p)) return fail(p, ERR_SYNTAX, "invalid number: digits must follow '.'");
    }
    if (p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
        p->at++;
        if (p->at < p->end && (*p->at == '+' || *p->at == '-')) p->at++;
        if (!digits(p)) return fail(p, ERR_SYNTAX, "invalid number: digits must follow the exponent");
    }
    struct json *v = node(p, JSON_NUMBER);
    if (v) v->text = (struct str){start, (size_t)(p->at - start)};
    return v;
}

static struct json *word(struct parser *p, const char *w, enum json_kind kind, bool boolean) {
    struct str want = str_of(w);
    if (!str_starts((struct str){p->at, (size_t)(p->end - p->at)}, want))
        return fail(p, ERR_SYNTAX, "invalid value");
    p->at += want.len;
    struct json *v = node(p, kind);
    if (v) v->boolean = boolean;
    return v;
}

static struct json *any(struct parser *p);

/* After an item: true to go on, false at the closing character or on an error. */
static bool more(struct parser *p, char close) {
    skip_space(p);
    if (p->at < p->end && *p->at == ',') {
        p->at++;
        return true;
    }
    if (p->at < p->end && *p->at == close) p->at++;
    else fail(p, ERR_SYNTAX, close == ']' ? "expected ',' or ']'" : "expected ',' or '}'");
    return false;
}

static struct json *array(struct parser *p) {
    struct json *v = node(p, JSON_ARRAY);
    p->at++;
    skip_space(p);
    if (v && p->at < p->end && *p->at == ']') return p->at++, v;
    do {
        struct json *item = v ? any(p) : NULL;
        if (!item) return NULL;
        ARENA_PUSH(p->arena, v, item);
    } while (more(p, ']'));
    return v;
}

/* Small objects find duplicate keys one by one; larger ones through a table made on the way. */
enum { LINEAR_KEYS = 16 };
static const char duplicate[] = "the object has a member of this name already (its value ends here)";

static void add_member(struct parser *p, struct json *v, struct table *index, struct str key,
                       struct json *item) {
    if (v->n < LINEAR_KEYS) {
        if (p->strict && json_get(v, key)) fail(p, ERR_SYNTAX, duplicate);
        json_set(p->arena, v, key, item);
        return;
    }
    if (v->n == LINEAR_KEYS && !index->n)
        for (uint32_t i = 0; i < v->n; i++) table_set(index, v->keys[i], (void *)(uintptr_t)(i + 1));
    uintptr_t at = (uintptr_t)table_get(index, key);
    if (at) {
        if (p->strict) fail(p, ERR_SYNTAX, duplicate);
        v->items[at - 1] = item;
        return;
    }
    json_append(p->arena, v, key, item);
    table_set(index, key, (void *)(uintptr_t)v->n);
}

static struct json *object(struct parser *p) {
    struct json *v = node(p, JSON_OBJECT);
    struct table index;
    table_init(&index, p->arena);
    p->at++;
    skip_space(p);
    if (v && p->at < p->end && *p->at == '}') return p->at++, v;
    do {
        struct str key;
        skip_space(p);
        if (!v) return NULL;
        if (p->at == p->end || *p->at != '"') return fail(p, ERR_SYNTAX, "expected a string as object key");
        if (!string(p, &key)) return NULL;
        skip_space(p);
        if (p->at == p->end || *p->at != ':') return fail(p, ERR_SYNTAX, "expected ':' after object key");
        p->at++;
        struct json *item = any(p);
        if (!item) return NULL;
        add_member(p, v, &index, key, item);
        if (p->err) return NULL;
    } while (more(p, '}'));
    return v;
}

static struct json *any(struct parser *p) {
    skip_space(p);
    if (p->at == p->end) return fail(p, ERR_SYNTAX, "unexpected end of JSON input");
    if (p->depth == p->max_depth) return fail(p, ERR_LIMIT, "exceeded max depth");
    p->depth++;
    struct json *v;
    switch (*p->at) {
    case '{': v = object(p); break;
    case '[': v = array(p); break;
    case '"':
        v = node(p, JSON_STRING);
        if (v && !string(p, &v->text)) v = NULL;
        break;
    case 't': v = word(p, "true", JSON_BOOL, true); break;
    case 'f': v = word(p, "false", JSON_BOOL, false); break;
    case 'n': v = word(p, "null", JSON_NULL, false); break;
    case '-': case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9': v = number(p); break;
    default: v = fail(p, ERR_SYNTAX, "invalid character looking for the beginning of a value");
    }
    p->depth--;
    return p->err ? NULL : v;
}

static void locate(const struct parser *p, struct json_error *error) {
    *error = (struct json_error){(size_t)(p->at - p->start), 1, 1, p->message};
    for (const char *q = p->start; q < p->at; q++) {
        error->col++;
        if (*q == '\n') error->row++, error->col = 1;
    }
}

static enum err parse(struct parser *p, struct json **out, struct json_error *error) {
    struct json *v = any(p);
    skip_space(p);
    if (v && p->at < p->end) v = fail(p, ERR_SYNTAX, "unexpected characters after the JSON value");
    if (v) return *out = v, OK;
    if (error) locate(p, error);
    return p->err ? p->err : ERR_MEMORY;
}

enum err json_parse(struct arena *a, struct str text, struct json **out, struct json_error *error) {
    struct parser p = {.arena = a,
                       .start = text.ptr,
                       .at = text.ptr,
                       .end = text.ptr + text.len,
                       .max_depth = JSON_MAX_DEPTH};
    return parse(&p, out, error);
}

enum err json_parse_strict(struct arena *a, struct str text, struct json **out,
                           struct json_error *error) {
    struct parser p = {.arena = a,
                       .start = text.ptr,
                       .at = text.ptr,
                       .end = text.ptr + text.len,
                       .max_depth = JSON_STRICT_DEPTH,
                       .strict = true};
    return parse(&p, out, error);
}

struct json *json_get(const struct json *v, struct str key) {
    if (!v || v->kind != JSON_OBJECT) return NULL;
    for (uint32_t i = 0; i < v->n; i++)
        if (str_eq(v->keys[i], key)) return v->items[i];
    return NULL;
}

struct json *json_get_c(const struct json *v, const char *key) { return json_get(v, str_of(key)); }

const struct json *json_below(const struct json *v, struct str path, bool *list) {
    *list = false;
    for (bool more = true; more && v;) {
        const char *slash = path.len ? memchr(path.ptr, '/', path.len) : NULL;
        struct str key = slash ? str_head(path, (size_t)(slash - path.ptr)) : path;
        *list = v->kind == JSON_ARRAY;
        if (*list) return NULL;
        v = json_get(v, key);
        path = str_from(path, key.len + 1);
        more = slash != NULL;
    }
    return v;
}

static struct json *make(struct arena *a, enum json_kind kind) {
    struct json *v = ARENA_NEW(a, struct json);
    if (v) v->kind = kind;
    return v;
}

struct json *json_null(struct arena *a) { return make(a, JSON_NULL); }
struct json *json_array(struct arena *a) { return make(a, JSON_ARRAY); }
struct json *json_object(struct arena *a) { return make(a, JSON_OBJECT); }

struct json *json_bool(struct arena *a, bool b) {
    struct json *v = make(a, JSON_BOOL);
    if (v) v->boolean = b;
    return v;
}

struct json *json_number(struct arena *a, struct str text) {
    struct json *v = make(a, JSON_NUMBER);
    if (v) v->text = text;
    return v;
}

struct json *json_int(struct arena *a, int64_t i) {
    size_t len = 0;
    char *text = arena_printf(a, &len, "%lld", (long long)i);
    return text ? json_number(a, (struct str){text, len}) : NULL;
}

struct json *json_string(struct arena *a, struct str s) {
    struct json *v = make(a, JSON_STRING);
    if (v) v->text = s;
    return v;
}

void json_push(struct arena *a, struct json *array, struct json *item) {
    if (array && item) ARENA_PUSH(a, array, item);
}

void json_append(struct arena *a, struct json *object, struct str key, struct json *value) {
    if (object->n == object->cap) {
        uint32_t key_cap = object->cap, item_cap = object->cap;
        void *keys = object->keys, *items = object->items;
        arena_grow(a, &keys, &key_cap, sizeof *object->keys);
        arena_grow(a, &items, &item_cap, sizeof *object->items);
        if (key_cap == object->cap || item_cap == object->cap) return;
        object->keys = keys;
        object->items = items;
        object->cap = item_cap;
    }
    object->keys[object->n] = key;
    object->items[object->n++] = value;
}

void json_set(struct arena *a, struct json *object, struct str key, struct json *value) {
    if (!object || !value) return;
    for (uint32_t i = 0; i < object->n; i++)
        if (str_eq(object->keys[i], key)) {
            object->items[i] = value;
            return;
        }
    json_append(a, object, key, value);
}

bool json_merge(struct arena *a, struct json *into, const struct json *from) {
    for (uint32_t i = 0; i < from->n; i++) {
        struct json *there = json_get(into, from->keys[i]);
        if (!there) json_set(a, into, from->keys[i], from->items[i]);
        else if (there->kind != JSON_OBJECT || from->items[i]->kind != JSON_OBJECT) return false;
        else if (!json_merge(a, there, from->items[i])) return false;
    }
    return true;
}

bool json_int64(const struct json *v, int64_t *out) {
    if (!v || v->kind != JSON_NUMBER || v->text.len > 20) return false;
    char text[24];
    memcpy(text, v->text.ptr, v->text.len);
    text[v->text.len] = 0;
    if (strpbrk(text, ".eE")) return false;
    char *end;
    long long i = strtoll(text, &end, 10);
    bool negative = text[0] == '-', at_end = i == INT64_MAX || i == INT64_MIN;
    if (*end || (at_end && strtoull(text + negative, NULL, 10) > (uint64_t)INT64_MAX + negative)) return false;
    *out = i;
    return true;
}
