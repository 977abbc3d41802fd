/* What the parser's files share: the parser's state, going back in it, errors, and one function per
 * piece of grammar. Only parser*.c include this. */
#ifndef REGENT_COMPILER_AST_PARSER_PRIVATE_H
#define REGENT_COMPILER_AST_PARSER_PRIVATE_H
#include "compiler/ast/lexer.h"
#include "compiler/ast/parser.h"

enum {
    /* Nesting of terms, bodies and operator chains. Every later pass walks the tree recursively, so
     * this bounds their stacks too. OPA stops at 100,000 calls of its parser's functions. */
    PARSER_MAX_DEPTH = 1000,
    PARSER_MAX_ELSE = 5000,
};

/* Lists that only grow at their front, so that a saved state keeps its own end of them. */
struct parse_note {
    const struct parse_note *before;
    struct loc loc;
    struct str text;
};

/* Where the parser stands. Assigning a copy back goes back; errors and comments found since are
 * forgotten with it. */
struct parse_state {
    struct lexer lexer;
    struct token tok;
    uint32_t last_end; /* end of the token before tok, white space left out */
    uint32_t wildcard; /* number of the next `_` */
    bool skipped_newline;
    uint32_t n_errors, n_comments;
    const struct parse_note *errors, *comments, *hints;
};

/* A term that was read at a place, and where the parser stood after it: alternatives that begin
 * with the same term read it once, which keeps parsing linear in deep nesting. */
struct parse_memo {
    enum token_kind kind; /* a keyword may be read as a name */
    uint32_t offset, wildcard, keywords, n_comments;
    bool not_bodies;
    const struct parse_note *errors, *hints;
    struct term *term;
    struct parse_state after;
};
enum { MEMO_CHUNK = 64 };
struct memo_chunk {
    struct memo_chunk *next;
    struct parse_memo items[MEMO_CHUNK];
};

struct parser {
    struct parse_state s;
    struct arena *arena;
    struct str file;
    const struct parse_options *options;
    enum rego_version version; /* asked for; imports do not change it */
    uint32_t allowed_keywords; /* what `import future.keywords` may bring */
    bool not_bodies;           /* `not {` opens a body */
    uint32_t depth;
    struct parse_memo **memo; /* by offset */
    struct memo_chunk *chunks, *chunk;
    uint32_t chunk_used;
};

/* A statement as it was read. Bodies at the top level become rules later, or errors. */
enum statement_kind { STATEMENT_PACKAGE, STATEMENT_IMPORT, STATEMENT_RULE, STATEMENT_BODY };
struct statement {
    enum statement_kind kind;
    struct loc loc;
    struct term *package;
    struct import import;
    struct rule *rule;
    struct body body;
};
struct statement_list {
    struct statement *items;
    uint32_t n, cap;
};

/* ---- parser_state.c ---- */
void parser_init(struct parser *p, struct arena *a, struct str file, struct str source,
                 const struct parse_options *options);
/* Next token; comments are collected, white space is skipped by the first only. */
void parser_scan(struct parser *p);
void parser_scan_ws(struct parser *p);
void parser_scan_template(struct parser *p, bool raw);
enum token_kind parser_peek(struct parser *p); /* kind of the next token, white space counts */
struct loc parser_loc(const struct parser *p); /* of the token at hand */
struct loc parser_span(const struct parser *p,
                       struct loc start); /* start … end of the last token */
