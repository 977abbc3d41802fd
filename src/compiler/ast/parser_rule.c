/* Parses rules: default, head, body, else chain, chained bodies.
 * in: the parser at the start of a statement
 * out: one rule, or one for each chained body
 * owns: nothing */
#include "compiler/ast/parser_private.h"

struct body true_body(struct arena *a, struct loc loc) {
    struct expr *e = expr_new(a, EXPR_TERM, loc);
    e->term = term_boolean(a, true, loc);
    e->generated = true;
    return body_of(a, e);
}

/* ---- Keywords as rule names ---- */

/* Does the token after a keyword make the statement a rule, so that the keyword was meant as name?
 */
static bool follows_rule_name(enum token_kind keyword, enum token_kind next) {
    bool assign = next == TOK_ASSIGN || next == TOK_UNIFY;
    bool body = next == TOK_IF || next == TOK_CONTAINS;
    switch ((int)keyword) {
    case TOK_EVERY:
    case TOK_IF:
    case TOK_IN:
    case TOK_SOME:
    case TOK_AS: return assign || body || next == TOK_LPAREN;
    case TOK_PACKAGE:
    case TOK_IMPORT: return assign || next == TOK_LPAREN;
    case TOK_NOT:
    case TOK_LOGICAL_AND:
    case TOK_LOGICAL_OR: return assign || body;
    case TOK_CONTAINS: return body;
    }
    return false;
}

static bool is_reserved_name(enum token_kind k) {
    return follows_rule_name(k, TOK_IF) || follows_rule_name(k, TOK_ASSIGN);
}

bool parse_keyword_rule_name(struct parser *p, bool is_default) {
    enum token_kind keyword = p->s.tok.kind;
    if (!is_reserved_name(keyword)) return false;
    struct loc loc = parser_loc(p);
    if (!is_default) {
        struct parse_state saved = p->s;
        parser_scan(p);
        enum token_kind next = p->s.tok.kind;
        p->s = saved;
        if (!follows_rule_name(keyword, next)) return false;
    }
    parser_error(p, loc, "%s keyword cannot be used for rule name", token_word(keyword));
    return true;
}

/* ---- Heads shared by else and chained bodies ---- */

/* A copy for another rule: each `_` among the arguments is a wildcard of its own there. */
static struct head *copy_head(struct parser *p, const struct head *from, struct loc loc) {
    struct head *h = ARENA_NEW(p->arena, struct head);
    *h = *from;
    h->loc = loc;
    h->ref = term_copy(p->arena, from->ref);
    h->key = from->key ? term_copy(p->arena, from->key) : NULL;
    h->object_key = from->object_key ? term_copy(p->arena, from->object_key) : NULL;
    h->value = from->value ? term_copy(p->arena, from->value) : NULL;
    h->args = (struct term_list){0};
    for (uint32_t i = 0; i < from->args.n; i++) {
        struct term *arg = from->args.items[i];
        arg = term_is_wildcard(arg) ? parser_wildcard(p, arg->loc) : term_copy(p->arena, arg);
        ARENA_PUSH(p->arena, &h->args, arg);
    }
    return h;
}

static bool set_term_loc(void *ctx, struct term *t) {
    t->loc = *(const struct loc *)ctx;
    return true;
}
static bool set_expr_loc(void *ctx, struct expr *e) {
    e->loc = *(const struct loc *)ctx;
    return true;
}

static void set_head_loc(struct head *h, struct loc loc) {
    struct ast_visitor v = {&loc, set_term_loc, set_expr_loc};
    ast_visit_term(h->ref, &v);
    for (uint32_t i = 0; i < h->args.n; i++) ast_visit_term(h->args.items[i], &v);
    if (h->key) ast_visit_term(h->key, &v);
    if (h->object_key) ast_visit_term(h->object_key, &v);
    if (h->value) ast_visit_term(h->value, &v);
}

/* ---- else ---- */

