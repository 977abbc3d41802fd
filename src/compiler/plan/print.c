/* The plan as readable text, for --dump and golden tests.
 * in: a plan at any stage. out: text. owns: nothing. */
#include "compiler/builtin.h"
#include "compiler/plan/ir.h"

static const char *const WORDS[] = {
#define STMT(name, opa_name, meaning) [STMT_##name] = opa_name,
#include "compiler/plan/stmt.def"
#undef STMT
};

static void put_block(const struct plan *p, const struct block *b, uint32_t depth, struct buf *out);

static void put_operand(const struct plan *p, struct operand o, struct buf *out) {
    switch (o.kind) {
    case OPERAND_NONE: buf_cstr(out, " -"); return;
    case OPERAND_LOCAL: buf_printf(out, " %%%u", o.index); return;
    case OPERAND_BOOL: buf_cstr(out, o.index ? " true" : " false"); return;
    case OPERAND_STRING: {
        const struct plan_string *s = &p->strings.items[o.index];
        buf_byte(out, ' ');
        json_print_string(s->template_text.ptr ? s->template_text : s->text, out);
        return;
    }
    }
}

static void put_operands(const struct plan *p, const struct operand_list *l, struct buf *out) {
    for (uint32_t i = 0; i < l->n; i++) put_operand(p, l->items[i], out);
}

/* "CallStmt" without its last four letters */
static void put_word(enum stmt_kind kind, struct buf *out) {
    struct str word = str_of(WORDS[kind]);
    buf_str(out, str_head(word, word.len - 4));
}

static bool has_target(enum stmt_kind kind) {
    switch (kind) {
    case STMT_BLOCK:
    case STMT_BREAK:
    case STMT_EQUAL:
    case STMT_IS_ARRAY:
    case STMT_IS_DEFINED:
    case STMT_IS_OBJECT:
    case STMT_IS_SET:
    case STMT_IS_UNDEFINED:
    case STMT_NOP:
    case STMT_NOT:
    case STMT_NOT_EQUAL:
    case STMT_RESULT_SET_ADD:
    case STMT_RETURN_LOCAL:
    case STMT_SCAN: return false;
    case STMT_ARRAY_APPEND:
    case STMT_ASSIGN_INT:
    case STMT_ASSIGN_VAR_ONCE:
    case STMT_ASSIGN_VAR:
    case STMT_CALL:
    case STMT_CALL_DYNAMIC:
    case STMT_DOT:
    case STMT_LEN:
    case STMT_MAKE_ARRAY:
    case STMT_MAKE_NULL:
    case STMT_MAKE_NUMBER_INT:
    case STMT_MAKE_NUMBER_REF:
    case STMT_MAKE_OBJECT:
    case STMT_MAKE_SET:
    case STMT_OBJECT_INSERT_ONCE:
    case STMT_OBJECT_INSERT:
    case STMT_OBJECT_MERGE:
    case STMT_RESET_LOCAL:
    case STMT_SET_ADD:
    case STMT_WITH:
    case STMT_INPUT_SLOT:
    case STMT_DATA_SLOT:
    case STMT_MAKE_CONST: return true;
    }
    return false;
}

static void put_integer(const struct plan *p, const struct stmt *s, struct buf *out) {
    switch (s->kind) {
    case STMT_MAKE_NUMBER_REF:
        buf_printf(out, " %.*s", STR_FMT(p->strings.items[s->integer].text));
        return;
    case STMT_ASSIGN_INT:
    case STMT_BREAK:
    case STMT_MAKE_ARRAY:
    case STMT_MAKE_NUMBER_INT:
    case STMT_INPUT_SLOT:
    case STMT_DATA_SLOT:
    case STMT_MAKE_CONST: buf_printf(out, " %lld", (long long)s->integer); return;
    default: return; /* the others have no integer */
    }
}

static void put_callee(const struct stmt *s, struct buf *out) {
    if (s->kind != STMT_CALL) return;
    if (s->func)
        buf_printf(out, " %.*s", STR_FMT(s->func->name));
    else
        buf_printf(out, " %s", s->builtin->name);
}

static void put_stmt(const struct plan *p, const struct stmt *s, uint32_t depth, struct buf *out) {
    buf_printf(out, "%*s", (int)(2 * depth), "");
    if (has_target(s->kind)) buf_printf(out, "%%%u = ", s->target);
    put_word(s->kind, out);
    if (s->kind == STMT_SCAN) buf_printf(out, " %%%u %%%u in", s->key, s->value);
    put_callee(s, out);
    put_integer(p, s, out);
    if (s->a.kind) put_operand(p, s->a, out);
    if (s->b.kind) put_operand(p, s->b, out);
    put_operands(p, &s->args, out);
    if (s->path.n) buf_cstr(out, " at");
    put_operands(p, &s->path, out);
    if (s->row) buf_printf(out, "  # %u:%u", s->row, s->col);
    buf_byte(out, '\n');
    for (uint32_t i = 0; i < s->blocks.n; i++) put_block(p, s->blocks.items[i], depth + 1, out);
}

static void put_block(const struct plan *p, const struct block *b, uint32_t depth,
                      struct buf *out) {
    buf_printf(out, "%*s{\n", (int)(2 * depth), "");
    for (uint32_t i = 0; i < b->n; i++) put_stmt(p, b->items[i], depth + 1, out);
    buf_printf(out, "%*s}\n", (int)(2 * depth), "");
}

static void put_blocks(const struct plan *p, const struct block_list *l, struct buf *out) {
    for (uint32_t i = 0; i < l->n; i++) put_block(p, l->items[i], 1, out);
}

static void put_tree(const struct plan *p, const struct path_tree *t, uint32_t depth,
                     struct buf *out) {
    buf_printf(out, "%*s", (int)(2 * depth), "");
    if (depth > 1) put_operand(p, (struct operand){OPERAND_STRING, t->key}, out);
    if (t->slot >= 0) buf_printf(out, " slot %d", t->slot);
    buf_byte(out, '\n');
    for (uint32_t i = 0; i < t->n; i++) put_tree(p, t->items[i], depth + 1, out);
}

void plan_print(const struct plan *p, struct buf *out) {
    for (uint32_t i = 0; i < p->entrypoints.n; i++) {
        const struct entrypoint *e = p->entrypoints.items[i];
        buf_printf(out, "entrypoint %u ", i);
        json_print_string(e->name, out);
        if (e->result_local) buf_printf(out, " result %%%u", e->result_local);
        buf_byte(out, '\n');
        put_blocks(p, &e->blocks, out);
    }
    for (uint32_t i = 0; i < p->functions.n; i++) {
        const struct function *f = p->functions.items[i];
        buf_printf(out, "function %.*s(", STR_FMT(f->name));
        for (uint32_t k = 0; k < f->n_params; k++)
            buf_printf(out, "%s%%%u", k ? " " : "", f->params[k]);
        buf_printf(out, ") %%%u%s\n", f->return_local, f->memoised ? " memoised" : "");
        put_blocks(p, &f->blocks, out);
    }
    if (p->input_tree) buf_cstr(out, "input"), put_tree(p, p->input_tree, 1, out);
    if (p->data_tree) buf_cstr(out, "data"), put_tree(p, p->data_tree, 1, out);
}
