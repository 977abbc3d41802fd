/* Inside of the proxy-wasm filter: what its files share. One sandbox serves one thread of the
 * proxy; streams whose bodies are being collected interleave, decisions do not. */
#ifndef REGENT_RUNTIME_PROXY_FILTER_H
#define REGENT_RUNTIME_PROXY_FILTER_H
#include "runtime/proxy/host.h"
#include "runtime/state.h"

enum {
    ROOTS_MAX = 64,        /* configurations alive at once in one sandbox */
    HEADER_NAME_MAX = 64,  /* bytes of decision_header */
    JSON_LEVELS_MAX = 200, /* of any JSON that is read: more could use up the engine's stack, and a
                              sandbox that traps is lost */
    BODY_MAX_DEFAULT = 65536
};

enum extent { EXTENT_NONE, EXTENT_DENIALS, EXTENT_ALL };

/* A plugin configuration that was accepted. */
struct root {
    uint32_t id; /* its context; 0: the place is free */
    uint32_t entrypoint, decision;
    bool has_decision;
    enum extent log, metadata;
    uint32_t body_max; /* 0: bodies are not looked at */
    uint32_t decision_header_len;
    char decision_header[HEADER_NAME_MAX + 1];
};

enum phase { PHASE_HEADERS, PHASE_BODY, PHASE_ALLOWED, PHASE_DENIED };
struct stream {
    uint32_t id; /* its context; 0: the place is free */
    uint32_t root_id;
    uint16_t root;    /* the place where the root was */
    uint8_t phase;    /* enum phase */
    uint8_t response; /* headers wait for the response */
};

/* The request that is being decided on. */
struct request {
    struct text *headers; /* name and value alternate */
    uint32_t n_headers;
    struct text method, path, host, scheme; /* len 0: there is none */
    bool is_upgrade; /* what follows the headers is no body, and may not come before the answer */
    bool has_body, body_cut;
    struct text body;
};

enum task { TASK_CONFIGURE, TASK_DECIDE, TASK_FAIL, TASK_RESPOND };

/* All of the filter's state besides the heap. */
struct filter {
    uint32_t floor; /* the heap below it outlives decisions; 0: not begun */
    struct stream *streams;
    uint32_t streams_n, streams_mask;
    struct root roots[ROOTS_MAX];
    /* of the running task */
    struct root *root;
    struct stream *stream;
    struct request request;
    value now, random; /* builtins.c: what they gave before */
    bool allowed;
    struct text reported; /* JSON of the decision, once made */
    bool body_complete;
    uint32_t body_bytes; /* of the body collected so far */
    struct text failure; /* TASK_FAIL: why the decision failed */
    uint32_t
        request_mark; /* end of what request_read has put on the heap; 0: it has not got so far */
};
extern struct filter filter;

/* ---- callbacks.c ---- */
void filter_guarded(enum task task);

/* ---- contexts.c: roots and streams by context id ---- */
struct root *root_find(uint32_t id);
/* A free place, or NULL. */
struct root *root_new(uint32_t id);
/* Empties the heap but for the table of streams. */
void filter_heap_reset(void);
struct stream *stream_find(uint32_t id);
/* NULL: no memory. Streams move when others come. */
struct stream *stream_new(uint32_t id, struct root *root);
void stream_delete(uint32_t id);
/* The stream's configuration; NULL: there is no stream, or its root is gone. */
struct root *stream_root(const struct stream *s);

/* ---- config.c ---- */
/* Reads the plugin configuration into filter.root; on a mistake fails with "config: …". */
void config_read(void);

/* ---- request.c: what the proxy knows of the request ---- */
/* Reads the headers into filter.request. */
void request_read(void);
void request_clear(void);
/* CONNECT, or a request with `upgrade`. Does not fail, and needs no request_read. */
bool request_is_upgrade(void);
/* A header's value, the first one's; len 0 and ptr NULL: none. */
struct text request_header(struct text name);
/* A property by its path, whose parts end with a zero byte each; undefined when unknown or empty.
 */
value request_property(struct text path);
/* False when unknown. */
bool request_property_integer(struct text path, int64_t *out);
/* The text as valid UTF-8: each byte that is none becomes '!', as in Envoy's ext_authz. */
struct text request_clean(struct text t);

/* ---- document.c ---- */
/* Marks what the nodes of the input's path tree stand for. Once a module. */
void document_mark(void);
/* Puts what the policy can read of the input into the slots, and where its code needs it into
 * rt_state.input. */
void document_bind(void);
/* The policy names a part of the body. */
bool document_names_body(void);

/* ---- parse.c: paths, queries, bodies as opa-envoy-plugin parses them ---- */
/* "input: …" is the failure when they are malformed. */
value parse_path(struct text path);
value parse_query(struct text path);
void parse_check_path(struct text path);
/* Null when there is none to parse, or not all of it is there. */
value parse_body(void);
bool parse_body_is_cut(void);

/* ---- decide.c ---- */
/* Evaluates and acts on it; filter.allowed says what came out. */
void decide(void);
/* The answer to a request that could not be decided on: `message` as for opa_abort, static. */
void decide_failed(struct text message);

/* ---- reply.c ---- */
/* What a decision object asks for, in opa-envoy-plugin's words; mistyped fields fail. `decision`
 * may be any value. */
void reply_allow(value decision);
/* Its own status, headers and body if it has them. `reason`: the body of a decision without one;
 * len 0: empty. */
void reply_deny(uint32_t status, value decision, struct text reason);
/* On the way back: the headers that reply_allow kept for the response. */
void reply_response_headers(void);

/* ---- report.c: log line, filter state, header ---- */
/* `reason` is empty for allowed requests; `failed`: something is wrong with the policy or the
 * request. */
void report(value decision, struct text reason, bool failed);
/* The decision as JSON for decision_header, or len 0 when there is none. */
struct text report_header(void);

#endif
