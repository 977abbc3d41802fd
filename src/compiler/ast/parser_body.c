/* Parses bodies: literals one after the other, with some, every, not, with.
 * in: the parser at the first token of a body or literal
 * out: expressions; false or NULL and errors otherwise
 * owns: nothing */
#include "compiler/ast/parser_private.h"

struct body body_of(struct arena *a, struct expr *e) {
    struct body b = {0};
    ARENA_PUSH(a, &b, e);
    return b;
}

bool parse_body(struct parser *p, enum token_kind end, struct body *out) {
    if (!parser_enter(p)) return false;
    bool ok = parse_expressions(p, false, end, out);
    parser_leave(p);
    return ok;
}

/* ---- Hints at keywords that are not imported ---- */

static bool member_call(const struct term *t) {
    return t && t->kind == TERM_CALL &&
           (term_is_op(t, "internal.member_2") || term_is_op(t, "internal.member_3"));
}

/* Would the tokens after this one read as a membership, were all keywords known? */
static bool membership_follows(struct parser *p) {
    struct parse_state saved = p->s;
    parser_scan(p);
    parser_add_keywords(p, KW_FUTURE);
    struct term *t = parse_infix(p);
    p->s = saved;
    return member_call(t);
}

static void hint_missing_infix(struct parser *p) {
    if (p->s.hints) return;
    const char *keyword = NULL, *example = "x in xs";
    if (p->s.tok.kind == TOK_COMMA && membership_follows(p)) keyword = "in";
    if (p->s.tok.kind == TOK_IDENT) {
        if (str_is(p->s.tok.lit, "in")) keyword = "in";
        if (str_is(p->s.tok.lit, "and")) keyword = "and", example = "x and y";
        if (str_is(p->s.tok.lit, "or")) keyword = "or", example = "x or y";
    }
    if (keyword)
        parser_hint(p, "`import future.keywords.%s` for `%s` expressions", keyword, example);
}

/* A plain name `every` that begins what would be an every expression. */
static void hint_every(struct parser *p, const struct parse_state *start, const struct expr *e) {
    if (p->version != REGO_V0 || e->kind != EXPR_TERM || e->term->kind != TERM_VAR ||
        !str_is(e->term->text, "every")) {
        return;
    }
    struct parse_state saved = p->s;
    p->s = *start;
    parser_add_keywords(p, KW_FUTURE);
    p->s.tok.kind = TOK_EVERY;
    struct expr *every = parse_literal(p);
    p->s = saved;
    if (every && every->kind == EXPR_EVERY) {
        parser_hint(p, "`import future.keywords.every` for `every x in xs { ... }` expressions");
    }
}

bool parse_expressions(struct parser *p, bool require_semicolon, enum token_kind end,
                       struct body *out) {
    if (p->s.tok.kind == end) {
        parser_error(p, parser_loc(p), "found empty body");
        return false;
    }
    for (;;) {
        struct expr *e = parse_literal(p);
        if (!e) return false;
        ARENA_PUSH(p->arena, out, e);
        if (p->s.tok.kind == TOK_SEMICOLON) {
            parser_scan(p);
            continue;
        }
        if (p->s.tok.kind == end || require_semicolon) return true;
        if (p->s.skipped_newline) continue;
        if (p->s.n_errors == 0) {
            hint_missing_infix(p);
            parser_illegal(p, "expected \\n or %s or %s", token_word(TOK_SEMICOLON),
                           token_word(end));
        }
        return false;
    }
}

/* ---- with ---- */

static bool parse_one_with(struct parser *p, struct with *w) {
    w->loc = parser_loc(p);
    parser_scan(p);
    if (p->s.tok.kind != TOK_IDENT) {
        parser_illegal(p, "expected ident");
        return false;
    }
    w->target = parse_simple_term(p);
    if (!w->target) return false;
    if (w->target->kind != TERM_REF && w->target->kind != TERM_VAR) {
        parser_illegal(p, "expected with target path");
    }
    if (p->s.tok.kind != TOK_AS) {
        parser_illegal(p, "expected as keyword");
        return false;
    }
    parser_scan(p);
    w->value = parse_infix(p);
    w->loc = parser_span(p, w->loc);
    return w->value != NULL;
}

