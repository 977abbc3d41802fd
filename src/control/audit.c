/* The audit log's chain: adds entries, checks them.
 *
 * in:   what was done, in the transaction that did it; entries of a store or of a reply.
 * out:  rows of `audit`; whether each entry fits the one before it.
 * owns: nothing. */
#include "control/audit.h"
#include "base/clock.h"
#include "base/hash.h"
#include <stdio.h>
#include <strings.h>

enum { PAGE = 1000, PAGE_BYTES = 256 << 20, ENTRY_BYTES = 16 << 20, TIME_BYTES = 48 };

static void utc_ms(int64_t ms, char out[TIME_BYTES]) {
    struct tm t;
    char second[32];
    time_t seconds = (time_t)(ms / 1000);
    out[0] = 0;
    if (gmtime_r(&seconds, &t) && strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &t))
        snprintf(out, TIME_BYTES, "%s.%03dZ", second, (int)(ms % 1000));
}

static struct json *entry_json(struct arena *a, int64_t seq, int64_t at_ms, struct str who,
                               struct str action, struct str object, const struct json *detail) {
    char at[TIME_BYTES];
    utc_ms(at_ms, at);
    char *kept = arena_strndup(a, at, strlen(at));
    struct json *e = json_object(a);
    if (!kept || !e) return NULL;
    json_set(a, e, STR("seq"), json_int(a, seq));
    json_set(a, e, STR("at"), json_string(a, str_of(kept)));
    json_set(a, e, STR("who"), json_string(a, who));
    json_set(a, e, STR("action"), json_string(a, action));
    json_set(a, e, STR("object"), json_string(a, object));
    json_set(a, e, STR("detail"), detail ? (struct json *)detail : json_object(a));
    for (uint32_t i = 0; i < e->n; i++)
        if (!e->items[i]) return NULL;
    return e->n == 6 ? e : NULL;
}

struct json *audit_json(struct arena *a, const struct db_value *row) {
    struct json *detail, *e;
    struct json_error error;
    if (json_parse(a, row[5].s, &detail, &error)) return NULL;
    e = entry_json(a, row[0].i, row[1].i, row[2].s, row[3].s, row[4].s, detail);
    struct json *hash = e ? json_string(a, row[6].s) : NULL;
    if (!hash) return NULL;
    json_set(a, e, STR("hash"), hash);
    return e->n == 7 ? e : NULL;
}

/* Of the entry without its member "hash". */
static enum err chain_hash(struct arena *a, const char *before, const struct json *entry,
                           char out[65]) {
    struct buf text;
    struct json *bare = json_object(a);
    if (!bare) return ERR_MEMORY;
    for (uint32_t i = 0; i < entry->n; i++)
        if (!str_is(entry->keys[i], "hash")) json_set(a, bare, entry->keys[i], entry->items[i]);
    buf_init(&text, ENTRY_BYTES);
    buf_cstr(&text, before);
    json_print(bare, true, 0, &text);
    enum err e = text.err;
    if (!e) sha256_hex(text.ptr, text.len, out);
    buf_deinit(&text);
    return e;
}

static enum err detail_text(const struct json *detail, struct arena *a, struct str *out) {
    struct buf text;
    if (!detail) return *out = STR("{}"), OK;
    buf_init(&text, ENTRY_BYTES);
    json_print(detail, true, 0, &text);
    enum err e = text.err;
    out->len = text.len;
    if (!e && !(out->ptr = arena_copy(a, text.ptr, text.len))) e = ERR_MEMORY;
    buf_deinit(&text);
    return e;
}

/* ---- adding ---- */

enum { COLUMNS = 7, ROWS_AT_ONCE = DB_MAX_PARAMS / COLUMNS };

