/* regent edge: serves tenants as edge.yaml, the environment and flags say, or checks what they say.
 * in: flags, a file, variables. out: decisions; with --check, problems. owns: nothing. */
#include "base/yaml.h"
#include "cli/cli.h"
#include "edge/edge.h"
#include <stdio.h>
#include <unistd.h>

/* Flags as they were given; ptr NULL, or NOT_GIVEN: not at all. */
struct flags {
    struct str config, directory, rest, grpc, header, trusted, authz, cache, level, log_format, format, takeover;
    int64_t threads, poll_ms, deadline_ms, memory_mb;
    bool fresh, share, check;
};
#define NOT_GIVEN INT64_MIN
enum { MAX_OVERRIDES = 16, MAX_SHOWN = 100 };

struct overrides {
    struct arena *arena;
    struct config_override items[MAX_OVERRIDES];
    uint32_t n;
};

static struct str *named(struct arena *a, const char *name) {
    struct str *s = ARENA_NEW(a, struct str);
    if (s) *s = str_of(name);
    return s;
}

static void add(struct overrides *o, const char *key, struct json *value) {
    if (value && o->n < MAX_OVERRIDES) o->items[o->n++] = (struct config_override){key, value};
}

static void add_text(struct overrides *o, const char *flag, const char *key, struct str text) {
    if (text.ptr) add(o, key, yaml_string(o->arena, text, named(o->arena, flag)));
}

static void add_number(struct overrides *o, const char *flag, const char *key, int64_t number, const char *unit) {
    size_t len = 0;
    char *text = arena_printf(o->arena, &len, "%lld%s", (long long)number, unit);
    if (number != NOT_GIVEN && text) add(o, key, yaml_scalar(o->arena, (struct str){text, len}, named(o->arena, flag)));
}

static void add_switch(struct overrides *o, const char *flag, const char *key, bool value, int argc, char **argv) {
    size_t n = strlen(flag);
    for (int i = 0; i < argc; i++)
        if (strncmp(argv[i], flag, n) == 0 && (!argv[i][n] || argv[i][n] == '='))
            add(o, key, yaml_scalar(o->arena, str_of(value ? "true" : "false"), named(o->arena, flag)));
}

/* ---- Listeners and rules, which several flags make ---- */
static struct json *words(struct arena *a, struct str list, const struct str *source) {
    struct json *out = yaml_array(a, source);
    while (list.len) {
        const char *comma = memchr(list.ptr, ',', list.len);
        struct str word = str_head(list, comma ? (size_t)(comma - list.ptr) : list.len);
        list = str_from(list, word.len + (comma != NULL));
        while (word.len && *word.ptr == ' ') word = str_from(word, 1);
        json_push(a, out, yaml_string(a, word, source));
    }
    return out;
}

static void push_listener(struct arena *a, struct json *list, const char *name, struct str address, const char *doors,
                          const struct str *source) {
    struct json *l = yaml_object(a, source);
    if (str_is(address, "none")) return;
    json_set(a, l, STR("name"), yaml_string(a, str_of(name), source));
    json_set(a, l, STR("address"), yaml_string(a, address, source));
    json_set(a, l, STR("doors"), words(a, str_of(doors), source));
    json_push(a, list, l);
}

/* --rest-addr and --grpc-addr replace a file's listeners; without a file the one that is not given has its default. */
static void add_listeners(struct overrides *o, const struct flags *f) {
    struct str rest = f->rest, grpc = f->grpc;
    struct arena *a = o->arena;
    if (!rest.ptr && !grpc.ptr) return;
    struct str *by_rest = named(a, rest.ptr ? "--rest-addr" : "default");
    struct str *by_grpc = named(a, grpc.ptr ? "--grpc-addr" : "default");
    if (!rest.ptr) rest = f->config.ptr ? STR("none") : STR("127.0.0.1:8181");
    if (!grpc.ptr) grpc = f->config.ptr ? STR("none") : STR("127.0.0.1:9191");
    struct json *list = yaml_array(a, f->rest.ptr ? by_rest : by_grpc);
    push_listener(a, list, "rest", rest, "rest,http_authz,health,metrics,status", by_rest);
    push_listener(a, list, "grpc", grpc, "ext_authz", by_grpc);
    add(o, "listeners", list);
}

