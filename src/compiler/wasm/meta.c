/* What a module says about itself: entrypoints, builtins, the custom section "regent".
 * in: the plan. out: compact JSON. owns: nothing. */
#include "compiler/wasm/emit.h"

enum { ABI_VERSION = 1 };

void meta_entrypoints(const struct emit *e, struct buf *out) {
    buf_byte(out, '{');
    for (uint32_t i = 0; i < e->plan->entrypoints.n; i++) {
        if (i) buf_byte(out, ',');
        json_print_string(e->plan->entrypoints.items[i]->name, out);
        buf_printf(out, ":%u", i);
    }
    buf_byte(out, '}');
}

void meta_builtins(const struct emit *e, struct buf *out) {
    const char *comma = "";
    buf_byte(out, '{');
    for (uint32_t i = 0; i < e->plan->builtins.n; i++) {
        if (!e->builtin_ids[i]) continue;
        buf_cstr(out, comma);
        json_print_string(str_of(e->plan->builtins.items[i]->name), out);
        buf_printf(out, ":%u", e->builtin_ids[i] - 1);
        comma = ",";
    }
    buf_byte(out, '}');
}

static void entrypoint_names(const struct emit *e, struct buf *out) {
    buf_byte(out, '[');
    for (uint32_t i = 0; i < e->plan->entrypoints.n; i++) {
        if (i) buf_byte(out, ',');
        json_print_string(e->plan->entrypoints.items[i]->name, out);
    }
    buf_byte(out, ']');
}

/* Keys from the root down to the node being printed. */
struct path {
    const struct path *parent;
    struct str key;
};

static void print_keys(const struct path *p, struct buf *out) {
    if (!p) return;
    print_keys(p->parent, out);
    if (p->parent) buf_byte(out, ',');
    json_print_string(p->key, out);
}

static void input_paths(const struct emit *e, const struct path_tree *t, const struct path *here,
                        const char **comma, struct buf *out) {
    if (t->slot >= 0) {
        buf_printf(out, "%s[", *comma);
        print_keys(here, out);
        buf_byte(out, ']');
        *comma = ",";
    }
    for (uint32_t i = 0; i < t->n; i++) {
        struct path child = {here, e->plan->strings.items[t->items[i]->key].text};
        input_paths(e, t->items[i], &child, comma, out);
    }
}

static void inputs(const struct emit *e, struct buf *out) {
    const char *comma = "";
    buf_byte(out, '[');
    if (e->whole_input)
        buf_cstr(out, "[]");
    else if (e->plan->input_tree)
        input_paths(e, e->plan->input_tree, NULL, &comma, out);
    buf_byte(out, ']');
}

void meta_section(struct emit *e, enum module_form form, struct buf *out) {
    static const char *const names[] = {
        [FORM_FULL] = "full", [FORM_THIN] = "thin", [FORM_PROXY] = "proxy-wasm"};
    buf_printf(out, "{\"abi\":%d,\"form\":\"%s\",\"runtime\":\"%s\",\"layout\":%d,\"entrypoints\":",
               ABI_VERSION, names[form], runtime_hash(), LAYOUT_VERSION);
    entrypoint_names(e, out);
    buf_cstr(out, ",\"builtins\":");
    meta_builtins(e, out);
    buf_cstr(out, ",\"input\":");
    inputs(e, out);
    buf_cstr(out, ",\"compiler\":\"" REGENT_VERSION "\"}");
}
