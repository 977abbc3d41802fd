/* Values of single keys, checked and stored. in: values with places. out: fields, problems. owns: nothing. */
#include "edge/config_keys.h"
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- What is wrong ---- */
static const char *kind_word(const struct json *v) {
    switch (v->kind) {
    case JSON_NULL: return "nothing";
    case JSON_BOOL: return "true or false";
    case JSON_NUMBER: return "a number";
    case JSON_STRING: return "text";
    case JSON_ARRAY: return "a list";
    case JSON_OBJECT: return "a mapping";
    }
    return "this";
}

static const char *name_of(const struct config_key *k) {
    const char *dot = strrchr(k->path, '.');
    return dot ? dot + 1 : k->path;
}

void config_wants(struct config_reader *r, const struct config_key *k, const struct json *v, const char *what) {
    struct loc loc = yaml_place(v);
    if (v->kind == JSON_NULL)
        config_problem(r, loc, "`%s` has no value: it wants %s; leave the key out for its default", name_of(k), what);
    else if (v->kind == JSON_STRING || v->kind == JSON_NUMBER)
        config_problem(r, loc, "`%s` wants %s, not %s \"%.*s\"", name_of(k), what, kind_word(v),
                       STR_FMT(str_head(v->text, 64)));
    else
        config_problem(r, loc, "`%s` wants %s, not %s", name_of(k), what, kind_word(v));
}

/* ---- Text ---- */
static bool printable(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 127) return false;
    return true;
}

static bool text_of(struct config_reader *r, const struct config_key *k, const struct json *v, struct str *out) {
    if (v->kind != JSON_STRING) {
        bool quotes = v->kind == JSON_NUMBER || v->kind == JSON_BOOL;
        config_wants(r, k, v, quotes ? "text (put it in quotes)" : "text");
        return false;
    }
    if (!printable(v->text)) {
        config_problem(r, yaml_place(v), "`%s` holds a control character", name_of(k));
        return false;
    }
    uint64_t least = k->most ? k->least : 1, most = k->most ? k->most : 4096;
    if (v->text.len < least || v->text.len > most) {
        config_problem(r, yaml_place(v), v->text.len < least ? "`%s` is empty" : "`%s` is too long", name_of(k));
        return false;
    }
    *out = v->text;
    return true;
}

static bool token_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static void set_header(struct config_reader *r, const struct config_key *k, const struct json *v, struct str *out) {
    struct str s;
    if (!text_of(r, k, v, &s)) return;
    char *lower = arena_strndup(r->a, s.ptr, s.len);
    for (size_t i = 0; i < s.len; i++) {
        if (!token_character(s.ptr[i])) {
            config_problem(r, yaml_place(v), "`%s` is no name of a header: \"%.*s\"", name_of(k), STR_FMT(s));
            return;
        }
        if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z') lower[i] = (char)(s.ptr[i] + 32);
    }
    *out = (struct str){lower, s.len};
}

static void set_decision(struct config_reader *r, const struct config_key *k, const struct json *v, struct str *out) {
    struct str s;
    if (!text_of(r, k, v, &s)) return;
    while (s.len && s.ptr[0] == '/') s = str_from(s, 1);
    while (s.len && s.ptr[s.len - 1] == '/') s.len--;
    if (str_starts(s, STR("data.")) || (s.len && memchr(s.ptr, ' ', s.len)) || (s.len < k->least))
        config_wants(r, k, v, "the path of a decision such as shop/authz/allow");
    else
        *out = s;
}

