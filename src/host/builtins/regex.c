/* regex.*: RE2 with Go's rules for repeated matches, splitting and replacing.
 *
 * in:   patterns and texts.
 * out:  booleans, strings, arrays of strings.
 * owns: nothing; compiled patterns lie in the thread's cache.
 * Rules: Go's package regexp (FindAll, Split, ReplaceAll, Expand). */
#include "base/buf.h"
#include "base/utf8.h"
#include "host/builtins/cache.h"
#include "host/builtins/table.h"
#include <stdlib.h>

enum { MAX_GROUPS = 1000 };
#define MAX_RESULT_BYTES ((size_t)64 << 20)

/* Pattern and text of the first operands; false after builtin_fail. */
static bool regex_operands(struct builtin_call *c, uint32_t pattern_at, uint32_t text_at,
                           const struct regex **re, struct str *text) {
    struct str pattern;
    uint32_t first = pattern_at < text_at ? pattern_at : text_at;
    struct str *a = first == pattern_at ? &pattern : text, *b = a == text ? &pattern : text;
    if (!builtin_string(c, first, a)) return false;
    if (!builtin_string(c, first == pattern_at ? text_at : pattern_at, b)) return false;
    *re = cache_regex(c, pattern);
    return *re != NULL;
}

static size_t rune_width(struct str text, size_t at) {
    uint32_t cp;
    int n = at < text.len ? utf8_decode(text.ptr + at, text.len - at, &cp) : 0;
    return n ? (size_t)n : 1;
}

/* Walks over all matches as Go's FindAll does: an empty match right behind another is passed over.
 */
struct matches {
    const struct regex *re;
    struct str text;
    size_t pos;
    int64_t previous_end;
    struct regex_span *spans;
    uint32_t n_spans;
};

static bool matches_next(struct matches *m) {
    while (m->pos <= m->text.len && regex_find(m->re, m->text, m->pos, m->spans, m->n_spans)) {
        int64_t start = m->spans[0].start, end = m->spans[0].end;
        bool accept = true;
        if ((size_t)end == m->pos) {
            accept = start != m->previous_end;
            m->pos += rune_width(m->text, m->pos);
        } else {
            m->pos = (size_t)end;
        }
        m->previous_end = end;
        if (accept) return true;
    }
    return false;
}

static struct json *span_string(struct builtin_call *c, struct str text, struct regex_span s) {
    if (s.start < 0) return json_string(c->arena, STR(""));
    return json_string(c->arena, (struct str){text.ptr + s.start, (size_t)(s.end - s.start)});
}

static bool matches_init(struct matches *m, struct builtin_call *c, const struct regex *re,
                         struct str text, bool groups) {
    uint32_t n = groups ? regex_groups(re) + 1 : 1;
    *m = (struct matches){re, text, 0, -1, NULL, n};
    m->spans = n <= MAX_GROUPS ? ARENA_ARRAY(c->arena, struct regex_span, n) : NULL;
    return m->spans != NULL;
}

enum err hb_regex_match(struct builtin_call *c) {
    const struct regex *re;
    struct str text;
    struct regex_span span;
    if (!regex_operands(c, 0, 1, &re, &text)) return OK;
    return builtin_return_bool(c, regex_find(re, text, 0, &span, 0));
}

enum err hb_re_match(struct builtin_call *c) { return hb_regex_match(c); }

enum err hb_regex_is_valid(struct builtin_call *c) {
    char error[256];
    if (c->args[0]->kind != JSON_STRING) return builtin_return_bool(c, false);
    struct regex *re = regex_new(c->args[0]->text, error, sizeof error);
    regex_free(re);
    return builtin_return_bool(c, re != NULL);
}

enum err hb_regex_find_n(struct builtin_call *c) {
    const struct regex *re;
    struct matches m;
    struct str text;
    int64_t n;
    if (!regex_operands(c, 0, 1, &re, &text) || !builtin_integer(c, 2, &n)) return OK;
    struct json *list = json_array(c->arena);
    if (!list || !matches_init(&m, c, re, text, false)) return ERR_MEMORY;
    for (int64_t i = 0; (n < 0 || i < n) && matches_next(&m); i++)
        json_push(c->arena, list, span_string(c, text, m.spans[0]));
    return builtin_return(c, list);
}

enum err hb_regex_find_all_string_submatch_n(struct builtin_call *c) {
    const struct regex *re;
    struct matches m;
    struct str text;
    int64_t n;
    if (!regex_operands(c, 0, 1, &re, &text) || !builtin_integer(c, 2, &n)) return OK;
    struct json *list = json_array(c->arena);
    if (!list || !matches_init(&m, c, re, text, true)) return ERR_MEMORY;
    for (int64_t i = 0; (n < 0 || i < n) && matches_next(&m); i++) {
        struct json *groups = json_array(c->arena);
        if (!groups) return ERR_MEMORY;
        for (uint32_t g = 0; g < m.n_spans; g++)
            json_push(c->arena, groups, span_string(c, text, m.spans[g]));
        json_push(c->arena, list, groups);
    }
    return builtin_return(c, list);
}

