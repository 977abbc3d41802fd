/* Gives every variable that :=, some, every or an argument declares a name unique in its rule.
 * in: rules with user names. out: rules with __localN__, c->check->rewritten_vars. owns: nothing.
 */
#include "compiler/check/locals.h"
#include <stdarg.h>
#include <stdio.h>

/* ---- The stack ---- */

void locals_push(struct locals *l, struct local_scope *s) {
    table_init(&s->locals, l->k->a);
    s->outer = l->scope;
    l->scope = s;
}

void locals_pop(struct locals *l) { l->scope = l->scope->outer; }

struct local *locals_find(const struct locals *l, struct str name) {
    for (struct local_scope *s = l->scope; s; s = s->outer) {
        struct local *v = table_get(&s->locals, name);
        if (v && v->generated.ptr) return v;
    }
    return NULL;
}

enum occurrence locals_here(const struct locals *l, struct str name) {
    const struct local *v = table_get(&l->scope->locals, name);
    return v && v->generated.ptr ? v->occurrence : VAR_NEW;
}

void locals_insert(struct locals *l, struct str name, struct str generated, enum occurrence how) {
    struct local *v = ARENA_NEW(l->k->a, struct local);
    *v = (struct local){name, generated, l->statement, how, 1};
    table_set(&l->scope->locals, name, v);
    if (!str_eq(name, generated)) table_set(&l->k->c->check->rewritten_vars, generated, &v->name);
}

static struct local *counted(const struct locals *l, struct str name) {
    for (struct local_scope *s = l->scope; s; s = s->outer) {
        struct local *v = table_get(&s->locals, name);
        if (v) return v;
    }
    return NULL;
}

void locals_seen(struct locals *l, struct str name) {
    struct local *v = counted(l, name);
    if (v) v->count++;
}

uint32_t locals_count(const struct locals *l, struct str name) {
    const struct local *v = counted(l, name);
    return v ? v->count : 0;
}

void locals_error(struct locals *l, struct loc loc, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    l->n_errors++;
    diag_add(&l->k->c->diags, DIAG_COMPILE, loc, "%s", text);
}

bool locals_declare(struct locals *l, struct str name, enum occurrence how, struct loc loc,
                    struct str *generated) {
    struct str shown = shown_name(name);
    switch (locals_here(l, name)) {
    case VAR_SEEN: locals_error(l, loc, "var %.*s referenced above", STR_FMT(shown)); return false;
    case VAR_ASSIGNED:
        locals_error(l, loc, "var %.*s assigned above", STR_FMT(shown));
        return false;
    case VAR_DECLARED:
        locals_error(l, loc, "var %.*s declared above", STR_FMT(shown));
        return false;
    case VAR_ARG: locals_error(l, loc, "arg %.*s redeclared", STR_FMT(shown)); return false;
    case VAR_NEW: break;
    }
    *generated = gen_var(l->k, l->gen, loc)->text;
    locals_insert(l, name, *generated, how);
    return true;
}

/* ---- Heads ---- */

static bool head_has_vars(const struct head *h) {
    for (uint32_t i = 0; i < h->args.n; i++)
        if (!term_is_scalar(h->args.items[i])) return true;
    for (uint32_t i = 1; i < h->ref->list.n; i++)
        if (!term_is_scalar(h->ref->list.items[i])) return true;
    return (h->key && !term_is_scalar(h->key)) || (h->value && !term_is_scalar(h->value));
}

/* Comprehensions in a head have scopes of their own, apart from the body's. */
static bool nested_closure(void *ctx, struct term *t) {
    struct locals *l = ctx;
    if (!term_is_comprehension(t) && t->kind != TERM_TEMPLATE_STRING) return true;
    struct locals own = {.k = l->k, .gen = l->gen, .strict = l->strict};
    struct local_scope s;
    locals_push(&own, &s);
    locals_in_closure(&own, t);
    l->n_unused += own.n_unused;
    return false;
}

