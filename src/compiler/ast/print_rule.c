/* Prints expressions, rules and modules as Rego text, in the form that OPA's String methods give.
 * in: nodes
 * out: text in a buffer
 * owns: nothing */
#include "compiler/ast/print.h"

/* ---- and, or, not: parentheses where the text would read differently without ---- */

static bool leads_with_brace(const struct term *t) {
    switch ((int)t->kind) {
    case TERM_SET: return t->list.n > 0;
    case TERM_OBJECT:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: return true;
    case TERM_REF: return t->list.n > 0 && leads_with_brace(t->list.items[0]);
    }
    return false;
}

static bool operand_needs_parens(const struct expr *e, enum expr_kind parent, bool right) {
    if (e->with.n) return true;
    switch ((int)e->kind) {
    case EXPR_OR: return parent == EXPR_AND || right;
    case EXPR_AND: return parent == EXPR_AND && right;
    case EXPR_TERM: return leads_with_brace(e->term);
    }
    return false;
}

static bool not_needs_parens(const struct expr *e) {
    if (e->with.n || e->kind == EXPR_OR || e->kind == EXPR_AND || e->kind == EXPR_NOT) return true;
    return e->kind == EXPR_TERM && leads_with_brace(e->term);
}

static void print_around(const char *open, const struct body *b, const char *close,
                         struct buf *out) {
    buf_cstr(out, open);
    print_body(b, out);
    buf_cstr(out, close);
}

static void print_operand(const struct body *b, bool is_explicit, enum expr_kind parent, bool right,
                          struct buf *out) {
    if (is_explicit || b->n != 1)
        print_around("{ ", b, " }", out);
    else if (operand_needs_parens(b->items[0], parent, right))
        print_around("(", b, ")", out);
    else
        print_body(b, out);
}

static void print_logical(const struct expr *e, struct buf *out) {
    print_operand(&e->lhs, e->explicit_lhs, e->kind, false, out);
    buf_cstr(out, e->kind == EXPR_AND ? " and " : " or ");
    print_operand(&e->rhs, e->explicit_rhs, e->kind, true, out);
}

static void print_not(const struct expr *e, struct buf *out) {
    if (e->explicit_lhs || e->body.n != 1)
        print_around("not {", &e->body, "}", out);
    else if (not_needs_parens(e->body.items[0]))
        print_around("not (", &e->body, ")", out);
    else
        print_around("not ", &e->body, "", out);
}

/* ---- Expressions ---- */

static void print_terms(const struct term_list *l, uint32_t from, struct buf *out) {
    for (uint32_t i = from; i < l->n; i++) {
        if (i > from) buf_cstr(out, ", ");
        print_term(l->items[i], out);
    }
}

static bool is_equation(const struct expr *e) {
    const struct term *op = e->call.items[0];
    return e->call.n == 3 && op->kind == TERM_REF && op->list.n == 1 &&
           str_is(op->list.items[0]->text, "eq");
}

static void print_call_expr(const struct expr *e, struct buf *out) {
    if (is_equation(e)) {
        print_term(e->call.items[1], out);
        buf_cstr(out, " = ");
        print_term(e->call.items[2], out);
        return;
    }
    print_term(e->call.items[0], out);
    buf_byte(out, '(');
    print_terms(&e->call, 1, out);
    buf_byte(out, ')');
}

static void print_some(const struct expr *e, struct buf *out) {
    buf_cstr(out, "some ");
    const struct term *first = e->call.items[0];
    if (first->kind != TERM_CALL) {
        print_terms(&e->call, 0, out);
        return;
    }
    for (uint32_t i = 1; i < first->list.n; i++) {
        if (i > 1) buf_cstr(out, i + 1 == first->list.n ? " in " : ", ");
        print_term(first->list.items[i], out);
    }
}

static void print_every(const struct expr *e, struct buf *out) {
    buf_cstr(out, "every ");
    if (e->key) {
        print_term(e->key, out);
        buf_cstr(out, ", ");
    }
    print_term(e->value, out);
    buf_cstr(out, " in ");
    print_term(e->domain, out);
    print_around(" { ", &e->body, " }", out);
}

void print_expr(const struct expr *e, struct buf *out) {
    if (e->negated) buf_cstr(out, "not ");
    switch (e->kind) {
    case EXPR_TERM: print_term(e->term, out); break;
    case EXPR_CALL: print_call_expr(e, out); break;
    case EXPR_SOME: print_some(e, out); break;
    case EXPR_EVERY: print_every(e, out); break;
    case EXPR_NOT: print_not(e, out); break;
    case EXPR_AND:
    case EXPR_OR: print_logical(e, out); break;
    }
    for (uint32_t i = 0; i < e->with.n; i++) {
        buf_cstr(out, " with ");
        print_term(e->with.items[i].target, out);
        buf_cstr(out, " as ");
        print_term(e->with.items[i].value, out);
    }
}

void print_body(const struct body *b, struct buf *out) {
    for (uint32_t i = 0; i < b->n; i++) {
        if (i) buf_cstr(out, "; ");
        print_expr(b->items[i], out);
    }
}

/* ---- Rules ---- */

static enum rego_version version_of(const struct rule *r) {
    return r->module ? r->module->version : REGO_V1;
}

static void print_head(const struct head *h, enum rego_version v, struct buf *out) {
    print_term(h->ref, out);
    if (h->args.n) {
        buf_byte(out, '(');
        print_terms(&h->args, 0, out);
        buf_byte(out, ')');
    } else if (h->key && h->ref->list.n == 1 && v == REGO_V0) {
        buf_byte(out, '[');
        print_term(h->key, out);
        buf_byte(out, ']');
    } else if (h->key) {
        buf_cstr(out, " contains ");
        print_term(h->key, out);
    }
    if (!h->value) return;
    buf_cstr(out, h->assign ? " := " : " = ");
    print_term(h->value, out);
}

static void print_rule_body(const struct rule *r, enum rego_version v, struct buf *out) {
    print_around(v == REGO_V0 ? " { " : " if { ", &r->body, " }", out);
}

void print_rule(const struct rule *r, struct buf *out) {
    enum rego_version v = version_of(r);
    if (r->is_default) buf_cstr(out, "default ");
    print_head(r->head, v, out);
    if (!r->is_default) print_rule_body(r, v, out);
    for (r = r->else_rule; r; r = r->else_rule) {
        buf_cstr(out, " else ");
        if (r->head->value) {
            buf_cstr(out, "= ");
            print_term(r->head->value, out);
        }
        print_rule_body(r, v, out);
    }
}

/* ---- Modules ---- */

static void print_package(const struct term *path, struct buf *out) {
    struct term rest = *path;
    buf_cstr(out, "package ");
    if (path->list.n > 1) { /* without "data" */
        rest.list.items++;
        rest.list.n--;
        print_term(&rest, out);
    }
    buf_byte(out, '\n');
}

void print_module(const struct module *m, struct buf *out) {
    print_package(m->package, out);
    for (uint32_t i = 0; i < m->imports.n; i++) {
        const struct import *imp = &m->imports.items[i];
        buf_cstr(out, "\nimport ");
        print_term(imp->path, out);
        if (imp->alias.ptr) buf_printf(out, " as %.*s", STR_FMT(imp->alias));
    }
    if (m->imports.n) buf_byte(out, '\n');
    for (uint32_t i = 0; i < m->rules.n; i++) {
        buf_byte(out, '\n');
        print_rule(m->rules.items[i], out);
    }
}
