/* Rules that share a path to one function.
 * in: a trie node's rules and an environment. out: the function's blocks. owns: nothing (arena). */
#include "compiler/plan/plan_private.h"
#include <stdlib.h>

static const struct operand NONE;

/* One function while its blocks are planned. */
struct rule_function {
    struct function *func;
    struct trie_node *node;
    uint32_t result;    /* local: value of the rule chain at hand */
    bool builds_object; /* some rule's ref goes on below the node's path */
    bool mixed;         /* partial sets and other rules share the object */
    uint32_t first_arg; /* index of the first real parameter */
};

/* ---- Making a function known ---- */

static bool is_name(struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || c < '0' || c > '9')) return false;
    }
    return s.len > 0;
}

/* "data.a["b c"]" as OPA prints refs. */
static void put_path(struct buf *out, const struct trie_node *n) {
    if (n->parent && n->parent->parent) put_path(out, n->parent);
    if (n->depth == 1) {
        buf_str(out, n->key);
    } else if (is_name(n->key)) {
        buf_byte(out, '.');
        buf_str(out, n->key);
    } else {
        buf_byte(out, '[');
        json_print_string(n->key, out);
        buf_byte(out, ']');
    }
}

/* target = value, once: the message of a conflict names the rule at the function's node. */
static void emit_assign_once(struct planner *p, const struct rule_function *f, uint32_t target,
                             struct operand value) {
    struct buf b;
    buf_init(&b, 1 << 20);
    put_path(&b, f->node);
    struct str path =
        b.err ? STR("") : (struct str){arena_strndup(p->a, (const char *)b.ptr, b.len), b.len};
    buf_deinit(&b);
    struct stmt *s = emit(p, STMT_ASSIGN_VAR_ONCE);
    s->target = target;
    s->a = value;
    s->integer = plan_string(p->plan, path, (struct str){NULL, 0}, false);
    s->key = trie_arity(f->node) > 0;
}

static struct str function_name(struct planner *p, const struct trie_node *n) {
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_printf(&b, "g%u.", p->env->id);
    put_path(&b, n);
    if (n->narrowed.ptr) buf_printf(&b, "/%.*s", STR_FMT(n->narrowed));
    struct str name = {NULL, b.len};
    if (!b.err) name.ptr = arena_strndup(p->a, (const char *)b.ptr, b.len);
    buf_deinit(&b);
    return name.ptr ? name : STR("g");
}

/* Path for CALL_DYNAMIC. Functions with arguments, or for some rules only, have none: no ref names
 * their value. */
static void set_path(struct planner *p, struct function *f, const struct trie_node *n) {
    size_t len;
    f->n_path = n->depth;
    f->path = ARENA_ARRAY(p->a, struct str, n->depth);
    f->path[0].ptr = arena_printf(p->a, &len, "g%u", p->env->id);
    f->path[0].len = len;
    for (; n->depth > 1; n = n->parent) f->path[n->depth - 1] = n->key;
}

static struct function *function_new(struct planner *p, struct trie_node *n) {
    struct function *f = ARENA_NEW(p->a, struct function);
    uint32_t arity = trie_arity(n), n_default = 2 + p->env->n_params;
    f->name = function_name(p, n);
    if (!arity && !n->narrowed.ptr) set_path(p, f, n);
    f->n_params = n_default + arity;
    f->params = ARENA_ARRAY(p->a, uint32_t, f->n_params);
    f->return_local = n_default;
    for (uint32_t i = 0; i < f->n_params; i++) f->params[i] = i < n_default ? i : i + 1;
    f->memoised = f->n_params == 2;
    f->index = p->plan->functions.n;
    ARENA_PUSH(p->a, &p->plan->functions, f);
    return f;
}

struct function *plan_function(struct planner *p, struct trie_node *n) {
    for (struct planned *k = n->planned; k; k = k->next)
        if (k->env == p->env) return k->func;
    struct planned *k = ARENA_NEW(p->a, struct planned);
    *k = (struct planned){p->env, function_new(p, n), n->planned};
    n->planned = k;
    ARENA_PUSH(p->a, &p->jobs, ((struct job){n, p->env, k->func}));
    return k->func;
}

void push_default_args(struct planner *p, struct operand_list *args) {
    ARENA_PUSH(p->a, args, op_local(LOCAL_INPUT));
    ARENA_PUSH(p->a, args, op_local(LOCAL_DATA));
    for (uint32_t i = 0; i < p->env->n_params; i++)
        ARENA_PUSH(p->a, args, op_local(p->extra.items[i]));
}

