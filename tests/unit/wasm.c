/* Emitted modules: plans written by hand, run in the host in both forms; sections that must not
 * depend on values. */
#include "compiler/wasm/emit.h"
#include "compiler/wasm/module.h"
#include "host/host.h"
#include "wasm_plan.h"
#define REGENT_NATIVE
#include "runtime/rt_functions.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct engine *engine;
static struct instances *pool;

static int open_engine(void **state) {
    (void)state;
    if (engine_new(NULL, &engine) != OK) return 1;
    return instances_new(engine, 8, &pool) != OK;
}
static int close_engine(void **state) {
    (void)state;
    instances_free(pool);
    engine_free(engine);
    return 0;
}
static int begin(void **state) {
    (void)state;
    plan_begin();
    return 0;
}
static int end(void **state) {
    (void)state;
    plan_end();
    return 0;
}

static void emit_plan(void) {
    wasm_emit(&C);
    for (uint32_t i = 0; i < C.diags.n; i++)
        print_error("%.*s\n", STR_FMT(C.diags.items[i].message));
    assert_int_equal(C.diags.n, 0);
    assert_true(C.thin.len > 0 && C.full.len > 0);
}

static struct policy *load(bool full, const char *data) {
    struct load_message message = {{0}};
    struct json_error error;
    struct policy *p = NULL;
    struct json *documents = NULL;
    struct policy_source s = {.full = buf_view(&C.full),
                              .thin = buf_view(&C.thin),
                              .name = STR("test"),
                              .require_full = full};
    if (data) assert_int_equal(json_parse(&C.arena, str_of(data), &documents, &error), OK);
    s.data = documents;
    enum err e = policy_load(engine, &s, &p, &message);
    if (e) print_error("%s\n", message.text);
    assert_int_equal(e, OK);
    return p;
}

/* expected NULL: undefined. A conflict is told by its message. */
static void check_form(bool full, uint32_t entrypoint, const char *input, const char *data,
                       const char *expected) {
    struct policy *p = load(full, data);
    struct eval_result r = {0};
    struct eval_request q = {.policy = p, .entrypoint = entrypoint, .input = str_of(input)};
    enum err e = policy_eval(pool, &q, &r);
    if (e) {
        assert_non_null(expected);
        assert_non_null(strstr(r.message, expected));
    } else if (!expected) {
        assert_false(r.defined);
    } else {
        assert_true(r.defined);
        char *json = arena_strndup(&C.arena, r.json.ptr, r.json.len);
        assert_string_equal(json, expected);
    }
    policy_release(p);
}

static void check_data(uint32_t entrypoint, const char *input, const char *data,
                       const char *expected) {
    check_form(false, entrypoint, input, data, expected);
    check_form(true, entrypoint, input, data, expected);
}

static void check(uint32_t entrypoint, const char *input, const char *expected) {
    check_data(entrypoint, input, NULL, expected);
}

/* An entrypoint of one block that runs `...` and gives local 3. */
#define ENTRYPOINT(name, ...) plan_entrypoint(name, BLOCKS(B(__VA_ARGS__, RESULT)))
#define CALL_FUNCTION(f, to) S(CALL, .func = (f), .args = NO_ARGS, .target = (to))
#define INPUT(key, to) S(DOT, .a = L(0), .b = T(key), .target = (to))

static struct function *allow_rule(void) {
    return plan_function(
        "allow", 0, true,
        BLOCKS(B(S(RESET_LOCAL, .target = 3), INPUT("user", 4),
                 S(EQUAL, .a = L(4), .b = T("alice")),
                 S(ASSIGN_VAR_ONCE, .target = 3, .a = TRUE_OPERAND)),
               B(S(IS_DEFINED, .a = L(3)), S(ASSIGN_VAR_ONCE, .target = 2, .a = L(3))),
               B(S(IS_UNDEFINED, .a = L(2)), S(ASSIGN_VAR_ONCE, .target = 2, .a = FALSE_OPERAND)),
               B(S(RETURN_LOCAL, .a = L(2)))));
}

static void test_rule(void **state) {
    (void)state;
    struct function *f = allow_rule();
    ENTRYPOINT("t/allow", CALL_FUNCTION(f, 2), S(ASSIGN_VAR, .target = 3, .a = L(2)));
    emit_plan();
    check(0, "{\"user\":\"alice\"}", "true");
    check(0, "{\"user\":\"alicf\"}", "false");
    check(0, "{\"user\":1}", "false");
    check(0, "{}", "false");
    check(0, "7", "false");
}

