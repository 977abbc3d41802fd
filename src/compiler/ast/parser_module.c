/* Turns the statements of a file into a module: bodies become rules, version rules are checked.
 * in: statements in the order of the file
 * out: a module, or diagnostics
 * owns: nothing */
#include "compiler/ast/parser_private.h"
#include "compiler/builtin.h"

/* The module under construction; errors that stand in no statement go to diags at once. */
struct building {
    struct parser *p;
    struct module *m;
    struct diag_list *diags;
    const struct statement_list *statements;
};

/* ---- Bodies that are rules: `p := 1`, `p[x]`, `f(x) = y`, `p.q.r` ---- */

static struct rule *rule_of(struct parser *p, struct term *ref, struct term *value, struct loc loc,
                            struct loc body_loc) {
    struct rule *r = ARENA_NEW(p->arena, struct rule);
    r->head = ARENA_NEW(p->arena, struct head);
    r->head->ref = ref;
    r->head->value = value;
    r->head->loc = r->loc = loc;
    r->body = true_body(p->arena, body_loc);
    r->generated_body = true;
    if (ref->list.n == 1) r->head->name = ref->list.items[0]->text;
    return r;
}

static struct term *single_ref(struct parser *p, struct term *var) {
    struct term *ref = term_new(p->arena, TERM_REF, var->loc);
    ARENA_PUSH(p->arena, &ref->list, var);
    return ref;
}

static bool starts_with_var(const struct term *ref) {
    return ref->kind == TERM_REF && ref->list.items[0]->kind == TERM_VAR;
}

static void take_args(struct parser *p, struct rule *r, const struct term_list *call) {
    r->head->is_function = true;
    for (uint32_t i = 1; i < call->n; i++) ARENA_PUSH(p->arena, &r->head->args, call->items[i]);
}

static const char *text_of(struct parser *p, const char *format, struct str s) {
    return arena_printf(p->arena, NULL, "%s%.*s", format, STR_FMT(s));
}

static struct rule *rule_from_equation(struct parser *p, const struct expr *e, const char **why) {
    if (e->call.n < 3) {
        *why = "assignment requires two operands";
        return NULL;
    }
    struct term *lhs = e->call.items[1], *rhs = e->call.items[2];
    struct rule *r = NULL;
    if (lhs->kind == TERM_CALL && starts_with_var(lhs->list.items[0])) {
        r = rule_of(p, lhs->list.items[0], rhs, e->loc, rhs->loc);
        take_args(p, r, &lhs->list);
    } else if (starts_with_var(lhs)) {
        r = rule_of(p, lhs, rhs, e->loc, rhs->loc);
        if (lhs->list.n == 2) {
            r->head->name = lhs->list.items[0]->text;
            r->head->object_key = lhs->list.items[1];
        }
    } else if (lhs->kind == TERM_VAR) {
        r = rule_of(p, single_ref(p, lhs), rhs, e->loc, rhs->loc);
    } else if (lhs->kind == TERM_REF) {
        *why = text_of(p, "invalid rule head: ", term_text(p->arena, lhs));
    } else {
        *why = arena_printf(p->arena, NULL, "%s cannot be used for rule name", term_kind_word(lhs));
    }
    if (r) r->head->assign = term_is_op(e->call.items[0], "assign");
    return r;
}

static struct rule *rule_from_ref(struct parser *p, struct term *t, const char **why) {
    if (t->list.n == 1) {
        *why = "refs cannot be used for rule head";
        return NULL;
    }
    if (!starts_with_var(t)) {
        *why = text_of(p, "invalid rule head: ", term_text(p->arena, t));
        return NULL;
    }
    if (t->list.n > 2) {
        struct term *value = term_boolean(p->arena, true, t->loc);
        struct rule *r = rule_of(p, t, value, t->loc, t->loc);
        r->head->generated_value = true;
        return r;
    }
    struct rule *r = rule_of(p, single_ref(p, t->list.items[0]), NULL, t->loc, t->loc);
    r->head->key = t->list.items[1];
    return r;
}

static struct rule *rule_from_call(struct parser *p, const struct expr *e, const char **why) {
    struct term *op = e->call.items[0];
    if (builtin_find(ref_dotted(p->arena, op))) {
        *why = "rule name conflicts with built-in function";
        return NULL;
    }
    if (e->call.n <= 1) {
        *why = "rule argument list must take at least one argument";
        return NULL;
    }
    if (!starts_with_var(op)) {
        *why = text_of(p, "invalid rule head: ", term_text(p->arena, op));
        return NULL;
    }
    struct rule *r = rule_of(p, op, term_boolean(p->arena, true, op->loc), op->loc, op->loc);
    take_args(p, r, &e->call);
    return r;
}

static struct rule *rule_from_expr(struct parser *p, const struct expr *e, const char **why) {
    if (e->with.n)
        *why = "expressions using with keyword cannot be used for rule head";
    else if (e->negated)
        *why = "negated expressions cannot be used for rule head";
    else if (e->kind == EXPR_SOME)
        *why = "'some' declarations cannot be used for rule head";
    else if (e->kind == EXPR_TERM && e->term->kind == TERM_REF) {
        return rule_from_ref(p, e->term, why);
    } else if (e->kind == EXPR_TERM) {
        *why = arena_printf(p->arena, NULL, "%s cannot be used for rule name",
                            term_kind_word(e->term));
    } else if (e->kind != EXPR_CALL)
        *why = "expression cannot be used for rule head";
    else if (term_is_op(e->call.items[0], "eq") || term_is_op(e->call.items[0], "assign")) {
        return rule_from_equation(p, e, why);
    } else {
        return rule_from_call(p, e, why);
    }
    return NULL;
}

