/* Unification of terms, and the stack of variables that have locals.
 * in: terms of `=`, parameters, keys. out: assignments and checks. owns: nothing (arena). */
#include "compiler/plan/plan_private.h"

static const struct operand NONE;

bool var_get(const struct planner *p, struct str name, struct operand *out) {
    for (uint32_t i = p->vars.n; i > 0; i--) {
        if (!str_eq(p->vars.items[i - 1].name, name)) continue;
        *out = p->vars.items[i - 1].value;
        return true;
    }
    return false;
}

void var_put(struct planner *p, struct str name, struct operand value) {
    ARENA_PUSH(p->a, &p->vars, ((struct scope_var){name, value}));
}

struct unseen {
    const struct planner *p;
    struct table *out; /* NULL: only `any` is wanted */
    bool any;
};

static bool visit_unseen(void *ctx, struct term *t) {
    struct unseen *u = ctx;
    struct operand ignored;
    if (t->kind == TERM_ARRAY_COMPR || t->kind == TERM_SET_COMPR || t->kind == TERM_OBJECT_COMPR)
        return false;
    if (t->kind != TERM_VAR || var_get(u->p, t->text, &ignored)) return true;
    u->any = true;
    if (u->out && !table_get(u->out, t->text)) table_set(u->out, t->text, t);
    return true;
}

static bool walk_unseen(const struct planner *p, const struct term *t, struct table *out) {
    struct unseen u = {p, out, false};
    struct ast_visitor v = {&u, visit_unseen, NULL};
    ast_visit_term((struct term *)t, &v);
    return u.any;
}

bool unseen_vars(const struct planner *p, const struct term *t) { return walk_unseen(p, t, NULL); }

void collect_unseen(const struct planner *p, const struct term *t, struct table *out) {
    walk_unseen(p, t, out);
}

bool is_templated(const struct term *t) {
    if (t->template_text.ptr) return true;
    for (uint32_t i = 0; i < t->list.n; i++)
        if (is_templated(t->list.items[i])) return true;
    return false;
}

bool same_term(const struct term *a, const struct term *b) {
    if (!is_templated(a) && !is_templated(b)) return term_equal(a, b);
    if (a->kind != b->kind || a->list.n != b->list.n) return false;
    if (a->template_text.ptr || b->template_text.ptr)
        return a->template_text.ptr && b->template_text.ptr &&
               str_eq(a->template_text, b->template_text);
    for (uint32_t i = 0; i < a->list.n; i++)
        if (!same_term(a->list.items[i], b->list.items[i])) return false;
    return true;
}

static void check_equal(struct planner *p, struct operand a, struct operand b) {
    emit_check(p, STMT_EQUAL, a, b);
}

static void check_length(struct planner *p, struct operand a, uint32_t n) {
    uint32_t blen = new_local(p), alen = new_local(p);
    emit_to(p, STMT_LEN, alen, a, NONE);
    emit_int(p, STMT_MAKE_NUMBER_INT, blen, n);
    check_equal(p, op_local(alen), op_local(blen));
}

static void unify_local_array(struct planner *p, struct operand a, const struct term *b) {
    emit_check(p, STMT_IS_ARRAY, a, NONE);
    check_length(p, a, b->list.n);
    for (uint32_t i = 0; i < b->list.n; i++) {
        uint32_t index = new_local(p);
        emit_int(p, STMT_MAKE_NUMBER_INT, index, i);
        uint32_t item = emit_target(p, STMT_DOT, a, op_local(index));
        plan_unify_local(p, op_local(item), b->list.items[i]);
    }
}

static void unify_local_object(struct planner *p, struct operand a, const struct term *b) {
    b = source_order(p, b);
    emit_check(p, STMT_IS_OBJECT, a, NONE);
    check_length(p, a, b->list.n / 2);
    for (uint32_t i = 0; i + 1 < b->list.n; i += 2) {
        struct operand key = plan_term(p, b->list.items[i]);
        uint32_t item = emit_target(p, STMT_DOT, a, key);
        plan_unify_local(p, op_local(item), b->list.items[i + 1]);
    }
}

