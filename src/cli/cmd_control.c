/* regent control: runs a control plane as flags, the environment and a file say; or prints another
 * one-time token. in: flags, REGENT_CONTROL_*, YAML. out: a running control plane, or what is wrong
 * with what it was told. owns: nothing. */
#include "base/yaml.h"
#include "cli/cli.h"
#include "control/api_private.h"
#include "control/schema.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_BYTES = 1 << 20, MAX_SHOWN = 100, DEFAULT_KEY_BYTES = 4096 };
#define DEFAULT_FOLDER "regent-data"
#define NOT_GIVEN INT64_MIN

/* What can be told: by a flag, by the variable REGENT_CONTROL_NAME, by a member of the file. */
struct told {
    struct str store, blobs, addr, tls_cert, tls_key, client_ca, public_url, cdn_url, reload_token,
        log_level, log_format;
    struct str_list keys, purges, reloads;
    int64_t threads, lease_ms, max_waiting, max_waiting_token;
    bool manually, manually_given;
    /* flags alone */
    struct str config;
    bool check, new_token, routes;
};

enum kind { TEXT, LIST, NUMBER, SWITCH };

static const struct member {
    const char *name;
    enum kind kind;
    size_t at;
} members[] = {
    {"store", TEXT, offsetof(struct told, store)},
    {"blobs", TEXT, offsetof(struct told, blobs)},
    {"addr", TEXT, offsetof(struct told, addr)},
    {"tls-cert", TEXT, offsetof(struct told, tls_cert)},
    {"tls-key", TEXT, offsetof(struct told, tls_key)},
    {"client-ca", TEXT, offsetof(struct told, client_ca)},
    {"public-url", TEXT, offsetof(struct told, public_url)},
    {"cdn-url", TEXT, offsetof(struct told, cdn_url)},
    {"signing-key", LIST, offsetof(struct told, keys)},
    {"purge", LIST, offsetof(struct told, purges)},
    {"reload", LIST, offsetof(struct told, reloads)},
    {"reload-token-file", TEXT, offsetof(struct told, reload_token)},
    {"build-threads", NUMBER, offsetof(struct told, threads)},
    {"release-manually", SWITCH, offsetof(struct told, manually)},
    {"lease-ms", NUMBER, offsetof(struct told, lease_ms)},
    {"max-waiting", NUMBER, offsetof(struct told, max_waiting)},
    {"max-waiting-token", NUMBER, offsetof(struct told, max_waiting_token)},
    {"log-level", TEXT, offsetof(struct told, log_level)},
    {"log-format", TEXT, offsetof(struct told, log_format)},
};
enum { MEMBERS = sizeof members / sizeof *members };

/* ---- values, wherever they come from; what was told before wins ---- */

static bool is_told(const struct told *t, const struct member *m) {
    const void *at = (const char *)t + m->at;
    switch (m->kind) {
    case TEXT: return ((const struct str *)at)->ptr != NULL;
    case LIST: return ((const struct str_list *)at)->n > 0;
    case NUMBER: return *(const int64_t *)at != NOT_GIVEN;
    case SWITCH: return t->manually_given;
    }
    return true;
}

/* false: the text is no value of that kind. */
static bool take_text(struct arena *a, struct told *t, const struct member *m, struct str text) {
    void *at = (char *)t + m->at;
    int64_t n = 0;
    switch (m->kind) {
    case TEXT: *(struct str *)at = text; return true;
    case LIST:
        while (text.len) {
            const char *comma = memchr(text.ptr, ',', text.len);
            struct str word = str_head(text, comma ? (size_t)(comma - text.ptr) : text.len);
            text = str_from(text, word.len + (comma != NULL));
            if (word.len) ARENA_PUSH(a, (struct str_list *)at, word);
        }
        return true;
    case NUMBER:
        for (size_t i = 0; i < text.len; i++) {
            if (text.ptr[i] < '0' || text.ptr[i] > '9' || n > UINT32_MAX) return false;
            n = n * 10 + (text.ptr[i] - '0');
        }
        *(int64_t *)at = n;
        return text.len > 0;
    case SWITCH:
        *(bool *)at = str_is(text, "true");
        t->manually_given = true;
        return str_is(text, "true") || str_is(text, "false");
    }
    return false;
}

/* ---- the environment ---- */

static bool read_environment(struct arena *a, struct told *t) {
    for (int i = 0; i < MEMBERS; i++) {
        char name[64] = "REGENT_CONTROL_", *at = name + strlen(name);
        for (const char *c = members[i].name; *c && at < name + sizeof name - 1; c++)
            *at++ = *c == '-' ? '_' : (char)(*c - (*c >= 'a' && *c <= 'z' ? 32 : 0));
        *at = 0;
        const char *value = getenv(name);
        if (!value || !*value || is_told(t, &members[i])) continue;
        if (!take_text(a, t, &members[i], str_of(value)))
            return fail("%s: %s is no value of --%s", name, value, members[i].name), false;
    }
    return true;
}

