/* Compiles a WebAssembly module to machine code as the host does with its default settings.
 *
 * in:   precompile MODULE.wasm OUT.
 * out:  OUT: wasmtime's serialised form, for any CPU of this architecture with the usual extensions (x86-64-v3; the
 *       host compiles by itself where they are missing); empty when this machine cannot make it.
 * owns: nothing. */
#include "base/buf.h"
#include "host/engine.h"
#include <stdio.h>

enum { MAX_BYTES = 1 << 28 };

#if defined(__x86_64__)
static const char target[] = "x86_64-unknown-linux-gnu";
static const char *const cpu_flags[] = {"has_sse3",  "has_ssse3", "has_sse41", "has_sse42",
                                        "has_popcnt", "has_avx",   "has_avx2",  "has_fma",
                                        "has_bmi1",  "has_bmi2",  "has_lzcnt", NULL};
#elif defined(__aarch64__)
static const char target[] = "aarch64-unknown-linux-gnu";
static const char *const cpu_flags[] = {NULL};
#endif

static int complain(const char *what, wasmtime_error_t *error) {
    struct load_message m = {""};
    wasm_byte_vec_t text;
    wasmtime_error_message(error, &text);
    snprintf(m.text, sizeof m.text, "%.*s", (int)(text.size < 400 ? text.size : 400), text.data);
    fprintf(stderr, "precompile: %s: %s\n", what, m.text);
    wasm_byte_vec_delete(&text);
    wasmtime_error_delete(error);
    return 1;
}

static wasm_engine_t *engine_for_target(void) {
    struct engine_options options = {.max_instances = 1};
    engine_options_fill(&options);
    wasm_config_t *config = engine_config_new(&options);
    wasmtime_error_t *error = wasmtime_config_target_set(config, target);
    if (error) {
        complain(target, error);
        wasm_config_delete(config);
        return NULL;
    }
    for (int i = 0; cpu_flags[i]; i++) wasmtime_config_cranelift_flag_enable(config, cpu_flags[i]);
    return wasm_engine_new_with_config(config);
}

static void compile(wasm_engine_t *engine, struct str wasm, struct buf *out) {
    wasmtime_module_t *module = NULL;
    wasm_byte_vec_t code;
    wasmtime_error_t *error =
        wasmtime_module_new(engine, (const uint8_t *)wasm.ptr, wasm.len, &module);
    if (error) {
        complain("the runtime is compiled at start instead", error);
        return;
    }
    error = wasmtime_module_serialize(module, &code);
    if (!error) {
        buf_put(out, code.data, code.size);
        wasm_byte_vec_delete(&code);
    } else {
        complain("serialise", error);
    }
    wasmtime_module_delete(module);
}

int main(int argc, char **argv) {
    struct buf wasm, code;
    if (argc != 3) return 2;
    buf_init(&wasm, MAX_BYTES);
    buf_init(&code, MAX_BYTES);
    if (buf_read_file(&wasm, argv[1])) return 1;
    wasm_engine_t *engine = engine_for_target();
    if (engine) compile(engine, buf_view(&wasm), &code);
    if (engine) wasm_engine_delete(engine);
    int failed = code.err || file_write_atomic(argv[2], buf_view(&code));
    buf_deinit(&wasm);
    buf_deinit(&code);
    return failed ? 1 : 0;
}
