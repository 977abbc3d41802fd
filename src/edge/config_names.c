/* Names with a `*`, and which limits hold for a tenant. in: patterns, ids. out: yes or no, limits. owns: nothing. */
#include "edge/config.h"

bool name_matches(struct str pattern, struct str name) {
    if (pattern.len && pattern.ptr[pattern.len - 1] == '*') return str_starts(name, str_head(pattern, pattern.len - 1));
    if (pattern.len && pattern.ptr[0] == '*') return str_ends(name, str_from(pattern, 1));
    return str_eq(pattern, name);
}

bool name_list_has(const struct name_list *l, struct str name) {
    for (uint32_t i = 0; i < l->n; i++)
        if (name_matches(l->items[i], name)) return true;
    return l->n == 0;
}

/* Overrides with a `*` are few; those without are found by name, wherever they stand among the others. */
struct tenant_limits edge_config_limits(const struct edge_config *c, struct str tenant, struct tenant_limits own) {
    struct tenant_limits replaced = {0};
    uintptr_t exact = (uintptr_t)table_get(&c->override_index, tenant);
    for (uint32_t i = 0; i < c->override_patterns.n || exact; i++) {
        uint32_t at = i < c->override_patterns.n ? c->override_patterns.items[i] : UINT32_MAX;
        if (exact && exact - 1 < at) {
            replaced = limits_replaced(c->overrides.items[exact - 1].limits, replaced);
            exact = 0;
        }
        if (at != UINT32_MAX && name_matches(c->overrides.items[at].pattern, tenant))
            replaced = limits_replaced(c->overrides.items[at].limits, replaced);
    }
    for (uint32_t i = 0; i < c->overrides.n && !c->override_index.n && !c->override_patterns.n; i++)
        if (name_matches(c->overrides.items[i].pattern, tenant))
            replaced = limits_replaced(c->overrides.items[i].limits, replaced);
    return limits_strictest(limits_replaced(c->limits, replaced), own);
}
