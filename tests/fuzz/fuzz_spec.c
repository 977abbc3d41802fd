/* Fuzzes the documents of the control plane: any JSON as a template, a library and a tenant gives a canonical document that
 * reads back as itself, or problems; and values of one for the parameters of another are texts. in: libFuzzer's bytes.
 * out: crashes only. owns: an arena an input. Build: tests/fuzz/run.sh. */
#include "control/spec.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void law(bool holds) {
    if (!holds) abort();
}

static void check_problems(const struct diag_list *diags, enum err e) {
    law(e == ERR_DIAG || e == ERR_MEMORY);
    law(e != ERR_DIAG || diags->n > 0 || diags->dropped > 0);
    for (uint32_t i = 0; i < diags->n; i++) law(diags->items[i].message.len > 0);
}

/* NULL: refused. */
static struct json *read_document(struct arena *a, enum spec_kind kind, const struct json *v) {
    struct diag_list diags;
    struct json *out, *back, *again;
    struct str text, second;
    struct json_error error;
    diag_list_init(&diags, a);
    enum err e = spec_read(a, kind, v, &out, &diags);
    if (e) return check_problems(&diags, e), NULL;
    law(spec_print(a, out, &text) == OK);
    law(json_parse_strict(a, text, &back, &error) == OK);
    law(spec_read(a, kind, back, &again, &diags) == OK);
    law(spec_print(a, again, &second) == OK && str_eq(text, second));
    return out;
}

static void check_values(struct arena *a, const struct json *template, const struct json *tenant) {
    struct diag_list diags;
    struct json *values;
    diag_list_init(&diags, a);
    enum err e = spec_parameters(a, template, tenant, &values, &diags);
    if (e) {
        check_problems(&diags, e);
        return;
    }
    for (uint32_t i = 0; i < values->n; i++) law(values->items[i]->kind == JSON_STRING);
    if (template) law(values->n == (json_get_c(template, "parameters") ? json_get_c(template, "parameters")->n : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena a;
    struct json *v;
    struct json_error error;
    arena_init(&a, 256 << 20);
    if (json_parse_strict(&a, (struct str){(const char *)data, size}, &v, &error) == OK) {
        (void)read_document(&a, SPEC_TEMPLATE, v);
        (void)read_document(&a, SPEC_LIBRARY, v);
        (void)read_document(&a, SPEC_TENANT, v);
        struct json *of = json_get_c(v, "of"), *with = json_get_c(v, "with");
        struct json *template = of ? read_document(&a, SPEC_TEMPLATE, of) : NULL;
        struct json *tenant = with ? read_document(&a, SPEC_TENANT, with) : NULL;
        if (tenant) check_values(&a, template, tenant);
    }
    arena_deinit(&a);
    return 0;
}
