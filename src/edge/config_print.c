/* The configuration in force, as JSON. in: struct edge_config. out: JSON in the file's own shape, without secrets.
 * owns: an arena while it prints. */
#include "edge/config_keys.h"
#include <arpa/inet.h>
#include <stdio.h>

enum { PRINT_ARENA_BYTES = 256 << 20 };

static struct json *text_json(struct arena *a, void (*print)(uint64_t, struct buf *), uint64_t value) {
    uint8_t space[64];
    struct buf b = {.ptr = space, .cap = sizeof space, .max = sizeof space};
    print(value, &b);
    return json_string(a, (struct str){arena_strndup(a, (char *)b.ptr, b.len), b.len});
}

static struct json *names_json(struct arena *a, const struct name_list *l) {
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < l->n; i++) json_push(a, list, json_string(a, l->items[i]));
    return l->n ? list : NULL;
}

static struct json *doors_json(struct arena *a, uint32_t doors) {
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < n_config_doors; i++)
        if (doors & 1u << i) json_push(a, list, json_string(a, str_of(config_doors[i])));
    return list;
}

static struct json *signers_json(struct arena *a, uint32_t algorithms) {
    static const char *const names[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
                                        "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"};
    struct json *list = json_array(a);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (algorithms & token_algorithm(str_of(names[i]))) json_push(a, list, json_string(a, str_of(names[i])));
    return algorithms ? list : NULL;
}

static struct json *paths_json(struct arena *a, const struct verify_patterns *p) {
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < p->n; i++) json_push(a, list, json_string(a, p->items[i]));
    return p->n ? list : NULL;
}

static struct json *hosts_json(struct arena *a, const struct tenant_rule *rule) {
    struct json *map = json_object(a);
    for (uint32_t i = 0; i < rule->map.n; i++)
        json_append(a, map, rule->map.items[i].host, json_string(a, rule->map.items[i].tenant));
    return rule->map.n ? map : NULL;
}

static struct json *ranges_json(struct arena *a, const struct tenant_rule *rule) {
    static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < rule->trusted.n; i++) {
        const struct address_range *range = &rule->trusted.items[i];
        char text[INET6_ADDRSTRLEN] = "";
        bool is4 = range->bits >= 96 && memcmp(range->ip, v4, sizeof v4) == 0;
        size_t len = 0;
        inet_ntop(is4 ? AF_INET : AF_INET6, range->ip + (is4 ? 12 : 0), text, sizeof text);
        char *shown = arena_printf(a, &len, "%s/%d", text, range->bits - (is4 ? 96 : 0));
        json_push(a, list, json_string(a, range->unix_socket ? STR("unix") : (struct str){shown, shown ? len : 0}));
    }
    return list;
}

static struct json *limits_json(struct arena *a, const struct tenant_limits *l) {
    struct json *v = NULL;
    struct buf b;
    buf_init(&b, 4096);
    limits_print(l, &b);
    char *copy = arena_strndup(a, (char *)b.ptr, b.len);
    if (copy && json_parse(a, (struct str){copy, b.len}, &v, NULL)) v = NULL;
    buf_deinit(&b);
    return v;
}

static struct json *overrides_json(struct arena *a, const struct edge_config *c) {
    struct json *map = json_object(a);
    for (uint32_t i = 0; i < c->overrides.n; i++)
        json_append(a, map, c->overrides.items[i].pattern, limits_json(a, &c->overrides.items[i].limits));
    return c->overrides.n ? map : NULL;
}

static struct json *section_json(struct arena *a, const char *prefix, const void *owner);

static struct json *rules_json(struct arena *a, const struct edge_config *c) {
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < c->tenant_from.n; i++) {
        const struct tenant_rule *rule = &c->tenant_from.items[i];
        char prefix[64];
        struct str word = str_of(config_rule_word(rule->kind));
        const struct config_key *k = config_key_find("tenant_from[].", word);
        struct json *item = json_object(a);
        snprintf(prefix, sizeof prefix, "tenant_from[].%s.", word.ptr);
        if (k)
            json_set(a, item, word,
                     json_string(a, *(const struct str *)(const void *)((const char *)rule + k->offset)));
        else
            json_set(a, item, word, section_json(a, prefix, rule));
        json_push(a, list, item);
    }
    return list;
}

static struct json *listeners_json(struct arena *a, const struct edge_config *c) {
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < c->listeners.n; i++) {
        struct json *item = section_json(a, "listeners[].", &c->listeners.items[i]);
        bool plain = item && item->n && !c->listeners.items[i].certificate;
        if (plain && str_is(item->keys[item->n - 1], "tls")) item->n--;
        json_push(a, list, item);
    }
    return list;
}

static struct json *groups_json(struct arena *a, const struct edge_config *c) {
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < c->groups.n; i++) json_push(a, list, section_json(a, "groups[].", &c->groups.items[i]));
    return c->groups.n ? list : NULL;
}

static struct json *share_json(struct arena *a, uint32_t millionths) {
    size_t n = 0;
    char *text = arena_printf(a, &n, "%g", millionths / 1e6);
    return text ? json_number(a, (struct str){text, n}) : NULL;
}

static struct json *events_json(struct arena *a, const struct edge_config *c) {
    struct json *map = json_object(a);
    for (uint32_t i = 0; i < c->decision_log.tenants.n; i++) {
        const struct event_override *o = &c->decision_log.tenants.items[i];
        struct json *item = json_object(a);
        json_set(a, item, STR("enabled"), json_bool(a, o->enabled));
        if (o->sample != EVENTS_AS_ALL) json_set(a, item, STR("sample"), share_json(a, o->sample));
        if (o->max_per_second != EVENTS_AS_ALL)
            json_set(a, item, STR("max_per_second"), json_int(a, o->max_per_second));
        json_append(a, map, o->pattern, item);
    }
    return c->decision_log.tenants.n ? map : NULL;
}

