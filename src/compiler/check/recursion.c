/* Builds the graph of rules and the rules their refs may select; finds cycles; sorts rules by
 * dependency. in: flat bodies and the rule tree. out: rego_recursion_error, c->check->sorted. owns:
 * nothing. */
#include "compiler/check/graph.h"

/* ---- Building ---- */

static struct str key_of(struct rule *const *r) { return (struct str){(const char *)r, sizeof *r}; }

static uint32_t number_of(const struct graph *g, struct rule *r) {
    return (uint32_t)(uintptr_t)table_get(&g->index, key_of(&r)) - 1;
}

static void add_node(void *ctx, struct rule *r) {
    struct check_private *k = ctx;
    struct node n = {.rule = r};
    struct rule **key = ARENA_NEW(k->a, struct rule *);
    *key = r;
    ARENA_PUSH(k->a, &k->graph->nodes, n);
    table_set(&k->graph->index, key_of(key), (void *)(uintptr_t)k->graph->nodes.n);
}

/* The refs of one clause while its edges are collected. */
struct builder {
    struct check_private *k;
    struct node *node;
    uint32_t at; /* body expression that is visited */
    struct narrowed_list narrowed;
    bool is_narrowed; /* `narrowed` was worked out */
    struct varset *bound;
    uint32_t bound_at; /* expression that `bound` belongs to, + 1 */
    uint32_t *edge_of; /* by node: its edge's index + 1 */
};

static void add_edge(struct builder *b, uint32_t to, struct dynamic_ref *cause) {
    struct edge e = {to, cause};
    if (b->edge_of[to]) {
        struct edge *old = &b->node->edges.items[b->edge_of[to] - 1];
        if (!cause) old->cause = NULL;
        return;
    }
    ARENA_PUSH(b->k->a, &b->node->edges, e);
    b->edge_of[to] = b->node->edges.n;
}

static void add_edges(struct builder *b, struct rule *to, struct dynamic_ref *cause) {
    for (; to; to = to->else_rule) add_edge(b, number_of(b->k->graph, to), cause);
}

static struct varset *bound_before(struct builder *b) {
    if (b->bound_at == b->at + 1) return b->bound;
    const struct rule *r = b->node->rule;
    b->bound = ARENA_NEW(b->k->a, struct varset);
    b->bound_at = b->at + 1;
    varset_init(b->bound, b->k->a);
    for (uint32_t i = 0; i < r->head->args.n; i++)
        vars_of_term(b->k, VARS_ALL, r->head->args.items[i], b->bound);
    for (uint32_t i = 1; i < r->head->ref->list.n; i++)
        vars_of_term(b->k, VARS_ALL, r->head->ref->list.items[i], b->bound);
    if (r->head->key) vars_of_term(b->k, VARS_ALL, r->head->key, b->bound);
    if (r->head->value) vars_of_term(b->k, VARS_ALL, r->head->value, b->bound);
    for (uint32_t i = 0; i < b->at && i < r->body.n; i++)
        vars_of_expr(b->k, VARS_ALL, r->body.items[i], b->bound);
    return b->bound;
}

/* Later stages rewrite terms in place, so what messages show is copied. */
static struct dynamic_ref *dynamic_ref_new(struct builder *b, const struct term *ref,
                                           const struct term *selector) {
    struct dynamic_ref *d = ARENA_NEW(b->k->a, struct dynamic_ref);
    d->ref = term_copy(b->k->a, ref);
    d->selector = ref == selector ? d->ref : term_copy(b->k->a, selector);
    d->rule = b->node->rule;
    d->bound = bound_before(b);
    origins_of(b->k, b->node->rule, b->at, selector, &d->origins);
    return d;
}

static void add_static_ref(struct builder *b, const struct term *ref) {
    struct rule_list rules = {0};
    rules_for_ref(b->k, ref, &rules);
    for (uint32_t i = 0; i < rules.n; i++) add_edges(b, rules.items[i], NULL);
}

