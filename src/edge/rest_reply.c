/* What REST replies are written with: OPA's error bodies, Go's redirects and refusals, indenting, compressing.
 * in: a call, what is to be said. out: its reply. owns: nothing. */
#include "edge/document.h"
#include "edge/gzip.h"
#include "edge/rest.h"
#include <ctype.h>
#include <strings.h>

enum {
    MESSAGE_BYTES = 64 << 10,
    COMPRESS_FROM = 1024,          /* OPA's default */
    COMPRESS_WELL = 16 << 10,      /* longer bodies are compressed faster and less */
    COMPRESS_IN_LOOP = 256 << 10   /* longer ones would hold an event loop up: only lanes compress them */
};

void rest_header(struct rest_call *c, struct str name, struct str value) {
    if (c->r->n_extra < HTTP_MAX_REPLY_HEADERS) c->r->extra[c->r->n_extra++] = (struct http_header){name, value};
}

void rest_put_string(struct str s, struct buf *out) {
    struct buf text;
    buf_init(&text, 6 * s.len + 16);
    json_print_string(s, &text);
    json_escape_html(buf_view(&text), out);
    buf_deinit(&text);
}

/* The two as one such string; "" when it is too long. */
static void put_text(struct str before, struct str after, struct buf *out) {
    struct buf joined, text;
    buf_init(&joined, MESSAGE_BYTES);
    buf_init(&text, 6 * MESSAGE_BYTES);
    buf_str(&joined, before);
    buf_str(&joined, str_head(after, MESSAGE_BYTES / 2));
    if (!joined.err) json_print_string(buf_view(&joined), &text);
    if (joined.err || text.err) buf_cstr(out, "\"\"");
    else json_escape_html(buf_view(&text), out);
    buf_deinit(&joined);
    buf_deinit(&text);
}

void rest_error2(struct rest_call *c, int status, const char *code, const char *before, struct str after) {
    c->r->status = status;
    c->r->content_type = "application/json";
    buf_clear(c->r->body);
    buf_printf(c->r->body, "{\n  \"code\": \"%s\",\n  \"message\": ", code);
    put_text(str_of(before), after, c->r->body);
    buf_cstr(c->r->body, "\n}\n");
}

void rest_error(struct rest_call *c, int status, const char *code, const char *message) {
    rest_error2(c, status, code, message, STR(""));
}

void rest_plain(struct rest_call *c, int status, const char *text) {
    c->r->status = status;
    c->r->content_type = "text/plain; charset=utf-8";
    rest_header(c, STR("X-Content-Type-Options"), STR("nosniff"));
    buf_clear(c->r->body);
    buf_cstr(c->r->body, text);
}

void rest_wrong_method(struct rest_call *c, const char *allow) {
    c->r->status = 405;
    c->r->content_type = NULL;
    buf_clear(c->r->body);
    if (!allow) return;
    rest_header(c, STR("Allow"), str_of(allow));
    rest_plain(c, 405, "Method Not Allowed\n");
}

static void put_html(struct str s, struct buf *out) {
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '<': buf_cstr(out, "&lt;"); break;
        case '>': buf_cstr(out, "&gt;"); break;
        case '&': buf_cstr(out, "&amp;"); break;
        case '"': buf_cstr(out, "&#34;"); break;
        case '\'': buf_cstr(out, "&#39;"); break;
        default: buf_byte(out, (uint8_t)s.ptr[i]);
        }
    }
}

/* What was sent stays as it was sent; bytes that no header may hold become %XX, as Go writes them. */
static struct str location(struct arena *a, struct str path, struct str query) {
    size_t n = 0, len = path.len + query.len + 1;
    char *out = arena_alloc(a, 3 * len);
    for (size_t i = 0; out && i < path.len + (query.len ? query.len + 1 : 0); i++) {
        char b = i < path.len ? path.ptr[i] : i == path.len ? '?' : query.ptr[i - path.len - 1];
        static const char hex[] = "0123456789ABCDEF";
        if ((unsigned char)b > ' ' && (unsigned char)b < 0x7f) out[n++] = b;
        else out[n++] = '%', out[n++] = hex[(unsigned char)b >> 4], out[n++] = hex[b & 15];
    }
    return (struct str){out, n};
}

