/* Lists of the configuration: rules, listeners, groups, limits. in: values with places. out: items, problems.
 * owns: nothing. */
#include "edge/config_keys.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/un.h>

enum { MAX_ITEMS = 1000, MAX_OVERRIDES = 100000, MAX_PATTERNS = 1000, MAX_SEGMENTS = 32 };

static bool is_list_of_mappings(struct config_reader *r, const char *key, const struct json *v) {
    struct config_key shown = {.path = key};
    if (v->kind != JSON_ARRAY) {
        config_wants(r, &shown, v, "a list: lines that begin with `- `");
        return false;
    }
    if (v->n > MAX_ITEMS) config_problem(r, yaml_place(v), "`%s` has more than %d items", key, MAX_ITEMS);
    return v->n <= MAX_ITEMS;
}

static bool is_mapping(struct config_reader *r, const char *key, const struct json *v) {
    struct config_key shown = {.path = key};
    if (v->kind != JSON_OBJECT) config_wants(r, &shown, v, "mappings as items");
    return v->kind == JSON_OBJECT;
}

/* ---- Rules ---- */
static const struct rule_word {
    const char *word, *prefix;
    enum tenant_rule_kind kind;
} rule_words[] = {
    {"context_extension", NULL, TENANT_BY_EXTENSION},
    {"client_certificate", NULL, TENANT_BY_CERTIFICATE},
    {"jwt", "tenant_from[].jwt.", TENANT_BY_JWT},
    {"host", "tenant_from[].host.", TENANT_BY_HOST},
    {"path", NULL, TENANT_BY_PATH},
    {"header", "tenant_from[].header.", TENANT_BY_HEADER},
};
enum { N_RULES = sizeof rule_words / sizeof *rule_words };

const char *config_rule_word(enum tenant_rule_kind kind) {
    for (uint32_t i = 0; i < N_RULES; i++)
        if (rule_words[i].kind == kind) return rule_words[i].word;
    return "";
}

/* What is wrong with a text that has to have {tenant} once, and something beside it. */
static const char *pattern_wrong(enum tenant_rule_kind kind, struct str s) {
    static const char mark[] = "{tenant}";
    enum { MARK = sizeof mark - 1 };
    const char *at = memmem(s.ptr, s.len, mark, MARK);
    if (!at) return "{tenant} has to stand where the tenant's id is";
    const char *behind = at + MARK, *end = s.ptr + s.len;
    uint32_t slashes = 0;
    if (memmem(behind, (size_t)(end - behind), mark, MARK)) return "{tenant} may stand once only";
    switch (kind) {
    case TENANT_BY_CERTIFICATE:
        if (str_starts(s, STR("dns:"))) return s.len > 4 + MARK ? NULL : "say which names: dns:{tenant}.example.com";
        if (!memmem(s.ptr, (size_t)(at - s.ptr), "://", 3))
            return "it begins with a URI's scheme or with dns:, such as spiffe://example.com/tenant/{tenant}";
        return NULL;
    case TENANT_BY_HOST:
        if (s.len == MARK) return "say which hosts: {tenant}.example.com";
        return memchr(s.ptr, '/', s.len) || memchr(s.ptr, ':', s.len) ? "neither port nor path belongs to a host name"
                                                                      : NULL;
    case TENANT_BY_PATH:
        if (*s.ptr != '/') return "a path begins with /";
        if (s.ptr[s.len - 1] == '/' || memmem(s.ptr, s.len, "//", 2))
            return "it has no empty segments: no // and no / at its end";
        for (size_t i = 0; i < s.len; i++) slashes += s.ptr[i] == '/';
        if (slashes > MAX_SEGMENTS) return "it has more segments than any path of a policy";
        if (at[-1] != '/' || (behind < end && *behind != '/'))
            return "{tenant} has to be a whole segment, as in /t/{tenant}";
        return memchr(s.ptr, '?', s.len) || memchr(s.ptr, '%', s.len)
                   ? "it is compared with the decoded path, without query"
                   : NULL;
    case TENANT_BY_EXTENSION:
    case TENANT_BY_JWT:
    case TENANT_BY_HEADER: return NULL;
    }
    return NULL;
}

static void check_pattern(struct config_reader *r, const struct tenant_rule *rule, const struct json *v) {
    const struct json *place = v->kind == JSON_OBJECT && json_get_c(v, "pattern") ? json_get_c(v, "pattern") : v;
    const char *wrong = rule->pattern.len ? pattern_wrong(rule->kind, rule->pattern) : NULL;
    if (wrong) config_problem(r, yaml_place(place), "\"%.*s\": %s", STR_FMT(str_head(rule->pattern, 64)), wrong);
}