/* ---- Hints for v0: `if` and `contains` read as names ---- */

/* "if" or "contains" when the statement was reduced to that name. */
static const char *head_keyword(const struct statement *s) {
    struct str name = {0};
    if (s->kind == STATEMENT_RULE) name = s->rule->head->name;
    if (s->kind == STATEMENT_BODY && s->body.n == 1) {
        const struct expr *e = s->body.items[0];
        if (e->kind == EXPR_TERM && e->term->kind == TERM_VAR) name = e->term->text;
    }
    return str_is(name, "if") ? "if" : str_is(name, "contains") ? "contains" : NULL;
}

static const char *missing_keyword(const struct building *b, uint32_t i) {
    if (b->m->version != REGO_V0) return NULL;
    const struct statement *s = &b->statements->items[i];
    const char *keyword = head_keyword(s);
    if (keyword || i + 1 >= b->statements->n || s[1].loc.row != s->loc.row) return keyword;
    return head_keyword(s + 1);
}

static void add_body(struct building *b, uint32_t i) {
    const struct body *body = &b->statements->items[i].body;
    const char *why = "multiple expressions cannot be used for rule head";
    struct rule *r = body->n == 1 ? rule_from_expr(b->p, body->items[0], &why) : NULL;
    if (r) {
        ARENA_PUSH(b->p->arena, &b->m->rules, r);
        return;
    }
    const char *keyword = missing_keyword(b, i);
    struct loc loc = body->items[0]->loc;
    if (!keyword) {
        diag_add(b->diags, DIAG_PARSE, loc, "%s", why);
        return;
    }
    diag_add(b->diags, DIAG_PARSE, loc, "%s (hint: `import future.keywords.%s` for `%s` rules)",
             why, keyword, keyword[0] == 'i' ? "p if { ... }" : "p contains x");
}

/* ---- What v1 asks of rules ---- */

static void check_v1_rule(const struct building *b, const struct rule *r) {
    const struct head *h = r->head;
    const char *what = h->args.n ? "function" : "rule";
    if (h->ref->list.n < 2 && keyword_in_version(h->name, REGO_V1)) {
        diag_add(b->diags, DIAG_PARSE, r->loc, "%.*s keyword cannot be used for rule name",
                 STR_FMT(h->name));
    }
    if (r->generated_body && h->generated_value) {
        diag_add(b->diags, DIAG_PARSE, r->loc,
                 "%s must have value assignment and/or body declaration", what);
    }
    if (!r->generated_body && !h->has_if && !r->is_default) {
        diag_add(b->diags, DIAG_PARSE, r->loc, "`if` keyword is required before %s body", what);
    }
    if (!h->value && !h->contains) {
        diag_add(b->diags, DIAG_PARSE, r->loc,
                 "`contains` keyword is required for partial set rules");
    }
}

static void set_module(struct rule *first, struct module *m) {
    for (struct rule *r = first; r; r = r->else_rule) r->module = m;
}

static void add_import(struct building *b, const struct statement *s) {
    ARENA_PUSH(b->p->arena, &b->m->imports, s->import);
    if (term_is_op(s->import.path, "rego.v1") && b->m->version < REGO_V1) b->m->version = REGO_V1;
    if (term_is_op(s->import.path, "rego.v2")) b->m->version = REGO_V2;
}

static void add_statement(struct building *b, uint32_t i) {
    const struct statement *s = &b->statements->items[i];
    switch (s->kind) {
    case STATEMENT_IMPORT: add_import(b, s); break;
    case STATEMENT_RULE: ARENA_PUSH(b->p->arena, &b->m->rules, s->rule); break;
    case STATEMENT_BODY: add_body(b, i); break;
    case STATEMENT_PACKAGE: diag_add(b->diags, DIAG_PARSE, s->loc, "unexpected package"); break;
    }
}

static void add_comments(struct building *b) {
    uint32_t n = b->p->s.n_comments;
    b->m->comments.items = ARENA_ARRAY(b->p->arena, struct comment, n);
    b->m->comments.n = b->m->comments.cap = n;
    for (const struct parse_note *c = b->p->s.comments; c; c = c->before) {
        b->m->comments.items[--n] = (struct comment){c->loc, c->text};
    }
}

struct module *module_from_statements(struct parser *p, struct str source,
                                      const struct statement_list *statements,
                                      struct diag_list *diags) {
    uint32_t before = diags->n + diags->dropped;
    if (statements->n == 0) {
        diag_add(diags, DIAG_PARSE, (struct loc){.file = p->file}, "empty module");
        return NULL;
    }
    struct building b = {p, ARENA_NEW(p->arena, struct module), diags, statements};
    b.m->file = p->file;
    b.m->source = source;
    b.m->version = p->version;
    const struct statement *first = &statements->items[0];
    b.m->package = first->kind == STATEMENT_PACKAGE ? first->package : NULL;
    b.m->package_loc = first->loc;
    if (!b.m->package) diag_add(diags, DIAG_PARSE, first->loc, "package expected");
    for (uint32_t i = 1; i < statements->n; i++) add_statement(&b, i);
    for (uint32_t i = 0; i < b.m->rules.n; i++) {
        set_module(b.m->rules.items[i], b.m);
        if (b.m->version == REGO_V0) continue;
        for (struct rule *r = b.m->rules.items[i]; r; r = r->else_rule) check_v1_rule(&b, r);
    }
    add_comments(&b);
    attach_metadata(p, b.m, diags);
    return diags->n + diags->dropped == before ? b.m : NULL;
}