static void test_constants(void **state) {
    (void)state;
    struct term *object = ARENA_NEW(&C.arena, struct term), *key = ARENA_NEW(&C.arena, struct term);
    struct term *set = ARENA_NEW(&C.arena, struct term), *one = ARENA_NEW(&C.arena, struct term);
    *key = (struct term){.kind = TERM_STRING, .text = STR("k\n")};
    *one = (struct term){.kind = TERM_NUMBER, .text = STR("1.50")};
    set->kind = TERM_SET;
    ARENA_PUSH(&C.arena, &set->list, one);
    ARENA_PUSH(&C.arena, &set->list, key);
    object->kind = TERM_OBJECT;
    ARENA_PUSH(&C.arena, &object->list, key);
    ARENA_PUSH(&C.arena, &object->list, set);
    ARENA_PUSH(&C.arena, &C.plan->consts, (struct plan_const){object});
    ENTRYPOINT("const", S(MAKE_CONST, .target = 3, .integer = 0));
    ENTRYPOINT("integer", S(MAKE_NUMBER_REF, .target = 3, .integer = NUMBER("-42")));
    ENTRYPOINT("big", S(MAKE_NUMBER_REF, .target = 3, .integer = NUMBER("1e400")));
    ENTRYPOINT("null", S(MAKE_NULL, .target = 3));
    ENTRYPOINT("int", S(MAKE_NUMBER_INT, .target = 3, .integer = -7));
    ENTRYPOINT("text", S(ASSIGN_VAR, .target = 3, .a = T("é\"")));
    ENTRYPOINT("array", S(MAKE_ARRAY, .target = 3, .integer = 2),
               S(ARRAY_APPEND, .target = 3, .a = TRUE_OPERAND),
               S(ARRAY_APPEND, .target = 3, .a = T("x")), S(LEN, .a = L(3), .target = 5),
               S(ARRAY_APPEND, .target = 3, .a = L(5)));
    emit_plan();
    static const char *const expected[] = {
        "{\"k\\n\":[1.50,\"k\\n\"]}", "-42", "1e400", "null", "-7", "\"é\\\"\"", "[true,\"x\",2]"};
    for (uint32_t i = 0; i < 7; i++) check(i, "null", expected[i]);
}

/* Sums what a scan visits into an array, skipping false elements with BREAK 0. */
static void test_scan(void **state) {
    (void)state;
    ENTRYPOINT("scan", S(MAKE_ARRAY, .target = 3), INPUT("x", 5),
               S(SCAN, .a = L(5), .key = 6, .value = 7,
                 .blocks = BLOCKS(B(S(EQUAL, .a = L(7), .b = TRUE_OPERAND),
                                    S(ARRAY_APPEND, .target = 3, .a = L(6))))),
               S(ARRAY_APPEND, .target = 3, .a = T("end")));
    ENTRYPOINT(
        "leave", S(MAKE_ARRAY, .target = 3),
        S(BLOCK, .blocks = BLOCKS(B(INPUT("x", 5),
                                    S(SCAN, .a = L(5), .key = 6, .value = 7,
                                      .blocks = BLOCKS(B(S(ARRAY_APPEND, .target = 3, .a = L(7)),
                                                         S(BREAK, .integer = 1)))),
                                    S(ARRAY_APPEND, .target = 3, .a = T("never"))))));
    ENTRYPOINT("whole", S(MAKE_ARRAY, .target = 3),
               S(SCAN, .a = L(0), .key = 6, .value = 7,
                 .blocks = BLOCKS(B(S(ARRAY_APPEND, .target = 3, .a = L(6))))));
    emit_plan();
    check(0, "{\"x\":[true,false,true,1]}", "[0,2,\"end\"]");
    check(0, "{\"x\":{\"b\":true,\"a\":true,\"c\":0}}", "[\"a\",\"b\",\"end\"]");
    check(0, "{\"x\":\"text\"}", "[\"end\"]");
    check(0, "{\"x\":[]}", "[\"end\"]");
    check(1, "{\"x\":[5,6]}", "[5]");
    check(2, "{\"x\":1,\"y\":2}", "[\"x\",\"y\"]");
}

