/* The list `sources` of the configuration. in: values with places. out: items, problems, warnings. owns: nothing. */
#include "edge/config_keys.h"
#include <arpa/inet.h>
#include <stdio.h>

enum { MAX_SOURCES = 64, MAX_NAMES = 100000 };

static const char *const words[] = {"http", "opa", "s3", "control"};
static const char *const urls[] = {"base", "url", "endpoint", "url"};
enum { KINDS = sizeof words / sizeof *words };

const char *config_source_word(enum source_kind kind) { return words[kind]; }

/* The section of its kind; NULL after a problem. */
static const struct json *kind_read(struct config_reader *r, const struct json *item, struct edge_source *s) {
    const struct json *found = NULL;
    for (uint32_t i = 0; i < KINDS; i++) {
        const struct json *v = json_get_c(item, words[i]);
        if (!v) continue;
        if (found) {
            config_problem(r, yaml_key_place(v), "a source is of one kind: `%s` needs an item (`- `) of its own",
                           words[i]);
            return NULL;
        }
        found = v;
        s->kind = (enum source_kind)i;
    }
    if (!found) config_problem(r, s->loc, "a source wants one of `http`, `opa`, `s3` and `control`");
    return found && found->kind == JSON_OBJECT ? found : NULL;
}

/* Where S3 answers when no endpoint is given. */
static void s3_complete(struct config_reader *r, struct edge_source *s, const struct json *section) {
    struct in_addr v4;
    if (!s->bucket.len) config_problem(r, s->loc, "s3 wants `bucket`");
    for (size_t i = 0; i < s->region.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-", s->region.ptr[i])) {
            config_problem(r, yaml_place(json_get_c(section, "region")), "`region` is a name such as eu-central-1");
            return;
        }
    for (size_t i = 0; i < s->bucket.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-._", char_lower(s->bucket.ptr[i]))) {
            config_problem(r, yaml_place(json_get_c(section, "bucket")), "`bucket` is no name of a bucket");
            return;
        }
    s->url =
        s->s3_endpoint ? s->s3_endpoint : arena_printf(r->a, NULL, "https://s3.%.*s.amazonaws.com", STR_FMT(s->region));
    const char *host = strstr(s->url, "://") + 3;
    char name[64];
    size_t n = strcspn(host, ":/");
    snprintf(name, sizeof name, "%.*s", (int)n, host);
    if (host[0] == '[' || inet_pton(AF_INET, name, &v4) == 1 || strcmp(name, "localhost") == 0) s->path_style = true;
    while (s->prefix.len && *s->prefix.ptr == '/') s->prefix = str_from(s->prefix, 1);
    if (s->prefix.len && s->prefix.ptr[s->prefix.len - 1] != '/') {
        size_t len;
        const char *text = arena_printf(r->a, &len, "%.*s/", STR_FMT(s->prefix));
        s->prefix = (struct str){text, len};
    }
}

static void opa_complete(struct config_reader *r, struct edge_source *s, const struct json *section) {
    static const char mark[] = "{tenant}";
    const struct json *path = json_get_c(section, "path");
    struct loc loc = path ? yaml_place(path) : s->loc;
    while (s->path.len && *s->path.ptr == '/') s->path = str_from(s->path, 1);
    const char *at = memmem(s->path.ptr, s->path.len, mark, sizeof mark - 1);
    if (!at || memmem(at + 1, s->path.len - (size_t)(at + 1 - s->path.ptr), mark, sizeof mark - 1))
        config_problem(r, loc, "`path` has {tenant} once, such as bundles/{tenant}");
    if (memchr(s->path.ptr, '#', s->path.len) || memchr(s->path.ptr, ' ', s->path.len))
        config_problem(r, loc, "`path` is part of a URL: neither # nor spaces");
    if (s->discover)
        config_problem(r, s->loc,
                       "OPA's bundle protocol has no list of bundles: name the `tenants`, or use `on_demand`");
}

static void check_url(struct config_reader *r, const struct edge_source *s, const struct json *section) {
    const struct json *given = json_get_c(section, urls[s->kind]);
    struct str url = str_of(s->url);
    if (!str_starts(url, STR("http://")) || config_url_is_local(url)) return;
    struct loc loc = given ? yaml_place(given) : s->loc;
    if (!s->allow_plain)
        config_problem(r, loc,
                       "http:// to another machine: whoever can change what passes can change policies; use https://, "
                       "or `allow_plain: true` in a network that you trust");
    else if (s->token_file || s->kind == SOURCE_S3)
        config_warning(r, loc, "the token or signature of this source can be read by everybody on its way");
}