/* --tenant-header and --trusted-proxies replace a file's rules. */
static void add_rules(struct overrides *o, const struct flags *f) {
    struct arena *a = o->arena;
    if (!f->header.ptr && !f->trusted.ptr) return;
    struct str *by_header = named(a, f->header.ptr ? "--tenant-header" : "default");
    struct str *by_trusted = named(a, f->trusted.ptr ? "--trusted-proxies" : "default"),
               *by_default = named(a, "default");
    struct json *list = yaml_array(a, by_header), *extension = yaml_object(a, by_default);
    struct json *rule = yaml_object(a, by_header), *header = yaml_object(a, by_header);
    json_set(a, extension, STR("context_extension"), yaml_string(a, STR("tenant_id"), by_default));
    json_set(a, header, STR("name"), yaml_string(a, f->header.ptr ? f->header : STR("x-tenant-id"), by_header));
    json_set(a, header, STR("trusted"),
             words(a, f->trusted.ptr ? f->trusted : STR("127.0.0.0/8,::1,unix"), by_trusted));
    json_set(a, rule, STR("header"), header);
    json_push(a, list, extension);
    json_push(a, list, rule);
    add(o, "tenant_from", list);
}

static void add_all(struct overrides *o, const struct flags *f, int argc, char **argv) {
    add_text(o, "--directory", "tenants.directory", f->directory);
    add_number(o, "--poll-ms", "tenants.poll", f->poll_ms == 0 ? NOT_GIVEN : f->poll_ms, "ms");
    add_text(o, "--authz-path", "authz.path", f->authz);
    add_text(o, "--code-cache", "node.code_cache", f->cache);
    add_number(o, "--threads", "node.threads", f->threads, "");
    add_number(o, "--deadline-ms", "limits.default.deadline", f->deadline_ms, "ms");
    add_number(o, "--memory-mb", "limits.default.memory", f->memory_mb, "MiB");
    add_switch(o, "--fresh-instances", "node.fresh_instances", f->fresh, argc, argv);
    add_switch(o, "--share-ports", "node.share_ports", f->share, argc, argv);
    add_text(o, "--takeover", "node.takeover", f->takeover);
    add_text(o, "--log-level", "log.level", f->level);
    add_text(o, "--log-format", "log.format", f->log_format);
    add_listeners(o, f);
    add_rules(o, f);
}

/* ---- The command ---- */
static void warn(const struct diag_list *warnings) {
    for (uint32_t i = 0; i < warnings->n; i++) {
        const struct diag *d = &warnings->items[i];
        fprintf(stderr, "warning: %.*s:%u:%u: %.*s\n", STR_FMT(d->loc.file), d->loc.row, d->loc.col,
                STR_FMT(d->message));
    }
}

static void log_warnings(const struct edge_config *c) {
    for (uint32_t i = 0; i < c->warnings.n; i++) {
        const struct diag *d = &c->warnings.items[i];
        char place[512], why[1024];
        snprintf(place, sizeof place, "%.*s:%u:%u", STR_FMT(d->loc.file), d->loc.row, d->loc.col);
        snprintf(why, sizeof why, "%.*s", STR_FMT(d->message));
        log_line(&c->log, LOG_WARN, "configuration", "place", place, "reason", why, NULL);
    }
}

static enum err read_again(void *ctx, struct edge_config *c, struct diag_list *diags) {
    enum err e = edge_config_load(ctx, c, diags);
    if (!e) log_warnings(c);
    return e;
}

