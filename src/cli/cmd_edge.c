/* regent edge: serves the tenants of a folder. in: flags. out: decisions over REST and ext_authz.
 * owns: nothing. */
#include "cli/cli.h"
#include "edge/edge.h"
#include <stdio.h>
#include <unistd.h>

static const char *text_of(struct arena *a, struct str s) {
    return s.len ? arena_strndup(a, s.ptr, s.len) : NULL;
}

static char *lower(struct arena *a, struct str s) {
    char *p = arena_strndup(a, s.ptr, s.len);
    for (size_t i = 0; i < s.len; i++)
        if (p[i] >= 'A' && p[i] <= 'Z') p[i] = (char)(p[i] + 32);
    return p;
}

static bool level_of(struct str word, enum log_level *out) {
    if (str_is(word, "warn")) return *out = LOG_WARN, true;
    for (*out = LOG_DEBUG; *out <= LOG_ERROR; ++*out)
        if (str_is(word, log_level_word(*out))) return true;
    return false;
}

int cmd_edge(struct arena *a, int argc, char **argv) {
    struct str directory = {0}, rest = STR("127.0.0.1:8181"), grpc = STR("127.0.0.1:9191"),
               level = STR("info");
    struct str header = STR("x-tenant-id"), authz = {"", 0}, cache = {0}, format = {0};
    int64_t threads = 0, poll_ms = 0, deadline_ms = 50, memory_mb = 64;
    bool fresh = false, share = false;
    enum log_level log_level;
    struct str_list others;
    int code;
    const struct option_spec specs[] = {
        {"directory", 'd', OPTION_TEXT, &directory, "DIR",
         "folder that holds tenants/ID/bundle.tar.gz"},
        {"rest-addr", 0, OPTION_TEXT, &rest, "ADDR",
         "REST door (default 127.0.0.1:8181; `none` closes it)"},
        {"grpc-addr", 0, OPTION_TEXT, &grpc, "ADDR",
         "ext_authz door (default 127.0.0.1:9191, unix:PATH, `none`)"},
        {"tenant-header", 0, OPTION_TEXT, &header, "NAME",
         "header that names the tenant (default x-tenant-id)"},
        {"authz-path", 0, OPTION_TEXT, &authz, "PATH",
         "decision for ext_authz (default: the bundle's first entrypoint)"},
        {"code-cache", 0, OPTION_TEXT, &cache, "DIR", "folder for compiled code (default: none)"},
        {"threads", 0, OPTION_NUMBER, &threads, "N", "event loops (default: one a core)"},
        {"poll-ms", 0, OPTION_NUMBER, &poll_ms, "MS",
         "how often the folder is looked at (default 500)"},
        {"deadline-ms", 0, OPTION_NUMBER, &deadline_ms, "MS",
         "limit of one evaluation (default 50)"},
        {"memory-mb", 0, OPTION_NUMBER, &memory_mb, "MB",
         "memory limit of one instance (default 64)"},
        {"fresh-instances", 0, OPTION_BOOL, &fresh, NULL, "a new instance for each request"},
        {"share-ports", 0, OPTION_BOOL, &share, NULL, "start beside a node that listens there already"},
        {"log-level", 0, OPTION_TEXT, &level, "LEVEL", "debug, info (default), warn or error"},
        {"log-format", 0, OPTION_TEXT, &format, "FORMAT", "json, or text (default at a terminal)"},
        {0},
    };
    if (!command_options(a, "edge --directory DIR [flags]", specs, argc, argv, &others, &code))
        return code;
    if (others.n) return fail("unexpected argument: %.*s", STR_FMT(others.items[0]));
    if (!directory.len)
        return fail("--directory is required: a folder that holds tenants/ID/bundle.tar.gz");
    if (deadline_ms <= 0 || memory_mb <= 0 || threads < 0 || poll_ms < 0)
        return fail("--deadline-ms, --memory-mb, --threads and --poll-ms take positive numbers");
    if (!header.len) return fail("--tenant-header wants the name of a header");
    if (!level_of(level, &log_level)) return fail("--log-level is debug, info, warn or error");
    while (authz.len && *authz.ptr == '/') authz = str_from(authz, 1);
    struct edge_options o = {
        .directory = text_of(a, directory),
        .rest_address = str_is(rest, "none") ? NULL : text_of(a, rest),
        .grpc_address = str_is(grpc, "none") ? NULL : text_of(a, grpc),
        .tenant_header = lower(a, header),
        .authz_path = authz.len ? text_of(a, authz) : "",
        .cache_dir = text_of(a, cache),
        .threads = (uint32_t)threads,
        .poll_ms = (uint32_t)poll_ms,
        .limits = {.deadline_us = (uint64_t)deadline_ms * 1000,
                   .memory_bytes = (uint64_t)memory_mb << 20},
        .fresh_instances = fresh,
        .share_ports = share,
        .log = {.fd = 2,
                .level = log_level,
                .json = str_is(format, "json") || (!format.len && !isatty(2))},
    };
    return edge_run(&o) == OK ? EXIT_OK : EXIT_FAILED;
}
