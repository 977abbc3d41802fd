/* glob.*: patterns are translated into regular expressions, which the thread's cache keeps
 * compiled.
 *
 * in:   patterns (*, **, ?, [a-c], [!abc], {a,b}, \x), delimiters, texts.
 * out:  booleans, quoted patterns.
 * owns: nothing.
 * Rules: gobwas/glob 1.0: * and ? do not pass delimiters, ** and [...] do. */
#include "base/buf.h"
#include "base/utf8.h"
#include "host/builtins/cache.h"
#include "host/builtins/table.h"

#define MAX_PATTERN_BYTES ((size_t)4 << 20)

struct glob {
    struct str left;       /* of the pattern */
    struct str delimiters; /* as the inside of a regular character class */
    struct buf *out;
    int depth; /* of braces */
    bool failed;
};

/* One code point as itself, inside or outside of a class. */
static void put_literal(struct buf *out, uint32_t cp) { buf_printf(out, "\\x{%x}", cp); }

static uint32_t next_rune(struct glob *g) {
    uint32_t cp = 0;
    int n = utf8_decode(g->left.ptr, g->left.len, &cp);
    if (n == 0) {
        g->failed = true;
        n = (int)g->left.len;
    }
    g->left = str_from(g->left, (size_t)n);
    return cp;
}

static bool at(const struct glob *g, char ch) { return g->left.len > 0 && g->left.ptr[0] == ch; }

/* No delimiters: any character. */
static void put_not_delimiter(struct glob *g) {
    if (g->delimiters.len == 0)
        buf_byte(g->out, '.');
    else
        buf_printf(g->out, "[^%.*s]", STR_FMT(g->delimiters));
}

/* After '[' and '!': lo-hi] or characters up to ]. */
static void glob_class_body(struct glob *g) {
    struct glob ahead = *g;
    uint32_t lo = next_rune(&ahead);
    if (at(&ahead, '-')) {
        ahead.left = str_from(ahead.left, 1);
        uint32_t hi = next_rune(&ahead);
        if (hi < lo || ahead.failed || !at(&ahead, ']')) {
            g->failed = true;
            return;
        }
        put_literal(g->out, lo);
        buf_byte(g->out, '-');
        put_literal(g->out, hi);
        g->left = ahead.left;
        return;
    }
    size_t before = g->out->len;
    while (g->left.len > 0 && !at(g, ']') && !g->failed) {
        if (at(g, '\\')) g->left = str_from(g->left, 1);
        if (g->left.len > 0)
            put_literal(g->out, next_rune(g));
        else
            g->failed = true;
    }
    if (g->out->len == before) g->failed = true; /* [] matches nothing and is refused */
}

static void glob_class(struct glob *g) {
    buf_byte(g->out, '[');
    if (at(g, '!')) {
        g->left = str_from(g->left, 1);
        buf_byte(g->out, '^');
    }
    if (g->left.len > 0) glob_class_body(g);
    if (!at(g, ']'))
        g->failed = true;
    else
        g->left = str_from(g->left, 1);
    buf_byte(g->out, ']');
}

static void glob_star(struct glob *g) {
    if (at(g, '*')) {
        g->left = str_from(g->left, 1);
        buf_cstr(g->out, ".*");
        return;
    }
    put_not_delimiter(g);
    buf_byte(g->out, '*');
}

static void glob_item(struct glob *g) {
    uint32_t cp = next_rune(g);
    if (cp == '*') {
        glob_star(g);
    } else if (cp == '?') {
        put_not_delimiter(g);
    } else if (cp == '[') {
        glob_class(g);
    } else if (cp == '{') {
        g->depth++;
        buf_cstr(g->out, "(?:");
    } else if (cp == ',' && g->depth > 0) {
        buf_byte(g->out, '|');
    } else if (cp == '}' && g->depth > 0) {
        g->depth--;
        buf_byte(g->out, ')');
    } else if (cp == '\\') {
        if (g->left.len > 0)
            put_literal(g->out, next_rune(g));
        else
            g->failed = true;
    } else {
        put_literal(g->out, cp);
    }
}

/* False: the pattern is none. */
static bool glob_translate(struct str pattern, struct str delimiters, struct buf *out) {
    struct glob g = {.left = pattern, .delimiters = delimiters, .out = out};
    buf_cstr(out, "(?s)\\A");
    while (g.left.len > 0 && !g.failed) glob_item(&g);
    buf_cstr(out, "\\z");
    return !g.failed && g.depth == 0;
}

/* null: none; []: "."; else each item is one character. */
static bool glob_delimiters(struct builtin_call *c, struct buf *out) {
    const struct json *v = c->args[1];
    uint32_t cp;
    if (v->kind == JSON_NULL) return true;
    if (v->kind != JSON_ARRAY) {
        if (builtin_fail(c, "operand 2 must be one of {array, null} but got %s",
                         builtin_type_name(v)) != OK)
            c->error = "out of memory";
        return false;
    }
    if (v->n == 0) put_literal(out, '.');
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *d = v->items[i];
        bool text = d->kind == JSON_STRING;
        if (text && d->text.len &&
            (size_t)utf8_decode(d->text.ptr, d->text.len, &cp) == d->text.len) {
            put_literal(out, cp);
            continue;
        }
        if (builtin_fail(c, "operand 2 must be array of %ss but got array containing %s",
                         text ? "rune" : "string", builtin_type_name(d)) != OK)
            c->error = "out of memory";
        return false;
    }
    return true;
}

enum err hb_glob_match(struct builtin_call *c) {
    struct str pattern, text;
    struct buf delimiters, regex;
    struct regex_span span;
    enum err err = OK;
    if (!builtin_string(c, 0, &pattern)) return OK;
    buf_init(&delimiters, MAX_PATTERN_BYTES);
    buf_init(&regex, MAX_PATTERN_BYTES);
    if (!glob_delimiters(c, &delimiters) || !builtin_string(c, 2, &text)) goto out;
    if (!glob_translate(pattern, buf_view(&delimiters), &regex)) {
        err = builtin_fail(c, "glob: syntax error in \"%.*s\"", STR_FMT(pattern));
        goto out;
    }
    if ((err = regex.err) != OK) goto out;
    const struct regex *re = cache_regex(c, buf_view(&regex));
    if (re) err = builtin_return_bool(c, regex_find(re, text, 0, &span, 0));
out:
    buf_deinit(&delimiters);
    buf_deinit(&regex);
    return err;
}

enum err hb_glob_quote_meta(struct builtin_call *c) {
    struct str s;
    struct buf b;
    if (!builtin_string(c, 0, &s)) return OK;
    buf_init(&b, 2 * s.len + 1);
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] && strchr("*?\\[]{}", s.ptr[i])) buf_byte(&b, '\\');
        buf_byte(&b, (uint8_t)s.ptr[i]);
    }
    enum err err = b.err ? b.err : builtin_return_string(c, buf_view(&b));
    buf_deinit(&b);
    return err;
}