static bool parse_braced_body(struct parser *p, struct body *out) {
    parser_scan(p);
    if (!parse_body(p, TOK_RBRACE, out)) return false;
    parser_scan(p);
    return true;
}

/* `if literal` of an else branch: OPA gives all of it the place of `else`. */
static bool parse_else_literal(struct parser *p, struct rule *r) {
    if (p->s.tok.kind == TOK_EOF) {
        parser_illegal(p, "rule body expected");
        return false;
    }
    struct expr *e = parse_literal(p);
    if (!e) return false;
    struct ast_visitor v = {&r->loc, set_term_loc, set_expr_loc};
    ast_visit_expr(e, &v);
    r->body = body_of(p->arena, e);
    return true;
}

/* A value, or nothing where the body follows. */
static bool parse_else_value(struct parser *p, struct head *h) {
    switch ((int)p->s.tok.kind) {
    case TOK_LBRACE:
    case TOK_IF:
        h->generated_value = true;
        h->value = term_boolean(p->arena, true, h->loc);
        return true;
    case TOK_ASSIGN:
    case TOK_UNIFY:
        h->assign = p->s.tok.kind == TOK_ASSIGN;
        parser_scan(p);
        h->value = parse_infix(p);
        if (h->value) h->loc = parser_span(p, h->loc);
        return h->value != NULL;
    }
    parser_illegal(p, "expected else value term or rule body");
    return false;
}

static struct rule *parse_one_else(struct parser *p, const struct head *first) {
    struct rule *r = ARENA_NEW(p->arena, struct rule);
    r->loc = parser_loc(p);
    r->head = copy_head(p, first, r->loc);
    r->head->generated_value = r->head->has_if = false;
    parser_scan(p);
    if (!parse_else_value(p, r->head)) return NULL;
    r->head->has_if = p->s.tok.kind == TOK_IF;
    if (r->head->has_if)
        parser_scan(p);
    else if (p->s.tok.kind != TOK_LBRACE) {
        r->body = true_body(p->arena, r->loc);
        r->generated_body = true;
        r->loc = parser_span(p, r->loc);
        return r;
    }
    bool braces = p->s.tok.kind == TOK_LBRACE;
    if (!(braces ? parse_braced_body(p, &r->body) : parse_else_literal(p, r))) return NULL;
    r->loc = parser_span(p, r->loc);
    return r;
}

/* The chain below `first`, which ends where no body was written. */
static bool parse_else_chain(struct parser *p, struct rule *first) {
    uint32_t n = 0;
    for (struct rule *r = first; p->s.tok.kind == TOK_ELSE && !(n && r->generated_body);
         r = r->else_rule) {
        if (n++ == PARSER_MAX_ELSE) {
            parser_error(p, parser_loc(p), "max else chain length exceeded");
            return false;
        }
        r->else_rule = parse_one_else(p, first->head);
        if (!r->else_rule) return false;
    }
    return true;
}

static bool parse_else(struct parser *p, struct rule *r) {
    if (p->s.tok.kind != TOK_ELSE || parser_keyword_as_ref(p)) return true;
    struct term *ref = r->head->ref;
    if (ref->list.n > 1 && !term_is_ground(ref)) {
        bool vars = false;
        for (uint32_t i = 1; i < ref->list.n; i++) vars |= !term_is_ground(ref->list.items[i]);
        if (vars) {
            parser_error(p, parser_loc(p),
                         "else keyword cannot be used on rules with variables in head");
            return false;
        }
    }
    if (r->head->key || r->head->object_key) {
        parser_error(p, parser_loc(p), "else keyword cannot be used on multi-value rules");
        return false;
    }
    return parse_else_chain(p, r);
}

/* ---- Heads' older forms ---- */

static bool is_dynamic(const struct term *t) { return t->kind == TERM_REF || !term_is_ground(t); }

/* p[x] if …: one value a key. */
static void settle_single_value(struct parser *p, struct head *h) {
    struct term *last = h->ref->list.items[1];
    if (is_dynamic(last) && h->args.n == 0) h->object_key = last;
    if (!h->value) {
        h->generated_value = true;
        h->value = term_boolean(p->arena, true, h->loc);
    } else {
        h->name = h->ref->list.items[0]->text;
    }
}

