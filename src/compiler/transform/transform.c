/* The transforms in their order, and running those that a request asks for.
 * in: c->plan, the request's level and names of disabled transforms. out: the plan, changed in
 * place. owns: nothing. */
#include "compiler/transform/transform.h"
#include "compiler/transform/passes.h"

struct transform {
    const char *name, *meaning;
    int level; /* of optimisation, from which on it runs */
    void (*run)(struct plan *p);
};

static const struct transform TRANSFORMS[] = {
    {"const", "ground literals become constants of the image", 1, pass_const},
    {"result", "rules assign to the return value directly", 1, pass_result},
    {"exit", "stop at the first success where others change nothing", 1, pass_exit},
    {"inline", "functions called in one place move there", 1, pass_inline},
    {"copy", "locals that only copy others are replaced", 1, pass_copy},
    {"project", "static paths of input and data become slots", 0, pass_project},
    {"prune", "functions and statements without effect go", 1, pass_prune},
};
enum { N_TRANSFORMS = sizeof TRANSFORMS / sizeof *TRANSFORMS };

/* Whether `name` is an item of a list with commas. */
static bool is_listed(const char *list, const char *name) {
    size_t len = strlen(name);
    for (const char *at = list; at && *at;) {
        size_t n = strcspn(at, ",");
        if (n == len && memcmp(at, name, n) == 0) return true;
        at += n + (at[n] == ',');
    }
    return false;
}

void transform_run(struct compile *c) {
    const struct compile_request *r = c->request;
    for (uint32_t i = 0; i < N_TRANSFORMS; i++)
        if (r->optimize >= TRANSFORMS[i].level &&
            !is_listed(r->disabled_transforms, TRANSFORMS[i].name))
            TRANSFORMS[i].run(c->plan);
}

bool transform_at(uint32_t i, const char **name, const char **meaning, int *level) {
    if (i >= N_TRANSFORMS) return false;
    *name = TRANSFORMS[i].name;
    *meaning = TRANSFORMS[i].meaning;
    *level = TRANSFORMS[i].level;
    return true;
}