void rest_redirect(struct rest_call *c, int status, struct str path, bool keep_query) {
    struct str to = location(&c->w->arena, path, keep_query ? c->q->query : STR(""));
    bool get = str_is(c->q->method, "GET"), head = str_is(c->q->method, "HEAD");
    c->r->status = status;
    buf_clear(c->r->body);
    if (!to.ptr) {
        rest_error(c, 500, "internal_error", err_meaning(ERR_MEMORY));
        return;
    }
    rest_header(c, STR("Location"), to);
    if (!get && !head) return;
    c->r->content_type = "text/html; charset=utf-8";
    if (head) return;
    buf_cstr(c->r->body, "<a href=\"");
    put_html(to, c->r->body);
    buf_printf(c->r->body, "\">%s</a>.\n\n", status == 301 ? "Moved Permanently" : "Temporary Redirect");
}

void rest_no_tenant(struct rest_call *c) {
    const char *why = c->who.why ? c->who.why : "no rule of this listener found one";
    if (c->identity == IDENTITY_REFUSED)
        rest_error2(c, 403, "unauthorized", "the request is not accepted for a tenant: ", str_of(why));
    else
        rest_error2(c, 400, "invalid_parameter", "the tenant is missing: ", str_of(why));
}

/* "eval_conflict_error: p.rego:3:1: …", as modules word it, taken apart. false: something else. */
static bool located(struct str text, struct str *code, struct str *file, struct str *row, struct str *col,
                    struct str *message) {
    const char *p = text.len ? memchr(text.ptr, ':', text.len) : NULL;
    if (!p || !str_starts(text, STR("eval_"))) return false;
    *code = str_head(text, (size_t)(p - text.ptr));
    struct str rest = str_from(text, code->len + 2);
    for (size_t i = 1; i < rest.len; i++) { /* the first ":digits:digits: " */
        size_t at = i, row_at, col_at;
        if (rest.ptr[at++] != ':') continue;
        for (row_at = at; at < rest.len && isdigit((unsigned char)rest.ptr[at]);) at++;
        if (at == row_at || at == rest.len || rest.ptr[at] != ':') continue;
        *row = (struct str){rest.ptr + row_at, at - row_at};
        for (col_at = ++at; at < rest.len && isdigit((unsigned char)rest.ptr[at]);) at++;
        if (at == col_at || rest.len - at < 2 || rest.ptr[at] != ':') continue;
        *col = (struct str){rest.ptr + col_at, at - col_at};
        *file = str_head(rest, i);
        *message = str_from(rest, at + 2);
        return row->len < 10 && col->len < 10;
    }
    return false;
}

/* How a decision's failure is called: OPA's code, or for what OPA has no word for, HTTP's. */
static const char *failure_code(int status) {
    switch (status) {
    case 403: return "unauthorized";
    case 429: return "too_many_requests";
    case 503: return "service_unavailable";
    }
    return "internal_error";
}

void rest_failure_members(const struct decision *d, struct buf *out) {
    struct str code, file, row, col, message, text = str_of(decision_reason(d));
    buf_printf(out, "\"code\":\"%s\",\"message\":", failure_code(decision_status(d)));
    if (!located(text, &code, &file, &row, &col, &message)) {
        put_text(STR(""), text, out);
        return;
    }
    buf_cstr(out, "\"error(s) occurred while evaluating query\",\"errors\":[{\"code\":");
    put_text(STR(""), code, out);
    buf_cstr(out, ",\"message\":");
    put_text(STR(""), message, out);
    buf_cstr(out, ",\"location\":{\"file\":");
    put_text(STR(""), file, out);
    buf_printf(out, ",\"row\":%.*s,\"col\":%.*s}}]", STR_FMT(row), STR_FMT(col));
}

void rest_retry_after(struct rest_call *c, const struct decision *d) {
    int status = decision_status(d);
    if (status == 429 || status == 503) rest_header(c, STR("Retry-After"), STR("1"));
}

void rest_failure(struct rest_call *c, const struct decision *d) {
    struct buf text;
    buf_init(&text, 16 * MESSAGE_BYTES);
    buf_byte(&text, '{');
    rest_failure_members(d, &text);
    buf_byte(&text, '}');
    c->r->status = decision_status(d);
    c->r->content_type = "application/json";
    rest_retry_after(c, d);
    buf_clear(c->r->body);
    rest_indent(buf_view(&text), c->r->body);
    buf_byte(c->r->body, '\n');
    buf_deinit(&text);
}

/* Lines are moved in by so many levels at most, lest a small deep value become a huge text. */
enum { INDENTED_LEVELS = 64 };

static void new_line(struct buf *out, uint32_t depth) {
    char blanks[2 * INDENTED_LEVELS];
    size_t n = 2 * (size_t)(depth < INDENTED_LEVELS ? depth : INDENTED_LEVELS);
    memset(blanks, ' ', n);
    buf_byte(out, '\n');
    buf_put(out, blanks, n);
}

