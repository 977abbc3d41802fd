/* What no key of the configuration shows alone. in: a configuration that was read. out: problems, warnings.
 * owns: nothing. */
#include "edge/config_keys.h"
#include <stdio.h>

static bool is_default(struct loc loc) { return str_is(loc.file, "default"); }

/* ---- Listeners ---- */
static bool is_unix(const struct edge_listener *l) { return strncmp(l->address, "unix:", 5) == 0; }

static bool is_local(const struct edge_listener *l) {
    return is_unix(l) || strncmp(l->address, "127.", 4) == 0 || strncmp(l->address, "[::1]", 5) == 0;
}

/* What listeners there are, as far as rules depend on it. */
struct ways {
    bool ext_authz, client_ca, unix_socket, tcp;
};

static struct ways ways_of(const struct edge_config *c) {
    struct ways w = {0};
    for (uint32_t i = 0; i < c->listeners.n; i++) {
        const struct edge_listener *l = &c->listeners.items[i];
        if (!l->address) continue;
        w.ext_authz = w.ext_authz || (l->doors & DOOR_EXT_AUTHZ);
        w.client_ca = w.client_ca || l->client_ca;
        w.unix_socket = w.unix_socket || is_unix(l);
        w.tcp = w.tcp || !is_unix(l);
    }
    return w;
}

static void check_listeners(struct config_reader *r) {
    struct table shapes, names;
    table_init(&shapes, r->a);
    table_init(&names, r->a);
    for (uint32_t i = 0; i < r->c->listeners.n; i++) {
        struct edge_listener *l = &r->c->listeners.items[i], *same;
        char shape[CONFIG_SHAPE_BYTES];
        if (!l->address || config_address_wrong(l->address, shape)) continue;
        struct str key = {arena_strndup(r->a, shape, strlen(shape)), strlen(shape)};
        if (key.len && (same = table_get(&shapes, key)))
            config_problem(r, l->loc, "two listeners on %s: the other is at %u:%u; one may have several doors",
                           l->address, same->loc.row, same->loc.col);
        else if (key.len)
            table_set(&shapes, key, l);
        if ((same = table_get(&names, l->name)) && !str_eq(l->name, str_of(l->address)))
            config_problem(r, l->loc, "two listeners are called \"%.*s\": the other is at %u:%u", STR_FMT(l->name),
                           same->loc.row, same->loc.col);
        table_set(&names, l->name, l);
    }
}

/* Names and figures of all tenants are for those who run the node. */
static void check_pages(struct config_reader *r) {
    for (uint32_t i = 0; i < r->c->listeners.n; i++) {
        const struct edge_listener *l = &r->c->listeners.items[i];
        char shape[CONFIG_SHAPE_BYTES];
        if (!l->address || config_address_wrong(l->address, shape)) continue;
        if ((l->doors & (DOOR_METRICS | DOOR_STATUS)) && !is_local(l) && !l->require_client)
            config_warning(r, l->loc,
                           "whoever reaches %s sees the names and figures of all tenants: give `metrics` and `status` "
                           "a listener of their own, on a private address or with tls.client_ca",
                           l->address);
    }
}

/* Whoever may call ext_authz may say anything in a CheckRequest. */
static void check_callers(struct config_reader *r) {
    const struct edge_config *c = r->c;
    bool by_extension = false;
    for (uint32_t i = 0; i < c->tenant_from.n; i++)
        by_extension = by_extension || c->tenant_from.items[i].kind == TENANT_BY_EXTENSION;
    for (uint32_t i = 0; i < c->listeners.n && by_extension; i++) {
        const struct edge_listener *l = &c->listeners.items[i];
        if (l->address && (l->doors & DOOR_EXT_AUTHZ) && !is_local(l) && !l->require_client)
            config_warning(r, l->loc,
                           "whoever reaches %s may ask for any tenant by a context extension: let Envoy alone "
                           "reach it, by tls.client_ca or a Unix socket",
                           l->address);
    }
}

