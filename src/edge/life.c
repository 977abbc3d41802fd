/* The node's beginning and end, as far as others see them.
 * in: the configuration, tenants, a running node, systemd. out: ready or not; sockets; states for systemd.
 * owns: inherited sockets, the control socket. */
#include "edge/life.h"
#include "base/service.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { NAMED = 10, MANY_TENANTS = 256 };

/* ---- ready ---- */

struct missing {
    struct buf *out;
    uint32_t n;
};

static void miss(struct missing *m, struct str what) {
    const char *before = m->n ? ", " : "required tenants are missing: ";
    if (m->out && m->n < NAMED) buf_printf(m->out, "%s%.*s", before, STR_FMT(what));
    m->n++;
}

static bool is_pattern(struct str s) { return s.len && (s.ptr[0] == '*' || s.ptr[s.len - 1] == '*'); }

static void look_for(const struct node *n, struct str pattern, struct missing *m) {
    const struct tenant_entry *t;
    uint32_t there = 0;
    if (!is_pattern(pattern)) {
        t = tenants_find(n->tenants, pattern);
        if (!t || !t->policy) miss(m, pattern);
        return;
    }
    for (uint32_t i = 0; (t = tenants_at(n->tenants, i)); i++) {
        if (!name_matches(pattern, str_of(t->tenant->id))) continue;
        there++;
        if (!t->policy) miss(m, str_of(t->tenant->id));
    }
    if (!there) miss(m, pattern);
}

bool node_ready(const struct node *n, const struct edge_config *c, struct buf *out) {
    struct missing m = {.out = out};
    const char *why = atomic_load_explicit(&n->draining, memory_order_relaxed)   ? "the node is about to stop"
                      : !atomic_load_explicit(&n->scanned, memory_order_acquire) ? "the node is loading policies"
                                                                                 : NULL;
    if (why) {
        if (out) buf_cstr(out, why);
        return false;
    }
    for (uint32_t i = 0; i < c->required.n; i++) look_for(n, c->required.items[i], &m);
    if (out && m.n > NAMED) buf_printf(out, " and %u more", m.n - NAMED);
    return m.n == 0;
}

bool node_ready_is_long(const struct node *n, const struct edge_config *c) {
    bool patterns = c->required.n > MANY_TENANTS;
    for (uint32_t i = 0; i < c->required.n && !patterns; i++) patterns = is_pattern(c->required.items[i]);
    return patterns && tenants_at(n->tenants, MANY_TENANTS) != NULL;
}

/* ---- beginning ---- */

void life_init(struct life *l) { *l = (struct life){.channel = -1}; }

enum err life_begin(struct life *l, const struct edge_config *c, char *why, size_t why_bytes) {
    enum err e = inherited_of_systemd(&l->inherited);
    if (e || !c->takeover) return e;
    e = takeover_connect(c->takeover, &l->channel, why, why_bytes);
    return e == ERR_NOT_FOUND ? OK : e; /* the first of its line */
}

enum err life_receive(struct life *l, char *why, size_t why_bytes) {
    return l->channel < 0 ? OK : takeover_receive(l->channel, &l->inherited, why, why_bytes);
}

/* Sockets that no listener asked for. */
static void close_rest(struct life *l, const struct log *log) {
    for (uint32_t i = 0; i < l->inherited.n; i++)
        if (l->inherited.items[i].fd >= 0)
            log_line(log, LOG_WARN, "inherited socket not used", "address", l->inherited.items[i].address, NULL);
    inherited_deinit(&l->inherited);
}

void life_serve(struct life *l, const struct edge_config *c, struct server **servers, uint32_t n,
                const struct log *log) {
    char why[256] = "", state[64];
    close_rest(l, log);
    if (l->channel >= 0) {
        enum err e = takeover_ready(l->channel);
        if (e)
            log_line(log, LOG_WARN, "the node before was gone already", "at", c->takeover, NULL);
        else
            log_line(log, LOG_INFO, "took over", "from", c->takeover, NULL);
        close(l->channel);
        l->channel = -1;
    }
    if (c->takeover) {
        struct handover_options o = {.address = c->takeover, .servers = servers, .n_servers = n, .log = log};
        if (handover_new(&o, &l->handover, why, sizeof why))
            log_line(log, LOG_ERROR, "no node will be able to take over from this one", "reason", why, NULL);
    }
    snprintf(state, sizeof state, "READY=1\nMAINPID=%d", (int)getpid());
    service_notify(state);
}

void life_end_handover(struct life *l) {
    handover_free(l->handover);
    l->handover = NULL;
}

void life_deinit(struct life *l) {
    life_end_handover(l);
    if (l->channel >= 0) close(l->channel);
    inherited_deinit(&l->inherited);
    life_init(l);
}