/* "localhost", "127.0.0.1:8080", "[::1]:80": on this machine. */
static bool is_loopback(struct str authority) {
    char host[64];
    struct in_addr v4;
    if (str_starts(authority, STR("[::1]"))) return authority.len == 5 || authority.ptr[5] == ':';
    const char *colon = memchr(authority.ptr, ':', authority.len);
    size_t n = colon ? (size_t)(colon - authority.ptr) : authority.len;
    if (n >= sizeof host) return false;
    memcpy(host, authority.ptr, n);
    host[n] = 0;
    return strcmp(host, "localhost") == 0 || (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

static struct str authority_of(struct str url) {
    struct str rest = str_from(url, str_starts(url, STR("https://")) ? 8 : 7);
    size_t n = 0;
    while (n < rest.len && !strchr("/?#", rest.ptr[n])) n++;
    return str_head(rest, n);
}

bool config_url_is_local(struct str url) { return is_loopback(authority_of(url)); }

static void set_server(struct config_reader *r, const struct config_key *k, const struct json *v, const char **out) {
    struct str s;
    if (!text_of(r, k, v, &s)) return;
    bool known = str_starts(s, STR("https://")) || str_starts(s, STR("http://"));
    struct str authority = known ? authority_of(s) : STR("");
    if (memchr(authority.ptr, '@', authority.len)) {
        config_problem(r, yaml_place(v), "`%s` holds a user or password: secrets come from files", name_of(k));
    } else if (!authority.len || memchr(s.ptr, '#', s.len) || memchr(s.ptr, '?', s.len) || memchr(s.ptr, ' ', s.len)) {
        config_wants(r, k, v, "an https:// URL without query");
    } else {
        while (s.ptr[s.len - 1] == '/') s.len--;
        *out = arena_strndup(r->a, s.ptr, s.len);
    }
}

static void set_url(struct config_reader *r, const struct config_key *k, const struct json *v, const char **out) {
    struct str s;
    if (!text_of(r, k, v, &s)) return;
    bool tls = str_starts(s, STR("https://")), plain = str_starts(s, STR("http://"));
    struct str rest = str_from(s, tls ? 8 : 7);
    size_t n = 0;
    while ((tls || plain) && n < rest.len && !strchr("/?#", rest.ptr[n])) n++;
    struct str authority = str_head(rest, n);
    if (n && memchr(authority.ptr, '@', n))
        config_problem(r, yaml_place(v), "`%s` holds a user or password: secrets come from files", name_of(k));
    else if (!n || (plain && !is_loopback(authority)))
        config_wants(r, k, v,
                     str_starts(str_of(k->path), STR("decision_log."))
                         ? "an https:// URL (http:// to this machine only: decisions tell who asked for what)"
                         : "an https:// URL (http:// to this machine only: keys changed on their way name tenants)");
    else
        *out = arena_strndup(r->a, s.ptr, s.len);
}

/* ---- Numbers ---- */
static void out_of_range(struct config_reader *r, const struct config_key *k, const struct json *v,
                         void (*print)(uint64_t, struct buf *)) {
    uint8_t space[2][32];
    struct buf ends[2];
    for (int i = 0; i < 2; i++) {
        ends[i] = (struct buf){.ptr = space[i], .cap = sizeof space[i], .max = sizeof space[i]};
        print(i ? k->most : k->least, &ends[i]);
    }
    config_problem(r, yaml_place(v), "`%s` must be from %.*s to %.*s, not %.*s", name_of(k),
                   STR_FMT(buf_view(&ends[0])), STR_FMT(buf_view(&ends[1])), STR_FMT(str_head(v->text, 64)));
}

static void print_count(uint64_t n, struct buf *out) { buf_printf(out, "%" PRIu64, n); }

static void set_count(struct config_reader *r, const struct config_key *k, const struct json *v, uint32_t *out) {
    int64_t n;
    if (v->kind != JSON_NUMBER || !json_int64(v, &n)) {
        config_wants(r, k, v, "a whole number");
    } else if (n < 0 || (uint64_t)n < k->least || (uint64_t)n > k->most) {
        out_of_range(r, k, v, print_count);
    } else {
        *out = (uint32_t)n;
    }
}

static void set_time(struct config_reader *r, const struct config_key *k, const struct json *v, uint64_t *out) {
    uint64_t us;
    if ((v->kind != JSON_STRING && v->kind != JSON_NUMBER) || !limits_read_time(v->text, &us)) {
        config_wants(r, k, v, "a time with its unit, such as 50ms, 2s or 5m");
    } else if (us < k->least || us > k->most) {
        out_of_range(r, k, v, limits_print_time);
    } else {
        *out = us;
    }
}

static void set_size(struct config_reader *r, const struct config_key *k, const struct json *v, uint64_t *out) {
    uint64_t bytes;
    if ((v->kind != JSON_STRING && v->kind != JSON_NUMBER) || !limits_read_size(v->text, &bytes)) {
        config_wants(r, k, v, "a size, such as 64KiB, 16MiB or 10MB");
    } else if (bytes < k->least || bytes > k->most) {
        out_of_range(r, k, v, limits_print_size);
    } else {
        *out = bytes;
    }
}

/* ---- Words ---- */
const char *const config_doors[] = {"rest", "ext_authz", "http_authz", "health",
                                    "metrics", "status", "admin", "distribution"};
const uint32_t n_config_doors = sizeof config_doors / sizeof *config_doors;

/* Number of the word among words[0..n), or n after a problem that suggests one. */
static uint32_t word_of(struct config_reader *r, const char *what, const struct json *v, const char *const *words,
                        uint32_t n) {
    for (uint32_t i = 0; i < n && v->kind == JSON_STRING; i++)
        if (str_is(v->text, words[i])) return i;
    const char *meant = v->kind == JSON_STRING ? word_meant(v->text, words, n) : NULL;
    char all[256] = "";
    size_t at = 0;
    for (uint32_t i = 0; i < n && at < sizeof all; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", words[i]);
    struct str given = str_head(v->text, 64);
    if (v->kind != JSON_STRING)
        config_problem(r, yaml_place(v), "want a %s, not %s: there are %s", what, kind_word(v), all);
    else if (meant)
        config_problem(r, yaml_place(v), "no %s is called \"%.*s\": did you mean %s?", what, STR_FMT(given), meant);
    else
        config_problem(r, yaml_place(v), "no %s is called \"%.*s\": there are %s", what, STR_FMT(given), all);
    return n;
}

static void set_level(struct config_reader *r, const struct json *v, enum log_level *out) {
    static const char *const words[] = {"debug", "info", "warn", "error"};
    uint32_t i = word_of(r, "log level", v, words, 4);
    if (i < 4) *out = (enum log_level)i;
}

static void set_full(struct config_reader *r, const struct json *v, bool *wait) {
    static const char *const words[] = {"drop", "wait"};
    uint32_t i = word_of(r, "way", v, words, 2);
    if (i < 2) *wait = i == 1;
}

static void set_share(struct config_reader *r, const struct config_key *k, const struct json *v, uint32_t *out) {
    char text[32], *end = text;
    double share = -1;
    if (v->kind == JSON_NUMBER && v->text.len < sizeof text) {
        snprintf(text, sizeof text, "%.*s", STR_FMT(v->text));
        share = strtod(text, &end);
    }
    if (end == text || *end || !(share >= 0 && share <= 1))
        config_wants(r, k, v, "a share from 0 to 1, such as 0.05");
    else
        *out = (uint32_t)(share * 1000000 + 0.5);
}

static void set_format(struct config_reader *r, const struct json *v, int *out) {
    static const char *const words[] = {"json", "text", "auto"};
    uint32_t i = word_of(r, "log format", v, words, 3);
    if (i < 3) *out = i == 0 || (i == 2 && !isatty(2));
}

static void set_form(struct config_reader *r, const struct json *v, bool *out) {
    static const char *const words[] = {"bundle", "module"};
    uint32_t i = word_of(r, "form", v, words, 2);
    if (i < 2) *out = i == 1;
}

/* ---- Lists and maps ---- */
static bool is_list(struct config_reader *r, const struct config_key *k, const struct json *v, const char *what) {
    if (v->kind == JSON_ARRAY) return true;
    config_wants(r, k, v, what);
    return false;
}

static void set_doors(struct config_reader *r, const struct config_key *k, const struct json *v, uint32_t *out) {
    if (!is_list(r, k, v, "a list of doors, such as [rest, health]")) return;
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t bit = word_of(r, "door", v->items[i], config_doors, n_config_doors);
        if (bit < n_config_doors) *out |= 1u << bit;
    }
}

static void set_algorithms(struct config_reader *r, const struct config_key *k, const struct json *v,
                           struct name_list *out) {
    static const char *const words[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
                                        "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"};
    enum { N = sizeof words / sizeof *words };
    if (!is_list(r, k, v, "a list of algorithms, such as [RS256, ES256]")) return;
    if (!v->n) config_problem(r, yaml_place(v), "`%s` is empty: no token would be accepted", name_of(k));
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t at = word_of(r, "algorithm", v->items[i], words, N);
        if (at < N) ARENA_PUSH(r->a, out, str_of(words[at]));
    }
}

static void set_signers(struct config_reader *r, const struct config_key *k, const struct json *v, uint32_t *out) {
    struct name_list names = {0};
    set_algorithms(r, k, v, &names);
    for (uint32_t i = 0; i < names.n; i++) *out |= token_algorithm(names.items[i]);
}

static void set_paths(struct config_reader *r, const struct config_key *k, const struct json *v,
                      struct verify_patterns *out) {
    if (!is_list(r, k, v, "a list of paths, such as [README.md, docs/*]")) return;
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        const char *wrong = item->kind == JSON_STRING ? verify_glob_wrong(item->text) : NULL;
        if (item->kind != JSON_STRING)
            config_wants(r, k, item, "paths as text (put them in quotes)");
        else if (wrong)
            config_problem(r, yaml_place(item), "\"%.*s\" is no pattern of paths: %s",
                           STR_FMT(str_head(item->text, 64)), wrong);
        else
            ARENA_PUSH(r->a, out, item->text);
    }
}

