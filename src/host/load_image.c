/* Lays out what lies at the start of each instance's memory: the module's segments and the tenant's
 * data.
 *
 * in:   segments and the header inside them (hostile), data as JSON.
 * out:  policy.segments, policy.data, policy.heap_base; entrypoints and builtins from the header.
 * owns: nothing. */
#include "host/policy.h"

/* [lo, hi) covers all segments. */
static bool segment_range(const struct module_info *info, uint64_t *lo, uint64_t *hi) {
    *lo = UINT32_MAX, *hi = 0;
    for (uint32_t i = 0; i < info->segments.n; i++) {
        const struct module_segment *s = &info->segments.items[i];
        uint64_t end = (uint64_t)s->address + s->bytes.len;
        if (s->address < *lo) *lo = s->address;
        if (end > *hi) *hi = end;
    }
    *lo &= ~(uint64_t)7;
    return *lo <= HEADER_BASE && *hi >= HEADER_BASE + sizeof(struct module_header);
}

static enum err place_segments(struct policy *p, const struct module_info *info, uint64_t lo,
                               uint64_t hi) {
    image_init(&p->segments, (uint32_t)lo, (size_t)(hi - lo));
    if (image_reserve(&p->segments, (uint32_t)(hi - lo)) == 0 && p->segments.bytes.err)
        return p->segments.bytes.err;
    for (uint32_t i = 0; i < info->segments.n; i++) {
        const struct module_segment *s = &info->segments.items[i];
        if (s->bytes.len == 0) continue;
        memcpy(p->segments.bytes.ptr + (s->address - lo), s->bytes.ptr, s->bytes.len);
    }
    return OK;
}

static struct module_header *header_of(struct policy *p) {
    return (struct module_header *)(void *)(p->segments.bytes.ptr +
                                            (HEADER_BASE - p->segments.base));
}

/* Magic, version, and that slots and constants lie inside the image. */
static bool header_valid(const struct module_header *h, uint64_t hi, uint64_t max) {
    uint64_t slots = (uint64_t)h->n_const + h->n_input + h->n_data + h->n_memo;
    return h->magic == MODULE_MAGIC && h->layout_version == LAYOUT_VERSION && h->image_end >= hi &&
           h->image_end % 8 == 0 && h->image_end <= max && SLOT_BASE + 8 * slots <= h->image_end;
}

/* The memory as it will be: segments up to image_end, zeros between and after them. */
static struct str text_at(const struct policy *p, value v) {
    uint64_t at = value_pointer(v), len = value_length(v), lo = p->segments.base;
    if (value_tag(v) != TAG_STRING || at < lo || at + len > lo + p->segments.bytes.len)
        return (struct str){NULL, 0};
    return (struct str){(const char *)p->segments.bytes.ptr + (at - lo), (size_t)len};
}

/* Slots follow one another: constants, input, data, memos. */
static enum err bind_data(struct policy *p, value root) {
    struct module_header *h = header_of(p);
    uint64_t offset = SLOT_BASE - p->segments.base + 8 * ((uint64_t)h->n_const + h->n_input);
    if (h->data_tree == 0 || h->n_data == 0) return OK;
    return image_bind(&p->segments, &p->data, h->data_tree, root,
                      (value *)(void *)(p->segments.bytes.ptr + offset), h->n_data);
}

/* Constants that data repeats (keys, above all) are shared: the code then finds them by their word. */
static void know_constants(struct policy *p) {
    const struct module_header *h = header_of(p);
    const uint8_t *slots = p->segments.bytes.ptr + (SLOT_BASE - p->segments.base);
    image_share_strings(&p->data, &p->segments);
    for (uint32_t i = 0; i < h->n_const; i++) {
        value v;
        memcpy(&v, slots + 8 * (size_t)i, sizeof v);
        image_know(&p->data, v);
    }
}

static enum err build_data(struct policy *p, const struct json *data, uint64_t max) {
    struct module_header *h = header_of(p);
    image_init(&p->data, h->image_end, (size_t)(max - h->image_end));
    know_constants(p);
    struct json empty = {.kind = JSON_OBJECT};
    value root = image_json(&p->data, data ? data : &empty);
    p->heap_base = image_end(&p->data);
    if (p->data.bytes.err) return p->data.bytes.err;
    h->data_root = root;
    h->heap_base = p->heap_base;
    return bind_data(p, root);
}

enum err policy_build_image(struct policy *p, const struct module_info *info,
                            const struct json *data, struct load_message *message) {
    uint64_t lo, hi, max = p->engine->options.max_memory_bytes;
    enum err err;
    load_say(message, "the module has no valid Regent header");
    if (!segment_range(info, &lo, &hi)) return ERR_ABI;
    if (hi > max) return ERR_LIMIT;
    /* The header tells where the image ends; slots without constants may lie past the last segment.
     */
    if ((err = place_segments(p, info, lo, hi)) != OK) return err;
    const struct module_header *h = header_of(p);
    if (!header_valid(h, hi, max)) return ERR_ABI;
    if (h->image_end > hi) {
        uint32_t more = (uint32_t)(h->image_end - hi);
        p->segments.bytes.max = h->image_end - lo;
        uint8_t *tail = buf_reserve(&p->segments.bytes, more);
        if (!tail) return p->segments.bytes.err;
        memset(tail, 0, more);
        buf_commit(&p->segments.bytes, more);
    }
    if ((err = build_data(p, data, max)) != OK) {
        load_say(message, "data does not fit the module: %s", err_word(err));
        return err == ERR_MEMORY ? err : ERR_LIMIT;
    }
    h = header_of(p);
    p->stats.image_bytes = p->heap_base - lo;
    if ((err = policy_set_entries(p, text_at(p, h->entrypoints), message)) != OK) return err;
    struct str builtins = text_at(p, h->builtins);
    return builtins.len ? policy_set_builtins(p, builtins, message) : OK;
}
