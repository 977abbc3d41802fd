/* Loads a policy: picks the form, has its code compiled, builds its image, tries one instance.
 *
 * in:   modules and data of one tenant (hostile), the engine.
 * out:  struct policy.
 * owns: the policy with its arena, images and counts on code. */
#include "host/policy.h"
#include "host/instance.h"
#include <stdlib.h>

#define POLICY_ARENA_BYTES ((size_t)1 << 30)
/* Start code and the parsing of data, at 5 MB/s or faster. */
enum { LINE_BYTES = 64, HOT_BYTES = 256, FETCH_BYTES = 4096 };
enum { LOAD_DEADLINE_US = 2000000, PARSE_BYTES_PER_US = 5 };
extern const char runtime_sha256[];

void policy_use(struct policy *p) { atomic_fetch_add(&p->uses, 1); }

static void policy_free(struct policy *p) {
    code_release(p->engine, p->code);
    code_release(p->engine, p->base);
    image_deinit(&p->segments);
    image_deinit(&p->data);
    arena_deinit(&p->arena);
    free(p->lists);
    free(p);
}

void policy_unuse(struct policy *p) {
    if (atomic_fetch_sub(&p->uses, 1) == 1) policy_free(p);
}

struct policy *policy_acquire(struct policy *p) {
    atomic_fetch_add(&p->handles, 1);
    return p;
}

void policy_release(struct policy *p) {
    if (!p || atomic_fetch_sub(&p->handles, 1) != 1) return;
    atomic_fetch_add(&p->engine->retired, 1);
    policy_unuse(p);
}

uint32_t policy_entrypoint_count(const struct policy *p) { return p->entries.n; }
struct str policy_entrypoint_name(const struct policy *p, uint32_t i) {
    return i < p->entries.n ? p->entries.items[i].name : (struct str){NULL, 0};
}
int32_t policy_entrypoint(const struct policy *p, struct str name) {
    for (uint32_t i = 0; i < p->entries.n; i++)
        if (str_eq(p->entries.items[i].name, name)) return (int32_t)i;
    return -1;
}

int32_t policy_entrypoint_at(const struct policy *p, struct str path, struct str *below) {
    *below = (struct str){NULL, 0};
    if (path.len == 0) return policy_entrypoint_count(p) ? 0 : -1;
    for (struct str head = path;;) {
        int32_t id = policy_entrypoint(p, head);
        if (id >= 0) {
            if (head.len < path.len) *below = str_from(path, head.len + 1);
            return id;
        }
        while (head.len && head.ptr[head.len - 1] != '/') head.len--;
        if (head.len == 0) return -1;
        head.len--;
    }
}

static void fetch(const void *at, size_t len) {
    size_t most = len < FETCH_BYTES ? len : FETCH_BYTES;
    for (size_t i = 0; at && i < most; i += LINE_BYTES) __builtin_prefetch((const char *)at + i);
}
void policy_fetch(const struct policy *p) { fetch(p, HOT_BYTES); }
void policy_fetch_all(const struct policy *p) {
    fetch(p->entries.items, p->entries.n * (sizeof *p->entries.items + 16));
    fetch(p->code, sizeof *p->code);
    fetch(p->segments.bytes.ptr, p->segments.bytes.len);
    fetch(p->data.bytes.ptr, p->data.bytes.len);
}
uint64_t policy_input_mark(const struct policy *p) { return p->input_mark; }
struct policy_stats policy_stats(const struct policy *p) {
    return p->stats;
}

const struct host_builtin *policy_find_builtin(const struct policy *p, int32_t id) {
    for (uint32_t i = 0; i < p->builtins.n; i++)
        if (p->builtins.items[i].id == id) return p->builtins.items[i].builtin;
    return NULL;
}

/* An object of small numbers out of the module, or NULL. */
static const struct json *read_ids(struct policy *p, struct str text) {
    struct json *v = NULL;
    struct json_error error;
    char *copy = arena_strndup(p->loading, text.ptr, text.len);
    if (!copy || json_parse(p->loading, (struct str){copy, text.len}, &v, &error) != OK) return NULL;
    if (v->kind != JSON_OBJECT) return NULL;
    for (uint32_t i = 0; i < v->n; i++) {
        int64_t id;
        if (!json_int64(v->items[i], &id) || id < 0 || id > INT32_MAX) return NULL;
    }
    return v;
}

enum err policy_set_entries(struct policy *p, struct str text, struct load_message *message) {
    const struct json *v = read_ids(p, text);
    load_say(message, "entrypoints are not an object of ids 0 to n - 1");
    if (!v) return ERR_ABI;
    p->entries.items = ARENA_ARRAY(p->loading, struct policy_entry, v->n);
    if (!p->entries.items) return ERR_MEMORY;
    p->entries.n = p->entries.cap = v->n;
    for (uint32_t i = 0; i < v->n; i++) {
        int64_t id = -1;
        if (!json_int64(v->items[i], &id) || id >= v->n || p->entries.items[id].name.ptr)
            return ERR_ABI;
        p->entries.items[id] = (struct policy_entry){v->keys[i], (int32_t)id};
    }
    return OK;
}

