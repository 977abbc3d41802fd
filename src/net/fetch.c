/* Fetches URLs with libcurl, which is loaded when the first fetcher is made.
 *
 * in:   requests of the node's own configuration; replies of servers (hostile).
 * out:  status, wanted headers, a bounded body.
 * owns: the library's handle and its connections.
 * Why not linked: docs/decisions/0012-libcurl-loaded-when-needed.md. */
#include "net/fetch.h"
#define CURL_DISABLE_TYPECHECK
#include <arpa/inet.h>
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

enum { CONNECT_MS = 5000, TOTAL_MS = 10000, HEADER_BYTES = 4096 };

/* What is used of the library. */
#define FUNCTIONS                                                                                  \
    X(curl_global_init) X(curl_easy_init) X(curl_easy_cleanup) X(curl_easy_reset) X(curl_easy_setopt) \
    X(curl_easy_getinfo) X(curl_easy_perform) X(curl_easy_strerror) X(curl_slist_append)           \
    X(curl_slist_free_all) X(curl_url) X(curl_url_cleanup) X(curl_url_set) X(curl_url_get) X(curl_free)        \
    X(curl_multi_init) X(curl_multi_cleanup) X(curl_multi_setopt) X(curl_multi_add_handle)          \
    X(curl_multi_remove_handle) X(curl_multi_perform) X(curl_multi_poll) X(curl_multi_wakeup)       \
    X(curl_multi_info_read)

struct fetcher {
    void *library;
    CURL *easy;
    const char *ca_file;
#define X(name) __typeof__(&name) name;
    FUNCTIONS
#undef X
};

/* dlsym gives an object pointer where a function's is wanted. */
static bool find(struct fetcher *f, const char *name, void *function) {
    void *at = dlsym(f->library, name);
    memcpy(function, &at, sizeof at);
    return at != NULL;
}

static bool find_all(struct fetcher *f) {
    bool all = true;
#define X(name) all = all && find(f, #name, &f->name);
    FUNCTIONS
#undef X
    return all;
}

/* Loads the library. */
static enum err library_open(struct fetcher *f, char *why, size_t why_bytes) {
    f->library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    const char *missing = f->library ? NULL : dlerror();
    f->ca_file = getenv("SSL_CERT_FILE");
    if (f->library && find_all(f) && f->curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) return OK;
    snprintf(why, why_bytes, "fetching URLs needs libcurl 7.85 or later (Debian: libcurl4): %s",
             missing ? missing : "the one that is installed lacks functions");
    return ERR_UNSUPPORTED;
}

enum err fetcher_new(struct fetcher **out, char *why, size_t why_bytes) {
    struct fetcher *f = calloc(1, sizeof *f);
    if (!f) return ERR_MEMORY;
    enum err e = library_open(f, why, why_bytes);
    if (!e && !(f->easy = f->curl_easy_init())) e = ERR_MEMORY;
    if (!e) return *out = f, OK;
    fetcher_free(f);
    return e;
}

/* The library itself stays loaded: others may use it, and it starts but once. */
void fetcher_free(struct fetcher *f) {
    if (!f) return;
    if (f->easy) f->curl_easy_cleanup(f->easy);
    free(f);
}

struct transfer {
    struct buf *body;
    struct fetch_reply *reply;
    const _Atomic bool *cancel;
};

static size_t take_body(char *bytes, size_t one, size_t n, void *ctx) {
    struct transfer *t = ctx;
    buf_put(t->body, bytes, one * n);
    return t->body->err ? 0 : one * n;
}

static void keep_header(struct fetch_wanted *w, struct str line) {
    size_t n = strlen(w->name);
    if (line.len <= n || line.ptr[n] != ':' || strncasecmp(line.ptr, w->name, n) != 0) return;
    struct str v = str_from(line, n + 1);
    while (v.len && (*v.ptr == ' ' || *v.ptr == '\t')) v = str_from(v, 1);
    while (v.len && strchr("\r\n \t", v.ptr[v.len - 1])) v.len--;
    w->value[0] = 0;
    if (v.len < sizeof w->value) memcpy(w->value, v.ptr, v.len), w->value[v.len] = 0;
}

