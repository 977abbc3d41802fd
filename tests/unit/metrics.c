/* Prometheus text: families, labels, cumulative buckets, escaping, names and others, tenants by the thousand, the node's own. */
#include "edge/node.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct tenant_metrics two[2];
static struct tenant_naming two_names[2];

static bool at(void *ctx, uint32_t i, struct metrics_row *row) {
    (void)ctx;
    if (i >= 2) return false;
    *row = (struct metrics_row){i ? STR("b\"\\\n") : STR("a"), &two[i], &two_names[i], 0};
    return true;
}

static void scrape(struct metrics_names *n, const struct metrics_source *source, uint32_t most, int64_t now_ms,
                   struct buf *out) {
    buf_clear(out);
    assert_int_equal(metrics_print(n, source, most, now_ms, out), OK);
    assert_int_equal(out->err, OK);
}

static void has(const struct buf *text, const char *line) {
    if (!memmem(text->ptr, text->len, line, strlen(line))) print_message("# missing: %s", line);
    assert_non_null(memmem(text->ptr, text->len, line, strlen(line)));
}

static void text(void **state) {
    (void)state;
    struct buf out;
    struct metrics_source source = {NULL, at};
    struct metrics_names *names;
    assert_int_equal(metrics_names_new(&names), OK);
    buf_init(&out, 1 << 20);
    memset((void *)two, 0, sizeof two);
    metrics_decision(&two[0], 1000, false, OK);
    metrics_decision(&two[0], 1001, true, OK);
    metrics_decision(&two[0], 60000000000, true, ERR_DEADLINE);
    metrics_refusal(&two[0], false, ERR_INVALID);
    metrics_load(&two[0], 1500000);
    metrics_limit(&two[0], LIMIT_deadline_us);
    metrics_limit(&two[0], LIMIT_concurrent);
    metrics_limit(&two[0], LIMIT_concurrent);
    metrics_limit(&two[0], LIMIT_COUNT); /* no limit */
    scrape(names, &source, 10, 1, &out);
    has(&out, "# TYPE envoy_wasm_opa_total counter\nenvoy_wasm_opa_total{tenant_id=\"a\"} 3\n");
    assert_null(memmem(out.ptr, out.len, "tenant_id=\"b", 12)); /* nobody asked it anything */
    metrics_decision(&two[1], 1, false, OK);
    scrape(names, &source, 10, 2, &out);
    has(&out, "envoy_wasm_opa_total{tenant_id=\"b\\\"\\\\\\n\"} 1\n");
    has(&out, "envoy_wasm_opa_deny_total{tenant_id=\"b\\\"\\\\\\n\"} 0\n");
    assert_null(memmem(out.ptr, out.len, "opa_policy_load_duration_count{tenant_id=\"b", 43));
    has(&out, "regent_limit_total{tenant_id=\"a\",limit=\"deadline\"} 1\n");
    has(&out, "regent_limit_total{tenant_id=\"a\",limit=\"concurrent\"} 2\n");
    has(&out, "envoy_wasm_opa_deny_total{tenant_id=\"a\"} 3\n");
    has(&out, "regent_errors_total{tenant_id=\"a\",error=\"deadline\"} 1\n");
    has(&out, "regent_errors_total{tenant_id=\"a\",error=\"invalid\"} 1\n");
    has(&out, "# TYPE envoy_wasm_opa_eval_duration histogram\n");
    has(&out, "envoy_wasm_opa_eval_duration_bucket{tenant_id=\"a\",le=\"1e-06\"} 1\n");
    has(&out, "envoy_wasm_opa_eval_duration_bucket{tenant_id=\"a\",le=\"2e-06\"} 2\n");
    has(&out, "envoy_wasm_opa_eval_duration_bucket{tenant_id=\"a\",le=\"1\"} 2\n");
    has(&out, "envoy_wasm_opa_eval_duration_bucket{tenant_id=\"a\",le=\"+Inf\"} 3\n");
    has(&out, "envoy_wasm_opa_eval_duration_sum{tenant_id=\"a\"} 60.000002001\n");
    has(&out, "envoy_wasm_opa_eval_duration_count{tenant_id=\"a\"} 3\n");
    has(&out, "# TYPE opa_policy_load_duration histogram\n");
    has(&out, "opa_policy_load_duration_bucket{tenant_id=\"a\",le=\"1\"} 0\n");
    has(&out, "opa_policy_load_duration_bucket{tenant_id=\"a\",le=\"2.5\"} 1\n");
    has(&out, "opa_policy_load_duration_sum{tenant_id=\"a\"} 1.500000000\n");
    assert_null(memmem(out.ptr, out.len, "tenant_id=\"other", 16)); /* everybody has a name */
    metrics_names_free(names);
    buf_deinit(&out);
}

