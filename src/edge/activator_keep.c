/* Kept versions: into the store and back; rollback, pin, restart.
 * in: the store, operators' wishes. out: versions that answer, log lines. owns: nothing beyond a
 * call. */
#include "base/clock.h"
#include "edge/activator_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { RECORDS_BYTES = 4 << 20, STORED_BYTES = 1 << 30, MAX_LOADERS = 64 };

/* ---- into the store ---- */

static void tell_failure(struct activator *a, const struct known *t, const char *version,
                         enum err e, const char *why) {
    count_one(&a->store_failures);
    log_line(a->options.log, LOG_ERROR, "version not stored", "tenant_id", t->id, "version",
             version, "reason", why[0] ? why : err_meaning(e), NULL);
}

void known_keep(struct activator *a, struct known *t, const struct kept *k, struct str bytes,
                bool active) {
    char why[WHY_BYTES] = "";
    struct stored v = {.version = str_of(k->version),
                       .from = str_of(k->from),
                       .sha256 = str_of(k->sha256),
                       .serial = k->serial,
                       .stored_ns = (int64_t)clock_of(CLOCK_REALTIME)};
    if (!a->options.store) return;
    enum err e = store_put(a->options.store, str_of(t->id), &v, bytes, why, sizeof why);
    if (!e && active) e = store_activate(a->options.store, str_of(t->id), v.version);
    if (e) tell_failure(a, t, k->version, e, why);
}

void known_activate(struct activator *a, struct known *t, const struct kept *k) {
    if (!a->options.store) return;
    enum err e = store_activate(a->options.store, str_of(t->id), str_of(k->version));
    if (e) tell_failure(a, t, k->version, e, "");
    kept_free(t->before); /* from here on the store has it */
    t->before = NULL;
}

void known_look(struct activator *a, struct known *t) {
    struct arena arena;
    struct store_tenant s;
    if (t->looked || !a->options.store) return;
    t->looked = true;
    arena_init(&arena, RECORDS_BYTES);
    if (store_tenant(a->options.store, &arena, str_of(t->id), &s) == OK) {
        t->highest = s.highest_serial;
        if (s.pinned >= 0) {
            text_put(t->pinned, sizeof t->pinned, s.versions[s.pinned].version);
            atomic_fetch_add(&a->pinned, 1);
        }
    }
    arena_deinit(&arena);
}

/* ---- and back ---- */

static enum err work_stored(struct activator *a, struct work *w, struct kept **out) {
    enum err e = work_name(w);
    if (!e) e = work_read(w);
    if (!e) e = work_load(a, w);
    if (e) return e;
    *out = w->kept;
    w->kept = NULL;
    return OK;
}

static enum err load_stored(struct activator *a, const struct known *t, const struct stored *v,
                            struct kept **out, char why[WHY_BYTES]) {
    struct buf bytes;
    struct work w;
    char from[FROM_BYTES];
    why[0] = 0;
    buf_init(&bytes, STORED_BYTES);
    text_put(from, sizeof from, v->from);
    enum err e = store_read(a->options.store, str_of(t->id), v->version, &bytes, why, WHY_BYTES);
    struct candidate c = {.tenant = str_of(t->id),
                          .bundle = buf_view(&bytes),
                          .version = v->version,
                          .serial = v->serial,
                          .from = from,
                          .from_store = true};
    if (!e) {
        e = work_begin(&w, &c);
        w.sha256 = v->sha256;
        if (!e) e = work_stored(a, &w, out);
        if (e) text_put(why, WHY_BYTES, str_of(w.why[0] ? w.why : err_meaning(e)));
        work_end(&w);
    }
    buf_deinit(&bytes);
    return e;
}

/* The kept version of that name (empty: the one before the active one), loaded. */
static enum err load_named(struct activator *a, const struct known *t, struct str version,
                           struct kept **out, char why[WHY_BYTES]) {
    struct arena arena;
    struct store_tenant s = {0};
    const struct stored *found = NULL;
    if (!a->options.store) return ERR_NOT_FOUND;
    arena_init(&arena, RECORDS_BYTES);
    enum err e = store_tenant(a->options.store, &arena, str_of(t->id), &s);
    bool passed = false;
    for (uint32_t i = 0; !e && !found && i < s.n; i++) {
        bool is_now = t->now && str_is(s.versions[i].version, t->now->version);
        if (version.len ? str_eq(s.versions[i].version, version) : passed) found = &s.versions[i];
        passed = passed || is_now;
    }
    if (!e) e = found ? load_stored(a, t, found, out, why) : ERR_NOT_FOUND;
    arena_deinit(&arena);
    return e;
}

