/* What several check stages need: errors, generated names, small questions about terms, walks.
 * in: trees of one compile. out: answers, new nodes in the compile's arena. owns: the text buffer.
 */
#include "compiler/ast/print.h"
#include "compiler/check/check_private.h"
#include <stdarg.h>
#include <stdio.h>

enum { TEXT_MAX_BYTES = 1 << 20 };

void check_begin(struct compile *c) {
    struct check_state *s = ARENA_NEW(&c->arena, struct check_state);
    struct check_private *k = ARENA_NEW(&c->arena, struct check_private);
    table_init(&s->rewritten_vars, &c->arena);
    s->priv = k;
    k->c = c;
    k->a = &c->arena;
    k->pool.arena = k->a;
    buf_init(&k->text, TEXT_MAX_BYTES);
    varset_init(&k->reserved, k->a);
    varset_add(&k->reserved, STR("data"));
    varset_add(&k->reserved, STR("input"));
    k->gen.prefix = "__local";
    varset_init(&k->gen.taken, k->a);
    k->query_gen.prefix = "__localq";
    varset_init(&k->query_gen.taken, k->a);
    c->check = s;
}

void check_end(struct compile *c) {
    if (c->check) buf_deinit(&c->check->priv->text);
}

/* ---- Errors ---- */

void check_recoverable(struct check_private *k, enum diag_code code, struct loc loc,
                       const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct diag_list *l = &k->c->diags;
    uint32_t before = l->n + l->dropped;
    diag_add(l, code, loc, "%s", text);
    k->n_recoverable += l->n + l->dropped - before;
}

struct str check_text(struct check_private *k, const struct term *t) {
    buf_clear(&k->text);
    print_term(t, &k->text);
    struct str s = buf_view(&k->text);
    return (struct str){arena_strndup(k->a, s.ptr ? s.ptr : "", s.len), s.len};
}

static bool to_user_name(void *ctx, struct term *t) {
    if (t->kind == TERM_VAR) t->text = user_name(ctx, t->text);
    return true;
}

struct str check_user_text(struct check_private *k, const struct term *t) {
    struct term *copy = term_copy(k->a, t);
    struct ast_visitor v = {.ctx = k, .term = to_user_name};
    ast_visit_term(copy, &v);
    return check_text(k, copy);
}

struct str shown_name(struct str var) {
    return var_is_wildcard(var) ? STR("_") : var;
}

struct str user_name(const struct check_private *k, struct str var) {
    const struct str *original = table_get(&k->c->check->rewritten_vars, var);
    return original ? *original : var;
}

/* ---- Names ---- */

bool var_is_generated(struct str name) { return str_starts(name, STR("__local")); }
bool var_is_wildcard(struct str name) { return name.len > 0 && name.ptr[0] == '$'; }

struct term *gen_var(struct check_private *k, struct local_gen *g, struct loc loc) {
    for (;;) {
        size_t len;
        const char *name = arena_printf(k->a, &len, "%s%u__", g->prefix, g->next++);
        if (!varset_has(&g->taken, (struct str){name, len}))
            return term_var(k->a, (struct str){name, len}, loc);
    }
}

static bool take_local_name(void *ctx, struct term *t) {
    struct check_private *k = ctx;
    if (t->kind == TERM_VAR && var_is_generated(t->text)) varset_add(&k->gen.taken, t->text);
    return true;
}

void check_init_local_gen(struct compile *c) {
    struct ast_visitor v = {.ctx = c->check->priv, .term = take_local_name};
    visit_modules(c, &v);
}

/* ---- Terms ---- */

bool term_is_comprehension(const struct term *t) {
    return t->kind == TERM_ARRAY_COMPR || t->kind == TERM_SET_COMPR || t->kind == TERM_OBJECT_COMPR;
}

bool term_is_scalar(const struct term *t) {
    return t->kind == TERM_NULL || t->kind == TERM_BOOLEAN || t->kind == TERM_NUMBER ||
           t->kind == TERM_STRING;
}

