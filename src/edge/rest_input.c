/* The member `input` of a REST body, found as Go's decoder finds it and refused in its words.
 * in: bodies, maybe hostile. out: a view of the input document, or why there is none. owns:
 * nothing. */
#include "edge/rest_input.h"
#include "base/utf8.h"

enum { MAX_DEPTH = 10000, MESSAGE_BYTES = 160 };

struct scan {
    const char *at, *end;
    uint32_t depth;
    const char *context; /* "looking for beginning of value": what was wrong about *at; NULL: the
                            text ended */
};

static bool wrong(struct scan *s, const char *context) {
    s->context = s->at < s->end ? context : NULL;
    return false;
}

static void skip_space(struct scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

static bool next_is(const struct scan *s, char c) { return s->at < s->end && *s->at == c; }

static bool escape(struct scan *s) {
    if (s->at < s->end && *s->at == 'u') {
        s->at++;
        for (int i = 0; i < 4; i++, s->at++) {
            char c = s->at < s->end ? *s->at : 0;
            if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
                return wrong(s, "in \\u hexadecimal character escape");
        }
        return true;
    }
    if (s->at == s->end || !*s->at || !strchr("bfnrt\\/\"", *s->at))
        return wrong(s, "in string escape code");
    s->at++;
    return true;
}

static bool string(struct scan *s) {
    for (s->at++; s->at < s->end && *s->at != '"';) {
        if ((unsigned char)*s->at < 0x20) return wrong(s, "in string literal");
        if (*s->at++ == '\\' && !escape(s)) return false;
    }
    if (s->at == s->end) return wrong(s, NULL);
    s->at++;
    return true;
}

static bool digits(struct scan *s, const char *context) {
    const char *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') s->at++;
    return s->at > start || wrong(s, context);
}

static bool number(struct scan *s) {
    if (*s->at == '-') s->at++;
    if (next_is(s, '0'))
        s->at++;
    else if (!digits(s, "in numeric literal"))
        return false;
    if (next_is(s, '.')) {
        s->at++;
        if (!digits(s, "after decimal point in numeric literal")) return false;
    }
    if (next_is(s, 'e') || next_is(s, 'E')) {
        s->at++;
        if (next_is(s, '+') || next_is(s, '-')) s->at++;
        return digits(s, "in exponent of numeric literal");
    }
    return true;
}

static bool word(struct scan *s, const char *text, const char *const contexts[]) {
    for (size_t i = 0; text[i]; i++, s->at++)
        if (!next_is(s, text[i])) return wrong(s, contexts[i]);
    return true;
}

static bool value(struct scan *s);

static bool array(struct scan *s) {
    s->at++;
    skip_space(s);
    if (next_is(s, ']')) return s->at++, true;
    for (;;) {
        if (!value(s)) return false;
        skip_space(s);
        if (next_is(s, ']')) return s->at++, true;
        if (!next_is(s, ',')) return wrong(s, "after array element");
        s->at++;
    }
}

/* A key and the colon behind it; *key gets the quoted text. */
static bool member_key(struct scan *s, struct str *key) {
    const char *start;
    skip_space(s);
    start = s->at;
    if (!next_is(s, '"')) return wrong(s, "looking for beginning of object key string");
    if (!string(s)) return false;
    *key = (struct str){start, (size_t)(s->at - start)};
    skip_space(s);
    if (!next_is(s, ':')) return wrong(s, "after object key");
    s->at++;
    return true;
}

/* Behind a member: true with *more for a comma, true without for the end. */
static bool member_end(struct scan *s, bool *more) {
    skip_space(s);
    *more = next_is(s, ',');
    if (!*more && !next_is(s, '}')) return wrong(s, "after object key:value pair");
    s->at++;
    return true;
}

static bool empty_object(struct scan *s) {
    s->at++;
    skip_space(s);
    if (!next_is(s, '}')) return false;
    s->at++;
    return true;
}

static bool object(struct scan *s) {
    struct str key;
    bool more = !empty_object(s);
    while (more)
        if (!member_key(s, &key) || !value(s) || !member_end(s, &more)) return false;
    return true;
}

static bool nested(struct scan *s, bool (*kind)(struct scan *s)) {
    if (s->depth == MAX_DEPTH) return wrong(s, "exceeded max depth");
    s->depth++;
    bool ok = kind(s);
    s->depth--;
    return ok;
}

static bool value(struct scan *s) {
    static const char *const in_true[] = {NULL, "in literal true (expecting 'r')",
                                          "in literal true (expecting 'u')",
                                          "in literal true (expecting 'e')"};
    static const char *const in_false[] = {
        NULL, "in literal false (expecting 'a')", "in literal false (expecting 'l')",
        "in literal false (expecting 's')", "in literal false (expecting 'e')"};
    static const char *const in_null[] = {NULL, "in literal null (expecting 'u')",
                                          "in literal null (expecting 'l')",
                                          "in literal null (expecting 'l')"};
    skip_space(s);
    char c = s->at < s->end ? *s->at : 0;
    switch (c) {
    case '{': return nested(s, object);
    case '[': return nested(s, array);
    case '"': return string(s);
    case 't': return word(s, "true", in_true);
    case 'f': return word(s, "false", in_false);
    case 'n': return word(s, "null", in_null);
    default:
        return c == '-' || (c >= '0' && c <= '9') ? number(s)
                                                  : wrong(s, "looking for beginning of value");
    }
}

/* The byte at which reading stopped, quoted as Go quotes the character of that number. */
static void quote(unsigned char c, struct buf *out) {
    static const char named[] = "\a\b\f\n\r\t\v\\'", letters[] = "abfnrtv\\'";
    const char *at = c ? strchr(named, c) : NULL;
    char utf8[4];
    if (at)
        buf_byte(out, '\\'), buf_byte(out, (uint8_t)letters[at - named]);
    else if (c < 0x20 || c == 0x7f)
        buf_printf(out, "\\x%02x", c);
    else if ((c >= 0x80 && c <= 0xa0) || c == 0xad)
        buf_printf(out, "\\u%04x", c);
    else if (c < 0x80)
        buf_byte(out, c);
    else
        buf_put(out, utf8, (size_t)utf8_encode(c, utf8));
}

static const char *explain(struct arena *a, const struct scan *s) {
    struct buf text;
    if (!s->context) return "unexpected EOF";
    buf_init(&text, MESSAGE_BYTES);
    buf_cstr(&text, "invalid character '");
    quote((unsigned char)*s->at, &text);
    buf_printf(&text, "' %s", s->context);
    const char *copy = text.err ? NULL : arena_strndup(a, (const char *)text.ptr, text.len);
    buf_deinit(&text);
    return copy ? copy : "not valid JSON";
}

/* Is a key, given with its quotes, the field input? Go's decoder does not look at case. */
static bool is_input(struct arena *a, struct str quoted) {
    struct json *v;
    if (json_parse(a, quoted, &v, NULL) || v->text.len != 5) return false;
    for (int i = 0; i < 5; i++)
        if ((v->text.ptr[i] | 0x20) != "input"[i]) return false;
    return true;
}

static bool body_object(struct arena *a, struct scan *s, struct str *input) {
    struct str key;
    bool more = !empty_object(s);
    while (more) {
        if (!member_key(s, &key)) return false;
        skip_space(s);
        const char *start = s->at;
        if (!value(s)) return false;
        if (is_input(a, key)) *input = (struct str){start, (size_t)(s->at - start)};
        if (!member_end(s, &more)) return false;
    }
    if (str_is(*input, "null")) *input = (struct str){NULL, 0};
    return true;
}

const char *rest_input(struct arena *a, struct str body, struct str *input) {
    struct scan s = {.at = body.ptr, .end = body.ptr + body.len, .depth = 1};
    *input = (struct str){NULL, 0};
    skip_space(&s);
    if (s.at == s.end) return NULL;
    char c = *s.at;
    if (c == '{') return body_object(a, &s, input) ? NULL : explain(a, &s);
    s.depth = 0;
    if (!value(&s)) return explain(a, &s);
    switch (c) {
    case 'n': return NULL;
    case '[': return "json: cannot unmarshal array into Go value of type types.alias";
    case '"': return "json: cannot unmarshal string into Go value of type types.alias";
    case 't':
    case 'f': return "json: cannot unmarshal bool into Go value of type types.alias";
    default: return "json: cannot unmarshal number into Go value of type types.alias";
    }
}

/* The end of the JSON value at p, by brackets and strings alone. */
static const char *value_end(const char *p, const char *end) {
    uint32_t depth = 0;
    do {
        if (p == end) return NULL;
        char c = *p;
        if (c == '"') {
            for (p++; p < end && *p != '"'; p++) p += *p == '\\';
            if (p >= end) return NULL;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth-- == 0) return NULL;
        } else if (depth == 0) {
            while (p < end && *p != ',' && *p != '}' && *p != ']' && (unsigned char)*p > ' ') p++;
            return p;
        }
        p++;
    } while (depth > 0);
    return p;
}

bool rest_input_plain(struct str body, struct str *input) {
    struct scan s = {.at = body.ptr, .end = body.ptr + body.len};
    static const char key[] = "\"input\"";
    skip_space(&s);
    if (!next_is(&s, '{')) return false;
    s.at++;
    skip_space(&s);
    if ((size_t)(s.end - s.at) < sizeof key || memcmp(s.at, key, sizeof key - 1) != 0) return false;
    s.at += sizeof key - 1;
    skip_space(&s);
    if (!next_is(&s, ':')) return false;
    s.at++;
    skip_space(&s);
    const char *stop = value_end(s.at, s.end);
    if (!stop || stop == s.at) return false;
    *input = (struct str){s.at, (size_t)(stop - s.at)};
    s.at = stop;
    skip_space(&s);
    return next_is(&s, '}') && !str_is(*input, "null");
}
