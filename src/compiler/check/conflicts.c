/* Finds rules that cannot share their paths: with other rules, with packages, with base documents.
 * in: the rule tree, request->data. out: errors. owns: nothing. */
#include "compiler/ast/print.h"
#include "compiler/check/check_private.h"
#include <stdlib.h>

static struct str place(struct check_private *k, struct loc loc) {
    size_t len;
    const char *text = loc.file.len
                           ? arena_printf(k->a, &len, "%.*s:%u", STR_FMT(loc.file), loc.row)
                           : arena_printf(k->a, &len, "%u:%u", loc.row, loc.col);
    return (struct str){text, len};
}

/* ---- Rules inside the extent of another ---- */

static bool path_has_prefix(const struct term *path, const struct term *prefix) {
    if (path->list.n < prefix->list.n) return false;
    for (uint32_t i = 0; i < prefix->list.n; i++)
        if (!term_equal(path->list.items[i], prefix->list.items[i])) return false;
    return true;
}

/* Keeps the shortest paths only. */
static void add_by_prefix(struct check_private *k, struct rule_list *l, struct rule *r) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (path_has_prefix(r->path, l->items[i]->path)) return;
    for (uint32_t i = 0; i < l->n; i++)
        if (!path_has_prefix(l->items[i]->path, r->path)) l->items[n++] = l->items[i];
    l->n = n;
    ARENA_PUSH(k->a, l, r);
}

static void rules_below(struct check_private *k, const struct rule_node *n, bool functions_only,
                        struct rule_list *out) {
    for (uint32_t i = 0; i < n->children.n; i++) {
        const struct rule_node *child = n->children.entries[i].value;
        for (uint32_t j = 0; j < child->rules.n; j++)
            if (!functions_only || child->rules.items[j]->head->is_function)
                add_by_prefix(k, out, child->rules.items[j]);
        rules_below(k, child, functions_only, out);
    }
}

static int by_path(const void *a, const void *b) {
    return term_compare((*(struct rule *const *)a)->path, (*(struct rule *const *)b)->path);
}

static void report_extent(struct check_private *k, const struct rule_node *n, struct str name,
                          struct rule_list *inside) {
    struct str list = STR("");
    qsort(inside->items, inside->n, sizeof *inside->items, by_path);
    for (uint32_t i = 0; i < inside->n; i++) {
        const struct rule *r = inside->items[i];
        size_t len;
        const char *text =
            arena_printf(k->a, &len, "%.*s\n  rule %.*s at %.*s", STR_FMT(list),
                         STR_FMT(check_user_text(k, r->path)), STR_FMT(place(k, r->loc)));
        list = (struct str){text, len};
    }
    diag_add(&k->c->diags, DIAG_TYPE, n->rules.items[0]->loc, "rule %.*s conflicts with:%.*s",
             STR_FMT(name), STR_FMT(list));
}

/* ---- Rules of one node ---- */

struct kinds {
    uint32_t multi, single, complete, partial, multi_set, multi_object, defaults;
    bool ground, general, arities_differ;
};

static struct kinds kinds_of(const struct rule_node *n) {
    struct kinds s = {0};
    for (uint32_t i = 0; i < n->rules.n; i++) {
        const struct rule *r = n->rules.items[i];
        bool ground = ref_ground_len(r->path) == r->path->list.n;
        bool multi = rule_is_multi_value(r);
        if (ground)
            s.ground = true;
        else
            s.general = true;
        *(multi ? &s.multi : &s.single) += 1;
        *(!multi && ground ? &s.complete : &s.partial) += 1;
        if (multi) *(ground ? &s.multi_set : &s.multi_object) += 1;
        s.defaults += r->is_default;
        s.arities_differ |= r->head->args.n != n->rules.items[0]->head->args.n;
    }
    return s;
}

static void report_defaults(struct check_private *k, const struct rule_node *n, struct str name) {
    struct str list = STR("");
    const struct rule *first = NULL;
    for (uint32_t i = 0; i < n->rules.n; i++) {
        const struct rule *r = n->rules.items[i];
        if (!r->is_default) continue;
        size_t len;
        const char *text = arena_printf(k->a, &len, "%.*s%s%.*s", STR_FMT(list), first ? ", " : "",
                                        STR_FMT(place(k, r->loc)));
        list = (struct str){text, len};
        if (!first) first = r;
    }
    diag_add(&k->c->diags, DIAG_TYPE, first->module->package_loc,
             "multiple default rules %.*s found at %.*s", STR_FMT(name), STR_FMT(list));
}