static bool shared_secret(const struct name_list *algorithms) {
    for (uint32_t i = 0; i < algorithms->n; i++)
        if (str_starts(algorithms->items[i], STR("HS"))) return true;
    return false;
}

/* What a rule lacks, that its keys do not show one by one. `given`: its value. */
static void check_rule(struct config_reader *r, const struct tenant_rule *rule, const struct json *given) {
    struct loc loc = rule->loc;
    switch (rule->kind) {
    case TENANT_BY_EXTENSION: break;
    case TENANT_BY_CERTIFICATE:
    case TENANT_BY_PATH: check_pattern(r, rule, given); break;
    case TENANT_BY_HOST:
        check_pattern(r, rule, given);
        if (given->kind == JSON_OBJECT && !json_get_c(given, "map") == !json_get_c(given, "pattern"))
            config_problem(r, loc, "host wants either `map` or `pattern`");
        break;
    case TENANT_BY_JWT:
        if (!json_get_c(given, "claim")) config_problem(r, loc, "jwt wants `claim`: the claim that names the tenant");
        if (!json_get_c(given, "keys_file") == !json_get_c(given, "jwks_url"))
            config_problem(r, loc, "jwt wants either `keys_file` or `jwks_url`");
        if (rule->jwks_url && shared_secret(&rule->algorithms))
            config_problem(r, loc,
                           "HS256, HS384 and HS512 use a shared secret: it comes from `keys_file`, not from a URL");
        if (rule->keys_file)
            config_token_keys_check(r, rule, shared_secret(&rule->algorithms),
                                    yaml_place(json_get_c(given, "keys_file")));
        if (!rule->issuer.len && !rule->audience.len)
            config_warning(r, loc,
                           "every token that these keys signed is accepted, whatever it was made for: "
                           "set `issuer` and `audience`");
        break;
    case TENANT_BY_HEADER:
        if (!json_get_c(given, "name")) config_problem(r, loc, "header wants `name`");
        if (!json_get_c(given, "trusted") ||
            (given = json_get_c(given, "trusted"), given->kind == JSON_ARRAY && !given->n))
            config_problem(r, loc,
                           "nobody may send this header: list the proxies that set it in `trusted`, such as "
                           "[127.0.0.0/8, unix]");
        break;
    }
}

static void rule_read(struct config_reader *r, const struct json *item) {
    struct tenant_rule rule = {.loc = yaml_place(item)};
    const struct rule_word *word = NULL;
    const struct json *given = NULL;
    for (uint32_t i = 0; i < item->n; i++)
        for (uint32_t k = 0; k < N_RULES; k++) {
            if (!str_is(item->keys[i], rule_words[k].word)) continue;
            if (word)
                config_problem(r, yaml_key_place(item->items[i]),
                               "a rule is of one kind: `%s` needs an item (`- `) of its own", rule_words[k].word);
            else
                word = &rule_words[k], given = item->items[i];
        }
    if (!word) {
        for (uint32_t i = 0; i < item->n; i++)
            config_unknown_key(r, "tenant_from[].", item->keys[i], yaml_key_place(item->items[i]));
        if (!item->n) config_problem(r, rule.loc, "an empty rule");
        return;
    }
    rule.kind = word->kind;
    rule.loc = yaml_key_place(given);
    uint32_t before = r->diags->n + r->diags->dropped;
    if (word->prefix) config_defaults(r, word->prefix, &rule);
    if (word->kind == TENANT_BY_HOST && given->kind == JSON_STRING) {
        config_set(r, config_key_find("tenant_from[].host.", STR("pattern")), given, &rule);
        for (uint32_t i = 0; i < item->n; i++)
            if (item->items[i] != given)
                config_unknown_key(r, "tenant_from[].", item->keys[i], yaml_key_place(item->items[i]));
    } else {
        config_section_read(r, "tenant_from[].", item, &rule);
    }
    bool whole = !word->prefix || given->kind == JSON_OBJECT || word->kind == TENANT_BY_HOST;
    if (r->diags->n + r->diags->dropped != before) return;
    if (rule.kind == TENANT_BY_HOST && rule.pattern.len) rule.pattern = config_lower(r, rule.pattern);
    if (whole) check_rule(r, &rule, given);
    if (r->diags->n + r->diags->dropped == before) ARENA_PUSH(r->a, &r->c->tenant_from, rule);
}

void config_rules_read(struct config_reader *r, const struct json *v) {
    if (!is_list_of_mappings(r, "tenant_from", v)) return;
    for (uint32_t i = 0; i < v->n; i++)
        if (is_mapping(r, "tenant_from", v->items[i])) rule_read(r, v->items[i]);
}