static bool read_flags(struct arena *a, struct flags *f, int argc, char **argv, int *code) {
    struct str_list others;
    const struct option_spec specs[] = {
        {"config", 'c', OPTION_TEXT, &f->config, "FILE", "edge.yaml; the environment wins over it, flags over both"},
        {"check", 0, OPTION_BOOL, &f->check, NULL, "only say what is wrong with the configuration"},
        {"format", 'f', OPTION_TEXT, &f->format, "FORMAT", "of --check: pretty (default) or json"},
        {"directory", 'd', OPTION_TEXT, &f->directory, "DIR", "folder that holds tenants/ID/bundle.tar.gz"},
        {"rest-addr", 0, OPTION_TEXT, &f->rest, "ADDR", "REST door (default 127.0.0.1:8181; `none` closes it)"},
        {"grpc-addr", 0, OPTION_TEXT, &f->grpc, "ADDR", "ext_authz door (default 127.0.0.1:9191, unix:PATH, `none`)"},
        {"tenant-header", 0, OPTION_TEXT, &f->header, "NAME", "header that names the tenant (default x-tenant-id)"},
        {"trusted-proxies", 0, OPTION_TEXT, &f->trusted, "LIST",
         "who may send it: addresses, ranges, unix (default 127.0.0.0/8,::1,unix)"},
        {"authz-path", 0, OPTION_TEXT, &f->authz, "PATH",
         "decision for ext_authz (default: the bundle's first entrypoint)"},
        {"code-cache", 0, OPTION_TEXT, &f->cache, "DIR", "folder for compiled code (default: none)"},
        {"threads", 0, OPTION_NUMBER, &f->threads, "N", "event loops (default: one a core)"},
        {"poll-ms", 0, OPTION_NUMBER, &f->poll_ms, "MS", "how often the folder is looked at (default 500)"},
        {"deadline-ms", 0, OPTION_NUMBER, &f->deadline_ms, "MS", "limit of one evaluation (default 50)"},
        {"memory-mb", 0, OPTION_NUMBER, &f->memory_mb, "MB", "memory limit of one instance (default 64)"},
        {"fresh-instances", 0, OPTION_BOOL, &f->fresh, NULL, "a new instance for each request"},
        {"share-ports", 0, OPTION_BOOL, &f->share, NULL, "start beside a node that listens there already"},
        {"takeover", 0, OPTION_TEXT, &f->takeover, "unix:PATH",
         "take the sockets of the node there over, and give them to the next one"},
        {"log-level", 0, OPTION_TEXT, &f->level, "LEVEL", "debug, info (default), warn or error"},
        {"log-format", 0, OPTION_TEXT, &f->log_format, "FORMAT", "json, or text (default at a terminal)"},
        {0},
    };
    if (!command_options(a, "edge [--config FILE] [--directory DIR] [flags]", specs, argc, argv, &others, code))
        return false;
    *code = EXIT_FAILED;
    if (others.n) return fail("unexpected argument: %.*s", STR_FMT(others.items[0])), false;
    if (f->format.ptr && !str_is(f->format, "json") && !str_is(f->format, "pretty"))
        return fail("--format is pretty or json"), false;
    const int64_t numbers[] = {f->threads, f->poll_ms, f->deadline_ms, f->memory_mb};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i] != NOT_GIVEN && numbers[i] < 0)
            return fail("--deadline-ms, --memory-mb, --threads and --poll-ms take positive numbers"), false;
    return true;
}

int cmd_edge(struct arena *a, int argc, char **argv) {
    struct flags f = {.threads = NOT_GIVEN, .poll_ms = NOT_GIVEN, .deadline_ms = NOT_GIVEN, .memory_mb = NOT_GIVEN};
    struct overrides overrides = {.arena = a};
    struct edge_config c;
    struct diag_list diags;
    int code;
    if (!read_flags(a, &f, argc, argv, &code)) return code;
    add_all(&overrides, &f, argc, argv);
    struct config_source source = {.path = f.config.ptr ? arena_strndup(a, f.config.ptr, f.config.len) : NULL,
                                   .environment = environ,
                                   .overrides = overrides.items,
                                   .n_overrides = overrides.n};
    edge_config_init(&c, a);
    diag_list_init(&diags, a);
    diags.max_errors = MAX_SHOWN;
    enum err e = edge_config_load(&source, &c, &diags);
    if (e && !diags.n) return fail("the configuration cannot be read: %s", err_meaning(e));
    if (e) {
        warn(&c.warnings);
        return report_errors(&diags, str_is(f.format, "json"), EXIT_FAILED);
    }
    if (f.check) {
        warn(&c.warnings);
        return EXIT_OK;
    }
    log_never_wait(c.log.fd);
    log_warnings(&c);
    const struct edge_reload reload = {.ctx = &source, .read = read_again};
    return edge_run(&c, &reload) == OK ? EXIT_OK : EXIT_FAILED;
}