static bool has_name(const struct kept *k, struct str version) {
    return k && str_is(version, k->version);
}

/* Takes the version out of where it is held, or loads it. */
static enum err take_kept(struct activator *a, struct known *t, struct str version,
                          struct kept **out, char why[WHY_BYTES]) {
    struct kept **held = NULL;
    if (version.len ? has_name(t->before, version) : t->before && !t->before->taken_back)
        held = &t->before;
    if (version.len && has_name(t->waiting, version)) held = &t->waiting;
    why[0] = 0;
    if (!held) return load_named(a, t, version, out, why);
    *out = *held;
    *held = NULL;
    return OK;
}

/* ---- rollback and pin ---- */

static void not_kept(struct activation *out, struct str version, enum err e, const char *why) {
    char text[WHY_BYTES];
    if (version.len)
        snprintf(text, sizeof text, "version %.*s is not kept here%s%s",
                 STR_FMT(str_head(version, VERSION_BYTES)), why[0] ? ": " : "", why);
    else
        snprintf(text, sizeof text, "no version before the active one is kept here%s%s",
                 why[0] ? ": " : "", why);
    activation_refuse(out, e, text);
}

static void put_active(const struct known *t, struct activation *out) {
    if (!t->now) return;
    text_put(out->version, sizeof out->version, str_of(t->now->version));
    text_put(out->sha256, sizeof out->sha256, str_of(t->now->sha256));
    text_put(out->active, sizeof out->active, str_of(t->now->version));
}

/* aside: what answered waits for the tenant to be unpinned. */
static bool go_back(struct activator *a, struct known *t, struct str version, bool aside,
                    struct activation *out) {
    struct kept *k = NULL;
    char why[WHY_BYTES];
    enum err e = take_kept(a, t, version, &k, why);
    if (e) {
        not_kept(out, version, e, why);
        return false;
    }
    if ((e = known_go_live(a, t, k, false))) {
        kept_free(k);
        activation_refuse(out, e, "");
        return false;
    }
    struct outcome o = {.swapped = true};
    k->taken_back = false;
    if (aside && !t->waiting) {
        t->waiting = t->before;
        t->before = NULL;
    }
    known_activate(a, t, k);
    known_report(a, t, &o);
    out->kind = ACTIVATION_ACTIVE;
    return true;
}

static void roll_back(struct activator *a, struct known *t, struct str version, const char *by,
                      struct activation *out) {
    char why[WHY_BYTES], left[VERSION_BYTES] = "";
    known_look(a, t);
    if (version.len && has_name(t->now, version)) {
        out->kind = ACTIVATION_UNCHANGED;
        return;
    }
    if (t->pinned[0]) {
        snprintf(why, sizeof why, "the tenant is pinned to version %s: unpin it first", t->pinned);
        activation_refuse(out, ERR_EXISTS, why);
        return;
    }
    if (t->now) text_put(left, sizeof left, str_of(t->now->version));
    snprintf(why, sizeof why, "version %s was taken back by %s", left, by);
    char content[SHA256_HEX_BYTES] = "";
    if (t->now) text_put(content, sizeof content, str_of(t->now->content));
    if (t->now) t->now->taken_back = true;
    if (!go_back(a, t, version, false, out)) {
        if (t->now) t->now->taken_back = false;
        return;
    }
    text_put(t->avoided, sizeof t->avoided, str_of(content));
    text_put(t->avoided_why, sizeof t->avoided_why, str_of(why));
    t->avoided_by_operator = true;
    count_one(&a->taken_back_by_operator);
    log_line(a->options.log, LOG_INFO, "version rolled back", "tenant_id", t->id, "version", left,
             "serving", t->now->version, "by", by, NULL);
}

