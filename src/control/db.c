/* The store: connections that are kept, transactions that begin again, statements that stay
 * prepared.
 *
 * in:   a URL; SQL with typed parameters.
 * out:  rows in the caller's arena, errors of one set for both engines.
 * owns: idle connections. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/utf8.h"
#include "control/db_private.h"
#include <stdio.h>
#include <stdlib.h>

enum { KEEP_IDLE = 32, TRIES = 12, PAUSE_MS = 4, PAUSE_MOST_MS = 250, TRY_MOST_MS = 30000 };

enum err db_fail(struct db_conn *c, enum err e, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->why, sizeof c->why, format, args);
    va_end(args);
    for (size_t n = strlen(c->why); n && strchr("\r\n .", c->why[n - 1]); n--) c->why[n - 1] = 0;
    return e;
}

/* ---- stores and connections ---- */

static const struct db_engine *engine_of(const char *url, const char **place) {
    struct str u = str_of(url);
    *place = url;
    if (str_starts(u, STR("postgres://")) || str_starts(u, STR("postgresql://")))
        return &db_postgres;
    if (!str_starts(u, STR("sqlite:")) || u.len == 7) return NULL;
    *place = url + 7;
    return &db_sqlite;
}

/* The password in "scheme://user:password@host/…": from after the colon to before the @. */
static bool find_password(struct str url, struct str *out) {
    const char *colons = memmem(url.ptr, url.len, "://", 3), *at = NULL;
    if (!colons || str_starts(url, STR("sqlite:"))) return false;
    struct str rest = str_from(url, (size_t)(colons - url.ptr) + 3);
    const char *question = memchr(rest.ptr, '?', rest.len);
    if (question) rest.len = (size_t)(question - rest.ptr);
    for (size_t i = 0; i < rest.len; i++)
        if (rest.ptr[i] == '@') at = rest.ptr + i;
    const char *colon = at ? memchr(rest.ptr, ':', (size_t)(at - rest.ptr)) : NULL;
    if (colon) *out = (struct str){colon + 1, (size_t)(at - colon) - 1};
    return colon != NULL;
}

void db_url_public(const char *url, char *out, size_t n) {
    struct str rest = str_of(url), password = {rest.ptr, 0};
    struct buf b;
    buf_init(&b, n);
    if (find_password(rest, &password)) {
        buf_put(&b, rest.ptr, (size_t)(password.ptr - rest.ptr));
        buf_cstr(&b, "***");
        rest = str_from(rest, (size_t)(password.ptr - rest.ptr) + password.len);
    }
    for (const char *at; !str_starts(str_of(url), STR("sqlite:")) &&
                         (at = memmem(rest.ptr, rest.len, "password=", 9));) {
        buf_put(&b, rest.ptr, (size_t)(at - rest.ptr) + 9);
        buf_cstr(&b, "***");
        rest = str_from(rest, (size_t)(at - rest.ptr) + 9);
        while (rest.len && *rest.ptr != '&') rest = str_from(rest, 1);
    }
    buf_str(&b, rest);
    snprintf(out, n, "%.*s", STR_FMT(buf_view(&b)));
    buf_deinit(&b);
}

static void conn_free(struct db_conn *c) {
    c->closing = true;
    if (c->handle) db_statements_clear(c), c->db->engine->disconnect(c);
    db_words_clear(&c->words);
    free(c);
}

static enum err conn_new(struct db *d, struct db_conn **out, char why[DB_WHY_BYTES]) {
    struct db_conn *c = calloc(1, sizeof *c);
    if (!c)
        return snprintf(why, DB_WHY_BYTES, "no memory for a connection to the store"), ERR_MEMORY;
    c->db = d;
    enum err e = d->engine->connect(c);
    if (!e) return *out = c, OK;
    snprintf(why, DB_WHY_BYTES, "%s", c->why);
    conn_free(c);
    return e;
}

static enum err open_store(const char *url, bool foreign, struct db **out, char why[DB_WHY_BYTES]) {
    const char *place;
    struct db_conn *first = NULL;
    const struct db_engine *engine = engine_of(url, &place);
    why[0] = 0;
    if (!engine) {
        snprintf(why, DB_WHY_BYTES, "a store is sqlite:FILE or postgres://HOST/DATABASE, not %.64s",
                 url);
        return ERR_INVALID;
    }
    struct db *d = calloc(1, sizeof *d);
    if (!d || !(d->place = strdup(place))) return free(d), ERR_MEMORY;
    d->engine = engine;
    d->foreign = foreign;
    pthread_mutex_init(&d->lock, NULL);
    enum err e = conn_new(d, &first, why);
    if (e) return db_close(d), e;
    db_put(first);
    return *out = d, OK;
}

