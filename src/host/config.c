/* What wasmtime is told: all that the form of compiled code depends on, and the pool.
 *
 * in:   engine_options.
 * out:  wasm_config_t, the same in the host and in the build's tool that compiles the runtime ahead.
 * owns: nothing. */
#include "host/engine.h"

/* A slot whose instance goes is zeroed up to here, so that the next one meets no page faults, and given back beyond. It
 * holds stack, runtime and image of most policies. */
enum { KEEP_RESIDENT_BYTES = 192 * 1024, WARM_SLOTS = 16, CORE_INSTANCES = 1 << 26 };
#define FOUR_GIB ((uint64_t)1 << 32)
#define WASM_PAGE ((uint64_t)65536)

void engine_options_fill(struct engine_options *o) {
    if (!o->tick_us) o->tick_us = DEFAULT_TICK_US;
    if (!o->max_instances) o->max_instances = DEFAULT_INSTANCES;
    if (!o->memory_reservation_bytes) o->memory_reservation_bytes = FOUR_GIB;
    if (!o->max_memory_bytes) o->max_memory_bytes = FOUR_GIB - WASM_PAGE;
    if (o->max_memory_bytes > o->memory_reservation_bytes)
        o->max_memory_bytes = o->memory_reservation_bytes;
    o->max_memory_bytes -= o->max_memory_bytes % WASM_PAGE;
}

static void config_pool(wasm_config_t *config, const struct engine_options *o) {
    wasmtime_pooling_allocation_config_t *p = wasmtime_pooling_allocation_config_new();
    wasmtime_pooling_allocation_config_total_memories_set(p, o->max_instances);
    /* Two for each memory (runtime, code), and one for each code that a shared sandbox has linked; nothing is set aside
     * for them. */
    wasmtime_pooling_allocation_config_total_core_instances_set(p, CORE_INSTANCES);
    wasmtime_pooling_allocation_config_total_tables_set(p, 2 * o->max_instances);
    wasmtime_pooling_allocation_config_max_memory_size_set(p, o->max_memory_bytes);
    wasmtime_pooling_allocation_config_max_unused_warm_slots_set(p, WARM_SLOTS);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(p, KEEP_RESIDENT_BYTES);
    wasmtime_pooling_allocation_strategy_set(config, p);
    wasmtime_pooling_allocation_config_delete(p);
}

wasm_config_t *engine_config_new(const struct engine_options *o) {
    wasm_config_t *c = wasm_config_new();
    wasmtime_config_strategy_set(c, WASMTIME_STRATEGY_CRANELIFT);
    wasmtime_config_cranelift_opt_level_set(
        c, o->quick_compile ? WASMTIME_OPT_LEVEL_NONE : WASMTIME_OPT_LEVEL_SPEED);
    wasmtime_config_parallel_compilation_set(
        c, !o->quick_compile && !o->one_thread_compile); /* quick: threads cost more than they save */
    wasmtime_config_epoch_interruption_set(c, true);
    wasmtime_config_consume_fuel_set(c, o->fuel);
    wasmtime_config_max_wasm_stack_set(c, STACK_LIMIT_BYTES);
    wasmtime_config_memory_reservation_set(c, o->memory_reservation_bytes);
    wasmtime_config_memory_guard_size_set(c, GUARD_BYTES);
    wasmtime_config_memory_may_move_set(c, false);
    wasmtime_config_memory_init_cow_set(c, true);
    wasmtime_config_gc_support_set(c, false);
    wasmtime_config_shared_memory_set(c, false);
    wasmtime_config_wasm_multi_memory_set(c, false);
    wasmtime_config_wasm_memory64_set(c, false);
    wasmtime_config_wasm_relaxed_simd_set(c, false);
    wasmtime_config_wasm_simd_set(c, true);
    wasmtime_config_wasm_tail_call_set(c, false);
    wasmtime_config_native_unwind_info_set(c, false);
    config_pool(c, o);
    return c;
}
