/* Versions on trial: asked beside the one that answers, or watched after they took over; what is
 * found decides. in: what trials counted, their samples. out: promotions, refusals, rollbacks, log
 * lines, counts. owns: a candidate under trial, and its bytes. */
#include "base/clock.h"
#include "edge/activator_private.h"
#include <stdio.h>
#include <stdlib.h>

enum { SHOWN_DIFFERENCES = 3, SHOWN_BYTES = 512 };
#define MILLION 1000000u
static const uint64_t step_ns = 50000000; /* of comparing, for one tenant at a time */

void test_free(struct test *x) {
    if (!x) return;
    trial_release(x->trial);
    kept_free(x->next);
    buf_deinit(&x->bytes);
    free(x);
}

static struct test *test_new(enum trial_kind kind, const struct activation_rules *rules,
                             uint64_t us) {
    struct test *x = calloc(1, sizeof *x);
    if (!x || !(x->trial = trial_new(kind, rules->shadow_share))) {
        free(x);
        return NULL;
    }
    buf_init(&x->bytes, SIZE_MAX);
    x->rules = *rules;
    x->until_ns = clock_ns() + us * 1000;
    return x;
}

struct activation_rules known_rules(struct activator *a) {
    pthread_mutex_lock(&a->table);
    struct activation_rules rules = a->options.config->activation;
    pthread_mutex_unlock(&a->table);
    return rules;
}

/* ---- beginning and ending ---- */

static _Atomic uint32_t *under_way(struct activator *a, const struct test *x) {
    return trial_kind(x->trial) == TRIAL_SHADOW ? &a->shadows : &a->watches;
}

void known_put_test(struct activator *a, struct known *t, struct test *x) {
    t->test = x;
    atomic_store(&t->testing, x != NULL);
    if (x) atomic_fetch_add(under_way(a, x), 1);
}

void known_end_test(struct activator *a, struct known *t) {
    struct test *x = t->test;
    if (!x) return;
    atomic_fetch_sub(under_way(a, x), 1);
    known_put_test(a, t, NULL);
    test_free(x);
}

enum err shadow_begin(struct activator *a, struct known *t, struct work *w) {
    struct activation_rules rules = known_rules(a);
    struct test *x = test_new(TRIAL_SHADOW, &rules, rules.shadow_max_us);
    struct str bytes = {NULL, 0};
    enum err e = x ? OK : ERR_MEMORY;
    if (!e && a->options.store) e = work_bytes(w, &bytes);
    if (!e) buf_str(&x->bytes, bytes);
    if (!e) e = x->bytes.err;
    if (!e) e = known_set_trial(a, t, x->trial);
    if (e) {
        test_free(x);
        return e;
    }
    if (t->test && trial_kind(t->test->trial) == TRIAL_SHADOW) count_one(&a->shadows_replaced);
    known_end_test(a, t);
    x->next = w->kept;
    x->quiet = w->candidate->quiet;
    w->kept = NULL;
    known_put_test(a, t, x);
    log_line(a->options.log, x->quiet ? LOG_DEBUG : LOG_INFO, "shadow started", "tenant_id", t->id,
             "version", x->next->version, "beside", t->now->version, NULL);
    return OK;
}

enum err watch_begin(struct activator *a, struct known *t, struct test **out) {
    struct activation_rules rules = known_rules(a);
    const struct tenant *record = known_record(a, t);
    *out = NULL;
    if (!rules.watch_us || !t->now || !record) return OK;
    struct test *x = test_new(TRIAL_WATCH, &rules, rules.watch_us);
    if (!x) return ERR_MEMORY;
    x->total = atomic_load(&record->metrics.total) - t->total;
    x->denied = atomic_load(&record->metrics.deny) - t->denied;
    *out = x;
    return OK;
}

/* ---- shadow ---- */

