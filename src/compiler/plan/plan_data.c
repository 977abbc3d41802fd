/* Refs into data: virtual documents (rules) and base documents as one tree.
 * in: refs that start with data. out: calls of rules, reads of base data, merged extents. owns:
 * nothing (arena). */
#include "compiler/plan/plan_private.h"

static const struct operand NONE;

static struct operand data_step(struct planner *p, const struct trie_node *virtual,
                                const struct term *ref, uint32_t index);

static bool is_integer(const struct term *t) {
    if (t->kind != TERM_NUMBER) return false;
    for (size_t i = 0; i < t->text.len; i++)
        if (t->text.ptr[i] < '0' || t->text.ptr[i] > '9') return false;
    return true;
}

/* data.x[2] finds item 2 of an array, or the member "2" of an object, as paths into OPA's store do.
 */
static struct operand plan_base_item(struct planner *p, struct operand from,
                                     const struct term *key) {
    uint32_t target = new_local(p);
    struct operand index = plan_term(p, key);
    emit_to(p, STMT_RESET_LOCAL, target, NONE, NONE);
    struct block *outer = block_enter(p);
    struct block *member = block_enter(p);
    emit_to(p, STMT_DOT, target, from, index);
    emit_break(p, 1);
    p->curr = member;
    emit_to(p, STMT_DOT, target, from, op_string(p, key->text));
    p->curr = outer;
    emit_check(p, STMT_IS_DEFINED, op_local(target), NONE);
    return op_local(target);
}

/* The base document at ref[1..end). */
static struct operand plan_base(struct planner *p, const struct term *ref, uint32_t end) {
    struct operand from = op_local(LOCAL_DATA);
    for (uint32_t i = 1; i < end; i++)
        from = is_integer(ref->list.items[i]) ? plan_base_item(p, from, ref->list.items[i])
                                              : plan_ref_rest(p, from, ref, i, i + 1);
    return from;
}

/* ---- Extents ---- */

/* data.system holds OPA's own settings, which the extent of data leaves out. */
static bool is_left_out(const struct trie_node *child) {
    return trie_arity(child) > 0 || (child->depth == 2 && str_is(child->key, "system"));
}

/* An object of all rules below a node: those that are defined. */
static uint32_t virtual_extent(struct planner *p, const struct trie_node *n) {
    uint32_t target = emit_target(p, STMT_MAKE_OBJECT, NONE, NONE);
    struct trie_node **children = trie_sorted(p->a, n);
    for (uint32_t i = 0; i < n->children.n; i++) {
        struct trie_node *child = trie_child(p, n, children[i]->key);
        if (!child || is_left_out(child)) continue;
        struct operand key = op_string(p, child->key);
        struct block *outer = child->rules.n ? block_enter(p) : p->curr;
        uint32_t value = child->rules.n ? emit_rule_call(p, child) : virtual_extent(p, child);
        emit_to(p, STMT_OBJECT_INSERT, target, key, op_local(value));
        p->curr = outer;
    }
    return target;
}

/* Both merged, or the virtual one alone where there is no base document. */
static struct operand plan_extent(struct planner *p, const struct trie_node *virtual,
                                  const struct term *ref) {
    uint32_t rules = virtual_extent(p, virtual), target = new_local(p);
    struct block *outer = block_enter(p);
    struct block *fallback = block_enter(p);
    struct operand base = plan_base(p, ref, ref->list.n);
    emit_to(p, STMT_OBJECT_MERGE, target, to_local(p, base), op_local(rules));
    emit_break(p, 1);
    p->curr = fallback;
    emit_to(p, STMT_ASSIGN_VAR, target, op_local(rules), NONE);
    p->curr = outer;
    return op_local(target);
}

/* ---- Variables among the keys, whose value is known: dispatch at run time ---- */

struct node_list {
    struct trie_node **items;
    uint32_t n, cap;
};
enum dispatch { DISPATCH_NO, DISPATCH_BASE, DISPATCH_CALL };

static void take_matches(struct planner *p, const struct node_list *from, const struct term *key,
                         struct node_list *to) {
    for (uint32_t i = 0; i < from->n; i++) {
        const struct table *children = &from->items[i]->children;
        for (uint32_t k = 0; k < children->n; k++) {
            struct trie_node *child = trie_child(p, from->items[i], children->entries[k].key);
            bool match = key->kind == TERM_VAR || str_eq(children->entries[k].key, key->text);
            if (child && match && !trie_arity(child)) ARENA_PUSH(p->a, to, child);
        }
    }
}