static void test_not(void **state) {
    (void)state;
    ENTRYPOINT("not", S(NOT, .blocks = BLOCKS(B(INPUT("x", 5)))),
               S(ASSIGN_VAR, .target = 3, .a = TRUE_OPERAND));
    ENTRYPOINT("outer", S(ASSIGN_VAR, .target = 3, .a = T("before")),
               S(BLOCK, .blocks = BLOCKS(B(S(NOT, .blocks = BLOCKS(B(S(BREAK, .integer = 1)))),
                                           S(ASSIGN_VAR, .target = 3, .a = T("never"))))));
    emit_plan();
    check(0, "{\"x\":false}", NULL);
    check(0, "{}", "true");
    check(1, "{}", "\"before\"");
}

/* Every way out of a `with` puts input and memos back. */
static void test_with(void **state) {
    (void)state;
    struct function *f = allow_rule();
#define WITH_ALICE(...)                                                                            \
    S(WITH, .target = 0, .path = OPERANDS(T("user")), .a = T("alice"),                             \
      .blocks = BLOCKS(B(__VA_ARGS__)))
#define AFTERWARDS(local) CALL_FUNCTION(f, local), S(ARRAY_APPEND, .target = 3, .a = L(local))
    struct function *returns = plan_function(
        "returns", 0, false,
        BLOCKS(B(WITH_ALICE(CALL_FUNCTION(f, 3), WITH_ALICE(S(RETURN_LOCAL, .a = L(3))))),
               B(S(RETURN_LOCAL, .a = L(2)))));
    ENTRYPOINT("inside", S(MAKE_ARRAY, .target = 3), AFTERWARDS(5), WITH_ALICE(AFTERWARDS(6)),
               AFTERWARDS(7));
    ENTRYPOINT("undefined", S(MAKE_ARRAY, .target = 3),
               S(BLOCK, .blocks = BLOCKS(B(WITH_ALICE(INPUT("nope", 5)),
                                           S(ARRAY_APPEND, .target = 3, .a = T("never"))))),
               AFTERWARDS(6));
    ENTRYPOINT("break", S(MAKE_ARRAY, .target = 3),
               S(BLOCK, .blocks = BLOCKS(
                            B(WITH_ALICE(WITH_ALICE(AFTERWARDS(8), S(BREAK, .integer = 2)))))),
               AFTERWARDS(6));
    ENTRYPOINT("return", S(MAKE_ARRAY, .target = 3), CALL_FUNCTION(returns, 5),
               S(ARRAY_APPEND, .target = 3, .a = L(5)), AFTERWARDS(6));
    ENTRYPOINT("whole", S(WITH, .target = 0, .a = T("all"),
                          .blocks = BLOCKS(B(S(ASSIGN_VAR, .target = 3, .a = L(0))))));
    ENTRYPOINT("data", S(WITH, .target = 1, .path = OPERANDS(T("a"), T("b")), .a = TRUE_OPERAND,
                         .blocks = BLOCKS(B(S(ASSIGN_VAR, .target = 3, .a = L(1))))));
    ENTRYPOINT("local", S(MAKE_OBJECT, .target = 5), S(MAKE_ARRAY, .target = 3),
               S(WITH, .target = 5, .path = OPERANDS(T("k")), .a = T("v"),
                 .blocks = BLOCKS(B(S(ARRAY_APPEND, .target = 3, .a = L(5))))),
               S(ARRAY_APPEND, .target = 3, .a = L(5)));
    emit_plan();
    check(0, "{\"user\":\"bob\"}", "[false,true,false]");
    check(1, "{\"user\":\"bob\"}", "[false]");
    check(2, "{\"user\":\"bob\"}", "[true,false]");
    check(3, "{\"user\":\"bob\"}", "[true,false]");
    check(4, "{}", "\"all\"");
    check_data(5, "{}", "{\"a\":{\"c\":1},\"d\":2}", "{\"a\":{\"b\":true,\"c\":1},\"d\":2}");
    check(6, "{}", "[{\"k\":\"v\"},{}]");
}