/* Fills in one entry's row; `hash` is that of the entry before it, then its own. */
static enum err fill_row(struct arena *a, struct str who, const struct audit_note *note,
                         int64_t seq, int64_t at_ms, char hash[65], struct db_value row[COLUMNS]) {
    struct str text;
    char before[65];
    enum err e = detail_text(note->detail, a, &text);
    if (e) return e;
    struct json *entry =
        entry_json(a, seq, at_ms, who, str_of(note->action), note->object, note->detail);
    memcpy(before, hash, sizeof before);
    if (!entry) return ERR_MEMORY;
    if ((e = chain_hash(a, before, entry, hash))) return e;
    char *kept = arena_strndup(a, hash, 64);
    if (!kept) return ERR_MEMORY;
    const struct db_value values[COLUMNS] = {
        db_int(seq),           db_int(at_ms), db_text(who), db_cstr(note->action),
        db_text(note->object), db_text(text), db_cstr(kept)};
    memcpy(row, values, sizeof values);
    return OK;
}

static enum err insert_rows(struct db_conn *c, struct arena *a, const struct db_value *values,
                            uint32_t n) {
    struct buf sql;
    buf_init(&sql, 4096);
    buf_cstr(&sql, "INSERT INTO audit (" AUDIT_COLUMNS ") VALUES ");
    for (uint32_t i = 0; i < n * COLUMNS; i++)
        buf_printf(&sql, "%s$%u%s",
                   i % COLUMNS ? ", "
                   : i         ? ", ("
                               : "(",
                   i + 1, i % COLUMNS == COLUMNS - 1 ? ")" : "");
    char *text = sql.err ? NULL : arena_strndup(a, (const char *)sql.ptr, sql.len);
    enum err e = text ? db_query(c, a, NULL, text, values, n * COLUMNS) : ERR_MEMORY;
    buf_deinit(&sql);
    return e;
}

/* The counter's row also keeps the last hash, so that one statement locks, counts and reads. */
enum err audit_add_all(struct db_conn *c, struct arena *a, struct str who,
                       const struct audit_note *notes, uint32_t n) {
    struct db_rows r;
    struct db_value values[ROWS_AT_ONCE * COLUMNS];
    char hash[65] = "";
    int64_t at_ms = (int64_t)(clock_of(CLOCK_REALTIME) / 1000000);
    if (!n) return OK;
    enum err e = DB_QUERY(c, a, &r,
                          "UPDATE counters SET value = value + $1 WHERE name = 'audit'"
                          " RETURNING value, note",
                          db_int(n));
    if (e) return e;
    if (r.n != 1 || db_row(&r, 0)[1].s.len >= sizeof hash) return ERR_INTERNAL;
    int64_t seq = db_row(&r, 0)[0].i - n;
    memcpy(hash, db_row(&r, 0)[1].s.ptr, db_row(&r, 0)[1].s.len);
    for (uint32_t i = 0, at = 0; i < n && !e; i++) {
        e = fill_row(a, who, &notes[i], ++seq, at_ms, hash, values + (size_t)at * COLUMNS);
        if (e || (++at < ROWS_AT_ONCE && i + 1 < n)) continue;
        e = insert_rows(c, a, values, at);
        at = 0;
    }
    return e ? e
             : DB_QUERY(c, a, NULL, "UPDATE counters SET note = $1 WHERE name = 'audit'",
                        db_cstr(hash));
}

enum err audit_add(struct db_conn *c, struct arena *a, struct str who, const char *action,
                   struct str object, const struct json *detail) {
    const struct audit_note note = {action, object, detail};
    return audit_add_all(c, a, who, &note, 1);
}

/* ---- checking ---- */

static enum err unfit(char why[DB_WHY_BYTES], const char *format, long long seq) {
    snprintf(why, DB_WHY_BYTES, format, seq);
    return ERR_INVALID;
}

