/* Renames declared variables in the statements of a body: :=, some, every, not, and, or, others.
 * in: bodies with user names. out: bodies with generated names, := and some gone. owns: nothing. */
#include "compiler/check/locals.h"

static void locals_in_term(struct locals *l, struct term *t);
static void locals_in_expr(struct locals *l, struct expr *e);
static bool locals_in_statement(struct locals *l, struct expr *e);

/* ---- Terms ---- */

static void locals_in_list(struct locals *l, struct term_list *list) {
    for (uint32_t i = 0; i < list->n; i++) locals_in_term(l, list->items[i]);
}

static void locals_in_var(struct locals *l, struct term *t) {
    const struct local *v = locals_find(l, t->text);
    if (v) {
        locals_seen(l, t->text);
        t->text = v->generated;
    } else if (locals_here(l, t->text) == VAR_NEW) {
        locals_insert(l, t->text, t->text, VAR_SEEN);
    }
}

static void locals_in_ref(struct locals *l, struct term *t) {
    if (!term_is_root_document(t)) {
        locals_in_list(l, &t->list);
        return;
    }
    const struct local *v = locals_find(l, t->list.items[0]->text);
    if (v && v->occurrence != VAR_SEEN) *t = *term_var(l->k->a, v->generated, t->loc);
}

static void locals_in_call(struct locals *l, struct term *t) {
    struct varset *vars = varset_take(&l->k->pool);
    const struct term *op = t->list.items[0];
    vars_of_term(l->k, VARS_ALL, op, vars);
    for (uint32_t i = 0; i < vars->n; i++) {
        const struct local *v = locals_find(l, vars->items[i].name);
        if (v && !str_eq(v->generated, v->name))
            locals_error(l, t->loc, "called function %.*s shadowed", STR_FMT(check_text(l->k, op)));
    }
    varset_put(&l->k->pool, vars);
    locals_in_list(l, &t->list);
}

static void locals_in_parts(struct locals *l, struct term *t) {
    for (uint32_t i = 0; i < t->parts.n; i++) locals_in_expr(l, t->parts.items[i]);
}

static void locals_in_term(struct locals *l, struct term *t) {
    switch (t->kind) {
    case TERM_NULL:
    case TERM_BOOLEAN:
    case TERM_NUMBER:
    case TERM_STRING: return;
    case TERM_VAR: locals_in_var(l, t); return;
    case TERM_REF: locals_in_ref(l, t); return;
    case TERM_CALL: locals_in_call(l, t); return;
    case TERM_ARRAY:
    case TERM_OBJECT:
    case TERM_SET: locals_in_list(l, &t->list); return;
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: locals_in_closure(l, t); return;
    case TERM_TEMPLATE_STRING: locals_in_parts(l, t); return;
    }
}

void locals_in_closure(struct locals *l, struct term *t) {
    struct local_scope s;
    locals_push(l, &s);
    if (t->kind == TERM_TEMPLATE_STRING) {
        locals_in_parts(l, t);
    } else {
        struct varset *used = varset_take(&l->k->pool);
        if (t->key) vars_of_term(l->k, VARS_ALL, t->key, used);
        vars_of_term(l->k, VARS_ALL, t->value, used);
        locals_in_body(l, &t->body, used);
        if (t->key) locals_in_term(l, t->key);
        locals_in_term(l, t->value);
        varset_put(&l->k->pool, used);
    }
    locals_pop(l);
}

/* ---- Expressions ---- */

/* `input` as a target is the document even where a local hides it. */
static void locals_in_with(struct locals *l, struct with *w) {
    bool input = ref_has_root(w->target, "input");
    struct term *whole = term_is_root_document(w->target) ? w->target : NULL;
    if (!(whole && input)) locals_in_term(l, w->target);
    if (input) w->target->list.items[0]->text = STR("input");
    locals_in_term(l, w->value);
}

static void locals_in_withs(struct locals *l, struct expr *e) {
    for (uint32_t i = 0; i < e->with.n; i++) locals_in_with(l, &e->with.items[i]);
}

static void locals_in_expr(struct locals *l, struct expr *e) {
    if (e->kind == EXPR_TERM)
        locals_in_term(l, e->term);
    else if (e->kind == EXPR_CALL)
        locals_in_list(l, &e->call);
    locals_in_withs(l, e);
}

/* ---- := ---- */

