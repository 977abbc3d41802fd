/* Who calls: bearer tokens by their hashes, certificates of edges; what a role may do and which
 * tenants it sees; who guessed too often. in: requests, the table tokens. out: principals, answers
 * (401, 403, 429), entries in the audit log. owns: what was seen of tokens lately. */
#include "base/clock.h"
#include "base/hash.h"
#include "control/api_private.h"
#include "control/audit.h"
#include "net/logins.h"
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    SEEN_SLOTS = 1024,
    SEEN_MS = 5000,      /* after that a token is looked up again, whatever was heard */
    USED_MS = 60 * 1000, /* used_ms is written no oftener */
    AUDIT_MS = 1000,     /* failed logins are written no oftener */
};

/* A token that opened something: texts one after the other behind it. */
struct seen {
    uint8_t hash[32];
    uint64_t heard;
    int64_t until_ms, used_ms;
    bool once;
    size_t id_len, name_len, role_len, scopes_len;
    char text[];
};

struct auth {
    pthread_mutex_t lock;
    struct seen *slots[SEEN_SLOTS];
    _Atomic uint64_t heard; /* counts auth_forget: what was seen before it is not believed */
    struct logins logins;
    _Atomic uint64_t failures;
    _Atomic int64_t audited_ms;
    _Atomic uint32_t unaudited;
};

enum err auth_new(struct auth **out) {
    struct auth *a = calloc(1, sizeof *a);
    if (!a) return ERR_MEMORY;
    if (getrandom(&a->logins.key, sizeof a->logins.key, 0) != sizeof a->logins.key ||
        pthread_mutex_init(&a->lock, NULL)) {
        free(a);
        return ERR_IO;
    }
    *out = a;
    return OK;
}

