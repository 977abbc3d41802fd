/* Parses arrays, sets, objects and the three comprehensions.
 * in: the parser at `[` or `{`
 * out: the term with the closing bracket at hand; NULL and errors otherwise
 * owns: nothing */
#include "compiler/ast/parser_private.h"
#include <stdlib.h>

static struct term *closed(struct parser *p, struct term *t, struct loc loc) {
    if (!t) return NULL;
    t->loc = loc;
    t->loc.len = p->s.tok.end - loc.offset;
    return t;
}

static struct term *comprehension(struct parser *p, enum term_kind kind, struct term *key,
                                  struct term *value) {
    struct term *t = term_new(p->arena, kind, value->loc);
    t->key = key;
    t->value = value;
    parser_scan(p);
    enum token_kind end = kind == TERM_ARRAY_COMPR ? TOK_RBRACK : TOK_RBRACE;
    return parse_body(p, end, &t->body) ? t : NULL;
}

/* A comma right after the bracket is allowed, for old policies; then it is no comprehension. */
static bool skip_leading_comma(struct parser *p) {
    if (p->s.tok.kind != TOK_COMMA) return true;
    parser_scan(p);
    return false;
}

static struct term *array_of_rest(struct parser *p, struct term *first) {
    struct term *t = term_new(p->arena, TERM_ARRAY, parser_loc(p));
    if (first) ARENA_PUSH(p->arena, &t->list, first);
    return parse_term_list(p, TOK_RBRACK, &t->list) ? t : NULL;
}

/* [a | b] is a comprehension where it can be one, else an array of `a | b`. */
static struct term *array_items(struct parser *p) {
    if (p->s.tok.kind == TOK_RBRACK) return term_new(p->arena, TERM_ARRAY, parser_loc(p));
    bool may_be_comprehension = skip_leading_comma(p);
    struct parse_state saved = p->s;
    struct term *head = parse_simple_term(p);
    if (!head) return NULL;
    if (p->s.tok.kind == TOK_RBRACK) return array_of_rest(p, head);
    if (p->s.tok.kind == TOK_COMMA) {
        parser_scan(p);
        return array_of_rest(p, head);
    }
    if (p->s.tok.kind == TOK_OR && may_be_comprehension) {
        struct term *t = comprehension(p, TERM_ARRAY_COMPR, NULL, head);
        if (t) return t;
        if (p->s.tok.kind != TOK_COMMA) return NULL;
    }
    p->s = saved;
    return array_of_rest(p, NULL);
}

struct term *parse_array(struct parser *p) {
    if (!parser_enter(p)) return NULL;
    struct loc loc = parser_loc(p);
    parser_scan(p);
    struct term *t = closed(p, array_items(p), loc);
    parser_leave(p);
    return t;
}

/* ---- Sets: sorted, each element once ---- */

static int compare_items(const void *a, const void *b) {
    return term_compare(*(struct term *const *)a, *(struct term *const *)b);
}

static bool find_template(void *ctx, struct term *t) {
    if (t->template_text.ptr) *(bool *)ctx = true;
    return true;
}

/* Does a {{NAME}} stand in it? Then it stays even beside an equal element: what is dropped must not
 * depend on a tenant's values, or the code would too. */
static bool term_is_templated(struct term *t) {
    bool found = false;
    struct ast_visitor v = {.ctx = &found, .term = find_template};
    ast_visit_term(t, &v);
    return found;
}

struct term *set_from_list(struct arena *a, struct term_list list, struct loc loc) {
    struct term *t = term_new(a, TERM_SET, loc);
    if (list.n) qsort(list.items, list.n, sizeof(list.items[0]), compare_items);
    uint32_t n = 0;
    for (uint32_t i = 0; i < list.n; i++) {
        bool templated = term_is_templated(list.items[i]) || (n && term_is_templated(list.items[n - 1]));
        if (n == 0 || templated || !term_equal(list.items[n - 1], list.items[i])) {
            list.items[n++] = list.items[i];
        }
    }
    list.n = n;
    t->list = list;
    return t;
}

static struct term *set_of_rest(struct parser *p, struct term *first) {
    struct term_list list = {0};
    if (first) ARENA_PUSH(p->arena, &list, first);
    if (!parse_term_list(p, TOK_RBRACE, &list)) return NULL;
    return set_from_list(p->arena, list, parser_loc(p));
}

/* With `}`, `,` or `|` at hand after the first element; `start` is its place. */
static struct term *parse_set(struct parser *p, const struct parse_state *start, struct term *head,
                              bool may_be_comprehension) {
    if (p->s.tok.kind == TOK_RBRACE) return set_of_rest(p, head);
    if (p->s.tok.kind == TOK_COMMA) {
        parser_scan(p);
        return set_of_rest(p, head);
    }
    if (may_be_comprehension) {
        struct term *t = comprehension(p, TERM_SET_COMPR, NULL, head);
        if (t) return t;
        if (p->s.tok.kind != TOK_COMMA) return NULL;
    }
    p->s = *start;
    return set_of_rest(p, NULL);
}