static void unpin(struct activator *a, struct known *t, const char *by, struct activation *out) {
    struct kept *k = t->waiting;
    enum err e = a->options.store ? store_pin(a->options.store, str_of(t->id), STR("")) : OK;
    if (e) {
        activation_refuse(out, e, "");
        return;
    }
    out->kind = ACTIVATION_UNCHANGED;
    if (!t->pinned[0]) return;
    log_line(a->options.log, LOG_INFO, "version unpinned", "tenant_id", t->id, "version", t->pinned,
             "by", by, NULL);
    t->pinned[0] = 0;
    atomic_fetch_sub(&a->pinned, 1);
    if (!k) return;
    t->waiting = NULL;
    if ((e = known_go_live(a, t, k, true))) {
        t->waiting = k;
        activation_refuse(out, e, "");
        return;
    }
    struct outcome o = {.from = k->from, .swapped = true};
    if (!t->test) known_activate(a, t, k);
    known_report(a, t, &o);
    log_line(a->options.log, LOG_INFO, "bundle activated", "tenant_id", t->id, "revision",
             k->revision, "version", k->version, "from", k->from, NULL);
    out->kind = ACTIVATION_ACTIVE;
}

static void pin(struct activator *a, struct known *t, struct str version, const char *by,
                struct activation *out) {
    char text[VERSION_BYTES];
    known_look(a, t);
    out->kind = ACTIVATION_UNCHANGED;
    if (!has_name(t->now, version) && !go_back(a, t, version, true, out)) return;
    enum err e = a->options.store ? store_pin(a->options.store, str_of(t->id), version) : OK;
    text_put(text, sizeof text, version);
    if (e) tell_failure(a, t, text, e, "the pin holds until the node ends");
    if (!t->pinned[0]) atomic_fetch_add(&a->pinned, 1);
    text_put(t->pinned, sizeof t->pinned, version);
    log_line(a->options.log, LOG_INFO, "version pinned", "tenant_id", t->id, "version", t->pinned,
             "by", by, NULL);
}

/* The tenant, locked; NULL after out says that there is none. */
static struct known *tenant_of(struct activator *a, struct str tenant, struct activation *out) {
    *out = (struct activation){.kind = ACTIVATION_REFUSED};
    struct known *t = known_find(a, tenant, false);
    if (!t) {
        activation_refuse(out, ERR_NOT_FOUND, "unknown tenant");
        return NULL;
    }
    pthread_mutex_lock(&t->lock);
    return t;
}

void activator_rollback(struct activator *a, struct str tenant, struct str version, const char *by,
                        struct activation *out) {
    struct known *t = tenant_of(a, tenant, out);
    if (!t) return;
    roll_back(a, t, version, by, out);
    put_active(t, out);
    pthread_mutex_unlock(&t->lock);
}

void activator_pin(struct activator *a, struct str tenant, struct str version, const char *by,
                   struct activation *out) {
    struct known *t = tenant_of(a, tenant, out);
    if (!t) return;
    if (version.len)
        pin(a, t, version, by, out);
    else
        unpin(a, t, by, out);
    put_active(t, out);
    pthread_mutex_unlock(&t->lock);
}

/* ---- the active module ---- */

static enum err read_module(struct activator *a, const struct known *t, struct buf *out) {
    struct buf bytes;
    struct arena arena;
    struct bundle b;
    struct diag_list diags;
    char why[WHY_BYTES];
    buf_init(&bytes, STORED_BYTES);
    arena_init(&arena, STORED_BYTES);
    diag_list_init(&diags, &arena);
    enum err e = store_read(a->options.store, str_of(t->id), str_of(t->now->version), &bytes, why,
                            sizeof why);
    if (!e) e = bundle_read(&arena, buf_view(&bytes), &b, &diags);
    if (!e) buf_str(out, b.full.len ? b.full : b.thin);
    arena_deinit(&arena);
    buf_deinit(&bytes);
    return e ? e : out->err;
}

enum err activator_module(struct activator *a, struct str tenant, struct buf *out,
                          char sha256[SHA256_HEX_BYTES]) {
    struct known *t = known_find(a, tenant, false);
    if (!t) return ERR_NOT_FOUND;
    pthread_mutex_lock(&t->lock);
    enum err e = !t->now             ? ERR_NOT_FOUND
                 : !a->options.store ? ERR_UNSUPPORTED
                                     : read_module(a, t, out);
    if (!e) text_put(sha256, SHA256_HEX_BYTES, str_of(t->now->sha256));
    pthread_mutex_unlock(&t->lock);
    return e;
}