static uint32_t count_rules(const struct node_list *l) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) n += l->items[i]->rules.n > 0;
    return n;
}

/* Whether every path that ref can name ends, after the same number of keys (*end), in rules; those
 * are in *nodes. DISPATCH_BASE: no rule can be named at all. */
static enum dispatch find_dispatch(struct planner *p, const struct trie_node *root,
                                   const struct term *ref, struct node_list *nodes, uint32_t *end) {
    bool computed = false;
    *nodes = (struct node_list){0};
    ARENA_PUSH(p->a, nodes, (struct trie_node *)root);
    for (uint32_t i = 1; i < ref->list.n; i++) {
        const struct term *key = ref->list.items[i];
        struct node_list next = {0};
        if (key->kind == TERM_VAR && !unseen_vars(p, key))
            computed = true;
        else if (key->kind != TERM_STRING || key->template_text.ptr)
            return DISPATCH_NO;
        take_matches(p, nodes, key, &next);
        *nodes = next;
        *end = i + 1;
        if (!next.n) return computed ? DISPATCH_BASE : DISPATCH_NO;
        uint32_t with_rules = count_rules(&next);
        if (with_rules == next.n) return computed ? DISPATCH_CALL : DISPATCH_NO;
        if (with_rules) return DISPATCH_NO;
    }
    return DISPATCH_NO;
}

static void emit_call_dynamic(struct planner *p, const struct term *ref, uint32_t end,
                              uint32_t target) {
    size_t len;
    char *generation = arena_printf(p->a, &len, "g%u", p->env->id);
    struct stmt *s = stmt_make(p, STMT_CALL_DYNAMIC);
    s->target = target;
    push_default_args(p, &s->args);
    ARENA_PUSH(p->a, &s->path, op_string(p, (struct str){generation, len}));
    for (uint32_t i = 1; i < end; i++) ARENA_PUSH(p->a, &s->path, plan_term(p, ref->list.items[i]));
    ARENA_PUSH(p->a, p->curr, s);
}

/* The call, or the base document where no function has that path. The emitter takes a call that is
 * found but undefined out of four blocks, as OPA's does: both alternatives', the choice's, `found`
 * and the current one. */
static struct operand plan_dispatch(struct planner *p, const struct term *ref, uint32_t end,
                                    const struct node_list *nodes) {
    for (uint32_t i = 0; i < nodes->n; i++) plan_function(p, nodes->items[i]);
    uint32_t target = new_local(p);
    struct block *outer = block_enter(p);
    block_enter(p);
    struct block *choice = block_enter(p);
    struct stmt *s = choice->items[0];
    emit_call_dynamic(p, ref, end, target);
    emit_break(p, 1);
    p->curr = block_new(p);
    ARENA_PUSH(p->a, &s->blocks, p->curr);
    emit_to(p, STMT_ASSIGN_VAR, target, plan_base(p, ref, end), NONE);
    emit_break(p, 1);
    p->curr = choice;
    emit_break(p, 2);
    p->curr = outer;
    return plan_ref_rest(p, op_local(target), ref, end, ref->list.n);
}

/* ---- Any key: each child of the virtual document in turn, then the base document's others ---- */

/* Where an alternative's result goes: into a tuple, or into the one local of a ref without unbound
 * variables, which has one result at most. */
struct results {
    struct gather gather;
    bool single;
    uint32_t local;
};

static void add_result(struct planner *p, const struct results *r, struct operand value) {
    if (r->single)
        emit_to(p, STMT_ASSIGN_VAR, r->local, value, NONE);
    else
        gather_add(p, &r->gather, value);
}

static struct term *plug(struct planner *p, const struct term *ref, uint32_t index,
                         struct str key) {
    struct term *copy = term_copy(p->a, ref);
    copy->list.items[index] = term_string(p->a, key, ref->list.items[index]->loc);
    return copy;
}

static void plan_child(struct planner *p, const struct trie_node *virtual, struct str key,
                       const struct term *ref, uint32_t index, const struct results *r) {
    uint32_t frame = p->vars.n;
    struct block *outer = block_enter(p);
    plan_unify_local(p, op_string(p, key), ref->list.items[index]);
    add_result(p, r, data_step(p, virtual, plug(p, ref, index, key), index));
    p->curr = outer;
    p->vars.n = frame;
}

