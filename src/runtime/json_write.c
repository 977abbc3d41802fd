/* Values to JSON, to Rego's syntax, and to Go's indented JSON.
 * in: values. out: text appended to a builder; objects and sets in OPA's order. owns: nothing. */
#include "runtime/json_scan.h"
#include "runtime/number.h"

static const char hex_digits[] = "0123456789abcdef";

/* The letter after the backslash of a short escape, or 0. */
static uint8_t short_escape(uint8_t c) {
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return 0;
    }
}

static bool is_html(uint8_t c) { return c == '<' || c == '>' || c == '&'; }

static RT_COLD void put_unicode(struct builder *b, uint32_t c) {
    builder_c(b, "\\u");
    for (int shift = 12; shift >= 0; shift -= 4)
        builder_put(b, (uint8_t)hex_digits[c >> shift & 15]);
}

/* U+2028 and U+2029: JSON allows them, JavaScript did not, so Go escapes them. */
static bool is_line_separator(struct text t, uint32_t i) {
    return t.len - i >= 3 && t.ptr[i] == 0xe2 && t.ptr[i + 1] == 0x80 &&
           (t.ptr[i + 2] & 0xfe) == 0xa8;
}

/* Bytes from i on that stand as they are. */
static uint32_t plain_run(struct text t, uint32_t i, uint32_t form) {
    uint32_t begin = i;
    if (!(form & JSON_HTML))
        while (t.len - i >= 8 && json_special(layout_load64(t.ptr + i)) == 0) i += 8;
    for (; i < t.len; i++) {
        uint8_t c = t.ptr[i];
        if (c < 0x20 || c == '"' || c == '\\' || c >= 0x80) break;
        if ((form & JSON_HTML) && is_html(c)) break;
    }
    return i - begin;
}

/* One sequence that is not ASCII, from i to the index behind it. Strings that builtins decoded may hold
 * any bytes; those that are no UTF-8 become U+FFFD, as Go's encoder has it. */
static RT_COLD uint32_t write_sequence(struct builder *b, struct text t, uint32_t i) {
    uint32_t begin = i, cp;
    if (!utf8_decode_checked(t, &i, &cp)) put_unicode(b, 0xfffd);
    else if (is_line_separator(t, begin)) put_unicode(b, cp);
    else builder_text(b, text_slice(t, begin, i));
    return i;
}

/* Whether nothing in t has to be escaped; false also for what is not looked at that closely. */
static inline bool is_plain(struct text t) {
    const uint8_t *p = t.ptr, *end = p + t.len;
    if (t.len >= 8) {
        for (; end - p > 8; p += 8)
            if (json_special(layout_load64(p)) != 0) return false;
        return json_special(layout_load64(end - 8)) == 0;
    }
    if (t.len >= 4) return json_special(load_short(p, t.len)) == 0;
    for (; p < end; p++)
        if (*p < 0x20 || *p >= 0x80 || *p == '"' || *p == '\\') return false;
    return true;
}

static void write_string(struct builder *b, struct text t, uint32_t form) {
    builder_reserve(b, t.len < UINT32_MAX - 2 ? t.len + 2 : t.len);
    if (RT_LIKELY(!(form & JSON_HTML) && is_plain(t))) {
        uint8_t *p = b->ptr + b->len;
        *p = '"';
        bytes_copy(p + 1, t.ptr, t.len);
        p[t.len + 1] = '"';
        b->len += t.len + 2;
        return;
    }
    builder_put(b, '"');
    for (uint32_t i = 0; i < t.len;) {
        uint32_t run = plain_run(t, i, form);
        builder_text(b, text_slice(t, i, i + run));
        i += run;
        if (i >= t.len) break;
        uint8_t c = t.ptr[i], letter = short_escape(c);
        if (letter != 0) {
            builder_put(b, '\\');
            builder_put(b, letter);
            i++;
        } else if (c < 0x80) {
            put_unicode(b, c);
            i++;
        } else {
            i = write_sequence(b, t, i);
        }
    }
    builder_put(b, '"');
}

void json_write_string(struct builder *b, struct text t) { write_string(b, t, JSON_PLAIN); }

/* ---- layout: compact or one element a line ---- */

struct layout {
    bool lines;
    uint32_t form;
    struct text prefix, indent;
};

