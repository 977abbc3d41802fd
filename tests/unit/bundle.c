/* Bundles: what is written is read back, equal files give equal bytes, data merges at its folders,
 * broken archives and names that leave the bundle are refused. */
#include "bundle/bundle.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena A;
static struct buf archive;
static struct diag_list diags;

static int setup(void **state) {
    (void)state;
    arena_init(&A, 1 << 24);
    buf_init(&archive, 1 << 24);
    diag_list_init(&diags, &A);
    return 0;
}
static int teardown(void **state) {
    (void)state;
    buf_deinit(&archive);
    arena_deinit(&A);
    return 0;
}

#define FILE_OF(path, text)                                                                        \
    {                                                                                              \
        {path, sizeof path - 1}, { text, sizeof text - 1 }                                         \
    }

static enum err write_and_read(const struct bundle_file *files, uint32_t n, struct bundle *b) {
    buf_clear(&archive);
    assert_int_equal(bundle_write(files, n, &archive), OK);
    return bundle_read(&A, buf_view(&archive), b, &diags);
}

static void round_trip(void **state) {
    (void)state;
    static const struct bundle_file files[] = {
        FILE_OF("/data.json", "{\"a\":1,\"b\":{\"c\":2}}"),
        FILE_OF("/b/data.json", "{\"d\":3}"),
        FILE_OF("/x/y/data.yaml", "k: [1, two]\n"),
        FILE_OF("/p.rego", "package p\n"),
        FILE_OF("/policy.wasm", "FULL"),
        FILE_OF("/policy.thin.wasm", "THIN"),
        FILE_OF("/.manifest", "{\"revision\":\"r1\",\"wasm\":[{\"entrypoint\":\"p/"
                              "a\",\"module\":\"/policy.wasm\"}]}")};
    struct bundle b;
    assert_int_equal(write_and_read(files, 7, &b), OK);
    assert_int_equal(b.files.n, 7);
    assert_true(str_is(b.full, "FULL") && str_is(b.thin, "THIN") && str_is(b.revision, "r1"));
    struct buf text;
    buf_init(&text, 1 << 16);
    json_print(b.data, true, 0, &text);
    assert_true(str_is(buf_view(&text),
                       "{\"a\":1,\"b\":{\"c\":2,\"d\":3},\"x\":{\"y\":{\"k\":[1,\"two\"]}}}"));
    buf_deinit(&text);
}

static void equal_bytes(void **state) {
    (void)state;
    static const struct bundle_file files[] = {FILE_OF("/a", "x"), FILE_OF("/b", "")};
    struct buf again;
    buf_init(&again, 1 << 20);
    buf_clear(&archive);
    assert_int_equal(bundle_write(files, 2, &archive), OK);
    assert_int_equal(bundle_write(files, 2, &again), OK);
    assert_int_equal(again.len, archive.len);
    assert_memory_equal(again.ptr, archive.ptr, again.len);
    buf_deinit(&again);
}

static void long_names(void **state) {
    (void)state;
    char name[600];
    memset(name, 'n', sizeof name);
    name[0] = '/';
    const struct bundle_file file = {{name, sizeof name}, STR("x")};
    struct bundle b;
    assert_int_equal(write_and_read(&file, 1, &b), OK);
    assert_true(str_eq(b.files.items[0].path, file.path));
}

static void module_named_by_manifest(void **state) {
    (void)state;
    static const struct bundle_file files[] = {
        FILE_OF("/m/other.wasm", "OTHER"), FILE_OF("/policy.wasm", "FULL"),
        FILE_OF("/.manifest", "{\"wasm\":[{\"module\":\"m/other.wasm\"}]}")};
    struct bundle b;
    assert_int_equal(write_and_read(files, 3, &b), OK);
    assert_true(str_is(b.full, "OTHER"));
}

static void refused(void **state) {
    (void)state;
    static const struct bundle_file rows[][2] = {
        {FILE_OF("/../x", "x"), FILE_OF("/y", "")},
        {FILE_OF("/data.json", "{"), FILE_OF("/y", "")},
        {FILE_OF("/data.json", "[1]"), FILE_OF("/y", "")},
        {FILE_OF("/data.json", "{\"a\":1}"), FILE_OF("/a/data.json", "{\"b\":1}")},
        {FILE_OF("/data.json", "{\"a\":1}"), FILE_OF("/data.yaml", "a: 2")},
        {FILE_OF("/.manifest", "[]"), FILE_OF("/y", "")},
        {FILE_OF("/.manifest", "{"), FILE_OF("/y", "")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bundle b;
        uint32_t before = diags.n;
        assert_int_equal(write_and_read(rows[i], 2, &b), ERR_DIAG);
        assert_true(diags.n > before);
    }
}

static void broken_archives(void **state) {
    (void)state;
    static const struct bundle_file files[] = {
        FILE_OF("/data.json", "{\"a\":\"some text that takes room\"}"),
        FILE_OF("/policy.wasm", "FULL")};
    struct bundle b;
    assert_int_equal(write_and_read(files, 2, &b), OK);
    for (size_t n = 0; n + 16 < archive.len; n += 7) { /* the last bytes are gzip's own checks */
        struct bundle cut;
        enum err e = bundle_read(&A, (struct str){(char *)archive.ptr, n}, &cut, &diags);
        assert_true(e != OK || cut.full.len == 0 || str_is(cut.full, "FULL"));
    }
    assert_int_equal(bundle_read(&A, STR("no archive at all"), &b, &diags), ERR_DIAG);
    assert_int_not_equal(bundle_read(&A, STR(""), &b, &diags), OK);
}

static void bomb(void **state) {
    (void)state;
    struct arena small;
    struct bundle b;
    size_t n = 8 << 20;
    char *zeros = calloc(1, n);
    const struct bundle_file file = {STR("/zeros"), {zeros, n}};
    arena_init(&small, 1 << 20);
    buf_clear(&archive);
    assert_int_equal(bundle_write(&file, 1, &archive), OK);
    assert_int_not_equal(bundle_read(&small, buf_view(&archive), &b, &diags), OK);
    arena_deinit(&small);
    free(zeros);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip), cmocka_unit_test(equal_bytes),
        cmocka_unit_test(long_names), cmocka_unit_test(module_named_by_manifest),
        cmocka_unit_test(refused),    cmocka_unit_test(broken_archives),
        cmocka_unit_test(bomb)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
