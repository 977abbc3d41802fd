/* A decision as a line of JSON, as OPA's decision logger has it.
 * in: event records, whose input and result are hostile text. out: JSON. owns: nothing. */
#include "base/json.h"
#include "base/utf8.h"
#include "edge/decision_log_private.h"
#include "edge/trace.h"

enum { MAX_DEPTH = 512, MESSAGE_MAX = 1024 };

/* ---- JSON text that nobody has vouched for ---- */

/* Reads one value and writes it without white space; at most as long as it was. */
struct compactor {
    const char *at, *end;
    char *out;
    bool high; /* bytes that are not ASCII */
    uint32_t depth;
    bool object[MAX_DEPTH];
};

static void skip_space(struct compactor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t')) c->at++;
}

static bool take(struct compactor *c, char wanted) {
    if (c->at == c->end || *c->at != wanted) return false;
    *c->out++ = *c->at++;
    return true;
}

static bool escape(struct compactor *c) {
    *c->out++ = *c->at++;
    if (c->at == c->end) return false;
    bool unicode = *c->at == 'u';
    if (!unicode && !memchr("\"\\/bfnrt", *c->at, 8)) return false;
    *c->out++ = *c->at++;
    if (!unicode) return true;
    if (c->end - c->at < 4) return false;
    for (int i = 0; i < 4; i++) {
        if (char_hex(*c->at) < 0) return false;
        *c->out++ = *c->at++;
    }
    return true;
}

static bool string(struct compactor *c) {
    if (!take(c, '"')) return false;
    while (c->at < c->end) {
        unsigned char b = (unsigned char)*c->at;
        if (b == '"') return take(c, '"');
        if (b < ' ') return false;
        if (b == '\\') {
            if (!escape(c)) return false;
            continue;
        }
        c->high = c->high || b >= 0x80;
        *c->out++ = *c->at++;
    }
    return false;
}

static bool digits(struct compactor *c) {
    const char *from = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') *c->out++ = *c->at++;
    return c->at > from;
}

static bool number(struct compactor *c) {
    take(c, '-');
    if (!take(c, '0') && !digits(c)) return false;
    if (take(c, '.') && !digits(c)) return false;
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        *c->out++ = *c->at++;
        if (!take(c, '+')) take(c, '-');
        return digits(c);
    }
    return true;
}

static bool literal(struct compactor *c) {
    static const struct str words[] = {STR("true"), STR("false"), STR("null")};
    struct str rest = {c->at, (size_t)(c->end - c->at)};
    for (int i = 0; i < 3; i++) {
        if (!str_starts(rest, words[i])) continue;
        memcpy(c->out, words[i].ptr, words[i].len);
        c->out += words[i].len;
        c->at += words[i].len;
        return true;
    }
    return false;
}

static bool key(struct compactor *c) {
    skip_space(c);
    if (!string(c)) return false;
    skip_space(c);
    return take(c, ':');
}

/* Up to where the next value is to be read. false: an error; *done: the outermost value has ended. */
static bool after_value(struct compactor *c, bool *done) {
    for (;;) {
        skip_space(c);
        if (!c->depth) return *done = true, c->at == c->end;
        bool object = c->object[c->depth - 1];
        if (take(c, ',')) return !object || key(c);
        if (!take(c, object ? '}' : ']')) return false;
        c->depth--;
    }
}

/* Opens what begins with a bracket; *empty: it ended at once. */
static bool open_collection(struct compactor *c, bool *empty) {
    bool object = *c->at == '{';
    if (c->depth == MAX_DEPTH) return false;
    *c->out++ = *c->at++;
    skip_space(c);
    *empty = take(c, object ? '}' : ']');
    if (*empty) return true;
    c->object[c->depth++] = object;
    return !object || key(c);
}

static bool compact(struct compactor *c) {
    bool done = false;
    while (!done) {
        skip_space(c);
        if (c->at == c->end) return false;
        bool ended = true, good;
        char b = *c->at;
        if (b == '{' || b == '[') {
            good = open_collection(c, &ended);
        } else if (b == '"') {
            good = string(c);
        } else {
            good = b == '-' || (b >= '0' && b <= '9') ? number(c) : literal(c);
        }
        if (!good || (ended && !after_value(c, &done))) return false;
    }
    return true;
}

bool event_compact(struct str json, struct buf *out) {
    uint8_t *room = buf_reserve(out, json.len + 1);
    if (!room) return false;
    struct compactor c;
    c.at = json.ptr;
    c.end = json.ptr + json.len;
    c.out = (char *)room;
    c.high = false;
    c.depth = 0;
    if (!compact(&c)) return false;
    struct str written = {(const char *)room, (size_t)(c.out - (char *)room)};
    if (c.high && !utf8_valid(written)) return false;
    buf_commit(out, written.len);
    return true;
}

/* Deeply nested, or not quite UTF-8: read as every document of this node is. false: no JSON. */
static bool put_json(struct str json, struct arena *scratch, struct buf *out) {
    struct json *v;
    size_t before = out->len;
    if (event_compact(json, out)) return true;
    if (out->err) return false;
    arena_reset(scratch);
    if (json_parse(scratch, json, &v, NULL)) return false;
    json_print(v, false, 0, out);
    if (!out->err) return true;
    out->len = before;
    return false;
}

/* ---- members ---- */

static void put_text(const char *name, struct str value, struct buf *out) {
    buf_cstr(out, name);
    json_print_string(value, out);
    buf_byte(out, ',');
}

