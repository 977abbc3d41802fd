/* What the files of identify share: rules made ready for matching. */
#ifndef REGENT_EDGE_IDENTIFY_RULES_H
#define REGENT_EDGE_IDENTIFY_RULES_H
#include "base/hash.h"
#include "edge/key_sets.h"

enum { TENANT_BYTES = 127, PATH_SEGMENTS = 32 };

struct token_cache;

/* A rule with its pattern taken apart. */
struct matcher {
    const struct tenant_rule *rule;
    const char *by;            /* identity.by */
    struct str prefix, suffix; /* certificate, host: around {tenant}; in lower case for DNS names */
    bool is_dns;               /* certificate: of DNS names */
    struct table hosts;        /* host map: name in lower case → struct str of the tenant */
    struct str segments[PATH_SEGMENTS]; /* path */
    uint32_t n_segments, tenant_segment;
    /* JWT */
    uint32_t algorithms;
    struct key_set *source;
    struct token_keys *keys; /* of `version`; NULL: none yet */
    uint64_t version;
};

struct identifier {
    const struct edge_config *config;
    struct arena arena;
    struct matcher *rules;
    uint32_t n;
    struct token_cache *tokens; /* NULL: no JWT rule */
};

/* Every one fills out->tenant (which may lie in `a` or in the subject) when it gives IDENTITY_FOUND, out->why when
 * IDENTITY_REFUSED. */
enum identity_kind identify_by_certificate(const struct matcher *m, const struct subject *s, struct arena *a,
                                           struct identity *out);
enum identity_kind identify_by_host(const struct matcher *m, const struct subject *s, struct arena *a,
                                    struct identity *out);
/* Fills out->path too. */
enum identity_kind identify_by_path(const struct matcher *m, const struct subject *s, struct arena *a,
                                    struct identity *out);
/* *other: refused for its issuer only, so that another rule may take it. */
enum identity_kind identify_by_token(struct identifier *i, uint32_t rule, const struct subject *s, struct arena *a,
                                     struct identity *out, bool *other);

/* Takes patterns apart; false: out of memory, or no pattern that can be matched (which config has refused). */
bool matcher_names(struct matcher *m, struct arena *a);
bool matcher_path(struct matcher *m, struct arena *a);

MUST_USE enum err token_cache_new(struct token_cache **out);
void token_cache_free(struct token_cache *c);

/* The only header of that name in the call. *n: how many there are. */
struct str identify_call_header(const struct http_request *q, struct str name, uint32_t *n);
static inline enum identity_kind identity_refused(struct identity *out, const char *why) {
    out->why = why;
    return IDENTITY_REFUSED;
}

#endif
