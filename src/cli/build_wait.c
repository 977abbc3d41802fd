/* Waits for a build, with a progress bar on a terminal, and reports what failed.
 * in: a build's id. out: its last state, the errors of its jobs; a bar, lines for people.
 * owns: nothing. */
#include "base/clock.h"
#include "cli/changes.h"
#include <sys/stat.h>
#include <unistd.h>

enum {
    WAIT_S = 20,
    BAR_WAIT_S = 1,
    BAR_COLUMNS = 30,
    FAILURES_SHOWN = 50,
    POLL_ARENA_BYTES = 64 << 20
};

static bool is_over(const struct json *build) {
    struct str s = client_text(build, "status");
    return s.len && !str_is(s, "queued") && !str_is(s, "running");
}

static int64_t done_of(const struct json *b) {
    return client_number(b, "succeeded") + client_number(b, "unchanged") +
           client_number(b, "failed") + client_number(b, "superseded");
}

static void draw_bar(const struct json *b) {
    int64_t total = client_number(b, "total"), done = done_of(b),
            failed = client_number(b, "failed");
    int filled = total > 0 && done <= total ? (int)(done * BAR_COLUMNS / total) : 0;
    fprintf(stderr, "\r\033[K[");
    for (int i = 0; i < BAR_COLUMNS; i++) fputc(i < filled ? '=' : i == filled ? '>' : ' ', stderr);
    fprintf(stderr, "] %lld of %lld built", (long long)done, (long long)total);
    if (failed) fprintf(stderr, ", \033[31m%lld failed\033[0m", (long long)failed);
}

/* ---- what failed ---- */

struct failing {
    struct arena *arena;
    struct json *list;
    const char *dir;
};

static int add_failure(void *ctx, const struct json *job) {
    struct failing *f = ctx;
    const struct json *errors = json_get_c(job, "errors");
    struct json *one = json_object(f->arena), *kept;
    struct str tenant = client_text(job, "tenant");
    const char *name = arena_strndup(f->arena, tenant.ptr, tenant.len);
    json_set(f->arena, one, STR("tenant"), json_string(f->arena, (struct str){name, tenant.len}));
    kept = errors ? client_copy(f->arena, errors) : NULL;
    if (kept) errors_name_files(f->arena, kept, f->dir);
    json_set(f->arena, one, STR("errors"), kept ? kept : json_array(f->arena));
    json_push(f->arena, f->list, one);
    return EXIT_OK;
}

int build_wait(struct client *c, struct str id, const char *dir, struct json **build,
               struct json **failures) {
    bool bar = is_fancy(STDERR_FILENO);
    const char *at = client_escape(c->arena, id);
    struct json *state;
    int64_t seen = 0;
    *build = *failures = NULL;
    for (int64_t wait = 0;; wait = bar ? BAR_WAIT_S : WAIT_S) {
        struct client_call q = {.method = "GET", .timeout_ms = (WAIT_S + 40) * 1000};
        q.path =
            arena_printf(c->arena, NULL, "/v1/builds/%s?wait=%lld%s", at, (long long)wait,
                         bar ? arena_printf(c->arena, NULL, "&seen=%lld", (long long)seen) : "");
        int64_t began = clock_ms();
        int code = client_ask(c, &q);
        if (code) return code;
        state = q.reply;
        if (bar) draw_bar(state);
        if (is_over(state)) break;
        seen = done_of(state);
        if (wait && clock_ms() - began < 200)
            usleep(300000); /* one that does not wait is not flooded */
    }
    if (bar) fprintf(stderr, "\r\033[K");
    *failures = json_array(c->arena);
    struct failing f = {c->arena, *failures, dir};
    if (client_number(state, "failed") > 0) {
        int code =
            client_list(c, arena_printf(c->arena, NULL, "/v1/builds/%s/jobs?state=failed", at),
                        add_failure, &f);
        if (code) return code;
    }
    *build = state;
    return str_is(client_text(state, "status"), "done") ? EXIT_OK : EXIT_ERRORS;
}

/* ---- files as people know them ---- */

static bool is_there(struct arena *a, struct str path) {
    struct stat st;
    return lstat(arena_strndup(a, path.ptr, path.len), &st) == 0;
}

/* "tenants/acme/policy.rego" is DIR/policies/acme/policy.rego; a library of one file lies in
 * shared/ itself. What is not there stays as it is. */
static struct str real_file(struct arena *a, const char *dir, struct str file) {
    static const char *const folders[][2] = {
        {"templates/", "templates/"}, {"libraries/", "shared/"}, {"tenants/", "policies/"}};
    struct str out;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        struct str prefix = str_of(folders[i][0]);
        if (!str_starts(file, prefix) || memmem(file.ptr, file.len, "..", 2)) continue;
        struct str rest = str_from(file, prefix.len);
        const char *slash = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;
        out.ptr = arena_printf(a, &out.len, "%s/%s%.*s", dir, folders[i][1], STR_FMT(rest));
        if (is_there(a, out)) return out;
        if (i != 1 || !slash) continue;
        rest = str_from(rest, (size_t)(slash - rest.ptr) + 1);
        out.ptr = arena_printf(a, &out.len, "%s/%s%.*s", dir, folders[i][1], STR_FMT(rest));
        if (is_there(a, out)) return out;
    }
    return file;
}

void errors_name_files(struct arena *a, const struct json *errors, const char *dir) {
    for (uint32_t i = 0; dir && errors && errors->kind == JSON_ARRAY && i < errors->n; i++) {
        struct json *file = json_get_c(json_get_c(errors->items[i], "location"), "file");
        if (file && file->kind == JSON_STRING) file->text = real_file(a, dir, file->text);
    }
}

void build_report(const struct json *build, const struct json *failures) {
    struct str status = client_text(build, "status");
    for (uint32_t i = 0; i < failures->n && i < FAILURES_SHOWN; i++) {
        const struct json *one = failures->items[i], *errors = json_get_c(one, "errors");
        fprintf(stderr, "tenant ");
        client_print(stderr, client_text(one, "tenant"));
        fprintf(stderr, ":\n");
        client_print_errors(errors, "  ");
    }
    if (failures->n > FAILURES_SHOWN)
        fprintf(stderr, "… and %u more tenants\n", failures->n - FAILURES_SHOWN);
    printf("Build ");
    client_print(stdout, client_text(build, "id"));
    printf(" ");
    client_print(stdout, status);
    printf(": %lld built, %lld unchanged, %lld failed.\n",
           (long long)client_number(build, "succeeded"),
           (long long)client_number(build, "unchanged"), (long long)client_number(build, "failed"));
}