uint32_t emit_rule_call(struct planner *p, struct trie_node *n) {
    struct stmt *s = emit(p, STMT_CALL);
    s->func = plan_function(p, n);
    s->target = new_local(p);
    push_default_args(p, &s->args);
    return s->target;
}

/* ---- Values into objects, for refs that go on below the function's path ---- */

/* child = obj[key], made when it is not there yet. */
static uint32_t plan_child_of(struct planner *p, uint32_t obj, struct operand key,
                              enum stmt_kind make) {
    uint32_t child = new_local(p);
    struct block *outer = block_enter(p);
    struct block *missing = block_enter(p);
    emit_to(p, STMT_DOT, child, op_local(obj), key);
    emit_break(p, 1);
    p->curr = missing;
    emit_to(p, make, child, NONE, NONE);
    emit_to(p, STMT_OBJECT_INSERT, obj, key, op_local(child));
    p->curr = outer;
    return child;
}

/* Another rule's value at a partial set's place is a conflict. */
static void check_set(struct planner *p, uint32_t obj, struct operand key, uint32_t set) {
    struct block *outer = block_enter(p);
    struct block *other = block_enter(p);
    emit_check(p, STMT_IS_SET, op_local(set), NONE);
    emit_break(p, 1);
    p->curr = other;
    uint32_t empty = emit_target(p, STMT_MAKE_SET, NONE, NONE);
    emit_to(p, STMT_OBJECT_INSERT_ONCE, obj, key, op_local(empty));
    p->curr = outer;
}

/* Sets *obj to the object that holds the last key, which is the result. */
static struct operand plan_place(struct planner *p, const struct rule_function *f,
                                 const struct rule *r, uint32_t *obj) {
    const struct term_list *ref = &r->path->list;
    *obj = f->func->return_local;
    for (uint32_t i = f->node->depth; i + 1 < ref->n; i++)
        *obj = plan_child_of(p, *obj, plan_term(p, ref->items[i]), STMT_MAKE_OBJECT);
    return plan_term(p, ref->items[ref->n - 1]);
}

static void plan_value_into_object(struct planner *p, const struct rule_function *f,
                                   const struct rule *r) {
    uint32_t obj;
    if (r->path->list.n <= f->node->depth) {
        plan_unsupported(p, "a rule cannot share its path with rules below that path");
    } else if (r->head->value) {
        struct operand value = plan_term(p, r->head->value);
        struct operand key = plan_place(p, f, r, &obj);
        emit_to(p, STMT_OBJECT_INSERT_ONCE, obj, key, value);
        /* Tells the next rule of an else chain that this one has held. */
        if (r->else_rule) emit_to(p, STMT_ASSIGN_VAR, f->result, op_bool(true), NONE);
    } else {
        struct operand key = plan_place(p, f, r, &obj);
        struct operand element = plan_term(p, r->head->key);
        uint32_t set = plan_child_of(p, obj, key, STMT_MAKE_SET);
        if (f->mixed) check_set(p, obj, key, set);
        emit_to(p, STMT_SET_ADD, set, element, NONE);
    }
}

static void plan_head(struct planner *p, const struct rule_function *f, const struct rule *r) {
    if (f->builds_object) {
        plan_value_into_object(p, f, r);
    } else if (r->head->value) {
        struct operand value = plan_term(p, r->head->value);
        emit_assign_once(p, f, f->result, value);
    } else {
        struct operand element = plan_term(p, r->head->key);
        emit_to(p, STMT_SET_ADD, f->func->return_local, element, NONE);
    }
}

/* ---- Rules ---- */

static void begin_block(struct planner *p, struct block_list *blocks) {
    p->curr = block_new(p);
    p->vars.n = 0;
    ARENA_PUSH(p->a, blocks, p->curr);
}

static void plan_rule_block(struct planner *p, const struct rule_function *f, const struct rule *r,
                            bool is_else, struct block_list *blocks) {
    plan_set_loc(p, r->head->loc);
    begin_block(p, blocks);
    emit_to(p, is_else ? STMT_IS_UNDEFINED : STMT_RESET_LOCAL, is_else ? 0 : f->result,
            is_else ? op_local(f->result) : NONE, NONE);
    for (uint32_t i = 0; i < r->head->args.n; i++)
        plan_unify_local(p, op_local(f->func->params[f->first_arg + i]), r->head->args.items[i]);
    plan_body(p, &r->body);
    plan_head(p, f, r);
}