/* ---- Listeners ---- */
static const char *unix_wrong(const char *path) {
    if (!path[0] || (path[0] == '@' && !path[1])) return "want unix:PATH or unix:@NAME";
    return strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path ? "the path is too long for a socket" : NULL;
}

const char *config_address_wrong(const char *address, char shape[CONFIG_SHAPE_BYTES]) {
    char host[64];
    struct in6_addr v6;
    struct in_addr v4;
    shape[0] = 0;
    if (strncmp(address, "unix:", 5) == 0) {
        snprintf(shape, CONFIG_SHAPE_BYTES, "%s", address);
        return unix_wrong(address + 5);
    }
    const char *colon = strrchr(address, ':');
    if (!colon) return "want IP:PORT, [IPv6]:PORT, unix:PATH or unix:@NAME; the port is missing";
    unsigned long port = 0;
    for (const char *c = colon + 1; *c; c++) {
        if (*c < '0' || *c > '9' || port > 65535) return "the port is no number from 0 to 65535";
        port = port * 10 + (unsigned long)(*c - '0');
    }
    if (!colon[1] || port > 65535) return "the port is no number from 0 to 65535";
    size_t n = (size_t)(colon - address);
    if (n >= sizeof host) return "the host has to be an IP address: names are not looked up";
    memcpy(host, address, n);
    host[n] = 0;
    bool brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';
    if (brackets) memmove(host, host + 1, n - 2), host[n - 2] = 0;
    char text[INET6_ADDRSTRLEN] = "0.0.0.0";
    if (brackets ? inet_pton(AF_INET6, host, &v6) != 1 : n && inet_pton(AF_INET, host, &v4) != 1)
        return inet_pton(AF_INET6, host, &v6) == 1 ? "an IPv6 address stands in brackets: [::1]:8181"
                                                   : "the host has to be an IP address: names are not looked up";
    if (brackets)
        inet_ntop(AF_INET6, &v6, text, sizeof text);
    else if (n)
        inet_ntop(AF_INET, &v4, text, sizeof text);
    if (port) snprintf(shape, CONFIG_SHAPE_BYTES, "%s|%lu", text, port);
    return NULL;
}

/* A client's certificate is required by default as soon as there is a client_ca. */
static void check_tls(struct config_reader *r, const struct edge_listener *l, const struct json *tls) {
    if (!l->certificate || !l->key) config_problem(r, yaml_key_place(tls), "tls wants both `certificate` and `key`");
    if (l->require_client && !l->client_ca)
        config_problem(r, yaml_key_place(json_get_c(tls, "require_client_certificate")),
                       "client certificates can be checked with `client_ca` only: say who may vouch for them");
    else if (l->certificate && l->key)
        config_tls_check(r, l, tls);
}

static void listener_read(struct config_reader *r, const struct json *item) {
    struct edge_listener l = {.loc = yaml_place(item)};
    char shape[CONFIG_SHAPE_BYTES];
    uint32_t before = r->diags->n + r->diags->dropped;
    const struct json *tls = json_get_c(item, "tls"), *address = json_get_c(item, "address");
    config_defaults(r, "listeners[].", &l);
    config_section_read(r, "listeners[].", item, &l);
    const char *wrong = l.address ? config_address_wrong(l.address, shape) : NULL;
    if (!address)
        config_problem(r, l.loc, "a listener wants `address`, such as 127.0.0.1:8181 or unix:/run/regent.sock");
    if (wrong) config_problem(r, yaml_place(address), "address \"%.64s\": %s", l.address, wrong);
    if (!l.doors && r->diags->n + r->diags->dropped == before)
        config_problem(r, l.loc,
                       "a listener without doors answers nothing: add `doors`, such as [rest, health, metrics]");
    if (!l.client_ca && !json_get_c(tls, "require_client_certificate")) l.require_client = false;
    if (tls && tls->kind == JSON_OBJECT && r->diags->n + r->diags->dropped == before) check_tls(r, &l, tls);
    if (!l.name.len && l.address) l.name = str_of(l.address);
    ARENA_PUSH(r->a, &r->c->listeners, l);
}

void config_listeners_read(struct config_reader *r, const struct json *v) {
    if (!is_list_of_mappings(r, "listeners", v)) return;
    if (!v->n) config_problem(r, yaml_place(v), "no listener: nothing could be asked");
    for (uint32_t i = 0; i < v->n; i++)
        if (is_mapping(r, "listeners", v->items[i])) listener_read(r, v->items[i]);
}

