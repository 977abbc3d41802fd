/* Which rule uses which: the order in which rules are typed, and what a `with` affects.
 * in: the rules of a compile, with their paths and refs resolved.
 * out: rules in order of dependency; paths of dependents.
 * owns: nothing; all lies in the compile's arena. */
#include "compiler/ast/print.h"
#include "compiler/check/types_private.h"

struct graph_rule {
    struct rule *rule;
    const struct term *path;
    struct graph_rule *other; /* its else rule */
    struct graph_edges {
        struct graph_rule **items;
        uint32_t n, cap;
    } uses, used_by;
    uint32_t stamp;    /* last search that met it */
    uint32_t next_use; /* depth-first search: edge to follow next */
};

/* Rules by the ground part of their path. */
struct graph_node {
    struct table children; /* struct graph_node * */
    struct graph_edges rules;
};

struct type_graph {
    struct arena *arena;
    struct graph_edges rules; /* all, else rules after their main rule */
    struct graph_node root;
    struct rule_list order;
    uint32_t stamp;
};

const struct term *type_rule_path(const struct rule *r) { return r->path; }

static bool is_ground_key(const struct term *t) { return term_is_constant(t); }

uint32_t ref_ground_prefix(const struct term *ref) {
    uint32_t n = ref->list.n ? 1 : 0;
    while (n < ref->list.n && is_ground_key(ref->list.items[n])) n++;
    return n;
}

/* ---- The tree of paths ---- */

static struct str node_key(struct arena *a, const struct term *t) {
    if (t->kind == TERM_STRING || t->kind == TERM_VAR) return t->text;
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_byte(&text, 1); /* no string key begins so in a sane policy; a clash only adds an edge */
    print_term(t, &text);
    struct str copy = {arena_strndup(a, (const char *)text.ptr, text.len), text.len};
    buf_deinit(&text);
    return copy;
}

static struct graph_node *node_below(struct type_graph *g, struct graph_node *node,
                                     const struct term *key) {
    struct str text = node_key(g->arena, key);
    if (!node->children.arena) table_init(&node->children, g->arena);
    struct graph_node *child = table_get(&node->children, text);
    if (child) return child;
    child = ARENA_NEW(g->arena, struct graph_node);
    table_set(&node->children, text, child);
    return child;
}

static void graph_insert(struct type_graph *g, struct graph_rule *r) {
    struct graph_node *node = &g->root;
    uint32_t n = ref_ground_prefix(r->path);
    for (uint32_t i = 0; i < n; i++) node = node_below(g, node, r->path->list.items[i]);
    ARENA_PUSH(g->arena, &node->rules, r);
}

/* ---- Which rules a ref may mean ---- */

typedef void graph_found(struct type_graph *g, struct graph_rule *found, void *ctx);

static bool may_intersect(const struct term *x, const struct term *y, uint32_t from) {
    for (uint32_t i = from; i < x->list.n && i < y->list.n; i++) {
        const struct term *p = x->list.items[i], *q = y->list.items[i];
        if (term_is_constant(p) && term_is_constant(q) && !term_equal(p, q)) return false;
    }
    return true;
}

static void find_all(struct type_graph *g, struct graph_node *node, graph_found *found, void *ctx) {
    for (uint32_t i = 0; i < node->rules.n; i++) found(g, node->rules.items[i], ctx);
    for (uint32_t i = 0; i < node->children.n; i++)
        find_all(g, node->children.entries[i].value, found, ctx);
}

static void find_rules(struct type_graph *g, struct graph_node *node, const struct term *ref,
                       uint32_t at, graph_found *found, void *ctx);

static void find_in_child(struct type_graph *g, struct graph_node *child, const struct term *ref,
                          uint32_t at, graph_found *found, void *ctx) {
    if (at + 1 < ref->list.n) /* else find_all reports them */
        for (uint32_t i = 0; i < child->rules.n; i++)
            if (may_intersect(child->rules.items[i]->path, ref, at + 1))
                found(g, child->rules.items[i], ctx);
    find_rules(g, child, ref, at + 1, found, ctx);
}

static void find_rules(struct type_graph *g, struct graph_node *node, const struct term *ref,
                       uint32_t at, graph_found *found, void *ctx) {
    if (at >= ref->list.n) {
        find_all(g, node, found, ctx);
        return;
    }
    if (node->children.n == 0) return;
    const struct term *key = ref->list.items[at];
    if (at == 0 || term_is_constant(key)) {
        struct graph_node *child = table_get(&node->children, node_key(g->arena, key));
        if (child) find_in_child(g, child, ref, at, found, ctx);
        return;
    }
    for (uint32_t i = 0; i < node->children.n; i++)
        find_in_child(g, node->children.entries[i].value, ref, at, found, ctx);
}

