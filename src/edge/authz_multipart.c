/* The parts of a multipart/form-data body by their names, found as Go's mime and mime/multipart find them.
 * in: a content-type header and a body, both hostile. out: pairs of views. owns: nothing. */
#include "edge/authz.h"
#include "edge/json_text.h"

enum { LINE_BYTES = 4096 /* Go reads the lines between parts in a buffer of this size */, MAX_PARAMETERS = 32 };

/* ---- media types: token/token; name=value; … (RFC 2045, 2183) ---- */
struct media {
    struct str type; /* trimmed, its case kept */
    struct {
        struct str name, value;
    } items[MAX_PARAMETERS];
    uint32_t n;
    bool extended; /* has parameters of RFC 2231: name*=, name*0= */
};

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_special(char c) { return c && strchr("()<>@,;:\\\"/[]?=", c); }
static bool is_token(char c) { return c > 0x20 && c < 0x7f && !is_special(c); }

static struct str trim(struct str s, bool (*space)(char c)) {
    while (s.len && space(s.ptr[0])) s = str_from(s, 1);
    while (s.len && space(s.ptr[s.len - 1])) s.len--;
    return s;
}

static struct str token(struct str *s) {
    size_t n = 0;
    while (n < s->len && is_token(s->ptr[n])) n++;
    struct str t = str_head(*s, n);
    *s = str_from(*s, n);
    return t;
}

static void skip_space(struct str *s) {
    while (s->len && is_space(s->ptr[0])) *s = str_from(*s, 1);
}

static bool take(struct str *s, char c) {
    if (!s->len || s->ptr[0] != c) return false;
    *s = str_from(*s, 1);
    return true;
}

/* A token or a quoted string; a backslash escapes only what is special, since browsers send file names with lone
 * ones. */
static bool parameter_value(struct arena *a, struct str *s, struct str *out) {
    if (!take(s, '"')) {
        *out = token(s);
        return out->len > 0;
    }
    char *text = arena_alloc(a, s->len);
    size_t n = 0;
    for (size_t i = 0; text && i < s->len; i++) {
        char c = s->ptr[i];
        if (c == '"') {
            *out = (struct str){text, n};
            *s = str_from(*s, i + 1);
            return true;
        }
        if (c == '\r' || c == '\n') return false;
        if (c == '\\' && i + 1 < s->len && is_special(s->ptr[i + 1])) c = s->ptr[++i];
        text[n++] = c;
    }
    return false;
}

/* Adds a parameter; false when one of that name has another value. */
static bool add_parameter(struct media *m, struct str name, struct str value) {
    if (memchr(name.ptr, '*', name.len)) return m->extended = true;
    for (uint32_t i = 0; i < m->n; i++)
        if (str_eq_fold(m->items[i].name, name)) return str_eq(m->items[i].value, value);
    if (m->n == MAX_PARAMETERS) return false;
    m->items[m->n].name = name;
    m->items[m->n++].value = value;
    return true;
}

static bool parameters(struct arena *a, struct str s, struct media *m) {
    for (skip_space(&s); s.len; skip_space(&s)) {
        struct str name, value;
        if (!take(&s, ';')) return false;
        skip_space(&s);
        if (!s.len) return true; /* a last semicolon */
        name = token(&s);
        skip_space(&s);
        if (!name.len || !take(&s, '=')) return false;
        skip_space(&s);
        if (!parameter_value(a, &s, &value) || !add_parameter(m, name, value)) return false;
    }
    return true;
}

/* What mime.ParseMediaType accepts. */
static bool media_parse(struct arena *a, struct str s, struct media *m) {
    const char *end = s.len ? memchr(s.ptr, ';', s.len) : NULL;
    struct str base = end ? str_head(s, (size_t)(end - s.ptr)) : s;
    m->n = 0;
    m->extended = false;
    m->type = trim(base, is_space);
    struct str rest = m->type;
    if (!token(&rest).len) return false;
    if (rest.len && (!take(&rest, '/') || !token(&rest).len || rest.len)) return false;
    return parameters(a, str_from(s, base.len), m);
}

static struct str media_get(const struct media *m, struct str name) {
    for (uint32_t i = 0; i < m->n; i++)
        if (str_eq_fold(m->items[i].name, name)) return m->items[i].value;
    return (struct str){NULL, 0};
}

/* ---- parts ---- */
struct parts {
    struct arena *a;
    struct str body;
    size_t at;
    struct str dash_boundary; /* "--boundary" */
    struct str line_end;      /* "\r\n", or "\n" once the first boundary line ended so */
    bool any;
    const char *why;
};

