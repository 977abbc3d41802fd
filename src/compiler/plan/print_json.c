/* The plan as OPA's plan.json: the same members as v1/ir's types have, so that other IR
 * evaluators run it.
 * in: a plan before Regent's own statements appear. out: JSON text. owns: nothing. */
#include "compiler/builtin.h"
#include "compiler/plan/ir.h"
#include <stdlib.h>

static const char *const WORDS[] = {
#define STMT(name, opa_name, meaning) [STMT_##name] = opa_name,
#include "compiler/plan/stmt.def"
#undef STMT
};

static void put_block(const struct block *b, struct buf *out);

static void put_operand(struct operand o, struct buf *out) {
    switch (o.kind) {
    case OPERAND_NONE: buf_cstr(out, "null"); return;
    case OPERAND_LOCAL: buf_printf(out, "{\"type\":\"local\",\"value\":%u}", o.index); return;
    case OPERAND_BOOL:
        buf_printf(out, "{\"type\":\"bool\",\"value\":%s}", o.index ? "true" : "false");
        return;
    case OPERAND_STRING:
        buf_printf(out, "{\"type\":\"string_index\",\"value\":%u}", o.index);
        return;
    }
}

static void put_operand_member(const char *name, struct operand o, struct buf *out) {
    buf_printf(out, "\"%s\":", name);
    put_operand(o, out);
    buf_byte(out, ',');
}

static void put_number(const char *name, int64_t n, struct buf *out) {
    buf_printf(out, "\"%s\":%lld,", name, (long long)n);
}

static void put_operand_list(const char *name, const struct operand_list *l, struct buf *out) {
    buf_printf(out, "\"%s\":[", name);
    for (uint32_t i = 0; i < l->n; i++) {
        if (i) buf_byte(out, ',');
        put_operand(l->items[i], out);
    }
    buf_cstr(out, "],");
}

/* The bare numbers of operands: locals of CALL_DYNAMIC, strings of WITH. */
static void put_index_list(const char *name, const struct operand_list *l, struct buf *out) {
    buf_printf(out, "\"%s\":[", name);
    for (uint32_t i = 0; i < l->n; i++) buf_printf(out, "%s%u", i ? "," : "", l->items[i].index);
    buf_cstr(out, "],");
}

static void put_block_member(const struct stmt *s, struct buf *out) {
    buf_cstr(out, "\"block\":");
    put_block(s->blocks.items[0], out);
    buf_byte(out, ',');
}

static void put_block_list(const struct block_list *l, struct buf *out) {
    buf_cstr(out, "\"blocks\":[");
    for (uint32_t i = 0; i < l->n; i++) {
        if (i) buf_byte(out, ',');
        put_block(l->items[i], out);
    }
    buf_byte(out, ']');
}

static void put_call(const struct stmt *s, struct buf *out) {
    buf_cstr(out, "\"func\":");
    json_print_string(s->func ? s->func->name : str_of(s->builtin->name), out);
    buf_byte(out, ',');
    put_operand_list("args", &s->args, out);
    put_number("result", s->target, out);
}

static void put_insert(const struct stmt *s, struct buf *out) {
    put_operand_member("key", s->a, out);
    put_operand_member("value", s->b, out);
    put_number("object", s->target, out);
}

