/* Parses `and`, `or` and the parentheses that group them (Rego v2, or imported keywords).
 * in: the parser at an operand or after the first one
 * out: EXPR_AND and EXPR_OR expressions; `and` binds tighter, both group to the left
 * owns: nothing */
#include "compiler/ast/parser_private.h"
#include "compiler/builtin.h"

bool at_logical(const struct parser *p) {
    return p->s.tok.kind == TOK_LOGICAL_AND || p->s.tok.kind == TOK_LOGICAL_OR;
}

bool logical_active(const struct parser *p) {
    return (p->s.lexer.keywords & (KW_AND | KW_OR)) != 0;
}

/* ---- Errors ---- */

const char *term_kind_word(const struct term *t) {
    static const char *const words[] = {
        "null",
        "boolean",
        "number",
        "string",
        "var",
        "ref",
        "array",
        "object",
        "set",
        "arraycomprehension",
        "setcomprehension",
        "objectcomprehension",
        "call",
        "templatestring",
    };
    return words[t->kind];
}

/* The term that the leading brace of t opens: an infix call is written with its left side first. */
const struct term *brace_led(const struct term *t) {
    while (t->kind == TERM_CALL && t->list.n == 3) {
        const struct term *op = t->list.items[0];
        const struct term *name = op->kind == TERM_REF ? op->list.items[0] : NULL;
        const struct builtin *b = name && op->list.n == 1 ? builtin_find(name->text) : NULL;
        if (!(b && b->infix[0]) && !term_is_op(op, "internal.member_2")) break;
        t = t->list.items[1];
    }
    return t;
}

void error_with_on_operand(struct parser *p, struct loc loc, const char *op) {
    parser_hint(p,
                "Wrap the operand in `(...)` or `{...}` to scope, or move `with` after the `%s` "
                "expression to apply it to the whole expression",
                op);
    parser_error(p, loc, "`with` modifier is not allowed on operand of `%s`", op);
}

void error_brace_operand(struct parser *p, struct loc loc, struct str operand, const char *op) {
    parser_hint(p, "wrap the operand to keep the value: `(%.*s) %s ...`", STR_FMT(operand), op);
    parser_error(p, loc, "operand of `%s` cannot begin with `{` unless the braces hold a body", op);
}

/* { a | b } as a body: a set union in braces cannot be told from a comprehension. */
bool is_ambiguous_union(const struct parser *p, const struct body *b) {
    if (b->n == 0) return false;
    const struct expr *e = b->items[0];
    if (e->kind != EXPR_CALL || !term_is_op(e->call.items[0], "or")) return false;
    const struct loc *op = &e->call.items[0]->loc;
    if (!str_is(parser_text(p, op->offset, op->offset + op->len), "|")) return false;
    return !str_starts(parser_text(p, e->loc.offset, e->loc.offset + e->loc.len), STR("("));
}

void error_ambiguous_union(struct parser *p, struct loc brace, const struct body *b,
                           const char *prefix) {
    struct str braces = parser_text(p, brace.offset, p->s.last_end);
    const struct loc *e = &b->items[0]->loc;
    uint32_t at = e->offset - brace.offset;
    struct str before = str_head(braces, at), after = str_from(braces, at + e->len);
    struct str inner = parser_text(p, e->offset, e->offset + e->len);
    parser_hint(p,
                "write `%s(%.*s)` for the comprehension, or `%s%.*s(%.*s)%.*s` for the set union",
                prefix, STR_FMT(braces), prefix, STR_FMT(before), STR_FMT(inner), STR_FMT(after));
    parser_error(p, brace,
                 "ambiguous `{ ... | ... }` operand: read as a body holding a set-union "
                 "expression, not as a comprehension");
}

/* The first void builtin of a body that calls nothing else; NULL: it does something else. */
static const struct expr *void_call(struct arena *a, const struct body *b, struct str *name) {
    for (uint32_t i = 0; i < b->n; i++) {
        const struct expr *e = b->items[i];
        if (e->negated || e->kind != EXPR_CALL) return NULL;
        struct str op = ref_dotted(a, e->call.items[0]);
        const struct builtin *builtin = builtin_find(op);
        if (!builtin || !builtin->is_void) return NULL;
        if (i == 0) *name = op;
    }
    return b->n ? b->items[0] : NULL;
}