/* Each redirect's reply has headers of its own, led by a status line. */
static size_t take_header(char *bytes, size_t one, size_t n, void *ctx) {
    struct transfer *t = ctx;
    struct str line = {bytes, one * n};
    bool first = str_starts(line, STR("HTTP/"));
    for (uint32_t i = 0; i < t->reply->n_wanted; i++)
        if (first)
            t->reply->wanted[i].value[0] = 0;
        else
            keep_header(&t->reply->wanted[i], line);
    return one * n;
}

static int is_cancelled(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    const struct transfer *t = ctx;
    (void)a, (void)b, (void)c, (void)d;
    return t->cancel && atomic_load_explicit(t->cancel, memory_order_relaxed);
}

static bool is_loopback(const char *host) {
    struct in_addr v4;
    if (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0) return true;
    return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

/* The URL as the library itself reads it, so that no two readers can differ. */
static const char *url_fault(struct fetcher *f, CURLU *u, const struct fetch_request *q, bool *loopback) {
    char *scheme = NULL, *host = NULL;
    const char *wrong = NULL;
    if (f->curl_url_set(u, CURLUPART_URL, q->url, 0) != CURLUE_OK) return "it is no URL";
    if (f->curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        f->curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
        wrong = "it has no host";
    else if (*loopback = is_loopback(host), strcmp(scheme, "http") == 0 && !*loopback && !q->allow_plain)
        wrong = "http:// is for this machine only: use https://";
    else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        wrong = "it is neither https:// nor http://";
    f->curl_free(scheme);
    f->curl_free(host);
    return wrong;
}

static bool add_header(struct fetcher *f, struct curl_slist **list, const struct http_header *h) {
    char line[HEADER_BYTES];
    int n = snprintf(line, sizeof line, "%.*s: %.*s", STR_FMT(h->name), STR_FMT(h->value));
    struct curl_slist *longer = n > 0 && (size_t)n < sizeof line && !strpbrk(line, "\r\n")
                                    ? f->curl_slist_append(*list, line)
                                    : NULL;
    if (longer) *list = longer;
    return longer != NULL;
}

static bool set_who(struct fetcher *f, CURL *easy, const struct fetch_request *q) {
    char region[128];
    bool ok = true;
#define SET(option, value) ok = ok && f->curl_easy_setopt(easy, option, value) == CURLE_OK
    if (q->certificate) SET(CURLOPT_SSLCERT, q->certificate);
    if (q->key) SET(CURLOPT_SSLKEY, q->key);
    if (q->aws_region) {
        snprintf(region, sizeof region, "aws:amz:%s:%s", q->aws_region,
                 q->aws_service ? q->aws_service : "s3");
        SET(CURLOPT_AWS_SIGV4, region);
        SET(CURLOPT_USERPWD, q->aws_keys);
        SET(CURLOPT_PATH_AS_IS, 1L);
    }
    return ok;
}

static bool set_options(struct fetcher *f, CURL *easy, const struct fetch_request *q, CURLU *u, bool loopback,
                        struct curl_slist *headers, struct transfer *t, char *error) {
    const char *protocols = loopback || q->allow_plain ? "http,https" : "https";
    const char *ca = q->ca_file ? q->ca_file : f->ca_file;
    bool ok = true;
    f->curl_easy_reset(easy);
    SET(CURLOPT_CURLU, u);
    SET(CURLOPT_PROTOCOLS_STR, protocols);
    SET(CURLOPT_REDIR_PROTOCOLS_STR, q->allow_plain ? "http,https" : "https");
    SET(CURLOPT_FOLLOWLOCATION, q->max_redirects ? 1L : 0L);
    SET(CURLOPT_MAXREDIRS, (long)q->max_redirects);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (ca) SET(CURLOPT_CAINFO, ca);
    if (loopback || q->unix_socket) SET(CURLOPT_PROXY, "");
    if (q->unix_socket && q->unix_socket[0] == '@') SET(CURLOPT_ABSTRACT_UNIX_SOCKET, q->unix_socket + 1);
    else if (q->unix_socket) SET(CURLOPT_UNIX_SOCKET_PATH, q->unix_socket);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(q->connect_timeout_ms ? q->connect_timeout_ms : CONNECT_MS));
    SET(CURLOPT_TIMEOUT_MS, (long)(q->timeout_ms ? q->timeout_ms : TOTAL_MS));
    SET(CURLOPT_USERAGENT, "regent/" REGENT_VERSION);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_ERRORBUFFER, error);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, is_cancelled);
    SET(CURLOPT_XFERINFODATA, t);
    if (q->body.ptr) SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len);
    if (q->body.ptr) SET(CURLOPT_POSTFIELDS, q->body.ptr);
    if (q->method && strcmp(q->method, "HEAD") == 0) SET(CURLOPT_NOBODY, 1L);
    else if (q->method) SET(CURLOPT_CUSTOMREQUEST, q->method);