static void check_files(struct config_reader *r, const struct edge_source *s, const struct json *item,
                        const struct json *section) {
    const struct {
        const char *path;
        const struct json *given;
        bool secret;
    } files[] = {{s->token_file, json_get_c(item, "token_file"), true},
                 {s->ca_file, json_get_c(item, "ca_file"), false},
                 {s->certificate, json_get_c(item, "client_certificate"), false},
                 {s->key, json_get_c(item, "client_key"), true},
                 {s->credentials_file, json_get_c(section, "credentials_file"), true}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i].path && files[i].given)
            config_file_check(r, files[i].path, files[i].secret, yaml_place(files[i].given));
    if (!s->certificate != !s->key) config_problem(r, s->loc, "`client_certificate` and `client_key` belong together");
    if (s->token_file && s->kind == SOURCE_S3)
        config_problem(r, yaml_place(json_get_c(item, "token_file")),
                       "S3 takes no token: its requests are signed with AWS credentials");
}

static bool any_id(const struct name_list *l) {
    for (uint32_t i = 0; i < l->n; i++)
        if (!memchr(l->items[i].ptr, '*', l->items[i].len)) return true;
    return false;
}

static void source_complete(struct config_reader *r, struct edge_source *s, const struct json *item,
                            const struct json *section) {
    const char *const given[] = {s->http_base, s->opa_url, s->s3_endpoint, s->control_url};
    s->url = given[s->kind];
    s->verify.max_bundle_bytes = s->max_bytes;
    if (!s->name.len) config_problem(r, s->loc, "a source wants `name`");
    if (s->kind == SOURCE_CONTROL) s->discover = true;
    if (s->kind == SOURCE_OPA) opa_complete(r, s, section);
    if (s->kind == SOURCE_S3) s3_complete(r, s, section);
    if (s->kind == SOURCE_HTTP || s->kind == SOURCE_S3) s->long_poll_us = 0;
    if (!s->url) {
        config_problem(r, s->loc, "%s wants `%s`", words[s->kind], urls[s->kind]);
        return;
    }
    if (!s->discover && !s->on_demand && !any_id(&s->tenants))
        config_problem(r, s->loc,
                       "no tenant would ever be loaded: list ids in `tenants`, or say `discover: true` or "
                       "`on_demand: true`");
    check_url(r, s, section);
    config_signature_check(r, &s->verify, json_get_c(item, "signature"));
    if (s->modules && s->verify.required)
        config_problem(r, s->loc, "signatures are in bundles: `signature.required` does not go with `file: module`");
    check_files(r, s, item, section);
}

static void source_read(struct config_reader *r, const struct json *item) {
    struct edge_source s = {.loc = yaml_place(item)};
    uint32_t before = r->diags->n + r->diags->dropped;
    const struct json *section = kind_read(r, item, &s);
    config_defaults(r, "sources[].", &s);
    if (s.kind != SOURCE_CONTROL) s.long_poll_us = 0; /* two kinds have the key, and the last default counts */
    config_section_read(r, "sources[].", item, &s);
    if (section && r->diags->n + r->diags->dropped == before) source_complete(r, &s, item, section);
    for (uint32_t i = 0; i < r->c->sources.n; i++)
        if (s.name.len && str_eq(r->c->sources.items[i].name, s.name))
            config_problem(r, s.loc, "two sources are called \"%.*s\"", STR_FMT(s.name));
    ARENA_PUSH(r->a, &r->c->sources, s);
}

void config_sources_read(struct config_reader *r, const struct json *v) {
    struct config_key shown = {.path = "sources"};
    uint32_t names = 0;
    if (v->kind != JSON_ARRAY) {
        config_wants(r, &shown, v, "a list: lines that begin with `- `");
        return;
    }
    if (v->n > MAX_SOURCES) {
        config_problem(r, yaml_place(v), "`sources` has more than %d items", MAX_SOURCES);
        return;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->items[i]->kind != JSON_OBJECT) {
            config_wants(r, &shown, v->items[i], "mappings as items");
            continue;
        }
        source_read(r, v->items[i]);
    }
    for (uint32_t i = 0; i < r->c->sources.n; i++) names += r->c->sources.items[i].tenants.n;
    if (names > MAX_NAMES)
        config_problem(r, yaml_place(v), "sources list more than %d tenants: use `discover`", MAX_NAMES);
}
