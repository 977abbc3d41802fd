/* Base documents of a loaded policy, for those who ask for data and not for a decision.
 * in: a policy, a path. out: JSON. owns: nothing; the documents lie where sandboxes start from. */
#include "host/policy.h"

static value data_root(const struct policy *p) {
    const struct module_header *h =
        (const void *)(p->segments.bytes.ptr + (HEADER_BASE - p->segments.base));
    return h->data_root;
}

static enum err from_image(const struct policy *p, const struct document_key *path, uint32_t n, struct buf *out) {
    value v = data_root(p);
    for (uint32_t i = 0; i < n; i++) {
        bool there = image_member(&p->data, v, path[i].name, &v) ||
                     (path[i].is_index && image_item(&p->data, v, path[i].index, &v));
        if (!there) return ERR_NOT_FOUND;
    }
    image_print(&p->data, v, out);
    return out->err;
}

static const struct json *step(const struct json *v, const struct document_key *key) {
    if (v->kind != JSON_ARRAY) return json_get(v, key->name);
    bool inside = key->is_index && key->index >= 0 && key->index < (int64_t)v->n;
    return inside ? v->items[key->index] : NULL;
}

static enum err from_text(const struct policy *p, const struct document_key *path, uint32_t n, struct arena *scratch,
                          struct buf *out) {
    struct json *root;
    enum err e = json_parse(scratch, p->data_text, &root, NULL);
    if (e) return e == ERR_MEMORY ? e : ERR_LIMIT;
    const struct json *v = root;
    for (uint32_t i = 0; i < n; i++)
        if (!(v = step(v, &path[i]))) return ERR_NOT_FOUND;
    json_print(v, true, 0, out);
    return out->err;
}

enum err policy_document(const struct policy *p, const struct document_key *path, uint32_t n, struct arena *scratch,
                         struct buf *out) {
    return p->form == MODULE_OPA ? from_text(p, path, n, scratch, out) : from_image(p, path, n, out);
}
