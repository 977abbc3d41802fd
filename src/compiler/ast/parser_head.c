/* Parses rule heads and checks default rules.
 * in: the parser at a head's first name
 * out: the head; NULL and errors, or NULL alone where the text is no head
 * owns: nothing */
#include "compiler/ast/parser_private.h"

static bool is_operator(enum token_kind k) {
    return (k >= TOK_PLUS && k <= TOK_OR) || k == TOK_EQUAL || (k >= TOK_NEQ && k <= TOK_LTE);
}

/* The head's name with what follows it; white space may stand before `(`, `.` and `[`. */
static struct term *parse_head_ref(struct parser *p) {
    struct term *name = parse_var(p);
    uint32_t offset = p->s.tok.offset;
    parser_scan_ws(p);
    if (is_operator(p->s.tok.kind)) parser_illegal_token(p);
    if (p->s.tok.kind == TOK_WHITESPACE) parser_scan(p);
    switch ((int)p->s.tok.kind) {
    case TOK_LPAREN:
    case TOK_DOT:
    case TOK_LBRACK: return parse_ref_tail(p, name, offset);
    }
    return name;
}

static struct term *as_ref(struct parser *p, struct term *t) {
    if (t->kind == TERM_REF) return t;
    struct term *ref = term_new(p->arena, TERM_REF, t->loc);
    ARENA_PUSH(p->arena, &ref->list, t);
    return ref;
}

static struct head *head_of(struct parser *p, struct term *t) {
    struct head *h = ARENA_NEW(p->arena, struct head);
    if (t->kind == TERM_CALL) {
        h->is_function = true;
        for (uint32_t i = 1; i < t->list.n; i++) {
            ARENA_PUSH(p->arena, &h->args, t->list.items[i]);
        }
        t = t->list.items[0];
    } else if (t->kind != TERM_VAR && t->kind != TERM_REF) {
        return NULL;
    }
    h->ref = as_ref(p, t);
    struct term *first = h->ref->list.items[0];
    if (first->kind != TERM_VAR) {
        if (h->is_function)
            parser_illegal(p, "rule head ref %.*s invalid", STR_FMT(term_text(p->arena, h->ref)));
        return NULL;
    }
    if (h->ref->list.n < 2) h->name = first->text;
    return h;
}

static void parse_contains(struct parser *p, struct head *h, struct str name) {
    if (h->is_function) {
        parser_illegal(p,
                       "the contains keyword can only be used with multi-value rule definitions "
                       "(e.g., %.*s contains <VALUE> { ... })",
                       STR_FMT(name));
    }
    parser_scan(p);
    h->contains = true;
    h->key = parse_infix(p);
    if (!h->key) {
        parser_illegal(p, "expected rule key term (e.g., %.*s contains <VALUE> { ... })",
                       STR_FMT(name));
    }
}

static void parse_head_value(struct parser *p, struct head *h, bool is_default, struct str name) {
    h->assign = p->s.tok.kind == TOK_ASSIGN;
    parser_scan(p);
    h->value = parse_infix(p);
    if (h->value) return;
    if (!h->assign) {
        parser_illegal(p, "expected rule value term (e.g., %.*s[<nil>] = <VALUE> { ... })",
                       STR_FMT(name));
    } else if (h->args.n) {
        parser_illegal(p, "expected function value term (e.g., %.*s(...) := <VALUE> { ... })",
                       STR_FMT(name));
    } else if (is_default) {
        parser_illegal(p, "expected default rule value term (e.g., default %.*s := <VALUE>)",
                       STR_FMT(name));
    } else {
        parser_illegal(p, "expected rule value term (e.g., %.*s := <VALUE> { ... })",
                       STR_FMT(name));
    }
}

struct head *parse_head(struct parser *p, bool is_default, bool *contains) {
    struct loc loc = parser_loc(p);
    *contains = false;
    struct term *t = parse_head_ref(p);
    if (!t) {
        parser_illegal(p, "expected rule head name");
        return NULL;
    }
    struct head *h = head_of(p, t);
    if (!h) return NULL;
    enum token_kind k = p->s.tok.kind;
    struct str name = str_starts(h->name, STR("$")) ? STR("_") : h->name;
    if (!name.ptr && (k == TOK_CONTAINS || k == TOK_UNIFY || k == TOK_ASSIGN)) {
        name = term_text(p->arena, h->ref);
    }
    if (k == TOK_CONTAINS) {
        *contains = true;
        parse_contains(p, h, name);
    } else {
        if (k == TOK_UNIFY || k == TOK_ASSIGN) parse_head_value(p, h, is_default, name);
        if (!h->value && (h->ref->list.n != 2 || h->args.n)) {
            h->generated_value = true;
            h->value = term_boolean(p->arena, true, loc);
        }
    }
    h->loc = parser_span(p, loc);
    return h;
}

/* ---- Default rules ---- */

struct default_check {
    struct parser *p;
    struct loc loc;
    bool ok;
};

/* Values may not depend on anything outside of comprehensions. */
static bool check_default_term(void *ctx, struct term *t) {
    struct default_check *c = ctx;
    switch ((int)t->kind) {
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: return false;
    case TERM_REF:
    case TERM_VAR:
    case TERM_CALL:
        parser_error(c->p, c->loc, "illegal default rule (value cannot contain %s)",
                     term_kind_word(t));
        c->ok = false;
        return false;
    }
    return true;
}

static bool check_default_args(struct parser *p, const struct rule *r) {
    bool ok = true;
    for (uint32_t i = 0; i < r->head->args.n; i++) {
        const struct term *arg = r->head->args.items[i];
        if (arg->kind != TERM_VAR) {
            parser_error(p, r->loc, "illegal default rule (arguments cannot contain %s)",
                         term_kind_word(arg));
            ok = false;
            continue;
        }
        bool repeated = false;
        for (uint32_t k = 0; k < i; k++) {
            const struct term *other = r->head->args.items[k];
            repeated |= other->kind == TERM_VAR && str_eq(other->text, arg->text);
        }
        if (!repeated) continue;
        parser_error(p, r->loc, "illegal default rule (arguments cannot be repeated %.*s)",
                     STR_FMT(arg->text));
        ok = false;
    }
    return ok;
}

bool check_default_rule(struct parser *p, const struct rule *r) {
    if (!r->head->value) {
        parser_error(p, r->loc, "illegal default rule (must have a value)");
        return false;
    }
    struct default_check c = {p, r->loc, true};
    struct ast_visitor v = {.ctx = &c, .term = check_default_term};
    ast_visit_term(r->head->value, &v);
    return c.ok && check_default_args(p, r);
}