/* ---- Rules ---- */
static const char *never_works(const struct tenant_rule *rule, struct ways w) {
    bool sockets = false, ranges = false;
    switch (rule->kind) {
    case TENANT_BY_EXTENSION:
        return w.ext_authz ? NULL : "this rule can never work: no listener has the door ext_authz";
    case TENANT_BY_CERTIFICATE:
        return w.client_ca || w.ext_authz ? NULL
                                          : "this rule can never work: no listener has tls.client_ca, so no client's "
                                            "certificate is ever checked";
    case TENANT_BY_HEADER:
        for (uint32_t i = 0; i < rule->trusted.n; i++) {
            sockets = sockets || rule->trusted.items[i].unix_socket;
            ranges = ranges || !rule->trusted.items[i].unix_socket;
        }
        if (sockets && !ranges && !w.unix_socket)
            return "this rule can never work: Unix sockets alone are trusted, and no listener is one";
        if (ranges && !sockets && !w.tcp)
            return "this rule can never work: all listeners are Unix sockets, and `trusted` does not name `unix`";
        return NULL;
    case TENANT_BY_JWT:
    case TENANT_BY_HOST:
    case TENANT_BY_PATH: return NULL;
    }
    return NULL;
}

static void check_rules(struct config_reader *r, const struct json *tree) {
    const struct json *given = json_get_c(tree, "tenant_from");
    struct ways w = ways_of(r->c);
    if (given && given->kind == JSON_ARRAY && !given->n)
        config_problem(r, yaml_place(given), "no rule: no request would have a tenant");
    for (uint32_t i = 0; i < r->c->tenant_from.n; i++) {
        const struct tenant_rule *rule = &r->c->tenant_from.items[i];
        const char *why = is_default(rule->loc) ? NULL : never_works(rule, w);
        if (why) config_problem(r, rule->loc, "%s", why);
    }
}

/* ---- Patterns ---- */
static bool has_star(struct str s) { return s.len && (*s.ptr == '*' || s.ptr[s.len - 1] == '*'); }

/* Does `wide` match every name that `narrow` matches? */
static bool covers(struct str wide, struct str narrow) {
    if (!has_star(narrow)) return name_matches(wide, narrow);
    if (!has_star(wide)) return false;
    if (wide.len == 1) return true;
    bool wide_end = wide.ptr[wide.len - 1] == '*', narrow_end = narrow.ptr[narrow.len - 1] == '*';
    if (wide_end != narrow_end || narrow.len == 1) return false;
    return wide_end ? str_starts(str_head(narrow, narrow.len - 1), str_head(wide, wide.len - 1))
                    : str_ends(str_from(narrow, 1), str_from(wide, 1));
}

/* The first limit that both set; NULL: none. */
static const char *common_limit(const struct tenant_limits *a, const struct tenant_limits *b) {
#define LIMIT(identifier, name, unit, meaning)                                                                         \
    if (a->identifier && b->identifier) return name;
#include "bundle/limits.def"
#undef LIMIT
    return NULL;
}

static void check_overrides(struct config_reader *r) {
    struct edge_config *c = r->c;
    table_init(&c->override_index, c->arena);
    for (uint32_t i = 0; i < c->overrides.n; i++) {
        const struct tenant_override *o = &c->overrides.items[i];
        for (uint32_t k = 0; k < c->override_patterns.n; k++) {
            const struct tenant_override *before = &c->overrides.items[c->override_patterns.items[k]];
            const char *limit = covers(before->pattern, o->pattern) ? common_limit(&before->limits, &o->limits) : NULL;
            if (!limit) continue;
            config_problem(r, o->loc,
                           "%s of \"%.*s\" never applies: \"%.*s\" at %u:%u comes first and sets it for the same "
                           "tenants; put the narrower name above",
                           limit, STR_FMT(o->pattern), STR_FMT(before->pattern), before->loc.row, before->loc.col);
            break;
        }
        if (has_star(o->pattern))
            ARENA_PUSH(c->arena, &c->override_patterns, i);
        else
            table_set(&c->override_index, o->pattern, (void *)(uintptr_t)(i + 1));
    }
}

static const struct worker_group *group_before(const struct edge_config *c, uint32_t group, struct str pattern) {
    for (uint32_t i = 0; i < group; i++)
        for (uint32_t k = 0; k < c->groups.items[i].tenants.n; k++)
            if (covers(c->groups.items[i].tenants.items[k], pattern)) return &c->groups.items[i];
    return NULL;
}

