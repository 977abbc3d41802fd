/* Calls the control plane's API: address and token, requests that are tried again, pages, errors.
 * in: flags, environment, a profile; replies (hostile). out: JSON, and sentences for people.
 * owns: a fetcher and two buffers. */
#include "cli/client.h"
#include "base/utf8.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

enum {
    TOKEN_BYTES = 4096,
    REPLY_BYTES = 512 << 20,
    REQUEST_BYTES = 512 << 20,
    TIMEOUT_MS = 60000,
    CONNECT_TIMEOUT_MS = 10000,
    TRIES = 6,
    PAUSE_MS = 250,
    MAX_PAUSE_MS = 30000,
    KEY_RANDOM = 16,
    PAGE_ARENA_BYTES = 1 << 30,
};

/* ---- where, and who ---- */

static bool url_fits(struct str url) {
    struct str rest;
    if (str_starts(url, STR("https://")))
        rest = str_from(url, 8);
    else if (str_starts(url, STR("http://")))
        rest = str_from(url, 7);
    else
        return false;
    for (size_t i = 0; i < rest.len; i++)
        if ((unsigned char)rest.ptr[i] <= ' ' || strchr("?#@\\", rest.ptr[i])) return false;
    return rest.len > 0 && rest.ptr[0] != '/';
}

static struct str without_slash(struct str url) {
    while (url.len && url.ptr[url.len - 1] == '/') url.len--;
    return url;
}

static struct str trimmed(struct str s) {
    while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1])) s.len--;
    while (s.len && strchr(" \t\r\n", *s.ptr)) s = str_from(s, 1);
    return s;
}

static bool token_of_file(struct arena *a, struct str file, struct str *out) {
    struct buf b;
    buf_init(&b, TOKEN_BYTES);
    enum err e = buf_read_file(&b, arena_strndup(a, file.ptr, file.len));
    if (e)
        fail("%.*s: %s", STR_FMT(file), e == ERR_IO ? strerror(errno) : err_meaning(e));
    else
        *out = trimmed((struct str){arena_strndup(a, (const char *)b.ptr, b.len), b.len});
    buf_deinit(&b);
    if (!e && !out->len) return fail("%.*s holds no token", STR_FMT(file)), false;
    return !e;
}

static const struct profile *profile_of_url(const struct profiles *p, struct str url) {
    for (uint32_t i = 0; i < p->n; i++)
        if (str_eq(without_slash(p->items[i].url), url)) return &p->items[i];
    return NULL;
}

/* The profile that counts: the one named, the one of a given address, or the current one. */
static bool choose_profile(struct arena *a, const struct client_options *o, struct str url,
                           const struct profile **out) {
    struct profiles p;
    *out = NULL;
    if (!profiles_load(a, &p)) return false;
    if (o->profile.len) {
        if ((*out = profiles_find(&p, o->profile))) return true;
        return fail("%s has no profile \"%.*s\"", p.path, STR_FMT(o->profile)), false;
    }
    if (url.len)
        *out = profile_of_url(&p, url);
    else if (p.current.len)
        *out = profiles_find(&p, p.current);
    return true;
}

bool client_open(struct arena *a, const struct client_options *o, struct client *out) {
    struct str env_url = o->profile.len ? (struct str){0} : str_of(getenv("REGENT_URL"));
    struct str env_token = o->profile.len ? (struct str){0} : str_of(getenv("REGENT_TOKEN"));
    struct str url = without_slash(o->url.len ? o->url : env_url), token = {0};
    struct client_options chosen = *o;
    const struct profile *profile = NULL;
    bool enough = url.len && (o->token_file.len || env_token.len);
    if (!enough && !choose_profile(a, o, url, &profile)) return false;
    if (!url.len && profile) url = without_slash(profile->url);
    if (!url.len)
        return fail("which control plane? `regent login URL` once, or give --url or REGENT_URL"),
               false;
    bool same = profile && str_eq(url, without_slash(profile->url));
    if (o->token_file.len) {
        if (!token_of_file(a, o->token_file, &token)) return false;
    } else if (env_token.len) {
        token = trimmed(env_token);
    } else if (same) {
        token = profile->token;
    }
    if (!chosen.ca_file.len && same) chosen.ca_file = profile->ca_file;
    if (!token.len)
        return fail("no token for %.*s: `regent login` once, or give --token-file or REGENT_TOKEN",
                    STR_FMT(url)),
               false;
    return client_open_at(a, &chosen, url, token, out);
}