/* ---- Edges ---- */

struct edge_walk {
    struct type_graph *graph;
    struct graph_rule *user;
};

static void add_edge(struct type_graph *g, struct graph_rule *found, void *ctx) {
    struct graph_rule *user = ctx;
    for (; found; found = found->other) {
        if (found->stamp == g->stamp) continue;
        found->stamp = g->stamp;
        ARENA_PUSH(g->arena, &user->uses, found);
        ARENA_PUSH(g->arena, &found->used_by, user);
    }
}

static bool visit_ref(void *ctx, struct term *t) {
    struct edge_walk *w = ctx;
    if (t->kind == TERM_REF && t->list.n > 1 && env_is_root(t->list.items[0]))
        find_rules(w->graph, &w->graph->root, t, 0, add_edge, w->user);
    return true;
}

static void add_edges(struct type_graph *g, struct graph_rule *user) {
    struct edge_walk walk = {g, user};
    struct ast_visitor v = {.ctx = &walk, .term = visit_ref};
    const struct head *head = user->rule->head;
    g->stamp++;
    ast_visit_body(&user->rule->body, &v);
    for (uint32_t i = 0; i < head->args.n; i++) ast_visit_term(head->args.items[i], &v);
    if (head->key) ast_visit_term(head->key, &v);
    if (head->value) ast_visit_term(head->value, &v);
}

static struct graph_rule *add_rule(struct type_graph *g, struct rule *rule,
                                   const struct term *path) {
    struct graph_rule *r = ARENA_NEW(g->arena, struct graph_rule);
    r->rule = rule;
    if (!rule->path) rule->path = (struct term *)path;
    r->path = rule->path;
    ARENA_PUSH(g->arena, &g->rules, r);
    return r;
}

static void add_rule_chain(struct type_graph *g, struct rule *rule) {
    if (!rule->path) return;
    struct graph_rule *r = add_rule(g, rule, rule->path);
    graph_insert(g, r);
    for (struct rule *e = rule->else_rule; e; e = e->else_rule) {
        r->other = add_rule(g, e, rule->path);
        r = r->other;
    }
}

/* ---- Order ---- */

/* Depth first without recursion: a rule comes after all that it uses. */
static void order_from(struct type_graph *g, struct graph_rule *start) {
    struct graph_edges stack = {0};
    if (start->stamp == g->stamp) return;
    start->stamp = g->stamp;
    ARENA_PUSH(g->arena, &stack, start);
    while (stack.n) {
        struct graph_rule *r = stack.items[stack.n - 1];
        if (r->next_use == r->uses.n) {
            ARENA_PUSH(g->arena, &g->order, r->rule);
            stack.n--;
            continue;
        }
        struct graph_rule *used = r->uses.items[r->next_use++];
        if (used->stamp == g->stamp) continue;
        used->stamp = g->stamp;
        ARENA_PUSH(g->arena, &stack, used);
    }
}

struct type_graph *type_graph_new(struct compile *c) {
    struct type_graph *g = ARENA_NEW(&c->arena, struct type_graph);
    g->arena = &c->arena;
    for (uint32_t i = 0; i < c->modules.n; i++)
        for (uint32_t j = 0; j < c->modules.items[i]->rules.n; j++)
            add_rule_chain(g, c->modules.items[i]->rules.items[j]);
    for (uint32_t i = 0; i < g->rules.n; i++) add_edges(g, g->rules.items[i]);
    g->stamp++;
    for (uint32_t i = 0; i < g->rules.n; i++) order_from(g, g->rules.items[i]);
    return g;
}

const struct rule_list *type_graph_order(struct type_graph *g) { return &g->order; }

/* ---- Dependents ---- */

static void push_new(struct type_graph *g, struct graph_rule *found, void *ctx) {
    struct graph_edges *list = ctx;
    if (found->stamp == g->stamp) return;
    found->stamp = g->stamp;
    ARENA_PUSH(g->arena, list, found);
}

void type_graph_dependents(struct type_graph *g, const struct term *ref, struct term_list *paths) {
    struct graph_edges list = {0};
    g->stamp++;
    find_rules(g, &g->root, ref, 0, push_new, &list);
    for (uint32_t i = 0; i < list.n; i++) {
        struct graph_rule *r = list.items[i];
        ARENA_PUSH(g->arena, paths, (struct term *)r->path);
        for (uint32_t j = 0; j < r->used_by.n; j++) push_new(g, r->used_by.items[j], &list);
    }
}