#undef SET
    return ok && set_who(f, easy, q);
}

static enum err outcome(struct fetcher *f, CURL *easy, CURLcode code, const struct transfer *t, const char *error,
                        char *why, size_t why_bytes) {
    long status = 0;
    char *redirect = NULL;
    const char *text = error[0] ? error : f->curl_easy_strerror(code);
    if (code == CURLE_OK) {
        f->curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        t->reply->status = (int)status;
        if (f->curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &redirect) == CURLE_OK && redirect)
            snprintf(t->reply->redirect, sizeof t->reply->redirect, "%s", redirect);
        return OK;
    }
    if (t->body->err == ERR_LIMIT) text = "the reply is too large";
    snprintf(why, why_bytes, "%s", text);
    if (t->body->err) return t->body->err;
    if (code == CURLE_OUT_OF_MEMORY) return ERR_MEMORY;
    return code == CURLE_OPERATION_TIMEDOUT || code == CURLE_ABORTED_BY_CALLBACK ? ERR_DEADLINE : ERR_IO;
}

/* What a request needs of the library while it is under way. */
struct fetch_transfer {
    struct fetch_transfer *next, *before; /* in the set */
    struct fetch_call *call;
    CURL *easy;
    CURLU *url;
    struct curl_slist *headers;
    struct transfer t;
    char error[CURL_ERROR_SIZE];
};

/* Everything up to sending it. */
static enum err prepare(struct fetcher *f, struct fetch_transfer *x, const struct fetch_request *q, char *why,
                        size_t why_bytes) {
    bool loopback = false, ok = true;
    struct fetch_reply *reply = x->t.reply;
    if (!(x->url = f->curl_url())) return ERR_MEMORY;
    const char *wrong = url_fault(f, x->url, q, &loopback);
    reply->redirect[0] = 0;
    for (uint32_t i = 0; i < reply->n_wanted; i++) reply->wanted[i].value[0] = 0;
    for (uint32_t i = 0; i < q->n_headers && ok; i++) ok = add_header(f, &x->headers, &q->headers[i]);
    if (!ok) wrong = "a header is too long, or holds a line break";
    if (wrong) {
        snprintf(why, why_bytes, "%s", wrong);
        return ERR_INVALID;
    }
    if (set_options(f, x->easy, q, x->url, loopback, x->headers, &x->t, x->error)) return OK;
    snprintf(why, why_bytes, "this libcurl lacks an option; 7.85 or later is needed");
    return ERR_UNSUPPORTED;
}

static void release(struct fetcher *f, struct fetch_transfer *x) {
    f->curl_easy_reset(x->easy);
    f->curl_slist_free_all(x->headers);
    f->curl_url_cleanup(x->url);
}

enum err fetch(struct fetcher *f, const struct fetch_request *q, struct buf *body, struct fetch_reply *reply,
               char *why, size_t why_bytes) {
    struct fetch_transfer x = {.easy = f->easy, .t = {body, reply, q->cancel}};
    enum err e = prepare(f, &x, q, why, why_bytes);
    if (!e) e = outcome(f, f->easy, f->curl_easy_perform(f->easy), &x.t, x.error, why, why_bytes);
    release(f, &x);
    return e;
}

/* ---- many at once ---- */