static void check_void_operand(struct parser *p, const struct body *b, const char *op) {
    struct str name;
    const struct expr *e = void_call(p->arena, b, &name);
    if (!e) return;
    parser_hint(p,
                "`%.*s` produces no value and always succeeds, so the operand can never fail; move "
                "it out of the operand, or add an expression that can fail",
                STR_FMT(name));
    parser_error(p, e->loc, "operand of `%s` cannot consist only of calls to `%.*s`", op,
                 STR_FMT(name));
}

/* ---- Operands ---- */

/* `{ … }` after and/or; op NULL: the caller will go back on failure. */
static bool parse_body_operand(struct parser *p, const char *op, struct operand *out) {
    struct parse_state saved = p->s;
    *out = (struct operand){{0}, true, parser_loc(p)};
    parser_scan(p);
    bool empty = p->s.tok.kind == TOK_RBRACE;
    if (parse_body(p, TOK_RBRACE, &out->body)) {
        parser_scan(p);
        if (is_ambiguous_union(p, &out->body)) error_ambiguous_union(p, out->loc, &out->body, "");
        return true;
    }
    if (empty || !op) return false;
    struct parse_state failed = p->s;
    p->s = saved;
    if (parse_infix(p)) {
        struct str text = parser_text(p, out->loc.offset, p->s.last_end);
        error_brace_operand(p, out->loc, text, op);
    } else {
        p->s = failed;
    }
    return false;
}

static void set_single(struct parser *p, struct operand *out, struct expr *e) {
    *out = (struct operand){body_of(p->arena, e), false, e->loc};
}

static bool parse_expr_operand(struct parser *p, const struct loc *not_loc, struct operand *out) {
    struct expr *e = parse_expr(p);
    if (!e) return false;
    if (not_loc && p->not_bodies) {
        e = not_expr(p, body_of(p->arena, e), false, parser_span(p, *not_loc));
    } else {
        e->negated = not_loc != NULL;
    }
    set_single(p, out, e);
    return true;
}

static bool parse_operand(struct parser *p, const char *op, struct operand *out) {
    if (p->s.tok.kind == TOK_LBRACE) return parse_body_operand(p, op, out);
    struct loc loc = parser_loc(p);
    const struct loc *not_loc = at_negation(p) ? &loc : NULL;
    if (not_loc) parser_scan(p);
    if (not_loc && p->not_bodies && p->s.tok.kind == TOK_LBRACE) {
        struct expr *not = parse_not_body(p, loc);
        if (not ) set_single(p, out, not );
        return not != NULL;
    }
    bool group = p->s.tok.kind == TOK_LPAREN && logical_active(p) && (!not_loc || p->not_bodies);
    if (group && parse_logical_group(p, true, not_loc ? "not " : "", out)) {
        if (out->body.n == 0) return false;
        if (not_loc) {
            loc = parser_span(p, loc);
            set_single(p, out, not_expr(p, out->body, out->is_explicit, loc));
        }
        return true;
    }
    return parse_expr_operand(p, not_loc, out);
}

/* ---- Chains ---- */

static struct operand join(struct parser *p, enum expr_kind kind, struct operand lhs,
                           struct operand rhs) {
    const char *op = kind == EXPR_AND ? "and" : "or";
    check_void_operand(p, &lhs.body, op);
    check_void_operand(p, &rhs.body, op);
    struct expr *e = expr_new(p->arena, kind, parser_span(p, lhs.loc));
    e->lhs = lhs.body;
    e->rhs = rhs.body;
    e->explicit_lhs = lhs.is_explicit;
    e->explicit_rhs = rhs.is_explicit;
    return (struct operand){body_of(p->arena, e), false, e->loc};
}

/* Folds operators of one kind onto lhs; each makes the tree one deeper. */
static bool parse_and_chain(struct parser *p, struct operand *lhs) {
    uint32_t levels = 0;
    bool ok = true;
    while (ok && p->s.tok.kind == TOK_LOGICAL_AND && (ok = parser_enter(p))) {
        levels++;
        struct operand rhs = {0};
        parser_scan(p);
        ok = parse_operand(p, "and", &rhs);
        if (ok) *lhs = join(p, EXPR_AND, *lhs, rhs);
    }
    while (levels--) parser_leave(p);
    return ok;
}

