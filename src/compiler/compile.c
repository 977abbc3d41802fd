/* The compiler's driver: a table of stages, one line each, and the loop over it.
 * in: a request. out: trees, plan and module bytes in the compile. owns: the compile's arena and
 * buffers. */
#include "compiler/compile.h"
#include "base/clock.h"
#include "compiler/ast/print.h"
#include "compiler/check/check_private.h"
#include "compiler/compile_cache.h"
#include "compiler/plan/plan.h"
#include "compiler/transform/transform.h"
#include "compiler/wasm/wasm.h"
#include <stdlib.h>

enum { MAX_MODULE_BYTES = 1 << 28 };

static void parse(struct compile *c);
static void settle_errors(struct compile *c);
static void dump_modules(const struct compile *c, struct buf *out);
static void dump_plan(const struct compile *c, struct buf *out);

struct stage {
    const char *name;
    void (*run)(struct compile *c);
    void (*dump)(const struct compile *c, struct buf *out);
};

/* In order. Check stages bear the names of OPA's stages as its metrics spell them. */
#define STAGES(STAGE)                                                                              \
    STAGE("parse", parse, dump_modules)                                                            \
    STAGE("resolve_refs", check_resolve_refs, dump_modules)                                        \
    STAGE("check_unused_imports", check_unused_imports, dump_modules)                              \
    STAGE("init_local_var_gen", check_init_local_gen, dump_modules)                                \
    STAGE("rewrite_rule_head_refs", check_rule_head_refs, dump_modules)                            \
    STAGE("check_keyword_overrides", check_keyword_overrides, dump_modules)                        \
    STAGE("check_imports", check_duplicate_imports, dump_modules)                                  \
    STAGE("set_rule_tree", check_rule_tree, dump_modules)                                          \
    STAGE("rewrite_local_vars", check_rewrite_locals, dump_modules)                                \
    STAGE("rewrite_template_strings", check_rewrite_template_strings, dump_modules)                \
    STAGE("check_void_calls", check_void_calls, dump_modules)                                      \
    STAGE("rewrite_print_calls", check_rewrite_print_calls, dump_modules)                          \
    STAGE("rewrite_expr_terms", check_rewrite_expr_terms, dump_modules)                            \
    STAGE("parse_metadata_blocks", check_metadata, dump_modules)                                   \
    STAGE("set_graph", check_set_graph, dump_modules)                                              \
    STAGE("rewrite_comprehension_terms", check_rewrite_comprehension_terms, dump_modules)          \
    STAGE("rewrite_refs_in_head", check_rewrite_refs_in_head, dump_modules)                        \
    STAGE("rewrite_with_values", check_rewrite_with_values, dump_modules)                          \
    STAGE("check_rule_conflicts", check_rule_conflicts, dump_modules)                              \
    STAGE("check_undefined_funcs", check_undefined_functions, dump_modules)                        \
    STAGE("check_safety", check_safety, dump_modules)                                              \
    STAGE("rewrite_equals", check_rewrite_equals, dump_modules)                                    \
    STAGE("rewrite_dynamic_terms", check_rewrite_dynamic_terms, dump_modules)                      \
    STAGE("check_recursion", check_recursion, dump_modules)                                        \
    STAGE("query", check_query, dump_modules)                                                      \
    STAGE("check_types", check_types, dump_modules)                                                \
    STAGE("check_deprecated_builtins", check_deprecated_builtins, dump_modules)                    \
    STAGE("check", settle_errors, dump_modules)                                                    \
    STAGE("plan", plan_build, dump_plan)                                                           \
    STAGE("transform", transform_run, dump_plan)                                                   \
    STAGE("wasm", wasm_emit, wasm_print)

static const struct stage stages[] = {
#define STAGE(name, run, dump) {name, run, dump},
    STAGES(STAGE)
#undef STAGE
};
enum { N_STAGES = sizeof stages / sizeof *stages };

/* ---- Parsing ---- */

static int by_file(const void *a, const void *b) {
    const struct compile_source *const *x = a, *const *y = b;
    return str_cmp((*x)->file, (*y)->file);
}