static void tell_difference(struct activator *a, const struct known *t,
                            const struct trial_sample *s, const struct decision *d) {
    char path[256], before[SHOWN_BYTES], after[SHOWN_BYTES];
    text_put(path, sizeof path, s->ask.path);
    decision_show(s->kind, s->err, "", s->json, before, sizeof before);
    decision_show(d->kind, d->err, d->result.message, d->json, after, sizeof after);
    log_line(a->options.log, LOG_INFO, "shadow differs", "tenant_id", t->id, "version",
             t->test->next->version, "path", path, "decision_id", s->id, "answered", before,
             "shadow", after, NULL);
}

static bool same(struct tester *tester, const struct trial_sample *s, const struct decision *d) {
    if (s->kind == DECISION_VALUE) return decision_equals(tester, d, s->json);
    return d->kind == s->kind && (s->kind != DECISION_FAILED || d->err == s->err);
}

static void compare(struct activator *a, struct known *t, const struct trial_sample *s) {
    struct test *x = t->test;
    struct decision d;
    pthread_mutex_lock(&a->table);
    struct tenant_limits limits =
        edge_config_limits(a->options.config, str_of(t->id), x->next->own);
    pthread_mutex_unlock(&a->table);
    tester_ask(a->tester, x->next->policy, &limits, &s->ask, &d);
    bool equal = same(a->tester, s, &d);
    count_one(equal ? &a->shadow_same : &a->shadow_different);
    x->compared++;
    if (equal) return;
    if (x->differences++ < SHOWN_DIFFERENCES) tell_difference(a, t, s, &d);
}

static void compare_all(struct activator *a, struct known *t) {
    struct test *x = t->test;
    struct trial_sample s;
    uint64_t end = clock_ns() + step_ns;
    if (!a->tester && tester_new(a->options.engine, &a->tester)) return;
    while (x->compared < x->rules.shadow_requests && clock_ns() < end && trial_take(x->trial, &s)) {
        compare(a, t, &s);
        trial_give(x->trial, &s);
    }
    uint64_t left_out = trial_counts(x->trial).left_out;
    atomic_fetch_add_explicit(&a->shadow_left_out, left_out - x->left_out, memory_order_relaxed);
    x->left_out = left_out;
}

static void shadow_refuse(struct activator *a, struct known *t, const char *why) {
    struct kept *k = t->test->next;
    struct outcome o = {.from = k->from, .why = why, .err = ERR_INVALID, .answered = true};
    if (known_set_trial(a, t, NULL)) return; /* no memory: it is tried again with the next step */
    log_line(a->options.log, LOG_ERROR, "bundle refused", "tenant_id", t->id, "reason", why, "serving",
             "the version before", "version", t->now->version, NULL);
    count_one(&a->shadows_refused);
    count_one(&a->events[EVENT_REFUSED]);
    known_avoid(t, k, why);
    known_report(a, t, &o);
    known_end_test(a, t); /* with the candidate */
}

static void shadow_pass(struct activator *a, struct known *t) {
    struct test *x = t->test;
    struct kept *k = x->next;
    struct buf bytes = x->bytes;
    bool quiet = x->quiet;
    char compared[24], differences[24];
    snprintf(compared, sizeof compared, "%llu", (unsigned long long)x->compared);
    snprintf(differences, sizeof differences, "%llu", (unsigned long long)x->differences);
    x->next = NULL; /* going live ends the trial */
    buf_init(&x->bytes, 0);
    if (known_go_live(a, t, k, true)) {
        x->next = k;
        x->bytes = bytes;
        return; /* no memory: it is tried again with the next step */
    }
    struct outcome o = {.from = k->from, .answered = true, .swapped = true};
    count_one(&a->shadows_passed);
    count_one(&a->events[EVENT_ACTIVE]);
    log_line(a->options.log, quiet ? LOG_DEBUG : LOG_INFO, "bundle activated", "tenant_id", t->id,
             "revision", k->revision, "version", k->version, "from", k->from, "compared", compared,
             "different", differences, NULL);
    known_keep(a, t, k, buf_view(&bytes), !t->test);
    known_report(a, t, &o);
    buf_deinit(&bytes);
}

