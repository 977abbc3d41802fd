/* Texts that sources write and read: URLs, lists of tenants, credentials, waiting times. No I/O but the files named. */
#ifndef REGENT_EDGE_SOURCE_TEXT_H
#define REGENT_EDGE_SOURCE_TEXT_H
#include "base/json.h"
#include "edge/config.h"

enum { SOURCE_URL_BYTES = 4096 };

/* Appends s, every byte but A-Z a-z 0-9 - . _ ~ as %XX, so that neither path nor signature can read it otherwise. */
void source_escape(struct str s, struct buf *out);
/* Up to 127 printable bytes without slash, not beginning with a dot: may it name a tenant? */
bool source_tenant_valid(struct str id);
/* May it stand in a URL as a version's name? */
bool source_version_valid(struct str version);

/* The URL of a tenant's `file` ("bundle.tar.gz", "policy.wasm"); version empty: the current one. OPA servers have one
 * path a tenant, whatever file and version. false: too long. */
bool source_url(const struct edge_source *s, struct str tenant, struct str version, const char *file,
                char out[SOURCE_URL_BYTES]);
/* Where the source lists its tenants; s3: `token` continues a list. */
bool source_list_url(const struct edge_source *s, struct str token, char out[SOURCE_URL_BYTES]);
/* Control plane: `path` below its URL. */
bool source_control_url(const struct edge_source *s, const char *path, char out[SOURCE_URL_BYTES]);
/* A change's url: absolute, or a path on the control plane's host. */
bool source_resolve(const struct edge_source *s, struct str url, char out[SOURCE_URL_BYTES]);
/* Host of a URL, lower case, without port; "" when it has none. */
void source_host(const char *url, char *out, size_t out_bytes);
/* Scheme, host and port are the same: what was meant for one may go to the other. */
bool source_same_server(const char *a, const char *b);

struct source_ids {
    struct str *items; /* in the arena */
    uint32_t n, cap;
    uint32_t refused; /* were no tenants' ids */
    struct str more;  /* s3: continues there; empty: this was all */
};
/* A JSON array of ids, or {"tenants": [...]}. ERR_SYNTAX with why. */
MUST_USE enum err source_read_index(struct arena *a, struct str text, struct source_ids *out, char *why,
                                    size_t why_bytes);
/* A page of ListObjectsV2 (prefix + "tenants/", delimiter "/", encoding-type=url). */
MUST_USE enum err source_read_s3_list(struct arena *a, struct str xml, struct str prefix, struct source_ids *out,
                                      char *why, size_t why_bytes);

/* What the control plane says about one tenant. Views into the arena or text. */
struct source_change {
    struct str tenant, version, sha256, url;
    uint64_t serial;
    bool deleted;
};
struct source_feed {
    struct str cursor;
    struct source_change *items;
    uint32_t n, cap;
    bool whole; /* these are all tenants there are: others are gone */
    bool more;  /* more is there already: ask again at once */
};
MUST_USE enum err source_read_feed(struct arena *a, struct str text, struct source_feed *out, char *why,
                                   size_t why_bytes);
MUST_USE enum err source_read_change(struct arena *a, struct str text, struct source_change *out, char *why,
                                     size_t why_bytes);

/* How long to wait after the n-th failure in a row (from 1): doubles from a second (or the poll interval, if that is
 * shorter) up to a minute (or the poll interval, if that is longer); random: any number, so that nodes spread. */
uint64_t source_backoff_ms(uint32_t failures, uint64_t poll_us, uint64_t random);
/* Until the next look: the interval, a tenth more or less. */
uint64_t source_pause_ms(uint64_t poll_us, uint64_t random);

#endif