bool parse_with(struct parser *p, struct with_list *out) {
    while (p->s.tok.kind == TOK_WITH) {
        struct with w;
        if (!parse_one_with(p, &w)) return false;
        ARENA_PUSH(p->arena, out, w);
    }
    return true;
}

bool parse_attached_with(struct parser *p, struct expr *e) {
    if (p->s.tok.kind != TOK_WITH) return true;
    e->with = (struct with_list){0};
    return parse_with(p, &e->with);
}

/* ---- some ---- */

/* `some x in xs`, `some k, v in xs` with `some` at hand: NULL and *failed false when it is not one.
 */
static struct expr *parse_some_in(struct parser *p, struct loc loc, bool *failed) {
    parser_scan(p);
    struct term *t = parse_infix(p);
    if (!t || t->kind != TERM_CALL) return NULL;
    *failed = true;
    uint32_t want = term_is_op(t, "internal.member_2")   ? 3
                    : term_is_op(t, "internal.member_3") ? 4
                                                         : 0;
    if (want == 0) {
        parser_illegal(p, "expected `x in xs` or `x, y in xs` expression");
        return NULL;
    }
    if (t->list.n != want) {
        parser_illegal(p, "illegal domain");
        return NULL;
    }
    struct expr *e = expr_new(p->arena, EXPR_SOME, loc);
    ARENA_PUSH(p->arena, &e->call, t);
    return parse_with(p, &e->with) ? e : NULL;
}

static struct expr *parse_some_vars(struct parser *p, struct loc loc) {
    struct expr *e = expr_new(p->arena, EXPR_SOME, loc);
    do {
        parser_scan(p);
        if (p->s.tok.kind != TOK_IDENT) {
            parser_illegal(p, "expected var");
            return NULL;
        }
        ARENA_PUSH(p->arena, &e->call, parse_var(p));
        parser_scan(p);
    } while (p->s.tok.kind == TOK_COMMA);
    return e;
}

static struct expr *parse_some(struct parser *p) {
    struct loc loc = parser_loc(p);
    struct parse_state saved = p->s;
    bool failed = false;
    struct expr *e = parse_some_in(p, loc, &failed);
    if (e || failed) return e;
    p->s = saved;
    if (p->version == REGO_V0 && membership_follows(p)) {
        parser_hint(p, "`import future.keywords.in` for `some x in xs` expressions");
    }
    return parse_some_vars(p, loc);
}

/* ---- every ---- */

/* Takes key, value and domain from the membership that follows `every`. */
static bool every_domain(struct parser *p, const struct term *t, struct expr *e) {
    const struct term_list *l = &t->list;
    bool two = t->kind == TERM_CALL && term_is_op(t, "internal.member_2");
    bool three = t->kind == TERM_CALL && term_is_op(t, "internal.member_3");
    if (!two && !three) {
        parser_illegal(p, "expected `x[, y] in xs { ... }` expression");
        return false;
    }
    if (l->n != (two ? 3u : 4u)) {
        parser_illegal(p, "illegal domain");
        return false;
    }
    e->key = two ? NULL : l->items[1];
    e->value = l->items[two ? 1 : 2];
    e->domain = l->items[two ? 2 : 3];
    if (e->key && e->key->kind != TERM_VAR) {
        parser_illegal(p, "expected key to be a variable");
        return false;
    }
    if (e->value->kind != TERM_VAR) {
        parser_illegal(p, "expected value to be a variable");
        return false;
    }
    return true;
}

static struct expr *parse_every(struct parser *p) {
    struct expr *e = expr_new(p->arena, EXPR_EVERY, parser_loc(p));
    parser_scan(p);
    struct term *t = parse_infix(p);
    if (!t || !every_domain(p, t, e)) return NULL;
    if (p->s.tok.kind != TOK_LBRACE) {
        parser_illegal(p, "missing body");
        return NULL;
    }
    parser_scan(p);
    if (!parse_body(p, TOK_RBRACE, &e->body)) return NULL;
    parser_scan(p);
    return parse_with(p, &e->with) ? e : NULL;
}

