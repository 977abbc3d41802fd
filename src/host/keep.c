/* Copies of what a policy was loaded from, for the worker process that evaluates it.
 *
 * in:   the source of a policy.
 * out:  views into the policy's arena.
 * owns: nothing. */
#include "host/policy.h"

static bool copy(struct arena *a, struct str from, struct str *to) {
    *to = (struct str){arena_strndup(a, from.ptr ? from.ptr : "", from.len), from.len};
    return to->ptr != NULL;
}

enum err policy_keep(struct policy *p, const struct policy_source *source) {
    struct buf text;
    buf_init(&text, (size_t)1 << 30);
    if (source->data) json_print(source->data, false, 0, &text);
    bool ok = !text.err && copy(&p->arena, source->full, &p->kept.full) &&
              copy(&p->arena, source->thin, &p->kept.thin) &&
              copy(&p->arena, buf_view(&text), &p->kept.data);
    buf_deinit(&text);
    p->is_kept = ok;
    return ok ? OK : ERR_MEMORY;
}

bool policy_kept(const struct policy *p, struct kept_source *out) {
    if (p->is_kept) *out = p->kept;
    return p->is_kept;
}

struct str policy_name(const struct policy *p) {
    return p->name;
}
uint64_t policy_number(const struct policy *p) { return p->id; }
