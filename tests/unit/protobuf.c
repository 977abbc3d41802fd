/* Protocol buffers' wire format: what is written is read back; broken bytes fail and never read
 * past the end. */
#include "net/protobuf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void round_trip(void **state) {
    (void)state;
    struct buf b;
    struct pb_field f;
    buf_init(&b, 1 << 20);
    pb_varint(&b, 1, UINT64_MAX);
    pb_string(&b, 2, STR("text"));
    pb_double(&b, 536870911, 2.5);
    size_t outer = pb_begin(&b, 3), inner = pb_begin(&b, 4);
    pb_string(&b, 5, STR(""));
    pb_end(&b, inner);
    pb_end(&b, outer);
    struct reader r = reader_of(b.ptr, b.len);
    assert_true(pb_next(&r, &f) && f.number == 1 && f.wire == PB_VARINT && f.varint == UINT64_MAX);
    assert_true(pb_next(&r, &f) && f.number == 2 && f.wire == PB_BYTES && str_is(f.bytes, "text"));
    assert_true(pb_next(&r, &f) && f.number == 536870911 && f.wire == PB_FIXED64);
    double d;
    memcpy(&d, &f.varint, 8);
    assert_true(d == 2.5);
    assert_true(pb_next(&r, &f) && f.number == 3);
    struct reader sub = reader_of(f.bytes.ptr, f.bytes.len);
    assert_true(pb_next(&sub, &f) && f.number == 4);
    sub = reader_of(f.bytes.ptr, f.bytes.len);
    assert_true(pb_next(&sub, &f) && f.number == 5 && f.bytes.len == 0);
    assert_false(pb_next(&sub, &f));
    assert_false(sub.failed);
    assert_false(pb_next(&r, &f));
    assert_false(r.failed);
    buf_deinit(&b);
}

static void long_message(void **state) {
    (void)state;
    struct buf b;
    struct pb_field f;
    char text[300];
    memset(text, 'x', sizeof text);
    buf_init(&b, 1 << 20);
    size_t m = pb_begin(&b, 1);
    for (int i = 0; i < 100; i++) pb_string(&b, 2, (struct str){text, sizeof text});
    pb_end(&b, m);
    struct reader r = reader_of(b.ptr, b.len);
    assert_true(pb_next(&r, &f));
    assert_int_equal(f.bytes.len, 100 * (sizeof text + 3));
    buf_deinit(&b);
}

static void broken(void **state) {
    (void)state;
    static const struct str rows[] = {
        {"\x08", 1},                                              /* no value */
        {"\x08\xff", 2},                                          /* cut varint */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12}, /* varint too long */
        {"\x0a\x05"
         "abc",
         5}, /* bytes past the end */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
         "abc",
         14}, /* length 2^64 - 1 */
        {"\x09"
         "1234567",
         8}, /* cut fixed64 */
        {"\x0d"
         "123",
         4},             /* cut fixed32 */
        {"\x0b\x0c", 2}, /* group */
        {"\x0e", 1},     /* wire type 6 */
        {"\x00\x00", 2}, /* field 0 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *copy = malloc(rows[i].len);
        struct pb_field f;
        memcpy(copy, rows[i].ptr, rows[i].len);
        struct reader r = reader_of(copy, rows[i].len);
        if (pb_next(&r, &f)) print_message("# row %zu\n", i);
        assert_true(r.failed);
        assert_false(pb_next(&r, &f));
        free(copy);
    }
}

static void full_buffer(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    size_t m = pb_begin(&b, 1);
    pb_string(&b, 2, STR("more than fits"));
    pb_end(&b, m);
    assert_int_equal(b.err, ERR_LIMIT);
    buf_deinit(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(long_message),
                                       cmocka_unit_test(broken), cmocka_unit_test(full_buffer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