static void put_id(const char *name, const char *id, struct buf *out) {
    buf_cstr(out, name);
    buf_cstr(out, id);
    buf_cstr(out, "\",");
}

static void put_number(const char *name, uint64_t n, struct buf *out) {
    char text[24];
    buf_cstr(out, name);
    buf_str(out, http_number(n, text));
}

static void put_trace(struct str traceparent, struct buf *out) {
    struct trace_context t;
    if (!traceparent.len || !trace_parse(traceparent, &t)) return;
    put_text("\"trace_id\":", str_of(t.trace_id), out);
    put_text("\"span_id\":", str_of(t.span_id), out);
}

static char *put_digits(char *at, uint64_t n, int count) {
    for (int i = count; i-- > 0; n /= 10) at[i] = (char)('0' + n % 10);
    return at + count;
}

/* RFC 3339 with nanoseconds, without zeros at the end. By hand, since the C library's way would be the largest part of
 * an event's cost. Days to a date: Howard Hinnant, "chrono-compatible low-level date algorithms". */
static void put_time(uint64_t ns, struct buf *out) {
    char text[40], *at = text;
    uint64_t second = ns / 1000000000u, days = second / 86400 + 719468, of_day = second % 86400;
    uint64_t era = days / 146097, day_of_era = days % 146097;
    uint64_t year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day = day_of_era - (365 * year + year / 4 - year / 100), month = (5 * day + 2) / 153;
    day -= (153 * month + 2) / 5;
    month = month < 10 ? month + 3 : month - 9;
    at = put_digits(at, era * 400 + year + (month <= 2), 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    at = put_digits(at, day + 1, 2);
    *at++ = 'T';
    at = put_digits(at, of_day / 3600, 2);
    *at++ = ':';
    at = put_digits(at, of_day / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, of_day % 60, 2);
    *at++ = '.';
    at = put_digits(at, ns % 1000000000u, 9);
    while (at[-1] == '0') at--;
    if (at[-1] == '.') at--;
    *at++ = 'Z';
    buf_cstr(out, "\"timestamp\":\"");
    buf_put(out, text, (size_t)(at - text));
    buf_cstr(out, "\",");
}

/* "eval_conflict_error: p.rego:3:1: …" becomes OPA's code, message and place; other failures have our word. */
static void put_error(const struct event_record *e, struct buf *out) {
    struct str text = str_head(event_part(e, PART_MESSAGE), MESSAGE_MAX), word = STR("not_found");
    if (e->kind == DECISION_FAILED && e->err < ERR_COUNT) word = str_of(err_word((enum err)e->err));
    const char *colon = text.len ? memchr(text.ptr, ':', text.len) : NULL;
    if (colon && str_starts(text, STR("eval_"))) {
        word = str_head(text, (size_t)(colon - text.ptr));
        text = str_from(text, word.len + 2);
    }
    buf_cstr(out, "\"error\":{\"code\":");
    json_print_string(word, out);
    buf_cstr(out, ",\"message\":");
    json_print_string(text, out);
    buf_cstr(out, "},");
}

static void put_custom(const struct event_record *e, struct buf *out) {
    buf_cstr(out, "\"req_id\":");
    char text[24];
    buf_str(out, http_number(e->number, text));
    struct str headers = event_part(e, PART_HEADERS);
    if (headers.len) {
        buf_cstr(out, ",\"request_context\":{\"http\":{\"headers\":");
        buf_str(out, headers);
        buf_cstr(out, "}}");
    }
    buf_byte(out, ',');
    if (e->version) {
        buf_put(out, e->version->text + e->version->n_bundles, e->version->n_custom);
    } else {
        buf_cstr(out, "\"custom\":{\"tenant_id\":");
        json_print_string(event_part(e, PART_TENANT), out);
        buf_cstr(out, ",\"door\":\"");
    }
    buf_cstr(out, e->door);
    buf_cstr(out, "\"}}");
}

void event_print(const struct event_record *e, struct str labels, struct arena *scratch, struct buf *out) {
    struct str input = event_part(e, PART_INPUT), result = event_part(e, PART_RESULT), who = event_part(e, PART_WHO);
    buf_str(out, labels);
    put_id("\"decision_id\":\"", e->id, out);
    if (e->batch_id[0]) put_id("\"batch_decision_id\":\"", e->batch_id, out);
    put_trace(event_part(e, PART_TRACE), out);
    if (e->version) buf_put(out, e->version->text, e->version->n_bundles), buf_byte(out, ',');
    put_text("\"path\":", event_part(e, PART_PATH), out);
    size_t before = out->len;
    if (e->has_input) {
        buf_cstr(out, "\"input\":");
        if (put_json(input, scratch, out))
            buf_byte(out, ',');
        else
            out->len = before;
    }
    before = out->len;
    if (e->len[PART_RESULT]) {
        buf_cstr(out, "\"result\":");
        if (put_json(result, scratch, out))
            buf_byte(out, ',');
        else
            out->len = before;
    }
    if (e->version && e->version->hidden) buf_cstr(out, "\"erased\":[\"/input\",\"/result\"],");
    if (e->kind == DECISION_FAILED || e->kind == DECISION_NO_TENANT) put_error(e, out);
    if (who.len) put_text("\"requested_by\":", who, out);
    put_time(e->time_ns, out);
    put_number("\"metrics\":{\"timer_rego_query_eval_ns\":", e->eval_ns, out);
    put_number(",\"timer_server_handler_ns\":", e->handler_ns, out);
    buf_cstr(out, "},");
    put_custom(e, out);
}
