/* The tenant in a claim of a JWT that this node verifies, and the cache that makes a repeat cheap.
 *
 * in:   tokens (hostile), keys of key_sets.
 * out:  a tenant's id, none, or a refusal.
 * owns: the cache: only tokens that were valid are in it, by their SHA-256, each for one rule and one version of its
 *       keys, until they expire; it holds no token. */
#include "edge/identify_rules.h"
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum { SETS = 512, WAYS = 4, KEEP_S = 600, LEEWAY_S = 10 };

struct cached_token {
    uint8_t hash[32];
    uint64_t version; /* of the keys; 0: free */
    int64_t from_s, until_s;
    uint32_t rule, used; /* when it was asked for last, by the cache's count */
    uint8_t len;
    char tenant[TENANT_BYTES];
};

struct token_cache {
    uint32_t count;
    struct cached_token sets[SETS][WAYS];
};

enum err token_cache_new(struct token_cache **out) {
    *out = calloc(1, sizeof **out);
    return *out ? OK : ERR_MEMORY;
}

void token_cache_free(struct token_cache *c) { free(c); }

static struct cached_token *set_of(struct token_cache *c, const uint8_t hash[32]) {
    return c->sets[(hash[0] | (unsigned)hash[1] << 8) % SETS];
}

static struct cached_token *cached(struct token_cache *c, const struct matcher *m, uint32_t rule,
                                   const uint8_t hash[32], int64_t now) {
    struct cached_token *set = set_of(c, hash);
    for (int i = 0; i < WAYS; i++) {
        struct cached_token *t = &set[i];
        if (t->version != m->version || t->rule != rule || memcmp(t->hash, hash, sizeof t->hash) != 0) continue;
        if (now < t->from_s || now >= t->until_s) return NULL;
        t->used = ++c->count;
        return t;
    }
    return NULL;
}

/* In the place of the one that was not asked for the longest. */
static void keep(struct token_cache *c, const struct cached_token *t) {
    struct cached_token *set = set_of(c, t->hash), *place = &set[0];
    for (int i = 1; i < WAYS; i++)
        if (!set[i].version || (place->version && c->count - set[i].used > c->count - place->used)) place = &set[i];
    *place = *t;
    place->used = ++c->count;
}

/* The token in a header's value: behind "Bearer ", or all of it when there is no other scheme. */
static struct str token_in(struct str v) {
    enum { BEARER = 6 };
    bool bearer = v.len >= BEARER && strncasecmp(v.ptr, "bearer", BEARER) == 0;
    bearer = bearer && (v.len == BEARER || v.ptr[BEARER] == ' ');
    if (!bearer) return v.len && memchr(v.ptr, ' ', v.len) ? (struct str){NULL, 0} : v;
    v = str_from(v, BEARER);
    while (v.len && v.ptr[0] == ' ') v = str_from(v, 1);
    while (v.len && v.ptr[v.len - 1] == ' ') v.len--;
    return v;
}

/* A claim by its name; names may themselves hold dots ("https://example.com/tenant"), else dots lead into objects. */
static const struct json *claim(const struct json *payload, struct str name) {
    const struct json *v = json_get(payload, name);
    if (v) return v;
    for (v = payload; v && name.ptr;) {
        const char *dot = name.len ? memchr(name.ptr, '.', name.len) : NULL;
        size_t n = dot ? (size_t)(dot - name.ptr) : name.len;
        v = json_get(v, str_head(name, n));
        name = dot ? str_from(name, n + 1) : (struct str){NULL, 0};
    }
    return v;
}

static void renew_keys(struct matcher *m) {
    if (!m->source || key_set_version(m->source) == m->version) return;
    token_keys_release(m->keys);
    m->keys = key_set_acquire(m->source, &m->version);
}

static enum identity_kind verify(struct identifier *i, uint32_t rule, struct str text, const uint8_t hash[32],
                                 int64_t now, struct arena *a, struct identity *out, bool *other) {
    struct matcher *m = &i->rules[rule];
    struct token t;
    struct token_rules rules = {.algorithms = m->algorithms, .issuer = m->rule->issuer, .audience = m->rule->audience,
                                .now_s = now, .leeway_s = LEEWAY_S};
    enum token_fault fault = token_verify(a, m->keys, text, &rules, &t);
    if (fault == TOKEN_UNKNOWN_KEY && m->source) key_set_miss(m->source);
    *other = fault == TOKEN_WRONG_ISSUER;
    if (fault == TOKEN_UNKNOWN_KEY && !m->keys) return identity_refused(out, "the keys for tokens have not come yet");
    if (fault) return identity_refused(out, token_fault_text(fault));
    const struct json *v = claim(t.payload, m->rule->name);
    if (!v) return identity_refused(out, "the token lacks the claim that names the tenant");
    if (v->kind != JSON_STRING) return identity_refused(out, "the claim that names the tenant is no string");
    out->tenant = v->text;
    if (v->text.len > TENANT_BYTES) return IDENTITY_FOUND; /* refused by its length */
    struct cached_token c = {.version = m->version, .from_s = t.from_s, .until_s = t.until_s, .rule = rule,
                             .len = (uint8_t)v->text.len};
    if (c.until_s > now + KEEP_S) c.until_s = now + KEEP_S;
    memcpy(c.hash, hash, sizeof c.hash);
    if (c.len) memcpy(c.tenant, v->text.ptr, c.len);
    keep(i->tokens, &c);
    return IDENTITY_FOUND;
}

enum identity_kind identify_by_token(struct identifier *i, uint32_t rule, const struct subject *s, struct arena *a,
                                     struct identity *out, bool *other) {
    struct matcher *m = &i->rules[rule];
    struct timespec clock;
    uint32_t n = 0;
    uint8_t hash[32];
    struct str name = m->rule->header;
    struct str v = s->extension ? s->header(s->ctx, name) : identify_call_header(s->call, name, &n);
    if (!v.ptr) return IDENTITY_NONE;
    if (n > 1) return identity_refused(out, "there are several tokens");
    struct str text = token_in(v);
    if (!text.ptr) return IDENTITY_NONE;
    if (!text.len || text.len > TOKEN_MAX_BYTES) return identity_refused(out, token_fault_text(TOKEN_MALFORMED));
    renew_keys(m);
    sha256(text.ptr, text.len, hash);
    clock_gettime(CLOCK_REALTIME_COARSE, &clock);
    const struct cached_token *t = m->version ? cached(i->tokens, m, rule, hash, clock.tv_sec) : NULL;
    if (!t) return verify(i, rule, text, hash, clock.tv_sec, a, out, other);
    out->tenant = (struct str){t->tenant, t->len};
    return IDENTITY_FOUND;
}