/* ---- the file ---- */

static const char *kind_phrase(enum kind k) {
    switch (k) {
    case TEXT: return "a text";
    case LIST: return "a text, or a list of texts";
    case NUMBER: return "a number from 0 on";
    case SWITCH: return "true or false";
    }
    return "";
}

static bool take_value(struct arena *a, struct told *t, const struct member *m,
                       const struct json *v) {
    if (v->kind == JSON_ARRAY && m->kind == LIST) {
        for (uint32_t i = 0; i < v->n; i++) {
            if (v->items[i]->kind != JSON_STRING) return false;
            ARENA_PUSH(a, (struct str_list *)(void *)((char *)t + m->at), v->items[i]->text);
        }
        return true;
    }
    if (m->kind == SWITCH && v->kind == JSON_BOOL)
        return take_text(a, t, m, v->boolean ? STR("true") : STR("false"));
    if (m->kind == NUMBER && v->kind == JSON_NUMBER) return take_text(a, t, m, v->text);
    if (v->kind != JSON_STRING || (m->kind != TEXT && m->kind != LIST)) return false;
    if (m->kind == TEXT) return take_text(a, t, m, v->text);
    ARENA_PUSH(a, (struct str_list *)(void *)((char *)t + m->at), v->text);
    return true;
}

static void read_members(struct arena *a, struct told *t, const struct json *file,
                         struct diag_list *diags) {
    for (uint32_t i = 0; i < file->n; i++) {
        const struct member *m = NULL;
        for (int k = 0; k < MEMBERS; k++)
            if (str_is(file->keys[i], members[k].name)) m = &members[k];
        if (!m)
            diag_add(diags, DIAG_CONFIG, yaml_key_place(file->items[i]),
                     "there is no %.*s: members have the names of the flags",
                     STR_FMT(str_head(file->keys[i], 100)));
        else if (!is_told(t, m) && !take_value(a, t, m, file->items[i]))
            diag_add(diags, DIAG_CONFIG, yaml_place(file->items[i]), "%s is %s", m->name,
                     kind_phrase(m->kind));
    }
}

static bool read_file(struct arena *a, struct told *t) {
    if (!t->config.ptr) return true;
    struct buf text;
    struct diag_list diags;
    struct json *file = NULL;
    struct json_error error = {.message = "it cannot be read"};
    const struct yaml_options options = {
        .source = &t->config, .duplicates = &diags, .one_document = true};
    diag_list_init(&diags, a);
    diags.max_errors = MAX_SHOWN;
    buf_init(&text, CONFIG_BYTES);
    const char *path = arena_strndup(a, t->config.ptr, t->config.len);
    enum err e = buf_read_file(&text, path);
    if (e) return fail("%s: %s", path, e == ERR_IO ? strerror(errno) : err_meaning(e)), false;
    char *copy = arena_strndup(a, (const char *)text.ptr, text.len); /* values are views into it */
    e = yaml_read(a, (struct str){copy, text.len}, &options, &file, &error);
    buf_deinit(&text);
    if (e)
        diag_add(&diags, DIAG_CONFIG,
                 (struct loc){.file = t->config, .row = error.row, .col = error.col}, "%s",
                 error.message);
    else if (file->kind == JSON_OBJECT)
        read_members(a, t, file, &diags);
    else if (file->kind != JSON_NULL)
        diag_add(&diags, DIAG_CONFIG, yaml_place(file),
                 "the file is an object whose members have the names of the flags");
    if (diags.n) report_errors(&diags, false, EXIT_FAILED);
    return diags.n == 0;
}

/* ---- what it comes to ---- */

static const char *text_of(struct arena *a, struct str s, const char *otherwise) {
    return s.len ? arena_strndup(a, s.ptr, s.len) : otherwise;
}

static const char **texts_of(struct arena *a, const struct str_list *list, uint32_t *n) {
    const char **out = ARENA_ARRAY(a, const char *, list->n + 1);
    for (uint32_t i = 0; out && i < list->n; i++) out[i] = text_of(a, list->items[i], "");
    *n = out ? list->n : 0;
    return out;
}

