/* Parses terms: infix operators by precedence, simple terms, refs and calls.
 * in: the parser at the first token of a term
 * out: the term, the parser after it; NULL and errors otherwise
 * owns: nothing */
#include "compiler/ast/parser_private.h"

bool term_is_root(const struct term *t) {
    return t->kind == TERM_VAR && (str_is(t->text, "data") || str_is(t->text, "input"));
}

/* Is t a ref (or a call of one) whose dotted form is this name? */
bool term_is_op(const struct term *t, const char *dotted) {
    if (t->kind == TERM_CALL) t = t->list.items[0];
    if (t->kind != TERM_REF) return false;
    for (uint32_t i = 0; i < t->list.n; i++) {
        const struct term *x = t->list.items[i];
        if (x->kind != (i == 0 ? TERM_VAR : TERM_STRING)) return false;
        if (i > 0 && *dotted++ != '.') return false;
        if (strncmp(dotted, x->text.ptr, x->text.len) != 0) return false;
        dotted += x->text.len;
    }
    return *dotted == 0;
}

static struct term *with_span(struct term *t, struct loc start, uint32_t end) {
    t->loc = start;
    t->loc.len = end > start.offset ? end - start.offset : 0;
    return t;
}

static struct term *ref_of(struct parser *p, struct term *head, struct loc loc) {
    struct term *ref = term_new(p->arena, TERM_REF, loc);
    ARENA_PUSH(p->arena, &ref->list, head);
    return ref;
}

/* Binding strength of binary operators; 0: none. */
static int precedence(enum token_kind k) {
    switch ((int)k) {
    case TOK_EQUAL:
    case TOK_NEQ:
    case TOK_LT:
    case TOK_GT:
    case TOK_LTE:
    case TOK_GTE: return 1;
    case TOK_OR: return 2;
    case TOK_AND: return 3;
    case TOK_PLUS:
    case TOK_MINUS: return 4;
    case TOK_MUL:
    case TOK_DIV:
    case TOK_REM: return 5;
    }
    return 0;
}
enum { PREC_RELATION = 1, PREC_MAX = 5 };

static struct term *call_of(struct parser *p, struct term *op, struct term *lhs, struct term *mid,
                            struct term *rhs) {
    struct term *call = term_new(p->arena, TERM_CALL, lhs->loc);
    ARENA_PUSH(p->arena, &call->list, op);
    ARENA_PUSH(p->arena, &call->list, lhs);
    if (mid) ARENA_PUSH(p->arena, &call->list, mid);
    ARENA_PUSH(p->arena, &call->list, rhs);
    return with_span(call, lhs->loc, p->s.last_end);
}

/* Consumes the operator at hand as a ref of one var. */
static struct term *parse_operator(struct parser *p) {
    struct loc loc = parser_loc(p);
    struct term *op = ref_of(p, term_var(p->arena, str_of(token_word(p->s.tok.kind)), loc), loc);
    parser_scan(p);
    return op;
}

/* Operators at or above `least`. A right side that fails leaves its error and gives what was read
 * before it, as OPA does: callers go on and may add their own error. */
static struct term *parse_binary(struct parser *p, int least) {
    struct term *lhs = parse_simple_term(p);
    uint32_t levels = 0;
    for (int limit = PREC_MAX; lhs;) {
        int prec = precedence(p->s.tok.kind);
        if (prec < least || prec == 0 || prec > limit) break;
        if (!parser_enter(p)) break;
        levels++;
        struct term *op = parse_operator(p);
        struct term *rhs = parse_binary(p, prec + 1);
        limit = rhs ? prec : prec - 1;
        if (rhs) lhs = call_of(p, op, lhs, NULL, rhs);
    }
    while (levels--) parser_leave(p);
    return lhs;
}

static struct term *parse_member_operator(struct parser *p, const char *dotted) {
    if (p->s.tok.kind != TOK_IN) return NULL;
    struct term *op = term_ref_c(p->arena, dotted, parser_loc(p));
    parser_scan(p);
    return op;
}

/* `lhs, mid in rhs` with the comma at hand; NULL, and nothing consumed, when it is not that. */
static struct term *parse_member_with_key(struct parser *p, struct term *lhs) {
    struct parse_state saved = p->s;
    parser_scan(p);
    struct term *mid = parse_binary(p, PREC_RELATION);
    struct term *op = mid ? parse_member_operator(p, "internal.member_3") : NULL;
    struct term *rhs = op ? parse_binary(p, PREC_RELATION) : NULL;
    if (rhs) return call_of(p, op, lhs, mid, rhs);
    p->s = saved;
    return NULL;
}