/* The planner's shape for data.t[x]: a function if there is one, else base data. */
static void test_call_dynamic(void **state) {
    (void)state;
    (void)plan_function(
        "one", 0, true,
        BLOCKS(B(S(MAKE_NUMBER_INT, .target = 2, .integer = 1), S(RETURN_LOCAL, .a = L(2)))));
    (void)plan_function("none", 0, true, BLOCKS(B(S(RETURN_LOCAL, .a = L(2)))));
    (void)plan_function("takes", 1, false, BLOCKS(B(S(RETURN_LOCAL, .a = L(2)))));
    struct block *calls =
        B(S(CALL_DYNAMIC, .args = NO_ARGS, .path = OPERANDS(T("g0"), T("t"), L(5)), .target = 3),
          S(BREAK, .integer = 1));
    struct block *dots =
        B(S(DOT, .a = L(1), .b = T("t"), .target = 6), S(DOT, .a = L(6), .b = L(5), .target = 6),
          S(ASSIGN_VAR, .target = 3, .a = L(6)), S(BREAK, .integer = 1));
    struct block *middle = B(S(BLOCK, .blocks = BLOCKS(calls, dots)), S(BREAK, .integer = 2));
    ENTRYPOINT("call", INPUT("x", 5),
               S(BLOCK, .blocks = BLOCKS(B(S(BLOCK, .blocks = BLOCKS(middle))))));
    emit_plan();
    static const char data[] =
        "{\"t\":{\"base\":\"data\",\"one\":\"hidden\",\"none\":\"hidden\",\"takes\":3}}";
    check_data(0, "{\"x\":\"one\"}", data, "1");
    check_data(0, "{\"x\":\"none\"}", data, NULL);
    check_data(0, "{\"x\":\"base\"}", data, "\"data\"");
    check_data(0, "{\"x\":\"takes\"}", data, "3");
    check_data(0, "{\"x\":\"else\"}", data, NULL);
    check_data(0, "{\"x\":1}", data, NULL);
}

static void test_conflicts(void **state) {
    (void)state;
    assert_int_equal(RULE_CONFLICT, CONFLICT_COMPLETE_RULE);
    assert_int_equal(CALL_CONFLICT, CONFLICT_FUNCTION);
    assert_int_equal(KEY_CONFLICT, CONFLICT_OBJECT_KEY);
    ENTRYPOINT("once", INPUT("a", 5), INPUT("b", 6), S(ASSIGN_VAR_ONCE, .target = 3, .a = L(5)),
               S(ASSIGN_VAR_ONCE, .target = 3, .a = L(6)));
    ENTRYPOINT("scan", INPUT("a", 5),
               S(SCAN, .a = L(5), .key = 6, .value = 7,
                 .blocks = BLOCKS(B(S(ASSIGN_VAR_ONCE, .target = 3, .a = L(7))))));
    ENTRYPOINT("key", INPUT("a", 5), INPUT("b", 6), S(MAKE_OBJECT, .target = 3),
               S(OBJECT_INSERT_ONCE, .target = 3, .a = T("k"), .b = L(5)),
               S(OBJECT_INSERT_ONCE, .target = 3, .a = T("k"), .b = L(6)));
    ENTRYPOINT("skipped", S(MAKE_NUMBER_INT, .target = 3, .integer = 1),
               S(BLOCK, .blocks = BLOCKS(B(INPUT("b", 5), S(RESET_LOCAL, .target = 3)))),
               S(ASSIGN_VAR_ONCE, .target = 3, .a = T("x")));
    emit_plan();
    check(0, "{\"a\":1,\"b\":1.0}", "1");
    check(0, "{\"a\":1,\"b\":2}", "eval_conflict_error");
    check(1, "{\"a\":[\"x\",\"x\"]}", "\"x\"");
    check(1, "{\"a\":[true,false]}", "eval_conflict_error");
    check(2, "{\"a\":[1],\"b\":[1]}", "{\"k\":[1]}");
    check(2, "{\"a\":[1],\"b\":[2]}", "eval_conflict_error");
    /* a reset that a break may have jumped over proves nothing */
    check(3, "{\"b\":0}", "\"x\"");
    check(3, "{}", "eval_conflict_error");
}