void parser_error(struct parser *p, struct loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "unexpected … token", with ": note" when there is one. */
void parser_illegal(struct parser *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void parser_illegal_token(struct parser *p);
void parser_hint(struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool parser_enter(struct parser *p); /* false, with an error: too deep */
void parser_leave(struct parser *p);
void parser_add_keywords(struct parser *p, uint32_t keywords);
/* The word is a keyword in the version asked for, or was imported. */
bool parser_is_ref_keyword(const struct parser *p, enum token_kind kind);
/* A keyword at hand that `.` or `[` follows is a name: it becomes one. */
bool parser_keyword_as_ref(struct parser *p);
bool keyword_in_version(struct str word, enum rego_version v);
struct term *parser_wildcard(struct parser *p, struct loc loc);
struct parse_memo *parser_memo_find(const struct parser *p);
void parser_memo_put(struct parser *p, const struct parse_state *before, struct term *term);
void parser_memo_forget(struct parser *p); /* between statements */
struct str parser_text(const struct parser *p, uint32_t from, uint32_t to);
struct str term_text(struct arena *a, const struct term *t); /* Rego form, for messages */

/* ---- parser_term.c ---- */
struct term *parse_infix(struct parser *p);         /* any term; `k, v in xs` too */
struct term *parse_infix_in_list(struct parser *p); /* where a comma separates */
struct term *parse_simple_term(struct parser *p);   /* no infix operators */
struct term *parse_var(struct parser *p);
struct term *parse_ref_tail(struct parser *p, struct term *head, uint32_t offset);
bool parse_term_list(struct parser *p, enum token_kind end, struct term_list *out);
bool term_is_op(const struct term *t, const char *dotted);
bool term_is_root(const struct term *t); /* the var data or input */

/* ---- parser_literal.c: numbers and strings ---- */
struct term *parse_number(struct parser *p);
struct term *parse_string(struct parser *p);
struct term *parse_template_string(struct parser *p, bool raw);

/* ---- parser_collection.c ---- */
struct term *parse_array(struct parser *p);
struct term *parse_set_or_object(struct parser *p);
struct term *set_from_list(struct arena *a, struct term_list list, struct loc loc);

/* ---- parser_body.c ---- */
bool parse_body(struct parser *p, enum token_kind end, struct body *out);
bool parse_expressions(struct parser *p, bool require_semicolon, enum token_kind end,
                       struct body *out);
struct expr *parse_literal(struct parser *p);
struct expr *parse_expr(struct parser *p);
bool parse_with(struct parser *p, struct with_list *out);
bool parse_attached_with(struct parser *p, struct expr *e);
bool at_negation(struct parser *p);
struct expr *parse_not_body(struct parser *p, struct loc not_loc);
struct expr *not_expr(struct parser *p, struct body inner, bool explicit_body, struct loc loc);
struct body body_of(struct arena *a, struct expr *e);

/* ---- parser_logical.c: and, or, groups ---- */
/* An operand of and/or: its body, whether it stood in braces, its place. */
struct operand {
    struct body body;
    bool is_explicit;
    struct loc loc;
};
bool at_logical(const struct parser *p);
bool logical_active(const struct parser *p);
struct expr *parse_logical_chain(struct parser *p, struct operand lhs);
struct expr *parse_logical_tail(struct parser *p, struct operand lhs);
/* `(…)` around and/or/not: false when it is an ordinary term (nothing was consumed); true with
 * out->body.n == 0 after an error. */
bool parse_logical_group(struct parser *p, bool operand_context, const char *prefix,
                         struct operand *out);
bool is_ambiguous_union(const struct parser *p, const struct body *b);
void error_ambiguous_union(struct parser *p, struct loc brace, const struct body *b,
                           const char *prefix);
void error_brace_operand(struct parser *p, struct loc loc, struct str operand, const char *op);
void error_with_on_operand(struct parser *p, struct loc loc, const char *op);
const char *term_kind_word(const struct term *t); /* OPA's names: "arraycomprehension" */
const struct term *brace_led(const struct term *t);

/* ---- parser_rule.c ---- */
/* One rule or, for chained bodies, several; false: none here (errors were added, or try a body). */
bool parse_rules(struct parser *p, struct rule_list *out);
bool parse_keyword_rule_name(struct parser *p, bool is_default); /* reports `every := 1` */
struct body true_body(struct arena *a, struct loc loc);

/* ---- parser_head.c ---- */
struct head *parse_head(struct parser *p, bool is_default, bool *contains);
bool check_default_rule(struct parser *p, const struct rule *r);

/* ---- parser_import.c ---- */
bool parse_package(struct parser *p, struct statement *out);
bool parse_import(struct parser *p, struct statement *out);
void import_keywords(struct parser *p, const struct import *imp);

/* ---- parser_module.c ---- */
/* Statements to a module: top-level bodies become rules, version rules are checked. NULL on errors.
 */
struct module *module_from_statements(struct parser *p, struct str source,
                                      const struct statement_list *statements,
                                      struct diag_list *diags);

/* ---- parser_metadata.c ---- */
/* `# METADATA` blocks to annotations of the statements that follow them. */
void attach_metadata(struct parser *p, struct module *m, struct diag_list *diags);

#endif
