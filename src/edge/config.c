/* The node's configuration: a tree of defaults, file, environment and flags, read through the table of keys.
 * in: a file, variables, overrides. out: struct edge_config, problems with their places. owns: the file's bytes while
 * they are parsed. */
#include "edge/config_keys.h"
#include <errno.h>
#include <stdio.h>

enum { MAX_VALUES = 1000000, MAX_DEPTH = 64, PATH_BYTES = 128 };

void edge_config_init(struct edge_config *c, struct arena *a) {
    *c = (struct edge_config){.arena = a, .log = {.fd = 2}};
    diag_list_init(&c->warnings, a);
    c->warnings.max_errors = 100;
    struct config_reader r = {c, a, &c->warnings};
    config_defaults(&r, "", c);
    c->limits = (struct tenant_limits){.deadline_us = 50000,
                                       .memory_bytes = 64 << 20,
                                       .input_bytes = 16 << 20,
                                       .output_bytes = 16 << 20,
                                       .compile_us = 30000000,
                                       .module_bytes = 64 << 20,
                                       .log_lines_per_second = 100};
    c->authz_path = c->authz_path.ptr ? c->authz_path : STR("");
}

/* ---- Texts ---- */
static const struct str *source_name(struct config_reader *r, struct str name) {
    struct str *s = ARENA_NEW(r->a, struct str);
    *s = (struct str){arena_strndup(r->a, name.ptr, name.len), name.len};
    return s;
}

/* What libyaml says, and what it hardly says: YAML knows no tabs. */
static void syntax_problem(struct config_reader *r, struct str text, const struct str *source, struct json_error e) {
    size_t at = 0;
    for (uint32_t row = 1; row < e.row && at < text.len; at++) row += text.ptr[at] == '\n';
    while (at < text.len && text.ptr[at] == ' ') at++;
    bool tab = at < text.len && text.ptr[at] == '\t';
    struct loc loc = {.file = *source, .row = e.row ? e.row : 1, .col = e.col ? e.col : 1};
    config_problem(r, loc, "%s%s", e.message ? e.message : "yaml: cannot be read",
                   tab ? " (YAML is indented with spaces, not with tabs)" : "");
}

static enum err text_read(struct config_reader *r, struct str text, const struct str *source, struct json **out) {
    struct yaml_options options = {.source = source,
                                   .duplicates = r->diags,
                                   .max_values = MAX_VALUES,
                                   .max_depth = MAX_DEPTH,
                                   .one_document = true};
    struct json_error error = {0};
    enum err e = yaml_read(r->a, text, &options, out, &error);
    if (e == ERR_SYNTAX) syntax_problem(r, text, source, error);
    return e;
}

/* *out stays as it is after a problem with the file. */
static enum err file_read(struct config_reader *r, const char *path, struct json **out) {
    const struct str *source = source_name(r, str_of(path));
    struct loc loc = {.file = *source, .row = 1, .col = 1};
    struct json *tree = NULL;
    struct buf b;
    jmp_buf *exhausted = r->a->exhausted; /* nothing may jump over the file's bytes */
    r->a->exhausted = NULL;
    buf_init(&b, EDGE_CONFIG_BYTES);
    errno = 0;
    enum err e = buf_read_file(&b, path);
    if (e == ERR_IO)
        diag_add(r->diags, DIAG_IO, (struct loc){0}, "cannot read %s: %s", path, strerror(errno));
    else if (e == ERR_LIMIT)
        config_problem(r, loc, "larger than %d MiB", EDGE_CONFIG_BYTES >> 20);
    else if (!e)
        e = text_read(r, buf_view(&b), source, &tree);
    buf_deinit(&b);
    r->a->exhausted = exhausted;
    if (e) return e == ERR_MEMORY ? e : ERR_DIAG;
    if (tree->kind == JSON_OBJECT)
        *out = tree;
    else if (tree->kind != JSON_NULL)
        config_problem(r, yaml_place(tree), "a configuration is a mapping, such as `tenants: {directory: node}`");
    return OK;
}

