/* One evaluation by Regent's ABI and by OPA's: input, data, with, memos, results, updates of data.
 * in: a module made by hand: constants 0, input slots 2, data slots 1, memos 2. out: cmocka
 * results. owns: nothing. */
#include "rt_test.h"

/* input: { user: slot 0 { role: slot 1 } }; data: { roles: slot 0 } */
static void module_new(const char *data) {
    struct module_header *h = module_header();
    struct path_node *n = rt_alloc(5 * sizeof *n);
    n[0] = (struct path_node){VALUE_UNDEFINED, -1, 1, addr(n + 1), 0};
    n[1] = (struct path_node){string_copy(TEXT("user")), 0, 1, addr(n + 2), 0};
    n[2] = (struct path_node){string_copy(TEXT("role")), 1, 0, 0, 0};
    n[3] = (struct path_node){VALUE_UNDEFINED, -1, 1, addr(n + 4), 0};
    n[4] = (struct path_node){string_copy(TEXT("roles")), 0, 0, 0, 0};
    h->n_input = 2;
    h->n_data = 1;
    h->n_memo = 2;
    h->input_tree = addr(n);
    h->data_tree = addr(n + 3);
    h->data_root = rego(data);
    h->entrypoints = string_copy(TEXT("{\"p/allow\":0}"));
    h->builtins = string_copy(TEXT("{}"));
    bind_value(h->data_tree, h->data_root, data_slots(), 1);
    h->heap_base = opa_heap_ptr_get();
}

/* As a host does: the input lies where the heap begins. */
static void begin(const char *input) {
    uint32_t at_heap = module_header()->heap_base, n = (uint32_t)strlen(input);
    opa_heap_ptr_set(at_heap);
    assert_int_equal(opa_malloc(n), at_heap);
    memcpy(at(at_heap), input, n);
    rt_eval_begin(at_heap, n);
}

static const char *end_text(void) {
    uint64_t r = rt_eval_end();
    if (r == 0) return "undefined";
    return text_shown((struct text){at((uint32_t)r), (uint32_t)(r >> 32)});
}

static void binds_and_answers(void **state) {
    (void)state;
    module_new("{\"roles\": [1]}");
    for (int i = 0; i < 3; i++) {
        begin("{\"user\":{\"role\":\"admin\",\"x\":1},\"other\":[]}");
        assert_string_equal(shown(input_slots()[1], 0), "\"admin\"");
        assert_string_equal(shown(data_slots()[0], 0), "[1]");
        assert_string_equal(shown(rt_input(), 0),
                            "{\"other\":[],\"user\":{\"role\":\"admin\",\"x\":1}}");
        assert_string_equal(end_text(), "undefined");
        rt_result_path(input_slots()[0]);
        assert_string_equal(end_text(), "{\"role\":\"admin\",\"x\":1}");
    }
    rt_eval_begin(0, 0);
    assert_true(rt_input() == VALUE_UNDEFINED && input_slots()[0] == VALUE_UNDEFINED);
    assert_string_equal(end_text(), "undefined");
    assert_rt_fails(begin("{\"user\":tru}"), "input: invalid character in literal at byte 11");
}

static void queries(void **state) {
    (void)state;
    module_new("{}");
    begin("{}");
    rt_result_add(rego("{\"x\": 2}"));
    rt_result_add(rego("{\"x\": 1}"));
    assert_string_equal(end_text(), "[{\"x\":2},{\"x\":1}]");
}