/* ---- restart ---- */

struct restoring {
    struct activator *a;
    char (*ids)[TENANT_ID_BYTES];
    uint32_t n, cap;
    _Atomic uint32_t next, loaded, refused;
};

static void note_id(void *ctx, struct str id) {
    struct restoring *r = ctx;
    if (r->n == r->cap) {
        uint32_t cap = r->cap ? 2 * r->cap : 256;
        void *p = realloc(r->ids, cap * sizeof *r->ids);
        if (!p) return; /* its source brings it */
        r->ids = p;
        r->cap = cap;
    }
    text_put(r->ids[r->n++], TENANT_ID_BYTES, id);
}

/* The pinned or active version; where its bytes are broken, the ones before it. */
static enum err restore_newest(struct activator *a, struct known *t, const struct store_tenant *s,
                               struct kept **out) {
    char why[WHY_BYTES], version[VERSION_BYTES];
    enum err e = ERR_NOT_FOUND;
    int32_t first = s->pinned >= 0 ? s->pinned : s->active;
    for (uint32_t i = first < 0 ? 0 : (uint32_t)first; i < s->n; i++) {
        if (!(e = load_stored(a, t, &s->versions[i], out, why))) return OK;
        text_put(version, sizeof version, s->versions[i].version);
        log_line(a->options.log, LOG_ERROR, "stored version refused", "tenant_id", t->id, "version",
                 version, "reason", why, NULL);
    }
    return e;
}

static enum err restore(struct activator *a, struct known *t) {
    struct arena arena;
    struct store_tenant s = {0};
    struct kept *k = NULL;
    arena_init(&arena, RECORDS_BYTES);
    known_look(a, t);
    enum err e = store_tenant(a->options.store, &arena, str_of(t->id), &s);
    if (!e) e = restore_newest(a, t, &s, &k);
    if (!e && (e = known_go_live(a, t, k, false))) kept_free(k);
    arena_deinit(&arena);
    if (e) return e;
    struct outcome o = {.from = t->now->from, .swapped = true};
    known_report(a, t, &o);
    log_line(a->options.log, LOG_DEBUG, "bundle restored", "tenant_id", t->id, "version",
             t->now->version, NULL);
    return OK;
}

static void *restore_some(void *arg) {
    struct restoring *r = arg;
    for (uint32_t i; (i = atomic_fetch_add(&r->next, 1)) < r->n;) {
        struct known *t = known_find(r->a, str_of(r->ids[i]), true);
        enum err e = t ? OK : ERR_INVALID;
        if (t) {
            pthread_mutex_lock(&t->lock);
            e = t->now ? OK : restore(r->a, t);
            pthread_mutex_unlock(&t->lock);
        }
        atomic_fetch_add(e ? &r->refused : &r->loaded, 1);
    }
    return NULL;
}

void activator_restore(struct activator *a, uint32_t *loaded, uint32_t *refused) {
    struct restoring r = {.a = a};
    pthread_t threads[MAX_LOADERS];
    char n[2][16];
    if (!a->options.store) return;
    store_each(a->options.store, note_id, &r);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t started = 0,
             wanted = cores > MAX_LOADERS ? MAX_LOADERS : (uint32_t)(cores > 1 ? cores : 1);
    if (wanted > r.n) wanted = r.n;
    while (started + 1 < wanted && pthread_create(&threads[started], NULL, restore_some, &r) == 0)
        started++;
    restore_some(&r);
    while (started) pthread_join(threads[--started], NULL);
    snprintf(n[0], 16, "%u", atomic_load(&r.loaded));
    snprintf(n[1], 16, "%u", atomic_load(&r.refused));
    if (r.n)
        log_line(a->options.log, LOG_INFO, "last good versions restored", "tenants", n[0],
                 "refused", n[1], NULL);
    if (loaded) *loaded += atomic_load(&r.loaded);
    if (refused) *refused += atomic_load(&r.refused);
    free(r.ids);
}