/* ---- not ---- */

bool at_negation(struct parser *p) {
    if (p->s.tok.kind != TOK_NOT) return false;
    enum token_kind next = parser_peek(p);
    return next != TOK_DOT && next != TOK_LBRACK;
}

struct expr *not_expr(struct parser *p, struct body inner, bool explicit_body, struct loc loc) {
    struct expr *e = expr_new(p->arena, EXPR_NOT, loc);
    e->body = inner;
    e->explicit_lhs = explicit_body;
    return e;
}

/* The braces after `not` could not be read as a body: do they hold a value? Then say how to write
 * it. */
static void error_not_value(struct parser *p, const struct parse_state *brace, struct loc loc) {
    struct parse_state failed = p->s;
    p->s = *brace;
    struct term *t = parse_infix(p);
    if (!t) {
        p->s = failed;
        return;
    }
    struct str operand = parser_text(p, loc.offset, p->s.last_end);
    parser_hint(p, "write `not (%.*s)` to negate the value, or `not {%.*s}` for a body holding it",
                STR_FMT(operand), STR_FMT(operand));
    parser_error(p, loc, "`{...}` in an operand position must contain expression(s), got: %s",
                 term_kind_word(brace_led(t)));
}

struct expr *parse_not_body(struct parser *p, struct loc not_loc) {
    struct loc brace = parser_loc(p);
    struct parse_state saved = p->s;
    struct body body = {0};
    parser_scan(p);
    bool empty = p->s.tok.kind == TOK_RBRACE;
    if (!parse_body(p, TOK_RBRACE, &body)) {
        if (!empty) error_not_value(p, &saved, brace);
        return NULL;
    }
    parser_scan(p);
    if (is_ambiguous_union(p, &body)) {
        error_ambiguous_union(p, brace, &body, "not ");
        return NULL;
    }
    return not_expr(p, body, true, parser_span(p, not_loc));
}

/* ---- Literals ---- */

struct expr *parse_expr(struct parser *p) {
    struct loc loc = parser_loc(p);
    struct term *lhs = parse_infix(p);
    if (!lhs) return NULL;
    struct expr *e;
    if (p->s.tok.kind == TOK_ASSIGN || p->s.tok.kind == TOK_UNIFY) {
        const char *op = p->s.tok.kind == TOK_ASSIGN ? "assign" : "eq";
        struct loc op_loc = parser_loc(p);
        parser_scan(p);
        struct term *args[] = {lhs, parse_infix(p)};
        if (!args[1]) return NULL;
        e = expr_call_c(p->arena, op, loc, args, 2);
        e->call.items[0]->loc = op_loc;
        e->call.items[0]->list.items[0]->loc = op_loc;
    } else if (lhs->kind == TERM_CALL) {
        e = expr_new(p->arena, EXPR_CALL, loc);
        e->call = lhs->list;
    } else {
        e = expr_new(p->arena, EXPR_TERM, loc);
        e->term = lhs;
    }
    e->loc = parser_span(p, loc);
    return e;
}

/* An operand that begins with a brace although it is no body. */
static bool brace_led_operand(struct parser *p, const struct expr *e) {
    struct str text = parser_text(p, e->loc.offset, e->loc.offset + e->loc.len);
    if (!str_starts(text, STR("{"))) return false;
    if (e->kind == EXPR_TERM && e->with.n == 0 && e->term->kind == TERM_OBJECT &&
        e->term->list.n == 0) {
        parser_error(p, e->loc, "found empty body");
    } else {
        error_brace_operand(p, e->loc, text, token_word(p->s.tok.kind));
    }
    return true;
}

