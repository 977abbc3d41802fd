/* What the activator knows of a tenant, for administrators and neighbours.
 * in: a tenant's id. out: members of a JSON object; the bundle that serves. owns: an arena while it looks. */
#include "base/clock.h"
#include "edge/activator_private.h"

enum { STATUS_BYTES = 4 << 20 };

static void put_member(struct buf *out, const char *name, struct str text) {
    if (!text.len) return;
    buf_printf(out, "%s\"%s\":", out->len && out->ptr[out->len - 1] != '{' ? "," : "", name);
    json_print_string(text, out);
}

static void put_time(struct buf *out, const char *name, int64_t ns) {
    char text[CLOCK_UTC_BYTES];
    clock_utc(ns, text);
    put_member(out, name, str_of(text));
}

static void put_number(struct buf *out, const char *name, uint64_t n) {
    buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)n);
}

static void put_trial(const struct test *x, struct buf *out) {
    struct trial_counts counts = trial_counts(x->trial);
    uint64_t now = clock_ns();
    bool shadow = trial_kind(x->trial) == TRIAL_SHADOW;
    buf_printf(out, ",\"trial\":{\"kind\":\"%s\"", shadow ? "shadow" : "watch");
    if (shadow && x->next) put_member(out, "version", str_of(x->next->version));
    put_number(out, "seconds_left", x->until_ns > now ? (x->until_ns - now) / 1000000000u : 0);
    put_number(out, "requests", counts.total);
    put_number(out, "denied", counts.denied);
    put_number(out, "failed", counts.failed);
    if (shadow) {
        put_number(out, "compared", x->compared);
        put_number(out, "differences", x->differences);
        put_number(out, "left_out", x->left_out + counts.left_out);
    }
    buf_byte(out, '}');
}

static void put_version(struct buf *out, const struct stored *v, bool active, bool pinned) {
    buf_byte(out, '{');
    put_member(out, "version", v->version);
    put_member(out, "sha256", v->sha256);
    put_member(out, "from", v->from);
    if (v->serial) put_number(out, "serial", v->serial);
    put_time(out, "stored", v->stored_ns);
    if (active) buf_cstr(out, ",\"active\":true");
    if (pinned) buf_cstr(out, ",\"pinned\":true");
    buf_byte(out, '}');
}

static struct stored view_of(const struct kept *k) {
    return (struct stored){
        .version = str_of(k->version), .from = str_of(k->from), .sha256 = str_of(k->sha256), .serial = k->serial};
}

/* What a rollback or pin can go to: what is on disk, or else in memory. */
static void put_kept(const struct activator *a, const struct known *t, struct buf *out) {
    struct arena arena;
    struct store_tenant s = {0};
    uint32_t n = 0;
    arena_init(&arena, STATUS_BYTES);
    buf_cstr(out, ",\"kept\":[");
    if (a->options.store && store_tenant(a->options.store, &arena, str_of(t->id), &s) == OK)
        for (uint32_t i = 0; i < s.n; i++) {
            if (n++) buf_byte(out, ',');
            bool active = t->now && str_is(s.versions[i].version, t->now->version);
            put_version(out, &s.versions[i], active, (int32_t)i == s.pinned);
        }
    const struct kept *in_memory[] = {t->now, t->before, t->waiting};
    for (size_t i = 0; !a->options.store && i < sizeof in_memory / sizeof *in_memory; i++) {
        const struct kept *k = in_memory[i];
        if (!k) continue;
        struct stored v = view_of(k);
        if (n++) buf_byte(out, ',');
        put_version(out, &v, i == 0, t->pinned[0] && str_is(v.version, t->pinned));
    }
    buf_byte(out, ']');
    arena_deinit(&arena);
}

bool activator_describe(struct activator *a, struct str tenant, struct buf *out) {
    struct known *t = known_find(a, tenant, false);
    if (!t) return false;
    pthread_mutex_lock(&t->lock);
    if (t->now && t->now->serial) put_number(out, "serial", t->now->serial);
    put_member(out, "pinned", str_of(t->pinned));
    if (t->waiting) put_member(out, "waiting", str_of(t->waiting->version));
    if (t->avoided[0]) put_member(out, "avoided", str_of(t->avoided_why));
    if (t->test) put_trial(t->test, out);
    put_kept(a, t, out);
    pthread_mutex_unlock(&t->lock);
    return true;
}

enum err activator_bundle(struct activator *a, struct str tenant, struct buf *out, char version[VERSION_BYTES],
                          uint64_t *serial) {
    struct known *t = known_find(a, tenant, false);
    char why[WHY_BYTES];
    if (!t) return ERR_NOT_FOUND;
    pthread_mutex_lock(&t->lock);
    enum err e = !t->now ? ERR_NOT_FOUND : OK;
    if (!e) {
        text_put(version, VERSION_BYTES, str_of(t->now->version));
        *serial = t->now->serial;
        e = a->options.store ? store_read(a->options.store, tenant, str_of(version), out, why, sizeof why)
                             : ERR_UNSUPPORTED;
    }
    pthread_mutex_unlock(&t->lock);
    return e;
}
