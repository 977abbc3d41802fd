/* The table of edge.yaml's keys, and what reading them shares. */
#ifndef REGENT_EDGE_CONFIG_KEYS_H
#define REGENT_EDGE_CONFIG_KEYS_H
#include "base/words.h"
#include "base/yaml.h"
#include "edge/config.h"

enum config_kind {
    KEY_TEXT,       /* struct str, least to most bytes */
    KEY_HEADER,     /* struct str: a header's name, put into lower case */
    KEY_DECISION,   /* struct str: a/b/c, slashes around it cut off */
    KEY_FILE,       /* const char *: path or address, not empty */
    KEY_URL,        /* const char * */
    KEY_SWITCH,     /* bool */
    KEY_COUNT,      /* uint32_t */
    KEY_TIME,       /* uint64_t, microseconds */
    KEY_SIZE,       /* uint64_t, bytes */
    KEY_NAMES,      /* struct name_list: patterns of tenant ids */
    KEY_REQUIRED,   /* the same, or `all` */
    KEY_TEXTS,      /* struct name_list: any texts, least to most bytes */
    KEY_ALGORITHMS, /* struct name_list */
    KEY_DOORS,      /* uint32_t: enum door_kind */
    KEY_HOSTS,      /* tenant_rule.map */
    KEY_ADDRESSES,  /* tenant_rule.trusted */
    KEY_LEVEL,      /* enum log_level */
    KEY_FORMAT,     /* int: struct log's json */
    KEY_LABELS,     /* struct json * */
    KEY_SIGNERS,    /* uint32_t: enum token_algorithm */
    KEY_PATHS,      /* struct verify_patterns */
    KEY_LIMITS,     /* struct tenant_limits */
    KEY_RULES,      /* edge_config.tenant_from */
    KEY_LISTENERS,  /* edge_config.listeners */
    KEY_GROUPS,     /* edge_config.groups */
    KEY_OVERRIDES,  /* edge_config.overrides */
    KEY_HEADERS,    /* struct name_list: headers' names, put into lower case */
    KEY_SHARE,      /* uint32_t: millionths */
    KEY_FULL,       /* bool: wait */
    KEY_EVENTS,     /* edge_config.decision_log.tenants */
    KEY_SERVER,     /* const char *: http:// or https://, whose host config_sources.c looks at */
    KEY_HOST_NAMES, /* struct name_list: hosts, with one `*` at their start or end */
    KEY_FORM,       /* bool: bundle, module */
    KEY_SOURCES     /* edge_config.sources */
};

struct config_key {
    const char *path; /* "listeners[].tls.key" */
    enum config_kind kind;
    size_t offset; /* of the field in its owner */
    uint64_t least, most;
    const char *fallback; /* default, as it would stand in the file; "": none */
    const char *meaning;
};
extern const struct config_key config_keys[];
extern const uint32_t n_config_keys;

/* Key `name` below `prefix` ("", "node.", "listeners[].tls."), or NULL. */
const struct config_key *config_key_find(const char *prefix, struct str name);
/* Is it a section: are there keys below it? */
bool config_key_section(const char *prefix, struct str name);
/* REGENT_EDGE_NODE_THREADS for "node.threads". */
void config_key_variable(const char *path, char *out, size_t out_bytes);

/* One reading of a configuration: all lies in the configuration's arena, whose end jumps. */
struct config_reader {
    struct edge_config *c;
    struct arena *a;
    struct diag_list *diags;
};
void config_problem(struct config_reader *r, struct loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void config_warning(struct config_reader *r, struct loc loc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "unknown key `x`" with the likeliest way forward. */
void config_unknown_key(struct config_reader *r, const char *prefix, struct str name, struct loc loc);
void config_unknown_variable(struct config_reader *r, struct str name, struct loc loc);

/* Sets one key's field in `owner`; keys with items of their own go to config_items.c. */
void config_set(struct config_reader *r, const struct config_key *k, const struct json *v, void *owner);
/* All members of an object below prefix; what is not known is a problem. */
void config_section_read(struct config_reader *r, const char *prefix, const struct json *object, void *owner);
/* Defaults of the keys below prefix, but not of those in lists. */
void config_defaults(struct config_reader *r, const char *prefix, void *owner);
/* "wants …, not …". */
void config_wants(struct config_reader *r, const struct config_key *k, const struct json *v, const char *what);

void config_rules_read(struct config_reader *r, const struct json *v);
void config_listeners_read(struct config_reader *r, const struct json *v);
void config_groups_read(struct config_reader *r, const struct json *v);
void config_sources_read(struct config_reader *r, const struct json *v);
/* "http": the section of a kind of source. */
const char *config_source_word(enum source_kind kind);
/* Is the host of this http(s) URL this machine? */
bool config_url_is_local(struct str url);
void config_overrides_read(struct config_reader *r, const struct json *v);
void config_events_read(struct config_reader *r, const struct json *v);
void config_limits_read(struct config_reader *r, const char *path, const struct json *v, struct tenant_limits *out);
/* Is it a tenant's id, with one `*` at its start or end where a pattern may stand? A problem if not. */
bool config_tenant_name(struct config_reader *r, struct str s, bool pattern, struct loc loc);
struct str config_lower(struct config_reader *r, struct str s); /* a copy, for names of hosts */
/* "10.0.0.0/8", "::1", "unix". */
bool config_range_read(struct str text, struct address_range *out);
/* server_listen's addresses; NULL or what is wrong with one. `shape` gets a text that is the same for addresses that
 * are the same, "" for port 0. */
enum { CONFIG_SHAPE_BYTES = 160 };
const char *config_address_wrong(const char *address, char shape[CONFIG_SHAPE_BYTES]);
/* The word of a rule: "header". */
const char *config_rule_word(enum tenant_rule_kind kind);

/* Can the file be read, and if it is secret, by nobody else? false after a problem. */
bool config_file_check(struct config_reader *r, const char *path, bool secret, struct loc loc);
void config_folder_check(struct config_reader *r, const char *path, struct loc loc);
/* A JWT rule's keys_file: does it hold keys? */
void config_token_keys_check(struct config_reader *r, const struct tenant_rule *rule, bool secrets, struct loc loc);
/* A section `signature` that was read (given: its value, or NULL): is it whole, does keys_file hold keys? */
void config_signature_check(struct config_reader *r, const struct verify_rules *rules, const struct json *given);
/* The files of a listener's TLS, and whether they fit each other. */
void config_tls_check(struct config_reader *r, const struct edge_listener *l, const struct json *tls);
/* What no key shows alone: rules that can never work, addresses given twice, files, … `tree`: places of what was
 * given. */
void config_check(struct config_reader *r, const struct json *tree);

/* The doors admin and distribution: who may open them, on which listeners. */
void config_admin_check(struct config_reader *r, const struct json *tree);

extern const char *const config_doors[]; /* "rest", … by bit */
extern const uint32_t n_config_doors;

#endif
