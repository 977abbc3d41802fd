/* Fuzzes bundle reading: any bytes give a bundle or diagnostics, inside the arena's maximum. What
 * was read is written and read again as the same files. in: libFuzzer's bytes: a tar, gzipped or
 * not. out: crashes only. owns: two arenas and a buffer an input. Build: tests/fuzz/run.sh. */
#include "bundle/bundle.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 8 << 20 };

static void law(bool holds) {
    if (!holds) abort();
}

static void again(const struct bundle *b, struct arena *a) {
    struct buf out;
    struct bundle c;
    struct diag_list diags;
    buf_init(&out, MAX_BYTES);
    diag_list_init(&diags, a);
    if (bundle_write(b->files.items, b->files.n, &out) == OK &&
        bundle_read(a, buf_view(&out), &c, &diags) == OK) {
        law(c.files.n == b->files.n && str_eq(c.full, b->full) && str_eq(c.thin, b->thin));
        law(json_equal(c.data, b->data));
    }
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena a, second;
    struct bundle b;
    struct diag_list diags;
    arena_init(&a, MAX_BYTES);
    arena_init(&second, MAX_BYTES);
    diag_list_init(&diags, &a);
    enum err e = bundle_read(&a, (struct str){(const char *)data, size}, &b, &diags);
    law(e != ERR_DIAG || diags.n);
    if (!e) again(&b, &second);
    arena_deinit(&second);
    arena_deinit(&a);
    return 0;
}