static void shadow_step(struct activator *a, struct known *t) {
    struct test *x = t->test;
    char why[WHY_BYTES];
    compare_all(a, t);
    uint64_t wanted = x->rules.shadow_requests, most = x->rules.shadow_max_differences;
    bool due = x->compared >= wanted || clock_ns() >= x->until_ns;
    uint64_t of = due ? x->compared : wanted; /* too many before the end are too many at the end */
    if (x->differences * MILLION > most * of) {
        snprintf(why, sizeof why,
                 "shadow: version %s decided %llu of %llu live requests otherwise than version %s",
                 x->next->version, (unsigned long long)x->differences,
                 (unsigned long long)x->compared, t->now->version);
        shadow_refuse(a, t, why);
    } else if (due) {
        shadow_pass(a, t);
    }
}

/* ---- watch ---- */

static bool too_many_errors(const struct test *x, struct trial_counts n, const char *version,
                            char *why) {
    if (n.total < x->rules.watch_min_requests ||
        n.failed * MILLION <= (uint64_t)x->rules.watch_max_errors * n.total)
        return false;
    snprintf(why, WHY_BYTES, "version %s was taken back: %llu of its first %llu decisions failed",
             version, (unsigned long long)n.failed, (unsigned long long)n.total);
    return true;
}

/* Compared with what the version before denied, if it was asked often enough. */
static bool too_many_denials(const struct test *x, struct trial_counts n, const char *version,
                             char *why) {
    uint32_t least = x->rules.watch_min_requests;
    if (n.total < least || x->total < least || !x->total) return false;
    double share = (double)n.denied / (double)n.total,
           before = (double)x->denied / (double)x->total;
    if (share <= before + x->rules.watch_max_denials / (double)MILLION) return false;
    snprintf(
        why, WHY_BYTES,
        "version %s was taken back: it denied %.1f %% of its first %llu decisions, the version "
        "before %.1f %%",
        version, share * 100, (unsigned long long)n.total, before * 100);
    return true;
}

static void take_back(struct activator *a, struct known *t, const char *why) {
    struct kept *back = t->before;
    struct outcome o = {.why = why, .err = ERR_INVALID, .swapped = true};
    char bad[VERSION_BYTES];
    text_put(bad, sizeof bad, str_of(t->now->version));
    t->before = NULL;
    if (known_go_live(a, t, back, false)) {
        t->before = back; /* no memory: it is tried again with the next step */
        return;
    }
    log_line(a->options.log, LOG_WARN, "version taken back", "tenant_id", t->id, "version", bad,
             "serving", t->now->version, "reason", why, NULL);
    count_one(&a->taken_back_by_watch);
    known_activate(a, t, t->now);
    known_report(a, t, &o);
}

static void watch_pass(struct activator *a, struct known *t) {
    if (known_set_trial(a, t, NULL)) return;
    known_end_test(a, t);
    count_one(&a->watches_passed);
    log_line(a->options.log, LOG_DEBUG, "watch passed", "tenant_id", t->id, "version",
             t->now->version, NULL);
    known_activate(a, t, t->now);
}

static void watch_step(struct activator *a, struct known *t) {
    const struct test *x = t->test;
    struct trial_counts n = trial_counts(x->trial);
    char why[WHY_BYTES];
    bool bad =
        too_many_errors(x, n, t->now->version, why) || too_many_denials(x, n, t->now->version, why);
    if (bad && t->before) {
        known_avoid(t, t->now, why);
        take_back(a, t, why);
    } else if (clock_ns() >= x->until_ns) {
        watch_pass(a, t);
    }
}

void test_step(struct activator *a, struct known *t) {
    if (!t->test) return;
    if (trial_kind(t->test->trial) == TRIAL_SHADOW)
        shadow_step(a, t);
    else
        watch_step(a, t);
}