static void put_members(const struct stmt *s, struct buf *out) {
    switch (s->kind) {
    case STMT_ARRAY_APPEND:
        put_operand_member("value", s->a, out);
        put_number("array", s->target, out);
        return;
    case STMT_SET_ADD:
        put_operand_member("value", s->a, out);
        put_number("set", s->target, out);
        return;
    case STMT_ASSIGN_INT:
    case STMT_MAKE_NUMBER_INT:
        put_number("value", s->integer, out);
        put_number("target", s->target, out);
        return;
    case STMT_ASSIGN_VAR_ONCE:
    case STMT_ASSIGN_VAR:
    case STMT_LEN:
        put_operand_member("source", s->a, out);
        put_number("target", s->target, out);
        return;
    case STMT_BLOCK:
        put_block_list(&s->blocks, out);
        buf_byte(out, ',');
        return;
    case STMT_BREAK: put_number("index", s->integer, out); return;
    case STMT_CALL: put_call(s, out); return;
    case STMT_CALL_DYNAMIC:
        put_index_list("args", &s->args, out);
        put_number("result", s->target, out);
        put_operand_list("path", &s->path, out);
        return;
    case STMT_DOT:
        put_operand_member("source", s->a, out);
        put_operand_member("key", s->b, out);
        put_number("target", s->target, out);
        return;
    case STMT_EQUAL:
    case STMT_NOT_EQUAL:
        put_operand_member("a", s->a, out);
        put_operand_member("b", s->b, out);
        return;
    case STMT_IS_ARRAY:
    case STMT_IS_OBJECT:
    case STMT_IS_SET: put_operand_member("source", s->a, out); return;
    case STMT_IS_DEFINED:
    case STMT_IS_UNDEFINED:
    case STMT_RETURN_LOCAL: put_number("source", s->a.index, out); return;
    case STMT_MAKE_ARRAY:
        put_number("capacity", s->integer, out);
        put_number("target", s->target, out);
        return;
    case STMT_MAKE_NUMBER_REF:
        put_number("Index", s->integer, out); /* OPA writes it under both names */
        put_number("index", s->integer, out);
        put_number("target", s->target, out);
        return;
    case STMT_MAKE_NULL:
    case STMT_MAKE_OBJECT:
    case STMT_MAKE_SET:
    case STMT_RESET_LOCAL: put_number("target", s->target, out); return;
    case STMT_NOP: return;
    case STMT_NOT: put_block_member(s, out); return;
    case STMT_OBJECT_INSERT_ONCE:
    case STMT_OBJECT_INSERT: put_insert(s, out); return;
    case STMT_OBJECT_MERGE:
        put_number("a", s->a.index, out);
        put_number("b", s->b.index, out);
        put_number("target", s->target, out);
        return;
    case STMT_RESULT_SET_ADD: put_number("value", s->a.index, out); return;
    case STMT_SCAN:
        put_number("source", s->a.index, out);
        put_number("key", s->key, out);
        put_number("value", s->value, out);
        put_block_member(s, out);
        return;
    case STMT_WITH:
        put_number("local", s->target, out);
        put_index_list("path", &s->path, out);
        put_operand_member("value", s->a, out);
        put_block_member(s, out);
        return;
    case STMT_INPUT_SLOT:
    case STMT_DATA_SLOT:
    case STMT_MAKE_CONST: put_number("slot", s->integer, out); return;
    }
}

static void put_stmt(const struct stmt *s, struct buf *out) {
    buf_printf(out, "{\"type\":\"%s\",\"stmt\":{", WORDS[s->kind]);
    put_members(s, out);
    buf_printf(out, "\"file\":%u,\"col\":%u,\"row\":%u,\"end_col\":%u,\"end_row\":%u}}", s->file,
               s->col, s->row, s->end_col, s->end_row);
}

static void put_block(const struct block *b, struct buf *out) {
    buf_cstr(out, "{\"stmts\":[");
    for (uint32_t i = 0; i < b->n; i++) {
        if (i) buf_byte(out, ',');
        put_stmt(b->items[i], out);
    }
    buf_cstr(out, "]}");
}

/* ---- Types of builtins, from builtins.def's notation to OPA's JSON ---- */

/* "number" → {"type":"number"} and so on; returns what follows the type. */
static const char *put_type(const char *t, struct buf *out);

static const char *put_type_list(const char *t, char close, struct buf *out) {
    buf_byte(out, '[');
    for (bool first = true; *t && *t != close; first = false) {
        if (!first) buf_byte(out, ',');
        t = put_type(t, out);
        if (*t == ',' || *t == '|') t++;
    }
    buf_byte(out, ']');
    return *t ? t + 1 : t;
}

static const char *put_member(const char *t, const char *name, struct buf *out) {
    buf_printf(out, "\"%s\":", name);
    return put_type(t, out);
}

/* {a:T,b:T;K:V} */
static const char *put_object_type(const char *t, struct buf *out) {
    buf_cstr(out, "{");
    bool dynamic = *t == ';';
    if (!dynamic) buf_cstr(out, "\"static\":[");
    for (bool first = true; *t && *t != '}' && *t != ';'; first = false) {
        size_t n = strcspn(t, ":");
        buf_printf(out, "%s{\"key\":\"%.*s\",\"value\":", first ? "" : ",", (int)n, t);
        t = put_type(t + n + 1, out);
        buf_byte(out, '}');
        if (*t == ',') t++;
    }
    if (!dynamic) buf_cstr(out, "],");
    if (*t == ';') {
        buf_cstr(out, "\"dynamic\":{");
        t = put_member(t + 1, "key", out);
        buf_byte(out, ',');
        t = put_member(t + 1, "value", out);
        buf_cstr(out, "},");
    }
    buf_cstr(out, "\"type\":\"object\"}");
    return *t ? t + 1 : t;
}