static void node(void **state) {
    (void)state;
    struct node *n = aligned_alloc(64, sizeof *n);
    struct buf out;
    assert_non_null(n);
    memset((void *)n, 0, sizeof *n);
    buf_init(&out, 1 << 20);
    n->n_loops = 2;
    atomic_store(&n->shed, 3);
    atomic_store(&n->loops[0].connections, 4);
    atomic_store(&n->loops[1].connections, 5);
    atomic_store(&n->loops[1].overruns, 6);
    atomic_store(&n->loops[2].overruns, 100); /* no such loop */
    atomic_store(&n->lanes.waiting, 7);
    metrics_turn(&n->loops[0], 100000);
    metrics_turn(&n->loops[1], 100001);
    metrics_turn(&n->loops[1], 1000000000);
    metrics_wait(&n->lanes, 2000000);
    metrics_node(n, &out);
    has(&out, "regent_requests_shed_total 3\n");
    has(&out, "regent_connections 9\n");
    has(&out, "regent_slice_overruns_total 6\n");
    has(&out, "regent_queue_requests{queue=\"lane\"} 7\n");
    has(&out, "regent_loop_turn_seconds_bucket{le=\"0.0001\"} 1\n");
    has(&out, "regent_loop_turn_seconds_bucket{le=\"0.00025\"} 2\n");
    has(&out, "regent_loop_turn_seconds_bucket{le=\"+Inf\"} 3\n");
    has(&out, "regent_loop_turn_seconds_sum 1.000200001\n");
    has(&out, "regent_lane_wait_seconds_bucket{le=\"0.001\"} 0\nregent_lane_wait_seconds_bucket{le=\"0.005\"} 1\n");
    buf_deinit(&out);
    free(n);
}

/* ---- names for some, "other" for the rest ---- */

enum { CROWD = 6, HOUR_MS = 3600 * 1000 };

struct crowd {
    struct tenant_metrics m[CROWD];
    struct tenant_naming t[CROWD];
    bool gone[CROWD];
    struct metrics_names *names;
    struct buf out;
    uint64_t seen[CROWD + 1]; /* what the last scrape said; the last is "other" */
    uint32_t named;
};
static const char *const crowd_ids[CROWD + 1] = {"t0", "t1", "t2", "t3", "t4", "t5", "other"};

static bool crowd_at(void *ctx, uint32_t i, struct metrics_row *row) {
    struct crowd *c = ctx;
    for (uint32_t k = 0; k < CROWD; k++) {
        if (c->gone[k] || i--) continue;
        *row = (struct metrics_row){str_of(crowd_ids[k]), &c->m[k], &c->t[k], 100};
        return true;
    }
    return false;
}

static void ask(struct crowd *c, uint32_t tenant, uint32_t times) {
    while (times--) metrics_decision(&c->m[tenant], 10, true, OK);
}

static uint64_t value(const struct crowd *c, const char *family, const char *id) {
    char line[128];
    snprintf(line, sizeof line, "%s{tenant_id=\"%s\"} ", family, id);
    const char *at = memmem(c->out.ptr, c->out.len, line, strlen(line));
    return at ? strtoull(at + strlen(line), NULL, 10) : 0;
}

