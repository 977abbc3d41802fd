/* Plans written by hand, for tests of the emitter: a few macros around struct stmt. */
#ifndef REGENT_TESTS_UNIT_WASM_PLAN_H
#define REGENT_TESTS_UNIT_WASM_PLAN_H
#include "compiler/builtin.h"
#include "compiler/compile.h"
#include "compiler/plan/ir.h"
#include <stdlib.h>

static struct compile C;

static inline struct stmt *stmt_of(struct stmt s) {
    struct stmt *p = ARENA_NEW(&C.arena, struct stmt);
    *p = s;
    p->row = 1;
    return p;
}
static inline struct block *block_of(struct stmt **items) {
    struct block *b = ARENA_NEW(&C.arena, struct block);
    for (; *items; items++) ARENA_PUSH(&C.arena, b, *items);
    return b;
}
static inline struct block_list blocks_of(struct block **items) {
    struct block_list l = {0};
    for (; *items; items++) ARENA_PUSH(&C.arena, &l, *items);
    return l;
}
static inline struct operand_list operands_of(const struct operand *items, uint32_t n) {
    struct operand_list l = {0};
    for (uint32_t i = 0; i < n; i++) ARENA_PUSH(&C.arena, &l, items[i]);
    return l;
}
/* Index of a string constant of the plan. */
static inline uint32_t string_index(const char *s, const char *template_text) {
    return plan_string(C.plan, str_of(s), str_of(template_text), false);
}

#define S(KIND, ...) stmt_of((struct stmt){.kind = STMT_##KIND, __VA_ARGS__})
#define B(...) block_of((struct stmt *[]){__VA_ARGS__, NULL})
#define BLOCKS(...) blocks_of((struct block *[]){__VA_ARGS__, NULL})
#define L(n) ((struct operand){OPERAND_LOCAL, (n)})
#define TRUE_OPERAND ((struct operand){OPERAND_BOOL, 1})
#define FALSE_OPERAND ((struct operand){OPERAND_BOOL, 0})
#define T(text) ((struct operand){OPERAND_STRING, string_index(text, NULL)})
#define OPERANDS(...)                                                                              \
    operands_of((struct operand[]){__VA_ARGS__},                                                   \
                sizeof((struct operand[]){__VA_ARGS__}) / sizeof(struct operand))
#define NUMBER(text) (int64_t) plan_string(C.plan, STR(text), (struct str){0}, true)
#define NO_ARGS OPERANDS(L(0), L(1))

static inline void plan_begin(void) {
    C = (struct compile){0};
    arena_init(&C.arena, 64 << 20);
    diag_list_init(&C.diags, &C.arena);
    C.plan = ARENA_NEW(&C.arena, struct plan);
    C.plan->arena = &C.arena;
    ARENA_PUSH(&C.arena, &C.plan->files, STR("p.rego"));
}
static inline void plan_end(void) {
    buf_deinit(&C.thin);
    buf_deinit(&C.full);
    arena_deinit(&C.arena);
}
/* A function with n_args arguments beyond input and data: locals 2 …; it returns local 2 + n_args.
 */
static inline struct function *plan_function(const char *name, uint32_t n_args, bool memoised,
                                             struct block_list blocks) {
    struct function *f = ARENA_NEW(&C.arena, struct function);
    f->name = str_of(name);
    f->path = ARENA_ARRAY(&C.arena, struct str, 3);
    f->path[0] = STR("g0");
    f->path[1] = STR("t");
    f->path[2] = str_of(name);
    f->n_path = 3;
    f->n_params = n_args + 2;
    f->params = ARENA_ARRAY(&C.arena, uint32_t, f->n_params);
    for (uint32_t i = 0; i < f->n_params; i++) f->params[i] = i;
    f->return_local = f->n_params;
    f->blocks = blocks;
    f->memoised = memoised;
    f->index = C.plan->functions.n;
    ARENA_PUSH(&C.arena, &C.plan->functions, f);
    return f;
}
/* An entrypoint whose blocks leave the decision in local 3. */
static inline void plan_entrypoint(const char *name, struct block_list blocks) {
    struct entrypoint *p = ARENA_NEW(&C.arena, struct entrypoint);
    p->name = str_of(name);
    p->blocks = blocks;
    p->result_local = 3;
    ARENA_PUSH(&C.arena, &C.plan->entrypoints, p);
}
/* The statements with which OPA's planner ends a path entrypoint. */
#define RESULT                                                                                     \
    S(MAKE_OBJECT, .target = 4), S(OBJECT_INSERT, .target = 4, .a = T("result"), .b = L(3)),       \
        S(RESULT_SET_ADD, .a = L(4))

#endif
