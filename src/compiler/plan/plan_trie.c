/* The trie of rules by path, and the environments in which `with` hides parts of it.
 * in: checked modules. out: trie nodes, canonical environments. owns: nothing (arena). */
#include "compiler/plan/plan_private.h"
#include <stdlib.h>

static struct trie_node *node_new(struct arena *a, struct trie_node *parent, struct str key) {
    struct trie_node *n = ARENA_NEW(a, struct trie_node);
    n->key = key;
    n->parent = parent;
    n->depth = parent ? parent->depth + 1 : 0;
    table_init(&n->children, a);
    table_init(&n->subsets, a);
    return n;
}

static struct trie_node *node_step(struct arena *a, struct trie_node *n, struct str key) {
    struct trie_node *child = table_get(&n->children, key);
    if (!child) {
        child = node_new(a, n, key);
        table_set(&n->children, key, child);
    }
    return child;
}

/* The node at a ref's leading strings (a templated one is no name: it differs by tenant), or at the
 * first node with rules on the way. */
static struct trie_node *node_reach(struct arena *a, struct trie_node *root,
                                    const struct term *ref) {
    struct trie_node *n = node_step(a, root, ref->list.items[0]->text);
    for (uint32_t i = 1; i < ref->list.n; i++) {
        const struct term *t = ref->list.items[i];
        if (t->kind != TERM_STRING || t->template_text.ptr || n->rules.n) break;
        n = node_step(a, n, t->text);
    }
    return n;
}

/* Moves the rules below `from` into `to`: their paths overlap with a path that ends higher. */
static void take_descendants(struct arena *a, struct trie_node *to, struct trie_node *from) {
    for (uint32_t i = 0; i < from->children.n; i++) {
        struct trie_node *child = from->children.entries[i].value;
        for (uint32_t k = 0; k < child->rules.n; k++)
            ARENA_PUSH(a, &to->rules, child->rules.items[k]);
        take_descendants(a, to, child);
    }
}

static void insert_rule(struct arena *a, struct trie_node *root, struct rule *r) {
    struct trie_node *n = node_reach(a, root, r->path);
    if (n->children.n) {
        take_descendants(a, n, n);
        table_init(&n->children, a);
    }
    ARENA_PUSH(a, &n->rules, r);
}

struct trie_node *trie_build(struct arena *a, const struct module_list *modules) {
    struct trie_node *root = node_new(a, NULL, (struct str){0});
    for (uint32_t i = 0; i < modules->n; i++) {
        struct module *m = modules->items[i];
        /* A package without rules still shows as an empty object in its parent's extent. */
        if (!m->rules.n) node_reach(a, root, m->package);
        for (uint32_t k = 0; k < m->rules.n; k++) insert_rule(a, root, m->rules.items[k]);
    }
    return root;
}

uint32_t trie_arity(const struct trie_node *n) {
    return n && n->rules.n ? n->rules.items[0]->head->args.n : 0;
}

/* ---- Some rules of a node ---- */

static bool is_constant_key(const struct term *t) {
    return t->kind == TERM_STRING && !t->template_text.ptr;
}

static bool can_match(const struct rule *r, uint32_t depth, const struct term *ref, uint32_t index,
                      uint32_t n_keys) {
    for (uint32_t i = 0; i < n_keys && depth + i < r->path->list.n; i++) {
        const struct term *own = r->path->list.items[depth + i];
        if (is_constant_key(own) && !str_eq(own->text, ref->list.items[index + i]->text))
            return false;
    }
    return true;
}

/* The keys as one text; lengths keep ["a","b"] and ["ab"] apart. */
static struct str subset_name(struct arena *a, const struct term *ref, uint32_t index,
                              uint32_t n_keys) {
    struct str name = {"", 0};
    for (uint32_t i = 0; i < n_keys; i++) {
        struct str key = ref->list.items[index + i]->text;
        name.ptr = arena_printf(a, &name.len, "%.*s%zu:%.*s", STR_FMT(name), key.len, STR_FMT(key));
    }
    return name;
}

