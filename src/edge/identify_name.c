/* The tenant in a name: of a verified certificate, of the host, of the path.
 *
 * in:   names of certificates (their CA is trusted, their form is not), Host and path of clients (hostile).
 * out:  a tenant's id, none, or a refusal.
 * owns: nothing; matchers lie in the identifier's arena.
 * A name that two readers could take for different ones is refused, not made right. */
#include "edge/identify_rules.h"

enum { HOST_BYTES = 255 };

static const char mark[] = "{tenant}";
enum { MARK = sizeof mark - 1 };

static bool is_word(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_';
}

static struct str lowered(struct arena *a, struct str s) {
    char *copy = arena_strlower(a, s.ptr, s.len);
    return (struct str){copy, copy ? s.len : 0};
}

/* ---- names with {tenant} in them ---- */

static bool matcher_hosts(struct matcher *m, struct arena *a) {
    table_init(&m->hosts, a);
    for (uint32_t i = 0; i < m->rule->map.n; i++) {
        struct tenant_host *h = &m->rule->map.items[i];
        struct str host = lowered(a, h->host);
        if (!host.ptr) return false;
        if (host.len && host.ptr[host.len - 1] == '.') host.len--;
        table_set(&m->hosts, host, &h->tenant);
    }
    return m->hosts.n > 0 || m->rule->map.n == 0;
}

bool matcher_names(struct matcher *m, struct arena *a) {
    struct str p = m->rule->pattern;
    if (m->rule->kind == TENANT_BY_HOST && m->rule->map.n) return matcher_hosts(m, a);
    m->is_dns = m->rule->kind == TENANT_BY_HOST || str_starts(p, STR("dns:"));
    if (m->rule->kind == TENANT_BY_CERTIFICATE && m->is_dns) p = str_from(p, 4);
    const char *at = p.len ? memmem(p.ptr, p.len, mark, MARK) : NULL;
    if (!at) return false;
    m->prefix = str_head(p, (size_t)(at - p.ptr));
    m->suffix = str_from(p, m->prefix.len + MARK);
    if (!m->is_dns) return true;
    m->prefix = lowered(a, m->prefix), m->suffix = lowered(a, m->suffix);
    return m->prefix.ptr && m->suffix.ptr;
}

/* What stands for {tenant}: one label, or one segment of a URI. Something longer is another name. */
static enum identity_kind part_of_name(const struct matcher *m, struct str name, struct identity *out) {
    if (name.len < m->prefix.len + m->suffix.len || !str_starts(name, m->prefix) || !str_ends(name, m->suffix))
        return IDENTITY_NONE;
    struct str part = {name.ptr + m->prefix.len, name.len - m->prefix.len - m->suffix.len};
    if (part.len && memchr(part.ptr, m->is_dns ? '.' : '/', part.len)) return IDENTITY_NONE;
    for (size_t i = 0; i < part.len; i++)
        if (!is_word(part.ptr[i]) && (m->is_dns || part.ptr[i] != '.'))
            return identity_refused(out, "the name fits, but what stands for {tenant} is no plain name");
    out->tenant = part;
    return IDENTITY_FOUND;
}

static enum identity_kind dns_name(const struct matcher *m, struct str name, struct arena *a, struct identity *out) {
    if (name.len > HOST_BYTES) return IDENTITY_NONE;
    struct str small = lowered(a, name);
    if (name.len && !small.ptr) return identity_refused(out, "out of memory");
    return part_of_name(m, small, out);
}

enum identity_kind identify_by_certificate(const struct matcher *m, const struct subject *s, struct arena *a,
                                           struct identity *out) {
    const struct http_peer *peer = s->call->peer;
    bool over_envoy = s->extension != NULL; /* then the peer is Envoy, and principal is who speaks to it */
    bool shown = !over_envoy && peer && peer->tls && peer->verified;
    const struct str *names = over_envoy ? &s->principal : !shown ? NULL : m->is_dns ? peer->dns_names : peer->uris;
    uint32_t n = over_envoy ? s->principal.len > 0 : !shown ? 0 : m->is_dns ? peer->n_dns_names : peer->n_uris;
    struct str found = {NULL, 0};
    for (uint32_t i = 0; i < n && i < HTTP_MAX_PEER_NAMES; i++) {
        struct identity one = {.tenant = {NULL, 0}};
        enum identity_kind k = m->is_dns ? dns_name(m, names[i], a, &one) : part_of_name(m, names[i], &one);
        if (k == IDENTITY_REFUSED) return identity_refused(out, one.why);
        if (k == IDENTITY_NONE) continue;
        if (found.ptr && !str_eq(found, one.tenant))
            return identity_refused(out, "the certificate names several tenants");
        found = one.tenant;
    }
    out->tenant = found;
    return found.ptr ? IDENTITY_FOUND : IDENTITY_NONE;
}