/* A rule with its else chain: the first body that holds gives the value. */
static void plan_rule(struct planner *p, const struct rule_function *f, const struct rule *r) {
    struct block_list *blocks = &f->func->blocks;
    if (r->else_rule) {
        begin_block(p, blocks);
        struct stmt *s = emit(p, STMT_BLOCK);
        blocks = &s->blocks;
    }
    for (const struct rule *at = r; at; at = at->else_rule)
        plan_rule_block(p, f, at, at != r, blocks);
    if (f->builds_object || !r->head->value) return;
    begin_block(p, blocks);
    emit_check(p, STMT_IS_DEFINED, op_local(f->result), NONE);
    emit_assign_once(p, f, f->func->return_local, op_local(f->result));
}

/* Breaks when the function's object has a value at the rule's place already. */
static void check_place_free(struct planner *p, const struct rule_function *f,
                             const struct rule *r) {
    struct block *outer = p->curr, *inner = block_new(p);
    struct stmt *s = emit(p, STMT_NOT);
    ARENA_PUSH(p->a, &s->blocks, inner);
    p->curr = inner;
    plan_ref_rest(p, op_local(f->func->return_local), r->path, f->node->depth, r->path->list.n);
    p->curr = outer;
}

static void plan_default(struct planner *p, const struct rule_function *f, const struct rule *r) {
    plan_set_loc(p, r->head->loc);
    begin_block(p, &f->func->blocks);
    if (f->builds_object)
        check_place_free(p, f, r);
    else
        emit_check(p, STMT_IS_UNDEFINED, op_local(f->func->return_local), NONE);
    plan_body(p, &r->body);
    if (f->builds_object) {
        plan_value_into_object(p, f, r);
        return;
    }
    struct operand value = plan_term(p, r->head->value);
    emit_assign_once(p, f, f->func->return_local, value);
}

/* Longer refs first, so that a shorter one meets what they have put at its place. */
static void sort_rules(struct rule_list *l) {
    for (uint32_t i = 1; i < l->n; i++) {
        struct rule *r = l->items[i];
        uint32_t k = i;
        for (; k > 0 && l->items[k - 1]->path->list.n < r->path->list.n; k--)
            l->items[k] = l->items[k - 1];
        l->items[k] = r;
    }
}

static void classify(struct rule_function *f) {
    const struct rule_list *l = &f->node->rules;
    uint32_t sets = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->items[i]->path->list.n > f->node->depth) f->builds_object = true;
        if (!l->items[i]->head->value) sets++;
    }
    f->mixed = sets && sets < l->n;
}

static void begin_return(struct planner *p, const struct rule_function *f) {
    bool set = !f->node->rules.items[0]->head->value;
    if (!f->builds_object && !set) return;
    begin_block(p, &f->func->blocks);
    emit_to(p, f->builds_object ? STMT_MAKE_OBJECT : STMT_MAKE_SET, f->func->return_local, NONE,
            NONE);
}

void plan_rules(struct planner *p, const struct job *job) {
    struct rule_list *rules = &job->node->rules;
    struct rule_function f = {.func = job->func, .node = job->node};
    sort_rules(rules);
    classify(&f);
    p->env = job->env;
    f.first_arg = 2 + p->env->n_params;
    p->next_local = f.func->n_params + 1;
    p->extra = (struct local_list){0};
    for (uint32_t i = 0; i < p->env->n_params; i++) ARENA_PUSH(p->a, &p->extra, 2 + i);
    f.result = new_local(p);
    plan_set_loc(p, rules->items[0]->head->loc);
    begin_return(p, &f);
    for (uint32_t i = 0; i < rules->n; i++)
        if (!rules->items[i]->is_default) plan_rule(p, &f, rules->items[i]);
    for (uint32_t i = 0; i < rules->n; i++)
        if (rules->items[i]->is_default) plan_default(p, &f, rules->items[i]);
    plan_set_loc(p, rules->items[0]->head->loc);
    begin_block(p, &f.func->blocks);
    emit_check(p, STMT_RETURN_LOCAL, op_local(f.func->return_local), NONE);
    f.func->n_locals = p->next_local;
}