static struct term *parse_member(struct parser *p, struct term *lhs) {
    parser_keyword_as_ref(p);
    struct term *op = parse_member_operator(p, "internal.member_2");
    struct term *rhs = op ? parse_binary(p, PREC_RELATION) : NULL;
    return rhs ? call_of(p, op, lhs, NULL, rhs) : NULL;
}

/* `in` binds loosest; `a in b in c` groups to the left. */
static struct term *parse_in(struct parser *p, bool key_value) {
    if (!parser_enter(p)) return NULL;
    struct term *lhs = parse_binary(p, PREC_RELATION);
    uint32_t levels = 1;
    while (lhs) {
        struct term *call = NULL;
        if (key_value && p->s.tok.kind == TOK_COMMA) call = parse_member_with_key(p, lhs);
        if (!call) call = parse_member(p, lhs);
        if (!call) break;
        lhs = call;
        if (p->s.tok.kind != TOK_IN) break;
        if (!parser_enter(p)) break;
        levels++;
    }
    while (levels--) parser_leave(p);
    return lhs;
}

struct term *parse_infix(struct parser *p) {
    return parse_in(p, true);
}
struct term *parse_infix_in_list(struct parser *p) {
    return parse_in(p, false);
}

struct term *parse_var(struct parser *p) {
    struct loc loc = parser_loc(p);
    if (str_is(p->s.tok.lit, "_")) return parser_wildcard(p, loc);
    return term_var(p->arena, p->s.tok.lit, loc);
}

/* What follows a simple term whose last token is at hand: a ref's or call's tail, or nothing. */
static struct term *parse_finish(struct parser *p, struct term *head) {
    if (!head) return NULL;
    uint32_t offset = p->s.tok.offset;
    parser_scan_ws(p);
    switch ((int)p->s.tok.kind) {
    case TOK_LPAREN:
    case TOK_DOT:
    case TOK_LBRACK: return parse_ref_tail(p, head, offset);
    case TOK_WHITESPACE: parser_scan(p);
    }
    return term_is_root(head) ? ref_of(p, head, head->loc) : head;
}

static struct term *parse_parentheses(struct parser *p) {
    parser_scan(p);
    struct term *t = parse_infix(p);
    if (!t) return NULL;
    if (p->s.tok.kind != TOK_RPAREN) {
        parser_error(p, parser_loc(p), "non-terminated expression");
        return NULL;
    }
    return t;
}

/* -x is minus(0, x) for names; numbers take their sign themselves. */
static struct term *parse_minus(struct parser *p) {
    struct loc loc = parser_loc(p);
    struct parse_state saved = p->s;
    parser_scan(p);
    if (p->s.tok.kind != TOK_IDENT && p->s.tok.kind != TOK_CONTAINS) {
        p->s = saved;
        return parse_finish(p, parse_number(p));
    }
    struct term *t = parse_finish(p, parse_var(p));
    if (!t) return NULL;
    struct term *op = ref_of(p, term_var(p->arena, STR("minus"), loc), loc);
    struct term *call = call_of(p, op, term_number_int(p->arena, 0, loc), NULL, t);
    return with_span(call, loc, p->s.last_end);
}

/* and(x), or(x): calls of the set operators' functions, where the keywords are active. */
static void logical_call_as_name(struct parser *p) {
    if (!at_logical(p)) return;
    if (parser_peek(p) == TOK_LPAREN) p->s.tok.kind = TOK_IDENT;
}

static struct term *parse_start(struct parser *p) {
    struct loc loc = parser_loc(p);
    switch ((int)p->s.tok.kind) {
    case TOK_NULL: return term_new(p->arena, TERM_NULL, loc);
    case TOK_TRUE: return term_boolean(p->arena, true, loc);
    case TOK_FALSE: return term_boolean(p->arena, false, loc);
    case TOK_DOT:
    case TOK_NUMBER: return parse_number(p);
    case TOK_STRING: return parse_string(p);
    case TOK_TEMPLATE_PART:
    case TOK_TEMPLATE_END: return parse_template_string(p, false);
    case TOK_RAW_TEMPLATE_PART:
    case TOK_RAW_TEMPLATE_END: return parse_template_string(p, true);
    case TOK_IDENT:
    case TOK_CONTAINS: return parse_var(p);
    case TOK_LBRACK: return parse_array(p);
    case TOK_LBRACE: return parse_set_or_object(p);
    case TOK_LPAREN: return parse_parentheses(p);
    }
    parser_illegal_token(p);
    return NULL;
}

