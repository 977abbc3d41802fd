/* Which tenants have series of their own, and what all others are together.
 *
 * A tenant's counts are split once: what happened while it had a name is its series', the rest is that of "other". Both
 * parts only grow, so that a name which changes hands turns no counter back (decision 0021).
 *
 * in:   all tenants with their counters, how many may have a name.
 * out:  Prometheus text.
 * owns: the sum of the others. */
#include "base/clock.h"
#include "edge/metrics.h"
#include "edge/metrics_text.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    COUNTERS = sizeof(struct tenant_metrics) / sizeof(_Atomic uint64_t),
    QUIET_MS = 3600 * 1000, /* after so long a name goes to whoever needs it */
    FIRST_ROWS = 64
};

struct metrics_names {
    pthread_mutex_t lock; /* one scrape at a time */
    struct tenant_metrics others;
    bool has_others;
    /* Of the scrape under way: */
    struct metrics_row *rows, *shown;
    uint32_t n, cap, n_named;
    uint64_t others_memory_bytes;
};

enum err metrics_names_new(struct metrics_names **out) {
    struct metrics_names *n = calloc(1, sizeof *n);
    if (!n) return ERR_MEMORY;
    pthread_mutex_init(&n->lock, NULL);
    *out = n;
    return OK;
}

void metrics_names_free(struct metrics_names *n) {
    if (!n) return;
    pthread_mutex_destroy(&n->lock);
    free(n->rows);
    free(n->shown);
    free(n);
}

/* ---- who is there ---- */

static bool room(struct metrics_names *n) {
    if (n->n < n->cap) return true;
    uint32_t cap = n->cap ? 2 * n->cap : FIRST_ROWS;
    struct metrics_row *rows = realloc(n->rows, cap * sizeof *rows);
    if (rows) n->rows = rows;
    struct metrics_row *shown = rows ? realloc(n->shown, cap * sizeof *shown) : NULL;
    if (!shown) return false;
    n->shown = shown;
    n->cap = cap;
    return true;
}

static void look(struct metrics_row *r, int64_t now_ms) {
    uint64_t total = metric_get(&r->metrics->total);
    if (total == r->naming->asked) return;
    r->naming->asked = total;
    r->naming->asked_ms = now_ms;
}

static bool collect(struct metrics_names *n, const struct metrics_source *s, int64_t now_ms) {
    for (n->n = n->n_named = 0; room(n) && s->at(s->ctx, n->n, &n->rows[n->n]); n->n++) {
        struct metrics_row *r = &n->rows[n->n];
        look(r, now_ms);
        n->n_named += r->naming->named;
    }
    return n->n < n->cap;
}

/* ---- names ---- */

static _Atomic uint64_t *counters(struct tenant_metrics *m) { return (_Atomic uint64_t *)(void *)m; }

static bool may_have_name(const struct metrics_row *r) { return !str_is(r->id, "other"); }

static void give(struct metrics_names *n, struct metrics_row *r) {
    r->naming->named = true;
    n->n_named++;
}

/* From now on its counts are the others'. */
static bool take(struct metrics_names *n, struct metrics_row *r) {
    struct tenant_naming *t = r->naming;
    if (!t->moved && !(t->moved = calloc(2, sizeof *t->moved))) return false;
    const _Atomic uint64_t *now = (const _Atomic uint64_t *)(const void *)r->metrics;
    for (size_t i = 0; i < COUNTERS; i++) atomic_store(&counters(&t->moved[1])[i], metric_get(&now[i]));
    t->named = false;
    n->n_named--;
    return true;
}

/* Names first, those asked last first; then the busiest. */
static int by_claim(const void *a, const void *b) {
    const struct metrics_row *x = a, *y = b;
    if (x->naming->named != y->naming->named) return x->naming->named ? -1 : 1;
    if (x->naming->named && x->naming->asked_ms != y->naming->asked_ms)
        return x->naming->asked_ms > y->naming->asked_ms ? -1 : 1;
    if (x->naming->asked != y->naming->asked) return x->naming->asked > y->naming->asked ? -1 : 1;
    return str_cmp(x->id, y->id);
}

static bool is_quiet(const struct metrics_row *r, int64_t now_ms) {
    return !r->naming->asked_ms || now_ms - r->naming->asked_ms > QUIET_MS;
}

/* Rows that were sorted: those with a name, the quietest last, and then those who want one. */
static void share_out(struct metrics_names *n, uint32_t most, int64_t now_ms) {
    uint32_t first = n->n_named, last = n->n_named;
    while (last && n->n_named > most && take(n, &n->rows[last - 1])) last--;
    for (uint32_t i = first; i < n->n; i++) {
        struct metrics_row *r = &n->rows[i];
        if (is_quiet(r, now_ms)) continue;
        if (!may_have_name(r)) continue;
        if (n->n_named >= most) {
            if (!last || !is_quiet(&n->rows[last - 1], now_ms) || !take(n, &n->rows[last - 1])) return;
            last--;
        }
        give(n, r);
    }
}

static void name_all(struct metrics_names *n) {
    for (uint32_t i = 0; i < n->n; i++)
        if (!n->rows[i].naming->named && may_have_name(&n->rows[i])) give(n, &n->rows[i]);
}

/* ---- the others ---- */

/* What was counted since the last scrape is the others'. Without memory it waits for the next one. */
static void move(struct metrics_names *n, const struct metrics_row *r) {
    struct tenant_naming *t = r->naming;
    if (!t->moved && !(t->moved = calloc(2, sizeof *t->moved))) return;
    const _Atomic uint64_t *now = (const _Atomic uint64_t *)(const void *)r->metrics;
    _Atomic uint64_t *moved = counters(&t->moved[0]), *then = counters(&t->moved[1]), *others = counters(&n->others);
    for (size_t i = 0; i < COUNTERS; i++) {
        uint64_t more = metric_get(&now[i]) - metric_get(&then[i]);
        if (!more) continue;
        metric_add(&moved[i], more);
        metric_add(&then[i], more);
        metric_add(&others[i], more);
    }
    n->has_others = true;
}

static uint32_t split(struct metrics_names *n) {
    uint32_t shown = 0;
    n->others_memory_bytes = 0;
    for (uint32_t i = 0; i < n->n; i++) {
        struct metrics_row *r = &n->rows[i];
        if (r->naming->named) {
            n->shown[shown++] = *r;
            continue;
        }
        move(n, r);
        n->others_memory_bytes += r->memory_bytes;
    }
    return shown;
}

/* Whoever gets a name has had none until now: what it counted meanwhile is the others'. Hence before names are given,
 * but for those that were never seen without one. */
static void settle(struct metrics_names *n) {
    for (uint32_t i = 0; i < n->n; i++)
        if (!n->rows[i].naming->named && n->rows[i].naming->moved) move(n, &n->rows[i]);
}

enum err metrics_print(struct metrics_names *n, const struct metrics_source *source, uint32_t most, int64_t now_ms,
                       struct buf *out) {
    pthread_mutex_lock(&n->lock);
    bool ok = collect(n, source, now_ms);
    if (ok) {
        settle(n);
        if (n->n <= most) {
            name_all(n);
        } else {
            qsort(n->rows, n->n, sizeof *n->rows, by_claim);
            share_out(n, most, now_ms);
        }
        struct metrics_view v = {.rows = n->shown, .n = split(n)};
        v.others = n->has_others ? &n->others : NULL;
        v.others_memory_bytes = n->others_memory_bytes;
        metrics_view_print(&v, out);
    }
    pthread_mutex_unlock(&n->lock);
    return ok ? OK : ERR_MEMORY;
}
