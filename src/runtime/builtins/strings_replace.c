/* replace and strings.replace_n, with the rules of Go's strings.Replacer.
 * in:  a string, old and new strings
 * out: a string
 * owns: nothing */
#include "runtime/builtins/builtin.h"

/* Old strings in order of priority, and where those with a first byte begin: sorted bytewise, they
 * lie together. An empty one comes first. */
struct replacer {
    const struct pair *pairs;
    uint32_t n;
    uint32_t first[257];
};

static void index_pairs(struct replacer *r) {
    uint32_t i = r->n > 0 && value_length(r->pairs[0].key) == 0;
    for (uint32_t byte = 0; byte < 256; byte++) {
        r->first[byte] = i;
        while (i < r->n && text_of(r->pairs[i].key).ptr[0] == byte) i++;
    }
    r->first[256] = i;
}

/* The pair that replaces what stands at t.ptr[i], or NULL. */
static const struct pair *match(const struct replacer *r, struct text t, uint32_t i,
                                bool no_empty) {
    if (!no_empty && r->n > 0 && value_length(r->pairs[0].key) == 0) return &r->pairs[0];
    if (i == t.len) return NULL;
    struct text rest = text_slice(t, i, t.len);
    for (uint32_t k = r->first[rest.ptr[0]], end = r->first[rest.ptr[0] + 1]; k < end; k++)
        if (text_starts_with(rest, text_of(r->pairs[k].key))) return &r->pairs[k];
    return NULL;
}

/* Bytes, not code points: an empty old string matches before every byte and at the end, once each.
 */
static value replace_all(const struct replacer *r, value a) {
    struct text t = text_of(a);
    struct builder b = builder_new(t.len);
    uint32_t from = 0;
    bool was_empty = false, changed = false;
    for (uint32_t i = 0; i <= t.len;) {
        const struct pair *p = match(r, t, i, was_empty);
        was_empty = p && value_length(p->key) == 0;
        if (p) {
            builder_text(&b, text_slice(t, from, i));
            builder_text(&b, text_of(p->value));
            from = i + value_length(p->key);
            i = from;
            changed = true;
        } else {
            i++;
        }
    }
    if (!changed) return a;
    builder_text(&b, text_slice(t, from, t.len));
    return builder_string(&b);
}

RT_EXPORT value bi_replace(value a, value old, value new) {
    NEED_STRING("replace", 1, a);
    NEED_STRING("replace", 2, old);
    NEED_STRING("replace", 3, new);
    struct text t = text_of(a), o = text_of(old);
    if (o.len == 0) {
        struct pair p = {old, new};
        struct replacer r = {.pairs = &p, .n = 1};
        return replace_all(&r, a);
    }
    uint32_t from = 0;
    int64_t found = text_find(t, o, 0);
    if (found < 0) return a;
    struct builder b = builder_new(t.len);
    for (; found >= 0; found = text_find(t, o, from)) {
        builder_text(&b, text_slice(t, from, (uint32_t)found));
        builder_text(&b, text_of(new));
        from = (uint32_t)found + o.len;
    }
    builder_text(&b, text_slice(t, from, t.len));
    return builder_string(&b);
}

RT_EXPORT value bi_strings_replace_n(value patterns, value a) {
    static const char name[] = "strings.replace_n";
    NEED_OBJECT(name, 1, patterns);
    NEED_STRING(name, 2, a);
    struct replacer r = {.pairs = object_sorted(patterns), .n = object_len(patterns)};
    for (uint32_t i = 0; i < r.n; i++) {
        if (!is_string(r.pairs[i].key))
            return bi_error(name, "operand 1 non-string key found in pattern object");
        if (!is_string(r.pairs[i].value))
            return bi_error(name, "operand 1 non-string value found in pattern object");
    }
    index_pairs(&r);
    return replace_all(&r, a);
}
