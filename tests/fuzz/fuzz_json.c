/* libFuzzer over the runtime's JSON: reading, skipping and binding accept the same texts, and what
 * is printed is read as the same value. in: arbitrary bytes; the first chooses JSON or Rego syntax.
 * out: a crash when a law is broken. owns: nothing. Build: clang
 * -fsanitize=fuzzer,address,undefined -fno-pie -no-pie -DREGENT_NATIVE -Isrc, with libruntime.a. */
#include "runtime/rt_native.h"
#include "runtime/state.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAP_BYTES = 64 << 20, INPUT_MAX = 1 << 16 };

static void law(bool holds) {
    if (!holds) abort();
}

/* root { a { b: slot 0 }, c: slot 1 } */
static uint32_t tree_new(void) {
    struct path_node *n = rt_alloc(4 * sizeof *n);
    n[0] = (struct path_node){VALUE_UNDEFINED, -1, 2, addr(n + 1), 0};
    n[1] = (struct path_node){string_copy(TEXT("a")), -1, 1, addr(n + 3), 0};
    n[2] = (struct path_node){string_copy(TEXT("c")), 1, 0, 0, 0};
    n[3] = (struct path_node){string_copy(TEXT("b")), 0, 0, 0, 0};
    return addr(n);
}

static bool same(value a, value b) {
    if (!is_defined(a) || !is_defined(b)) return a == b;
    return value_equal(a, b);
}

static void check_binding(struct text t, bool valid, value v) {
    struct json_problem problem;
    value read[2], built[2];
    uint32_t tree = tree_new();
    law(bind_text(t, 0, read, 0, &problem) == valid);
    law(bind_text(t, tree, read, 2, &problem) == valid);
    if (!valid) return;
    bind_value(tree, v, built, 2);
    law(same(read[0], built[0]) && same(read[1], built[1]));
}

static void check_printing(value v, bool rego) {
    struct builder b = builder_new(0);
    value again;
    json_write(&b, v, rego ? JSON_REGO : JSON_PLAIN);
    law(utf8_valid(builder_view(&b)));
    law(json_read(builder_view(&b), rego, &again, NULL));
    law(value_equal(v, again) && value_compare(v, again) == 0 &&
        value_hash(v) == value_hash(again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0 || size > INPUT_MAX) return 0;
    native_setup(HEAP_BYTES);
    bool rego = data[0] & 1;
    uint8_t *copy = malloc(size); /* exactly as long as the text: reading past it is seen */
    memcpy(copy, data + 1, size - 1);
    struct text t = {rt_alloc((uint32_t)size), (uint32_t)size - 1};
    memcpy(at(addr(t.ptr)), copy, size - 1);
    value v = VALUE_UNDEFINED;
    bool valid = json_read(t, rego, &v, NULL);
    if (!rego) check_binding(t, valid, v);
    if (valid) check_printing(v, rego);
    struct json_problem problem; /* skipping makes no words, so it can run on memory anywhere */
    if (!rego)
        law(bind_text((struct text){copy, (uint32_t)size - 1}, 0, NULL, 0, &problem) == valid);
    free(copy);
    return 0;
}