enum err db_open(const char *url, struct db **out, char why[DB_WHY_BYTES]) {
    return open_store(url, false, out, why);
}

enum err db_open_foreign(const char *url, struct db **out, char why[DB_WHY_BYTES]) {
    return open_store(url, true, out, why);
}

void db_close(struct db *d) {
    if (!d) return;
    while (d->idle) {
        struct db_conn *c = d->idle;
        d->idle = c->next;
        conn_free(c);
    }
    pthread_mutex_destroy(&d->lock);
    free(d->shared);
    free(d->place);
    free(d);
}

bool db_is_postgres(const struct db *d) { return d->engine == &db_postgres; }
const char *db_why(const struct db_conn *c) { return c->why; }
struct db *db_of(const struct db_conn *c) {
    return c->db;
}

static struct db_conn *take_idle(struct db *d) {
    pthread_mutex_lock(&d->lock);
    struct db_conn *c = d->idle;
    if (c) d->idle = c->next, d->n_idle--;
    pthread_mutex_unlock(&d->lock);
    return c;
}

enum err db_take(struct db *d, struct db_conn **out, char why[DB_WHY_BYTES]) {
    for (struct db_conn *c; (c = take_idle(d));) {
        if (d->engine->usable(c)) return c->why[0] = 0, *out = c, OK;
        conn_free(c);
    }
    return conn_new(d, out, why);
}

void db_put(struct db_conn *c) {
    if (!c) return;
    struct db *d = c->db;
    db_rollback(c);
    pthread_mutex_lock(&d->lock);
    bool keep = !c->broken && d->n_idle < KEEP_IDLE;
    if (keep) c->next = d->idle, d->idle = c, d->n_idle++;
    pthread_mutex_unlock(&d->lock);
    if (!keep) conn_free(c);
}

/* ---- statements ---- */

static void statement_forget(struct db_conn *c, struct db_statement *s) {
    if (!s->sql) return;
    c->db->engine->forget(c, s);
    free(s->sql);
    *s = (struct db_statement){0};
}

struct db_statement *db_statement_slot(struct db_conn *c, const char *sql, uint64_t types) {
    uint64_t key = hash64(str_of(sql)) ^ types * 0x9e3779b97f4a7c15u;
    struct db_statement *set = c->statements[key % STATEMENT_SETS], *oldest = set;
    for (uint32_t i = 0; i < STATEMENT_WAYS; i++) {
        if (set[i].sql && set[i].key == key && strcmp(set[i].sql, sql) == 0)
            return set[i].used = ++c->uses, &set[i];
        if (set[i].used < oldest->used) oldest = &set[i];
    }
    statement_forget(c, oldest);
    oldest->key = key;
    oldest->used = ++c->uses;
    return oldest;
}

void db_statements_clear(struct db_conn *c) {
    for (uint32_t i = 0; i < STATEMENT_SETS; i++)
        for (uint32_t k = 0; k < STATEMENT_WAYS; k++) statement_forget(c, &c->statements[i][k]);
}

struct db_value *db_rows_add(struct db_rows *r, struct arena *a, uint32_t *cap) {
    size_t need = ((size_t)r->n + 1) * r->n_columns;
    if (need > *cap) {
        if (need > UINT32_MAX / 2) return NULL;
        uint32_t more = *cap * 2 > need ? *cap * 2 : (uint32_t)need;
        struct db_value *cells = ARENA_ARRAY(a, struct db_value, more);
        if (!cells) return NULL;
        if (r->n) memcpy(cells, r->cells, (size_t)r->n * r->n_columns * sizeof *cells);
        r->cells = cells;
        *cap = more;
    }
    return r->cells + (size_t)r->n++ * r->n_columns;
}

/* Neither engine may be left to decide what to do with text that is none. */
static enum err params_check(struct db_conn *c, const struct db_value *params, uint32_t n) {
    if (n > DB_MAX_PARAMS) return db_fail(c, ERR_INTERNAL, "a statement has %u parameters", n);
    for (uint32_t i = 0; i < n; i++) {
        struct str s = params[i].s;
        if (params[i].type != DB_TEXT || !s.len) continue;
        if (memchr(s.ptr, 0, s.len))
            return db_fail(c, ERR_INVALID, "text with a NUL byte cannot be stored");
        if (!utf8_valid(s))
            return db_fail(c, ERR_INVALID, "text that is not UTF-8 cannot be stored");
    }
    return OK;
}