bool term_is_constant(const struct term *t) {
    if (term_is_scalar(t)) return true;
    if (t->kind != TERM_ARRAY && t->kind != TERM_SET && t->kind != TERM_OBJECT) return false;
    for (uint32_t i = 0; i < t->list.n; i++)
        if (!term_is_constant(t->list.items[i])) return false;
    return true;
}

static bool find_eval(void *ctx, struct term *t) {
    bool *found = ctx;
    if (t->kind == TERM_REF || term_is_comprehension(t)) *found = true;
    return !*found;
}

bool term_requires_eval(const struct term *t) {
    bool found = false;
    struct ast_visitor v = {.ctx = &found, .term = find_eval};
    if (t) ast_visit_term((struct term *)t, &v);
    return found;
}

bool ref_has_root(const struct term *ref, const char *name) {
    return ref->kind == TERM_REF && ref->list.n > 0 && ref->list.items[0]->kind == TERM_VAR &&
           str_is(ref->list.items[0]->text, name);
}

bool term_is_root_document(const struct term *t) {
    return t->list.n == 1 && (ref_has_root(t, "data") || ref_has_root(t, "input"));
}

uint32_t ref_ground_len(const struct term *ref) {
    uint32_t i = 1;
    while (i < ref->list.n && term_is_ground(ref->list.items[i])) i++;
    return i;
}

/* ---- Expressions ---- */

bool call_is(const struct expr *e, const char *name) {
    return e->kind == EXPR_CALL && e->call.n > 0 && e->call.items[0]->kind == TERM_REF &&
           e->call.items[0]->list.n == 1 && ref_has_root(e->call.items[0], name);
}

void call_set_operator(struct check_private *k, struct expr *e, const char *name) {
    e->call.items[0] = term_ref_c(k->a, name, e->call.items[0]->loc);
}

struct expr *gen_equality(struct check_private *k, struct local_gen *g, struct term *other) {
    struct term *args[2] = {gen_var(k, g, other->loc), other};
    struct expr *e = expr_call_c(k->a, "eq", other->loc, args, 2);
    e->generated = true;
    return e;
}

bool body_is_true(const struct body *b) {
    if (b->n != 1 || b->items[0]->kind != EXPR_TERM) return false;
    const struct term *t = b->items[0]->term;
    return t->kind == TERM_BOOLEAN && t->boolean;
}

void body_append(struct check_private *k, struct body *b, struct expr *e) {
    if (body_is_true(b))
        b->items[0] = e;
    else
        ARENA_PUSH(k->a, b, e);
}

struct expr *expr_true(struct check_private *k, struct loc loc) {
    struct expr *e = expr_new(k->a, EXPR_TERM, loc);
    e->term = term_boolean(k->a, true, loc);
    return e;
}

/* ---- Walks ---- */

void visit_head(struct head *h, const struct ast_visitor *v, bool ref) {
    for (uint32_t i = 1; ref && i < h->ref->list.n; i++) ast_visit_term(h->ref->list.items[i], v);
    for (uint32_t i = 0; i < h->args.n; i++) ast_visit_term(h->args.items[i], v);
    if (h->key) ast_visit_term(h->key, v);
    if (h->value) ast_visit_term(h->value, v);
}

void visit_rule(struct rule *r, const struct ast_visitor *v) {
    for (; r; r = r->else_rule) {
        visit_head(r->head, v, true);
        ast_visit_body(&r->body, v);
    }
}

void visit_modules(struct compile *c, const struct ast_visitor *v) {
    for (uint32_t m = 0; m < c->modules.n; m++)
        for (uint32_t i = 0; i < c->modules.items[m]->rules.n; i++)
            visit_rule(c->modules.items[m]->rules.items[i], v);
}

void each_rule(struct compile *c, void (*each)(void *ctx, struct rule *r), void *ctx) {
    for (uint32_t m = 0; m < c->modules.n; m++)
        for (uint32_t i = 0; i < c->modules.items[m]->rules.n; i++)
            for (struct rule *r = c->modules.items[m]->rules.items[i]; r; r = r->else_rule)
                each(ctx, r);
}