/* Modules go by file name, so that the order in which they are given changes nothing. */
static void parse(struct compile *c) {
    const struct compile_request *q = c->request;
    const struct compile_source **sorted =
        ARENA_ARRAY(&c->arena, const struct compile_source *, q->n_sources);
    for (uint32_t i = 0; i < q->n_sources; i++) sorted[i] = &q->sources[i];
    if (q->n_sources) qsort(sorted, q->n_sources, sizeof *sorted, by_file);
    for (uint32_t i = 0; i < q->n_sources; i++) {
        struct module *m =
            parse_module(&c->arena, sorted[i]->file, sorted[i]->text, &q->parse, &c->diags);
        if (m) ARENA_PUSH(&c->arena, &c->modules, m);
    }
    if (q->query.ptr)
        (void)parse_query(&c->arena, STR(""), q->query, &q->parse, &c->diags, &c->query);
    check_begin(c);
}

/* ---- Dumps ---- */

static void dump_modules(const struct compile *c, struct buf *out) {
    for (uint32_t i = 0; i < c->modules.n; i++) {
        if (i) buf_byte(out, '\n');
        buf_printf(out, "# %.*s\n", STR_FMT(c->modules.items[i]->file));
        print_module(c->modules.items[i], out);
    }
    if (!c->request->query.ptr) return;
    buf_cstr(out, "\n# query\n");
    print_body(&c->query, out);
    buf_byte(out, '\n');
}

static void dump_plan(const struct compile *c, struct buf *out) {
    if (c->plan) plan_print(c->plan, out);
}

/* ---- The loop ---- */

static uint32_t n_errors(const struct compile *c) { return c->diags.n + c->diags.dropped; }

/* Errors of some checks let the later ones run, so that one compile shows more of them at once. */
static bool has_fatal_error(const struct compile *c) {
    uint32_t recoverable = c->check ? c->check->priv->n_recoverable : 0;
    return n_errors(c) > recoverable || n_errors(c) >= c->diags.max_errors;
}

/* The checks are over: from here on any error ends the compile. */
static void settle_errors(struct compile *c) { c->check->priv->n_recoverable = 0; }

static void run_stages(struct compile *c, const char *until) {
    for (int i = 0; i < N_STAGES; i++) {
        stages[i].run(c);
        c->n_stages_run = (uint32_t)i + 1;
        if (has_fatal_error(c) || (until && strcmp(stages[i].name, until) == 0)) return;
    }
}

enum err compile_run(struct compile *c, const struct compile_request *request, const char *until) {
    *c = (struct compile){.request = request, .cache = request->cache};
    size_t max = request->max_arena_bytes ? (size_t)request->max_arena_bytes : (size_t)1 << 30;
    if (c->cache)
        compile_cache_take(c->cache, max, &c->arena);
    else
        arena_init(&c->arena, max);
    diag_list_init(&c->diags, &c->arena);
    buf_init(&c->full, MAX_MODULE_BYTES);
    buf_init(&c->thin, MAX_MODULE_BYTES);
    jmp_buf exhausted;
    if (setjmp(exhausted)) {
        c->arena.exhausted = NULL;
        return arena_is_late(&c->arena) ? ERR_DEADLINE : ERR_MEMORY;
    }
    c->arena.exhausted = &exhausted;
    c->arena.deadline_ns = request->max_ms ? clock_of(CLOCK_THREAD_CPUTIME_ID) + request->max_ms * 1000000 : 0;
    run_stages(c, until);
    c->arena.exhausted = NULL;
    c->arena.deadline_ns = 0;
    diag_sort(&c->diags);
    return n_errors(c) ? ERR_DIAG : OK;
}

void compile_end(struct compile *c) {
    check_end(c);
    buf_deinit(&c->full);
    buf_deinit(&c->thin);
    if (c->cache)
        compile_cache_give(c->cache, &c->arena);
    else
        arena_deinit(&c->arena);
    c->cache = NULL;
    c->check = NULL;
}

bool compile_dump(const struct compile *c, const char *stage, struct buf *out) {
    for (uint32_t i = 0; i < c->n_stages_run; i++) {
        if (strcmp(stages[i].name, stage) != 0) continue;
        if (i + 1 < c->n_stages_run && stages[i + 1].dump == stages[i].dump) return false;
        stages[i].dump(c, out);
        return true;
    }
    return false;
}

const char *const *compile_stage_names(void) {
    static const char *const names[] = {
#define STAGE(name, run, dump) name,
        STAGES(STAGE)
#undef STAGE
            NULL,
    };
    return names;
}