bool client_open_at(struct arena *a, const struct client_options *o, struct str url,
                    struct str token, struct client *out) {
    char why[CLIENT_WHY_BYTES] = "";
    url = without_slash(url);
    if (!url_fits(url))
        return fail("\"%.*s\" is no address of a control plane: https://HOST[:PORT]", STR_FMT(url)),
               false;
    *out = (struct client){
        .arena = a,
        .url = arena_strndup(a, url.ptr, url.len),
        .token = arena_strndup(a, token.ptr, token.len),
        .ca_file = o->ca_file.len ? arena_strndup(a, o->ca_file.ptr, o->ca_file.len) : NULL,
        .insecure_http = o->insecure_http};
    enum err e = fetcher_new(&out->fetcher, why, sizeof why);
    if (e) return fail("%s", why[0] ? why : err_meaning(e)), false;
    buf_init(&out->reply, REPLY_BYTES);
    buf_init(&out->request, REQUEST_BYTES);
    return true;
}

void client_close(struct client *c) {
    fetcher_free(c->fetcher);
    buf_deinit(&c->reply);
    buf_deinit(&c->request);
}

/* ---- requests ---- */

static bool new_key(char out[2 * KEY_RANDOM + 1]) {
    uint8_t random[KEY_RANDOM];
    if (getrandom(random, sizeof random, 0) != sizeof random) return false;
    for (int i = 0; i < KEY_RANDOM; i++) snprintf(out + 2 * i, 3, "%02x", random[i]);
    return true;
}

static void pause_ms(int64_t ms) {
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* How long to wait before the next try: what the reply asks for, else longer each time. */
static int64_t pause_of(const char *retry_after, int tries) {
    int64_t ms = PAUSE_MS << tries;
    if (retry_after[0] >= '0' && retry_after[0] <= '9') ms = atoll(retry_after) * 1000;
    return ms < MAX_PAUSE_MS ? ms : MAX_PAUSE_MS;
}

static enum err send_once(struct client *c, struct client_call *q, const char *key,
                          struct fetch_reply *reply, char *why) {
    const char *bearer = arena_printf(c->arena, NULL, "Bearer %s", c->token);
    struct http_header headers[5];
    uint32_t n = 0;
    if (c->token[0]) headers[n++] = (struct http_header){STR("authorization"), str_of(bearer)};
    headers[n++] = (struct http_header){STR("accept"), STR("application/json")};
    if (q->body) headers[n++] = (struct http_header){STR("content-type"), STR("application/json")};
    if (q->if_match) headers[n++] = (struct http_header){STR("if-match"), str_of(q->if_match)};
    if (key[0]) headers[n++] = (struct http_header){STR("idempotency-key"), str_of(key)};
    struct fetch_request request = {.url = arena_printf(c->arena, NULL, "%s%s", c->url, q->path),
                                    .method = q->method,
                                    .body = q->body ? buf_view(&c->request) : (struct str){NULL, 0},
                                    .headers = headers,
                                    .n_headers = n,
                                    .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                    .timeout_ms = q->timeout_ms ? q->timeout_ms : TIMEOUT_MS,
                                    .allow_plain = c->insecure_http,
                                    .ca_file = c->ca_file};
    buf_clear(&c->reply);
    return fetch(c->fetcher, &request, &c->reply, reply, why, CLIENT_WHY_BYTES);
}

static void keep_reply(struct client *c, struct client_call *q, const struct fetch_reply *reply) {
    struct arena *a = q->arena ? q->arena : c->arena;
    struct json_error error;
    q->status = reply->status;
    q->reply = NULL;
    snprintf(q->etag, sizeof q->etag, "%.*s", CLIENT_ETAG_BYTES - 1, reply->wanted[1].value);
    struct str text = buf_view(&c->reply);
    if (!text.len) return;
    const char *copy = arena_copy(a, text.ptr, text.len); /* the tree has views into it */
    if (!copy || json_parse(a, (struct str){copy, text.len}, &q->reply, &error)) q->reply = NULL;
}

bool client_send(struct client *c, struct client_call *q) {
    char why[CLIENT_WHY_BYTES], key[2 * KEY_RANDOM + 1] = "";
    struct fetch_wanted wanted[] = {{.name = "retry-after"}, {.name = "etag"}};
    if (strcmp(q->method, "GET") && !new_key(key))
        return fail("no random numbers: %s", strerror(errno)), false;
    buf_clear(&c->request);
    if (q->body) json_print(q->body, false, 0, &c->request);
    if (c->request.err) return fail("the request: %s", err_meaning(c->request.err)), false;
    for (int tries = 0;; tries++) {
        struct fetch_reply reply = {.wanted = wanted, .n_wanted = 2};
        why[0] = 0;
        enum err e = send_once(c, q, key, &reply, why);
        bool again = tries + 1 < TRIES && (e ? c->reached && e == ERR_IO : reply.status == 503);
        if (!e) c->reached = true;
        if (!again && e) {
            fail("%s: %s", c->url, why[0] ? why : err_meaning(e));
            return false;
        }
        if (!again) return keep_reply(c, q, &reply), true;
        pause_ms(pause_of(e ? "" : wanted[0].value, tries));
    }
}

int client_ask(struct client *c, struct client_call *q) {
    if (!client_send(c, q)) return EXIT_FAILED;
    if (q->status >= 200 && q->status < 300) return EXIT_OK;
    if (q->reply && client_text(q->reply, "code").len) return client_refused(q);
    return fail("%s%s answered %d: is it a control plane of Regent's?", c->url, q->path, q->status);
}

/* ---- what came back ---- */

void client_print(FILE *to, struct str text) {
    for (size_t i = 0; i < text.len;) {
        uint32_t cp;
        int n = utf8_decode(text.ptr + i, text.len - i, &cp);
        bool shown = n && (cp >= 0xa0 || (cp >= ' ' && cp < 0x7f) || cp == '\t');
        if (shown)
            fwrite(text.ptr + i, 1, (size_t)n, to);
        else
            fputc('?', to);
        i += n ? (size_t)n : 1;
    }
}

void client_print_errors(const struct json *errors, const char *indent) {
    if (!errors || errors->kind != JSON_ARRAY) return;
    for (uint32_t i = 0; i < errors->n; i++) {
        const struct json *e = errors->items[i], *place = json_get_c(e, "location");
        struct str file = client_text(place, "file"), code = client_text(e, "code");
        int64_t row = client_number(place, "row"), col = client_number(place, "col");
        fputs(indent, stderr);
        client_print(stderr, file);
        if (row > 0) fprintf(stderr, ":%lld:%lld", (long long)row, (long long)col);
        if (file.len || row > 0) fputs(": ", stderr);
        client_print(stderr, code);
        if (code.len) fputs(": ", stderr);
        client_print(stderr, client_text(e, "message"));
        fputc('\n', stderr);
    }
}

int client_refused(const struct client_call *q) {
    const struct json *errors = json_get_c(q->reply, "errors");
    fputs("error: ", stderr);
    client_print(stderr, client_text(q->reply, "code"));
    fputs(": ", stderr);
    client_print(stderr, client_text(q->reply, "message"));
    fputc('\n', stderr);
    client_print_errors(errors, "");
    bool policies = (q->status == 400 || q->status == 422) && errors && errors->n > 0;
    return policies ? EXIT_ERRORS : EXIT_FAILED;
}

struct str client_text(const struct json *object, const char *key) {
    const struct json *v = json_get_c(object, key);
    return v && v->kind == JSON_STRING ? v->text : STR("");
}

int64_t client_number(const struct json *object, const char *key) {
    int64_t n;
    return json_int64(json_get_c(object, key), &n) ? n : 0;
}

struct json *client_copy(struct arena *a, const struct json *v) {
    struct buf b;
    struct json *out = NULL;
    buf_init(&b, REPLY_BYTES);
    json_print(v, false, 0, &b);
    const char *text = b.err ? NULL : arena_strndup(a, (const char *)b.ptr, b.len);
    if (!text || json_parse(a, (struct str){text, b.len}, &out, NULL)) out = NULL;
    buf_deinit(&b);
    return out;
}

const char *client_escape(struct arena *a, struct str s) {
    static const char plain[] = "-._~";
    char *out = arena_alloc(a, 3 * s.len + 1), *at = out;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (letter || (c && strchr(plain, c)))
            *at++ = (char)c;
        else
            at += snprintf(at, 4, "%%%02X", c);
    }
    *at = 0;
    return out;
}

