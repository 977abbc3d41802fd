/* Expressions under `with`: changed input and data, hidden rules, replaced functions.
 * in: an expression with modifiers. out: WITH statements around it, planned in its own
 * environment. owns: nothing (arena). */
#include "compiler/plan/plan_private.h"

struct change { /* of a document */
    uint32_t local;
    const struct term *target;
    struct operand value;
};
struct changes {
    struct change *items;
    uint32_t n, cap;
};

static const struct term *as_ref(struct planner *p, struct term *t) {
    if (t->kind != TERM_VAR) return t;
    struct term *ref = term_new(p->a, TERM_REF, t->loc);
    ARENA_PUSH(p->a, &ref->list, t);
    return ref;
}

static bool is_function(struct planner *p, const struct term *ref) {
    const struct term *head = ref->kind == TERM_REF ? ref->list.items[0] : NULL;
    struct operand known;
    if (!head || head->kind != TERM_VAR || var_get(p, head->text, &known)) return false;
    struct trie_node *n = trie_lookup(p, ref);
    return n && n->rules.n ? trie_arity(n) > 0 : builtin_find(ref_dotted(p->a, ref)) != NULL;
}

static bool has_root(const struct term *t, const char *name) {
    return t->kind == TERM_REF && t->list.items[0]->kind == TERM_VAR &&
           str_is(t->list.items[0]->text, name);
}

static void add_mock(struct planner *p, struct env *env, struct local_list *extra,
                     const struct term *target, struct term *value) {
    struct mock m = {.target = ref_dotted(p->a, target), .value = value};
    const struct term *ref = as_ref(p, value);
    bool document = (has_root(value, "data") || has_root(value, "input")) && !unseen_vars(p, value);
    if (is_function(p, ref)) {
        m.kind = MOCK_CALL;
        m.value = (struct term *)ref;
    } else if (document || term_is_ground(value)) {
        m.kind = MOCK_CONST;
    } else {
        m.kind = MOCK_PARAM;
        m.param = env->n_params++;
        ARENA_PUSH(p->a, extra, to_local(p, plan_term(p, value)).index);
    }
    ARENA_PUSH(p->a, &env->mocks, m);
}

static void add_change(struct planner *p, struct changes *l, const struct with *w,
                       const struct term *target) {
    bool input = has_root(target, "input");
    for (uint32_t i = 1; i < target->list.n; i++)
        if (target->list.items[i]->kind != TERM_STRING) {
            plan_unsupported(p, "with target: keys must be strings");
            return;
        }
    struct change c = {input ? LOCAL_INPUT : LOCAL_DATA, target, plan_term(p, w->value)};
    ARENA_PUSH(p->a, l, c);
}

static void hide(struct planner *p, struct env *env, const struct term *target) {
    struct trie_node *n = has_root(target, "data") ? trie_lookup(p, target) : NULL;
    if (n) ARENA_PUSH(p->a, &env->hidden, n);
}

/* Copies, so that growing the new environment's lists leaves the outer one as it is. */
static struct env env_copy(struct planner *p, const struct env *e) {
    struct env copy = {.n_params = e->n_params};
    for (uint32_t i = 0; i < e->hidden.n; i++) ARENA_PUSH(p->a, &copy.hidden, e->hidden.items[i]);
    for (uint32_t i = 0; i < e->mocks.n; i++) ARENA_PUSH(p->a, &copy.mocks, e->mocks.items[i]);
    return copy;
}

static void enter_changes(struct planner *p, const struct changes *l) {
    for (uint32_t i = 0; i < l->n; i++) {
        const struct change *c = &l->items[i];
        struct stmt *s = emit(p, STMT_WITH);
        s->target = c->local;
        s->a = c->value;
        for (uint32_t k = 1; k < c->target->list.n; k++)
            ARENA_PUSH(p->a, &s->path, op_text(p, c->target->list.items[k]));
        p->curr = block_new(p);
        ARENA_PUSH(p->a, &s->blocks, p->curr);
    }
}

/* The expression inside its WITH blocks. What follows must not run inside them: where the
 * expression has one result its variables simply stay; where it iterates the results are gathered.
 */
static void plan_inside(struct planner *p, const struct expr *e, const struct changes *changes) {
    struct expr bare = *e;
    struct gather g;
    uint32_t frame = p->vars.n;
    struct block *outer = p->curr;
    bare.with.n = 0;
    gather_begin(p, &g);
    enter_changes(p, changes);
    struct block *inner = p->curr;
    plan_expr(p, &bare);
    bool iterates = p->curr != inner && inner != outer;
    if (iterates) {
        for (uint32_t i = frame; i < p->vars.n; i++)
            table_set(&g.names, p->vars.items[i].name, (void *)e);
        gather_add(p, &g, (struct operand){0});
        p->vars.n = frame;
    }
    if (inner != outer) p->curr = outer;
    if (iterates) gather_end(p, &g, false);
}

void plan_with(struct planner *p, const struct expr *e) {
    struct env *outer_env = p->env;
    struct env inner = env_copy(p, outer_env);
    struct local_list outer_extra = p->extra, extra = {0};
    struct changes changes = {0};
    for (uint32_t i = 0; i < p->extra.n; i++) ARENA_PUSH(p->a, &extra, p->extra.items[i]);
    for (uint32_t i = 0; i < e->with.n; i++) {
        const struct with *w = &e->with.items[i];
        const struct term *target = as_ref(p, w->target);
        if (is_function(p, target))
            add_mock(p, &inner, &extra, target, w->value);
        else
            add_change(p, &changes, w, target);
    }
    for (uint32_t i = 0; i < changes.n; i++) hide(p, &inner, changes.items[i].target);
    p->env = env_get(p, &inner);
    p->extra = extra;
    plan_inside(p, e, &changes);
    p->env = outer_env;
    p->extra = outer_extra;
}
