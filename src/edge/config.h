/* What edge.yaml says, checked. */
#ifndef REGENT_EDGE_CONFIG_H
#define REGENT_EDGE_CONFIG_H
#include "base/diag.h"
#include "base/hash.h"
#include "base/log.h"
#include "bundle/limits.h"
#include "edge/verify.h"

struct admin_tokens; /* admin_tokens.h */

/* Doors of a listener: bits. */
enum door_kind {
    DOOR_REST = 1,       /* OPA's API: /v1, /v0, POST / and batch */
    DOOR_EXT_AUTHZ = 2,  /* Envoy's gRPC service */
    DOOR_HTTP_AUTHZ = 4, /* Envoy's http_service, nginx auth_request, Traefik ForwardAuth */
    DOOR_HEALTH = 8,     /* /health */
    DOOR_METRICS = 16,   /* /metrics */
    DOOR_STATUS = 32,    /* /v1/status, /v1/config */
    DOOR_ADMIN = 64,     /* /v1/policies: versions of tenants' policies */
    DOOR_DISTRIBUTION = 128 /* /policies, /tenants: modules and bundles, for neighbours */
};

/* Names, each exact or with one `*` at its end or start: "acme", "free-*", "*.example.com". */
struct name_list {
    struct str *items;
    uint32_t n, cap;
};
bool name_list_has(const struct name_list *l, struct str name); /* an empty list has every name */
bool name_matches(struct str pattern, struct str name);

struct edge_listener {
    struct str name;          /* for logs */
    const char *address;      /* server_listen's */
    uint32_t doors;           /* enum door_kind */
    struct name_list tenants; /* that may be asked for here; empty: all */
    const char *certificate, *key, *client_ca; /* NULL: no TLS; client_ca NULL: no client certificates */
    bool require_client;
    struct loc loc;
};

/* An address range: 16 bytes as in struct http_peer, `bits` of which count (IPv4: 96 more). */
struct address_range {
    uint8_t ip[16];
    uint8_t bits;
    bool unix_socket; /* matches Unix sockets, and nothing else */
};

enum tenant_rule_kind {
    TENANT_BY_EXTENSION,   /* `name`: key in Envoy's context_extensions */
    TENANT_BY_CERTIFICATE, /* `pattern`: "spiffe://example.com/tenant/{tenant}" or "dns:{tenant}.example.com" */
    TENANT_BY_JWT,         /* `name`: claim, path with dots; token in `header` */
    TENANT_BY_HOST,        /* `map`, or `pattern` "{tenant}.example.com" */
    TENANT_BY_PATH,        /* `pattern`: "/t/{tenant}"; REST paths continue behind it */
    TENANT_BY_HEADER       /* `name`: header; from peers in `trusted` only */
};
struct tenant_rule {
    enum tenant_rule_kind kind;
    struct str name, pattern;
    struct str header;  /* JWT: lower case, "authorization" ("Bearer " is cut off) */
    struct str issuer, audience; /* JWT: must be these, when given */
    struct name_list algorithms; /* JWT: allowed; empty: asymmetric ones */
    const char *keys_file, *jwks_url; /* JWT: JWKS or PEM; one of both */
    uint64_t refresh_us;              /* JWT: of jwks_url */
    struct {
        struct tenant_host {
            struct str host, tenant;
        } *items;
        uint32_t n, cap;
    } map;
    struct {
        struct address_range *items;
        uint32_t n, cap;
    } trusted;
    bool of_subject; /* header: read it from the request inside a CheckRequest too (Envoy must overwrite it) */
    struct loc loc;
};

/* Tenants that are evaluated in a process of their own. */
struct worker_group {
    struct str name;
    struct name_list tenants;
    uint32_t processes;
    uint64_t memory_bytes; /* of a process; 0: no limit but the tenants' */
    struct loc loc;
};