enum err policy_set_builtins(struct policy *p, struct str text, struct load_message *message) {
    const struct json *v = read_ids(p, text);
    load_say(message, "builtins are not an object of ids");
    if (!v) return ERR_ABI;
    for (uint32_t i = 0; i < v->n; i++) {
        struct policy_builtin b = {0, host_builtin_find(v->keys[i])};
        int64_t id = 0;
        if (!b.builtin) {
            load_say(message, "the module needs builtin %.*s, which this host does not have",
                     STR_FMT(v->keys[i]));
            return ERR_ABI;
        }
        if (json_int64(v->items[i], &id)) b.id = (int32_t)id;
        uint32_t n = p->builtins.n;
        ARENA_PUSH(p->loading, &p->builtins, b);
        if (p->builtins.n == n) return ERR_MEMORY;
    }
    return OK;
}

/* OPA's modules get data as text; {} when there is none. */
static enum err print_data(struct policy *p, const struct json *data) {
    struct buf b;
    buf_init(&b, POLICY_ARENA_BYTES);
    if (data)
        json_print(data, false, 0, &b);
    else
        buf_cstr(&b, "{}");
    char *copy = b.err == OK ? arena_strndup(&p->arena, (const char *)b.ptr, b.len) : NULL;
    p->data_text = (struct str){copy, b.len};
    buf_deinit(&b);
    return copy ? OK : ERR_MEMORY;
}

static struct str c_result(struct instance *i, const wasmtime_val_raw_t *raw) {
    struct str text = {NULL, 0};
    if (!memory_c_string(instance_memory(i), (uint32_t)raw->i32, &text)) text.ptr = NULL;
    return text;
}

/* An OPA module tells its entrypoints and builtins by exports that give a JSON value's address. */
static enum err ask_module(struct instance *i, const char *export, struct str *out,
                           struct load_message *m) {
    wasmtime_func_t f;
    wasmtime_val_raw_t raw[1] = {{0}};
    char text[256];
    if (!instance_find(i, export, 0, WASM_I32, &f) || f.store_id == 0) {
        load_say(m, "the module does not export %s", export);
        return ERR_ABI;
    }
    enum err err = instance_call(i, &f, raw, 0, text, sizeof text);
    if (!err) err = instance_call(i, &i->json_dump, raw, 1, text, sizeof text);
    if (!err && !(*out = c_result(i, raw)).ptr) err = ERR_ABI;
    if (err) load_say(m, "%s() of the module failed: %s", export, err_word(err));
    return err ? ERR_ABI : OK;
}

static enum err ask_opa_module(struct policy *p, struct instance *i, struct load_message *m) {
    struct str text;
    enum err err;
    if ((err = ask_module(i, "entrypoints", &text, m)) != OK) return err;
    if ((err = policy_set_entries(p, text, m)) != OK) return err;
    if ((err = ask_module(i, "builtins", &text, m)) != OK) return err;
    return policy_set_builtins(p, text, m);
}

/* One instance, so that what cannot be linked or started fails now and not at a request. */
static enum err try_instance(struct policy *p, struct load_message *message) {
    struct instance *i = NULL;
    struct limits limits = {.deadline_us = LOAD_DEADLINE_US + p->data_text.len / PARSE_BYTES_PER_US,
                            .memory_bytes = p->engine->options.max_memory_bytes};
    char text[256] = "";
    enum err err = instance_new(p, &limits, false, &i, text, sizeof text);
    if (err) {
        load_say(message, "%s: %s", err_word(err), text);
        return err == ERR_MEMORY || err == ERR_LIMIT || err == ERR_ABI ? err : ERR_INVALID;
    }
    if (p->form == MODULE_OPA) err = ask_opa_module(p, i, message);
    atomic_store(&p->code->checked, true);
    instance_free(i);
    return err;
}

/* Another policy of this code has been tried, and its own image fits: there is nothing left that could fail. */
static bool tried(const struct policy *p) {
    uint64_t image = (uint64_t)p->heap_base + WASM_PAGE_BYTES, most = p->engine->options.max_memory_bytes;
    return p->form == MODULE_THIN && p->code->stateless && atomic_load(&p->code->checked) && image <= most;
}