static void check_not_virtual(struct planner *p, struct operand virtual_keys, struct operand key) {
    struct block *outer = p->curr, *inner = block_new(p);
    struct stmt *s = emit(p, STMT_NOT);
    ARENA_PUSH(p->a, &s->blocks, inner);
    p->curr = inner;
    emit_target(p, STMT_DOT, virtual_keys, key);
    p->curr = outer;
}

static void plan_other_keys(struct planner *p, struct term *virtual_keys, const struct term *ref,
                            uint32_t index, const struct results *r) {
    const struct term *key_term = ref->list.items[index];
    uint32_t frame = p->vars.n, key;
    struct block *outer = block_enter(p);
    struct operand value, from = plan_base(p, ref, index), keys = plan_term(p, virtual_keys);
    if (unseen_vars(p, key_term)) {
        value = plan_scan(p, from, key_term, &key);
        check_not_virtual(p, keys, op_local(key));
    } else {
        struct operand known = plan_term(p, key_term);
        check_not_virtual(p, keys, known);
        value = op_local(emit_target(p, STMT_DOT, from, known));
    }
    add_result(p, r, plan_ref_rest(p, value, ref, index + 1, ref->list.n));
    p->curr = outer;
    p->vars.n = frame;
}

static void begin_results(struct planner *p, const struct term *ref, uint32_t index,
                          struct results *r) {
    gather_begin(p, &r->gather);
    for (uint32_t i = index; i < ref->list.n; i++)
        collect_unseen(p, ref->list.items[i], &r->gather.names);
    r->single = r->gather.names.n == 0;
    r->local = new_local(p);
    if (r->single) emit_to(p, STMT_RESET_LOCAL, r->local, NONE, NONE);
}

static struct operand end_results(struct planner *p, const struct results *r) {
    if (!r->single) return gather_end(p, &r->gather, true);
    emit_check(p, STMT_IS_DEFINED, op_local(r->local), NONE);
    return op_local(r->local);
}

static struct operand plan_any_key(struct planner *p, const struct trie_node *virtual,
                                   const struct term *ref, uint32_t index) {
    struct results r;
    struct trie_node **children = trie_sorted(p->a, virtual);
    struct term *keys = term_new(p->a, TERM_SET, p->loc);
    begin_results(p, ref, index, &r);
    for (uint32_t i = 0; i < virtual->children.n; i++) {
        struct trie_node *child = trie_child(p, virtual, children[i]->key);
        if (!child || trie_arity(child)) continue;
        ARENA_PUSH(p->a, &keys->list, term_string(p->a, child->key, p->loc));
        plan_child(p, virtual, child->key, ref, index, &r);
    }
    plan_other_keys(p, keys, ref, index, &r);
    return end_results(p, &r);
}

/* ---- One step down ---- */

static struct operand plan_named_key(struct planner *p, const struct trie_node *virtual,
                                     const struct term *ref, uint32_t index) {
    const struct term *key = ref->list.items[index];
    struct trie_node *child = key->kind == TERM_STRING ? trie_child(p, virtual, key->text) : NULL;
    if (!child || !child->rules.n) return data_step(p, child, ref, index + 1);
    if (trie_arity(child)) {
        emit_break(p, 0); /* a function is no value */
        return op_bool(false);
    }
    uint32_t value = emit_rule_call(p, trie_narrow(p->a, child, ref, index + 1));
    return plan_ref_rest(p, op_local(value), ref, index + 1, ref->list.n);
}

static struct operand data_step(struct planner *p, const struct trie_node *virtual,
                                const struct term *ref, uint32_t index) {
    if (!virtual) return plan_base(p, ref, ref->list.n);
    if (index >= ref->list.n) return plan_extent(p, virtual, ref);
    const struct term *key = ref->list.items[index];
    /* Which rule a templated key names differs by tenant, so it is found at run time. */
    if (term_is_ground(key) && !key->template_text.ptr)
        return plan_named_key(p, virtual, ref, index);
    return plan_any_key(p, virtual, ref, index);
}

struct operand plan_ref_data(struct planner *p, const struct term *ref) {
    struct trie_node *root = trie_child(p, p->rules, STR("data"));
    struct node_list nodes;
    uint32_t end = 0;
    if (!root) return plan_base(p, ref, ref->list.n);
    enum dispatch d = p->env->n_params ? DISPATCH_NO : find_dispatch(p, root, ref, &nodes, &end);
    if (d == DISPATCH_CALL) return plan_dispatch(p, ref, end, &nodes);
    if (d == DISPATCH_BASE) return plan_base(p, ref, ref->list.n);
    return data_step(p, root, ref, 1);
}