static void test_equality(void **state) {
    (void)state;
#define COMPARES(name, kind, right)                                                                \
    ENTRYPOINT(name, INPUT("a", 5), S(ASSIGN_VAR, .target = 3, .a = FALSE_OPERAND),                \
               S(BLOCK, .blocks = BLOCKS(B(INPUT("b", 6), S(kind, .a = L(5), .b = right),          \
                                           S(ASSIGN_VAR, .target = 3, .a = TRUE_OPERAND)))))
    COMPARES("equal", EQUAL, L(6));
    COMPARES("not equal", NOT_EQUAL, L(6));
    COMPARES("equal to x", EQUAL, T("x"));
    COMPARES("not equal to x", NOT_EQUAL, T("x"));
    COMPARES("equal to true", EQUAL, TRUE_OPERAND);
    COMPARES("not equal to true", NOT_EQUAL, TRUE_OPERAND);
    emit_plan();
    static const char *const values[] = {"null",  "true",  "false", "1",        "1.0",
                                         "\"x\"", "\"y\"", "[1]",   "{\"a\":1}"};
    for (int i = 0; i < 9; i++)
        for (int j = 0; j < 9; j++) {
            char input[64];
            bool equal = i == j || (i == 3 && j == 4) || (i == 4 && j == 3);
            snprintf(input, sizeof input, "{\"a\":%s,\"b\":%s}", values[i], values[j]);
            check_form(false, 0, input, NULL, equal ? "true" : "false");
            check_form(false, 1, input, NULL, equal ? "false" : "true");
            check_form(false, 2, input, NULL, i == 5 ? "true" : "false");
            check_form(false, 3, input, NULL, i == 5 ? "false" : "true");
            check_form(false, 4, input, NULL, i == 1 ? "true" : "false");
            check_form(false, 5, input, NULL, i == 1 ? "false" : "true");
        }
}

static void test_types(void **state) {
    (void)state;
#define TYPE_TEST(kind)                                                                            \
    ENTRYPOINT(#kind, INPUT("a", 5), S(kind, .a = L(5)),                                           \
               S(ASSIGN_VAR, .target = 3, .a = TRUE_OPERAND))
    TYPE_TEST(IS_ARRAY);
    TYPE_TEST(IS_OBJECT);
    TYPE_TEST(IS_SET);
    emit_plan();
    check(0, "{\"a\":[]}", "true");
    check(0, "{\"a\":{}}", NULL);
    check(1, "{\"a\":{}}", "true");
    check(1, "{\"a\":\"x\"}", NULL);
    check(2, "{\"a\":[]}", NULL);
}

static struct path_tree *tree(const char *key, int32_t slot, struct path_tree *child) {
    struct path_tree *t = ARENA_NEW(&C.arena, struct path_tree);
    t->key = key ? string_index(key, NULL) : 0;
    t->slot = slot;
    if (child) ARENA_PUSH(&C.arena, t, child);
    return t;
}

static void test_slots(void **state) {
    (void)state;
    C.plan->input_tree = tree(NULL, -1, tree("a", 1, tree("b", 0, NULL)));
    C.plan->data_tree = tree(NULL, -1, tree("d", 0, NULL));
    C.plan->n_input_slots = 2;
    C.plan->n_data_slots = 1;
#define SLOT(kind, i) S(kind, .target = 3, .integer = i)
    ENTRYPOINT("b", SLOT(INPUT_SLOT, 0));
    ENTRYPOINT("a", SLOT(INPUT_SLOT, 1));
    ENTRYPOINT("d", SLOT(DATA_SLOT, 0));
    ENTRYPOINT("with", S(WITH, .target = 0, .path = OPERANDS(T("a"), T("b")), .a = T("new"),
                         .blocks = BLOCKS(B(SLOT(INPUT_SLOT, 1)))));
    ENTRYPOINT("whole", S(ASSIGN_VAR, .target = 3, .a = L(0)));
    emit_plan();
    check(0, "{\"a\":{\"b\":5,\"c\":6}}", "5");
    check(0, "{\"a\":7}", NULL);
    check(1, "{\"a\":{\"c\":6}}", "{\"c\":6}");
    check_data(2, "{}", "{\"d\":[1]}", "[1]");
    check_data(2, "{}", "{}", NULL);
    check(3, "{\"a\":{\"c\":6}}", "{\"b\":\"new\",\"c\":6}");
    check(4, "{\"z\":1}", "{\"z\":1}");
}