struct term *parse_simple_term(struct parser *p) {
    if (!parser_enter(p)) return NULL;
    struct parse_memo *known = parser_memo_find(p);
    struct term *t;
    if (known) {
        p->s = known->after;
        t = known->term;
    } else {
        struct parse_state before = p->s;
        logical_call_as_name(p);
        t = p->s.tok.kind == TOK_MINUS ? parse_minus(p) : parse_finish(p, parse_start(p));
        parser_memo_put(p, &before, t);
    }
    parser_leave(p);
    return t;
}

/* Arguments with `(` at hand; the parser ends after `)`, *end is the byte after it. */
static struct term *parse_call(struct parser *p, struct term *operator, uint32_t * end) {
    struct loc loc = operator->loc;
    parser_scan(p);
    struct term *call = term_new(p->arena, TERM_CALL, loc);
    ARENA_PUSH(p->arena, &call->list, operator);
    bool empty = p->s.tok.kind == TOK_RPAREN;
    if (!empty && !parse_term_list(p, TOK_RPAREN, &call->list)) return NULL;
    *end = p->s.tok.end;
    parser_scan_ws(p);
    if (empty && term_is_op(operator, "set")) call = term_new(p->arena, TERM_SET, loc);
    return with_span(call, loc, *end);
}

static bool parse_dot(struct parser *p, struct term *ref) {
    parser_scan_ws(p);
    if (p->s.tok.kind != TOK_IDENT && !parser_is_ref_keyword(p, p->s.tok.kind)) {
        parser_illegal(p, "expected %s", token_word(TOK_IDENT));
        return false;
    }
    ARENA_PUSH(p->arena, &ref->list, term_string(p->arena, p->s.tok.lit, parser_loc(p)));
    parser_scan_ws(p);
    return true;
}

static bool parse_bracket(struct parser *p, struct term *ref) {
    parser_scan(p);
    struct term *t = parse_infix(p);
    if (!t) return false;
    if (p->s.tok.kind != TOK_RBRACK) {
        parser_illegal(p, "expected %s", token_word(TOK_LBRACK));
        return false;
    }
    ARENA_PUSH(p->arena, &ref->list, t);
    parser_scan_ws(p);
    return true;
}

static struct term *parse_call_tail(struct parser *p, struct term *ref, uint32_t offset) {
    struct loc loc = ref->loc;
    uint32_t end = 0;
    struct term *call = parse_call(p, with_span(ref, loc, p->s.tok.offset), &end);
    if (!call) return NULL;
    if (p->s.tok.kind == TOK_WHITESPACE)
        parser_scan(p);
    else if (p->s.tok.kind == TOK_DOT || p->s.tok.kind == TOK_LBRACK) {
        return parse_ref_tail(p, call, offset);
    }
    return call;
}

static bool may_head_ref(const struct term *t) {
    return t->kind >= TERM_VAR && t->kind != TERM_REF && t->kind != TERM_TEMPLATE_STRING;
}

struct term *parse_ref_tail(struct parser *p, struct term *head, uint32_t offset) {
    if (!may_head_ref(head)) {
        parser_error(p, head->loc, "illegal ref (head cannot be %s)", term_kind_word(head));
    }
    if (!parser_enter(p)) return NULL;
    struct term *ref = ref_of(p, head, head->loc), *result = NULL;
    for (bool more = true; more;) {
        switch ((int)p->s.tok.kind) {
        case TOK_DOT: more = parse_dot(p, ref); break;
        case TOK_LBRACK: more = parse_bracket(p, ref); break;
        case TOK_LPAREN:
            result = parse_call_tail(p, ref, offset);
            more = false;
            break;
        default:
            result = with_span(ref, head->loc, p->s.last_end);
            if (p->s.tok.kind == TOK_WHITESPACE) parser_scan(p);
            more = false;
        }
    }
    parser_leave(p);
    return result;
}

/* Terms up to `end`, which stays at hand; a comma may precede it. */
bool parse_term_list(struct parser *p, enum token_kind end, struct term_list *out) {
    while (p->s.tok.kind != end) {
        struct term *t = parse_infix_in_list(p);
        if (!t) return false;
        ARENA_PUSH(p->arena, out, t);
        if (p->s.tok.kind == end) return true;
        if (p->s.tok.kind != TOK_COMMA) {
            parser_illegal(p, "expected \",\" or \"%s\"", token_word(end));
            return false;
        }
        parser_scan(p);
    }
    return true;
}