enum source_kind { SOURCE_HTTP, SOURCE_OPA, SOURCE_S3, SOURCE_CONTROL };
/* Where policies are fetched (sources.h). */
struct edge_source {
    struct str name;
    enum source_kind kind;
    const char *url; /* of the kind that it is: http.base, opa.url, s3.endpoint, control.url; no slash at its end */
    const char *http_base, *opa_url, *s3_endpoint, *control_url;
    bool modules;          /* http: policy.wasm and its companions instead of bundle.tar.gz */
    struct str path;       /* opa: below url, with {tenant} */
    uint64_t long_poll_us; /* opa, control: 0: polls */
    struct str bucket, prefix, region; /* s3; prefix without slash at its start, with one at its end, or empty */
    bool path_style;
    const char *credentials_file; /* s3; NULL: environment, ~/.aws/credentials */
    const char *token_file, *ca_file, *certificate, *key;
    bool allow_plain, discover, on_demand, allow_older;
    struct name_list tenants, redirects; /* tenants empty: any that are discovered or asked for */
    uint64_t poll_us, timeout_us, wait_us, negative_us;
    uint64_t max_bytes;
    struct verify_rules verify; /* its keys are setup's */
    struct loc loc;
};

struct tenant_override {
    struct str pattern; /* as in struct name_list */
    struct tenant_limits limits; /* 0: not changed; LIMIT_NONE: lifted */
    struct loc loc;
};

/* What is logged of some tenants' decisions. */
enum { EVENTS_AS_ALL = UINT32_MAX }; /* what decision_log says for all */
struct event_override {
    struct str pattern; /* as in struct name_list */
    bool enabled;
    uint32_t sample;         /* in millionths */
    uint32_t max_per_second; /* 0: no limit */
    struct loc loc;
};
struct decision_log_config {
    const char *file; /* NULL: none */
    bool console;
    const char *url; /* NULL: no service */
    struct str resource, partition;
    const char *token_file, *ca_file;
    uint64_t min_delay_us, max_delay_us, upload_bytes, buffer_bytes;
    bool wait; /* for room in the buffer; false: drop */
    uint32_t sample, max_per_second;
    bool denials_only;
    struct name_list headers;
    struct str mask_path, drop_path;
    struct {
        struct event_override *items;
        uint32_t n, cap;
    } tenants;
};

/* How a version goes live (docs/activation.md). Shares in millionths. */
struct activation_rules {
    uint32_t shadow_share; /* of live requests that a new version is asked too; 0: none is */
    uint32_t shadow_requests, shadow_max_differences;
    uint64_t shadow_max_us;
    uint64_t watch_us; /* 0: it is not watched */
    uint32_t watch_max_errors, watch_max_denials, watch_min_requests;
};