static void add_dynamic_ref(struct builder *b, struct term *ref) {
    struct check_private *k = b->k;
    struct term_list refs = {0};
    struct dynamic_ref *cause = NULL;
    if (!b->is_narrowed) narrow_body(k, &b->node->rule->body, &b->narrowed);
    b->is_narrowed = true;
    narrow_ref(k, &b->narrowed, b->at, ref, &refs);
    const struct term *selector = refs.n == 1 ? refs.items[0] : ref;
    for (uint32_t i = 0; i < refs.n; i++) {
        struct rule_list rules = {0};
        rules_for_ref(k, refs.items[i], &rules);
        for (uint32_t j = 0; j < rules.n; j++) {
            bool certain = ref_selects_rule(k, selector, rules.items[j], bound_before(b), NULL);
            if (!certain && !cause) cause = dynamic_ref_new(b, ref, selector);
            add_edges(b, rules.items[j], certain ? NULL : cause);
        }
    }
}

static bool visit_ref(void *ctx, struct term *t) {
    if (!ref_has_root(t, "data")) return true;
    for (uint32_t i = 1; i < t->list.n; i++)
        if (!term_is_constant(t->list.items[i])) {
            add_dynamic_ref(ctx, t);
            return true;
        }
    add_static_ref(ctx, t);
    return true;
}

static void build_node(struct check_private *k, struct node *n, uint32_t *edge_of) {
    struct builder b = {.k = k, .node = n, .edge_of = edge_of};
    struct ast_visitor v = {.ctx = &b, .term = visit_ref};
    for (b.at = 0; b.at < n->rule->body.n; b.at++) ast_visit_expr(n->rule->body.items[b.at], &v);
    visit_head(n->rule->head, &v, true);
    for (uint32_t i = 0; i < n->edges.n; i++) edge_of[n->edges.items[i].to] = 0;
}

void check_set_graph(struct compile *c) {
    struct check_private *k = c->check->priv;
    struct graph *g = k->graph = ARENA_NEW(k->a, struct graph);
    table_init(&g->index, k->a);
    each_rule(c, add_node, k);
    uint32_t *edge_of = ARENA_ARRAY(k->a, uint32_t, g->nodes.n);
    for (uint32_t i = 0; i < g->nodes.n; i++) build_node(k, &g->nodes.items[i], edge_of);
}

/* ---- Components and order: Tarjan's algorithm with its own stack ---- */

struct tarjan {
    struct check_private *k;
    struct graph *g;
    uint32_t *number, *low, *next_edge; /* by node; number 0: not seen */
    bool *open;                         /* on `members` */
    uint32_t *path, n_path;             /* nodes being visited */
    uint32_t *members, n_members;       /* nodes without component */
    uint32_t counter, n_components;
};

static void tarjan_enter(struct tarjan *t, uint32_t n) {
    t->number[n] = t->low[n] = ++t->counter;
    t->open[n] = true;
    t->path[t->n_path++] = n;
    t->members[t->n_members++] = n;
}

static void tarjan_leave(struct tarjan *t, uint32_t n) {
    uint32_t member;
    t->n_path--;
    if (t->n_path) {
        uint32_t parent = t->path[t->n_path - 1];
        if (t->low[n] < t->low[parent]) t->low[parent] = t->low[n];
    }
    ARENA_PUSH(t->k->a, &t->k->c->check->sorted, t->g->nodes.items[n].rule);
    if (t->low[n] != t->number[n]) return;
    t->n_components++;
    do {
        member = t->members[--t->n_members];
        t->open[member] = false;
        t->g->nodes.items[member].component = t->n_components;
    } while (member != n);
}

static void tarjan_step(struct tarjan *t) {
    uint32_t n = t->path[t->n_path - 1];
    const struct node *node = &t->g->nodes.items[n];
    if (t->next_edge[n] == node->edges.n) {
        tarjan_leave(t, n);
        return;
    }
    uint32_t to = node->edges.items[t->next_edge[n]++].to;
    if (!t->number[to])
        tarjan_enter(t, to);
    else if (t->open[to] && t->number[to] < t->low[n])
        t->low[n] = t->number[to];
}