/* An expression, its `with`, the `not` before it, and the and/or after it. */
static struct expr *parse_plain(struct parser *p, const struct loc *not_loc) {
    struct parse_state start = p->s;
    bool wrap_not = not_loc && p->not_bodies;
    struct operand group = {0};
    if (wrap_not && p->s.tok.kind == TOK_LPAREN && parse_logical_group(p, true, "not ", &group)) {
        if (group.body.n == 0) return NULL;
        struct loc loc = parser_span(p, *not_loc);
        struct expr *not = not_expr(p, group.body, group.is_explicit, loc);
        return parse_logical_tail(p, (struct operand){body_of(p->arena, not ), false, loc});
    }
    struct expr *e = parse_expr(p);
    if (!e) return NULL;
    bool with = p->s.tok.kind == TOK_WITH;
    struct loc with_loc = parser_loc(p);
    if (!parse_with(p, &e->with)) return NULL;
    e->loc = parser_span(p, e->loc);
    hint_every(p, &start, e);
    if (wrap_not) {
        struct with_list outer = e->with;
        e->with = (struct with_list){0};
        e = not_expr(p, body_of(p->arena, e), false, parser_span(p, *not_loc));
        e->with = outer;
    } else {
        e->negated = not_loc != NULL;
    }
    if (!at_logical(p)) return e;
    if (with) {
        error_with_on_operand(p, with_loc, token_word(p->s.tok.kind));
        return NULL;
    }
    if (!not_loc && brace_led_operand(p, e)) return NULL;
    struct expr *chain =
        parse_logical_chain(p, (struct operand){body_of(p->arena, e), false, e->loc});
    return chain && parse_attached_with(p, chain) ? chain : NULL;
}

/* `{ body } and …`: the braces are a body only when and/or follows them. */
static struct expr *parse_braced_operand(struct parser *p, bool *failed) {
    struct parse_state saved = p->s;
    struct operand lhs = {{0}, true, parser_loc(p)};
    parser_scan(p);
    if (parse_body(p, TOK_RBRACE, &lhs.body)) {
        parser_scan(p);
        if (at_logical(p)) {
            *failed = true;
            if (is_ambiguous_union(p, &lhs.body)) {
                error_ambiguous_union(p, lhs.loc, &lhs.body, "");
                return NULL;
            }
            return parse_logical_tail(p, lhs);
        }
    }
    p->s = saved;
    return NULL;
}

static struct expr *parse_negated(struct parser *p) {
    struct loc not_loc = parser_loc(p);
    parser_scan(p);
    if (p->not_bodies && p->s.tok.kind == TOK_LBRACE) {
        struct expr *not = parse_not_body(p, not_loc);
        if (!not ) return NULL;
        return parse_logical_tail(p, (struct operand){body_of(p->arena, not ), false, not ->loc});
    }
    if (p->s.tok.kind == TOK_SOME || p->s.tok.kind == TOK_EVERY) {
        parser_illegal(p, "illegal negation of '%s'", token_word(p->s.tok.kind));
        return NULL;
    }
    return parse_plain(p, &not_loc);
}

static struct expr *parse_any_literal(struct parser *p) {
    bool failed = false;
    if (logical_active(p) && p->s.tok.kind == TOK_LBRACE) {
        struct expr *e = parse_braced_operand(p, &failed);
        if (e || failed) return e;
    }
    struct operand group = {0};
    if (logical_active(p) && p->s.tok.kind == TOK_LPAREN &&
        parse_logical_group(p, false, "", &group)) {
        return group.body.n ? parse_logical_tail(p, group) : NULL;
    }
    if (parser_keyword_as_ref(p)) return parse_plain(p, NULL);
    if (at_negation(p)) return parse_negated(p);
    if (p->s.tok.kind == TOK_SOME) return parse_some(p);
    if (p->s.tok.kind == TOK_EVERY) return parse_every(p);
    return parse_plain(p, NULL);
}

struct expr *parse_literal(struct parser *p) {
    if (!parser_enter(p)) return NULL;
    struct loc loc = parser_loc(p);
    struct expr *e = parse_any_literal(p);
    parser_leave(p);
    if (!e) return NULL;
    e->loc = parser_span(p, loc);
    if (e->kind == EXPR_NOT && !e->explicit_lhs) {
        for (uint32_t i = 0; i < e->body.n; i++) e->body.items[i]->loc = e->loc;
    }
    return e;
}
