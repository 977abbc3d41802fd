/* Reads the type strings of builtins.def.
 * in: "(string,<null|array[string]>)->boolean" and the like (grammar: head of builtins.def).
 * out: types in the caller's arena; NULL for malformed text.
 * owns: nothing. */
#include "compiler/check/types.h"

enum { MAX_PARTS = 16 };

struct type_reader {
    struct arena *arena;
    const char *at;
    bool failed;
};

static const struct type *read_type(struct type_reader *r);

static bool take(struct type_reader *r, const char *token) {
    size_t len = strlen(token);
    if (r->failed || strncmp(r->at, token, len) != 0) return false;
    r->at += len;
    return true;
}

static void expect(struct type_reader *r, const char *token) {
    if (!take(r, token)) r->failed = true;
}

/* Types up to `close`, with `separator` between them. */
static const struct type **read_parts(struct type_reader *r, const char *separator,
                                      const char *close, uint32_t *n) {
    const struct type **parts = ARENA_ARRAY(r->arena, const struct type *, MAX_PARTS);
    *n = 0;
    if (take(r, close)) return parts;
    do {
        if (*n == MAX_PARTS)
            r->failed = true;
        else
            parts[(*n)++] = read_type(r);
    } while (take(r, separator));
    expect(r, close);
    return parts;
}

static const struct type *read_union(struct type_reader *r) {
    uint32_t n;
    const struct type **parts = read_parts(r, "|", ">", &n);
    const struct type *all = NULL;
    for (uint32_t i = 0; i < n; i++) all = type_or(r->arena, all, parts[i]);
    return all;
}

static const struct term *read_name(struct type_reader *r) {
    size_t len = strcspn(r->at, ":;}");
    struct term *name = term_string(r->arena, (struct str){r->at, len}, (struct loc){0});
    r->at += len;
    return name;
}

/* {name:T,name:T;K:V} */
static const struct type *read_struct(struct type_reader *r) {
    struct type_property *props = ARENA_ARRAY(r->arena, struct type_property, MAX_PARTS);
    uint32_t n = 0;
    do {
        const struct term *name = read_name(r);
        expect(r, ":");
        const struct type *value = read_type(r);
        if (n == MAX_PARTS)
            r->failed = true;
        else
            props[n++] = (struct type_property){name, value};
    } while (take(r, ","));
    const struct type *key = NULL, *value = NULL;
    bool has_dynamic = take(r, ";");
    if (has_dynamic) {
        key = read_type(r);
        expect(r, ":");
        value = read_type(r);
    }
    expect(r, "}");
    return type_object(r->arena, props, n, has_dynamic, key, value);
}

static const struct type *read_bracketed(struct type_reader *r) {
    const struct type *t = read_type(r);
    expect(r, "]");
    return t;
}

static const struct type *read_type(struct type_reader *r) {
    if (r->failed) return NULL;
    if (take(r, "any")) return &type_any;
    if (take(r, "null")) return &type_null;
    if (take(r, "boolean")) return &type_boolean;
    if (take(r, "number")) return &type_number;
    if (take(r, "string")) return &type_string;
    if (take(r, "array[")) return type_array(r->arena, NULL, 0, read_bracketed(r));
    if (take(r, "set[")) return type_set(r->arena, read_bracketed(r));
    if (take(r, "object[")) {
        const struct type *key = read_type(r);
        expect(r, ":");
        return type_object(r->arena, NULL, 0, true, key, read_bracketed(r));
    }
    if (take(r, "[")) {
        uint32_t n;
        const struct type **items = read_parts(r, ",", "]", &n);
        return type_array(r->arena, items, n, NULL);
    }
    if (take(r, "<")) return read_union(r);
    if (take(r, "{")) return read_struct(r);
    r->failed = true;
    return NULL;
}

const struct type *type_parse(struct arena *a, const char *text) {
    struct type_reader r = {a, text, false};
    const struct type **args = ARENA_ARRAY(a, const struct type *, MAX_PARTS);
    const struct type *variadic = NULL;
    uint32_t n = 0;
    expect(&r, "(");
    if (!take(&r, ")")) {
        do {
            const struct type *t = read_type(&r);
            if (take(&r, "..."))
                variadic = t;
            else if (n < MAX_PARTS)
                args[n++] = t;
        } while (take(&r, ","));
        expect(&r, ")");
    }
    expect(&r, "->");
    const struct type *result = take(&r, "void") ? NULL : read_type(&r);
    return r.failed || *r.at ? NULL : type_function(a, args, n, result, variadic);
}