static size_t string_length(struct str s, size_t at) {
    size_t i = at + 1;
    while (i < s.len && s.ptr[i] != '"') i += s.ptr[i] == '\\' ? 2 : 1;
    return (i < s.len ? i + 1 : s.len) - at;
}

void rest_indent(struct str json, struct buf *out) {
    uint32_t depth = 0;
    for (size_t i = 0; i < json.len && !out->err; i++) {
        char c = json.ptr[i], next = i + 1 < json.len ? json.ptr[i + 1] : 0;
        switch (c) {
        case '"': {
            size_t n = string_length(json, i);
            buf_put(out, json.ptr + i, n);
            i += n - 1;
            break;
        }
        case '{':
        case '[':
            buf_byte(out, (uint8_t)c);
            if (next == '}' || next == ']') buf_byte(out, (uint8_t)json.ptr[++i]);
            else new_line(out, ++depth);
            break;
        case '}':
        case ']':
            new_line(out, depth ? --depth : 0);
            buf_byte(out, (uint8_t)c);
            break;
        case ',':
            buf_byte(out, ',');
            new_line(out, depth);
            break;
        case ':': buf_cstr(out, ": "); break;
        default: buf_byte(out, (uint8_t)c);
        }
    }
}

void rest_finish(struct rest_call *c) {
    struct buf *body = c->r->body, *copy = &c->w->input;
    if (c->params.pretty && !body->err) {
        buf_clear(copy);
        buf_str(copy, buf_view(body));
        enum err e = copy->err;
        buf_clear(body);
        struct str text = buf_view(copy);
        if (text.len && text.ptr[text.len - 1] == '\n') text.len--;
        rest_indent(text, body);
        buf_byte(body, '\n');
        if (e) body->err = e;
        buf_clear(copy);
    }
    if (body->err) rest_error(c, 500, "internal_error", "the answer does not fit its limit");
}

/* Does one element of Accept-Encoding, "gzip;q=0.5", ask for gzip? */
static bool takes_gzip(struct str element) {
    while (element.len && (*element.ptr == ' ' || *element.ptr == '\t')) element = str_from(element, 1);
    if (element.len < 4 || strncasecmp(element.ptr, "gzip", 4) != 0) return false;
    struct str rest = str_from(element, 4);
    bool zero = false;
    for (size_t i = 0; i < rest.len; i++) {
        char ch = rest.ptr[i];
        if (i == 0 && ch != ' ' && ch != '\t' && ch != ';') return false;
        if (ch == '=') zero = true; /* q=0, q=0.0 … */
        else if (ch >= '1' && ch <= '9') zero = false;
    }
    return !zero;
}

static bool accepts_gzip(const struct http_request *q) {
    struct str value = http_header_get(q, STR("accept-encoding"));
    while (value.len) {
        const char *comma = memchr(value.ptr, ',', value.len);
        struct str element = comma ? str_head(value, (size_t)(comma - value.ptr)) : value;
        if (takes_gzip(element)) return true;
        value = str_from(value, element.len + 1);
    }
    return false;
}

void rest_compress(struct rest_call *c) {
    struct buf *body = c->r->body, *copy = &c->w->input;
    if (body->len < COMPRESS_FROM || body->err || !accepts_gzip(c->q)) return;
    if (c->w->slice_us && body->len > COMPRESS_IN_LOOP) return;
    buf_clear(copy);
    if (gzip_deflate(buf_view(body), body->len <= COMPRESS_WELL ? 6 : 1, copy) != OK) {
        buf_clear(copy);
        return;
    }
    buf_clear(body);
    buf_str(body, buf_view(copy));
    buf_clear(copy);
    rest_header(c, STR("Content-Encoding"), STR("gzip"));
}

/* ---- references ---- */

static bool is_name(struct str s) {
    static const char *const keywords[] = {"not",  "package", "import", "as", "default",  "else", "with", "null",
                                           "true", "false",   "some",   "if", "contains", "in",   "every"};
    if (s.len == 0 || isdigit((unsigned char)s.ptr[0])) return false;
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.ptr[i]) && s.ptr[i] != '_') return false;
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (str_is(s, keywords[i])) return false;
    return true;
}

void rest_ref(struct arena *a, struct str path, struct buf *out) {
    struct document_key step;
    buf_cstr(out, "data");
    while (document_step(a, &path, &step)) {
        if (step.is_index) {
            buf_printf(out, "[%lld]", (long long)step.index);
        } else if (is_name(step.name)) {
            buf_byte(out, '.');
            buf_str(out, step.name);
        } else {
            buf_byte(out, '[');
            json_print_string(step.name, out);
            buf_byte(out, ']');
        }
    }
}