bool config_tenant_name(struct config_reader *r, struct str s, bool pattern, struct loc loc) {
    struct str fixed = s;
    if (pattern && fixed.len && fixed.ptr[fixed.len - 1] == '*')
        fixed.len--;
    else if (pattern && fixed.len && fixed.ptr[0] == '*')
        fixed = str_from(fixed, 1);
    if (fixed.len && memchr(fixed.ptr, '*', fixed.len)) {
        config_problem(r, loc,
                       pattern ? "\"%.*s\": one `*` may stand at the start or at the end of a name"
                               : "\"%.*s\": a tenant's id, not a pattern, has to stand here",
                       STR_FMT(str_head(s, 64)));
        return false;
    }
    bool bad = !s.len || s.len > 127 || s.ptr[0] == '.' || !printable(s) || memchr(s.ptr, '/', s.len);
    if (bad)
        config_problem(r, loc, "\"%.*s\" is no tenant's id: up to 127 bytes, no slash, not beginning with a dot",
                       STR_FMT(str_head(s, 64)));
    return !bad;
}

static void set_names(struct config_reader *r, const struct config_key *k, const struct json *v,
                      struct name_list *out) {
    if (!is_list(r, k, v, "a list of names, such as [acme, \"free-*\"]")) return;
    if (!v->n) config_problem(r, yaml_place(v), "`%s` is empty: leave it out for all tenants", name_of(k));
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        if (item->kind != JSON_STRING)
            config_wants(r, k, item, "names as text (put them in quotes)");
        else if (config_tenant_name(r, item->text, true, yaml_place(item)))
            ARENA_PUSH(r->a, out, item->text);
    }
}

