/* Fuzzes the parser: any bytes, in every version, give a tree that prints or errors.
 * in: libFuzzer's bytes; the first picks version and options
 * out: crashes only
 * owns: one arena and one buffer an input */
#include "compiler/ast/parser.h"
#include "compiler/ast/print.h"

enum { MAX_ARENA_BYTES = 256 << 20, MAX_TEXT_BYTES = 64 << 20 };

static void print_all(const struct module *m) {
    struct buf b;
    buf_init(&b, MAX_TEXT_BYTES);
    print_module(m, &b);
    print_module_json(m, &b);
    buf_deinit(&b);
}

static void parse_all(struct arena *a, struct str source, const struct parse_options *options) {
    struct diag_list diags;
    struct body body;
    diag_list_init(&diags, a);
    struct module *m = parse_module(a, STR("fuzz.rego"), source, options, &diags);
    if (m) print_all(m);
    if (m && m->rules.n) rule_copy(a, m->rules.items[0]);
    if (!parse_query(a, STR("query"), source, options, &diags, &body)) return;
    struct body copy;
    body_copy(a, &copy, &body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    struct arena a;
    jmp_buf exhausted;
    arena_init(&a, MAX_ARENA_BYTES);
    a.exhausted = &exhausted;
    if (setjmp(exhausted) == 0) {
        struct json *values = json_object(&a);
        json_set(&a, values, STR("NAME"), json_string(&a, STR("a\"b")));
        struct parse_options options = {
            .version = (enum rego_version)(data[0] % 3),
            .template_values = data[0] & 4 ? values : NULL,
            .experimental_keywords = (data[0] & 8) != 0,
            .skip_rules = (data[0] & 16) != 0,
        };
        parse_all(&a, (struct str){(const char *)data + 1, size - 1}, &options);
    }
    arena_deinit(&a);
    return 0;
}
