/* Keeps what linking the runtime came to, for the next compile that calls the same functions of it.
 * in: the functions that the plan's code calls. out: the link, the same as without. owns: nothing;
 * the compile's cache does.
 *
 * Which part of the runtime a module has depends on these functions alone, so that the key is their
 * names in order. */
#include "compiler/compile_cache.h"
#include "compiler/wasm/link.h"

static void put_key(const struct emit *e, struct buf *out) {
    buf_clear(out);
    for (uint32_t i = 0; i < e->imports.n; i++) {
        buf_cstr(out, e->imports.items[i].name);
        buf_byte(out, ' ');
    }
}

/* Links into the cache's arena, which jumps as the compile's does. */
static const struct link *link_new(struct emit *e, struct compile_cache *k, struct str key) {
    struct arena *own = e->arena;
    struct link *l = ARENA_NEW(&k->arena, struct link);
    key.ptr = arena_strndup(&k->arena, key.ptr, key.len);
    e->arena = &k->arena;
    link_runtime(e, l);
    e->arena = own;
    if (e->failed) return NULL;
    buf_clear(&e->section);
    link_code(l, &e->section, &e->scratch);
    if (e->section.err || e->scratch.err) return l;
    l->code = (struct str){arena_copy(&k->arena, e->section.ptr, e->section.len), e->section.len};
    table_set(&k->links, key, l);
    return l;
}

const struct link *link_find(struct emit *e, struct link *own) {
    struct compile_cache *k = e->c->cache;
    if (!k || e->proxy) {
        link_runtime(e, own);
        return e->failed ? NULL : own;
    }
    compile_cache_make_room(k);
    put_key(e, &e->scratch);
    const struct link *l = e->scratch.err ? NULL : table_get(&k->links, buf_view(&e->scratch));
    if (l) return l;
    k->arena.exhausted = e->c->arena.exhausted;
    k->torn = true;
    l = link_new(e, k, buf_view(&e->scratch));
    k->torn = false;
    k->arena.exhausted = NULL;
    return l;
}
