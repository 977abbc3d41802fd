/* Base documents by path: what a tenant's data holds where its module answers nothing.
 * in: a path as sent, a tenant's version. out: the document's JSON in worker.input. owns: nothing. */
#include "edge/document.h"
#include <stdio.h>

enum {
    MAX_STEPS = 512,
    DEFAULT_OUTPUT_BYTES = 16 << 20, /* as the host's for results */
    OUTPUT_IN_LOOP = 128 << 10       /* printing more would hold an event loop up */
};

/* OPA's reading of integers in paths: a sign, digits, and zeros behind a point. */
static bool read_index(struct str s, int64_t *out) {
    bool negative = s.len && s.ptr[0] == '-', point = false;
    uint64_t n = 0;
    if (s.len && (negative || s.ptr[0] == '+')) s = str_from(s, 1);
    if (s.len == 0 || s.len > 19) return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9' || (point && c != '0')) return false;
        if (!point) n = n * 10 + (uint64_t)(c - '0');
    }
    if (n > INT64_MAX) return false;
    *out = negative ? -(int64_t)n : (int64_t)n;
    return true;
}

/* "+01" is the member "1". Most numbers are written so anyway. */
static void number_name(struct arena *a, struct document_key *k) {
    char first = *k->name.ptr;
    bool plain = first >= '1' && first <= '9' && !memchr(k->name.ptr, '.', k->name.len);
    size_t len = 0;
    char *text = plain ? NULL : arena_printf(a, &len, "%lld", (long long)k->index);
    if (text) k->name = (struct str){text, len};
}

bool document_step(struct arena *a, struct str *path, struct document_key *out) {
    while (path->len && *path->ptr == '/') *path = str_from(*path, 1);
    if (path->len == 0) return false;
    const char *slash = memchr(path->ptr, '/', path->len);
    struct str step = slash ? str_head(*path, (size_t)(slash - path->ptr)) : *path;
    *path = str_from(*path, step.len);
    out->name = step;
    if (memchr(step.ptr, '%', step.len)) {
        char *decoded = arena_alloc(a, step.len);
        long n = decoded ? http_percent_decode(step, false, decoded) : -1;
        if (n >= 0) out->name = (struct str){decoded, (size_t)n};
    }
    out->is_index = read_index(out->name, &out->index);
    if (out->is_index) number_name(a, out);
    return true;
}

static enum err print(struct worker *w, const struct tenant_entry *t, struct str path, size_t most) {
    struct document_key steps[MAX_STEPS];
    uint32_t n = 0;
    while (n < MAX_STEPS && document_step(&w->arena, &path, &steps[n])) n++;
    if (n == MAX_STEPS) return ERR_NOT_FOUND;
    size_t max = w->input.max;
    buf_clear(&w->input);
    if (most < max) w->input.max = most;
    enum err e = policy_document(t->policy, steps, n, &w->arena, &w->input);
    w->input.max = max;
    return e;
}

void document_find(struct worker *w, const struct tenant_entry *t, struct str path, struct decision *d) {
    size_t limit = t->limits.output_bytes ? t->limits.output_bytes : DEFAULT_OUTPUT_BYTES;
    bool cut = w->slice_us && limit > OUTPUT_IN_LOOP;
    enum err e = print(w, t, path, cut ? OUTPUT_IN_LOOP : limit);
    if (e == ERR_NOT_FOUND) return;
    if (e == ERR_LIMIT && cut) {
        d->kind = DECISION_LATER;
        return;
    }
    if (!e) {
        d->kind = DECISION_VALUE;
        d->json = buf_view(&w->input);
        return;
    }
    d->kind = DECISION_FAILED;
    d->err = e;
    if (e == ERR_LIMIT) d->limit = LIMIT_output_bytes;
    snprintf(d->result.message, sizeof d->result.message, "%s",
             e == ERR_LIMIT ? "the document is larger than the limit of an answer" : err_meaning(e));
}
