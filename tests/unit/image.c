/* Values in the runtime's layout: numbers, order, hashes, collections, reading hostile memory,
 * binding slots. */
#include "image/image.h"
#include "image/decimal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BASE = 0x30000 };

static struct image M;
static struct arena A;

static int setup(void **state) {
    (void)state;
    image_init(&M, BASE, 1 << 24);
    arena_init(&A, 1 << 24);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    image_deinit(&M);
    arena_deinit(&A);
    return 0;
}

static value number(const char *text) { return image_number(&M, str_of(text)); }

static value json_value(const char *text) {
    struct json *v;
    struct json_error error;
    assert_int_equal(json_parse(&A, str_of(text), &v, &error), OK);
    return image_json(&M, v);
}

/* The image as a module's memory: zeros below it. The caller frees bytes. */
static struct memory_view memory(void) {
    uint64_t len = BASE + M.bytes.len;
    uint8_t *bytes = calloc(1, len);
    if (M.bytes.len) memcpy(bytes + BASE, M.bytes.ptr, M.bytes.len);
    return (struct memory_view){bytes, len};
}

static void assert_reads(value v, const char *expected) {
    struct memory_view m = memory();
    struct json *tree = NULL;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(memory_read(m, v, &A, &tree), OK);
    json_print(tree, false, 0, &out);
    buf_byte(&out, 0);
    assert_string_equal((char *)out.ptr, expected);
    buf_deinit(&out);
    free((void *)m.bytes);
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned tag;
    } cases[] = {{"0", TAG_INTEGER},
                 {"-17", TAG_INTEGER},
                 {"576460752303423487", TAG_INTEGER},
                 {"576460752303423488", TAG_NUMBER},
                 {"-576460752303423488", TAG_INTEGER},
                 {"-576460752303423489", TAG_NUMBER},
                 {"-0", TAG_NUMBER},
                 {"1.0", TAG_NUMBER},
                 {"1e3", TAG_NUMBER},
                 {"99999999999999999999", TAG_NUMBER}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        value v = number(cases[i].text);
        assert_int_equal(value_tag(v), cases[i].tag);
        assert_reads(v, cases[i].text);
    }
}

static void test_number_order(void **state) {
    (void)state;
    /* Ascending; equal values share a line. */
    static const char *const rows[][4] = {{"-1e400"},
                                          {"-576460752303423489"},
                                          {"-2", "-2.0", "-20e-1"},
                                          {"-0.5", "-5e-1"},
                                          {"0", "-0", "0.0", "0e7"},
                                          {"1e-400"},
                                          {"0.1", "1e-1", "0.10"},
                                          {"0.11"},
                                          {"1", "1.0", "10e-1", "0.01E+2"},
                                          {"1.0000000000000000000001"},
                                          {"9"},
                                          {"10", "1e1"},
                                          {"576460752303423488", "576460752303423488.0"},
                                          {"100000000000000000000", "1e20", "1E+20"},
                                          {"1e400"},
                                          {"1e999999999999999999999999"}};
    enum { N = sizeof rows / sizeof rows[0] };
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            for (size_t k = 0; k < 4 && rows[i][k]; k++)
                for (size_t l = 0; l < 4 && rows[j][l]; l++) {
                    value a = number(rows[i][k]), b = number(rows[j][l]);
                    assert_int_equal(image_compare(&M, a, b), (i > j) - (i < j));
                    if (i == j) assert_int_equal(image_hash(&M, a), image_hash(&M, b));
                }
}