static void check_groups(struct config_reader *r) {
    const struct edge_config *c = r->c;
    uint32_t patterns = 0;
    for (uint32_t i = 0; i < c->groups.n; i++) {
        const struct worker_group *g = &c->groups.items[i], *same;
        patterns += g->tenants.n;
        for (uint32_t k = 0; k < g->tenants.n && patterns <= 10000; k++)
            if ((same = group_before(c, i, g->tenants.items[k])))
                config_problem(r, g->loc, "\"%.*s\" is in the group \"%.*s\" already, which comes first",
                               STR_FMT(g->tenants.items[k]), STR_FMT(same->name));
        for (uint32_t k = 0; k < i; k++)
            if (str_eq(c->groups.items[k].name, g->name))
                config_problem(r, g->loc, "two groups are called \"%.*s\"", STR_FMT(g->name));
    }
    if (patterns > 10000)
        config_problem(r, c->groups.items[0].loc,
                       "groups have more than 10000 names in all: use patterns such as \"free-*\"");
}

/* ---- The rest ---- */
static struct loc place_of(const struct json *tree, const char *section, const char *key) {
    const struct json *s = json_get_c(tree, section), *v = json_get_c(s, key);
    return v ? yaml_place(v) : s ? yaml_key_place(s) : yaml_place(tree);
}

static void check_prefix(struct config_reader *r, const struct json *tree) {
    static const char *const taken[] = {"/v0", "/v1", "/health", "/metrics"};
    struct str p = r->c->http_authz_prefix;
    struct loc loc = place_of(tree, "authz", "http_prefix");
    if (p.len < 2 || p.ptr[0] != '/' || p.ptr[p.len - 1] == '/' || memchr(p.ptr, '?', p.len))
        config_problem(r, loc,
                       "http_prefix is a path such as /authz: it begins with a slash and does not end with one");
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        struct str t = str_of(taken[i]);
        if (str_starts(p, t) && (p.len == t.len || p.ptr[t.len] == '/'))
            config_problem(r, loc, "http_prefix %.*s hides paths of the door rest: choose another", STR_FMT(p));
    }
}

static void check_directory(struct config_reader *r, const struct json *tree) {
    const struct json *tenants = json_get_c(tree, "tenants");
    struct loc loc = place_of(tree, "tenants", "directory");
    if (r->c->directory)
        config_folder_check(r, r->c->directory, loc);
    else if (!json_get_c(tenants, "directory") && (!tenants || tenants->kind == JSON_OBJECT) &&
             !json_get_c(tree, "sources"))
        config_problem(r, loc,
                       "`tenants.directory` is missing, the folder that holds tenants/ID/bundle.tar.gz; or say in "
                       "`sources` where policies are fetched");
}

static void check_decision_log(struct config_reader *r, const struct json *tree) {
    const struct decision_log_config *c = &r->c->decision_log;
    const struct json *log = json_get_c(tree, "decision_log"), *service = json_get_c(log, "service");
    if (!log || log->kind != JSON_OBJECT) return;
    if (c->min_delay_us > c->max_delay_us)
        config_problem(r, place_of(log, "service", "min_delay"), "min_delay is longer than max_delay");
    if (service && service->kind == JSON_OBJECT && !json_get_c(service, "url"))
        config_problem(r, yaml_key_place(service), "service wants `url`: where decisions are sent");
    if (c->resource.len && *c->resource.ptr != '/')
        config_problem(r, place_of(log, "service", "resource"), "resource is a path: it begins with a slash");
    if (c->token_file) config_file_check(r, c->token_file, true, place_of(log, "service", "token_file"));
    if (c->ca_file) config_file_check(r, c->ca_file, false, place_of(log, "service", "ca_file"));
    bool given = json_get_c(log, "file") || json_get_c(log, "console") || service;
    if (!given)
        config_warning(r, yaml_key_place(log), "nothing is logged: give `file`, `console` or `service.url`");
}

static void check_signature(struct config_reader *r, const struct json *tree) {
    config_signature_check(r, &r->c->verify, json_get_c(json_get_c(tree, "tenants"), "signature"));
}

static void check_takeover(struct config_reader *r, const struct json *tree) {
    char shape[CONFIG_SHAPE_BYTES];
    const char *at = r->c->takeover;
    if (!at) return;
    if (strncmp(at, "unix:/", 6) != 0 || config_address_wrong(at, shape))
        config_problem(r, place_of(tree, "node", "takeover"),
                       "node.takeover is the absolute path of a Unix socket, such as unix:/run/regent/takeover.sock");
}

void config_check(struct config_reader *r, const struct json *tree) {
    check_decision_log(r, tree);
    check_directory(r, tree);
    check_signature(r, tree);
    check_listeners(r);
    check_callers(r);
    check_pages(r);
    check_rules(r, tree);
    check_overrides(r);
    check_groups(r);
    check_prefix(r, tree);
    check_takeover(r, tree);
    config_admin_check(r, tree);
}