enum err audit_chain_next(struct audit_chain *c, struct arena *a, const struct json *entry,
                          char why[DB_WHY_BYTES]) {
    char hash[65];
    int64_t seq;
    long long next = c->seq + 1;
    const struct json *number = json_get_c(entry, "seq"), *said = json_get_c(entry, "hash");
    if (!number || !json_int64(number, &seq) || !said || said->kind != JSON_STRING)
        return unfit(why, "entry %lld has no seq or no hash", next);
    if (seq > next) return unfit(why, "entry %lld is missing", next);
    if (seq < next) return unfit(why, "there is an entry %lld, which is none of the chain", seq);
    enum err e = chain_hash(a, c->head, entry, hash);
    if (e) return e;
    if (!str_is(said->text, hash))
        return unfit(why, "entry %lld does not fit its hash: it or the one before was changed",
                     seq);
    if (c->expected && seq == c->expected_seq && strcasecmp(hash, c->expected) != 0)
        return unfit(why, "entry %lld has another hash than expected: the log was made anew", seq);
    c->seq = seq;
    memcpy(c->head, hash, sizeof hash);
    return OK;
}

enum err audit_chain_end(const struct audit_chain *c, char why[DB_WHY_BYTES]) {
    if (!c->expected || c->expected_seq <= c->seq) return OK;
    snprintf(why, DB_WHY_BYTES,
             "the log ends with entry %lld: entry %lld, which is expected, is missing",
             (long long)c->seq, (long long)c->expected_seq);
    return ERR_INVALID;
}

static enum err verify_page(struct db_conn *c, struct arena *a, struct audit_chain *chain,
                            bool *more, char why[DB_WHY_BYTES]) {
    struct db_rows r;
    enum err e = DB_QUERY(
        c, a, &r, "SELECT " AUDIT_COLUMNS " FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2",
        db_int(chain->seq ? chain->seq : INT64_MIN), db_int(PAGE));
    for (uint32_t i = 0; !e && i < r.n; i++) {
        const struct json *entry = audit_json(a, db_row(&r, i));
        if (entry)
            e = audit_chain_next(chain, a, entry, why);
        else
            e = unfit(why, "entry %lld: its detail is no JSON", db_row(&r, i)[0].i);
    }
    if (!e) *more = r.n == PAGE;
    return e;
}

/* What the counter says must be what the entries say. */
static enum err verify_counter(struct db_conn *c, struct arena *a, const struct audit_chain *chain,
                               char why[DB_WHY_BYTES]) {
    struct db_rows r;
    enum err e = DB_QUERY0(c, a, &r, "SELECT value, note FROM counters WHERE name = 'audit'");
    if (e) return e;
    if (r.n != 1)
        return unfit(why, "the counter of entries is missing, after entry %lld", chain->seq);
    if (db_row(&r, 0)[0].i > chain->seq)
        return unfit(why, "the log's end is missing: entry %lld and what followed", chain->seq + 1);
    if (db_row(&r, 0)[0].i < chain->seq || !str_is(db_row(&r, 0)[1].s, chain->head))
        return unfit(why, "entry %lld is the last, but the counter of entries says otherwise",
                     chain->seq);
    return OK;
}

enum err audit_verify(struct db_conn *c, struct arena *a, int64_t expected_seq,
                      const char *expected, int64_t *n, char head[65], char why[DB_WHY_BYTES]) {
    struct audit_chain chain = {.expected_seq = expected_seq, .expected = expected};
    struct arena page;
    bool more = true;
    (void)a;
    why[0] = 0;
    enum err e = db_begin(c, DB_SNAPSHOT);
    if (e) return snprintf(why, DB_WHY_BYTES, "%s", db_why(c)), e;
    arena_init(&page, PAGE_BYTES);
    while (!e && more) {
        arena_reset(&page);
        e = verify_page(c, &page, &chain, &more, why);
    }
    if (!e) e = audit_chain_end(&chain, why);
    if (!e) e = verify_counter(c, &page, &chain, why);
    if (e && !why[0]) snprintf(why, DB_WHY_BYTES, "%s", db_why(c));
    db_rollback(c);
    arena_deinit(&page);
    *n = e == ERR_INVALID ? chain.seq + 1 : chain.seq;
    memcpy(head, chain.head, sizeof chain.head);
    return e;
}