static void test_builtin_and_arguments(void **state) {
    (void)state;
    struct function *add = plan_function("add", 2, false,
                                         BLOCKS(B(S(CALL, .builtin = builtin_find(STR("plus")),
                                                    .args = OPERANDS(L(2), L(3)), .target = 4)),
                                                B(S(RETURN_LOCAL, .a = L(4)))));
    ENTRYPOINT("add", INPUT("a", 5), S(MAKE_NUMBER_REF, .target = 6, .integer = NUMBER("0.5")),
               S(CALL, .func = add, .args = OPERANDS(L(0), L(1), L(5), L(6)), .target = 3));
    emit_plan();
    check(0, "{\"a\":2}", "2.5");
    check(0, "{\"a\":\"x\"}", NULL);
}

static void test_query(void **state) {
    (void)state;
    struct entrypoint *p = ARENA_NEW(&C.arena, struct entrypoint);
    p->name = STR("x = input[i]");
    p->blocks = BLOCKS(B(S(SCAN, .a = L(0), .key = 2, .value = 3,
                           .blocks = BLOCKS(B(S(MAKE_OBJECT, .target = 4),
                                              S(OBJECT_INSERT, .target = 4, .a = T("i"), .b = L(2)),
                                              S(OBJECT_INSERT, .target = 4, .a = T("x"), .b = L(3)),
                                              S(RESULT_SET_ADD, .a = L(4)))))));
    ARENA_PUSH(&C.arena, &C.plan->entrypoints, p);
    emit_plan();
    check(0, "[7,8]", "[{\"i\":0,\"x\":7},{\"i\":1,\"x\":8}]");
    check(0, "[]", NULL);
}

/* ---- sections ---- */

static struct wasm_module parts(const struct buf *bytes) {
    struct wasm_module m;
    const char *problem;
    assert_true(wasm_module_read(buf_view(bytes), &C.arena, &m, &problem));
    return m;
}

static void emit_template(const char *value, const char *number, struct buf *thin,
                          struct buf *full) {
    plan_begin();
    uint32_t string = plan_string(C.plan, str_of(value), STR("{{V}}"), false);
    struct function *f = allow_rule();
    ENTRYPOINT("t/x", CALL_FUNCTION(f, 2), INPUT("a", 5),
               S(EQUAL, .a = L(5), .b = ((struct operand){OPERAND_STRING, string})),
               S(MAKE_NUMBER_REF, .target = 3,
                 .integer = plan_string(C.plan, str_of(number), STR("{{N}}"), true)));
    emit_plan();
    buf_init(thin, 1 << 24);
    buf_init(full, 1 << 24);
    buf_str(thin, buf_view(&C.thin));
    buf_str(full, buf_view(&C.full));
    plan_end();
}

/* Code before the data section is the same for all values; the same values give the same bytes. */
static void test_code_is_the_templates(void **state) {
    struct buf thin[3], full[3];
    (void)state;
    emit_template("acme", "1", &thin[0], &full[0]);
    emit_template("a much longer name of another tenant", "12345678901234567890.5", &thin[1],
                  &full[1]);
    emit_template("acme", "1", &thin[2], &full[2]);
    plan_begin();
    for (int form = 0; form < 2; form++) {
        const struct buf *b = form ? full : thin;
        struct wasm_module m[2] = {parts(&b[0]), parts(&b[1])};
        size_t n[2];
        for (int i = 0; i < 2; i++)
            n[i] = (size_t)(m[i].code_section.ptr - (char *)b[i].ptr) + m[i].code_section.len;
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(b[0].ptr, b[1].ptr, n[0]);
        assert_int_not_equal(b[0].len, b[1].len);
        assert_int_equal(b[0].len, b[2].len);
        assert_memory_equal(b[0].ptr, b[2].ptr, b[0].len);
    }
    for (int i = 0; i < 3; i++) buf_deinit(&thin[i]), buf_deinit(&full[i]);
}

static bool has_export(const struct wasm_module *m, const char *name) {
    for (uint32_t i = 0; i < m->exports.n; i++)
        if (str_is(m->exports.items[i].name, name)) return true;
    return false;
}