/* One page; *after gets the cursor of the next, "" on the last. */
static int list_page(struct client *c, const char *path, struct arena *page, struct str *after,
                     client_each *each, void *ctx) {
    const char *sep = strchr(path, '?') ? "&" : "?",
               *limit = strstr(path, "limit=") ? "" : "limit=1000";
    struct client_call q = {.method = "GET", .arena = page};
    q.path = arena_printf(page, NULL, "%s%s%s%s%s", path, sep, limit, after->len ? "&after=" : "",
                          client_escape(page, *after));
    int code = client_ask(c, &q);
    if (code) return code;
    const struct json *items = json_get_c(q.reply, "items");
    if (!items || items->kind != JSON_ARRAY)
        return fail("%s%s gave no list: is it a control plane of Regent's?", c->url, path);
    for (uint32_t i = 0; i < items->n; i++)
        if ((code = each(ctx, items->items[i]))) return code;
    struct str next = client_text(q.reply, "next");
    if (next.len && str_eq(next, *after))
        return fail("%s%s: its pages go in circles", c->url, path);
    *after = next;
    return EXIT_OK;
}

int client_list(struct client *c, const char *path, client_each *each, void *ctx) {
    struct str after = STR("");
    int code = EXIT_OK;
    do {
        struct arena page;
        arena_init(&page, PAGE_ARENA_BYTES);
        code = list_page(c, path, &page, &after, each, ctx);
        after.ptr = arena_strndup(c->arena, after.ptr, after.len);
        arena_deinit(&page);
    } while (!code && after.len);
    return code;
}