static enum err load_module(struct policy *p, const struct policy_source *source, struct str wasm,
                            struct module_info *info, struct load_message *m) {
    enum err err;
    struct code_origin origin;
    if (source->max_module_bytes && wasm.len > source->max_module_bytes) {
        load_say(m, "module of %zu bytes is larger than the limit of %llu", wasm.len,
                 (unsigned long long)source->max_module_bytes);
        return ERR_LIMIT;
    }
    if ((err = module_read(wasm, p->loading, info, m)) != OK) return err;
    if (info->form == MODULE_THIN && !str_is(info->runtime_hash, runtime_sha256)) {
        load_say(m, "thin module wants runtime %.*s, this host has %s",
                 (int)(info->runtime_hash.len < 64 ? info->runtime_hash.len : 64),
                 info->runtime_hash.ptr, runtime_sha256);
        return ERR_ABI;
    }
    p->form = info->form;
    p->memory_pages = info->memory_pages;
    p->input_mark = info->input_paths && source->input_mark ? source->input_mark(info->input_paths) : ~(uint64_t)0;
    if ((err = code_acquire(p->engine, info, source->max_compile_us, &p->code, &origin, m)) != OK) return err;
    p->stats.code_from = origin.from;
    p->stats.compile_us = origin.compile_us;
    p->stats.code_bytes = p->code->bytes;
    err = p->form == MODULE_THIN ? code_runtime(p->engine, &p->base, m)
                                 : code_memory(p->engine, &p->base, m);
    if (err) return err;
    err = p->form == MODULE_OPA ? print_data(p, source->data)
                                : policy_build_image(p, info, source->data, m);
    if (err) return err;
    return tried(p) ? OK : try_instance(p, m);
}

static struct policy *policy_new(struct engine *e) {
    struct policy *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->engine = e;
    p->id = atomic_fetch_add(&e->next_policy_id, 1);
    atomic_init(&p->handles, 1);
    atomic_init(&p->uses, 1);
    arena_init(&p->arena, POLICY_ARENA_BYTES);
    image_init(&p->segments, 0, 0);
    image_init(&p->data, 0, 0);
    return p;
}

static char *put_text(char **at, struct str s) {
    char *to = *at;
    if (s.len) memcpy(to, s.ptr, s.len);
    to[s.len] = 0;
    *at += s.len + 1;
    return to;
}

/* What loading wrote here and there goes into one block, images into as much as they need: a node holds thousands. */
static enum err policy_seal(struct policy *p, struct str name) {
    size_t builtins = p->builtins.n * sizeof *p->builtins.items, entries = p->entries.n * sizeof *p->entries.items;
    size_t text = name.len + 1;
    for (uint32_t i = 0; i < p->entries.n; i++) text += p->entries.items[i].name.len + 1;
    uint8_t *block = malloc(builtins + entries + text);
    if (!block) return ERR_MEMORY;
    char *at = (char *)block + builtins + entries;
    if (builtins) memcpy(block, p->builtins.items, builtins);
    if (entries) memcpy(block + builtins, p->entries.items, entries);
    p->lists = block;
    p->builtins.items = (struct policy_builtin *)(void *)block;
    p->entries.items = (struct policy_entry *)(void *)(block + builtins);
    for (uint32_t i = 0; i < p->entries.n; i++)
        p->entries.items[i].name.ptr = put_text(&at, p->entries.items[i].name);
    p->name = (struct str){put_text(&at, name), name.len};
    image_seal(&p->segments);
    image_seal(&p->data);
    return OK;
}

static enum err load_one(struct engine *e, const struct policy_source *source, struct str wasm,
                         struct policy **out, struct load_message *message) {
    struct module_info info = {0};
    struct arena loading;
    uint64_t start = clock_ns();
    struct policy *p = policy_new(e);
    if (!p) return ERR_MEMORY;
    arena_init(&loading, POLICY_ARENA_BYTES);
    p->loading = &loading;
    enum err err = load_module(p, source, wasm, &info, message);
    if (!err) err = policy_seal(p, source->name);
    p->loading = NULL;
    module_info_deinit(&info);
    arena_deinit(&loading);
    if (err) {
        policy_release(p);
        return err;
    }
    p->stats.thin = p->form == MODULE_THIN;
    p->stats.regent_abi = p->form != MODULE_OPA;
    p->stats.load_us = (clock_ns() - start) / 1000;
    *out = p;
    return OK;
}

enum err policy_load(struct engine *e, const struct policy_source *source, struct policy **out,
                     struct load_message *message) {
    bool has_thin = source->thin.len > 0 && !source->require_full;
    if (message) message->text[0] = 0;
    enum err err = ERR_ABI;
    /* A thin module of another runtime is not an error as long as the full one stands beside it. */
    if (has_thin) err = load_one(e, source, source->thin, out, message);
    if (err == ERR_ABI && source->full.len > 0)
        err = load_one(e, source, source->full, out, message);
    else if (!has_thin)
        load_say(message, "no module given");
    if (!err && message) message->text[0] = 0; /* of the form that was passed over */
    if (!err && source->keep && (err = policy_keep(*out, source))) policy_release(*out);
    return err;
}