static uint32_t number_of(int64_t n) {
    return n == NOT_GIVEN || n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static bool read_log(const struct told *t, struct log *log) {
    static const struct {
        const char *word;
        enum log_level level;
    } levels[] = {
        {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}};
    bool known = !t->log_level.len;
    *log = (struct log){.fd = 2, .level = LOG_INFO, .json = !isatty(2)};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (str_is(t->log_level, levels[i].word)) log->level = levels[i].level, known = true;
    if (!known) return fail("--log-level is debug, info, warn or error"), false;
    if (str_is(t->log_format, "json") || str_is(t->log_format, "text"))
        log->json = str_is(t->log_format, "json");
    else if (t->log_format.len && !str_is(t->log_format, "auto"))
        return fail("--log-format is json, text or auto"), false;
    return true;
}

/* Beside the folder of blobs, which replicas share; else in the default folder, for a store that
 * they do not. */
static const char *own_key(struct arena *a, const struct control_config *c) {
    struct str blobs = str_of(c->blobs);
    if (!str_starts(blobs, STR("dir:")))
        return str_starts(str_of(c->store), STR("sqlite:")) ? DEFAULT_FOLDER "/signing.pem" : NULL;
    blobs = str_from(blobs, 4);
    while (blobs.len > 1 && blobs.ptr[blobs.len - 1] == '/') blobs.len--;
    while (blobs.len && blobs.ptr[blobs.len - 1] != '/') blobs.len--;
    return arena_printf(a, NULL, "%.*ssigning.pem", STR_FMT(blobs));
}

static bool make_config(struct arena *a, const struct told *t, struct log *log,
                        struct control_config *out) {
    if (!read_log(t, log)) return false;
    *out = (struct control_config){
        .store = text_of(a, t->store, "sqlite:" DEFAULT_FOLDER "/control.db"),
        .blobs = text_of(a, t->blobs, "dir:" DEFAULT_FOLDER "/blobs"),
        .address = text_of(a, t->addr, "127.0.0.1:8282"),
        .tls_certificate = text_of(a, t->tls_cert, NULL),
        .tls_key = text_of(a, t->tls_key, NULL),
        .client_ca = text_of(a, t->client_ca, NULL),
        .public_url = text_of(a, t->public_url, NULL),
        .cdn_url = text_of(a, t->cdn_url, NULL),
        .reload_token_file = text_of(a, t->reload_token, NULL),
        .build_threads = number_of(t->threads),
        .release_manually = t->manually,
        .lease_ms = number_of(t->lease_ms),
        .max_waiting = number_of(t->max_waiting),
        .max_waiting_token = number_of(t->max_waiting_token),
        .log = log,
    };
    out->signing_keys = texts_of(a, &t->keys, &out->n_signing_keys);
    out->purges = texts_of(a, &t->purges, &out->n_purges);
    out->reloads = texts_of(a, &t->reloads, &out->n_reloads);
    out->own_key = own_key(a, out);
    if (!out->tls_certificate != !out->tls_key)
        return fail("--tls-cert and --tls-key go together"), false;
    if (out->client_ca && !out->tls_certificate)
        return fail("--client-ca needs --tls-cert and --tls-key"), false;
    return true;
}

/* The default folder is made; one that was named has to be there. */
static bool make_folder(const struct told *t, const struct control_config *c) {
    bool wanted = !t->store.len || !t->blobs.len ||
                  (c->own_key && str_starts(str_of(c->own_key), STR(DEFAULT_FOLDER)));
    if (!wanted || mkdir(DEFAULT_FOLDER, 0700) == 0 || errno == EEXIST) return true;
    return fail("the folder " DEFAULT_FOLDER " cannot be made: %s", strerror(errno)), false;
}

/* ---- another one-time token ---- */

static int print_token(struct arena *a, const struct control_config *config) {
    char why[DB_WHY_BYTES] = "", url[DB_WHY_BYTES], token[AUTH_DRAWN_BYTES] = "";
    struct db *d = NULL;
    struct db_conn *c = NULL;
    bool pending;
    enum err e = db_open(config->store, &d, why);
    if (!e) e = schema_migrate(d, why);
    if (!e) e = db_take(d, &c, why);
    if (!e && (e = auth_make_once(c, a, false, token, &pending)))
        snprintf(why, sizeof why, "%s", db_why(c));
    db_put(c);
    if (d) db_close(d);
    db_url_public(config->store, url, sizeof url);
    if (e) return fail("store %s: %s", url, *why ? why : err_meaning(e));
    printf("%s\n", token);
    return EXIT_OK;
}

static int print_routes(void) {
    const struct api_route *r;
    for (uint32_t i = 0; (r = api_route_at(i)); i++) printf("%s %s\n", r->method, r->path);
    return EXIT_OK;
}

/* ---- the command ---- */

static bool read_flags(struct arena *a, struct told *t, int argc, char **argv, int *code) {
    struct str_list others;
    const struct option_spec specs[] = {
        {"config", 'c', OPTION_TEXT, &t->config, "FILE",
         "YAML with the names of these flags; the environment wins over it, flags over both"},
        {"check", 0, OPTION_BOOL, &t->check, NULL,
         "only say what is wrong with flags, environment and file"},
        {"store", 0, OPTION_TEXT, &t->store, "URL",
         "sqlite:FILE or postgres://… (default sqlite:regent-data/control.db)"},
        {"blobs", 0, OPTION_TEXT, &t->blobs, "URL",
         "dir:DIR or s3://BUCKET/PREFIX?… (default dir:regent-data/blobs)"},
        {"addr", 0, OPTION_TEXT, &t->addr, "ADDR", "where it listens (default 127.0.0.1:8282)"},
        {"tls-cert", 0, OPTION_TEXT, &t->tls_cert, "FILE", "certificate chain, PEM"},
        {"tls-key", 0, OPTION_TEXT, &t->tls_key, "FILE", "its private key, PEM"},
        {"client-ca", 0, OPTION_TEXT, &t->client_ca, "FILE",
         "who has a certificate by it is an edge"},
        {"public-url", 0, OPTION_TEXT, &t->public_url, "URL", "of this control plane, for people"},
        {"cdn-url", 0, OPTION_TEXT, &t->cdn_url, "URL",
         "where edges fetch bundles (default: here)"},
        {"signing-key", 0, OPTION_LIST, &t->keys, "FILE",
         "private key, PEM; the first signs, all are published; may be repeated"},
        {"purge", 0, OPTION_LIST, &t->purges, "CDN",
         "cloudfront:ID, varnish:URL, nginx:URL, http:METHOD:URL; may be repeated"},
        {"reload", 0, OPTION_LIST, &t->reloads, "URL",
         "admin door of an edge that is told of releases; may be repeated"},
        {"reload-token-file", 0, OPTION_TEXT, &t->reload_token, "FILE", "token for these doors"},
        {"build-threads", 0, OPTION_NUMBER, &t->threads, "N",
         "builds at once (default: the cores)"},
        {"release-manually", 0, OPTION_BOOL, &t->manually, NULL,
         "builds make versions, somebody releases them"},
        {"lease-ms", 0, OPTION_NUMBER, &t->lease_ms, "MS",
         "how long a process that died holds its work (default 30000)"},
        {"max-waiting", 0, OPTION_NUMBER, &t->max_waiting, "N",
         "long polls held at once (default 20000)"},
        {"max-waiting-token", 0, OPTION_NUMBER, &t->max_waiting_token, "N",
         "of one token or certificate (default 5000)"},
        {"new-admin-token", 0, OPTION_BOOL, &t->new_token, NULL,
         "print another one-time admin token, and end"},
        {"routes", 0, OPTION_BOOL, &t->routes, NULL, "print the routes of the API, and end"},
        {"log-level", 0, OPTION_TEXT, &t->log_level, "LEVEL",
         "debug, info (default), warn or error"},
        {"log-format", 0, OPTION_TEXT, &t->log_format, "FORMAT",
         "json, or text (default at a terminal)"},
        {0},
    };
    if (!command_options(a, "control [--config FILE] [flags]", specs, argc, argv, &others, code))
        return false;
    *code = EXIT_FAILED;
    if (others.n) return fail("unexpected argument: %.*s", STR_FMT(others.items[0])), false;
    for (int i = 0; i < argc; i++)
        t->manually_given |= strncmp(argv[i], "--release-manually", 18) == 0;
    const int64_t numbers[] = {t->threads, t->lease_ms, t->max_waiting, t->max_waiting_token};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i] != NOT_GIVEN && numbers[i] < 0)
            return fail("--build-threads, --lease-ms, --max-waiting and --max-waiting-token take "
                        "numbers from 0 on"),
                   false;
    return true;
}

int cmd_control(struct arena *a, int argc, char **argv) {
    struct told t = {.threads = NOT_GIVEN,
                     .lease_ms = NOT_GIVEN,
                     .max_waiting = NOT_GIVEN,
                     .max_waiting_token = NOT_GIVEN};
    struct control_config config;
    struct log log;
    char why[CONTROL_WHY_BYTES] = "";
    int code;
    if (!read_flags(a, &t, argc, argv, &code)) return code;
    if (t.routes) return print_routes();
    if (!read_environment(a, &t) || !read_file(a, &t) || !make_config(a, &t, &log, &config))
        return EXIT_FAILED;
    if (t.check) return EXIT_OK;
    if (!make_folder(&t, &config)) return EXIT_FAILED;
    if (t.new_token) return print_token(a, &config);
    log_never_wait(log.fd);
    enum err e = control_run(&config, why);
    return e ? fail("%s", why) : EXIT_OK;
}