/* ---- Groups and limits ---- */
void config_groups_read(struct config_reader *r, const struct json *v) {
    if (!is_list_of_mappings(r, "groups", v)) return;
    for (uint32_t i = 0; i < v->n; i++) {
        struct worker_group g = {.loc = yaml_place(v->items[i])};
        if (!is_mapping(r, "groups", v->items[i])) continue;
        uint32_t before = r->diags->n + r->diags->dropped;
        config_defaults(r, "groups[].", &g);
        config_section_read(r, "groups[].", v->items[i], &g);
        bool fine = r->diags->n + r->diags->dropped == before;
        if (fine && !g.name.len) config_problem(r, g.loc, "a group wants `name`");
        if (fine && !g.tenants.n) config_problem(r, g.loc, "a group wants `tenants`, such as [\"free-*\"]");
        ARENA_PUSH(r->a, &r->c->groups, g);
    }
}

static void unknown_limit(struct config_reader *r, struct str name, struct loc loc) {
    static const char *const names[] = {
#define LIMIT(identifier, name, unit, meaning) name,
#include "bundle/limits.def"
#undef LIMIT
    };
    enum { N = sizeof names / sizeof *names };
    char all[256];
    size_t at = 0;
    const char *meant = word_meant(name, names, N);
    for (uint32_t i = 0; i < N && at < sizeof all; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", names[i]);
    if (meant)
        config_problem(r, loc, "unknown limit `%.*s`: did you mean `%s`?", STR_FMT(str_head(name, 64)), meant);
    else
        config_problem(r, loc, "unknown limit `%.*s`: there are %s", STR_FMT(str_head(name, 64)), all);
}

void config_limits_read(struct config_reader *r, const char *path, const struct json *v, struct tenant_limits *out) {
    struct config_key shown = {.path = path};
    char why[256];
    if (v->kind != JSON_OBJECT) {
        config_wants(r, &shown, v, "a mapping of limits, such as {deadline: 50ms, memory: 64MiB}");
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        if (!limits_known(v->keys[i]))
            unknown_limit(r, v->keys[i], yaml_key_place(item));
        else if (limits_read_one(v->keys[i], item, out, why, sizeof why))
            config_problem(r, yaml_place(item), "%s", why);
        else if (str_is(v->keys[i], "memory") && out->memory_bytes < 1 << 20)
            config_problem(r, yaml_place(item), "memory: no sandbox fits into less than 1MiB");
    }
}

static bool has_star(struct str s) { return s.len && (*s.ptr == '*' || s.ptr[s.len - 1] == '*'); }

void config_overrides_read(struct config_reader *r, const struct json *v) {
    const struct config_key *k = config_key_find("limits.", STR("tenants"));
    uint32_t patterns = 0;
    if (v->kind != JSON_OBJECT) {
        config_wants(r, k, v, "a mapping from tenants or patterns to limits");
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) patterns += has_star(v->keys[i]);
    if (v->n > MAX_OVERRIDES || patterns > MAX_PATTERNS) {
        config_problem(r, yaml_place(v), "limits.tenants has more than %d entries, or more than %d with `*`",
                       MAX_OVERRIDES, MAX_PATTERNS);
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        struct tenant_override o = {.pattern = v->keys[i], .loc = yaml_key_place(v->items[i])};
        if (!config_tenant_name(r, o.pattern, true, o.loc)) continue;
        config_limits_read(r, arena_strndup(r->a, o.pattern.ptr, o.pattern.len), v->items[i], &o.limits);
        ARENA_PUSH(r->a, &r->c->overrides, o);
    }
}

/* ---- Decision log ---- */
void config_events_read(struct config_reader *r, const struct json *v) {
    if (v->kind != JSON_OBJECT) {
        config_wants(r, config_key_find("decision_log.", STR("tenants")), v,
                     "a mapping from tenants or patterns to what differs for them");
        return;
    }
    if (v->n > MAX_PATTERNS) {
        config_problem(r, yaml_place(v), "decision_log.tenants has more than %d entries", MAX_PATTERNS);
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        struct event_override o = {.pattern = v->keys[i], .sample = EVENTS_AS_ALL, .max_per_second = EVENTS_AS_ALL,
                                   .loc = yaml_key_place(v->items[i])};
        if (!config_tenant_name(r, o.pattern, true, o.loc)) continue;
        if (!is_mapping(r, "decision_log.tenants", v->items[i])) continue;
        config_defaults(r, "decision_log.tenants[].", &o);
        config_section_read(r, "decision_log.tenants[].", v->items[i], &o);
        ARENA_PUSH(r->a, &r->c->decision_log.tenants, o);
    }
}