static bool take_declared_name(void *ctx, struct term *t) {
    const struct locals *l = ctx;
    const struct local *v = t->kind == TERM_VAR ? table_get(&l->scope->locals, t->text) : NULL;
    if (v && v->generated.ptr) t->text = v->generated;
    return true;
}

/* A ref that is a local alone (a shadowed `input`) is that variable. */
static void unwrap_local_ref(struct term *t) {
    if (t && t->kind == TERM_REF && t->list.n == 1 && !term_is_root_document(t) &&
        t->list.items[0]->kind == TERM_VAR)
        *t = *t->list.items[0];
}

static void declared_names_in_head(struct locals *l, struct head *h) {
    struct ast_visitor v = {.ctx = l, .term = take_declared_name};
    visit_head(h, &v, true);
    unwrap_local_ref(h->key);
    unwrap_local_ref(h->value);
}

/* ---- Arguments ---- */

static void declare_arg(struct locals *l, struct term *t) {
    const struct local *v;
    switch (t->kind) {
    case TERM_VAR:
        v = locals_find(l, t->text);
        if (v) {
            locals_seen(l, t->text);
            t->text = v->generated;
        } else {
            struct str name = t->text;
            t->text = gen_var(l->k, l->gen, t->loc)->text;
            locals_insert(l, name, t->text, VAR_ARG);
        }
        return;
    case TERM_OBJECT:
        for (uint32_t i = 1; i < t->list.n; i += 2) declare_arg(l, t->list.items[i]);
        return;
    case TERM_ARRAY:
    case TERM_REF:
        for (uint32_t i = 0; i < t->list.n; i++) declare_arg(l, t->list.items[i]);
        return;
    case TERM_CALL: locals_error(l, t->loc, "rule arguments cannot contain calls"); return;
    case TERM_NULL:
    case TERM_BOOLEAN:
    case TERM_NUMBER:
    case TERM_STRING:
    case TERM_SET:
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR:
    case TERM_TEMPLATE_STRING: return;
    }
}

/* ---- Variables with the name of a builtin ---- */

struct var_walk {
    struct check_private *k;
    struct varset *vars;
};

static bool with_vars(void *ctx, struct expr *e) {
    struct var_walk *w = ctx;
    for (uint32_t i = 0; i < e->with.n; i++) {
        vars_of_term(w->k, VARS_SKIP_CALL_HEAD, e->with.items[i].target, w->vars);
        vars_of_term(w->k, VARS_SKIP_CALL_HEAD, e->with.items[i].value, w->vars);
    }
    return true;
}

/* `count = 1` is allowed; a generated name keeps later stages from taking it for the builtin. */
static void rename_builtin_names(struct locals *l, struct rule *r) {
    struct check_private *k = l->k;
    struct varset *vars = varset_take(&k->pool), *declared = varset_take(&k->pool);
    struct varset *in_with = varset_take(&k->pool);
    vars_of_body(k, VARS_SKIP_CALL_HEAD | VARS_SKIP_CLOSURES, &r->body, vars);
    bool any = false;
    for (uint32_t i = 0; i < vars->n; i++)
        if (!builtin_find(vars->items[i].name))
            varset_remove(vars, vars->items[i].name);
        else
            any = true;
    if (any) {
        struct var_walk w = {k, in_with};
        struct ast_visitor v = {.ctx = &w, .expr = with_vars};
        vars_declared(k, &r->body, declared);
        visit_rule(r, &v);
        varset_subtract(vars, declared);
        varset_subtract(vars, in_with);
        struct str *names = varset_sorted(vars);
        for (uint32_t i = 0; i < vars->live; i++)
            if (!locals_find(l, names[i]))
                locals_insert(l, names[i], gen_var(k, l->gen, r->loc)->text, VAR_SEEN);
    }
    varset_put(&k->pool, in_with);
    varset_put(&k->pool, declared);
    varset_put(&k->pool, vars);
}

/* ---- Rules ---- */

