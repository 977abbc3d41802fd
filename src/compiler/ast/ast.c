/* Builds and copies nodes of the syntax tree, and answers simple questions about them.
 * in: nodes
 * out: nodes in the given arena
 * owns: nothing */
#include "compiler/ast/ast.h"

/* ---- Builders ---- */

struct term *term_new(struct arena *a, enum term_kind kind, struct loc loc) {
    struct term *t = ARENA_NEW(a, struct term);
    t->kind = kind;
    t->loc = loc;
    return t;
}

static struct term *term_text_new(struct arena *a, enum term_kind kind, struct str text,
                                  struct loc loc) {
    struct term *t = term_new(a, kind, loc);
    t->text = text;
    return t;
}

struct term *term_var(struct arena *a, struct str name, struct loc loc) {
    return term_text_new(a, TERM_VAR, name, loc);
}

struct term *term_string(struct arena *a, struct str text, struct loc loc) {
    return term_text_new(a, TERM_STRING, text, loc);
}

struct term *term_number_int(struct arena *a, int64_t i, struct loc loc) {
    struct str text;
    text.ptr = arena_printf(a, &text.len, "%lld", (long long)i);
    return term_text_new(a, TERM_NUMBER, text, loc);
}

struct term *term_boolean(struct arena *a, bool b, struct loc loc) {
    struct term *t = term_new(a, TERM_BOOLEAN, loc);
    t->boolean = b;
    return t;
}

struct term *term_ref_c(struct arena *a, const char *dotted, struct loc loc) {
    struct term *ref = term_new(a, TERM_REF, loc);
    while (dotted) {
        const char *dot = strchr(dotted, '.');
        struct str name = {dotted, dot ? (size_t)(dot - dotted) : strlen(dotted)};
        struct term *t = ref->list.n ? term_string(a, name, loc) : term_var(a, name, loc);
        ARENA_PUSH(a, &ref->list, t);
        dotted = dot ? dot + 1 : NULL;
    }
    return ref;
}

struct expr *expr_new(struct arena *a, enum expr_kind kind, struct loc loc) {
    struct expr *e = ARENA_NEW(a, struct expr);
    e->kind = kind;
    e->loc = loc;
    return e;
}

struct expr *expr_call_c(struct arena *a, const char *op, struct loc loc, struct term **args,
                         uint32_t n) {
    struct expr *e = expr_new(a, EXPR_CALL, loc);
    ARENA_PUSH(a, &e->call, term_ref_c(a, op, loc));
    for (uint32_t i = 0; i < n; i++) ARENA_PUSH(a, &e->call, args[i]);
    return e;
}

/* ---- Copies ---- */

static struct term_list list_copy(struct arena *a, const struct term_list *l) {
    struct term_list copy = {ARENA_ARRAY(a, struct term *, l->n), l->n, l->n};
    for (uint32_t i = 0; i < l->n; i++) copy.items[i] = term_copy(a, l->items[i]);
    return copy;
}

static struct term *copy_or_null(struct arena *a, const struct term *t) {
    return t ? term_copy(a, t) : NULL;
}

void body_copy(struct arena *a, struct body *to, const struct body *from) {
    struct body copy = {ARENA_ARRAY(a, struct expr *, from->n), from->n, from->n};
    for (uint32_t i = 0; i < from->n; i++) copy.items[i] = expr_copy(a, from->items[i]);
    *to = copy;
}

struct term *term_copy(struct arena *a, const struct term *t) {
    struct term *copy = ARENA_NEW(a, struct term);
    *copy = *t;
    if (t->list.n) copy->list = list_copy(a, &t->list);
    copy->key = copy_or_null(a, t->key);
    copy->value = copy_or_null(a, t->value);
    if (t->body.n) body_copy(a, &copy->body, &t->body);
    if (t->parts.n) body_copy(a, &copy->parts, &t->parts);
    return copy;
}

struct expr *expr_copy(struct arena *a, const struct expr *e) {
    struct expr *copy = ARENA_NEW(a, struct expr);
    *copy = *e;
    copy->term = copy_or_null(a, e->term);
    copy->call = list_copy(a, &e->call);
    copy->key = copy_or_null(a, e->key);
    copy->value = copy_or_null(a, e->value);
    copy->domain = copy_or_null(a, e->domain);
    body_copy(a, &copy->body, &e->body);
    body_copy(a, &copy->lhs, &e->lhs);
    body_copy(a, &copy->rhs, &e->rhs);
    copy->with = (struct with_list){ARENA_ARRAY(a, struct with, e->with.n), e->with.n, e->with.n};
    for (uint32_t i = 0; i < e->with.n; i++) {
        struct with *w = &e->with.items[i];
        copy->with.items[i] =
            (struct with){w->loc, term_copy(a, w->target), term_copy(a, w->value)};
    }
    return copy;
}

