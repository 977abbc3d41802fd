/* The parser's entry points: modules, queries, refs and terms from text.
 * in: source text and options
 * out: trees in the arena, or diagnostics
 * owns: nothing */
#include "compiler/ast/parser_private.h"

/* A statement of the kind that the token at hand announces; NO_STATEMENT without an error: try the
 * next kind. */
enum attempt { NO_STATEMENT, STATEMENT_READ, STATEMENT_FAILED };

/* A declaration is followed by something else than a minus, which would be read as its operator. */
static enum attempt declared(struct parser *p, bool read) {
    if (!read) return p->s.errors ? STATEMENT_FAILED : NO_STATEMENT;
    if (p->s.tok.kind != TOK_MINUS) return STATEMENT_READ;
    parser_illegal_token(p);
    return STATEMENT_FAILED;
}

static enum attempt read_package(struct parser *p, struct statement_list *out) {
    struct statement s = {0};
    enum attempt a = declared(p, parse_package(p, &s));
    if (a == STATEMENT_READ) ARENA_PUSH(p->arena, out, s);
    return a;
}

static enum attempt read_import(struct parser *p, struct statement_list *out) {
    struct statement s = {0};
    enum attempt a = declared(p, parse_import(p, &s));
    if (a != STATEMENT_READ) return a;
    import_keywords(p, &s.import);
    ARENA_PUSH(p->arena, out, s);
    return a;
}

static enum attempt read_rules(struct parser *p, struct statement_list *out) {
    struct rule_list rules = {0};
    if (!parse_rules(p, &rules)) return p->s.errors ? STATEMENT_FAILED : NO_STATEMENT;
    for (uint32_t i = 0; i < rules.n; i++) {
        struct rule *r = rules.items[i];
        struct statement s = {.kind = STATEMENT_RULE, .loc = r->loc, .rule = r};
        ARENA_PUSH(p->arena, out, s);
    }
    return STATEMENT_READ;
}

static enum attempt read_body(struct parser *p, struct statement_list *out) {
    struct statement s = {.kind = STATEMENT_BODY, .loc = parser_loc(p)};
    if (!parse_expressions(p, true, TOK_EOF, &s.body)) return STATEMENT_FAILED;
    ARENA_PUSH(p->arena, out, s);
    return STATEMENT_READ;
}

static enum attempt read_statement(struct parser *p, struct statement_list *out) {
    bool rules = !p->options->skip_rules;
    struct parse_state start = p->s;
    if (rules && parse_keyword_rule_name(p, false)) return STATEMENT_FAILED;
    enum attempt a = NO_STATEMENT;
    if (p->s.tok.kind == TOK_PACKAGE)
        a = read_package(p, out);
    else if (p->s.tok.kind == TOK_IMPORT)
        a = read_import(p, out);
    if (a != NO_STATEMENT) return a;
    p->s = start;
    if (rules) a = read_rules(p, out);
    if (a != NO_STATEMENT) return a;
    p->s = start;
    return read_body(p, out);
}

/* After an error: on to a line that begins with a name or keyword at the left edge. What is wrong
 * on the way is not reported. False at the end of the text. */
static bool recover(struct parser *p, uint32_t from_offset) {
    const struct parse_note *errors = p->s.errors;
    uint32_t n = p->s.n_errors;
    p->depth = 0;
    for (;;) {
        if (p->s.tok.kind == TOK_EOF) break;
        parser_scan(p);
        bool name = p->s.tok.kind == TOK_IDENT || p->s.tok.kind == TOK_DEFAULT;
        if (name && p->s.tok.col == 1 && p->s.tok.offset > from_offset) break;
    }
    p->s.errors = errors;
    p->s.n_errors = n;
    p->s.hints = NULL;
    return p->s.tok.kind != TOK_EOF;
}

/* Errors in the order of the file, into the list. */
static void report(struct parser *p, struct diag_list *diags) {
    uint32_t n = p->s.n_errors, i = n;
    const struct parse_note **all = ARENA_ARRAY(p->arena, const struct parse_note *, n);
    for (const struct parse_note *e = p->s.errors; e && i; e = e->before) all[--i] = e;
    for (i = 0; i < n; i++) diag_add(diags, DIAG_PARSE, all[i]->loc, "%.*s", STR_FMT(all[i]->text));
    p->s.errors = NULL;
    p->s.n_errors = 0;
}