static void check_node(struct check_private *k, const struct rule_node *n) {
    struct kinds s = kinds_of(n);
    const struct rule *last = n->rules.items[n->rules.n - 1];
    struct rule_list inside = {0};
    if (n->children.n && s.ground)
        rules_below(k, n, false, &inside);
    else if (n->children.n && s.general)
        rules_below(k, n, true, &inside);
    if (inside.n) {
        report_extent(k, n, check_user_text(k, last->path), &inside);
    } else if ((s.multi && s.single) || s.arities_differ || (s.complete && s.partial) ||
               (s.multi_set && s.multi_object)) {
        diag_add(&k->c->diags, DIAG_TYPE, n->rules.items[0]->loc, "conflicting rules %.*s found",
                 STR_FMT(check_user_text(k, last->path)));
    } else if (s.defaults > 1) {
        report_defaults(k, n, check_user_text(k, last->path));
    }
}

static void check_nodes(struct check_private *k, const struct rule_node *n) {
    if (n->rules.n) check_node(k, n);
    for (uint32_t i = 0; i < n->children.n; i++) check_nodes(k, n->children.entries[i].value);
}

/* ---- Base documents ---- */

/* The document at a node's path; *blocked: the path leads through something that is no object. */
static const struct json *data_at(const struct json *data, const struct rule_node *n,
                                  bool *blocked) {
    if (!n->parent) return data;
    const struct json *above = data_at(data, n->parent, blocked);
    if (!above) return NULL;
    if (above->kind != JSON_OBJECT) {
        *blocked = true;
        return NULL;
    }
    return json_get(above, n->key);
}

static void check_paths(struct check_private *k, const struct rule_node *n, struct str path) {
    bool blocked = false;
    if (n->parent && n->key.len && !n->key.ptr[0]) return; /* only strings can be in data */
    if (n->rules.n && (data_at(k->c->request->data, n, &blocked) || blocked)) {
        diag_add(&k->c->diags, DIAG_COMPILE, n->rules.items[0]->loc,
                 "conflicting rule for data path %.*s found", STR_FMT(path));
        return;
    }
    for (uint32_t i = 0; i < n->children.n; i++) {
        const struct rule_node *child = n->children.entries[i].value;
        size_t len;
        const char *text = arena_printf(k->a, &len, "%.*s%s%.*s", STR_FMT(path),
                                        n->parent ? "/" : "", STR_FMT(child->key));
        check_paths(k, child, (struct str){text, len});
    }
}

/* ---- Packages ---- */

static void check_package(struct check_private *k, const struct table *packages,
                          const struct rule *r) {
    if (ref_ground_len(r->head->ref) < r->head->ref->list.n) return;
    const struct module *other = table_get(packages, check_text(k, r->path));
    if (!other) return;
    struct term *path = term_copy(k->a, other->package);
    for (uint32_t i = 1; i < path->list.n; i++) path->list.items[i - 1] = path->list.items[i];
    path->list.n--;
    path->list.items[0]->kind = TERM_VAR;
    diag_add(&k->c->diags, DIAG_TYPE, r->module->package_loc,
             "package %.*s conflicts with rule %.*s defined at %.*s", STR_FMT(check_text(k, path)),
             STR_FMT(check_text(k, r->head->ref)), STR_FMT(place(k, r->loc)));
}

static void check_packages(struct check_private *k) {
    const struct module_list *l = &k->c->modules;
    struct table packages;
    table_init(&packages, k->a);
    for (uint32_t m = 0; m < l->n; m++)
        if (l->items[m]->package->list.n > 1)
            table_set(&packages, check_text(k, l->items[m]->package), l->items[m]);
    for (uint32_t m = 0; m < l->n; m++)
        for (uint32_t i = 0; i < l->items[m]->rules.n; i++)
            check_package(k, &packages, l->items[m]->rules.items[i]);
}

void check_rule_conflicts(struct compile *c) {
    struct check_private *k = c->check->priv;
    check_nodes(k, c->check->rule_tree);
    if (c->request->data) check_paths(k, c->check->rule_tree, STR(""));
    check_packages(k);
}