struct expr *parse_logical_chain(struct parser *p, struct operand lhs) {
    uint32_t levels = 0;
    bool ok = parse_and_chain(p, &lhs);
    while (ok && p->s.tok.kind == TOK_LOGICAL_OR && (ok = parser_enter(p))) {
        levels++;
        struct operand rhs = {0};
        parser_scan(p);
        ok = parse_operand(p, "or", &rhs) && parse_and_chain(p, &rhs);
        if (ok) lhs = join(p, EXPR_OR, lhs, rhs);
    }
    while (levels--) parser_leave(p);
    return ok ? lhs.body.items[0] : NULL;
}

struct expr *parse_logical_tail(struct parser *p, struct operand lhs) {
    struct expr *e = at_logical(p) ? parse_logical_chain(p, lhs) : lhs.body.items[0];
    return e && parse_attached_with(p, e) ? e : NULL;
}

/* ---- Groups ---- */

static bool close_group(struct parser *p, struct loc open, struct operand *out) {
    if (p->s.tok.kind != TOK_RPAREN) {
        parser_error(p, parser_loc(p), "expected ) to close parenthesized group");
        out->body.n = 0;
        return true;
    }
    parser_scan(p);
    out->is_explicit = false;
    out->loc = parser_span(p, open);
    return true;
}

static bool fail_group(struct operand *out) {
    out->body.n = 0;
    return true;
}

/* (a and b …), with the operator at hand. */
static bool group_of_chain(struct parser *p, struct loc open, struct operand lhs,
                           struct operand *out) {
    struct expr *e = parse_logical_chain(p, lhs);
    if (!e || !parse_attached_with(p, e)) return fail_group(out);
    out->body = body_of(p->arena, e);
    return close_group(p, open, out);
}

/* (a with x as y): a group where an operand is wanted. */
static bool group_of_with(struct parser *p, const struct parse_state *start, bool operand_context,
                          struct loc open, struct operand *out) {
    struct loc with_loc = parser_loc(p);
    if (!parse_attached_with(p, out->body.items[0])) return fail_group(out);
    if (at_logical(p)) {
        error_with_on_operand(p, with_loc, token_word(p->s.tok.kind));
        return fail_group(out);
    }
    close_group(p, open, out);
    if (out->body.n == 0 || operand_context || at_logical(p)) return true;
    p->s = *start;
    return false;
}

/* ({ … }): a value in parentheses, or an error if the braces hold no value. */
static bool group_of_braces(struct parser *p, const struct parse_state *start, const char *prefix,
                            struct loc open, struct operand *out) {
    struct str braces = parser_text(p, out->loc.offset, p->s.last_end);
    p->s = *start;
    parser_scan(p);
    struct term *t = parse_simple_term(p);
    p->s = *start;
    if (t) return false;
    parser_hint(p, "drop the parens to keep the body: `%s%.*s`", prefix, STR_FMT(braces));
    parser_error(p, open, "`(...)` in an operand position cannot contain a body");
    return fail_group(out);
}

static bool is_group_operand(const struct body *b) {
    if (b->n != 1) return false;
    const struct expr *e = b->items[0];
    return e->negated || e->kind == EXPR_AND || e->kind == EXPR_OR || e->kind == EXPR_NOT;
}

static bool parse_group(struct parser *p, bool operand_context, const char *prefix,
                        struct operand *out) {
    struct parse_state start = p->s;
    struct loc open = parser_loc(p);
    parser_scan(p);
    if (p->s.tok.kind == TOK_RPAREN && operand_context) {
        parser_error(p, open, "empty parenthesized group");
        return fail_group(out);
    }
    struct operand lhs = {0};
    if (p->s.tok.kind == TOK_RPAREN || !parse_operand(p, NULL, &lhs)) {
        p->s = start;
        return false;
    }
    if (at_logical(p)) return group_of_chain(p, open, lhs, out);
    *out = lhs;
    if (p->s.tok.kind == TOK_WITH && !lhs.is_explicit && lhs.body.n == 1) {
        return group_of_with(p, &start, operand_context, open, out);
    }
    if (lhs.is_explicit) return group_of_braces(p, &start, prefix, open, out);
    if (is_group_operand(&lhs.body)) return close_group(p, open, out);
    p->s = start;
    return false;
}

bool parse_logical_group(struct parser *p, bool operand_context, const char *prefix,
                         struct operand *out) {
    *out = (struct operand){0};
    if (!parser_enter(p)) return true;
    bool group = parse_group(p, operand_context, prefix, out);
    parser_leave(p);
    return group;
}