/* Each with the section of its own kind only. */
static struct json *sources_json(struct arena *a, const struct edge_config *c) {
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < c->sources.n; i++) {
        const struct edge_source *s = &c->sources.items[i];
        struct json *all = section_json(a, "sources[].", s), *item = json_object(a);
        for (uint32_t k = 0; all && item && k < all->n; k++) {
            bool of_kind = all->items[k]->kind != JSON_OBJECT || str_is(all->keys[k], config_source_word(s->kind)) ||
                           str_is(all->keys[k], "signature");
            if (of_kind) json_append(a, item, all->keys[k], all->items[k]);
        }
        json_push(a, list, item);
    }
    return c->sources.n ? list : NULL;
}

static struct json *string_json(struct arena *a, struct str s) { return s.len ? json_string(a, s) : NULL; }

/* A URL without what may be a secret in its query. */
static struct json *url_json(struct arena *a, const char *url) {
    return url ? json_string(a, str_head(str_of(url), strcspn(url, "?#"))) : NULL;
}

/* NULL: not given, nothing to show. */
static struct json *value_json(struct arena *a, const struct config_key *k, const void *owner) {
    const void *field = (const char *)owner + k->offset;
    switch (k->kind) {
    case KEY_TEXT:
    case KEY_HEADER:
    case KEY_DECISION: return string_json(a, *(const struct str *)field);
    case KEY_FILE: return string_json(a, str_of(*(const char *const *)field));
    case KEY_URL: return url_json(a, *(const char *const *)field);
    case KEY_SWITCH: return json_bool(a, *(const bool *)field);
    case KEY_COUNT: return json_int(a, *(const uint32_t *)field);
    case KEY_TIME: return text_json(a, limits_print_time, *(const uint64_t *)field);
    case KEY_SIZE: return *(const uint64_t *)field ? text_json(a, limits_print_size, *(const uint64_t *)field) : NULL;
    case KEY_NAMES:
    case KEY_REQUIRED:
    case KEY_TEXTS:
    case KEY_ALGORITHMS: return names_json(a, field);
    case KEY_SIGNERS: return signers_json(a, *(const uint32_t *)field);
    case KEY_PATHS: return paths_json(a, field);
    case KEY_DOORS: return doors_json(a, *(const uint32_t *)field);
    case KEY_HOSTS: return hosts_json(a, owner);
    case KEY_ADDRESSES: return ranges_json(a, owner);
    case KEY_LEVEL: {
        enum log_level level = *(const enum log_level *)field;
        return json_string(a, str_of(level == LOG_WARN ? "warn" : log_level_word(level)));
    }
    case KEY_FORMAT: return json_string(a, str_of(*(const int *)field ? "json" : "text"));
    case KEY_LABELS: return *(struct json *const *)field;
    case KEY_LIMITS: return limits_json(a, field);
    case KEY_RULES: return rules_json(a, owner);
    case KEY_LISTENERS: return listeners_json(a, owner);
    case KEY_GROUPS: return groups_json(a, owner);
    case KEY_OVERRIDES: return overrides_json(a, owner);
    case KEY_HEADERS: return names_json(a, field);
    case KEY_SHARE: return share_json(a, *(const uint32_t *)field);
    case KEY_FULL: return json_string(a, str_of(*(const bool *)field ? "wait" : "drop"));
    case KEY_EVENTS: return events_json(a, owner);
    case KEY_SERVER: return url_json(a, *(const char *const *)field);
    case KEY_HOST_NAMES: return names_json(a, field);
    case KEY_FORM: return json_string(a, *(const bool *)field ? STR("module") : STR("bundle"));
    case KEY_SOURCES: return sources_json(a, owner);
    }
    return NULL;
}

/* Keys below prefix, nested as in the file. */
static struct json *section_json(struct arena *a, const char *prefix, const void *owner) {
    struct json *top = json_object(a);
    size_t n = strlen(prefix);
    for (uint32_t i = 0; i < n_config_keys; i++) {
        const struct config_key *k = &config_keys[i];
        const char *path = k->path + n, *dot;
        if (strncmp(k->path, prefix, n) != 0 || strstr(path, "[]")) continue;
        struct json *v = value_json(a, k, owner), *into = top;
        for (; v && into && (dot = strchr(path, '.')); path = dot + 1) {
            struct str name = {path, (size_t)(dot - path)};
            if (!json_get(into, name)) json_set(a, into, name, json_object(a));
            into = json_get(into, name);
        }
        if (v && into) json_set(a, into, str_of(path), v);
    }
    return top;
}

/* A service without an address is none; its defaults would read as one. */
static void hide_service(struct json *log) {
    for (uint32_t i = 0; log && i < log->n; i++) {
        if (!str_is(log->keys[i], "service") || json_get_c(log->items[i], "url")) continue;
        for (log->n--; i < log->n; i++) log->items[i] = log->items[i + 1], log->keys[i] = log->keys[i + 1];
    }
}

void edge_config_print(const struct edge_config *c, struct buf *out) {
    struct arena a;
    arena_init(&a, PRINT_ARENA_BYTES);
    struct json *v = section_json(&a, "", c);
    if (v) hide_service(json_get_c(v, "decision_log"));
    if (v)
        json_print(v, false, 0, out);
    else
        buf_cstr(out, "{}");
    arena_deinit(&a);
}