static void test_interface(void **state) {
    static const char *const names[] = {"memory",
                                        "eval",
                                        "opa_eval",
                                        "builtins",
                                        "entrypoints",
                                        "opa_eval_ctx_new",
                                        "opa_eval_ctx_set_input",
                                        "opa_eval_ctx_set_data",
                                        "opa_eval_ctx_set_entrypoint",
                                        "opa_eval_ctx_get_result",
                                        "opa_malloc",
                                        "opa_free",
                                        "opa_json_parse",
                                        "opa_json_dump",
                                        "opa_value_parse",
                                        "opa_value_dump",
                                        "opa_value_free",
                                        "opa_value_add_path",
                                        "opa_value_remove_path",
                                        "opa_heap_ptr_get",
                                        "opa_heap_ptr_set",
                                        "opa_heap_blocks_stash",
                                        "opa_heap_blocks_restore",
                                        "opa_heap_stash_clear",
                                        "opa_wasm_abi_version",
                                        "opa_wasm_abi_minor_version",
                                        "regent_eval"};
    (void)state;
    ENTRYPOINT("t/x", S(ASSIGN_VAR, .target = 3, .a = T("x")));
    emit_plan();
    struct wasm_module full = parts(&C.full), thin = parts(&C.thin), runtime;
    const char *problem;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(has_export(&full, names[i]));
    assert_true(has_export(&thin, "regent_eval"));
    for (uint32_t i = 0; i < full.imports.n; i++)
        assert_true(str_is(full.imports.items[i].module, "env"));
    for (uint32_t i = 0; i < thin.imports.n; i++)
        assert_true(str_is(thin.imports.items[i].module, "regent"));
    /* what is not reached is not carried */
    assert_true(wasm_module_read(runtime_link_wasm(), &C.arena, &runtime, &problem));
    assert_true(full.bodies.n < runtime.bodies.n / 2);
    assert_true(C.full.len < runtime_link_wasm().len / 3);
    assert_true(C.thin.len < 1500);
}

static void test_listing(void **state) {
    struct buf out;
    (void)state;
    struct function *f = allow_rule();
    ENTRYPOINT("t/allow", CALL_FUNCTION(f, 2), S(ASSIGN_VAR, .target = 3, .a = L(2)));
    emit_plan();
    buf_init(&out, 1 << 20);
    wasm_print(&C, &out);
    buf_byte(&out, 0);
    assert_non_null(strstr((char *)out.ptr, "func allow ( ) -> ( i64 )"));
    assert_non_null(strstr((char *)out.ptr, "; constant 1 \"alice\""));
    assert_non_null(strstr((char *)out.ptr, "call rt_get"));
    buf_deinit(&out);
}

static void test_malformed_plans(void **state) {
    (void)state;
    ENTRYPOINT("t/x", S(BREAK, .integer = 9));
    wasm_emit(&C);
    assert_int_equal(C.diags.n, 1);
}

/* Reaching the arena's maximum inside of the emitter jumps out of the compile and frees what it
 * owns. */
static void test_exhausted(void **state) {
    jmp_buf out;
    (void)state;
    struct function *f = allow_rule();
    ENTRYPOINT("t/allow", CALL_FUNCTION(f, 2), S(ASSIGN_VAR, .target = 3, .a = L(2)));
    C.arena.max_bytes = C.arena.used_bytes + (64 << 10);
    C.arena.exhausted = &out;
    if (setjmp(out) == 0) {
        wasm_emit(&C);
        fail_msg("the arena's maximum was not reached");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rule, begin, end),
        cmocka_unit_test_setup_teardown(test_constants, begin, end),
        cmocka_unit_test_setup_teardown(test_scan, begin, end),
        cmocka_unit_test_setup_teardown(test_not, begin, end),
        cmocka_unit_test_setup_teardown(test_with, begin, end),
        cmocka_unit_test_setup_teardown(test_call_dynamic, begin, end),
        cmocka_unit_test_setup_teardown(test_conflicts, begin, end),
        cmocka_unit_test_setup_teardown(test_equality, begin, end),
        cmocka_unit_test_setup_teardown(test_types, begin, end),
        cmocka_unit_test_setup_teardown(test_slots, begin, end),
        cmocka_unit_test_setup_teardown(test_builtin_and_arguments, begin, end),
        cmocka_unit_test_setup_teardown(test_query, begin, end),
        cmocka_unit_test_setup_teardown(test_code_is_the_templates, NULL, end),
        cmocka_unit_test_setup_teardown(test_interface, begin, end),
        cmocka_unit_test_setup_teardown(test_listing, begin, end),
        cmocka_unit_test_setup_teardown(test_malformed_plans, begin, end),
        cmocka_unit_test_setup_teardown(test_exhausted, begin, end),
    };
    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