/* ---- Objects: sorted by key; equal keys stay, in the order in which they were written ---- */

struct pair {
    struct term *key, *value;
    uint32_t index;
};
struct pair_list {
    struct pair *items;
    uint32_t n, cap;
};

static int compare_pairs(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    int c = term_compare(x->key, y->key);
    return c ? c : (x->index > y->index) - (x->index < y->index);
}

static struct term *object_of(struct parser *p, struct pair_list *pairs) {
    struct term *t = term_new(p->arena, TERM_OBJECT, parser_loc(p));
    for (uint32_t i = 0; i < pairs->n; i++) pairs->items[i].index = i;
    qsort(pairs->items, pairs->n, sizeof(pairs->items[0]), compare_pairs);
    for (uint32_t i = 0; i < pairs->n; i++) {
        ARENA_PUSH(p->arena, &t->list, pairs->items[i].key);
        ARENA_PUSH(p->arena, &t->list, pairs->items[i].value);
    }
    return t;
}

static bool parse_pair(struct parser *p, struct pair_list *out) {
    struct term *key = parse_infix_in_list(p);
    if (!key) return false;
    if (p->s.tok.kind != TOK_COLON) {
        parser_illegal(p, "expected \":\"");
        return false;
    }
    parser_scan(p);
    struct term *value = parse_infix_in_list(p);
    if (!value) return false;
    ARENA_PUSH(p->arena, out, ((struct pair){key, value, 0}));
    return true;
}

static bool parse_pairs(struct parser *p, struct pair_list *out) {
    while (p->s.tok.kind != TOK_RBRACE) {
        if (!parse_pair(p, out)) return false;
        if (p->s.tok.kind == TOK_RBRACE) return true;
        if (p->s.tok.kind != TOK_COMMA) {
            parser_illegal(p, "expected \",\" or \"}\"");
            return false;
        }
        parser_scan(p);
    }
    return true;
}

/* After the first pair. */
static struct term *finish_object(struct parser *p, struct term *key, struct term *value,
                                  bool may_be_comprehension) {
    if (p->s.tok.kind == TOK_OR) {
        if (may_be_comprehension) return comprehension(p, TERM_OBJECT_COMPR, key, value);
        parser_illegal(p, "non-terminated object");
        return NULL;
    }
    struct pair_list pairs = {0};
    ARENA_PUSH(p->arena, &pairs, ((struct pair){key, value, 0}));
    if (p->s.tok.kind == TOK_COMMA) {
        parser_scan(p);
        if (!parse_pairs(p, &pairs)) return NULL;
    }
    return object_of(p, &pairs);
}

/* With `:` at hand after the first key. */
static struct term *parse_object(struct parser *p, struct term *key, bool may_be_comprehension) {
    parser_scan(p);
    struct parse_state saved = p->s;
    struct term *value = parse_simple_term(p);
    if (!value) return NULL;
    if (may_be_comprehension) {
        if (p->s.tok.kind == TOK_RBRACE || p->s.tok.kind == TOK_COMMA) {
            return finish_object(p, key, value, true);
        }
        if (p->s.tok.kind == TOK_OR) {
            struct term *t = finish_object(p, key, value, true);
            if (t) return t;
        }
    }
    p->s = saved;
    value = parse_infix_in_list(p);
    if (!value) return NULL;
    if (p->s.tok.kind == TOK_RBRACE || p->s.tok.kind == TOK_COMMA) {
        return finish_object(p, key, value, false);
    }
    parser_illegal(p, "non-terminated object");
    return NULL;
}

/* { a | b } is a comprehension where it can be one; a first element that is more than a simple term
 * is read again with its operators. */
static struct term *set_or_object_items(struct parser *p) {
    if (p->s.tok.kind == TOK_RBRACE) return term_new(p->arena, TERM_OBJECT, parser_loc(p));
    bool may_be_comprehension = skip_leading_comma(p);
    struct parse_state saved = p->s;
    struct term *head = parse_simple_term(p);
    if (!head) return NULL;
    switch ((int)p->s.tok.kind) {
    case TOK_OR:
        if (!may_be_comprehension) break;
        return parse_set(p, &saved, head, true);
    case TOK_RBRACE:
    case TOK_COMMA: return parse_set(p, &saved, head, may_be_comprehension);
    case TOK_COLON: return parse_object(p, head, may_be_comprehension);
    }
    p->s = saved;
    head = parse_infix_in_list(p);
    if (!head) return NULL;
    switch ((int)p->s.tok.kind) {
    case TOK_RBRACE:
    case TOK_COMMA: return parse_set(p, &saved, head, false);
    case TOK_COLON: return parse_object(p, head, may_be_comprehension);
    }
    parser_illegal(p, "non-terminated set");
    return NULL;
}

struct term *parse_set_or_object(struct parser *p) {
    if (!parser_enter(p)) return NULL;
    struct loc loc = parser_loc(p);
    parser_scan(p);
    struct term *t = closed(p, set_or_object_items(p), loc);
    parser_leave(p);
    return t;
}