static const char *put_named_type(const char *t, struct buf *out) {
    size_t n = strcspn(t, "[],|>;:})");
    struct str name = {t, n};
    const char *rest = t + n;
    if (str_ends(name, STR("..."))) name.len -= 3;
    buf_byte(out, '{');
    if (*rest == '[' && str_is(name, "object")) {
        buf_cstr(out, "\"dynamic\":{");
        rest = put_member(rest + 1, "key", out);
        buf_byte(out, ',');
        rest = put_member(rest + 1, "value", out) + 1;
        buf_cstr(out, "},");
    } else if (*rest == '[') {
        rest = put_member(rest + 1, str_is(name, "set") ? "of" : "dynamic", out) + 1;
        buf_byte(out, ',');
    }
    buf_printf(out, "\"type\":\"%.*s\"}", STR_FMT(name));
    return rest;
}

static const char *put_type(const char *t, struct buf *out) {
    if (*t == '<') {
        buf_cstr(out, "{\"of\":");
        t = put_type_list(t + 1, '>', out);
        buf_cstr(out, ",\"type\":\"any\"}");
        return t;
    }
    if (*t == '[') {
        buf_cstr(out, "{\"static\":");
        t = put_type_list(t + 1, ']', out);
        buf_cstr(out, ",\"type\":\"array\"}");
        return t;
    }
    return *t == '{' ? put_object_type(t + 1, out) : put_named_type(t, out);
}

static void put_builtin(const struct builtin *b, struct buf *out) {
    const char *result = strstr(b->type, ")->");
    buf_printf(out, "{\"name\":\"%s\",\"decl\":{", b->name);
    if (b->arity && result) {
        buf_cstr(out, "\"args\":");
        put_type_list(b->type + 1, ')', out);
        buf_byte(out, ',');
    }
    if (result && !b->is_void) {
        put_member(result + 3, "result", out);
        buf_byte(out, ',');
    }
    buf_cstr(out, "\"type\":\"function\"}}");
}

static int by_name(const void *a, const void *b) {
    const struct builtin *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* ---- The document ---- */

static void put_static(const struct plan *p, struct buf *out) {
    uint32_t n = p->builtins.n;
    const struct builtin **sorted = ARENA_ARRAY(p->arena, const struct builtin *, n);
    if (n) memcpy(sorted, p->builtins.items, n * sizeof *sorted);
    if (n) qsort(sorted, n, sizeof *sorted, by_name);
    buf_cstr(out, "{\"static\":{\"strings\":[");
    for (uint32_t i = 0; i < p->strings.n; i++) {
        buf_cstr(out, i ? ",{\"value\":" : "{\"value\":");
        json_print_string(p->strings.items[i].text, out);
        buf_byte(out, '}');
    }
    buf_cstr(out, "],\"builtin_funcs\":[");
    for (uint32_t i = 0; i < n; i++) {
        if (i) buf_byte(out, ',');
        put_builtin(sorted[i], out);
    }
    buf_cstr(out, "],\"files\":[");
    for (uint32_t i = 0; i < p->files.n; i++) {
        buf_cstr(out, i ? ",{\"value\":" : "{\"value\":");
        json_print_string(p->files.items[i], out);
        buf_byte(out, '}');
    }
    buf_cstr(out, "]}");
}

static void put_function(const struct function *f, struct buf *out) {
    buf_cstr(out, "{\"name\":");
    json_print_string(f->name, out);
    buf_cstr(out, ",\"params\":[");
    for (uint32_t i = 0; i < f->n_params; i++) buf_printf(out, "%s%u", i ? "," : "", f->params[i]);
    buf_printf(out, "],\"return\":%u,", f->return_local);
    put_block_list(&f->blocks, out);
    if (f->n_path) buf_cstr(out, ",\"path\":[");
    for (uint32_t i = 0; i < f->n_path; i++) {
        if (i) buf_byte(out, ',');
        json_print_string(f->path[i], out);
    }
    buf_cstr(out, f->n_path ? "]}" : "}");
}

void plan_print_json(const struct plan *p, struct buf *out) {
    put_static(p, out);
    buf_cstr(out, ",\"plans\":{\"plans\":[");
    for (uint32_t i = 0; i < p->entrypoints.n; i++) {
        const struct entrypoint *e = p->entrypoints.items[i];
        buf_cstr(out, i ? ",{\"name\":" : "{\"name\":");
        json_print_string(e->name, out);
        buf_byte(out, ',');
        put_block_list(&e->blocks, out);
        buf_byte(out, '}');
    }
    buf_cstr(out, "]},\"funcs\":{\"funcs\":[");
    for (uint32_t i = 0; i < p->functions.n; i++) {
        if (i) buf_byte(out, ',');
        put_function(p->functions.items[i], out);
    }
    buf_cstr(out, "]}}");
}