struct part {
    struct str disposition, type; /* headers; ptr NULL: none */
    bool encoded;                 /* Content-Transfer-Encoding: quoted-printable */
};

enum step { STEP_PART, STEP_END, STEP_ERROR };

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static enum step broken(struct parts *p, const char *why) { return p->why = why, STEP_ERROR; }

/* Up to and with the next line feed, or the rest; *whole: there was one. */
static struct str next_line(struct parts *p, bool *whole) {
    struct str rest = str_from(p->body, p->at);
    const char *feed = rest.len ? memchr(rest.ptr, '\n', rest.len) : NULL;
    *whole = feed != NULL;
    if (feed) rest = str_head(rest, (size_t)(feed - rest.ptr) + 1);
    p->at += rest.len;
    return rest;
}

static struct str after_blanks(struct str s) {
    while (s.len && is_blank(s.ptr[0])) s = str_from(s, 1);
    return s;
}

static bool is_delimiter(struct parts *p, struct str line) {
    if (!str_starts(line, p->dash_boundary)) return false;
    struct str rest = after_blanks(str_from(line, p->dash_boundary.len));
    if (!p->any && str_is(rest, "\n")) p->line_end = STR("\n");
    return str_eq(rest, p->line_end);
}

static bool is_final(const struct parts *p, struct str line) {
    if (!str_starts(line, p->dash_boundary)) return false;
    struct str rest = str_from(line, p->dash_boundary.len);
    if (!str_starts(rest, STR("--"))) return false;
    rest = after_blanks(str_from(rest, 2));
    return rest.len == 0 || str_eq(rest, p->line_end);
}

