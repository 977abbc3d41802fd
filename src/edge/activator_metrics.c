/* The activator's counts as Prometheus text. in: counts. out: families. owns: nothing. */
#include "edge/activator_private.h"

struct row {
    const char *labels;
    const void *n;
};

static void put(struct buf *out, const char *name, const char *type, const char *help,
                const struct row *rows, int n) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    for (int i = 0; i < n; i++) {
        uint64_t value = type[0] == 'g' ? atomic_load((const _Atomic uint32_t *)rows[i].n)
                                        : atomic_load((const _Atomic uint64_t *)rows[i].n);
        buf_printf(out, "%s%s %llu\n", name, rows[i].labels, (unsigned long long)value);
    }
}
#define PUT(name, type, help, rows)                                                                \
    put(out, name, type, help, rows, (int)(sizeof(rows) / sizeof *(rows)))

void activator_metrics(struct activator *a, struct buf *out) {
    const struct row outcomes[] = {{"{outcome=\"active\"}", &a->events[EVENT_ACTIVE]},
                                   {"{outcome=\"unchanged\"}", &a->events[EVENT_UNCHANGED]},
                                   {"{outcome=\"shadow\"}", &a->events[EVENT_SHADOW]},
                                   {"{outcome=\"pinned\"}", &a->events[EVENT_PINNED]},
                                   {"{outcome=\"refused\"}", &a->events[EVENT_REFUSED]},
                                   {"{outcome=\"failed\"}", &a->events[EVENT_FAILED]},
                                   {"{outcome=\"removed\"}", &a->events[EVENT_REMOVED]}};
    const struct row checks[] = {{"{outcome=\"held\"}", &a->checks_held},
                                 {"{outcome=\"failed\"}", &a->checks_failed}};
    const struct row shadows[] = {{"{outcome=\"passed\"}", &a->shadows_passed},
                                  {"{outcome=\"refused\"}", &a->shadows_refused},
                                  {"{outcome=\"replaced\"}", &a->shadows_replaced}};
    const struct row decisions[] = {{"{outcome=\"same\"}", &a->shadow_same},
                                    {"{outcome=\"different\"}", &a->shadow_different},
                                    {"{outcome=\"left_out\"}", &a->shadow_left_out}};
    const struct row backs[] = {{"{by=\"watch\"}", &a->taken_back_by_watch},
                                {"{by=\"operator\"}", &a->taken_back_by_operator}};
    const struct row passed[] = {{"", &a->watches_passed}}, failures[] = {{"", &a->store_failures}};
    const struct row now[] = {{"{kind=\"shadow\"}", &a->shadows},
                              {"{kind=\"watch\"}", &a->watches}};
    const struct row pinned[] = {{"", &a->pinned}};
    PUT("regent_activations_total", "counter", "What became of versions that sources offered.",
        outcomes);
    PUT("regent_bundle_checks_total", "counter", "Versions held against their checks.json.",
        checks);
    PUT("regent_shadows_total", "counter", "Versions that were tried beside the one that answers.",
        shadows);
    PUT("regent_shadow_decisions_total", "counter",
        "Live decisions that such a version was asked for too.", decisions);
    PUT("regent_watches_passed_total", "counter", "Versions that came through their watch window.",
        passed);
    PUT("regent_rollbacks_total", "counter", "Versions that were taken back.", backs);
    PUT("regent_trials", "gauge", "Tenants with a version on trial now.", now);
    PUT("regent_pinned_tenants", "gauge", "Tenants that stay at a version.", pinned);
    PUT("regent_store_failures_total", "counter", "Versions that could not be stored.", failures);
}