enum err db_query(struct db_conn *c, struct arena *a, struct db_rows *out, const char *sql,
                  const struct db_value *params, uint32_t n_params) {
    if (c->in_transaction && c->failed) return c->failed;
    enum err e = params_check(c, params, n_params);
    if (!e) e = c->db->engine->query(c, a, out, sql, params, n_params);
    if (e && c->in_transaction) c->failed = e;
    return e;
}

enum err db_script(struct db_conn *c, const char *sql) {
    if (c->in_transaction && c->failed) return c->failed;
    enum err e = c->db->engine->script(c, sql);
    if (e && c->in_transaction) c->failed = e;
    return e;
}

/* ---- transactions ---- */

enum err db_begin(struct db_conn *c, enum db_mode mode) {
    if (c->in_transaction) return db_fail(c, ERR_INTERNAL, "a transaction is under way already");
    enum err e = c->db->engine->begin(c, mode);
    if (e) return e;
    c->in_transaction = true;
    c->mode = mode;
    c->failed = OK;
    return OK;
}

static void ended(struct db_conn *c) {
    c->in_transaction = false;
    c->failed = OK;
    db_words_clear(&c->words);
}

enum err db_commit(struct db_conn *c) {
    if (!c->in_transaction) return db_fail(c, ERR_INTERNAL, "no transaction is under way");
    enum err e = c->failed ? c->failed : c->db->engine->commit(c);
    if (e) return db_rollback(c), e;
    ended(c);
    return OK;
}

void db_rollback(struct db_conn *c) {
    if (!c->in_transaction) return;
    c->db->engine->rollback(c);
    ended(c);
}

/* Several that met wait for different times, so that they do not meet again. */
static void pause_before(uint32_t try) {
    uint64_t most = (uint64_t)PAUSE_MS << (try < 6 ? try : 6);
    if (most > PAUSE_MOST_MS) most = PAUSE_MOST_MS;
    uint64_t ns = most * 500000 + clock_ns() / 64 % (most * 500000);
    struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    nanosleep(&t, NULL);
}

enum err db_transact(struct db_conn *c, db_body *body, void *ctx) {
    enum err e = OK;
    int64_t until = clock_ms() + TRY_MOST_MS;
    for (uint32_t try = 0; try < TRIES && clock_ms() < until; try++) {
        if (try) pause_before(try);
        e = db_begin(c, DB_WRITE);
        if (!e) e = body(c, ctx);
        if (!e) e = db_commit(c);
        if (!e) return OK;
        db_rollback(c);
        if (e != ERR_OVERLOAD || c->broken) return e;
    }
    return e;
}

/* ---- words ---- */

static bool word_is(const struct db_word *w, const char *topic, struct str payload) {
    return strcmp(w->topic, topic) == 0 && str_eq((struct str){w->payload, w->len}, payload);
}

enum err db_words_add(struct db_words *w, const char *topic, struct str payload) {
    if (w->n == WORDS_MOST) db_words_clear(w), topic = "*", payload = STR("");
    for (uint32_t i = 0; i < w->n; i++)
        if (word_is(&w->items[i], topic, payload) || strcmp(w->items[i].topic, "*") == 0) return OK;
    if (w->n == w->cap) {
        uint32_t cap = w->cap ? w->cap * 2 : 8;
        struct db_word *items = realloc(w->items, cap * sizeof *items);
        if (!items) return ERR_MEMORY;
        w->items = items;
        w->cap = cap;
    }
    char *copy = malloc(payload.len + 1);
    if (!copy) return ERR_MEMORY;
    struct db_word *word = &w->items[w->n++];
    snprintf(word->topic, sizeof word->topic, "%s", topic);
    if (payload.len) memcpy(copy, payload.ptr, payload.len);
    copy[payload.len] = 0;
    word->payload = copy;
    word->len = payload.len;
    return OK;
}

void db_words_clear(struct db_words *w) {
    for (uint32_t i = 0; i < w->n; i++) free(w->items[i].payload);
    free(w->items);
    *w = (struct db_words){0};
}

enum err db_notify(struct db_conn *c, const char *topic, struct str payload) {
    if (c->in_transaction && c->failed) return c->failed;
    if (payload.len > PAYLOAD_MOST) payload = STR("*");
    struct db_value check = db_text(payload);
    enum err e = params_check(c, &check, 1);
    if (!e) e = c->db->engine->notify(c, topic, payload);
    if (e && c->in_transaction) c->failed = e;
    return e;
}

enum err db_listen(struct db *d, db_hear *hear, void *ctx) {
    if (d->listener) return ERR_EXISTS;
    d->hear = hear;
    d->hear_ctx = ctx;
    return d->engine->listen(d);
}

void db_listen_stop(struct db *d) {
    if (d && d->listener) d->engine->listen_stop(d);
}