static const char *kind_name(enum term_kind k) {
    switch (k) {
    case TERM_NULL: return "null";
    case TERM_BOOLEAN: return "boolean";
    case TERM_NUMBER: return "number";
    case TERM_STRING: return "string";
    case TERM_VAR: return "var";
    case TERM_REF: return "ref";
    case TERM_ARRAY: return "array";
    case TERM_OBJECT: return "object";
    case TERM_SET: return "set";
    case TERM_ARRAY_COMPR: return "arraycomprehension";
    case TERM_SET_COMPR: return "setcomprehension";
    case TERM_OBJECT_COMPR: return "objectcomprehension";
    case TERM_CALL: return "call";
    case TERM_TEMPLATE_STRING: return "templatestring";
    }
    return "";
}

static void assign_to(struct locals *l, struct term *t) {
    struct str name;
    if (t->kind == TERM_VAR) {
        if (locals_declare(l, t->text, VAR_ASSIGNED, t->loc, &name)) t->text = name;
    } else if (t->kind == TERM_ARRAY) {
        for (uint32_t i = 0; i < t->list.n; i++) assign_to(l, t->list.items[i]);
    } else if (t->kind == TERM_OBJECT) {
        for (uint32_t i = 1; i < t->list.n; i += 2) assign_to(l, t->list.items[i]);
    } else if (term_is_root_document(t)) {
        if (locals_declare(l, t->list.items[0]->text, VAR_ASSIGNED, t->loc, &name))
            *t = *term_var(l->k->a, name, t->loc);
    } else {
        locals_error(l, t->loc, "cannot assign to %s", kind_name(t->kind));
    }
}

static void locals_in_assignment(struct locals *l, struct expr *e) {
    if (e->negated) {
        locals_error(l, e->loc, "cannot assign vars inside negated expression");
        return;
    }
    if (!eq_has_two_operands(e)) return;
    uint32_t before = l->n_errors;
    locals_in_term(l, expr_operand(e, 1));
    for (uint32_t i = 0; i < e->with.n; i++) locals_in_term(l, e->with.items[i].value);
    assign_to(l, expr_operand(e, 0));
    if (l->n_errors > before) return;
    call_set_operator(l->k, e, "eq");
    e->from_assignment = true;
}

/* ---- some ---- */

/* Variables of the pattern must not stand in the collection. */
static bool some_is_sound(struct locals *l, const struct expr *e, const struct term *key,
                          const struct term *value, const struct term *xs) {
    struct check_private *k = l->k;
    struct varset *bound = varset_take(&k->pool), *domain = varset_take(&k->pool);
    const unsigned flags = VARS_SKIP_REF_HEAD | VARS_SKIP_OBJECT_KEYS | VARS_SKIP_CLOSURES;
    bool ok = true;
    vars_of_term(k, flags, key, bound);
    vars_of_term(k, flags, value, bound);
    vars_of_term(k, VARS_SKIP_CLOSURES, xs, domain);
    for (uint32_t i = 0; i < bound->n; i++) {
        struct str name = bound->items[i].name;
        if (!varset_has(domain, name) || var_is_wildcard(name)) continue;
        locals_error(l, e->loc, "var %.*s assigned before", STR_FMT(name));
        ok = false;
    }
    varset_put(&k->pool, domain);
    varset_put(&k->pool, bound);
    return ok;
}

/* `some k, v in xs` is `v = xs[k]` with the variables of k and v declared. */
static bool locals_in_some_in(struct locals *l, struct expr *e) {
    struct check_private *k = l->k;
    const struct term_list *in = &e->call.items[0]->list;
    if (in->n != 3 && in->n != 4) return false;
    struct term *xs = in->items[in->n - 1], *value = in->items[in->n - 2];
    struct term *key = in->n == 4 ? in->items[1] : gen_var(k, l->gen, value->loc);
    if (!some_is_sound(l, e, key, value, xs)) return false;
    struct varset *safe = varset_take(&k->pool), *out = varset_take(&k->pool);
    vars_of_term(k, VARS_ALL, xs, safe);
    struct term *ref = xs;
    if (xs->kind != TERM_REF) {
        ref = term_new(k->a, TERM_REF, xs->loc);
        ARENA_PUSH(k->a, &ref->list, xs);
    }
    ARENA_PUSH(k->a, &ref->list, key);
    struct term *operands[] = {value, ref};
    e->call = expr_call_c(k->a, "eq", e->loc, operands, 2)->call;
    e->kind = EXPR_CALL;
    outputs_of_eq(k, e, safe, out);
    struct str *names = varset_sorted(out), name;
    bool ok = true;
    for (uint32_t i = 0; ok && i < out->live; i++)
        ok = locals_declare(l, names[i], VAR_DECLARED, e->loc, &name);
    varset_put(&k->pool, out);
    varset_put(&k->pool, safe);
    if (ok) locals_in_expr(l, e);
    return ok;
}