static void write_value(struct builder *b, value v, const struct layout *l, uint32_t depth);

static RT_COLD void break_line(struct builder *b, const struct layout *l, uint32_t depth) {
    builder_put(b, '\n');
    builder_text(b, l->prefix);
    for (uint32_t i = 0; i < depth; i++) builder_text(b, l->indent);
}

static inline void new_line(struct builder *b, const struct layout *l, uint32_t depth) {
    if (RT_UNLIKELY(l->lines)) break_line(b, l, depth);
}

static void write_items(struct builder *b, const value *items, uint32_t n, const struct layout *l,
                        uint32_t depth) {
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) builder_put(b, ',');
        new_line(b, l, depth + 1);
        write_value(b, items[i], l, depth + 1);
    }
    if (n > 0) new_line(b, l, depth);
}

static bool has_only_string_keys(value object) {
    const struct pair *pairs = object_pairs(object);
    for (uint32_t i = 0; i < object_len(object); i++)
        if (!is_string(pairs[i].key)) return false;
    return true;
}

/* In JSON a key that is no string is the string of its JSON, and takes its place in order as such.
 */
static RT_COLD value with_string_keys(value object) {
    value out = object_new(object_len(object));
    const struct pair *pairs = object_sorted(object);
    for (uint32_t i = 0; i < object_len(object); i++) {
        value key = pairs[i].key;
        if (!is_string(key)) {
            struct builder b = builder_new(0);
            json_write(&b, key, JSON_PLAIN);
            key = builder_string(&b);
        }
        object_put(out, key, pairs[i].value);
    }
    return out;
}

static void write_object(struct builder *b, value v, const struct layout *l, uint32_t depth) {
    if (!(l->form & JSON_REGO) && !has_only_string_keys(v)) v = with_string_keys(v);
    const struct pair *pairs = object_sorted(v);
    uint32_t n = object_len(v);
    builder_put(b, '{');
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) builder_put(b, ',');
        new_line(b, l, depth + 1);
        if (is_string(pairs[i].key))
            write_string(b, text_of(pairs[i].key), l->form);
        else
            write_value(b, pairs[i].key, l, depth + 1);
        builder_put(b, ':');
        if (l->lines) builder_put(b, ' ');
        write_value(b, pairs[i].value, l, depth + 1);
    }
    if (n > 0) new_line(b, l, depth);
    builder_put(b, '}');
}

static void write_set(struct builder *b, value v, const struct layout *l, uint32_t depth) {
    bool rego = (l->form & JSON_REGO) != 0;
    if (rego && set_len(v) == 0) {
        builder_c(b, "set()");
        return;
    }
    builder_put(b, rego ? '{' : '[');
    write_items(b, set_sorted(v), set_len(v), l, depth);
    builder_put(b, rego ? '}' : ']');
}

static void write_value(struct builder *b, value v, const struct layout *l, uint32_t depth) {
    switch ((enum value_tag)value_tag(v)) {
    case TAG_BOOLEAN: builder_c(b, v == VALUE_TRUE ? "true" : "false"); break;
    case TAG_INTEGER: builder_int(b, value_integer(v)); break;
    case TAG_NUMBER: builder_text(b, text_of(v)); break;
    case TAG_STRING: write_string(b, text_of(v), l->form); break;
    case TAG_ARRAY:
        builder_put(b, '[');
        write_items(b, array_items(v), array_len(v), l, depth);
        builder_put(b, ']');
        break;
    case TAG_OBJECT: write_object(b, v, l, depth); break;
    case TAG_SET: write_set(b, v, l, depth); break;
    case TAG_NULL:
    case TAG_UNDEFINED:
    case TAG_UNCOMPUTED: builder_c(b, "null"); break;
    }
}

static const struct layout compact[4] = {{.form = 0}, {.form = 1}, {.form = 2}, {.form = 3}};

void json_write(struct builder *b, value v, uint32_t form) {
    write_value(b, v, &compact[form & 3], 0);
}

/* On the heap: a struct whose address is taken would live on the shadow stack. */
void json_write_indented(struct builder *b, value v, uint32_t form, struct text prefix,
                         struct text indent) {
    struct layout *l = rt_alloc(sizeof *l);
    *l = (struct layout){true, form, prefix, indent};
    write_value(b, v, l, 0);
}