enum { MAX_RECOVERIES = 20 };

/* All statements; false when there were errors, which are in diags then. */
static bool read_statements(struct parser *p, struct statement_list *out, bool recovering,
                            struct diag_list *diags) {
    bool ok = true;
    for (uint32_t tries = 0; p->s.tok.kind != TOK_EOF;) {
        uint32_t offset = p->s.tok.offset;
        enum attempt a = read_statement(p, out);
        parser_memo_forget(p);
        if (a == STATEMENT_READ) continue; /* maybe with errors, but to its end */
        ok = false;
        report(p, diags);
        if (!recovering || tries++ == MAX_RECOVERIES || !recover(p, offset)) break;
    }
    if (p->s.errors) {
        report(p, diags);
        ok = false;
    }
    return ok;
}

static const struct parse_options *defaults(const struct parse_options *options) {
    static const struct parse_options v1 = {.version = REGO_V1};
    return options ? options : &v1;
}

/* Offsets are 32 bits wide. */
static bool check_size(struct str file, struct str source, struct diag_list *diags) {
    if (source.len < UINT32_MAX / 2) return true;
    diag_add(diags, DIAG_PARSE, (struct loc){.file = file}, "file is too large");
    return false;
}

struct module *parse_module(struct arena *a, struct str file, struct str source,
                            const struct parse_options *options, struct diag_list *diags) {
    if (!check_size(file, source, diags)) return NULL;
    struct parser p;
    struct statement_list statements = {0};
    parser_init(&p, a, file, source, defaults(options));
    if (!read_statements(&p, &statements, true, diags)) return NULL;
    return module_from_statements(&p, source, &statements, diags);
}

bool parse_query(struct arena *a, struct str file, struct str source,
                 const struct parse_options *options, struct diag_list *diags, struct body *out) {
    if (!check_size(file, source, diags)) return false;
    struct parser p;
    struct statement_list statements = {0};
    struct parse_options query = *defaults(options);
    query.skip_rules = true;
    parser_init(&p, a, file, source, &query);
    if (!read_statements(&p, &statements, false, diags)) return false;
    struct body body = {0};
    for (uint32_t i = 0; i < statements.n; i++) {
        const struct statement *s = &statements.items[i];
        if (s->kind == STATEMENT_PACKAGE) {
            diag_add(diags, DIAG_PARSE, s->loc, "expected body but got package");
            return false;
        }
        for (uint32_t k = 0; k < s->body.n; k++) ARENA_PUSH(a, &body, s->body.items[k]);
    }
    *out = body;
    return true;
}

struct term *parse_term(struct arena *a, struct str file, struct str source,
                        const struct parse_options *options, struct diag_list *diags) {
    struct body body;
    if (!parse_query(a, file, source, options, diags, &body)) return NULL;
    struct loc loc = {.file = file, .row = 1, .col = 1};
    if (body.n != 1 || body.items[0]->with.n || body.items[0]->negated ||
        body.items[0]->kind > EXPR_CALL) {
        diag_add(diags, DIAG_PARSE, loc, "expected exactly one term");
        return NULL;
    }
    struct expr *e = body.items[0];
    if (e->kind == EXPR_TERM) return e->term;
    struct term *call = term_new(a, TERM_CALL, e->loc);
    call->list = e->call;
    return call;
}

struct term *parse_ref(struct arena *a, struct str file, struct str source,
                       struct diag_list *diags) {
    struct term *t = parse_term(a, file, source, NULL, diags);
    if (!t) return NULL;
    if (t->kind == TERM_VAR) {
        struct term *ref = term_new(a, TERM_REF, t->loc);
        ARENA_PUSH(a, &ref->list, t);
        return ref;
    }
    if (t->kind == TERM_REF) return t;
    diag_add(diags, DIAG_PARSE, t->loc, "expected ref but got %s", term_kind_word(t));
    return NULL;
}