/* ---- Layers ---- */
/* Puts v at a key's path, over what is there. What is no mapping on the way stays: reading it says so. */
static void overlay(struct config_reader *r, struct json *tree, const char *path, struct json *v) {
    for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
        struct str name = {path, (size_t)(dot - path)};
        struct json *below = json_get(tree, name);
        if (!below) {
            below = yaml_object(r->a, ((const struct yaml_value *)v)->source);
            json_append(r->a, tree, name, below);
        }
        if (below->kind != JSON_OBJECT) return;
        tree = below;
    }
    json_set(r->a, tree, str_of(path), v);
}

/* The value that a variable's text has: lists and maps are YAML, text is taken as it is. */
static struct json *variable_value(struct config_reader *r, const struct config_key *k, struct str text,
                                   const struct str *source) {
    struct json *v = NULL;
    switch (k->kind) {
    case KEY_TEXT:
    case KEY_HEADER:
    case KEY_DECISION:
    case KEY_FILE:
    case KEY_URL:
    case KEY_LEVEL:
    case KEY_FORMAT:
    case KEY_SERVER:
    case KEY_FORM:
    case KEY_FULL: return yaml_string(r->a, text, source);
    case KEY_SWITCH:
    case KEY_COUNT:
    case KEY_TIME:
    case KEY_SIZE:
    case KEY_SHARE:
    case KEY_LIMITS: return yaml_scalar(r->a, text, source);
    case KEY_NAMES:
    case KEY_REQUIRED:
    case KEY_TEXTS:
    case KEY_ALGORITHMS:
    case KEY_SIGNERS:
    case KEY_PATHS:
    case KEY_DOORS:
    case KEY_HOSTS:
    case KEY_ADDRESSES:
    case KEY_LABELS:
    case KEY_RULES:
    case KEY_LISTENERS:
    case KEY_GROUPS:
    case KEY_HEADERS:
    case KEY_EVENTS:
    case KEY_HOST_NAMES:
    case KEY_SOURCES:
    case KEY_OVERRIDES: return text_read(r, text, source, &v) ? NULL : v;
    }
    return NULL;
}

/* The path of the key that a variable sets, in `path`; NULL: none. */
static const struct config_key *variable_key(struct str name, char path[PATH_BYTES]) {
    char variable[PATH_BYTES];
    for (uint32_t i = 0; i < n_config_keys; i++) {
        const struct config_key *k = &config_keys[i];
        if (strstr(k->path, "[]")) continue;
        snprintf(path, PATH_BYTES, "%s", k->path);
        config_key_variable(k->path, variable, sizeof variable);
        struct str v = str_of(variable);
        if (k->kind != KEY_LIMITS && str_eq(v, name)) return k;
        if (k->kind != KEY_LIMITS || !str_starts(name, v) || name.len <= v.len + 1 || name.ptr[v.len] != '_') continue;
        size_t n = strlen(path);
        path[n++] = '.';
        for (size_t at = v.len + 1; at < name.len && n < PATH_BYTES - 1; at++)
            path[n++] = name.ptr[at] >= 'A' && name.ptr[at] <= 'Z' ? (char)(name.ptr[at] + 32) : name.ptr[at];
        path[n] = 0;
        if (limits_known(str_of(strrchr(path, '.') + 1))) return k;
    }
    return NULL;
}

/* Kubernetes sets such variables for a service named regent-edge: they are no keys. */
static bool of_a_service(struct str rest) {
    return str_starts(rest, STR("SERVICE_")) || str_is(rest, "PORT") || str_starts(rest, STR("PORT_"));
}