/* Variables that the head needs from the body. */
static void used_by_head(struct locals *l, const struct head *h, struct varset *used,
                         struct varset *unused_args) {
    for (uint32_t i = 1; i < h->ref->list.n; i++)
        vars_of_term(l->k, VARS_ALL, h->ref->list.items[i], used);
    if (h->key) vars_of_term(l->k, VARS_ALL, h->key, used);
    if (!h->value) return;
    struct varset *value = varset_take(&l->k->pool);
    vars_of_term(l->k, VARS_ALL, h->value, value);
    varset_update(used, value);
    varset_subtract(unused_args, value);
    varset_put(&l->k->pool, value);
}

/* Each clause starts from a copy of the arguments' scope. */
static void copy_args(struct locals *l, const struct local_scope *args, struct local_scope *s) {
    locals_push(l, s);
    for (uint32_t i = 0; i < args->locals.n; i++) {
        struct local *v = ARENA_NEW(l->k->a, struct local);
        *v = *(const struct local *)args->locals.entries[i].value;
        table_set(&s->locals, v->name, v);
    }
}

static void rewrite_clause(struct locals *l, struct rule *r, const struct local_scope *args,
                           struct varset *unused_args) {
    bool has_vars = head_has_vars(r->head);
    struct varset *used = varset_take(&l->k->pool);
    struct local_scope s;
    l->scope = NULL;
    l->n_errors = l->n_unused = 0;
    if (has_vars) {
        struct ast_visitor v = {.ctx = l, .term = nested_closure};
        visit_head(r->head, &v, false);
        l->n_unused = 0;
        used_by_head(l, r->head, used, unused_args);
    }
    copy_args(l, args, &s);
    rename_builtin_names(l, r);
    locals_in_body(l, &r->body, used);
    if (has_vars) declared_names_in_head(l, r->head);
    for (uint32_t i = 0; i < unused_args->n; i++)
        if (locals_count(l, unused_args->items[i].name) > 1)
            varset_remove(unused_args, unused_args->items[i].name);
    varset_put(&l->k->pool, used);
}

static void report_unused_args(struct locals *l, const struct rule *r,
                               const struct varset *unused) {
    for (uint32_t i = 0; i < unused->n; i++)
        if (unused->items[i].live && !var_is_wildcard(unused->items[i].name))
            check_recoverable(l->k, DIAG_COMPILE, r->head->loc,
                              "unused argument %.*s. (hint: use _ (wildcard variable) instead)",
                              STR_FMT(unused->items[i].name));
}

static void rewrite_rule(struct locals *l, struct rule *r) {
    struct varset *unused_args = varset_take(&l->k->pool);
    struct local_scope args;
    for (uint32_t i = 0; l->strict && i < r->head->args.n; i++)
        vars_of_term(l->k, VARS_ALL, r->head->args.items[i], unused_args);
    l->scope = NULL;
    locals_push(l, &args);
    for (uint32_t i = 0; i < r->head->args.n; i++) declare_arg(l, r->head->args.items[i]);
    for (struct rule *e = r; e; e = e->else_rule) rewrite_clause(l, e, &args, unused_args);
    if (l->strict) report_unused_args(l, r, unused_args);
    varset_put(&l->k->pool, unused_args);
    rule_set_path(l->k, r);
}

void check_rewrite_locals(struct compile *c) {
    struct check_private *k = c->check->priv;
    struct locals l = {.k = k, .gen = &k->gen, .strict = c->request->strict};
    for (uint32_t m = 0; m < c->modules.n; m++)
        for (uint32_t i = 0; i < c->modules.items[m]->rules.n; i++)
            rewrite_rule(&l, c->modules.items[m]->rules.items[i]);
}

void rewrite_locals_in_query(struct check_private *k, struct body *b) {
    struct locals l = {.k = k, .gen = &k->query_gen, .strict = k->c->request->strict};
    struct varset *used = varset_take(&k->pool);
    struct local_scope s;
    locals_push(&l, &s);
    locals_in_body(&l, b, used);
    varset_put(&k->pool, used);
}
