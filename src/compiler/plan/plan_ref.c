/* Refs: reading below a value step by step, by key or by scanning.
 * in: refs whose head is a local, input or data. out: an operand with what they refer to. owns:
 * nothing (arena). */
#include "compiler/plan/plan_private.h"

static const struct operand NONE;

struct operand plan_scan(struct planner *p, struct operand from, const struct term *key,
                         uint32_t *key_local) {
    struct operand source = to_local(p, from);
    struct stmt *s = emit(p, STMT_SCAN);
    struct block *inner = block_new(p);
    s->a = source;
    s->key = new_local(p);
    s->value = new_local(p);
    ARENA_PUSH(p->a, &s->blocks, inner);
    p->curr = inner;
    if (key) plan_unify_local(p, op_local(s->key), key);
    if (key_local) *key_local = s->key;
    return op_local(s->value);
}

struct operand plan_ref_rest(struct planner *p, struct operand from, const struct term *ref,
                             uint32_t index, uint32_t end) {
    for (uint32_t i = index; i < end; i++) {
        const struct term *key = ref->list.items[i];
        if (unseen_vars(p, key)) {
            from = plan_scan(p, from, key, NULL);
        } else {
            struct operand k = plan_term(p, key);
            from = op_local(emit_target(p, STMT_DOT, from, k));
        }
    }
    return from;
}

struct operand plan_ref(struct planner *p, const struct term *ref) {
    const struct term *head = ref->list.items[0];
    struct operand from;
    if (head->kind == TERM_VAR && str_is(head->text, "data")) return plan_ref_data(p, ref);
    if (head->kind == TERM_VAR && str_is(head->text, "input")) {
        from = op_local(LOCAL_INPUT);
        if (ref->list.n == 1) emit_check(p, STMT_IS_DEFINED, from, NONE);
    } else {
        from = plan_term(p, head);
    }
    return plan_ref_rest(p, from, ref, 1, ref->list.n);
}
