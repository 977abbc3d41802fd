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

enum { CONNECT_MS = 5000, TOTAL_MS = 10000, HEADER_BYTES = 2048 };

/* What is used of the library. */
#define FUNCTIONS                                                                                  \
    X(curl_global_init) X(curl_easy_init) X(curl_easy_cleanup) X(curl_easy_reset) X(curl_easy_setopt) \
    X(curl_easy_getinfo) X(curl_easy_perform) X(curl_easy_strerror) X(curl_slist_append)           \
    X(curl_slist_free_all) X(curl_url) X(curl_url_cleanup) X(curl_url_set) X(curl_url_get) X(curl_free)

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

enum err fetcher_new(struct fetcher **out, char *why, size_t why_bytes) {
    struct fetcher *f = calloc(1, sizeof *f);
    if (!f) return ERR_MEMORY;
    f->library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    const char *missing = f->library ? NULL : dlerror();
    if (f->library && find_all(f) && f->curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        f->easy = f->curl_easy_init();
    f->ca_file = getenv("SSL_CERT_FILE");
    if (f->easy) return *out = f, OK;
    snprintf(why, why_bytes, "fetching URLs needs libcurl 7.85 or later (Debian: libcurl4): %s",
             missing ? missing : "the one that is installed lacks functions");
    fetcher_free(f);
    return ERR_UNSUPPORTED;
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

static bool set_options(struct fetcher *f, const struct fetch_request *q, CURLU *u, bool loopback,
                        struct curl_slist *headers, struct transfer *t, char *error) {
    const char *protocols = loopback || q->allow_plain ? "http,https" : "https";
    const char *ca = q->ca_file ? q->ca_file : f->ca_file;
    bool ok = true;
#define SET(option, value) ok = ok && f->curl_easy_setopt(f->easy, option, value) == CURLE_OK
    f->curl_easy_reset(f->easy);
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
    return ok;
}

static enum err outcome(struct fetcher *f, CURLcode code, const struct transfer *t, const char *error, char *why,
                        size_t why_bytes) {
    long status = 0;
    const char *text = error[0] ? error : f->curl_easy_strerror(code);
    if (code == CURLE_OK) {
        f->curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
        t->reply->status = (int)status;
        return OK;
    }
    if (t->body->err == ERR_LIMIT) text = "the reply is too large";
    snprintf(why, why_bytes, "%s", text);
    if (t->body->err) return t->body->err;
    if (code == CURLE_OUT_OF_MEMORY) return ERR_MEMORY;
    return code == CURLE_OPERATION_TIMEDOUT || code == CURLE_ABORTED_BY_CALLBACK ? ERR_DEADLINE : ERR_IO;
}

enum err fetch(struct fetcher *f, const struct fetch_request *q, struct buf *body, struct fetch_reply *reply,
               char *why, size_t why_bytes) {
    char error[CURL_ERROR_SIZE] = "";
    struct transfer t = {body, reply, q->cancel};
    struct curl_slist *headers = NULL;
    bool loopback = false, ok = true;
    enum err e = OK;
    CURLU *u = f->curl_url();
    if (!u) return ERR_MEMORY;
    const char *wrong = url_fault(f, u, q, &loopback);
    for (uint32_t i = 0; i < reply->n_wanted; i++) reply->wanted[i].value[0] = 0;
    for (uint32_t i = 0; i < q->n_headers && ok; i++) ok = add_header(f, &headers, &q->headers[i]);
    if (!ok) wrong = "a header is too long, or holds a line break";
    if (wrong) {
        snprintf(why, why_bytes, "%s", wrong);
        e = ERR_INVALID;
    } else if (!set_options(f, q, u, loopback, headers, &t, error)) {
        snprintf(why, why_bytes, "this libcurl lacks an option; 7.85 or later is needed");
        e = ERR_UNSUPPORTED;
    } else {
        e = outcome(f, f->curl_easy_perform(f->easy), &t, error, why, why_bytes);
    }
    f->curl_easy_reset(f->easy);
    f->curl_slist_free_all(headers);
    f->curl_url_cleanup(u);
    return e;
}