struct trie_node *trie_narrow(struct arena *a, struct trie_node *n, const struct term *ref,
                              uint32_t index) {
    struct rule_list rules = {0};
    uint32_t n_keys = 0;
    while (index + n_keys < ref->list.n && is_constant_key(ref->list.items[index + n_keys]))
        n_keys++;
    for (uint32_t i = 0; i < n->rules.n && n_keys; i++)
        if (can_match(n->rules.items[i], n->depth, ref, index, n_keys))
            ARENA_PUSH(a, &rules, n->rules.items[i]);
    if (!rules.n || rules.n == n->rules.n) return n;
    struct str name = subset_name(a, ref, index, n_keys);
    struct trie_node *subset = table_get(&n->subsets, name);
    if (subset) return subset;
    subset = node_new(a, n->parent, n->key);
    subset->rules = rules;
    subset->narrowed = name;
    table_set(&n->subsets, name, subset);
    return subset;
}

/* ---- Looking up ---- */

static int by_key(const void *a, const void *b) {
    struct trie_node *const *x = a, *const *y = b;
    return str_cmp((*x)->key, (*y)->key);
}

struct trie_node **trie_sorted(struct arena *a, const struct trie_node *n) {
    struct trie_node **out = ARENA_ARRAY(a, struct trie_node *, n->children.n);
    for (uint32_t i = 0; i < n->children.n; i++) out[i] = n->children.entries[i].value;
    if (n->children.n) qsort(out, n->children.n, sizeof *out, by_key);
    return out;
}

static bool is_hidden(const struct env *env, const struct trie_node *n) {
    for (uint32_t i = 0; i < env->hidden.n; i++)
        if (env->hidden.items[i] == n) return true;
    return false;
}

struct trie_node *trie_child(const struct planner *p, const struct trie_node *n, struct str key) {
    struct trie_node *child = n ? table_get(&n->children, key) : NULL;
    return child && !is_hidden(p->env, child) ? child : NULL;
}

struct trie_node *trie_lookup(const struct planner *p, const struct term *ref) {
    struct trie_node *n = p->rules;
    for (uint32_t i = 0; i < ref->list.n && n; i++) {
        const struct term *t = ref->list.items[i];
        bool name = i == 0 ? t->kind == TERM_VAR : t->kind == TERM_STRING;
        n = name ? trie_child(p, n, t->text) : NULL;
    }
    return n;
}

static bool same_mock(const struct mock *a, const struct mock *b) {
    if (a->kind != b->kind || !str_eq(a->target, b->target)) return false;
    return a->kind == MOCK_PARAM ? a->param == b->param : same_term(a->value, b->value);
}

static bool same_env(const struct env *a, const struct env *b) {
    if (a->hidden.n != b->hidden.n || a->mocks.n != b->mocks.n || a->n_params != b->n_params)
        return false;
    for (uint32_t i = 0; i < a->hidden.n; i++)
        if (!is_hidden(b, a->hidden.items[i])) return false;
    for (uint32_t i = 0; i < a->mocks.n; i++)
        if (!same_mock(&a->mocks.items[i], &b->mocks.items[i])) return false;
    return true;
}

struct env *env_get(struct planner *p, const struct env *wanted) {
    for (struct env *e = p->envs; e; e = e->next)
        if (same_env(e, wanted)) return e;
    struct env *e = ARENA_NEW(p->a, struct env);
    *e = *wanted;
    e->id = p->n_envs++;
    e->next = p->envs;
    p->envs = e;
    return e;
}

const struct mock *env_mock(const struct env *env, struct str target) {
    for (uint32_t i = env->mocks.n; i > 0; i--)
        if (str_eq(env->mocks.items[i - 1].target, target)) return &env->mocks.items[i - 1];
    return NULL;
}
