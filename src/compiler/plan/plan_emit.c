/* Appending statements: locals, places, the usual shapes.
 * in: the planner's state and operands. out: statements in p->curr. owns: nothing (arena). */
#include "compiler/plan/plan_private.h"

struct operand op_local(uint32_t local) {
    return (struct operand){OPERAND_LOCAL, local};
}

struct operand op_bool(bool b) {
    return (struct operand){OPERAND_BOOL, b};
}

struct operand op_string(struct planner *p, struct str text) {
    return (struct operand){OPERAND_STRING, plan_string(p->plan, text, (struct str){0}, false)};
}

struct operand op_text(struct planner *p, const struct term *t) {
    return (struct operand){
        OPERAND_STRING, plan_string(p->plan, t->text, t->template_text, t->kind == TERM_NUMBER)};
}

uint32_t new_local(struct planner *p) { return p->next_local++; }

uint32_t plan_file(struct planner *p, struct str file) {
    struct str name = file.len ? file : STR("<query>");
    for (uint32_t i = p->plan->files.n; i > 0; i--)
        if (str_eq(p->plan->files.items[i - 1], name)) return i - 1;
    ARENA_PUSH(p->a, &p->plan->files, name);
    return p->plan->files.n - 1;
}

static struct str source_of(const struct planner *p, struct str file) {
    const struct module_list *l = &p->c->modules;
    for (uint32_t i = 0; i < l->n; i++)
        if (str_eq(l->items[i]->file, file)) return l->items[i]->source;
    return (struct str){0};
}

/* The place just past the text: columns count code points there, as OPA's EndOf does. */
static void set_end(struct planner *p, struct stmt *s) {
    struct str text = str_head(str_from(p->loc_source, p->loc.offset), p->loc.len);
    s->end_row = s->row;
    s->end_col = s->col;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\n')
            s->end_row++, s->end_col = 1;
        else if (((unsigned char)text.ptr[i] & 0xc0) != 0x80)
            s->end_col++;
    }
}

void plan_set_loc(struct planner *p, struct loc loc) {
    if (!str_eq(p->loc.file, loc.file) || !p->loc_source.ptr)
        p->loc_source = source_of(p, loc.file);
    p->loc = loc;
}

struct stmt *stmt_make(struct planner *p, enum stmt_kind kind) {
    struct stmt *s = ARENA_NEW(p->a, struct stmt);
    s->kind = kind;
    if (p->loc.row) {
        s->file = plan_file(p, p->loc.file);
        s->row = p->loc.row;
        s->col = p->loc.col;
        set_end(p, s);
    }
    return s;
}

struct stmt *emit(struct planner *p, enum stmt_kind kind) {
    struct stmt *s = stmt_make(p, kind);
    ARENA_PUSH(p->a, p->curr, s);
    return s;
}

void emit_to(struct planner *p, enum stmt_kind kind, uint32_t target, struct operand a,
             struct operand b) {
    struct stmt *s = emit(p, kind);
    s->target = target;
    s->a = a;
    s->b = b;
}

uint32_t emit_target(struct planner *p, enum stmt_kind kind, struct operand a, struct operand b) {
    uint32_t target = new_local(p);
    emit_to(p, kind, target, a, b);
    return target;
}

void emit_check(struct planner *p, enum stmt_kind kind, struct operand a, struct operand b) {
    emit_to(p, kind, 0, a, b);
}

void emit_int(struct planner *p, enum stmt_kind kind, uint32_t target, int64_t integer) {
    struct stmt *s = emit(p, kind);
    s->target = target;
    s->integer = integer;
}

void emit_break(struct planner *p, uint32_t index) { emit(p, STMT_BREAK)->integer = index; }

struct block *block_new(struct planner *p) {
    return ARENA_NEW(p->a, struct block);
}

struct block *block_enter(struct planner *p) {
    struct block *outer = p->curr, *inner = block_new(p);
    struct stmt *s = emit(p, STMT_BLOCK);
    ARENA_PUSH(p->a, &s->blocks, inner);
    p->curr = inner;
    return outer;
}

struct operand to_local(struct planner *p, struct operand o) {
    if (o.kind == OPERAND_LOCAL) return o;
    return op_local(emit_target(p, STMT_ASSIGN_VAR, o, (struct operand){0}));
}

void plan_unsupported(struct planner *p, const char *what) {
    diag_add(&p->c->diags, DIAG_UNSUPPORTED, p->loc, "%s", what);
}
