/* Prometheus text: families, labels, cumulative buckets, escaping, tenants by the thousand, the node's own. */
#include "edge/node.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct tenant_metrics two[2];

static struct tenant_metrics *at(void *ctx, uint32_t i, struct str *id) {
    (void)ctx;
    *id = i ? STR("b\"\\\n") : STR("a");
    return i < 2 ? &two[i] : NULL;
}

static void has(const struct buf *text, const char *line) {
    if (!memmem(text->ptr, text->len, line, strlen(line))) print_message("# missing: %s", line);
    assert_non_null(memmem(text->ptr, text->len, line, strlen(line)));
}

static void text(void **state) {
    (void)state;
    struct buf out;
    struct metrics_source source = {NULL, at};
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
    metrics_print(&source, &out);
    has(&out, "# TYPE envoy_wasm_opa_total counter\nenvoy_wasm_opa_total{tenant_id=\"a\"} 3\n");
    assert_null(memmem(out.ptr, out.len, "tenant_id=\"b", 12)); /* nobody asked it anything */
    metrics_decision(&two[1], 1, false, OK);
    buf_clear(&out);
    metrics_print(&source, &out);
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

enum { TENANTS = 5000 };

static struct tenant_metrics *one_of_many(void *ctx, uint32_t i, struct str *id) {
    struct tenant_metrics *m = ctx;
    *id = STR("tenant-of-some-length-0123456789");
    return i < TENANTS ? &m[i] : NULL;
}

/* A scrape of a large node: a second is a hundred times what it takes. */
static void thousands(void **state) {
    (void)state;
    struct tenant_metrics *m = calloc(TENANTS, sizeof *m);
    struct metrics_source source = {m, one_of_many};
    struct buf out;
    assert_non_null(m);
    buf_init(&out, 64 << 20);
    for (int i = 0; i < TENANTS; i++) {
        metrics_decision(&m[i], 1500, i % 2, OK);
        metrics_load(&m[i], 300);
    }
    clock_t start = clock();
    metrics_print(&source, &out);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_int_equal(out.err, OK);
    print_message("# %d tenants: %.1f ms, %zu bytes\n", TENANTS, seconds * 1000, out.len);
    assert_true(seconds < 1);
    buf_deinit(&out);
    free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(text), cmocka_unit_test(node), cmocka_unit_test(thousands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
