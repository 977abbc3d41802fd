/* JSON writer and comparison of JSON trees.
 * in: a tree. out: text. owns: a scratch array while it sorts keys. */
#include "base/json.h"
#include "base/utf8.h"
#include <stdlib.h>

void json_print_string(struct str s, struct buf *out) {
    buf_byte(out, '"');
    size_t start = 0, i = 0;
    while (i < s.len) {
        uint8_t c = (uint8_t)s.ptr[i];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            i++;
            continue;
        }
        uint32_t cp = c;
        int n = c < 0x80 ? 1 : utf8_decode(s.ptr + i, s.len - i, &cp);
        if (n > 1 && cp != 0x2028 && cp != 0x2029) {
            i += (size_t)n;
            continue;
        }
        buf_put(out, s.ptr + start, i - start);
        if (!n) buf_cstr(out, "\\ufffd"), n = 1;
        else if (c == '"' || c == '\\') buf_byte(out, '\\'), buf_byte(out, c);
        else if (c == '\n') buf_cstr(out, "\\n");
        else if (c == '\r') buf_cstr(out, "\\r");
        else if (c == '\t') buf_cstr(out, "\\t");
        else if (c == '\b') buf_cstr(out, "\\b");
        else if (c == '\f') buf_cstr(out, "\\f");
        else buf_printf(out, "\\u%04x", cp);
        i += (size_t)n;
        start = i;
    }
    buf_put(out, s.ptr + start, s.len - start);
    buf_byte(out, '"');
}

void json_escape_html(struct str json, struct buf *out) {
    size_t start = 0;
    for (size_t i = 0; i < json.len; i++) { /* outside of strings JSON has none of the three */
        char c = json.ptr[i];
        if (c != '<' && c != '>' && c != '&') continue;
        buf_put(out, json.ptr + start, i - start);
        buf_printf(out, "\\u%04x", c);
        start = i + 1;
    }
    buf_put(out, json.ptr + start, json.len - start);
}

struct printer {
    struct buf *out;
    bool sorted;
    int indent;
};

static void newline(const struct printer *p, int level) {
    if (!p->indent) return;
    buf_byte(p->out, '\n');
    for (int i = 0; i < level * p->indent; i++) buf_byte(p->out, ' ');
}

static void print(const struct printer *p, const struct json *v, int level);

struct keyed {
    struct str key;
    const struct json *value;
};

static int by_key(const void *a, const void *b) {
    return str_cmp(((const struct keyed *)a)->key, ((const struct keyed *)b)->key);
}

static void print_object(const struct printer *p, const struct json *v, int level) {
    struct keyed *members = malloc(v->n * sizeof *members);
    if (!members) {
        p->out->err = ERR_MEMORY;
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) members[i] = (struct keyed){v->keys[i], v->items[i]};
    if (p->sorted) qsort(members, v->n, sizeof *members, by_key);
    for (uint32_t i = 0; i < v->n; i++) {
        if (i) buf_byte(p->out, ',');
        newline(p, level + 1);
        json_print_string(members[i].key, p->out);
        buf_cstr(p->out, p->indent ? ": " : ":");
        print(p, members[i].value, level + 1);
    }
    free(members);
}

static void print(const struct printer *p, const struct json *v, int level) {
    switch (v->kind) {
    case JSON_NULL: buf_cstr(p->out, "null"); return;
    case JSON_BOOL: buf_cstr(p->out, v->boolean ? "true" : "false"); return;
    case JSON_NUMBER: buf_str(p->out, v->text); return;
    case JSON_STRING: json_print_string(v->text, p->out); return;
    case JSON_ARRAY:
        buf_byte(p->out, '[');
        for (uint32_t i = 0; i < v->n; i++) {
            if (i) buf_byte(p->out, ',');
            newline(p, level + 1);
            print(p, v->items[i], level + 1);
        }
        if (v->n) newline(p, level);
        buf_byte(p->out, ']');
        return;
    case JSON_OBJECT:
        buf_byte(p->out, '{');
        if (v->n) print_object(p, v, level), newline(p, level);
        buf_byte(p->out, '}');
        return;
    }
}

void json_print(const struct json *v, bool sorted, int indent, struct buf *out) {
    struct printer p = {out, sorted, indent};
    print(&p, v, 0);
}

/* A number's value as digits without zeros at either end, and a power of ten. */
struct decimal {
    bool negative;
    struct str whole, fraction; /* the digits around the point, in the text */
    long exponent;              /* of the last significant digit */
    size_t first, last;         /* significant digits [first, last) of whole ++ fraction */
};

static char digit_at(const struct decimal *d, size_t i) {
    return i < d->whole.len ? d->whole.ptr[i] : d->fraction.ptr[i - d->whole.len];
}

static struct decimal decimal_of(struct str t) {
    struct decimal d = {.negative = t.len && t.ptr[0] == '-'};
    size_t i = d.negative, start = i;
    while (i < t.len && t.ptr[i] >= '0' && t.ptr[i] <= '9') i++;
    d.whole = (struct str){t.ptr + start, i - start};
    d.fraction = (struct str){t.ptr + i, 0};
    if (i < t.len && t.ptr[i] == '.') {
        for (start = ++i; i < t.len && t.ptr[i] >= '0' && t.ptr[i] <= '9';) i++;
        d.fraction = (struct str){t.ptr + start, i - start};
    }
    long exponent = 0;
    if (i + 1 < t.len) { /* 'e' */
        bool minus = t.ptr[++i] == '-';
        if (minus || t.ptr[i] == '+') i++;
        for (; i < t.len && exponent < 1000000000; i++) exponent = exponent * 10 + (t.ptr[i] - '0');
        if (minus) exponent = -exponent;
    }
    size_t n = d.whole.len + d.fraction.len;
    for (d.first = 0; d.first < n && digit_at(&d, d.first) == '0';) d.first++;
    for (d.last = n; d.last > d.first && digit_at(&d, d.last - 1) == '0';) d.last--;
    d.exponent = exponent - (long)d.fraction.len + (long)(n - d.last);
    return d;
}

static bool number_equal(struct str a, struct str b) {
    struct decimal x = decimal_of(a), y = decimal_of(b);
    size_t n = x.last - x.first;
    if (n != y.last - y.first) return false;
    if (n == 0) return true;
    if (x.negative != y.negative || x.exponent != y.exponent) return false;
    for (size_t i = 0; i < n; i++)
        if (digit_at(&x, x.first + i) != digit_at(&y, y.first + i)) return false;
    return true;
}

static bool objects_equal(const struct json *a, const struct json *b) {
    for (uint32_t i = 0; i < a->n; i++) {
        const struct json *other =
            str_eq(a->keys[i], b->keys[i]) ? b->items[i] : json_get(b, a->keys[i]);
        if (!other || !json_equal(a->items[i], other)) return false;
    }
    return true;
}

bool json_equal(const struct json *a, const struct json *b) {
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case JSON_NULL: return true;
    case JSON_BOOL: return a->boolean == b->boolean;
    case JSON_NUMBER: return number_equal(a->text, b->text);
    case JSON_STRING: return str_eq(a->text, b->text);
    case JSON_ARRAY:
        if (a->n != b->n) return false;
        for (uint32_t i = 0; i < a->n; i++)
            if (!json_equal(a->items[i], b->items[i])) return false;
        return true;
    case JSON_OBJECT: return a->n == b->n && objects_equal(a, b);
    }
    return false;
}
