/* A client of the control plane's API: where it is, who asks, calls, lists, errors for people. */
#ifndef REGENT_CLI_CLIENT_H
#define REGENT_CLI_CLIENT_H
#include "cli/cli.h"
#include "net/fetch.h"
#include <stdio.h>

/* ---- profiles: addresses and tokens that `regent login` keeps ---- */
struct profile {
    struct str name, url, token, ca_file; /* ca_file: "" the system's */
    struct str token_id;                  /* "" unless login made the token */
};
struct profiles {
    struct profile *items;
    uint32_t n, cap;
    struct str current; /* "": none */
    const char *path;
};
/* $REGENT_CONFIG, else $XDG_CONFIG_HOME/regent/profiles.yaml, else below ~/.config. A file that is
 * not there has no profiles. false: said why (unreadable, others can read its tokens, …). */
bool profiles_load(struct arena *a, struct profiles *out);
/* For its owner only, whole or not at all. false: said why. */
bool profiles_save(const struct profiles *p);
struct profile *profiles_find(const struct profiles *p, struct str name); /* NULL: no such */

/* ---- a control plane ---- */
struct client_options {
    struct str url, token_file, profile, ca_file;
    bool insecure_http;
};
/* Rows of a command's table of flags. */
#define CLIENT_FLAGS(o)                                                                             \
    {"url",                                                                                         \
     0,                                                                                             \
     OPTION_TEXT,                                                                                   \
     &(o).url,                                                                                      \
     "URL",                                                                                         \
     "the control plane (default $REGENT_URL, or the "                                              \
     "profile's)"},                                                                                 \
        {"token-file",    0,      OPTION_TEXT,                                                      \
         &(o).token_file, "FILE", "file with the token (default $REGENT_TOKEN, or the profile's)"}, \
        {"profile", 0, OPTION_TEXT, &(o).profile, "NAME", "profile that `regent login` stored"},    \
        {"ca-file",    0,      OPTION_TEXT,                                                         \
         &(o).ca_file, "FILE", "certificates (PEM) that the control plane's is checked against"},   \
    {                                                                                               \
        "insecure-http", 0, OPTION_BOOL, &(o).insecure_http, NULL,                                  \
            "allow http:// to other machines: anybody on the way reads the token"                   \
    }

enum { CLIENT_WHY_BYTES = 512, CLIENT_ETAG_BYTES = 128 };
struct client {
    struct arena *arena;
    const char *url;   /* without a slash at its end */
    const char *token; /* "": none */
    const char *ca_file;
    bool insecure_http;
    bool reached; /* it has answered once: failures after that are tried again */
    struct fetcher *fetcher;
    struct buf reply, request;
};
/* Finds address and token; asks nothing yet. A profile's token goes to that profile's address only.
 * false: said why. */
bool client_open(struct arena *a, const struct client_options *o, struct client *out);
/* The same for an address and a token that are known. */
bool client_open_at(struct arena *a, const struct client_options *o, struct str url,
                    struct str token, struct client *out);
void client_close(struct client *c);

struct client_call {
    const char *method, *path; /* "GET", "/v1/tenants?limit=5": percent-encoded */
    const struct json *body;   /* NULL: none */
    const char *if_match;      /* NULL: none */
    uint32_t timeout_ms;       /* 0: a minute */
    struct arena *arena;       /* for the reply; NULL: the client's */
    /* what came back */
    int status;
    struct json *reply; /* NULL: no body, or no JSON */
    char etag[CLIENT_ETAG_BYTES];
};
/* One request. Changes carry an idempotency key, so that they can be sent again: while the control
 * plane answers 503, and when it stops answering. false: no reply; said why. */
bool client_send(struct client *c, struct client_call *q);
/* client_send, where a status other than 2xx is an error. EXIT_OK, or said why: EXIT_ERRORS when
 * policies are wrong, else EXIT_FAILED. */
int client_ask(struct client *c, struct client_call *q);
/* Prints a reply's error: "error: CODE: MESSAGE" and its list. */
int client_refused(const struct client_call *q);
/* Prints a list of {"code","message","location"} as "FILE:ROW:COL: CODE: MESSAGE". */
void client_print_errors(const struct json *errors, const char *indent);

/* Every item of a list, page after page, each in an arena that lives until the next page: stops
 * when `each` does not return EXIT_OK. path may have a query, also with a limit (of a page). */
typedef int client_each(void *ctx, const struct json *item);
int client_list(struct client *c, const char *path, client_each *each, void *ctx);

/* A path's segment or a query's value, percent-encoded. */
const char *client_escape(struct arena *a, struct str s);
/* A member that is a text, or "". */
struct str client_text(const struct json *object, const char *key);
int64_t client_number(const struct json *object, const char *key); /* 0: none */
/* A copy that does not lie in the reply. NULL: no memory. */
struct json *client_copy(struct arena *a, const struct json *v);
/* Text of somebody else's for a terminal: control characters as '?'. */
void client_print(FILE *to, struct str text);

#endif
