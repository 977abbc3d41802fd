/* Syntax trees as text: Rego source form (as OPA's String methods give it) and JSON. */
#ifndef REGENT_COMPILER_AST_PRINT_H
#define REGENT_COMPILER_AST_PRINT_H
#include "base/buf.h"
#include "compiler/ast/ast.h"

void print_term(const struct term *t, struct buf *out);
void print_expr(const struct expr *e, struct buf *out);
void print_body(const struct body *b, struct buf *out); /* joined by "; " */
void print_rule(const struct rule *r, struct buf *out);
void print_module(const struct module *m, struct buf *out);
/* OPA's AST JSON (v1/ast, the files *_json.go): {"package":{"path":[…]},"rules":[…]}. */
void print_module_json(const struct module *m, struct buf *out);

#endif