static void with_input(void **state) {
    (void)state;
    module_new("{}");
    begin("{\"user\":{\"role\":\"a\",\"id\":7}}");
    memo_slots()[0] = VALUE_TRUE;
    rt_with_input(rego("[\"user\", \"role\"]"), rego("\"b\""));
    assert_true(memo_slots()[0] == 0);
    memo_slots()[1] = VALUE_FALSE;
    assert_string_equal(shown(input_slots()[0], 0), "{\"id\":7,\"role\":\"b\"}");
    assert_string_equal(shown(input_slots()[1], 0), "\"b\"");
    rt_with_input(rego("[]"), rego("5"));
    assert_string_equal(shown(rt_input(), 0), "5");
    assert_true(input_slots()[1] == VALUE_UNDEFINED);
    rt_with_end();
    assert_string_equal(shown(rt_input(), 0), "{\"user\":{\"id\":7,\"role\":\"b\"}}");
    assert_true(memo_slots()[1] == VALUE_FALSE);
    rt_with_end();
    assert_string_equal(shown(input_slots()[1], 0), "\"a\"");
    assert_true(memo_slots()[0] == VALUE_TRUE && memo_slots()[1] == 0);
    assert_string_equal(shown(rt_input(), 0), "{\"user\":{\"id\":7,\"role\":\"a\"}}");
    assert_rt_fails(rt_with_end(), "internal: rt_with_end without rt_with_input or rt_with_data");
}

static void with_data(void **state) {
    (void)state;
    module_new("{\"roles\": {\"a\": 1}, \"b\": 2}");
    begin("{}");
    rt_with_data(rego("[\"roles\", \"c\"]"), rego("3"));
    assert_string_equal(shown(data_slots()[0], 0), "{\"a\":1,\"c\":3}");
    assert_string_equal(shown(rt_data(), 0), "{\"b\":2,\"roles\":{\"a\":1,\"c\":3}}");
    rt_with_end();
    assert_string_equal(shown(data_slots()[0], 0), "{\"a\":1}");
    assert_string_equal(shown(rt_data(), 0), "{\"b\":2,\"roles\":{\"a\":1}}");
}

static uint32_t parsed(const char *s, bool sets) {
    uint32_t n = (uint32_t)strlen(s), p = opa_malloc(n);
    memcpy(at(p), s, n);
    uint32_t cell = sets ? opa_value_parse(p, n) : opa_json_parse(p, n);
    memset(at(p), 'x', n); /* freed: may be written over */
    opa_free(p);
    return cell;
}

static const char *dumped(uint32_t cell) { return (const char *)at(opa_json_dump(cell)); }

static void opa_contexts(void **state) {
    (void)state;
    module_new("{}");
    uint32_t data = parsed("{\"roles\":[\"x\"]}", false), ctx = opa_eval_ctx_new();
    opa_eval_ctx_set_data(ctx, data);
    opa_eval_ctx_set_input(ctx, parsed("{\"user\":{\"role\":\"r\"}}", false));
    opa_eval_ctx_set_entrypoint(ctx, 3);
    assert_int_equal(rt_ctx_begin(ctx), 3);
    assert_string_equal(shown(data_slots()[0], 0), "[\"x\"]");
    assert_string_equal(shown(input_slots()[1], 0), "\"r\"");
    rt_ctx_end(ctx);
    assert_string_equal(dumped(opa_eval_ctx_get_result(ctx)), "[]");
    rt_ctx_begin(ctx);
    rt_result_path(VALUE_TRUE);
    rt_ctx_end(ctx);
    assert_string_equal(dumped(opa_eval_ctx_get_result(ctx)), "[{\"result\":true}]");
    assert_string_equal((const char *)at(opa_value_dump(opa_eval_ctx_get_result(ctx))),
                        "{{\"result\":true}}");
    begin("{}"); /* by the other ABI the module's own data again */
    assert_true(data_slots()[0] == VALUE_UNDEFINED);
}

static void opa_one_off(void **state) {
    (void)state;
    module_new("{}");
    uint32_t data = parsed("{\"roles\":1}", false), heap = opa_heap_ptr_get();
    const char *input = "{\"user\":{\"role\":{1,2}}}", *plain = "{\"user\":{\"role\":[3]}}";
    uint32_t n = (uint32_t)strlen(input);
    opa_malloc(4096); /* an SDK would grow the memory */
    memcpy(at(heap), input, n);
    rt_opa_begin(data, heap, n, heap + n, 1, 0);
    rt_result_path(input_slots()[1]);
    assert_string_equal((const char *)at(rt_opa_end()), "{{\"result\":{1,2}}}");
    memcpy(at(heap), plain, strlen(plain));
    rt_opa_begin(data, heap, (uint32_t)strlen(plain), heap + 64, 0, 0);
    rt_result_path(input_slots()[1]);
    assert_string_equal((const char *)at(rt_opa_end()), "[{\"result\":[3]}]");
    rt_opa_begin(data, heap, 2, heap + 64, 0, 0); /* what is no value is no input */
    assert_true(rt_input() == VALUE_UNDEFINED);
    assert_string_equal((const char *)at(rt_opa_end()), "[]");
}