/* One scrape; nothing may have gone backwards, whether its series was there the last time or not. */
static void look(struct crowd *c, uint32_t most, int64_t now_ms) {
    struct metrics_source source = {c, crowd_at};
    scrape(c->names, &source, most, now_ms, &c->out);
    buf_byte(&c->out, 0);
    c->named = 0;
    for (uint32_t i = 0; i <= CROWD; i++) {
        uint64_t n = value(c, "envoy_wasm_opa_total", crowd_ids[i]);
        assert_int_equal(n, value(c, "envoy_wasm_opa_deny_total", crowd_ids[i]));
        assert_int_equal(n, value(c, "envoy_wasm_opa_eval_duration_count", crowd_ids[i]));
        if (n) assert_true(n >= c->seen[i]);
        if (n) c->seen[i] = n;
        c->named += n && i < CROWD;
    }
}

static struct crowd *crowd_new(void) {
    struct crowd *c = calloc(1, sizeof *c);
    assert_non_null(c);
    assert_int_equal(metrics_names_new(&c->names), OK);
    buf_init(&c->out, 1 << 20);
    return c;
}

static void crowd_free(struct crowd *c) {
    for (uint32_t i = 0; i < CROWD; i++) free(c->t[i].moved);
    metrics_names_free(c->names);
    buf_deinit(&c->out);
    free(c);
}

static void busiest_have_names(void **state) {
    (void)state;
    struct crowd *c = crowd_new();
    for (uint32_t i = 0; i < CROWD; i++) ask(c, i, 10 * i + 1);
    look(c, 2, 1);
    assert_int_equal(c->seen[5], 51);
    assert_int_equal(c->seen[4], 41);
    assert_int_equal(c->named, 2);
    assert_int_equal(c->seen[CROWD], 1 + 11 + 21 + 31);
    assert_int_equal(value(c, "regent_tenant_memory_bytes", "other"), 400);
    ask(c, 0, 1000); /* later than others: all names are taken by who is still asked */
    ask(c, 4, 1), ask(c, 5, 1);
    look(c, 2, 2);
    assert_int_equal(c->seen[0], 0);
    assert_int_equal(c->seen[CROWD], 1064);
    assert_int_equal(c->seen[5], 52);
    crowd_free(c);
}

static void quiet_names_change_hands(void **state) {
    (void)state;
    struct crowd *c = crowd_new();
    ask(c, 0, 5), ask(c, 1, 5), ask(c, 2, 1);
    look(c, 2, 1);
    assert_int_equal(c->seen[CROWD], 1);
    ask(c, 2, 7), ask(c, 1, 1);
    look(c, 2, 2 + HOUR_MS); /* t0 was quiet for an hour: t2 gets its name, and begins at what comes from now on */
    assert_int_equal(value(c, "envoy_wasm_opa_total", "t0"), 0);
    assert_int_equal(c->seen[1], 6);
    assert_int_equal(c->seen[CROWD], 8);
    ask(c, 2, 3), ask(c, 0, 2);
    look(c, 2, 3 + HOUR_MS);
    assert_int_equal(c->seen[2], 3);
    assert_int_equal(c->seen[CROWD], 10); /* what t0 had under its name stays there */
    ask(c, 0, 4), ask(c, 2, 1);
    look(c, 2, 4 + 3 * HOUR_MS); /* t1 was quiet; t0 goes on where its series ended */
    assert_int_equal(value(c, "envoy_wasm_opa_total", "t1"), 0);
    assert_int_equal(value(c, "envoy_wasm_opa_total", "t0"), 5);
    assert_int_equal(c->seen[CROWD], 14);
    ask(c, 0, 1);
    look(c, 2, 5 + 3 * HOUR_MS);
    assert_int_equal(c->seen[0], 6);
    crowd_free(c);
}

