/* Inside of the host: what modules may import, by number, so that names are looked up once a module and not once a
 * sandbox. */
#ifndef REGENT_HOST_OFFERS_H
#define REGENT_HOST_OFFERS_H
#include "host/module.h"

enum { OFFER_MEMORY = 0, OFFER_ENV = 1, OFFER_NONE = UINT16_MAX };

/* Memory, then the functions of env, then the runtime's exported functions. */
struct offers {
    struct arena arena;
    struct str *names;
    uint32_t n, n_env;
    /* What its memory holds when it is new: these bytes at data_at, zeros elsewhere. */
    uint32_t data_at;
    struct str data;
    /* Its one mutable global is its stack pointer, and that is exported: setting memory and it back sets a sandbox
     * back. */
    bool resettable;
};

MUST_USE enum err offers_init(struct offers *o, struct str runtime);
void offers_deinit(struct offers *o);
/* Number of what an import names, or OFFER_NONE. */
uint16_t offers_find(const struct offers *o, const struct module_import *im);
static inline bool offer_is_env(const struct offers *o, uint16_t offer) {
    return offer >= OFFER_ENV && offer < OFFER_ENV + o->n_env;
}

#endif
