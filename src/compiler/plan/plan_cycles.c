/* Finds functions that call themselves. The checks have refused recursive rules, but rules that
 * share a path are one function here, which may call itself although no rule recurses.
 * in: all planned functions. out: errors. owns: nothing (arena). */
#include "compiler/plan/plan_private.h"

struct call {
    const struct stmt *stmt;
    uint32_t callee;
};
struct call_list {
    struct call *items;
    uint32_t n, cap;
};

enum color { NEW, OPEN, DONE };

struct visit {
    uint32_t function, next; /* next call to follow */
};

struct cycles {
    struct planner *p;
    struct call_list *calls; /* by function index */
    uint8_t *colors;
    struct {
        struct visit *items;
        uint32_t n, cap;
    } stack;
};

static bool may_call(const struct plan *plan, const struct stmt *s, const struct function *f) {
    if (f->n_path != s->path.n) return false;
    for (uint32_t i = 0; i < s->path.n; i++)
        if (s->path.items[i].kind == OPERAND_STRING &&
            !str_eq(plan->strings.items[s->path.items[i].index].text, f->path[i]))
            return false;
    return true;
}

static void add_calls(struct cycles *c, uint32_t caller, const struct block_list *l) {
    const struct plan *plan = c->p->plan;
    for (uint32_t i = 0; i < l->n; i++)
        for (uint32_t k = 0; k < l->items[i]->n; k++) {
            const struct stmt *s = l->items[i]->items[k];
            if (s->kind == STMT_CALL && s->func)
                ARENA_PUSH(c->p->a, &c->calls[caller], ((struct call){s, s->func->index}));
            for (uint32_t f = 0; s->kind == STMT_CALL_DYNAMIC && f < plan->functions.n; f++)
                if (may_call(plan, s, plan->functions.items[f]))
                    ARENA_PUSH(c->p->a, &c->calls[caller], ((struct call){s, f}));
            add_calls(c, caller, &s->blocks);
        }
}

static void report(struct cycles *c, const struct call *call) {
    const struct stmt *s = call->stmt;
    struct loc loc = {.file = c->p->plan->files.items[s->file], .row = s->row, .col = s->col};
    struct str name = c->p->plan->functions.items[call->callee]->name;
    diag_add(&c->p->c->diags, DIAG_UNSUPPORTED, loc,
             "reference to %.*s from a rule that is evaluated with it is not supported",
             STR_FMT(str_from(name, strcspn(name.ptr, ".") + 1)));
}

static void open_function(struct cycles *c, uint32_t f) {
    c->colors[f] = OPEN;
    ARENA_PUSH(c->p->a, &c->stack, ((struct visit){f, 0}));
}

/* Depth first, with a stack of its own: chains of calls may be long. */
static void visit_all(struct cycles *c, uint32_t root) {
    if (c->colors[root] == NEW) open_function(c, root);
    while (c->stack.n) {
        struct visit *v = &c->stack.items[c->stack.n - 1];
        const struct call_list *calls = &c->calls[v->function];
        if (v->next == calls->n) {
            c->colors[v->function] = DONE;
            c->stack.n--;
            continue;
        }
        const struct call *call = &calls->items[v->next++];
        if (c->colors[call->callee] == OPEN) report(c, call);
        if (c->colors[call->callee] == NEW) open_function(c, call->callee);
    }
}

void plan_check_cycles(struct planner *p) {
    uint32_t n = p->plan->functions.n;
    struct cycles c = {.p = p,
                       .calls = ARENA_ARRAY(p->a, struct call_list, n),
                       .colors = ARENA_ARRAY(p->a, uint8_t, n)};
    for (uint32_t i = 0; i < n; i++) add_calls(&c, i, &p->plan->functions.items[i]->blocks);
    for (uint32_t i = 0; i < n; i++) visit_all(&c, i);
}