static bool is_name_byte(char c) {
    return (c >= '0' && c <= '9') || (char_lower(c) >= 'a' && char_lower(c) <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~ ", c));
}

/* One header field: the first of each that matters is kept. */
static bool header_field(struct str line, struct part *part) {
    const char *colon = memchr(line.ptr, ':', line.len);
    if (!colon || colon == line.ptr) return false;
    struct str name = str_head(line, (size_t)(colon - line.ptr)), value = str_from(line, name.len + 1);
    for (size_t i = 0; i < name.len; i++)
        if (!is_name_byte(name.ptr[i])) return false;
    for (size_t i = 0; i < value.len; i++)
        if (((uint8_t)value.ptr[i] < 0x20 && value.ptr[i] != '\t') || value.ptr[i] == 0x7f) return false;
    value = after_blanks(value);
    if (str_eq_fold(name, STR("content-disposition")) && !part->disposition.ptr) part->disposition = value;
    if (str_eq_fold(name, STR("content-type")) && !part->type.ptr) part->type = value;
    if (str_eq_fold(name, STR("content-transfer-encoding")))
        part->encoded |= str_eq_fold(value, STR("quoted-printable"));
    return true;
}

static struct str without_end(struct str line) {
    if (!line.len || line.ptr[line.len - 1] != '\n') return line;
    line.len--;
    if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
    return line;
}

/* A header line with the lines that continue it, each joined by one space. false: no memory. */
static bool continued_line(struct parts *p, struct str *line) {
    bool whole;
    *line = trim(*line, is_blank);
    while (p->at < p->body.len && is_blank(p->body.ptr[p->at])) {
        struct str more = trim(without_end(next_line(p, &whole)), is_blank);
        char *joined = arena_alloc(p->a, line->len + 1 + more.len);
        if (!joined) return false;
        memcpy(joined, line->ptr, line->len);
        joined[line->len] = ' ';
        if (more.len) memcpy(joined + line->len + 1, more.ptr, more.len);
        *line = (struct str){joined, line->len + 1 + more.len};
    }
    return true;
}

/* The header of a part, up to its empty line. A body that ends within it is at its end, as in Go. */
static enum step part_header(struct parts *p, struct part *part) {
    *part = (struct part){.disposition = {NULL, 0}};
    if (p->at < p->body.len && is_blank(p->body.ptr[p->at])) return broken(p, "a part's header begins with a blank");
    for (bool whole;;) {
        if (p->at == p->body.len) return STEP_END;
        struct str line = without_end(next_line(p, &whole));
        if (!line.len) return STEP_PART;
        if (!memchr(line.ptr, ':', line.len) || !continued_line(p, &line) || !line.len || !header_field(line, part))
            return broken(p, "a part's header cannot be parsed");
    }
}

static enum step next_part(struct parts *p, struct part *part) {
    bool whole, expected = false;
    for (;;) {
        struct str line = next_line(p, &whole);
        if (!whole || line.len > LINE_BYTES)
            return !whole && line.len < LINE_BYTES && is_final(p, line) ? STEP_END
                                                                        : broken(p, "no boundary where one must be");
        if (is_delimiter(p, line)) {
            p->any = true;
            return part_header(p, part);
        }
        if (is_final(p, line)) return STEP_END;
        if (expected) return broken(p, "no boundary behind a part");
        if (!p->any) continue;
        if (!str_eq(line, p->line_end)) return broken(p, "no boundary behind a part");
        expected = true;
    }
}

/* Does a boundary that stands at `rest` end a part? */
static bool ends_part(struct str rest, size_t boundary_bytes) {
    struct str after = str_from(rest, boundary_bytes);
    if (!after.len) return true;
    char c = after.ptr[0];
    return is_blank(c) || c == '\r' || c == '\n' || (c == '-' && after.len > 1 && after.ptr[1] == '-');
}

/* The part's bytes, up to the line end before its boundary. false: there is no boundary. */
static bool part_body(struct parts *p, struct str *out) {
    struct str rest = str_from(p->body, p->at);
    size_t n = p->dash_boundary.len, end = p->line_end.len;
    *out = (struct str){rest.len ? rest.ptr : "", 0};
    size_t from = 0;
    if (str_starts(rest, p->dash_boundary)) {
        if (ends_part(rest, n)) return true;
        from = n;
    }
    for (struct str at = str_from(rest, from); at.len;) {
        const char *found = memmem(at.ptr, at.len, p->dash_boundary.ptr, n);
        if (!found) return false;
        size_t where = (size_t)(found - rest.ptr);
        at = str_from(rest, where);
        if (where >= from + end && memcmp(found - end, p->line_end.ptr, end) == 0) {
            if (ends_part(at, n)) {
                out->len = where - end;
                p->at += out->len;
                return true;
            }
            from = where + n;
            at = str_from(rest, from);
        } else {
            at = str_from(at, 1);
        }
    }
    return false;
}

static const char *add_part(struct parts *p, const struct part *part, struct str value, struct authz_pairs *out) {
    struct media m;
    if (!part->disposition.ptr || !media_parse(p->a, part->disposition, &m)) return NULL;
    if (!str_eq_fold(m.type, STR("form-data"))) return NULL;
    if (m.extended && !media_get(&m, STR("name")).ptr) return "a part's name is written in the extended form name*";
    struct str name = media_get(&m, STR("name"));
    if (!name.len) return NULL;
    if (part->encoded) return "a part is encoded as quoted-printable";
    bool raw = part->type.len && memmem(part->type.ptr, part->type.len, "application/json", 16);
    if (raw && !json_text_valid(value)) return "a part's JSON cannot be parsed";
    struct authz_pair pair = {name, value, out->n, raw};
    ARENA_PUSH(p->a, out, pair);
    return out->n == pair.order + 1 ? NULL : "the request's multipart body has too many parts";
}

enum err authz_multipart(struct arena *a, struct str content_type, struct str body, struct authz_pairs *out,
                         bool *found, const char **why) {
    struct media m;
    struct part part;
    struct str value;
    *why = "the request's content-type cannot be parsed";
    if (!media_parse(a, content_type, &m)) return ERR_INPUT;
    struct str boundary = media_get(&m, STR("boundary"));
    *found = boundary.ptr != NULL;
    if (!*found) return m.extended ? ERR_INPUT : OK;
    *why = "the request's multipart boundary is empty";
    if (!boundary.len) return ERR_INPUT;
    struct parts p = {.a = a, .body = body, .line_end = STR("\r\n")};
    char *dashes = arena_alloc(a, boundary.len + 2);
    if (!dashes) return ERR_MEMORY;
    memcpy(dashes, "--", 2);
    memcpy(dashes + 2, boundary.ptr, boundary.len);
    p.dash_boundary = (struct str){dashes, boundary.len + 2};
    for (enum step step; (step = next_part(&p, &part)) != STEP_END;) {
        *why = step == STEP_ERROR ? p.why : "a part of the request's multipart body does not end";
        if (step == STEP_ERROR || !part_body(&p, &value)) return ERR_INPUT;
        if ((*why = add_part(&p, &part, value, out))) return ERR_INPUT;
    }
    return OK;
}