static void unify_local_var(struct planner *p, struct operand a, const struct term *b) {
    struct operand known;
    if (var_get(p, b->text, &known)) {
        check_equal(p, a, known);
        return;
    }
    var_put(p, b->text, op_local(emit_target(p, STMT_ASSIGN_VAR, a, NONE)));
}

void plan_unify_local(struct planner *p, struct operand a, const struct term *b) {
    switch (b->kind) {
    case TERM_VAR: unify_local_var(p, a, b); return;
    case TERM_ARRAY: unify_local_array(p, a, b); return;
    case TERM_OBJECT: unify_local_object(p, a, b); return;
    case TERM_BOOLEAN:
        if (a.kind == OPERAND_BOOL) {
            if (a.index != b->boolean) emit_break(p, 0);
            return;
        }
        break;
    case TERM_STRING:
        /* The same constant needs no check; whether two constants are equal is left to run time,
         * since a template's text differs by tenant. */
        if (a.kind == OPERAND_STRING && a.index == op_text(p, b).index) return;
        break;
    case TERM_NULL:
    case TERM_NUMBER:
    case TERM_REF:
    case TERM_SET:
    case TERM_ARRAY_COMPR:
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR:
    case TERM_CALL:
    case TERM_TEMPLATE_STRING: break;
    }
    check_equal(p, a, plan_term(p, b));
}

static void unify_var(struct planner *p, const struct term *a, const struct term *b) {
    struct operand known;
    if (var_get(p, a->text, &known)) {
        plan_unify_local(p, known, b);
        return;
    }
    struct operand value = plan_term(p, b);
    /* Planning b may have bound a, as in a = input.x[a]. */
    if (var_get(p, a->text, &known))
        check_equal(p, known, value);
    else
        var_put(p, a->text, op_local(emit_target(p, STMT_ASSIGN_VAR, value, NONE)));
}

static void unify_arrays(struct planner *p, const struct term *a, const struct term *b) {
    if (a->list.n != b->list.n) {
        emit_break(p, 0);
        return;
    }
    for (uint32_t i = 0; i < a->list.n; i++) plan_unify(p, a->list.items[i], b->list.items[i]);
}

static const struct term *object_get(const struct term *o, const struct term *key) {
    for (uint32_t i = 0; i + 1 < o->list.n; i += 2)
        if (same_term(o->list.items[i], key)) return o->list.items[i + 1];
    return NULL;
}

/* Keys that stand in both are unified pairwise, which may bind variables; the others (variables,
 * refs) can only be compared once both objects are made. */
static void unify_objects(struct planner *p, const struct term *a, const struct term *b) {
    bool rest = false;
    a = source_order(p, a);
    if (a->list.n != b->list.n) {
        emit_break(p, 0);
        return;
    }
    for (uint32_t i = 0; i + 1 < a->list.n; i += 2) {
        const struct term *other = object_get(b, a->list.items[i]);
        if (other)
            plan_unify(p, a->list.items[i + 1], other);
        else
            rest = true;
    }
    if (!rest) return;
    struct operand made = plan_term(p, a);
    check_equal(p, made, plan_term(p, b));
}

static bool is_pattern(const struct term *t) {
    return t->kind == TERM_ARRAY || t->kind == TERM_OBJECT;
}

void plan_unify(struct planner *p, const struct term *a, const struct term *b) {
    if (a->kind == TERM_VAR) {
        unify_var(p, a, b);
    } else if (is_pattern(a) && b->kind == TERM_VAR) {
        unify_var(p, b, a);
    } else if (a->kind == TERM_ARRAY && b->kind == TERM_ARRAY) {
        unify_arrays(p, a, b);
    } else if (a->kind == TERM_OBJECT && b->kind == TERM_OBJECT) {
        unify_objects(p, a, b);
    } else if (is_pattern(a)) {
        plan_unify_local(p, plan_term(p, b), a);
    } else {
        plan_unify_local(p, plan_term(p, a), b);
    }
}
