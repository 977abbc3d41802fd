/* What a proxy-wasm filter has and a policy module has not: data inside, builtins of its own, a
 * guard. in: the plan, the data documents, the runtime with src/runtime/proxy. out: the image with
 * data, two function bodies. owns: nothing.
 *
 * A failing evaluation must not trap, since the proxy then gives up the whole sandbox with every
 * request in it. The runtime ends it by throwing the address of its message; the guard catches it.
 *
 *   guard(task) -> 0, or the message: filter_guarded(task) inside try … catch, stack pointer put
 * back throw(message): the only thrower */
#include "compiler/transform/walk.h"
#include "compiler/wasm/leb.h"
#include "compiler/wasm/link.h"

/* Exception handling of WebAssembly: written here and nowhere else, and never read by the linker.
 */
enum { CODE_TRY = 0x06, CODE_CATCH = 0x07, CODE_THROW = 0x08, TAG = 0 };

/* The host builtins that a filter answers itself; ids as src/runtime/proxy/builtins.c has them. */
static const char *const offered[] = {"time.now_ns", "rand.intn", "uuid.rfc4122"};

static int64_t offered_id(const char *name) {
    for (size_t i = 0; i < sizeof offered / sizeof *offered; i++)
        if (strcmp(offered[i], name) == 0) return (int64_t)i;
    return -1;
}

static void refuse_builtin(void *ctx, struct stmt *s) {
    struct emit *e = ctx;
    if (s->kind != STMT_CALL || s->func || s->builtin->place != BUILTIN_HOST ||
        offered_id(s->builtin->name) >= 0)
        return;
    emit_error(e, s, DIAG_UNSUPPORTED,
               arena_printf(e->arena, NULL,
                            "%s needs the native host and cannot run in a proxy-wasm filter",
                            s->builtin->name));
}

static void refuse_builtins(void *ctx, struct unit *u) {
    walk_stmts(u->blocks, ctx, refuse_builtin);
}

void proxy_builtins(struct emit *e) {
    for (uint32_t i = 0; i < e->plan->builtins.n; i++) {
        const struct builtin *b = e->plan->builtins.items[i];
        int64_t id = offered_id(b->name);
        if (b->place == BUILTIN_HOST && id >= 0) e->builtin_ids[i] = (uint32_t)id + 1;
    }
    walk_units(e->plan, e, refuse_builtins);
}

/* Being called for each response costs, so only filters whose policy or data has the word are. */
static bool names_responses(const struct json *v) {
    static const char key[] = "response_headers_to_add";
    if (v->kind != JSON_OBJECT && v->kind != JSON_ARRAY)
        return v->kind == JSON_STRING && str_is(v->text, key);
    for (uint32_t i = 0; i < v->n; i++)
        if ((v->kind == JSON_OBJECT && str_is(v->keys[i], key)) || names_responses(v->items[i]))
            return true;
    return false;
}

/* Terms of a collection alternate: keys and values. */
static bool term_names_responses(const struct term *t) {
    bool named = t->kind == TERM_STRING && str_is(t->text, "response_headers_to_add");
    for (uint32_t i = 0; i < t->list.n && !named; i++)
        named = term_names_responses(t->list.items[i]);
    return named;
}

/* What else than slots the code reads the input by. */
static bool wants_document(const struct emit *e) {
    return e->runtime_import[FUNCTION_rt_input] || e->runtime_import[FUNCTION_rt_with_input];
}

/* ---- data ---- */

static struct module_header *header(struct emit *e) { return image_at(&e->image, HEADER_BASE); }

void proxy_data(struct emit *e) {
    struct json *nothing = json_object(e->arena);
    const struct json *data = e->c->request->data ? e->c->request->data : nothing;
    value *slots = ARENA_ARRAY(e->arena, value, e->n_data + 1u);
    value root = image_json(&e->image, data);
    uint32_t end = image_end(&e->image);
    if (e->image.bytes.err) return;
    if (image_bind(&e->image, &e->image, header(e)->data_tree, root, slots, e->n_data)) {
        emit_error(e, NULL, DIAG_COMPILE, "internal: the data cannot be bound");
        return;
    }
    for (uint32_t i = 0; i < e->plan->strings.n; i++)
        e->proxy_responses |= str_is(e->plan->strings.items[i].text, "response_headers_to_add");
    e->proxy_responses |= names_responses(data);
    for (uint32_t i = 0; i < e->plan->consts.n; i++)
        e->proxy_responses |= term_names_responses(e->plan->consts.items[i].term);
    header(e)->flags = (e->proxy_responses ? MODULE_RESPONSE_HEADERS : 0u) |
                       (wants_document(e) ? MODULE_INPUT_DOCUMENT : 0u);
    header(e)->data_root = root;
    header(e)->image_end = header(e)->heap_base = end;
    memcpy(image_at(&e->image, SLOT_BASE + 8 * data_slot(e, 0)), slots, 8 * (size_t)e->n_data);
}

/* ---- the guard ---- */

void proxy_keep(struct emit *e, struct link *l) {
    int64_t guarded = wasm_module_function(&l->runtime, STR("filter_guarded"));
    if (guarded < 0 || l->runtime.globals.n <= LINK_STACK_POINTER) {
        emit_error(e, NULL, DIAG_COMPILE, "internal: the runtime lacks filter_guarded");
        return;
    }
    l->guarded = (uint32_t)guarded;
    l->globals[LINK_STACK_POINTER] = 0;
    link_keep(l, l->guarded);
}

uint32_t proxy_function(const struct emit *e, const struct link *l, struct str name) {
    uint32_t own = l->n_imports + l->n_functions, n = e->functions.n;
    if (str_is(name, "dispatch")) return own + n - 1; /* emit_module ends with it */
    if (str_is(name, "guard")) return own + n + PROXY_GUARD;
    if (str_is(name, "throw")) return own + n + PROXY_THROW;
    return LINK_DROPPED;
}

static void put(struct buf *out, uint8_t code, uint32_t index) {
    buf_byte(out, code);
    leb_u32(out, index);
}

static void guard_body(const struct link *l, struct buf *out) {
    uint32_t stack_pointer = l->globals[LINK_STACK_POINTER];
    leb_u32(out, 1);
    leb_u32(out, 1);
    buf_byte(out, TYPE_I32); /* local 1: the stack pointer */
    put(out, OP_GLOBAL_GET, stack_pointer);
    put(out, OP_LOCAL_SET, 1);
    buf_byte(out, CODE_TRY);
    buf_byte(out, TYPE_I32);
    put(out, OP_LOCAL_GET, 0);
    put(out, OP_CALL, l->numbers[l->guarded]);
    put(out, OP_I32_CONST, 0);
    put(out, CODE_CATCH, TAG);
    put(out, OP_LOCAL_GET, 1);
    put(out, OP_GLOBAL_SET, stack_pointer);
    buf_byte(out, OP_END);
    buf_byte(out, OP_END);
}

void proxy_body(const struct link *l, uint32_t which, struct buf *out) {
    if (which == PROXY_GUARD) {
        guard_body(l, out);
        return;
    }
    leb_u32(out, 0);
    put(out, OP_LOCAL_GET, 0);
    put(out, CODE_THROW, TAG);
    buf_byte(out, OP_END);
}