/* p[x] { … }: a partial set, or with a value a partial object. */
static void settle_partial(struct head *h) {
    h->name = h->ref->list.items[0]->text;
    struct term *last = h->ref->list.items[1];
    if (h->value) {
        h->object_key = last;
    } else {
        h->key = last;
        h->ref->list.n--;
    }
}

static void settle_head(struct parser *p, struct head *h, bool has_if, bool contains) {
    if (contains || h->ref->list.n != 2) return;
    if (has_if)
        settle_single_value(p, h);
    else if (h->args.n == 0)
        settle_partial(h);
}

/* ---- Bodies ---- */

/* After `if`: a literal, or `{ body }`. A set in braces is no condition, so it is a body. */
static bool parse_if_body(struct parser *p, struct rule *r) {
    parser_scan(p);
    struct parse_state saved = p->s;
    bool brace = p->s.tok.kind == TOK_LBRACE;
    struct expr *e = parse_literal(p);
    if (e && !(brace && e->kind == EXPR_TERM && e->term->kind == TERM_SET)) {
        r->body = body_of(p->arena, e);
        return true;
    }
    if (!brace) return false;
    p->s = saved;
    return parse_braced_body(p, &r->body);
}

static bool parse_chained_body(struct parser *p, const struct rule *first, struct rule_list *out) {
    if (first->else_rule) {
        parser_error(p, parser_loc(p), "expected else keyword");
        return false;
    }
    struct loc loc = parser_loc(p);
    struct rule *r = ARENA_NEW(p->arena, struct rule);
    if (!parse_braced_body(p, &r->body)) return false;
    r->loc = parser_span(p, loc);
    r->head = copy_head(p, first->head, r->loc);
    set_head_loc(r->head, r->loc);
    ARENA_PUSH(p->arena, out, r);
    return true;
}

static bool parse_default(struct parser *p, struct rule *r, struct rule_list *out) {
    if (!check_default_rule(p, r)) return false;
    r->body = true_body(p->arena, r->loc);
    ARENA_PUSH(p->arena, out, r);
    return true;
}

static bool parse_rule_body(struct parser *p, struct rule *r, bool contains) {
    r->head->has_if = p->s.tok.kind == TOK_IF;
    if (r->head->has_if) return parse_if_body(p, r);
    if (p->s.tok.kind == TOK_LBRACE) return parse_braced_body(p, &r->body);
    if (!contains) return false; /* read again as a body, which may become a rule */
    r->body = true_body(p->arena, r->loc);
    r->generated_body = true;
    r->loc = r->head->loc;
    return true;
}

bool parse_rules(struct parser *p, struct rule_list *out) {
    struct rule *r = ARENA_NEW(p->arena, struct rule);
    r->loc = parser_loc(p);
    parser_keyword_as_ref(p);
    if (p->s.tok.kind == TOK_DEFAULT) {
        r->is_default = true;
        parser_scan(p);
        parser_keyword_as_ref(p);
    }
    if (p->s.tok.kind != TOK_IDENT) {
        if (r->is_default) parse_keyword_rule_name(p, true);
        return false;
    }
    bool contains;
    r->head = parse_head(p, r->is_default, &contains);
    if (!r->head) return false;
    if (r->is_default) return parse_default(p, r, out);
    settle_head(p, r->head, p->s.tok.kind == TOK_IF, contains);
    if (!parse_rule_body(p, r, contains)) return false;
    if (!r->generated_body && !parse_else(p, r)) return false;
    if (!r->generated_body) r->loc = parser_span(p, r->loc);
    ARENA_PUSH(p->arena, out, r);
    while (p->s.tok.kind == TOK_LBRACE && !r->generated_body) {
        if (!parse_chained_body(p, r, out)) return false;
    }
    return true;
}