struct fetch_set {
    struct fetcher f; /* for the library's functions */
    CURLM *multi;
    struct fetch_transfer *transfers;
};

enum err fetch_set_new(uint32_t max_connections, struct fetch_set **out, char *why, size_t why_bytes) {
    struct fetch_set *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    enum err e = library_open(&s->f, why, why_bytes);
    if (!e && !(s->multi = s->f.curl_multi_init())) e = ERR_MEMORY;
    if (!e) s->f.curl_multi_setopt(s->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)max_connections);
    if (!e) s->f.curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)max_connections);
    if (!e) return *out = s, OK;
    free(s);
    return e;
}

static void transfer_free(struct fetch_set *s, struct fetch_transfer *x) {
    release(&s->f, x);
    s->f.curl_easy_cleanup(x->easy);
    free(x);
}

static void unlink_transfer(struct fetch_set *s, struct fetch_transfer *x) {
    s->f.curl_multi_remove_handle(s->multi, x->easy);
    if (x->next) x->next->before = x->before;
    if (x->before) x->before->next = x->next;
    else s->transfers = x->next;
    x->call->transfer = NULL;
}

enum err fetch_set_start(struct fetch_set *s, const struct fetch_request *q, struct fetch_call *call, char *why,
                         size_t why_bytes) {
    struct fetch_transfer *x = calloc(1, sizeof *x);
    if (!x || !(x->easy = s->f.curl_easy_init())) {
        free(x);
        return ERR_MEMORY;
    }
    x->call = call;
    x->t = (struct transfer){&call->body, &call->reply, q->cancel};
    enum err e = prepare(&s->f, x, q, why, why_bytes);
    if (!e) s->f.curl_easy_setopt(x->easy, CURLOPT_PRIVATE, (void *)x);
    if (!e && !strncmp(q->url, "https:", 6)) s->f.curl_easy_setopt(x->easy, CURLOPT_PIPEWAIT, 1L);
    if (!e && s->f.curl_multi_add_handle(s->multi, x->easy) != CURLM_OK) e = ERR_MEMORY;
    if (e) {
        transfer_free(s, x);
        return e;
    }
    if ((x->next = s->transfers)) x->next->before = x;
    s->transfers = x;
    call->transfer = x;
    return OK;
}

void fetch_set_cancel(struct fetch_set *s, struct fetch_call *call) {
    struct fetch_transfer *x = call->transfer;
    if (!x) return;
    unlink_transfer(s, x);
    transfer_free(s, x);
}

struct fetch_call *fetch_set_first(struct fetch_set *s) { return s->transfers ? s->transfers->call : NULL; }

static void settle(struct fetch_set *s, struct fetch_transfer *x, CURLcode code) {
    char why[512] = "";
    struct fetch_call *call = x->call;
    enum err e = outcome(&s->f, x->easy, code, &x->t, x->error, why, sizeof why);
    unlink_transfer(s, x);
    transfer_free(s, x);
    call->done(call, e, why);
}

void fetch_set_wait(struct fetch_set *s, uint32_t timeout_ms) {
    int running = 0, left = 0;
    bool any = false;
    CURLMsg *m;
    s->f.curl_multi_perform(s->multi, &running);
    for (int turn = 0; turn < 2; turn++) {
        while ((m = s->f.curl_multi_info_read(s->multi, &left))) {
            struct fetch_transfer *x = NULL;
            CURL *easy = m->easy_handle;
            CURLcode code = m->data.result;
            if (m->msg != CURLMSG_DONE) continue;
            s->f.curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&x);
            settle(s, x, code);
            any = true;
        }
        if (any || turn) return;
        s->f.curl_multi_poll(s->multi, NULL, 0, (int)timeout_ms, NULL);
        s->f.curl_multi_perform(s->multi, &running);
    }
}

void fetch_set_wake(struct fetch_set *s) { s->f.curl_multi_wakeup(s->multi); }

void fetch_set_free(struct fetch_set *s) {
    if (!s) return;
    while (s->transfers) fetch_set_cancel(s, s->transfers->call);
    s->f.curl_multi_cleanup(s->multi);
    free(s);
}
