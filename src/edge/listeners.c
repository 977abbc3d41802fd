/* Open listeners and how they follow a configuration.
 * in: configurations. out: changes for loops to make. owns: records of listeners. */
#include "edge/listeners.h"
#include <stdio.h>
#include <stdlib.h>

enum { RECORD_BYTES = 16 << 20 };

struct open_listener {
    struct open_listener *next;
    struct edge_listener *record;
    bool wanted;
};

struct listeners {
    struct arena arena; /* records */
    struct open_listener *open;
    const struct inherited *inherited;
};

enum err listeners_new(const struct inherited *inherited, struct listeners **out) {
    struct listeners *l = calloc(1, sizeof *l);
    if (!l) return ERR_MEMORY;
    arena_init(&l->arena, RECORD_BYTES);
    l->inherited = inherited;
    *out = l;
    return OK;
}

void listeners_free(struct listeners *l) {
    if (!l) return;
    for (struct open_listener *o = l->open, *next; o; o = next) {
        next = o->next;
        free(o);
    }
    arena_deinit(&l->arena);
    free(l);
}

static const char *copy_text(struct arena *a, const char *s) { return s ? arena_strndup(a, s, strlen(s)) : NULL; }
static struct str copy_str(struct arena *a, struct str s) {
    return (struct str){arena_strndup(a, s.ptr ? s.ptr : "", s.len), s.len};
}

/* NULL: no memory. */
static struct edge_listener *record_new(struct arena *a, const struct edge_listener *from) {
    struct edge_listener *l = ARENA_NEW(a, struct edge_listener);
    if (!l) return NULL;
    *l = (struct edge_listener){.name = copy_str(a, from->name),
                                .address = copy_text(a, from->address),
                                .doors = from->doors,
                                .certificate = copy_text(a, from->certificate),
                                .key = copy_text(a, from->key),
                                .client_ca = copy_text(a, from->client_ca),
                                .require_client = from->require_client};
    for (uint32_t i = 0; i < from->tenants.n; i++) {
        struct str item = copy_str(a, from->tenants.items[i]);
        if (item.ptr) ARENA_PUSH(a, &l->tenants, item);
    }
    /* An empty list would let every tenant in. */
    return l->address && l->name.ptr && l->tenants.n == from->tenants.n ? l : NULL;
}

static bool same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same(const struct edge_listener *a, const struct edge_listener *b) {
    bool so = str_eq(a->name, b->name) && a->doors == b->doors && same_text(a->certificate, b->certificate) &&
              same_text(a->key, b->key) && same_text(a->client_ca, b->client_ca) &&
              a->require_client == b->require_client && a->tenants.n == b->tenants.n;
    for (uint32_t i = 0; so && i < a->tenants.n; i++) so = str_eq(a->tenants.items[i], b->tenants.items[i]);
    return so;
}

static struct open_listener *find(struct listeners *l, const char *address) {
    struct open_listener *o = l->open;
    while (o && strcmp(o->record->address, address) != 0) o = o->next;
    return o;
}

static enum err no_memory(char *why, size_t why_bytes) {
    snprintf(why, why_bytes, "%s", err_meaning(ERR_MEMORY));
    return ERR_MEMORY;
}

/* One listener of the configuration: what to do for it. */
static enum err plan_one(struct listeners *l, const struct edge_listener *want, bool ask,
                         struct listener_change *out, char *why, size_t why_bytes) {
    struct open_listener *there = find(l, want->address);
    const char *phrase = "";
    struct edge_listener *record = there && same(there->record, want) ? there->record : record_new(&l->arena, want);
    if (!record) return no_memory(why, why_bytes);
    *out = (struct listener_change){.kind = there ? LISTENER_CHANGE : LISTENER_ADD,
                                    .options = {.address = record->address, .ctx = record}};
    if (!there && ask && !inherited_has(l->inherited, want->address)) {
        enum err e = server_address_free(want->address, &phrase);
        if (e) return snprintf(why, why_bytes, "%s: %s", want->address, phrase), e;
    }
    if (!want->certificate) return OK;
    struct tls_options tls = {.certificate = want->certificate, .key = want->key, .client_ca = want->client_ca,
                              .require_client = want->require_client};
    return tls_context_new(&tls, &out->options.tls, why, why_bytes);
}

enum err listeners_plan(struct listeners *l, const struct edge_config *c, bool ask,
                        struct listener_changes *out, char *why, size_t why_bytes) {
    uint32_t n_open = 0;
    for (struct open_listener *o = l->open; o; o = o->next) {
        n_open++;
        o->wanted = false;
    }
    *out = (struct listener_changes){calloc(c->listeners.n + n_open + 1, sizeof *out->items), 0};
    if (!out->items) return no_memory(why, why_bytes);
    for (uint32_t i = 0; i < c->listeners.n; i++) {
        const struct edge_listener *want = &c->listeners.items[i];
        struct open_listener *there = find(l, want->address);
        if (there) there->wanted = true;
        enum err e = plan_one(l, want, ask, &out->items[out->n++], why, why_bytes);
        if (!e) continue;
        listeners_settle(l, out, false);
        return e;
    }
    for (struct open_listener *o = l->open; o; o = o->next)
        if (!o->wanted)
            out->items[out->n++] = (struct listener_change){
                .kind = LISTENER_REMOVE, .options = {.address = o->record->address, .ctx = o->record}};
    return OK;
}

void listeners_for_loop(struct listener_changes *changes, struct server *first, bool is_first) {
    for (uint32_t i = 0; i < changes->n; i++) {
        struct listen_options *o = &changes->items[i].options;
        o->accept_of = strncmp(o->address, "unix:", 5) == 0 && !is_first ? first : NULL;
    }
}

static void note(struct listeners *l, const struct listener_change *c) {
    struct edge_listener *record = (struct edge_listener *)(uintptr_t)c->options.ctx;
    struct open_listener **at = &l->open;
    while (*at && strcmp((*at)->record->address, record->address) != 0) at = &(*at)->next;
    if (c->kind == LISTENER_REMOVE) {
        struct open_listener *gone = *at;
        if (gone) *at = gone->next;
        free(gone);
        return;
    }
    if (!*at) *at = calloc(1, sizeof **at);
    if (*at) (*at)->record = record;
}

void listeners_settle(struct listeners *l, struct listener_changes *changes, bool done) {
    for (uint32_t i = 0; i < changes->n; i++) {
        const struct listener_change *c = &changes->items[i];
        if (c->options.tls) tls_context_release(c->options.tls);
        if (done) note(l, c);
    }
    free(changes->items);
    *changes = (struct listener_changes){0};
}