static struct head *head_copy(struct arena *a, const struct head *h) {
    struct head *copy = ARENA_NEW(a, struct head);
    *copy = *h;
    copy->ref = term_copy(a, h->ref);
    copy->args = list_copy(a, &h->args);
    copy->key = copy_or_null(a, h->key);
    copy->object_key = copy_or_null(a, h->object_key);
    copy->value = copy_or_null(a, h->value);
    return copy;
}

struct rule *rule_copy(struct arena *a, const struct rule *r) {
    struct rule *first = NULL, **link = &first;
    for (; r; r = r->else_rule, link = &(*link)->else_rule) {
        struct rule *copy = ARENA_NEW(a, struct rule);
        *copy = *r;
        copy->head = head_copy(a, r->head);
        copy->path = copy_or_null(a, r->path);
        body_copy(a, &copy->body, &r->body);
        *link = copy;
    }
    return first;
}

/* ---- Queries ---- */

bool term_is_ground(const struct term *t) {
    switch (t->kind) {
    case TERM_NULL:
    case TERM_BOOLEAN:
    case TERM_NUMBER:
    case TERM_STRING: return true;
    case TERM_REF:
    case TERM_ARRAY:
    case TERM_OBJECT:
    case TERM_SET:
        for (uint32_t i = 0; i < t->list.n; i++) {
            if (!term_is_ground(t->list.items[i])) return false;
        }
        return true;
    case TERM_VAR:
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR:
    case TERM_CALL:
    case TERM_TEMPLATE_STRING: break;
    }
    return false;
}

bool term_is_wildcard(const struct term *t) {
    return t->kind == TERM_VAR && str_starts(t->text, STR("$"));
}

struct str ref_dotted(struct arena *a, const struct term *ref) {
    size_t len = 0;
    if (ref->kind != TERM_REF) return STR("");
    for (uint32_t i = 0; i < ref->list.n; i++) {
        const struct term *t = ref->list.items[i];
        if (t->kind != TERM_VAR && t->kind != TERM_STRING) return STR("");
        len += t->text.len + (i > 0);
    }
    char *text = arena_alloc(a, len);
    size_t n = 0;
    for (uint32_t i = 0; i < ref->list.n; i++) {
        struct str s = ref->list.items[i]->text;
        if (i > 0) text[n++] = '.';
        if (s.len) memcpy(text + n, s.ptr, s.len);
        n += s.len;
    }
    return (struct str){text, n};
}

/* ---- Visits ---- */

static void visit_list(struct term_list *l, const struct ast_visitor *v) {
    for (uint32_t i = 0; i < l->n; i++) ast_visit_term(l->items[i], v);
}

void ast_visit_term(struct term *t, const struct ast_visitor *v) {
    if (!t || (v->term && !v->term(v->ctx, t))) return;
    visit_list(&t->list, v);
    ast_visit_term(t->key, v);
    ast_visit_term(t->value, v);
    ast_visit_body(&t->body, v);
    ast_visit_body(&t->parts, v);
}

void ast_visit_expr(struct expr *e, const struct ast_visitor *v) {
    if (v->expr && !v->expr(v->ctx, e)) return;
    ast_visit_term(e->term, v);
    visit_list(&e->call, v);
    ast_visit_term(e->key, v);
    ast_visit_term(e->value, v);
    ast_visit_term(e->domain, v);
    ast_visit_body(&e->body, v);
    ast_visit_body(&e->lhs, v);
    ast_visit_body(&e->rhs, v);
    for (uint32_t i = 0; i < e->with.n; i++) {
        ast_visit_term(e->with.items[i].target, v);
        ast_visit_term(e->with.items[i].value, v);
    }
}

void ast_visit_body(struct body *b, const struct ast_visitor *v) {
    for (uint32_t i = 0; i < b->n; i++) ast_visit_expr(b->items[i], v);
}

void ast_visit_rule(struct rule *r, const struct ast_visitor *v) {
    for (; r; r = r->else_rule) {
        ast_visit_term(r->head->ref, v);
        visit_list(&r->head->args, v);
        ast_visit_term(r->head->key, v);
        ast_visit_term(r->head->value, v);
        ast_visit_body(&r->body, v);
    }
}
