/* The member `input` of a REST body, found as Go's decoder finds it and refused in its words.
 * in: bodies, maybe hostile. out: a view of the input document, or why there is none. owns:
 * nothing. */
#include "edge/rest_input.h"
#include "base/utf8.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

const char *rest_kind(struct str text) {
    switch (text.len ? *text.ptr : 0) {
    case '[': return "array";
    case '{': return "object";
    case '"': return "string";
    case 't':
    case 'f': return "bool";
    case 'n': return "null";
    default: return "number";
    }
}

static const char *no_object(struct arena *a, char first, const char *type) {
    const char *text = arena_printf(a, NULL, "json: cannot unmarshal %s into Go value of type %s",
                                    rest_kind((struct str){&first, 1}), type);
    return text ? text : "json: cannot unmarshal";
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
    return c == 'n' ? NULL : no_object(a, c, "types.alias");
}

const char *rest_value(struct arena *a, struct str body, struct str *out) {
    if (!body.ptr) body = STR("");
    struct scan s = {.at = body.ptr, .end = body.ptr + body.len};
    *out = (struct str){NULL, 0};
    skip_space(&s);
    const char *start = s.at;
    if (s.at == s.end) return NULL;
    if (!value(&s)) return explain(a, &s);
    *out = (struct str){start, (size_t)(s.at - start)};
    return NULL;
}

/* What Go says about a token behind the value: brackets and texts are named, words are bools. */
static const char *trailing(struct arena *a, struct scan *s) {
    struct str token = {s->at, 1};
    const char *word = NULL;
    if (!strchr("{[", *s->at) && !value(s)) return explain(a, s);
    if (!strchr("{[", *token.ptr)) token.len = (size_t)(s->at - token.ptr);
    if (*token.ptr == 'n') return NULL;
    if (*token.ptr == 't' || *token.ptr == 'f') word = *token.ptr == 't' ? "%!s(bool=true)" : "%!s(bool=false)";
    struct json *text;
    if (*token.ptr == '"' && json_parse(a, token, &text, NULL) == OK) token = text->text;
    if (word) token = str_of(word);
    const char *why = arena_printf(a, NULL, "error: invalid character '%.*s' after top-level value",
                                   STR_FMT(str_head(token, MESSAGE_BYTES / 2)));
    return why ? why : "not valid JSON";
}

const char *rest_whole_value(struct arena *a, struct str text, struct str *out) {
    const char *why = rest_value(a, text, out);
    if (why) return why;
    if (!out->ptr) return "EOF";
    struct scan s = {.at = out->ptr + out->len, .end = text.ptr + text.len};
    skip_space(&s);
    return s.at == s.end ? NULL : trailing(a, &s);
}

static bool members(struct arena *a, struct scan *s, struct rest_members *out) {
    struct str quoted;
    bool more = !empty_object(s);
    while (more) {
        struct rest_member m;
        struct json *key;
        if (!member_key(s, &quoted)) return false;
        skip_space(s);
        const char *start = s->at;
        if (!value(s)) return false;
        m.value = (struct str){start, (size_t)(s->at - start)};
        if (json_parse(a, quoted, &key, NULL)) return wrong(s, "in a key that is too long");
        m.key = key->text;
        uint32_t n = out->n;
        ARENA_PUSH(a, out, m);
        if (out->n == n) return wrong(s, "after more members than there is memory for");
        if (!member_end(s, &more)) return false;
    }
    return true;
}

const char *rest_members(struct arena *a, struct str body, const char *type, struct rest_members *out) {
    if (!body.ptr) body = STR("");
    struct scan s = {.at = body.ptr, .end = body.ptr + body.len, .depth = 1};
    *out = (struct rest_members){0};
    skip_space(&s);
    if (s.at == s.end) return NULL;
    char c = *s.at;
    if (c == '{') return members(a, &s, out) ? NULL : explain(a, &s);
    s.depth = 0;
    if (!value(&s)) return explain(a, &s);
    return c == 'n' ? NULL : no_object(a, c, type);
}

/* ---- The end of a value, by brackets and strings alone ---- */

struct nesting {
    uint64_t depth;
    bool in_string;
};

/* Byte by byte from p to stop; NULL, or behind the bracket that closes the first one. *at is where it went on to. */
static const char *walk(struct nesting *n, const char *p, const char *stop, const char **at) {
    for (; p < stop; p++) {
        char c = *p, bracket = (char)(c | 0x20); /* [ is { and ] is } */
        if (c == '"') n->in_string = !n->in_string;
        else if (n->in_string) p += c == '\\';
        else if (bracket == '{') n->depth++;
        else if (bracket == '}' && --n->depth == 0) return p + 1;
    }
    *at = p;
    return NULL;
}

#ifdef __SSE2__
/* 64 bytes at once: bit i stands for byte i. */
struct block {
    uint64_t quotes, backslashes, open, close;
};

static struct block look(const char *p) {
    struct block b = {0};
    for (int i = 0; i < 4; i++) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
        __m128i bracket = _mm_or_si128(v, _mm_set1_epi8(0x20));
        b.quotes |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('"'))) << 16 * i;
        b.backslashes |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))) << 16 * i;
        b.open |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bracket, _mm_set1_epi8('{'))) << 16 * i;
        b.close |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bracket, _mm_set1_epi8('}'))) << 16 * i;
    }
    return b;
}

/* A block without backslashes. */
static const char *step(struct nesting *n, const struct block *b, const char *p) {
    uint64_t inside = b->quotes; /* bit i: an odd number of quotes up to byte i */
    for (int shift = 1; shift < 64; shift *= 2) inside ^= inside << shift;
    if (n->in_string) inside = ~inside;
    uint64_t open = b->open & ~inside, close = b->close & ~inside;
    n->in_string = inside >> 63;
    if ((uint64_t)__builtin_popcountll(close) < n->depth) { /* too few to close the first one */
        n->depth += (uint64_t)__builtin_popcountll(open) - (uint64_t)__builtin_popcountll(close);
        return NULL;
    }
    for (uint64_t both = open | close; both; both &= both - 1) {
        int i = __builtin_ctzll(both);
        if (open >> i & 1) n->depth++;
        else if (--n->depth == 0) return p + i + 1;
    }
    return NULL;
}

static const char *brackets_end(const char *p, const char *end) {
    struct nesting n = {0};
    while (end - p >= 64) {
        struct block b = look(p);
        const char *found, *after = p + 64;
        found = b.backslashes ? walk(&n, p, p + 64, &after) : step(&n, &b, p);
        if (found) return found;
        p = after;
    }
    return p < end ? walk(&n, p, end, &p) : NULL;
}
#else
static const char *brackets_end(const char *p, const char *end) {
    struct nesting n = {0};
    return walk(&n, p, end, &p);
}
#endif

static const char *value_end(const char *p, const char *end) {
    if (p == end) return NULL;
    if (*p == '{' || *p == '[') return brackets_end(p, end);
    if (*p == '"') {
        for (p++; p < end && *p != '"'; p++) p += *p == '\\';
        return p < end ? p + 1 : NULL;
    }
    while (p < end && *p != ',' && *p != '}' && *p != ']' && (unsigned char)*p > ' ') p++;
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