/* False: the statement says no more than its declarations. */
static bool locals_in_some(struct locals *l, struct expr *e) {
    struct str name;
    for (uint32_t i = 0; i < e->call.n; i++) {
        const struct term *t = e->call.items[i];
        if (t->kind == TERM_CALL) return locals_in_some_in(l, e);
        if (t->kind == TERM_VAR && !locals_declare(l, t->text, VAR_DECLARED, e->loc, &name))
            return false;
    }
    return false;
}

/* ---- every, not, and, or ---- */

static bool declare_every_var(struct locals *l, const struct expr *e, struct term *t) {
    struct str name;
    if (var_is_wildcard(t->text)) return true;
    if (!locals_declare(l, t->text, VAR_DECLARED, e->loc, &name)) return false;
    t->text = name;
    return true;
}

static bool locals_in_every(struct locals *l, struct expr *e) {
    struct local_scope s;
    locals_in_term(l, e->domain);
    locals_push(l, &s);
    l->statement = e->body.n ? e->body.items[0]->loc : e->loc;
    bool ok = !e->key || declare_every_var(l, e, e->key);
    if (!e->key) e->key = gen_var(l->k, l->gen, e->loc);
    ok = ok && declare_every_var(l, e, e->value);
    if (ok) {
        struct varset *used = varset_take(&l->k->pool);
        locals_in_body(l, &e->body, used);
        varset_put(&l->k->pool, used);
        locals_in_withs(l, e);
    }
    locals_pop(l);
    return ok;
}

/* An operand in braces has a scope; one without must not assign. */
static void locals_in_operand(struct locals *l, struct body *b, bool explicit_body,
                              const char *refusal) {
    if (explicit_body) {
        struct local_scope s;
        struct varset *used = varset_take(&l->k->pool);
        locals_push(l, &s);
        locals_in_body(l, b, used);
        locals_pop(l);
        varset_put(&l->k->pool, used);
        return;
    }
    for (uint32_t i = 0; i < b->n; i++)
        if (expr_is_assign(b->items[i]))
            locals_error(l, b->items[i]->loc, "%s", refusal);
        else
            locals_in_statement(l, b->items[i]);
}

static void locals_in_logic(struct locals *l, struct expr *e) {
    const char *refusal = e->kind == EXPR_AND ? "cannot assign vars inside implicit and operand"
                                              : "cannot assign vars inside implicit or operand";
    locals_in_operand(l, &e->lhs, e->explicit_lhs, refusal);
    locals_in_operand(l, &e->rhs, e->explicit_rhs, refusal);
    locals_in_withs(l, e);
}

/* ---- Bodies ---- */

/* False: nothing is left of the statement, or it is in error. */
static bool locals_in_statement(struct locals *l, struct expr *e) {
    switch (e->kind) {
    case EXPR_TERM: locals_in_expr(l, e); return true;
    case EXPR_CALL:
        if (expr_is_assign(e))
            locals_in_assignment(l, e);
        else
            locals_in_expr(l, e);
        return true;
    case EXPR_SOME: return locals_in_some(l, e);
    case EXPR_EVERY: return locals_in_every(l, e);
    case EXPR_NOT:
        locals_in_operand(l, &e->body, e->explicit_lhs,
                          "cannot assign vars inside negated expression");
        locals_in_withs(l, e);
        return true;
    case EXPR_AND:
    case EXPR_OR: locals_in_logic(l, e); return true;
    }
    return true;
}

void locals_in_body(struct locals *l, struct body *b, const struct varset *used) {
    struct loc outer = l->statement, first = b->n ? b->items[0]->loc : outer;
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        l->statement = b->items[i]->loc;
        if (locals_in_statement(l, b->items[i])) b->items[n++] = b->items[i];
    }
    b->n = n;
    if (!n) ARENA_PUSH(l->k->a, b, expr_true(l->k, first));
    locals_check_unused(l, b, used);
    l->statement = outer;
}