void auth_free(struct auth *a) {
    if (!a) return;
    for (uint32_t i = 0; i < SEEN_SLOTS; i++) free(a->slots[i]);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void auth_forget(struct auth *a) { atomic_fetch_add(&a->heard, 1); }
uint64_t auth_failures(const struct auth *a) { return atomic_load(&a->failures); }

/* ---- what was seen lately ---- */

static uint32_t slot_of(const uint8_t hash[32]) {
    return (uint32_t)(hash[0] | hash[1] << 8) % SEEN_SLOTS;
}

static struct str next_text(const char **at, size_t len) {
    struct str s = {*at, len};
    *at += len;
    return s;
}

static bool principal_of(const struct seen *s, struct arena *a, struct principal *out) {
    size_t len = s->id_len + s->name_len + s->role_len + s->scopes_len;
    const char *at = arena_copy(a, s->text, len);
    struct json *scopes;
    struct json_error error;
    if (!at) return false;
    out->token = next_text(&at, s->id_len);
    out->name = next_text(&at, s->name_len);
    out->role = next_text(&at, s->role_len);
    if (json_parse(a, next_text(&at, s->scopes_len), &scopes, &error)) return false;
    out->scopes = scopes->kind == JSON_OBJECT && scopes->n ? scopes : NULL;
    out->once = s->once;
    return true;
}

enum seen_how { SEEN_NEVER, SEEN_BEFORE, SEEN_LATELY };

/* A one-time token is always looked up: somebody may have used it on another replica just now. */
static enum seen_how recall(struct auth *a, const uint8_t hash[32], struct arena *arena,
                            struct principal *out) {
    pthread_mutex_lock(&a->lock);
    const struct seen *s = a->slots[slot_of(hash)];
    enum seen_how how = s && CRYPTO_memcmp(s->hash, hash, 32) == 0 ? SEEN_BEFORE : SEEN_NEVER;
    if (how == SEEN_BEFORE && s->heard == atomic_load(&a->heard) &&
        control_now_ms() < s->until_ms && !s->once && principal_of(s, arena, out))
        how = SEEN_LATELY;
    pthread_mutex_unlock(&a->lock);
    return how;
}

static void forget(struct auth *a, const uint8_t hash[32]) {
    pthread_mutex_lock(&a->lock);
    struct seen **slot = &a->slots[slot_of(hash)];
    if (*slot && CRYPTO_memcmp((*slot)->hash, hash, 32) == 0) {
        free(*slot);
        *slot = NULL;
    }
    pthread_mutex_unlock(&a->lock);
}

static void remember(struct auth *a, struct seen *s) {
    struct seen **slot = &a->slots[slot_of(s->hash)];
    pthread_mutex_lock(&a->lock);
    struct seen *old = *slot;
    *slot = s;
    pthread_mutex_unlock(&a->lock);
    free(old);
}

/* ---- looking up ---- */

enum { T_ID, T_NAME, T_ROLE, T_SCOPES, T_ONCE, T_EXPIRES, T_REVOKED, T_USED, T_HASH };

static struct seen *seen_new(const struct db_value *row, const uint8_t hash[32], uint64_t heard,
                             int64_t now_ms) {
    size_t len = row[T_ID].s.len + row[T_NAME].s.len + row[T_ROLE].s.len + row[T_SCOPES].s.len;
    struct seen *s = malloc(sizeof *s + len);
    if (!s) return NULL;
    *s = (struct seen){.heard = heard,
                       .until_ms = now_ms + SEEN_MS,
                       .used_ms = row[T_USED].i,
                       .once = row[T_ONCE].i != 0,
                       .id_len = row[T_ID].s.len,
                       .name_len = row[T_NAME].s.len,
                       .role_len = row[T_ROLE].s.len,
                       .scopes_len = row[T_SCOPES].s.len};
    memcpy(s->hash, hash, 32);
    if (row[T_EXPIRES].i && row[T_EXPIRES].i < s->until_ms) s->until_ms = row[T_EXPIRES].i;
    char *at = s->text;
    for (int i = T_ID; i <= T_SCOPES; i++) {
        if (row[i].s.len) memcpy(at, row[i].s.ptr, row[i].s.len);
        at += row[i].s.len;
    }
    return s;
}

static void note_use(struct api_call *c, const struct db_value *row, int64_t now_ms) {
    if (now_ms - row[T_USED].i < USED_MS) return;
    enum err e = DB_QUERY(c->db, c->arena, NULL,
                          "UPDATE tokens SET used_ms = $2 WHERE id = $1 AND used_ms < $2",
                          row[T_ID], db_int(now_ms));
    if (e)
        log_line(c->control->log, LOG_WARN, "a token's use is not noted", "reason", db_why(c->db),
                 NULL);
}

/* OK: c->who. ERR_NOT_FOUND: nobody's, not any more, or not yet. */
static enum err look_up(struct api_call *c, struct auth *a, const uint8_t hash[32]) {
    struct db_rows rows;
    uint64_t heard = atomic_load(&a->heard);
    int64_t now_ms = control_now_ms();
    enum err e = DB_QUERY(
        c->db, c->arena, &rows,
        "SELECT id, name, role, scopes, once, expires_ms, revoked_ms, used_ms, hash FROM tokens"
        " WHERE hash = $1",
        db_bytes(hash, 32));
    if (e) return e;
    if (!rows.n) return ERR_NOT_FOUND;
    const struct db_value *row = db_row(&rows, 0);
    if (row[T_HASH].s.len != 32 || CRYPTO_memcmp(row[T_HASH].s.ptr, hash, 32) || row[T_REVOKED].i ||
        (row[T_EXPIRES].i && row[T_EXPIRES].i <= now_ms))
        return ERR_NOT_FOUND;
    struct seen *s = seen_new(row, hash, heard, now_ms);
    if (!s || !principal_of(s, c->arena, &c->who)) {
        free(s);
        return ERR_MEMORY;
    }
    remember(a, s);
    note_use(c, row, now_ms);
    return OK;
}

/* ---- failed logins ---- */

struct failed {
    struct arena *arena;
    const char *address;
    uint32_t others;
};

static enum err audit_failed(struct db_conn *c, void *ctx) {
    struct failed *f = ctx;
    struct json *detail = json_object(f->arena);
    json_set(f->arena, detail, STR("address"), json_string(f->arena, str_of(f->address)));
    if (f->others) json_set(f->arena, detail, STR("others"), json_int(f->arena, f->others));
    return audit_add(c, f->arena, STR(""), "login.failed", STR(""), detail);
}

/* One entry a second at most; the next one counts those that have none of their own. */
static void tell_failed(struct api_call *c, struct auth *a) {
    const char *address = c->q->peer && c->q->peer->address[0] ? c->q->peer->address : "unix";
    int64_t last = atomic_load(&a->audited_ms), now_ms = clock_ms();
    logins_failed(&a->logins, c->q->peer, clock_ns());
    atomic_fetch_add(&a->failures, 1);
    log_line(c->control->log, LOG_WARN, "login failed", "address", address, NULL);
    if ((last && now_ms - last < AUDIT_MS) ||
        !atomic_compare_exchange_strong(&a->audited_ms, &last, now_ms)) {
        atomic_fetch_add(&a->unaudited, 1);
        return;
    }
    struct failed f = {c->arena, address, atomic_exchange(&a->unaudited, 0)};
    enum err e = c->db ? db_transact(c->db, audit_failed, &f) : ERR_IO;
    if (e)
        log_line(c->control->log, LOG_WARN, "a failed login is not in the audit log", "reason",
                 err_meaning(e), NULL);
}

/* ---- who it is ---- */

/* "Bearer TOKEN"; ptr NULL: no header. */
static struct str bearer(const struct http_request *q) {
    struct str v = http_header_get(q, STR("authorization"));
    if (!v.ptr) return v;
    if (v.len < 7 || !str_eq_fold(str_head(v, 7), STR("bearer "))) return STR("");
    v = str_from(v, 7);
    while (v.len && *v.ptr == ' ') v = str_from(v, 1);
    return v;
}

static bool refuse(struct api_call *c, bool tried) {
    if (tried) tell_failed(c, api_auth(c->control->api));
    api_error(c, 401, "unauthorized", "%s",
              tried ? "this token opens nothing here, or not any more"
                    : "this needs a token: Authorization: Bearer TOKEN");
    api_header(c, STR("WWW-Authenticate"), STR("Bearer"));
    return false;
}

/* The subject names the edge in the audit log and beside what it reports; the CA is who vouches for
 * it. */
static bool by_certificate(struct api_call *c) {
    const struct http_peer *p = c->q->peer;
    if (!p || !p->tls || !p->verified || !c->control->config->client_ca || !p->subject.len)
        return false;
    c->who = (struct principal){.token = STR(""), .name = p->subject, .role = STR("edge")};
    return true;
}

bool auth_identify(struct api_call *c) {
    struct auth *a = api_auth(c->control->api);
    struct str token = bearer(c->q);
    uint8_t hash[32];
    c->who = (struct principal){.token = STR(""), .name = STR(""), .role = STR("")};
    if (!token.ptr) return by_certificate(c) || refuse(c, false);
    sha256(token.ptr, token.len, hash);
    enum seen_how seen = recall(a, hash, c->arena, &c->who);
    if (seen == SEEN_LATELY) return true;
    /* Whoever guesses waits; who is known already is not kept out by a neighbour behind the same
     * address. */
    uint32_t wait = seen == SEEN_BEFORE ? 0 : logins_wait(&a->logins, c->q->peer, clock_ns());
    if (wait) {
        api_error(c, 429, "too_many_logins",
                  "too many failed logins from this address: wait before you try again");
        api_retry_after(c, wait);
        return false;
    }
    if (!c->db) {
        api_store_error(c, ERR_IO);
        return false;
    }
    enum err e = token.len && token.len <= AUTH_TOKEN_BYTES ? look_up(c, a, hash) : ERR_NOT_FOUND;
    if (e == ERR_NOT_FOUND) forget(a, hash);
    if (e && e != ERR_NOT_FOUND) api_store_error(c, e);
    return !e || (e == ERR_NOT_FOUND && refuse(c, true));
}

/* ---- roles ---- */

bool api_may(const struct principal *p, enum api_right right) {
    struct str r = p->role;
    bool admin = str_is(r, "admin"), author = str_is(r, "author"), releaser = str_is(r, "releaser");
    switch (right) {
    case RIGHT_NONE: return true;
    case RIGHT_READ: return admin || author || releaser || str_is(r, "viewer");
    case RIGHT_AUTHOR: return admin || author;
    case RIGHT_RELEASE: return admin || releaser;
    case RIGHT_EDGE: return admin || str_is(r, "edge");
    case RIGHT_ADMIN: return admin;
    case RIGHT_KNOWN: return true;
    }
    return false;
}

/* ---- scopes ---- */

/* One * at its start or end at most. */
static bool pattern_fits(struct str pattern, struct str name) {
    if (pattern.len && pattern.ptr[pattern.len - 1] == '*')
        return str_starts(name, str_head(pattern, pattern.len - 1));
    if (pattern.len && *pattern.ptr == '*') return str_ends(name, str_from(pattern, 1));
    return str_eq(pattern, name);
}

bool api_unscoped(const struct principal *p) { return !p->scopes || !p->scopes->n; }

bool api_sees(const struct principal *p, struct str tenant, const struct json *labels) {
    if (api_unscoped(p)) return true;
    const struct json *patterns = json_get_c(p->scopes, "tenants"),
                      *want = json_get_c(p->scopes, "labels");
    bool fits = !patterns;
    for (uint32_t i = 0; patterns && !fits && i < patterns->n; i++)
        fits = pattern_fits(patterns->items[i]->text, tenant);
    for (uint32_t i = 0; want && fits && i < want->n; i++) {
        const struct json *value = json_get(labels, want->keys[i]);
        fits = value && value->kind == JSON_STRING && str_eq(value->text, want->items[i]->text);
    }
    return fits;
}

bool api_need_unscoped(struct api_call *c) {
    if (api_unscoped(&c->who)) return true;
    api_error(c, 403, "scoped",
              "this token is for some tenants only, and this concerns all of them");
    return false;
}

static void add_sql(struct sql_filter *f, bool *fine, const char *format, uint32_t n) {
    size_t len = strlen(f->sql);
    int more = snprintf(f->sql + len, sizeof f->sql - len, format, n, n + 1);
    *fine = *fine && more >= 0 && (size_t)more < sizeof f->sql - len;
}

static bool add_param(struct sql_filter *f, struct str s) {
    if (f->n == DB_MAX_PARAMS) return false;
    f->params[f->n++] = db_text(s);
    return true;
}

static bool add_pattern(struct sql_filter *f, bool *fine, struct str p) {
    bool tail = p.len && p.ptr[p.len - 1] == '*', head = !tail && p.len && *p.ptr == '*';
    const char *sql = tail   ? "substr(t.id, 1, length($%1$u)) = $%1$u"
                      : head ? "substr(t.id, length(t.id) - length($%1$u) + 1) = $%1$u"
                             : "t.id = $%1$u";
    add_sql(f, fine, sql, f->n + 1);
    return add_param(f, tail ? str_head(p, p.len - 1) : head ? str_from(p, 1) : p);
}

bool api_scope_filter(const struct api_call *c, struct sql_filter *f) {
    if (api_unscoped(&c->who)) return true;
    const struct json *patterns = json_get_c(c->who.scopes, "tenants"),
                      *labels = json_get_c(c->who.scopes, "labels");
    bool fine = true;
    if (patterns && !patterns->n) add_sql(f, &fine, " AND 1 = 0", 0);
    for (uint32_t i = 0; patterns && fine && i < patterns->n; i++) {
        add_sql(f, &fine, i ? " OR " : " AND (", 0);
        fine = add_pattern(f, &fine, patterns->items[i]->text) && fine;
    }
    if (patterns && patterns->n) add_sql(f, &fine, ")", 0);
    for (uint32_t i = 0; labels && fine && i < labels->n; i++) {
        add_sql(f, &fine,
                " AND EXISTS (SELECT 1 FROM tenant_labels l WHERE l.tenant = t.id AND l.key = $%u "
                "AND l.value = $%u)",
                f->n + 1);
        fine = fine && add_param(f, labels->keys[i]) && add_param(f, labels->items[i]->text);
    }
    return fine;
}

/* ---- the first token ---- */

enum err auth_draw(char out[AUTH_DRAWN_BYTES]) {
    uint8_t random[32];
    if (getrandom(random, sizeof random, 0) != sizeof random) return ERR_IO;
    memcpy(out, "rgt_", 4);
    for (int i = 0; i < 32; i++) snprintf(out + 4 + 2 * i, 3, "%02x", random[i]);
    return OK;
}

struct once {
    struct arena *arena;
    const char *token;
    bool first, made, pending;
};

/* Two replicas that begin at once take turns at the counter's row. */
static enum err make_once(struct db_conn *c, void *ctx) {
    struct once *o = ctx;
    struct db_rows rows;
    int64_t change, now_ms = control_now_ms();
    uint8_t hash[32];
    char id[32];
    o->made = o->pending = false;
    enum err e = control_count(c, o->arena, "change", 0, &change);
    if (!e)
        e = DB_QUERY(
            c, o->arena, &rows,
            "SELECT once FROM tokens WHERE revoked_ms = 0 AND (expires_ms = 0 OR expires_ms > $1)"
            " ORDER BY once LIMIT 1",
            db_int(now_ms));
    if (e) return e;
    if (o->first && rows.n) return o->pending = db_row(&rows, 0)[0].i != 0, OK;
    control_new_id(id);
    sha256(o->token, strlen(o->token), hash);
    e = DB_QUERY(
        c, o->arena, NULL,
        "INSERT INTO tokens (id, name, hash, role, scopes, once, created_ms, created_by, "
        "expires_ms, revoked_ms,"
        " used_ms) VALUES ($1, 'one-time', $2, 'admin', '{}', 1, $3, 'regent control', $4, 0, 0)",
        db_cstr(id), db_bytes(hash, 32), db_int(now_ms), db_int(now_ms + AUTH_ONCE_MS));
    if (!e) e = audit_add(c, o->arena, STR("regent control"), "token.create", str_of(id), NULL);
    o->made = !e;
    return e;
}

enum err auth_make_once(struct db_conn *c, struct arena *a, bool first, char out[AUTH_DRAWN_BYTES],
                        bool *pending) {
    char token[AUTH_DRAWN_BYTES];
    struct once o = {.arena = a, .token = token, .first = first};
    enum err e = auth_draw(token);
    if (!e) e = db_transact(c, make_once, &o);
    if (e) return e;
    *pending = o.pending;
    memcpy(out, o.made ? token : "", o.made ? sizeof token : 1);
    return OK;
}