static void test_number_grammar(void **state) {
    (void)state;
    static const char *const good[] = {"0", "-0", "10", "0.5", "1e5", "1E-05", "-1.5e+9"};
    static const char *const bad[] = {"",    "-",  "01",  "1.", ".5", "1e",
                                      "1e+", "+1", "0x1", "1 ", "NaN"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(decimal_valid(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(decimal_valid(str_of(bad[i])));
}

static void test_order_of_types(void **state) {
    (void)state;
    value item = value_of_integer(1), other = value_of_integer(2);
    value ascending[] = {VALUE_NULL,
                         VALUE_FALSE,
                         VALUE_TRUE,
                         number("-1"),
                         number("1.5"),
                         image_string(&M, STR("")),
                         image_string(&M, STR("a")),
                         image_string(&M, STR("ab")),
                         image_string(&M, STR("b")),
                         json_value("[]"),
                         json_value("[1]"),
                         json_value("[1,2]"),
                         json_value("[2]"),
                         json_value("{}"),
                         json_value("{\"a\":1}"),
                         json_value("{\"a\":1,\"b\":0}"),
                         json_value("{\"a\":2}"),
                         json_value("{\"b\":0}"),
                         image_set(&M, NULL, 0),
                         image_set(&M, &item, 1),
                         image_set(&M, &other, 1)};
    enum { N = sizeof ascending / sizeof ascending[0] };
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            assert_int_equal(image_compare(&M, ascending[i], ascending[j]), (i > j) - (i < j));
}

static void test_objects(void **state) {
    (void)state;
    assert_reads(json_value("{\"b\":1,\"a\":{\"z\":[],\"y\":null},\"b\":2}"),
                 "{\"a\":{\"y\":null,\"z\":[]},\"b\":2}");
    struct pair pairs[] = {{number("1"), VALUE_TRUE}, {number("1.0"), VALUE_FALSE}};
    assert_reads(image_object(&M, pairs, 2), "{\"1\":false}");
    value items[] = {image_string(&M, STR("b")), number("3"), image_string(&M, STR("b")),
                     number("3.0")};
    assert_reads(image_set(&M, items, 4), "[3,\"b\"]");
}

/* Every key is found by probing the index as the runtime does. */
static void test_index(void **state) {
    (void)state;
    struct pair pairs[500];
    for (uint32_t i = 0; i < 500; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%u", (i * 7919) % 500);
        pairs[i] = (struct pair){image_string(&M, str_of(name)), value_of_integer(i)};
    }
    value v = image_object(&M, pairs, 500);
    const struct object *o = image_at(&M, value_pointer(v));
    assert_int_equal(o->n, 500);
    assert_int_equal(o->flags & COLLECTION_SORTED, COLLECTION_SORTED);
    assert_int_equal(o->mask & (o->mask + 1), 0);
    const uint32_t *index = image_at(&M, o->index);
    const struct pair *entries = image_at(&M, o->entries);
    for (uint32_t i = 0; i < 500; i++) {
        uint32_t h = image_hash(&M, entries[i].key) & o->mask;
        while (index[h] && index[h] != i + 1) h = (h + 1) & o->mask;
        assert_int_equal(index[h], i + 1);
        if (i) assert_true(image_compare(&M, entries[i - 1].key, entries[i].key) < 0);
    }
}

static void test_string_hash(void **state) {
    (void)state;
    /* decimal_hash streams what layout_hash_bytes reads at once. */
    static const char *const forms[][2] = {{"1.5", "15e-1"},
                                           {"-12345678901234567890", "-1234567890123456789e1"},
                                           {"1e400", "1e400"},
                                           {"0.00000000000000001234", "1234e-20"}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        uint32_t h = layout_hash_bytes((const uint8_t *)forms[i][1], (uint32_t)strlen(forms[i][1]));
        assert_int_equal(image_hash(&M, number(forms[i][0])), h);
    }
}

static void assert_invalid(struct memory_view m, value v) {
    struct json *out;
    assert_int_equal(memory_read(m, v, &A, &out), ERR_INVALID);
}

static void test_hostile_memory(void **state) {
    (void)state;
    uint8_t bytes[256] = {0};
    struct memory_view m = {bytes, sizeof bytes};
    uint32_t array[4] = {1, 1, 32, 0}; /* at 16: one item, at 32, which is the array itself */
    value self = value_of_pointer(TAG_ARRAY, 16);
    memcpy(bytes + 16, array, sizeof array);
    memcpy(bytes + 32, &self, sizeof self);
    assert_invalid(m, self);
    assert_invalid(m, value_of_view(TAG_STRING, 250, 7));
    assert_invalid(m, value_of_view(TAG_STRING, 0xffffffff, 0xfffffff));
    assert_invalid(m, value_of_pointer(TAG_ARRAY, 250));
    assert_invalid(m, value_of_pointer(TAG_OBJECT, 0xfffffff0));
    assert_invalid(m, 9);
    assert_invalid(m, 32 | TAG_BOOLEAN);
    assert_invalid(m, 17);
    bytes[100] = 0xff;
    assert_invalid(m, value_of_view(TAG_STRING, 100, 1));
    memcpy(bytes + 101, "1x", 2);
    assert_invalid(m, value_of_view(TAG_NUMBER, 101, 2));
    array[0] = 0x40000000;
    memcpy(bytes + 16, array, sizeof array);
    assert_invalid(m, self);
    assert_invalid(m, value_of_pointer(TAG_OBJECT, 16));
    struct json *out;
    assert_int_equal(memory_read(m, VALUE_UNDEFINED, &A, &out), OK);
    assert_null(out);
}

/* A graph whose tree is far larger than memory ends at the arena's maximum. */
static void test_hostile_sharing(void **state) {
    (void)state;
    uint8_t bytes[4096] = {0};
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t at = 64 * i, head[4] = {2, 2, at + 16, 0};
        value next = i == 59 ? VALUE_NULL : value_of_pointer(TAG_ARRAY, at + 64);
        memcpy(bytes + at, head, sizeof head);
        memcpy(bytes + at + 16, &next, sizeof next);
        memcpy(bytes + at + 24, &next, sizeof next);
    }
    struct json *out;
    struct memory_view m = {bytes, sizeof bytes};
    assert_int_equal(memory_read(m, value_of_pointer(TAG_ARRAY, 0), &A, &out), ERR_MEMORY);
}

static uint32_t node(value key, int32_t slot, uint32_t n_children, uint32_t children) {
    uint32_t at = image_reserve(&M, sizeof(struct path_node));
    *(struct path_node *)image_at(&M, at) = (struct path_node){
        .key = key, .slot = slot, .n_children = n_children, .children = children};
    return at;
}

static void test_bind(void **state) {
    (void)state;
    struct image data;
    value key_a = image_string(&M, STR("a")), key_x = image_string(&M, STR("x")), slots[3];
    uint32_t x = node(key_x, 1, 0, 0);
    uint32_t a = node(key_a, 0, 1, x);
    uint32_t root = node(VALUE_UNDEFINED, -1, 1, a);
    struct json *tree;
    struct json_error error;
    image_init(&data, 0x80000, 1 << 20);
    assert_int_equal(json_parse(&A, STR("{\"b\":0,\"a\":{\"x\":5,\"y\":6}}"), &tree, &error), OK);
    value word = image_json(&data, tree);
    assert_int_equal(image_bind(&M, &data, root, word, slots, 3), OK);
    assert_int_equal(value_tag(slots[0]), TAG_OBJECT);
    assert_true(slots[1] == value_of_integer(5));
    assert_true(slots[2] == VALUE_UNDEFINED);
    assert_int_equal(image_bind(&M, &data, root, VALUE_NULL, slots, 3), OK);
    assert_true(slots[1] == VALUE_UNDEFINED);
    /* hostile trees */
    assert_int_equal(image_bind(&M, &data, root, word, slots, 1), ERR_INVALID);
    assert_int_equal(image_bind(&M, &data, 4, word, slots, 3), ERR_INVALID);
    assert_int_equal(image_bind(&M, &data, root + 4, word, slots, 3), ERR_INVALID);
    ((struct path_node *)image_at(&M, x))->n_children = 1;
    ((struct path_node *)image_at(&M, x))->children = a;
    assert_int_equal(image_bind(&M, &data, root, word, slots, 3), ERR_INVALID);
    ((struct path_node *)image_at(&M, x))->n_children = 0x10000000;
    assert_int_equal(image_bind(&M, &data, root, word, slots, 3), ERR_INVALID);
    image_deinit(&data);
}

static void test_limits(void **state) {
    (void)state;
    struct image small;
    struct json *tree;
    struct json_error error;
    image_init(&small, BASE, 100);
    assert_int_equal(json_parse(&A, STR("[[1,2,3],[4,5,6],{\"a\":7,\"b\":[8]}]"), &tree, &error),
                     OK);
    (void)image_json(&small, tree);
    assert_int_equal(small.bytes.err, ERR_LIMIT);
    image_deinit(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_number_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_number_grammar, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_of_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_string_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_sharing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