static void set_headers(struct config_reader *r, const struct config_key *k, const struct json *v,
                        struct name_list *out) {
    if (!is_list(r, k, v, "a list of headers, such as [user-agent, x-request-id]")) return;
    for (uint32_t i = 0; i < v->n; i++) {
        struct str name = {NULL, 0};
        set_header(r, k, v->items[i], &name);
        if (name.ptr) ARENA_PUSH(r->a, out, name);
    }
}

static void set_texts(struct config_reader *r, const struct config_key *k, const struct json *v,
                      struct name_list *out) {
    if (!is_list(r, k, v, "a list of texts")) return;
    for (uint32_t i = 0; i < v->n; i++) {
        struct str text;
        if (text_of(r, k, v->items[i], &text)) ARENA_PUSH(r->a, out, text);
    }
}

static void set_required(struct config_reader *r, const struct config_key *k, const struct json *v,
                         struct name_list *out) {
    if (v->kind == JSON_STRING && str_is(v->text, "all"))
        ARENA_PUSH(r->a, out, STR("*"));
    else if (v->kind == JSON_STRING)
        config_wants(r, k, v, "`all`, or a list of names such as [acme, \"gold-*\"]");
    else if (v->kind != JSON_ARRAY || v->n)
        set_names(r, k, v, out);
}

static void set_host_names(struct config_reader *r, const struct config_key *k, const struct json *v,
                           struct name_list *out) {
    if (!is_list(r, k, v, "a list of hosts, such as [cdn.example.com]")) return;
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        struct str s = item->text;
        bool text = item->kind == JSON_STRING && s.len && printable(s);
        if (!text || s.len == 1 || memchr(s.ptr, '/', s.len) || (s.len > 2 && memchr(s.ptr + 1, '*', s.len - 2)))
            config_wants(r, k, item, "hosts such as cdn.example.com or \"*.example.com\"");
        else
            ARENA_PUSH(r->a, out, config_lower(r, s));
    }
}