enum err hb_regex_split(struct builtin_call *c) {
    const struct regex *re;
    struct matches m;
    struct str text;
    int64_t begin = 0, end = 0;
    if (!regex_operands(c, 0, 1, &re, &text)) return OK;
    struct json *list = json_array(c->arena);
    if (!list || !matches_init(&m, c, re, text, false)) return ERR_MEMORY;
    if (c->args[0]->text.len > 0 && text.len == 0) {
        json_push(c->arena, list, json_string(c->arena, STR("")));
        return builtin_return(c, list);
    }
    while (matches_next(&m)) {
        end = m.spans[0].start;
        if (m.spans[0].end != 0)
            json_push(c->arena, list, span_string(c, text, (struct regex_span){begin, end}));
        begin = m.spans[0].end;
    }
    if (end != (int64_t)text.len)
        json_push(c->arena, list,
                  span_string(c, text, (struct regex_span){begin, (int64_t)text.len}));
    return builtin_return(c, list);
}

/* ---- replace ---- */

static bool name_char(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '_';
}

/* The name after '$', with or without braces; 0 when there is none, else the bytes it takes. */
static size_t template_name(struct str t, struct str *name) {
    bool brace = t.len > 0 && t.ptr[0] == '{';
    size_t start = brace ? 1 : 0, end = start;
    while (end < t.len && name_char(t.ptr[end])) end++;
    if (end == start || (brace && (end >= t.len || t.ptr[end] != '}'))) return 0;
    *name = (struct str){t.ptr + start, end - start};
    return brace ? end + 1 : end;
}

/* "12" is a group's number, "name" its name; -1: there is none. */
static int template_group(const struct matches *m, struct str name) {
    int64_t n = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < '0' || name.ptr[i] > '9' || n >= 100000000)
            return regex_group(m->re, name);
        n = 10 * n + (name.ptr[i] - '0');
    }
    if (name.ptr[0] == '0' && name.len > 1) return regex_group(m->re, name);
    return n < m->n_spans ? (int)n : -1;
}

static void expand(struct buf *out, const struct matches *m, struct str t) {
    while (t.len > 0) {
        const char *dollar = memchr(t.ptr, '$', t.len);
        size_t plain = dollar ? (size_t)(dollar - t.ptr) : t.len, n;
        struct str name;
        buf_put(out, t.ptr, plain);
        t = str_from(t, plain);
        if (t.len == 0) return;
        t = str_from(t, 1);
        if (t.len > 0 && t.ptr[0] == '$') {
            buf_byte(out, '$');
            t = str_from(t, 1);
        } else if ((n = template_name(t, &name)) == 0) {
            buf_byte(out, '$');
        } else {
            int g = template_group(m, name);
            if (g >= 0 && m->spans[g].start >= 0)
                buf_put(out, m->text.ptr + m->spans[g].start,
                        (size_t)(m->spans[g].end - m->spans[g].start));
            t = str_from(t, n);
        }
    }
}

enum err hb_regex_replace(struct builtin_call *c) {
    const struct regex *re;
    struct matches m;
    struct str text, template;
    struct buf out;
    size_t last = 0;
    if (!regex_operands(c, 1, 0, &re, &text) || !builtin_string(c, 2, &template)) return OK;
    if (!matches_init(&m, c, re, text, true)) return ERR_MEMORY;
    buf_init(&out, MAX_RESULT_BYTES);
    while (matches_next(&m)) {
        buf_put(&out, text.ptr + last, (size_t)m.spans[0].start - last);
        expand(&out, &m, template);
        last = (size_t)m.spans[0].end;
    }
    buf_put(&out, text.ptr + last, text.len - last);
    enum err err = out.err ? out.err : builtin_return_string(c, buf_view(&out));
    buf_deinit(&out);
    return err;
}

/* ---- template_match: "urn:foo:<.*>" with delimiters '<' and '>' ---- */

static void quote_meta(struct buf *out, struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        if (strchr("\\.+*?()|[]{}^$", s.ptr[i]) && s.ptr[i]) buf_byte(out, '\\');
        buf_byte(out, (uint8_t)s.ptr[i]);
    }
}

/* False: the delimiters do not balance, or what stands between them is no pattern. */
static bool template_pattern(struct buf *out, struct str t, char start, char end) {
    size_t from = 0, open = 0;
    int level = 0;
    buf_byte(out, '^');
    for (size_t i = 0; i < t.len; i++) {
        if (t.ptr[i] == start) {
            if (++level == 1) open = i;
        } else if (t.ptr[i] == end) {
            if (--level < 0) return false;
            if (level > 0) continue;
            quote_meta(out, (struct str){t.ptr + from, open - from});
            buf_byte(out, '(');
            buf_put(out, t.ptr + open + 1, i - open - 1);
            buf_byte(out, ')');
            from = i + 1;
        }
    }
    quote_meta(out, str_from(t, from));
    buf_byte(out, '$');
    return level == 0;
}

enum err hb_regex_template_match(struct builtin_call *c) {
    struct str template, text, start, end;
    struct regex_span span;
    struct buf b;
    enum err err;
    if (!builtin_string(c, 0, &template) || !builtin_string(c, 1, &text) ||
        !builtin_string(c, 2, &start) || !builtin_string(c, 3, &end))
        return OK;
    if (start.len != 1 || end.len != 1)
        return builtin_fail(c, "%s delimiter has to be exactly one character long but is %zu long",
                            start.len != 1 ? "start" : "end", start.len);
    buf_init(&b, MAX_RESULT_BYTES);
    if (!template_pattern(&b, template, start.ptr[0], end.ptr[0])) {
        err = builtin_fail(c, "unbalanced braces in \"%.*s\"", STR_FMT(template));
    } else {
        const struct regex *re = b.err ? NULL : cache_regex(c, buf_view(&b));
        err = b.err ? b.err : re ? builtin_return_bool(c, regex_find(re, text, 0, &span, 0)) : OK;
    }
    buf_deinit(&b);
    return err;
}
