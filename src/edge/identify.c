/* Finds the tenant of a request: rules in their order, the first that finds one or refuses decides.
 *
 * in:   what a door knows of a request (hostile but for what rules trust), rules, keys.
 * out:  a tenant's id that is valid and that the listener serves, or why there is none.
 * owns: its rules made ready, and a cache of tokens.
 * What is found but not valid refuses: falling through would let a client choose which rule names it. */
#include "base/utf8.h"
#include "edge/identify_rules.h"
#include <stdlib.h>

enum { IDENTIFIER_BYTES = 64 << 20 };

static const char *word_of(enum tenant_rule_kind kind) {
    switch (kind) {
    case TENANT_BY_EXTENSION: return "context_extension";
    case TENANT_BY_CERTIFICATE: return "client_certificate";
    case TENANT_BY_JWT: return "jwt";
    case TENANT_BY_HOST: return "host";
    case TENANT_BY_PATH: return "path";
    case TENANT_BY_HEADER: return "header";
    }
    return "";
}

/* ---- simple rules ---- */

static enum identity_kind by_extension(const struct matcher *m, const struct subject *s, struct identity *out) {
    struct str v = s->extension ? s->extension(s->ctx, m->rule->name) : (struct str){NULL, 0};
    if (!v.ptr) return IDENTITY_NONE;
    out->tenant = v;
    return IDENTITY_FOUND;
}

struct str identify_call_header(const struct http_request *q, struct str name, uint32_t *n) {
    struct str found = {NULL, 0};
    *n = 0;
    for (uint32_t i = 0; i < q->n_headers; i++) {
        if (!str_eq(q->headers[i].name, name)) continue;
        if (!(*n)++) found = q->headers[i].value;
    }
    return found;
}

static bool in_range(const struct address_range *r, const struct http_peer *p) {
    if (r->unix_socket || p->unix_socket) return r->unix_socket && p->unix_socket;
    uint32_t bytes = r->bits / 8, rest = r->bits % 8;
    if (r->bits > 128 || memcmp(r->ip, p->ip, bytes) != 0) return false;
    return rest == 0 || ((r->ip[bytes] ^ p->ip[bytes]) >> (8 - rest)) == 0;
}

static bool is_trusted(const struct tenant_rule *r, const struct http_peer *p) {
    for (uint32_t i = 0; p && i < r->trusted.n; i++)
        if (in_range(&r->trusted.items[i], p)) return true;
    return false;
}

static enum identity_kind by_header(const struct matcher *m, const struct subject *s, struct identity *out) {
    uint32_t n = 0;
    bool described = m->rule->of_subject && s->extension;
    struct str v = described ? s->header(s->ctx, m->rule->name) : identify_call_header(s->call, m->rule->name, &n);
    if (!v.ptr) return IDENTITY_NONE;
    if (!is_trusted(m->rule, s->call->peer))
        return identity_refused(out, "the tenant's header comes from an address that is not trusted");
    if (n > 1 || (v.len && memchr(v.ptr, ',', v.len)))
        return identity_refused(out, "the tenant's header has several values");
    out->tenant = v;
    return IDENTITY_FOUND;
}

/* ---- all rules ---- */

static enum identity_kind try_rule(struct identifier *i, uint32_t rule, const struct subject *s, struct arena *a,
                                   struct identity *out, bool *other) {
    const struct matcher *m = &i->rules[rule];
    switch (m->rule->kind) {
    case TENANT_BY_EXTENSION: return by_extension(m, s, out);
    case TENANT_BY_CERTIFICATE: return identify_by_certificate(m, s, a, out);
    case TENANT_BY_JWT: return identify_by_token(i, rule, s, a, out, other);
    case TENANT_BY_HOST: return identify_by_host(m, s, a, out);
    case TENANT_BY_PATH: return identify_by_path(m, s, a, out);
    case TENANT_BY_HEADER: return by_header(m, s, out);
    }
    return IDENTITY_NONE;
}

static const char *id_fault(struct str id) {
    bool ascii = true;
    if (!id.len) return "the tenant's id is empty";
    if (id.len > TENANT_BYTES) return "the tenant's id is longer than 127 bytes";
    if (id.ptr[0] == '.') return "the tenant's id begins with a dot";
    for (size_t i = 0; i < id.len; i++) {
        uint8_t ch = (uint8_t)id.ptr[i];
        if (ch < 0x20 || ch == 0x7f || ch == '/') return "the tenant's id holds a slash or a control character";
        ascii = ascii && ch < 0x80;
    }
    return ascii || utf8_valid(id) ? NULL : "the tenant's id is no UTF-8";
}