static void other_outlives_tenants(void **state) {
    (void)state;
    struct crowd *c = crowd_new();
    for (uint32_t i = 0; i < CROWD; i++) ask(c, i, 2);
    look(c, 1, 1);
    assert_int_equal(c->seen[CROWD], 10);
    c->gone[5] = c->gone[4] = true;
    look(c, 1, 2);
    assert_int_equal(value(c, "envoy_wasm_opa_total", "other"), 10);
    c->gone[5] = false;
    ask(c, 5, 1);
    look(c, 1, 3);
    assert_int_equal(value(c, "envoy_wasm_opa_total", "other"), 11);
    look(c, 100, 4); /* a new configuration: room for all */
    ask(c, 5, 1);
    look(c, 100, 5);
    assert_int_equal(value(c, "envoy_wasm_opa_total", "other"), 11);
    assert_int_equal(value(c, "envoy_wasm_opa_total", "t5"), 1);
    look(c, 1, 6); /* and for one again */
    assert_int_equal(c->named, 1);
    crowd_free(c);
}

/* Whatever happens, every answer is counted once: under a name or as one of the others. */
static void nothing_is_lost(void **state) {
    (void)state;
    struct crowd *c = crowd_new();
    uint64_t asked = 0, counted = 0;
    uint32_t random = 12345;
    for (int64_t round = 1; round < 2000; round++) {
        for (int i = 0; i < 5; i++) {
            random = random * 1103515245 + 12345;
            if (round / 100 % CROWD == (random >> 16) % CROWD) continue; /* one in turn is not asked */
            ask(c, (random >> 16) % CROWD, 1);
            asked++;
        }
        look(c, 5, round * HOUR_MS / 50);
    }
    for (uint32_t i = 0; i <= CROWD; i++) counted += c->seen[i];
    assert_int_equal(counted, asked);
    assert_true(c->seen[CROWD] > 0);
    crowd_free(c);
}

enum { TENANTS = 5000 };

struct many {
    struct tenant_metrics *m;
    struct tenant_naming *t;
};

static bool one_of_many(void *ctx, uint32_t i, struct metrics_row *row) {
    struct many *many = ctx;
    if (i >= TENANTS) return false;
    *row = (struct metrics_row){STR("tenant-of-some-length-0123456789"), &many->m[i], &many->t[i], 0};
    return true;
}

/* A scrape of a large node: a second is a hundred times what it takes. */
static void thousands(void **state) {
    (void)state;
    struct many many = {calloc(TENANTS, sizeof *many.m), calloc(TENANTS, sizeof *many.t)};
    struct metrics_source source = {&many, one_of_many};
    struct metrics_names *names;
    struct buf out;
    assert_non_null(many.m);
    assert_non_null(many.t);
    assert_int_equal(metrics_names_new(&names), OK);
    buf_init(&out, 64 << 20);
    for (int i = 0; i < TENANTS; i++) {
        metrics_decision(&many.m[i], 1500, i % 2, OK);
        metrics_load(&many.m[i], 300);
    }
    for (uint32_t most = TENANTS; most >= TENANTS / 10; most /= 10) {
        clock_t start = clock();
        scrape(names, &source, most, 1, &out);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        print_message("# %d tenants, %u with names: %.1f ms, %zu bytes\n", TENANTS, most, seconds * 1000, out.len);
        assert_true(seconds < 1);
    }
    for (int i = 0; i < TENANTS; i++) free(many.t[i].moved);
    metrics_names_free(names);
    buf_deinit(&out);
    free(many.m);
    free(many.t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(text), cmocka_unit_test(node),
                                       cmocka_unit_test(busiest_have_names),
                                       cmocka_unit_test(quiet_names_change_hands),
                                       cmocka_unit_test(other_outlives_tenants),
                                       cmocka_unit_test(nothing_is_lost),
                                       cmocka_unit_test(thousands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
