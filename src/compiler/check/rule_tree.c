/* The tree of rules by path, and lookups in it: nodes, arities, the rules a ref may mean.
 * in: modules whose head refs hold only scalars and variables. out: c->check->rule_tree.
 * owns: nothing. */
#include "compiler/check/check_private.h"
#include <stdlib.h>

bool rule_is_multi_value(const struct rule *r) { return r->head->key && !r->head->value; }

void rule_set_path(struct check_private *k, struct rule *r) {
    for (; r; r = r->else_rule) {
        struct term *path = term_copy(k->a, r->module->package);
        const struct term_list *ref = &r->head->ref->list;
        path->loc = r->head->ref->loc;
        ARENA_PUSH(k->a, &path->list, term_string(k->a, ref->items[0]->text, ref->items[0]->loc));
        for (uint32_t i = 1; i < ref->n; i++)
            ARENA_PUSH(k->a, &path->list, term_copy(k->a, ref->items[i]));
        r->path = path;
    }
}

/* ---- Nodes ---- */

/* A string stands for itself; any other scalar's text follows a 0 byte, so "1" and 1 differ. */
static struct str node_key(struct check_private *k, const struct term *t) {
    if (t->kind == TERM_STRING || t->kind == TERM_VAR) return t->text;
    struct str text = check_text(k, t);
    size_t len;
    const char *key = arena_printf(k->a, &len, "%c%.*s", 0, STR_FMT(text));
    return (struct str){key, len};
}

struct rule_node *rule_node_child(const struct rule_node *n, const struct term *key) {
    if (key->kind == TERM_STRING || key->kind == TERM_VAR)
        return table_get(&n->children, key->text);
    if (!term_is_scalar(key)) return NULL;
    return table_get(&n->children, node_key(n->priv, key));
}

struct rule_node *rule_tree_find(struct rule_node *root, const struct term *ref) {
    if (!ref_has_root(ref, "data")) return NULL;
    struct rule_node *n = root;
    for (uint32_t i = 1; n && i < ref->list.n; i++) n = rule_node_child(n, ref->list.items[i]);
    return n;
}

static struct rule_node *node_new(struct check_private *k, struct str key,
                                  struct rule_node *parent) {
    struct rule_node *n = ARENA_NEW(k->a, struct rule_node);
    n->key = key;
    n->parent = parent;
    n->priv = k;
    table_init(&n->children, k->a);
    if (parent) table_set(&parent->children, key, n);
    return n;
}

/* The node at the first `len` terms of path, made where it is missing. */
static struct rule_node *node_at(struct check_private *k, const struct term *path, uint32_t len) {
    struct rule_node *n = k->c->check->rule_tree;
    for (uint32_t i = 1; i < len; i++) {
        struct rule_node *child = rule_node_child(n, path->list.items[i]);
        n = child ? child : node_new(k, node_key(k, path->list.items[i]), n);
    }
    return n;
}

void check_rule_tree(struct compile *c) {
    struct check_private *k = c->check->priv;
    c->check->rule_tree = node_new(k, STR("data"), NULL);
    for (uint32_t m = 0; m < c->modules.n; m++) {
        struct module *mod = c->modules.items[m];
        if (!mod->rules.n) node_at(k, mod->package, mod->package->list.n);
        for (uint32_t i = 0; i < mod->rules.n; i++) {
            struct rule *r = mod->rules.items[i];
            ARENA_PUSH(k->a, &node_at(k, r->path, ref_ground_len(r->path))->rules, r);
        }
    }
    struct rule_node *system = table_get(&c->check->rule_tree->children, STR("system"));
    if (system) system->hidden = true;
}

/* ---- Functions ---- */

const struct builtin *ref_builtin(const struct term *ref) {
    char name[128];
    size_t len = 0;
    if (ref->kind != TERM_REF && ref->kind != TERM_VAR) return NULL;
    if (ref->kind == TERM_VAR) return builtin_find(ref->text);
    for (uint32_t i = 0; i < ref->list.n; i++) {
        const struct term *t = ref->list.items[i];
        if (t->kind != (i ? TERM_STRING : TERM_VAR)) return NULL;
        if (len + t->text.len + 1 > sizeof name) return NULL;
        if (i) name[len++] = '.';
        memcpy(name + len, t->text.ptr, t->text.len);
        len += t->text.len;
    }
    return builtin_find((struct str){name, len});
}

int ref_arity(const struct check_private *k, const struct term *ref) {
    if (ref->kind != TERM_REF) return -1;
    const struct builtin *b = ref_builtin(ref);
    if (b) return (int)b->arity;
    const struct rule_node *n = rule_tree_find(k->c->check->rule_tree, ref);
    return n && n->rules.n ? (int)n->rules.items[0]->head->args.n : -1;
}

/* ---- The rules that a ref may mean ---- */

struct ref_search {
    struct check_private *k;
    const struct term *ref;
    struct rule_list *out;
};

static void add_all_below(struct ref_search *s, const struct rule_node *n) {
    for (uint32_t i = 0; i < n->rules.n; i++) ARENA_PUSH(s->k->a, s->out, n->rules.items[i]);
    for (uint32_t i = 0; i < n->children.n; i++) add_all_below(s, n->children.entries[i].value);
}

/* From term i on, no constant of the ref contradicts one of the rule's path. */
static bool may_meet(const struct term *path, const struct term *ref, uint32_t i) {
    for (; i < path->list.n && i < ref->list.n; i++) {
        const struct term *x = path->list.items[i], *y = ref->list.items[i];
        if (term_is_constant(x) && term_is_constant(y) && !term_equal(x, y)) return false;
    }
    return true;
}

static void search(struct ref_search *s, const struct rule_node *n, uint32_t i);

static void search_child(struct ref_search *s, const struct rule_node *child, uint32_t i) {
    for (uint32_t j = 0; i + 1 < s->ref->list.n && j < child->rules.n; j++)
        if (may_meet(child->rules.items[j]->path, s->ref, i + 1))
            ARENA_PUSH(s->k->a, s->out, child->rules.items[j]);
    search(s, child, i + 1);
}

static void search(struct ref_search *s, const struct rule_node *n, uint32_t i) {
    if (i >= s->ref->list.n) {
        add_all_below(s, n);
    } else if (term_is_constant(s->ref->list.items[i])) {
        const struct rule_node *child = rule_node_child(n, s->ref->list.items[i]);
        if (child) search_child(s, child, i);
    } else {
        for (uint32_t j = 0; j < n->children.n; j++)
            search_child(s, n->children.entries[j].value, i);
    }
}

void rules_for_ref(struct check_private *k, const struct term *ref, struct rule_list *out) {
    struct ref_search s = {k, ref, out};
    if (ref_has_root(ref, "data")) search(&s, k->c->check->rule_tree, 1);
}
