/* The planner's entry: entrypoints and query to plans, then every function that they reach.
 * in: checked modules and the request. out: c->plan. owns: nothing (arena). */
#include "compiler/plan/plan.h"
#include "compiler/plan/plan_private.h"
#include <stdlib.h>

static const struct operand NONE;

/* ---- Entrypoints ---- */

/* %41 to A, as in a URL's path. */
static struct str unescape(struct arena *a, struct str s) {
    char *out = arena_strndup(a, s.ptr, s.len);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        int high = s.ptr[i] == '%' && i + 2 < s.len ? char_hex(s.ptr[i + 1]) : -1;
        int low = high >= 0 ? char_hex(s.ptr[i + 2]) : -1;
        if (low >= 0) {
            out[n++] = (char)(high * 16 + low);
            i += 2;
        } else {
            out[n++] = s.ptr[i];
        }
    }
    return (struct str){out, n};
}

/* "tenant/authz/allow" to data.tenant.authz.allow */
static struct term *ref_of_path(struct planner *p, struct str path) {
    struct term *ref = term_new(p->a, TERM_REF, (struct loc){0});
    ARENA_PUSH(p->a, &ref->list, term_var(p->a, STR("data"), ref->loc));
    while (path.len && path.ptr[0] == '/') path = str_from(path, 1);
    while (path.len) {
        size_t n = 0;
        while (n < path.len && path.ptr[n] != '/') n++;
        struct str key = unescape(p->a, str_head(path, n));
        ARENA_PUSH(p->a, &ref->list, term_string(p->a, key, ref->loc));
        path = str_from(path, n + 1);
    }
    return ref;
}

static bool is_ref_text(struct str s) {
    return str_starts(s, STR("data.")) || str_starts(s, STR("data[")) || str_is(s, "data");
}

static bool has_base_data(const struct planner *p, const struct term *ref) {
    const struct json *at = p->c->request->data;
    for (uint32_t i = 1; at && i < ref->list.n; i++)
        at =
            ref->list.items[i]->kind == TERM_STRING ? json_get(at, ref->list.items[i]->text) : NULL;
    return at != NULL;
}

/* Whether rules, a package or known base data are at the ref, or rules on the way to it. */
static bool is_entrypoint(const struct planner *p, const struct term *ref) {
    struct trie_node *n = trie_child(p, p->rules, STR("data"));
    for (uint32_t i = 1; i < ref->list.n && n && !n->rules.n; i++) {
        const struct term *t = ref->list.items[i];
        n = t->kind == TERM_STRING ? trie_child(p, n, t->text) : NULL;
    }
    return n || has_base_data(p, ref);
}

static void begin_plan(struct planner *p, struct entrypoint *e) {
    p->next_local = LOCAL_UNUSED;
    p->vars.n = 0;
    p->curr = block_new(p);
    ARENA_PUSH(p->a, &e->blocks, p->curr);
    ARENA_PUSH(p->a, &p->plan->entrypoints, e);
}

static uint32_t emit_binding(struct planner *p) {
    return emit_target(p, STMT_MAKE_OBJECT, NONE, NONE);
}

static void plan_entrypoint(struct planner *p, struct str name) {
    struct entrypoint *e = ARENA_NEW(p->a, struct entrypoint);
    struct term *ref =
        is_ref_text(name) ? parse_ref(p->a, STR(""), name, &p->c->diags) : ref_of_path(p, name);
    if (!ref) return;
    if (!is_entrypoint(p, ref)) {
        diag_add(&p->c->diags, DIAG_COMPILE, (struct loc){0},
                 "entrypoint \"%.*s\" does not refer to a rule or policy decision", STR_FMT(name));
        return;
    }
    e->name = name;
    p->loc = (struct loc){0};
    begin_plan(p, e);
    struct operand value = plan_ref(p, ref);
    e->result_local = emit_target(p, STMT_ASSIGN_VAR, value, NONE);
    uint32_t binding = emit_binding(p);
    emit_to(p, STMT_OBJECT_INSERT, binding, op_string(p, STR("result")), op_local(e->result_local));
    emit_check(p, STMT_RESULT_SET_ADD, op_local(binding), NONE);
    e->n_locals = p->next_local;
}

/* ---- The query ---- */

static bool is_shown(struct str name) {
    return !str_starts(name, STR("__local")) && !str_starts(name, STR("$")) &&
           !str_is(name, "data") && !str_is(name, "input");
}

struct query_vars {
    const struct planner *p;
    struct table names; /* the user's name → the variable's term */
};

static bool visit_query_term(void *ctx, struct term *t) {
    struct query_vars *q = ctx;
    switch (t->kind) {
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: return false;
    case TERM_VAR: {
        const struct str *original = table_get(&q->p->c->check->rewritten_vars, t->text);
        struct str name = original ? *original : t->text;
        if (is_shown(name)) table_set(&q->names, name, t);
        return false;
    }
    default: return true;
    }
}

static bool visit_query_expr(void *ctx, struct expr *e) {
    (void)ctx;
    return e->kind != EXPR_EVERY && e->kind != EXPR_NOT;
}

static int by_name(const void *a, const void *b) {
    const struct table_entry *x = a, *y = b;
    return str_cmp(x->key, y->key);
}

static void plan_query(struct planner *p) {
    struct entrypoint *e = ARENA_NEW(p->a, struct entrypoint);
    struct query_vars q = {.p = p};
    struct ast_visitor v = {&q, visit_query_term, visit_query_expr};
    struct operand value;
    table_init(&q.names, p->a);
    ast_visit_body(&p->c->query, &v);
    e->name = p->c->request->query;
    begin_plan(p, e);
    plan_body(p, &p->c->query);
    uint32_t binding = emit_binding(p);
    if (q.names.n) qsort(q.names.entries, q.names.n, sizeof *q.names.entries, by_name);
    for (uint32_t i = 0; i < q.names.n; i++) {
        const struct term *var = q.names.entries[i].value;
        if (var_get(p, var->text, &value))
            emit_to(p, STMT_OBJECT_INSERT, binding, op_string(p, q.names.entries[i].key), value);
    }
    emit_check(p, STMT_RESULT_SET_ADD, op_local(binding), NONE);
    e->n_locals = p->next_local;
}

/* ---- All ---- */

void plan_build(struct compile *c) {
    struct planner p = {.c = c, .a = &c->arena};
    const struct compile_request *r = c->request;
    struct env base = {0};
    c->plan = p.plan = ARENA_NEW(p.a, struct plan);
    p.plan->arena = p.a;
    p.rules = trie_build(p.a, &c->modules);
    p.env = env_get(&p, &base);
    for (uint32_t i = 0; i < r->n_entrypoints; i++) plan_entrypoint(&p, r->entrypoints[i]);
    if (r->query.ptr) plan_query(&p);
    for (uint32_t i = 0; i < p.jobs.n; i++) {
        struct job job = p.jobs.items[i];
        plan_rules(&p, &job);
    }
    plan_check_cycles(&p);
}