/* ---- host ---- */

/* Is s ":" and digits, or nothing? */
static bool is_port(struct str s) {
    if (s.len > 6 || (s.len && s.ptr[0] != ':')) return false;
    for (size_t i = 1; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
    return true;
}

/* The name in lower case without port and final dot; false: no plain host (user, path, blanks, commas, bytes past
 * ASCII). */
static bool plain_host(struct str s, char out[HOST_BYTES], struct str *host) {
    size_t n = 0, end;
    bool literal = s.len && s.ptr[0] == '[';
    if (literal) {
        const char *close = memchr(s.ptr, ']', s.len);
        end = close ? (size_t)(close - s.ptr) + 1 : 0;
    } else {
        const char *colon = s.len ? memchr(s.ptr, ':', s.len) : NULL;
        end = colon ? (size_t)(colon - s.ptr) : s.len;
    }
    if (!end || end > HOST_BYTES || !is_port(str_from(s, end))) return false;
    for (; n < end; n++) {
        out[n] = char_lower(s.ptr[n]);
        if (!is_word(out[n]) && out[n] != '.' && !(literal && strchr("[]:%", out[n]))) return false;
        if (!out[n]) return false;
    }
    if (n > 1 && out[n - 1] == '.') n--;
    *host = (struct str){out, n};
    return true;
}

/* HTTP/2 has :authority, which comes as host, and may have a host beside it. */
static bool several_hosts(const struct http_request *q) {
    struct str first = {NULL, 0};
    for (uint32_t i = 0; i < q->n_headers; i++) {
        if (!str_is(q->headers[i].name, "host")) continue;
        if (first.ptr && !str_eq(first, q->headers[i].value)) return true;
        first = q->headers[i].value;
    }
    return false;
}

enum identity_kind identify_by_host(const struct matcher *m, const struct subject *s, struct arena *a,
                                    struct identity *out) {
    char name[HOST_BYTES];
    struct str host;
    if (!s->extension && several_hosts(s->call)) return identity_refused(out, "there are several hosts");
    if (!s->host.len) return IDENTITY_NONE;
    if (!plain_host(s->host, name, &host)) return identity_refused(out, "the host is no plain name");
    if (m->rule->map.n) {
        const struct str *tenant = table_get(&m->hosts, host);
        if (tenant) out->tenant = *tenant;
        return tenant ? IDENTITY_FOUND : IDENTITY_NONE;
    }
    enum identity_kind k = part_of_name(m, host, out);
    if (k != IDENTITY_FOUND) return k;
    out->tenant.ptr = arena_copy(a, out->tenant.ptr, out->tenant.len);
    return out->tenant.ptr ? k : identity_refused(out, "out of memory");
}

/* ---- path ---- */

bool matcher_path(struct matcher *m, struct arena *a) {
    struct str p = m->rule->pattern;
    bool found = false;
    (void)a;
    if (!p.len || p.ptr[0] != '/') return false;
    if (p.len > 1 && p.ptr[p.len - 1] == '/') p.len--;
    while (p.len) {
        size_t n = 1;
        while (n < p.len && p.ptr[n] != '/') n++;
        struct str segment = {p.ptr + 1, n - 1};
        if (m->n_segments == PATH_SEGMENTS || !segment.len || segment.len > TENANT_BYTES) return false;
        if (str_is(segment, mark)) m->tenant_segment = m->n_segments, found = true;
        m->segments[m->n_segments++] = segment;
        p = str_from(p, n);
    }
    return found;
}

/* The byte at *at with its escape undone; -1: a bad escape. */
static int next_byte(struct str s, size_t *at) {
    char ch = s.ptr[*at];
    if (ch != '%') return ++*at, (uint8_t)ch;
    int high = *at + 2 < s.len ? char_hex(s.ptr[*at + 1]) : -1, low = high < 0 ? -1 : char_hex(s.ptr[*at + 2]);
    *at += 3;
    return low < 0 ? -1 : high * 16 + low;
}

/* Why two readers might see different segments in it, or NULL: what one takes as it is, another may decode, shorten, or
 * cut parameters (;) or a fragment (#) off. */
static const char *path_fault(struct str p) {
    uint32_t len = 0, dots = 0;
    bool parameters = false;
    if (p.len && memchr(p.ptr, '#', p.len)) return "the path holds a #, where some readers end it";
    for (size_t at = 0; at <= p.len;) {
        int ch = at == p.len ? (at++, '/') : next_byte(p, &at);
        if (ch < 0) return "the path has a bad escape";
        if (ch < 0x20 || ch == 0x7f) return "the path holds a control character";
        if (ch == '/' || ch == '\\') {
            if (len && len == dots && len <= 2) return "the path has . or .. as a segment";
            len = dots = 0;
            parameters = false;
        } else if (ch == ';') {
            parameters = true;
        } else if (!parameters) {
            len++;
            dots += ch == '.';
        }
    }
    return NULL;
}

/* A segment, decoded into out; its length, -1: it cannot stand there. Escapes were checked. */
static int decode_segment(struct str s, char out[TENANT_BYTES]) {
    int n = 0;
    for (size_t at = 0; at < s.len;) {
        int ch = next_byte(s, &at);
        if (ch < 0 || ch == '/' || ch == '\\' || ch == '%' || ch == ';' || n == TENANT_BYTES) return -1;
        out[n++] = (char)ch;
    }
    return n;
}

/* Might another reader take this segment, which is no plain one, for `wanted`? */
static bool may_be(struct str raw, struct str wanted) {
    bool has_escape = memchr(raw.ptr, '%', raw.len) || memchr(raw.ptr, '\\', raw.len);
    return has_escape || (str_starts(raw, wanted) && raw.len > wanted.len && raw.ptr[wanted.len] == ';');
}

/* What remains of the path as sent behind `used` bytes, beginning with a slash. */
static bool rest_of(struct str path, size_t used, struct arena *a, struct str *out) {
    struct str rest = str_from(path, used);
    *out = rest.len ? rest : STR("/");
    if (!rest.len || rest.ptr[0] == '/') return true;
    size_t n;
    const char *copy = arena_printf(a, &n, "/%.*s", STR_FMT(rest));
    *out = (struct str){copy, copy ? n : 0};
    return copy != NULL;
}

enum identity_kind identify_by_path(const struct matcher *m, const struct subject *s, struct arena *a,
                                    struct identity *out) {
    char text[TENANT_BYTES];
    size_t end = 0, at = 0;
    while (end < s->path.len && s->path.ptr[end] != '?') end++;
    struct str p = str_head(s->path, end), tenant = {NULL, 0};
    if (!end) return IDENTITY_NONE;
    if (p.ptr[0] != '/') return identity_refused(out, "the path does not begin with a slash");
    const char *fault = path_fault(p);
    if (fault) return identity_refused(out, fault);
    for (uint32_t k = 0; k < m->n_segments; k++) {
        if (at == p.len) return IDENTITY_NONE;
        size_t n = 1;
        while (at + n < p.len && p.ptr[at + n] != '/') n++;
        struct str raw = {p.ptr + at + 1, n - 1};
        int len = decode_segment(raw, text);
        bool is_tenant = k == m->tenant_segment, last = at + n == p.len;
        at += n;
        if (!raw.len && !is_tenant && last) return IDENTITY_NONE;
        if (!raw.len)
            return identity_refused(out, is_tenant ? "the path has no tenant" : "the path has an empty segment");
        if (len < 0 && is_tenant) return identity_refused(out, "the path's tenant is no plain segment");
        if (is_tenant) {
            tenant = (struct str){arena_copy(a, text, (size_t)len), (size_t)len};
            if (!tenant.ptr) return identity_refused(out, "out of memory");
        } else if (len < 0 && may_be(raw, m->segments[k])) {
            return identity_refused(out, "the path is ambiguous where the tenant is looked for");
        } else if (len < 0 || !str_eq((struct str){text, (size_t)len}, m->segments[k])) {
            return IDENTITY_NONE;
        }
    }
    if (!rest_of(s->path, at, a, &out->path)) return identity_refused(out, "out of memory");
    out->tenant = tenant;
    return IDENTITY_FOUND;
}
