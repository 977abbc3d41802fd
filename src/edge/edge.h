/* The edge node: workers, doors and the watcher, put together. */
#ifndef REGENT_EDGE_EDGE_H
#define REGENT_EDGE_EDGE_H
#include "host/host.h"

struct edge_options {
    const char *directory;
    const char *rest_address,
        *grpc_address;         /* "127.0.0.1:8181" or "unix:PATH"; NULL: door closed */
    const char *tenant_header; /* lower case */
    const char *authz_path;    /* "" : the bundle's first entrypoint */
    const char *cache_dir;     /* compiled code; NULL: none */
    uint32_t threads;          /* 0: one a core */
    uint32_t poll_ms;
    struct limits limits;
    bool fresh_instances;
    bool share_ports;                        /* start beside a node that listens there already */
    struct log log;
};

/* Serves until SIGINT or SIGTERM. Returns OK, or why it could not start (logged). */
MUST_USE enum err edge_run(const struct edge_options *options);

#endif