static void overlay_variable(struct config_reader *r, struct json *tree, struct str entry) {
    static const struct str prefix = STR("REGENT_EDGE_");
    char path[PATH_BYTES];
    const char *equals = memchr(entry.ptr, '=', entry.len);
    if (!equals || !str_starts(entry, prefix)) return;
    struct str name = str_head(entry, (size_t)(equals - entry.ptr));
    if (of_a_service(str_from(name, prefix.len))) return;
    const struct str *source = source_name(r, name);
    const struct config_key *k = variable_key(name, path);
    if (!k) {
        config_unknown_variable(r, name, (struct loc){.file = *source, .row = 1, .col = 1});
        return;
    }
    struct str text = str_from(entry, name.len + 1);
    struct json *v = variable_value(r, k, (struct str){arena_strndup(r->a, text.ptr, text.len), text.len}, source);
    if (v) overlay(r, tree, arena_strndup(r->a, path, strlen(path)), v);
}

/* Where nothing else is said: OPA's port for REST, Envoy's customary one for gRPC, both for this machine only. */
static void overlay_defaults(struct config_reader *r, struct json *tree) {
    static const struct {
        const char *key, *text;
    } defaults[] = {
        {"listeners", "[{name: rest, address: '127.0.0.1:8181', doors: [rest, http_authz, health, metrics, status]},"
                      " {name: grpc, address: '127.0.0.1:9191', doors: [ext_authz]}]"},
        {"tenant_from", "[{context_extension: tenant_id},"
                        " {header: {name: x-tenant-id, trusted: [127.0.0.0/8, '::1', unix]}}]"},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        struct json *v = NULL;
        if (json_get_c(tree, defaults[i].key)) continue;
        if (text_read(r, str_of(defaults[i].text), source_name(r, STR("default")), &v) == OK)
            overlay(r, tree, defaults[i].key, v);
    }
}

/* A private key in a value: it would be printed, logged, listed by ps. */
static void refuse_secrets(struct config_reader *r, const struct json *v) {
    static const char mark[] = "PRIVATE KEY-----";
    if (v->kind == JSON_STRING && v->text.len && memmem(v->text.ptr, v->text.len, mark, sizeof mark - 1))
        config_problem(r, yaml_place(v),
                       "a private key does not belong here: put it into a file and give the file's path");
    for (uint32_t i = 0; i < v->n; i++) refuse_secrets(r, v->items[i]);
}

static enum err load(struct config_reader *r, const struct config_source *s) {
    struct json *tree = yaml_object(r->a, source_name(r, str_of(s->path ? s->path : "configuration")));
    enum err e = s->path ? file_read(r, s->path, &tree) : OK;
    if (e) return e;
    for (char *const *v = s->environment; v && *v; v++) overlay_variable(r, tree, str_of(*v));
    for (uint32_t i = 0; i < s->n_overrides; i++) overlay(r, tree, s->overrides[i].key, s->overrides[i].value);
    overlay_defaults(r, tree);
    refuse_secrets(r, tree);
    config_section_read(r, "", tree, r->c);
    config_check(r, tree);
    struct tenant_limits none = {0};
    r->c->limits = limits_strictest(r->c->limits, none); /* LIMIT_NONE becomes 0 */
    return OK;
}

enum err edge_config_load(const struct config_source *source, struct edge_config *c, struct diag_list *diags) {
    struct config_reader r = {c, c->arena, diags};
    uint32_t before = diags->n + diags->dropped;
    jmp_buf end, *saved = c->arena->exhausted;
    if (setjmp(end)) {
        c->arena->exhausted = saved;
        return ERR_MEMORY;
    }
    c->arena->exhausted = &end; /* all that reading makes lies in the arena (yaml_read guards its parser itself) */
    c->path = source->path ? arena_strndup(r.a, source->path, strlen(source->path)) : NULL;
    enum err e = load(&r, source);
    c->arena->exhausted = saved;
    diag_sort(diags);
    diag_sort(&c->warnings);
    return e ? e : diags->n + diags->dropped > before ? ERR_DIAG : OK;
}

enum err edge_config_read(const char *path, char *const *environment, struct edge_config *c, struct diag_list *diags) {
    struct config_source source = {.path = path, .environment = environment};
    return edge_config_load(&source, c, diags);
}