struct str config_lower(struct config_reader *r, struct str s) {
    return (struct str){arena_strlower(r->a, s.ptr, s.len), s.len};
}

static void set_hosts(struct config_reader *r, const struct config_key *k, const struct json *v,
                      struct tenant_rule *rule) {
    if (v->kind != JSON_OBJECT) {
        config_wants(r, k, v, "a mapping from host names to tenants");
        return;
    }
    if (!v->n) config_problem(r, yaml_place(v), "`%s` is empty: no host would have a tenant", name_of(k));
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        struct tenant_host host = {config_lower(r, v->keys[i]), item->text};
        if (!v->keys[i].len || memchr(v->keys[i].ptr, ':', v->keys[i].len) ||
            memchr(v->keys[i].ptr, '/', v->keys[i].len))
            config_problem(r, yaml_key_place(item), "\"%.*s\" is no host name: neither port nor path belongs to it",
                           STR_FMT(str_head(v->keys[i], 64)));
        else if (item->kind != JSON_STRING)
            config_wants(r, k, item, "tenants' ids as text (put them in quotes)");
        else if (config_tenant_name(r, item->text, false, yaml_place(item)))
            ARENA_PUSH(r->a, &rule->map, host);
    }
}

bool config_range_read(struct str text, struct address_range *out) {
    char address[64];
    if (str_is(text, "unix")) return *out = (struct address_range){.unix_socket = true}, true;
    const char *slash = memchr(text.ptr, '/', text.len);
    size_t n = slash ? (size_t)(slash - text.ptr) : text.len;
    if (n == 0 || n >= sizeof address) return false;
    memcpy(address, text.ptr, n);
    address[n] = 0;
    struct address_range range = {.ip = {[10] = 0xff, [11] = 0xff}};
    bool v4 = inet_pton(AF_INET, address, range.ip + 12) == 1;
    if (!v4 && inet_pton(AF_INET6, address, range.ip) != 1) return false;
    uint32_t most = v4 ? 32 : 128, bits = slash ? 0 : most;
    for (size_t i = n + 1; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || text.len - n > 4) return false;
        bits = bits * 10 + (uint32_t)(text.ptr[i] - '0');
    }
    if (bits > most || (slash && n + 1 == text.len)) return false;
    range.bits = (uint8_t)(bits + (v4 ? 96 : 0));
    *out = range;
    return true;
}

/* Does the range hold all addresses of version 4 (::ffff:0:0/96), or more? */
static bool holds_everybody(const struct address_range *range) {
    static const uint8_t v4[16] = {[10] = 0xff, [11] = 0xff};
    if (range->unix_socket || range->bits > 96) return false;
    for (uint32_t bit = 0; bit < range->bits; bit++)
        if ((range->ip[bit / 8] ^ v4[bit / 8]) & (0x80 >> bit % 8)) return false;
    return true;
}

static bool bits_beyond(const struct address_range *range) {
    for (uint32_t bit = range->bits; bit < 128; bit++)
        if (range->ip[bit / 8] & (0x80 >> bit % 8)) return true;
    return false;
}

static void set_addresses(struct config_reader *r, const struct config_key *k, const struct json *v,
                          struct tenant_rule *rule) {
    if (!is_list(r, k, v, "a list of addresses, such as [10.0.0.0/8, unix]")) return;
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        struct address_range range;
        if (item->kind != JSON_STRING || !config_range_read(item->text, &range))
            config_wants(r, k, item, "addresses such as 10.0.0.7, 10.0.0.0/8, fd00::/8 or unix");
        else if (holds_everybody(&range))
            config_problem(r, yaml_place(item),
                           "%.*s is everybody: every client could name its tenant; list your proxies",
                           STR_FMT(item->text));
        else if (!range.unix_socket && bits_beyond(&range))
            config_problem(r, yaml_place(item),
                           "%.*s has bits behind its prefix length: write the network's own address",
                           STR_FMT(item->text));
        else
            ARENA_PUSH(r->a, &rule->trusted, range);
    }
}

static void set_labels(struct config_reader *r, const struct config_key *k, const struct json *v, struct json **out) {
    if (v->kind != JSON_OBJECT) {
        config_wants(r, k, v, "a mapping from names to text");
        return;
    }
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i]->kind != JSON_STRING) config_wants(r, k, v->items[i], "values as text (put them in quotes)");
    *out = (struct json *)v;
}