struct edge_config {
    struct arena *arena; /* holds all of it */
    const char *path;    /* of the file; NULL: flags only */
    struct diag_list warnings; /* what is allowed but hardly meant; reading fills it */
    /* node */
    uint32_t threads;            /* 0: one a core */
    const char *cache_dir;       /* compiled code; NULL: none */
    bool fresh_instances, share_ports;
    uint32_t live_instances;     /* a thread; 0: chosen by the node */
    uint64_t slice_us;           /* how long an evaluation may hold up an event loop before it goes to a lane */
    uint32_t lane_threads;       /* 0: one a core */
    uint32_t queue_requests;     /* waiting at most, a thread */
    uint64_t queue_wait_us;      /* and for so long at most */
    uint64_t idle_timeout_us, header_timeout_us;
    uint32_t max_connections;    /* a thread */
    uint64_t head_bytes, body_bytes; /* of a request */
    struct name_list required;   /* tenants without which the node is not ready */
    uint64_t drain_delay_us, drain_time_us;
    const char *takeover;        /* "unix:PATH" at which a new process takes the sockets over; NULL: nowhere */
    struct log log;
    uint32_t metrics_tenants;    /* with series of their own */
    struct {
        const char *url, *ca_file; /* url NULL: off */
        uint32_t sample;           /* millionths of the requests that bring no traceparent */
        struct str service;
    } tracing;
    struct json *labels;         /* /v1/config, status; may be NULL */
    /* tenants */
    const char *directory; /* holds tenants/ID/bundle.tar.gz */
    uint64_t poll_us;
    struct verify_rules verify; /* of the folder's bundles; its keys are setup's */
    const char *store_directory; /* last known good versions; NULL: none are kept */
    uint32_t store_keep;
    struct {
        struct tenant_rule *items;
        uint32_t n, cap;
    } tenant_from; /* in order */
    struct tenant_limits limits; /* defaults */
    struct {
        struct tenant_override *items;
        uint32_t n, cap;
    } overrides;
    /* Made of overrides by reading; both empty: they are searched one by one. */
    struct table override_index; /* those without `*`, by name: their number + 1 */
    struct {
        uint32_t *items;
        uint32_t n, cap;
    } override_patterns; /* numbers of those with `*` */
    struct {
        struct worker_group *items;
        uint32_t n, cap;
    } groups;
    struct {
        struct edge_listener *items;
        uint32_t n, cap;
    } listeners;
    struct {
        struct edge_source *items;
        uint32_t n, cap;
    } sources; /* in order: a tenant belongs to the first that lists it */
    /* doors */
    struct str authz_path;        /* decision of ext_authz and HTTP authz; empty: the first entrypoint */
    bool authz_dry_run;           /* decide and log, answer OK */
    struct str http_authz_prefix; /* path at which HTTP authz answers: "/authz" */
    struct str rest_path;         /* default decision of POST /: "system/main" */
    uint32_t batch_inputs;        /* in one batch at most */
    struct decision_log_config decision_log;
    struct activation_rules activation;
    /* admin and distribution; a path NULL: no tokens */
    const char *admin_tokens_file, *distribution_tokens_file;
    struct name_list admin_certificates; /* URIs, dns:NAME, or whole subjects; each may do everything */
    struct admin_tokens *admin_tokens, *distribution_tokens; /* what the files hold; NULL: no file */
};

enum {
    EDGE_CONFIG_BYTES = 16 << 20,       /* of a configuration file at most */
    EDGE_CONFIG_ARENA_BYTES = 512 << 20 /* enough for the arena of any that is accepted */
};
/* Defaults, without listeners and rules. */
void edge_config_init(struct edge_config *c, struct arena *a);
/* A value that wins over file and environment: a flag. */
struct config_override {
    const char *key;    /* its path: "tenants.directory" */
    struct json *value; /* of a tree with places (base/yaml.h), whose source is the flag */
};
struct config_source {
    const char *path;          /* of the file; NULL: none */
    char *const *environment;  /* "NAME=VALUE", NULL at the end; REGENT_EDGE_… wins over the file; NULL: none */
    const struct config_override *overrides;
    uint32_t n_overrides;
};
/* Reads and checks it all into *c, which edge_config_init has filled. Problems go to diags with
 * file:line:column (the variable's or flag's name for a file), as many as can be found, sorted; ERR_DIAG when
 * there is one, ERR_MEMORY. */
MUST_USE enum err edge_config_load(const struct config_source *source, struct edge_config *c,
                                   struct diag_list *diags);
/* The same without overrides. */
MUST_USE enum err edge_config_read(const char *path, char *const *environment, struct edge_config *c,
                                   struct diag_list *diags);
/* Strictest of defaults (or what replaces them: the first override whose pattern matches, limit by
 * limit) and `own` (the bundle's). */
struct tenant_limits edge_config_limits(const struct edge_config *c, struct str tenant,
                                        struct tenant_limits own);
/* The configuration as JSON for /v1/config: no secrets. */
void edge_config_print(const struct edge_config *c, struct buf *out);

#endif
