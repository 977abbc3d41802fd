/* Calls: builtins, functions, relations, and their replacements by `with`.
 * in: call expressions, with or without an output operand. out: CALL statements and the
 * unification of their results. owns: nothing (arena). */
#include "compiler/plan/plan_private.h"

static const struct operand NONE;

/* What is called: one of func, builtin and value. */
struct callee {
    struct function *func;
    const struct builtin *builtin;
    const struct mock *value;
    bool plain_args; /* func: input and data only, none of the environment's parameters */
    uint32_t arity;
};

/* The environment of a replacement function: what it calls is not replaced in turn. */
static struct function *plan_replacement(struct planner *p, struct trie_node *n) {
    struct env *outer = p->env;
    struct env bare = {.hidden = {outer->hidden.items, outer->hidden.n, outer->hidden.cap}};
    p->env = env_get(p, &bare);
    struct function *f = plan_function(p, n);
    p->env = outer;
    return f;
}

static bool find_replacement(struct planner *p, const struct mock *m, struct callee *out) {
    if (m->kind != MOCK_CALL) {
        out->value = m;
        return true;
    }
    struct trie_node *n = trie_lookup(p, m->value);
    if (n && n->rules.n)
        out->func = plan_replacement(p, n), out->plain_args = true;
    else
        out->builtin = builtin_find(ref_dotted(p->a, m->value));
    return out->func || out->builtin;
}

static bool find_callee(struct planner *p, const struct term *operator, struct callee * out) {
    struct str name = ref_dotted(p->a, operator);
    struct trie_node *n = trie_lookup(p, operator);
    const struct builtin *b = n ? NULL : builtin_find(name);
    const struct mock *m = env_mock(p->env, name);
    *out = (struct callee){.arity = n ? trie_arity(n) : b ? b->arity : 0};
    if (m) return find_replacement(p, m, out);
    if (n && n->rules.n)
        out->func = plan_function(p, n);
    else
        out->builtin = b;
    return out->func || out->builtin;
}

/* Notes that the plan uses a builtin; false, with an error, when there is no implementation. */
static bool use_builtin(struct planner *p, const struct builtin *b) {
    struct plan *plan = p->plan;
    if (b->place == BUILTIN_LATER) {
        diag_add(&p->c->diags, DIAG_UNSUPPORTED, p->loc, "builtin %s is not supported yet",
                 b->name);
        return false;
    }
    for (uint32_t i = 0; i < plan->builtins.n; i++)
        if (plan->builtins.items[i] == b) return true;
    ARENA_PUSH(p->a, &plan->builtins, b);
    return true;
}

static void push_args(struct planner *p, const struct callee *f, struct term *const *operands,
                      struct operand_list *args) {
    if (f->func && f->plain_args) {
        ARENA_PUSH(p->a, args, op_local(LOCAL_INPUT));
        ARENA_PUSH(p->a, args, op_local(LOCAL_DATA));
    } else if (f->func) {
        push_default_args(p, args);
    }
    for (uint32_t i = 0; i < f->arity; i++) ARENA_PUSH(p->a, args, plan_term(p, operands[i]));
}

/* The call's value; arguments are evaluated even where a value replaces the function. */
static struct operand plan_value(struct planner *p, const struct callee *f,
                                 struct term *const *operands) {
    struct operand_list args = {0};
    push_args(p, f, operands, &args);
    if (f->value && f->value->kind == MOCK_PARAM) return op_local(p->extra.items[f->value->param]);
    if (f->value) return plan_term(p, f->value->value);
    struct stmt *s = emit(p, STMT_CALL);
    s->func = f->func;
    s->builtin = f->builtin;
    s->args = args;
    s->target = new_local(p);
    return op_local(s->target);
}

static void check_not_empty(struct planner *p, struct operand collection) {
    uint32_t zero = new_local(p), size = emit_target(p, STMT_LEN, collection, NONE);
    emit_int(p, STMT_MAKE_NUMBER_INT, zero, 0);
    emit_check(p, STMT_NOT_EQUAL, op_local(size), op_local(zero));
}

/* The result is unified with the operand after the arguments, or must not be false. */
static void plan_result(struct planner *p, const struct callee *f, struct operand value,
                        const struct term *output) {
    bool relation = f->builtin && (f->builtin->flags & BUILTIN_RELATION);
    bool is_void = f->builtin && f->builtin->is_void;
    if (relation && output)
        plan_unify_local(p, plan_scan(p, value, NULL, NULL), output);
    else if (relation)
        check_not_empty(p, value);
    else if (output)
        plan_unify_local(p, value, output);
    else if (!is_void)
        emit_check(p, STMT_NOT_EQUAL, value, op_bool(false));
}

void plan_call(struct planner *p, const struct expr *e) {
    const struct term *operator= e->call.items[0];
    struct term *const *operands = e->call.items + 1;
    uint32_t n = e->call.n - 1;
    struct str name = ref_dotted(p->a, operator);
    struct callee f;
    if (n == 2 && (str_is(name, "eq") || str_is(name, "assign"))) {
        plan_unify(p, operands[0], operands[1]);
        return;
    }
    if (!find_callee(p, operator, & f)) {
        diag_add(&p->c->diags, DIAG_TYPE, p->loc, "undefined function %.*s", STR_FMT(name));
        return;
    }
    if (n < f.arity || n > f.arity + 1) {
        diag_add(&p->c->diags, DIAG_TYPE, p->loc, "%.*s: %s", STR_FMT(name),
                 n < f.arity ? "too few arguments" : "too many arguments");
        return;
    }
    if (f.builtin && !use_builtin(p, f.builtin)) return;
    struct operand value = plan_value(p, &f, operands);
    plan_result(p, &f, value, n > f.arity ? operands[f.arity] : NULL);
}
