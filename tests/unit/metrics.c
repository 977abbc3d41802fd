/* Prometheus text: families, labels, cumulative buckets, escaping. */
#include "edge/metrics.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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
    metrics_print(&source, &out);
    has(&out, "# TYPE envoy_wasm_opa_total counter\nenvoy_wasm_opa_total{tenant_id=\"a\"} 3\n");
    has(&out, "envoy_wasm_opa_total{tenant_id=\"b\\\"\\\\\\n\"} 0\n");
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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