static const struct {
    const char *base, *path, *v;
    uint32_t code;
    const char *expected;
} updates[] = {
    {"{\"a\":{\"b\":123}}", "[\"a\",\"x\",\"y\"]", "{\"f\":1}", 0,
     "{\"a\":{\"b\":123,\"x\":{\"y\":{\"f\":1}}}}"},
    {"{\"a\":1}", "[\"a\"]", "2", 0, "{\"a\":2}"},
    {"{\"a\":1}", "[]", "2", 3, "{\"a\":1}"},
    {"{\"a\":1}", "[1]", "2", 3, "{\"a\":1}"},
    {"{\"a\":1}", "\"a\"", "2", 3, "{\"a\":1}"},
    {"{\"a\":1}", "[\"a\",\"b\"]", "2", 2, "{\"a\":1}"},
    {"{\"a\":1,\"b\":2}", "[\"a\"]", NULL, 0, "{\"b\":2}"},
    {"{\"a\":{\"c\":1,\"d\":2}}", "[\"a\",\"d\"]", NULL, 0, "{\"a\":{\"c\":1}}"},
    {"{\"a\":1}", "[\"x\",\"y\"]", NULL, 0, "{\"a\":1}"},
    {"{\"a\":1}", "[]", NULL, 3, "{\"a\":1}"},
};

static void opa_updates(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
        uint32_t base = parsed(updates[i].base, false), path = parsed(updates[i].path, false), code;
        if (updates[i].v)
            code = opa_value_add_path(base, path, parsed(updates[i].v, true));
        else
            code = opa_value_remove_path(base, path);
        assert_int_equal(code, updates[i].code);
        assert_string_equal(dumped(base), updates[i].expected);
    }
}

/* What an evaluation does with data that outlives it leaves nothing on the heap of that evaluation.
 */
static void data_outlives_evaluations(void **state) {
    (void)state;
    module_new("{}");
    uint32_t cell = parsed(
        "{\"z\":1,\"y\":1,\"x\":1,\"w\":1,\"v\":1,\"u\":1,\"t\":1,\"s\":1,\"r\":1,\"q\":7}", false);
    uint32_t heap = opa_heap_ptr_get();
    for (int i = 0; i < 3; i++) {
        opa_heap_ptr_set(heap);
        value v = *(value *)at(cell);
        rt_scan_begin(v);
        assert_string_equal(shown(rt_get(v, rego("\"q\"")), 0), "7");
        memset(rt_alloc(4096), 0xee, 4096);
    }
}

static void opa_mappings(void **state) {
    (void)state;
    module_new("{}");
    assert_string_equal(dumped(entrypoints()), "{\"p/allow\":0}");
    assert_string_equal(dumped(builtins()), "{}");
    assert_int_equal(opa_json_parse(0, 0), 0);
    assert_int_equal(parsed("{1}", false), 0);
    assert_string_equal(dumped(parsed("{\"a\", \"b\"}", true)), "[\"a\",\"b\"]");
    uint32_t before = opa_heap_ptr_get();
    opa_malloc(100);
    opa_heap_ptr_set(before);
    assert_int_equal(opa_heap_ptr_get(), before);
    assert_rt_fails(opa_heap_ptr_set(0xfffffff0u),
                    "internal: the heap pointer lies outside the memory");
}

#define TEST(f) cmocka_unit_test_setup(f, rt_setup)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(binds_and_answers), TEST(queries),
        TEST(with_input),        TEST(with_data),
        TEST(opa_contexts),      TEST(opa_one_off),
        TEST(opa_updates),       TEST(data_outlives_evaluations),
        TEST(opa_mappings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
