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

/* The counter's row also keeps the last hash, so that one statement locks, counts and reads. */
enum err audit_add(struct db_conn *c, struct arena *a, struct str who, const char *action,
                   struct str object, const struct json *detail) {
    struct db_rows r;
    struct str text;
    char hash[65];
    int64_t at_ms = (int64_t)(clock_of(CLOCK_REALTIME) / 1000000);
    enum err e = detail_text(detail, a, &text);
    if (!e)
        e = DB_QUERY0(c, a, &r,
                      "UPDATE counters SET value = value + 1 WHERE name = 'audit'"
                      " RETURNING value, note");
    if (e) return e;
    if (r.n != 1) return ERR_INTERNAL;
    int64_t seq = db_row(&r, 0)[0].i;
    struct json *entry = entry_json(a, seq, at_ms, who, str_of(action), object, detail);
    if (!entry) return ERR_MEMORY;
    if ((e = chain_hash(a, db_row(&r, 0)[1].s.ptr, entry, hash))) return e;
    e = DB_QUERY(c, a, NULL,
                 "INSERT INTO audit (" AUDIT_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7)",
                 db_int(seq), db_int(at_ms), db_text(who), db_cstr(action), db_text(object),
                 db_text(text), db_cstr(hash));
    if (e) return e;
    return DB_QUERY(c, a, NULL, "UPDATE counters SET note = $1 WHERE name = 'audit'",
                    db_cstr(hash));
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