/* ---- Keys ---- */
void config_set(struct config_reader *r, const struct config_key *k, const struct json *v, void *owner) {
    void *field = (char *)owner + k->offset;
    struct str text;
    switch (k->kind) {
    case KEY_TEXT:
        if (text_of(r, k, v, &text)) *(struct str *)field = text;
        break;
    case KEY_FILE:
        if (text_of(r, k, v, &text)) *(const char **)field = arena_strndup(r->a, text.ptr, text.len);
        break;
    case KEY_SWITCH:
        if (v->kind == JSON_BOOL)
            *(bool *)field = v->boolean;
        else
            config_wants(r, k, v, "true or false");
        break;
    case KEY_HEADER: set_header(r, k, v, field); break;
    case KEY_DECISION: set_decision(r, k, v, field); break;
    case KEY_URL: set_url(r, k, v, field); break;
    case KEY_COUNT: set_count(r, k, v, field); break;
    case KEY_TIME: set_time(r, k, v, field); break;
    case KEY_SIZE: set_size(r, k, v, field); break;
    case KEY_NAMES: set_names(r, k, v, field); break;
    case KEY_REQUIRED: set_required(r, k, v, field); break;
    case KEY_TEXTS: set_texts(r, k, v, field); break;
    case KEY_ALGORITHMS: set_algorithms(r, k, v, field); break;
    case KEY_SIGNERS: set_signers(r, k, v, field); break;
    case KEY_PATHS: set_paths(r, k, v, field); break;
    case KEY_DOORS: set_doors(r, k, v, field); break;
    case KEY_HOSTS: set_hosts(r, k, v, owner); break;
    case KEY_ADDRESSES: set_addresses(r, k, v, owner); break;
    case KEY_LEVEL: set_level(r, v, field); break;
    case KEY_FORMAT: set_format(r, v, field); break;
    case KEY_LABELS: set_labels(r, k, v, field); break;
    case KEY_LIMITS: config_limits_read(r, k->path, v, field); break;
    case KEY_RULES: config_rules_read(r, v); break;
    case KEY_LISTENERS: config_listeners_read(r, v); break;
    case KEY_GROUPS: config_groups_read(r, v); break;
    case KEY_OVERRIDES: config_overrides_read(r, v); break;
    case KEY_HEADERS: set_headers(r, k, v, field); break;
    case KEY_SHARE: set_share(r, k, v, field); break;
    case KEY_FULL: set_full(r, v, field); break;
    case KEY_EVENTS: config_events_read(r, v); break;
    case KEY_SERVER: set_server(r, k, v, field); break;
    case KEY_HOST_NAMES: set_host_names(r, k, v, field); break;
    case KEY_FORM: set_form(r, v, field); break;
    case KEY_SOURCES: config_sources_read(r, v); break;
    }
}

void config_section_read(struct config_reader *r, const char *prefix, const struct json *object, void *owner) {
    for (uint32_t i = 0; i < object->n; i++) {
        const struct json *v = object->items[i];
        struct str name = object->keys[i];
        const struct config_key *k = config_key_find(prefix, name);
        bool section = !k && config_key_section(prefix, name);
        if (k) {
            config_set(r, k, v, owner);
        } else if (section && v->kind == JSON_OBJECT) {
            config_section_read(r, arena_printf(r->a, NULL, "%s%.*s.", prefix, STR_FMT(name)), v, owner);
        } else if (section) {
            struct config_key shown = {.path = arena_strndup(r->a, name.ptr, name.len)};
            config_wants(r, &shown, v, "a mapping with keys of its own");
        } else {
            config_unknown_key(r, prefix, name, yaml_key_place(v));
        }
    }
}

void config_defaults(struct config_reader *r, const char *prefix, void *owner) {
    static const struct str source = STR("default");
    size_t n = strlen(prefix);
    for (uint32_t i = 0; i < n_config_keys; i++) {
        const struct config_key *k = &config_keys[i];
        if (strncmp(k->path, prefix, n) != 0 || strstr(k->path + n, "[]") || !*k->fallback) continue;
        struct json *v = yaml_scalar(r->a, str_of(k->fallback), &source);
        if (v) config_set(r, k, v, owner);
    }
}