static void find_components(struct check_private *k) {
    struct graph *g = k->graph;
    uint32_t n = g->nodes.n;
    struct tarjan t = {.k = k, .g = g};
    t.number = ARENA_ARRAY(k->a, uint32_t, n);
    t.low = ARENA_ARRAY(k->a, uint32_t, n);
    t.next_edge = ARENA_ARRAY(k->a, uint32_t, n);
    t.path = ARENA_ARRAY(k->a, uint32_t, n);
    t.members = ARENA_ARRAY(k->a, uint32_t, n);
    t.open = ARENA_ARRAY(k->a, bool, n);
    for (uint32_t i = 0; i < n; i++) {
        if (!t.number[i]) tarjan_enter(&t, i);
        while (t.n_path) tarjan_step(&t);
    }
}

/* ---- Cycles ---- */

struct cycle {
    uint32_t *nodes; /* nodes[0] … nodes[n - 1], back to nodes[0] */
    uint32_t n;
};

static const struct edge *edge_to(const struct node *n, uint32_t to) {
    for (uint32_t i = 0; i < n->edges.n; i++)
        if (n->edges.items[i].to == to) return &n->edges.items[i];
    return NULL;
}

/* A way from `start` back to it inside its component; certain: over edges without a cause only. */
static bool find_cycle(struct check_private *k, uint32_t start, bool certain, struct cycle *out) {
    const struct graph *g = k->graph;
    uint32_t *next = ARENA_ARRAY(k->a, uint32_t, g->nodes.n);
    bool *seen = ARENA_ARRAY(k->a, bool, g->nodes.n);
    out->nodes = ARENA_ARRAY(k->a, uint32_t, g->nodes.n);
    out->n = 0;
    out->nodes[out->n++] = start;
    seen[start] = true;
    while (out->n) {
        uint32_t n = out->nodes[out->n - 1];
        const struct node *node = &g->nodes.items[n];
        if (next[n] == node->edges.n) {
            out->n--;
            continue;
        }
        const struct edge *e = &node->edges.items[next[n]++];
        if (certain && e->cause) continue;
        if (e->to == start) return true;
        if (seen[e->to] || g->nodes.items[e->to].component != g->nodes.items[start].component)
            continue;
        seen[e->to] = true;
        out->nodes[out->n++] = e->to;
    }
    return false;
}

/* The first uncertain edge of a cycle, described; "" when all are certain. */
static struct str cause_of(struct check_private *k, const struct cycle *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t to = c->nodes[(i + 1) % c->n];
        const struct edge *e = edge_to(&k->graph->nodes.items[c->nodes[i]], to);
        if (e && e->cause) return dynamic_cause(k, e->cause, k->graph->nodes.items[to].rule, i > 0);
    }
    return STR("");
}

static void report_cycle(struct check_private *k, uint32_t start) {
    const struct node *nodes = k->graph->nodes.items;
    struct cycle c, certain;
    if (!find_cycle(k, start, false, &c)) return;
    struct str cause = cause_of(k, &c);
    if (cause.len && find_cycle(k, start, true, &certain)) {
        c = certain;
        cause = STR("");
    }
    struct str name = check_user_text(k, nodes[start].rule->path), path = STR("");
    for (uint32_t i = 0; i < c.n; i++) {
        size_t len;
        const char *text = arena_printf(k->a, &len, "%.*s%.*s -> ", STR_FMT(path),
                                        STR_FMT(check_user_text(k, nodes[c.nodes[i]].rule->path)));
        path = (struct str){text, len};
    }
    diag_add(&k->c->diags, DIAG_RECURSION, nodes[start].rule->loc,
             "rule %.*s %s recursive: %.*s%.*s%.*s", STR_FMT(name), cause.len ? "may be" : "is",
             STR_FMT(path), STR_FMT(name), STR_FMT(cause));
}

void check_recursion(struct compile *c) {
    struct check_private *k = c->check->priv;
    const struct graph *g = k->graph;
    find_components(k);
    uint32_t *size = ARENA_ARRAY(k->a, uint32_t, g->nodes.n + 1);
    for (uint32_t i = 0; i < g->nodes.n; i++) size[g->nodes.items[i].component]++;
    for (uint32_t i = 0; i < g->nodes.n; i++)
        if (size[g->nodes.items[i].component] > 1 || edge_to(&g->nodes.items[i], i))
            if (c->diags.n < c->diags.max_errors) report_cycle(k, i);
}