/* What a rule found becomes an answer that lives as long as the request, or is refused. */
static enum identity_kind settle(const struct subject *s, struct arena *a, struct identity *out) {
    const struct edge_listener *l = s->call->listener;
    out->why = id_fault(out->tenant);
    if (!out->why && l && l->tenants.n && !name_list_has(&l->tenants, out->tenant))
        out->why = "this listener does not serve the tenant", out->by = "listener"; /* the rule's own word was right */
    const char *copy = out->why ? NULL : arena_copy(a, out->tenant.ptr, out->tenant.len);
    if (!copy && !out->why) out->why = "out of memory";
    out->tenant.ptr = copy;
    if (!copy) out->tenant = (struct str){NULL, 0}, out->path = s->path;
    return copy ? IDENTITY_FOUND : IDENTITY_REFUSED;
}

int identity_status(enum identity_kind kind, const struct identity *who) {
    return kind == IDENTITY_REFUSED && who->by && strcmp(who->by, "jwt") == 0 ? 401 : 403;
}

enum identity_kind identify(struct identifier *i, const struct subject *s, struct arena *a, struct identity *out) {
    const struct matcher *refused = NULL; /* a JWT rule: its token was of another issuer */
    *out = (struct identity){.path = s->path};
    for (uint32_t k = 0; k < i->n; k++) {
        const struct matcher *m = &i->rules[k];
        bool other = false;
        if (refused && (m->rule->kind != TENANT_BY_JWT || !str_eq(m->rule->header, refused->rule->header))) continue;
        enum identity_kind kind = try_rule(i, k, s, a, out, &other);
        if (kind == IDENTITY_NONE) continue;
        out->by = m->by;
        if (kind == IDENTITY_FOUND) return settle(s, a, out);
        out->tenant = (struct str){NULL, 0};
        out->path = s->path;
        if (!other) return IDENTITY_REFUSED;
        refused = m;
    }
    if (refused) return IDENTITY_REFUSED;
    out->why = i->n ? "no rule of tenant_from finds a tenant" : "tenant_from has no rules";
    return IDENTITY_NONE;
}

/* ---- life ---- */

static uint32_t algorithms_of(const struct tenant_rule *r) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < r->algorithms.n; i++) bits |= token_algorithm(r->algorithms.items[i]);
    if (r->jwks_url) bits &= TOKEN_ASYMMETRIC; /* a secret is not published */
    return r->algorithms.n ? bits : TOKEN_ASYMMETRIC;
}

static enum err make_ready(struct identifier *i, uint32_t rule, struct key_sets *keys) {
    struct matcher *m = &i->rules[rule];
    bool ok = true;
    m->rule = &i->config->tenant_from.items[rule];
    m->by = word_of(m->rule->kind);
    switch (m->rule->kind) {
    case TENANT_BY_EXTENSION:
    case TENANT_BY_HEADER: break;
    case TENANT_BY_CERTIFICATE:
    case TENANT_BY_HOST: ok = matcher_names(m, &i->arena); break;
    case TENANT_BY_PATH: ok = matcher_path(m, &i->arena); break;
    case TENANT_BY_JWT:
        m->algorithms = algorithms_of(m->rule);
        m->source = key_sets_of(keys, rule);
        if (!i->tokens && token_cache_new(&i->tokens)) return ERR_MEMORY;
        break;
    }
    return ok ? OK : ERR_INVALID;
}

enum err identifier_new(const struct edge_config *config, struct key_sets *keys, struct identifier **out) {
    struct identifier *i = calloc(1, sizeof *i);
    if (!i) return ERR_MEMORY;
    arena_init(&i->arena, IDENTIFIER_BYTES);
    i->config = config;
    i->n = config->tenant_from.n;
    i->rules = ARENA_ARRAY(&i->arena, struct matcher, i->n ? i->n : 1);
    enum err e = i->rules ? OK : ERR_MEMORY;
    for (uint32_t k = 0; !e && k < i->n; k++) e = make_ready(i, k, keys);
    if (e) identifier_free(i);
    else *out = i;
    return e;
}

void identifier_free(struct identifier *i) {
    if (!i) return;
    for (uint32_t k = 0; i->rules && k < i->n; k++) token_keys_release(i->rules[k].keys);
    token_cache_free(i->tokens);
    arena_deinit(&i->arena);
    free(i);
}
