/* Inside of the host: one loaded version of a tenant's policy. */
#ifndef REGENT_HOST_POLICY_H
#define REGENT_HOST_POLICY_H
#include "base/arena.h"
#include "host/builtins/builtin.h"
#include "host/engine.h"
#include "host/module.h"
#include "image/image.h"

struct policy_entry {
    struct str name;
    int32_t id;
};
/* A builtin that the module calls by this id. */
struct policy_builtin {
    int32_t id;
    const struct host_builtin *builtin;
};

/* Immutable once policy_load has returned it. */
struct policy {
    /* What each evaluation reads, its first 256 bytes: */
    struct engine *engine;
    uint64_t id;         /* never used again: what pools look instances up by */
    atomic_uint handles; /* policy_acquire; at 0 it is retired: pools drop its instances */
    atomic_uint uses;    /* handles > 0 counts as one, each instance as one */
    struct code *code, *base; /* base: the runtime (thin) or the memory module */
    enum module_form form;
    uint32_t heap_base;          /* ours */
    uint64_t memory_pages;       /* that the module asks for */
    struct {
        struct policy_entry *items;
        uint32_t n, cap;
    } entries; /* item i has id i */
    struct image segments, data; /* ours: what lies at the start of each instance's memory */
    /* The rest: */
    struct arena arena;  /* data text, what is kept */
    struct arena *loading; /* what only loading needs; NULL afterwards */
    void *lists;           /* entries, builtins, names: one block */
    struct {
        struct policy_builtin *items;
        uint32_t n, cap;
    } builtins;
    struct str data_text;        /* OPA's: JSON that each instance parses once */
    struct str name;
    struct policy_stats stats;
    uint64_t input_mark; /* policy_input_mark */
    bool is_kept;
    struct kept_source kept; /* in arena */
};

void policy_use(struct policy *p); /* an instance holds it */
void policy_unuse(struct policy *p);
static inline bool policy_retired(struct policy *p) {
    return atomic_load_explicit(&p->handles, memory_order_relaxed) == 0;
}
/* keep.c: copies modules and data into the policy's arena. ERR_MEMORY. */
MUST_USE enum err policy_keep(struct policy *p, const struct policy_source *source);
const struct host_builtin *policy_find_builtin(const struct policy *p, int32_t id);

/* load_image.c: lays out segments and data, fills p->segments, p->data, p->heap_base, entries and
 * builtins from the module's header. */
MUST_USE enum err policy_build_image(struct policy *p, const struct module_info *info,
                                     const struct json *data, struct load_message *message);
/* {"name":id,…} into p->entries or p->builtins (policy.c). ERR_ABI. */
MUST_USE enum err policy_set_entries(struct policy *p, struct str json,
                                     struct load_message *message);
MUST_USE enum err policy_set_builtins(struct policy *p, struct str json,
                                      struct load_message *message);

#endif
