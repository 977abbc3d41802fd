/* What edges ask and tell (docs/edge-protocol.md): the feed of changes, one tenant, status reports.
 * in: requests with the right `edge`. out: changes within the caller's scopes; rows of edges and
 * edge_tenants. owns: nothing.
 *
 * A tenant stands in the table feed once, under the number of its newest change, and numbers become
 * visible in their order. So whoever reads on from a number sees each tenant's newest state, and a
 * reader that began at 0 and has caught up has seen all tenants: that is the snapshot, whatever
 * changes meanwhile. */
#include "base/clock.h"
#include "base/hash.h"
#include "control/api.h"
#include "control/edges.h"
#include "control/feed.h"
#include "control/heard.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    FEED_PAGE = 1000,
    FEED_MOST_WAIT_S = 600,
    NODE_BYTES = 127,
    REPORT_TENANTS = 1000,
    ERROR_BYTES = 1000,
    SCOPES_BYTES = 8,
    CURSOR_BYTES = 160
};

/* ---- cursors: STORE.SCOPES.NUMBER, and .HEAD while a snapshot goes on ---- */

struct cursor {
    int64_t seq;
    int64_t head; /* where the feed ended when the snapshot began; -1: this is none */
};

/* Other scopes see other tenants: whoever comes with a cursor of theirs begins anew. */
static void scopes_digest(const struct api_call *c, char out[SCOPES_BYTES + 1]) {
    struct buf b;
    char hex[65];
    buf_init(&b, 1 << 20);
    if (c->who.scopes) json_print(c->who.scopes, true, 0, &b);
    sha256_hex(b.ptr ? (char *)b.ptr : "", b.len, hex);
    buf_deinit(&b);
    snprintf(out, SCOPES_BYTES + 1, "%.8s", hex);
}

/* Decimal digits up to the end of s or a dot, which is taken off. */
static bool take_number(struct str *s, int64_t *out) {
    int64_t n = 0;
    size_t i = 0;
    for (; i < s->len && s->ptr[i] >= '0' && s->ptr[i] <= '9' && i < 18; i++)
        n = n * 10 + (s->ptr[i] - '0');
    if (!i || (i < s->len && s->ptr[i] != '.')) return false;
    bool dot = i < s->len;
    *s = str_from(*s, i + dot);
    *out = n;
    return !dot || s->len;
}

static bool take_word(struct str *s, struct str word) {
    if (!str_starts(*s, word) || s->len <= word.len || s->ptr[word.len] != '.') return false;
    *s = str_from(*s, word.len + 1);
    return true;
}

/* false: not one of this store's. */
static bool cursor_read(struct str text, struct str store, const char *scopes, struct cursor *out) {
    struct cursor c = {.head = -1};
    if (!take_word(&text, store)) return false;
    if (scopes ? !take_word(&text, str_of(scopes)) : text.len <= SCOPES_BYTES) return false;
    if (!scopes) text = str_from(text, SCOPES_BYTES + 1);
    if (!take_number(&text, &c.seq)) return false;
    if (text.len && (!take_number(&text, &c.head) || text.len)) return false;
    *out = c;
    return true;
}

static struct str cursor_print(struct arena *a, struct str store, const char *scopes,
                               const struct cursor *at) {
    size_t len = 0;
    const char *text = at->head < 0 ? arena_printf(a, &len, "%.*s.%s.%lld", STR_FMT(store), scopes,
                                                   (long long)at->seq)
                                    : arena_printf(a, &len, "%.*s.%s.%lld.%lld", STR_FMT(store),
                                                   scopes, (long long)at->seq, (long long)at->head);
    return text ? (struct str){text, len} : STR("");
}

/* ---- what stands in a change ---- */

static void escape_into(struct str s, struct buf *out) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char ch = (unsigned char)s.ptr[i];
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                     (ch >= '0' && ch <= '9') || ch == '-' || ch == '_' || ch == '.' || ch == '~';
        if (plain)
            buf_byte(out, ch);
        else
            buf_printf(out, "%%%02X", ch);
    }
}

/* cdn_url/tenants/ID/versions/V/bundle.tar.gz, or the same below /blobs of this host. */
static struct str bundle_url(struct api_call *c, struct str tenant, struct str version) {
    const char *cdn = c->control->config->cdn_url;
    struct str base = str_of(cdn && cdn[0] ? cdn : "/blobs");
    struct buf b;
    while (base.len && base.ptr[base.len - 1] == '/') base.len--;
    buf_init(&b, 4096);
    buf_str(&b, base);
    buf_cstr(&b, "/tenants/");
    escape_into(tenant, &b);
    buf_cstr(&b, "/versions/");
    escape_into(version, &b);
    buf_cstr(&b, "/bundle.tar.gz");
    char *copy = b.err ? NULL : arena_copy(c->arena, b.ptr, b.len);
    struct str out = {copy ? copy : "", copy ? b.len : 0};
    buf_deinit(&b);
    return out;
}

static struct json *change_of(struct api_call *c, struct str tenant, struct str version,
                              int64_t serial, struct str sha256) {
    struct arena *a = c->arena;
    struct json *o = json_object(a);
    json_set(a, o, STR("tenant"), json_string(a, tenant));
    json_set(a, o, STR("version"), json_string(a, version));
    if (serial) json_set(a, o, STR("serial"), json_int(a, serial));
    json_set(a, o, STR("sha256"), json_string(a, sha256));
    json_set(a, o, STR("url"), json_string(a, bundle_url(c, tenant, version)));
    return o;
}

static struct json *deletion_of(struct arena *a, struct str tenant) {
    struct json *o = json_object(a);
    json_set(a, o, STR("tenant"), json_string(a, tenant));
    json_set(a, o, STR("deleted"), json_bool(a, true));
    return o;
}

/* ---- the feed ---- */

struct feed_ask {
    struct str node, store;
    char scopes[SCOPES_BYTES + 1];
    struct cursor at;
    bool since;     /* it continues from a cursor */
    int64_t wait_s; /* -1: not said */
    int64_t head;
};

static bool node_good(struct str node) {
    for (size_t i = 0; i < node.len; i++)
        if (node.ptr[i] < '!' || node.ptr[i] > '~' || node.ptr[i] == '/') return false;
    return node.len && node.len <= NODE_BYTES && node.ptr[0] != '.';
}

static const char *address_of(const struct api_call *c) {
    return c->q->peer ? c->q->peer->address : "";
}

static enum err read_head(struct api_call *c, struct feed_ask *f) {
    struct db_rows rows = {0};
    enum err e = feed_store_id(c->db, c->arena, &f->store);
    if (!e) e = DB_QUERY0(c->db, c->arena, &rows, "SELECT value FROM counters WHERE name = 'feed'");
    if (!e && !rows.n) e = ERR_INTERNAL;
    if (!e) f->head = db_row(&rows, 0)->i;
    return e;
}

/* false: answered. */
static bool read_ask(struct api_call *c, struct feed_ask *f) {
    struct str since = api_param(c, "since");
    f->node = api_param(c, "node");
    f->wait_s = -1;
    if (!api_param_number(c, "wait", 1000000, &f->wait_s)) return false;
    if (!node_good(f->node)) {
        api_error(c, 400, "invalid", "node: the node's name, up to 127 printable bytes without /");
        return false;
    }
    enum err e = read_head(c, f);
    if (e) {
        api_store_error(c, e);
        return false;
    }
    scopes_digest(c, f->scopes);
    f->at.head = f->head;
    f->since = since.ptr != NULL;
    if (!f->since) return true;
    if (cursor_read(since, f->store, f->scopes, &f->at) && f->at.seq <= f->head &&
        f->at.head <= f->head)
        return true;
    api_error(c, 410, "gone", "the cursor is of another feed: ask without since");
    return false;
}

/* Of UPDATE edges … WHERE node = $1. */
#define EDGE_COUNTS                                                                                \
    " tenants = (SELECT COUNT(*) FROM edge_tenants x WHERE x.node = $1),"                          \
    " failing = (SELECT COUNT(*) FROM edge_tenants x WHERE x.node = $1 AND x.outcome = 'failed')"

static const char FEED_READ[] =
    "SELECT f.seq, f.tenant, f.version, f.serial, f.sha256, f.deleted, COALESCE(t.labels, '') FROM "
    "feed f"
    " LEFT JOIN tenants t ON t.id = f.tenant WHERE f.seq > $1 ORDER BY f.seq LIMIT $2";

/* Scopes that name labels may have let a tenant go, which nobody remembers: the node is told to
 * forget it. Ids of tenants that the scopes could never name are told to nobody. */
static bool may_have_left(const struct api_call *c, struct str tenant) {
    const struct json *patterns = json_get_c(c->who.scopes, "tenants");
    struct principal p = c->who;
    struct json *ids = patterns ? json_object(c->arena) : NULL;
    if (!json_get_c(c->who.scopes, "labels")) return false;
    json_set(c->arena, ids, STR("tenants"), (struct json *)(uintptr_t)patterns);
    p.scopes = ids;
    return api_sees(&p, tenant, NULL);
}

/* A row of FEED_READ as a change; NULL: not for this caller. */
static struct json *row_change(struct api_call *c, const struct feed_ask *f,
                               const struct db_value *row) {
    struct str tenant = row[1].s;
    bool news =
        f->at.head < 0 ||
        row[0].i > f->at.head; /* a snapshot says what is there, but for what happens meanwhile */
    bool seen = edge_sees(c, tenant, row[6].s);
    if (seen && !row[5].i) return change_of(c, tenant, row[2].s, row[3].i, row[4].s);
    return news && (seen || may_have_left(c, tenant)) ? deletion_of(c->arena, tenant) : NULL;
}

static enum err read_changes(struct api_call *c, struct feed_ask *f, struct json *changes,
                             bool *more) {
    struct db_rows rows = {0};
    enum err e =
        DB_QUERY(c->db, c->arena, &rows, FEED_READ, db_int(f->at.seq), db_int(FEED_PAGE + 1));
    if (e) return e;
    *more = rows.n > FEED_PAGE;
    int64_t last = f->at.seq;
    for (uint32_t i = 0; i < rows.n && i < FEED_PAGE; i++) {
        const struct db_value *row = db_row(&rows, i);
        json_push(c->arena, changes, row_change(c, f, row));
        last = row[0].i;
    }
    f->at.seq = last;
    return OK;
}

static int64_t wait_s_of(const struct feed_ask *f) {
    return f->wait_s < 0 ? 0 : f->wait_s < FEED_MOST_WAIT_S ? f->wait_s : FEED_MOST_WAIT_S;
}

/* How much of the time that a request may be held is left. */
static uint32_t wait_left_ms(const struct api_call *c, const struct feed_ask *f) {
    int64_t wait_ms = wait_s_of(f) * 1000,
            left = wait_ms - (clock_ms() - (int64_t)c->q->received_ms);
    return left < 0 ? 0 : left < wait_ms ? (uint32_t)left : (uint32_t)wait_ms;
}

/* What a node is told to forget is no longer said of it. */
static enum err forget_deleted(struct api_call *c, const struct feed_ask *f,
                               const struct json *changes) {
    struct arena *a = c->arena;
    struct json *gone = json_array(a);
    struct buf b;
    for (uint32_t i = 0; i < changes->n; i++)
        if (json_get_c(changes->items[i], "deleted"))
            json_push(a, gone, json_get_c(changes->items[i], "tenant"));
    if (!gone || !gone->n) return OK;
    buf_init(&b, 1 << 20);
    json_print(gone, false, 0, &b);
#define FORGET(values)                                                                             \
    "DELETE FROM edge_tenants WHERE node = $2 AND tenant IN (SELECT g.value FROM " values ")"
    const char *sql = db_is_postgres(c->control->db)
                          ? FORGET("json_array_elements_text(CAST($1 AS json)) AS g(value)")
                          : FORGET("json_each($1) AS g");
    enum err e = b.err;
    if (!e) e = DB_QUERY(c->db, a, NULL, sql, db_text(buf_view(&b)), db_text(f->node));
    if (!e)
        e = DB_QUERY(c->db, a, NULL, "UPDATE edges SET " EDGE_COUNTS " WHERE node = $1",
                     db_text(f->node));
    buf_deinit(&b);
    return e;
}

static void feed_get(struct api_call *c) {
    struct feed_ask f = {0};
    struct json *changes = json_array(c->arena), *body = json_object(c->arena);
    bool more = false;
    if (!read_ask(c, &f)) return;
    enum err e = changes && body ? OK : ERR_MEMORY;
    heard_node(c->control->heard, f.node, f.since ? f.at.seq : 0, wait_s_of(&f) * 1000,
               c->who.token, address_of(c));
    if (!e) e = read_changes(c, &f, changes, &more);
    bool snapshot = f.at.head >= 0;
    if (!e && !snapshot && changes->n) e = forget_deleted(c, &f, changes);
    if (e) {
        api_store_error(c, e);
        return;
    }
    if (!snapshot && !changes->n && !more && f.wait_s > 0 && !c->last) {
        uint32_t left = wait_left_ms(c, &f);
        if (left) {
            api_wait(c, STR(""), left);
            return;
        }
    }
    if (!more) f.at.head = -1;
    json_set(c->arena, body, STR("cursor"),
             json_string(c->arena, cursor_print(c->arena, f.store, f.scopes, &f.at)));
    json_set(c->arena, body, STR("snapshot"), json_bool(c->arena, snapshot));
    json_set(c->arena, body, STR("more"), json_bool(c->arena, more));
    json_set(c->arena, body, STR("changes"), changes);
    api_header(c, STR("Cache-Control"), STR("no-store"));
    api_json(c, 200, body);
}

/* ---- one tenant ---- */

static const char TENANT_CURRENT[] =
    "SELECT f.version, f.serial, f.sha256, t.labels FROM feed f JOIN tenants t ON t.id = f.tenant"
    " WHERE f.tenant = $1 AND f.deleted = 0";
static const char TENANT_VERSION[] =
    "SELECT v.version, COALESCE((SELECT MAX(r.serial) FROM releases r WHERE r.tenant = v.tenant AND"
    " r.version = v.version), 0), v.sha256, t.labels FROM versions v JOIN tenants t ON t.id = "
    "v.tenant"
    " JOIN feed f ON f.tenant = v.tenant AND f.deleted = 0 WHERE v.tenant = $1 AND v.version = $2";

static void feed_tenant(struct api_call *c) {
    struct str version = api_param(c, "version");
    struct db_rows rows = {0};
    enum err e = version.ptr
                     ? DB_QUERY(c->db, c->arena, &rows, TENANT_VERSION, db_text(c->args[0]),
                                db_text(version))
                     : DB_QUERY(c->db, c->arena, &rows, TENANT_CURRENT, db_text(c->args[0]));
    if (e && e != ERR_INVALID) {
        api_store_error(c, e);
        return;
    }
    const struct db_value *row = rows.n ? db_row(&rows, 0) : NULL;
    if (!row || !edge_sees(c, c->args[0], row[3].s))
        api_error(c, 404, "not_found", "there is no such tenant or version for this edge");
    else
        api_json(c, 200, change_of(c, c->args[0], row[0].s, row[1].i, row[2].s));
}

/* ---- status reports ---- */

struct report {
    struct api_call *c;
    struct str node, host, software, cursor;
    int64_t seq; /* -1: not known */
    const struct json *tenants;
    struct str batch; /* [{"t","a","o","e"}]: tenant, active, outcome, error */
};

/* A member's text without NUL, cut to at most so many bytes, at a whole character. */
static struct str member_text(const struct json *o, const char *name, size_t most) {
    const struct json *v = json_get_c(o, name);
    if (!v || v->kind != JSON_STRING) return STR("");
    size_t len = 0;
    while (len < v->text.len && len < most && v->text.ptr[len]) len++;
    if (len < v->text.len)
        while (len && ((unsigned char)v->text.ptr[len - 1] & 0x80)) len--;
    return str_head(v->text, len);
}

/* {"code","http_status","message"}, cut to what a person can use. */
static struct str error_text(struct arena *a, const struct json *error) {
    struct json *o = json_object(a);
    struct buf b;
    int64_t status = 0;
    json_set(a, o, STR("code"), json_string(a, member_text(error, "code", 64)));
    if (json_int64(json_get_c(error, "http_status"), &status) && status > 0 && status < 1000)
        json_set(a, o, STR("http_status"), json_int(a, status));
    json_set(a, o, STR("message"), json_string(a, member_text(error, "message", ERROR_BYTES)));
    buf_init(&b, 8 * ERROR_BYTES);
    json_print(o, true, 0, &b);
    char *copy = b.err ? NULL : arena_copy(a, b.ptr, b.len);
    struct str out = {copy ? copy : "", copy ? b.len : 0};
    buf_deinit(&b);
    return out;
}

/* One of a report's tenants, as it goes to the store; NULL: it is not what the protocol says. */
static struct json *report_row(struct arena *a, const struct json *item) {
    struct json *o = json_object(a);
    struct str tenant = member_text(item, "tenant", CONTROL_ID_BYTES),
               outcome = member_text(item, "outcome", 16);
    struct str active = member_text(item, "active", CONTROL_ID_BYTES);
    bool known = str_is(outcome, "active") || str_is(outcome, "failed") || str_is(outcome, "none");
    if (control_id_wrong(tenant) || !known || (active.len && control_id_wrong(active))) return NULL;
    json_append(a, o, STR("t"), json_string(a, tenant));
    json_append(a, o, STR("a"), json_string(a, active));
    json_append(a, o, STR("o"), json_string(a, outcome));
    struct str error =
        str_is(outcome, "failed") ? error_text(a, json_get_c(item, "error")) : STR("");
    json_append(a, o, STR("e"), json_string(a, error));
    return o;
}

static int by_tenant(const void *a, const void *b) {
    const struct json *const *x = a, *const *y = b;
    return str_cmp((*x)->items[0]->text, (*y)->items[0]->text);
}

/* Rows in the order of their tenants, so that two reports cannot wait for each other; each tenant
 * once. false: answered. */
static bool read_rows(struct report *r) {
    struct arena *a = r->c->arena;
    struct json *rows = json_array(a), *once = json_array(a);
    for (uint32_t i = 0; i < r->tenants->n; i++) {
        struct json *row = report_row(a, r->tenants->items[i]);
        if (!row) {
            api_error(r->c, 400, "invalid",
                      "tenants[%u]: tenant, active or outcome is not what it may be", i);
            return false;
        }
        json_push(a, rows, row);
    }
    if (rows->n) qsort(rows->items, rows->n, sizeof *rows->items, by_tenant);
    for (uint32_t i = 0; i < rows->n; i++)
        if (!i || by_tenant(&rows->items[i - 1], &rows->items[i]))
            json_push(a, once, rows->items[i]);
    struct buf b;
    buf_init(&b, API_BODY_BYTES);
    json_print(once, false, 0, &b);
    char *copy = b.err ? NULL : arena_copy(a, b.ptr, b.len);
    if (copy) r->batch = (struct str){copy, b.len};
    buf_deinit(&b);
    if (!copy) api_error(r->c, 413, "limit", "the report is too large");
    return copy != NULL;
}

static bool read_report(struct report *r) {
    struct json *body = NULL;
    if (!api_body(r->c, NULL, &body)) return false;
    r->node = r->c->args[0];
    r->tenants = json_get_c(body, "tenants");
    struct str named = member_text(body, "node", NODE_BYTES + 1);
    if (!node_good(r->node) || (named.len && !str_eq(named, r->node))) {
        api_error(r->c, 400, "invalid",
                  "node: the path and the report name a node, and the same one");
        return false;
    }
    if (!r->tenants || r->tenants->kind != JSON_ARRAY || r->tenants->n > REPORT_TENANTS) {
        api_error(r->c, 400, "invalid", "tenants: a list of at most %d", REPORT_TENANTS);
        return false;
    }
    r->host = member_text(body, "host", 255);
    r->software = member_text(body, "software", 127);
    r->cursor = member_text(body, "cursor", CURSOR_BYTES);
    return read_rows(r);
}

/* What is said of tenants that are not the caller's, or not there any more, is left out. */
static enum err put_rows(struct report *r) {
    struct api_call *c = r->c;
    struct sql_filter f = {
        .params = {db_text(r->batch), db_text(r->node), db_int(control_now_ms())}, .n = 3};
    snprintf(
        f.sql, sizeof f.sql,
        "INSERT INTO edge_tenants (tenant, node, active, outcome, error, at_ms)"
        " SELECT t.id, $2, j.value ->> 'a', j.value ->> 'o', j.value ->> 'e', CAST($3 AS BIGINT)"
        " FROM %s AS j%s JOIN tenants t ON t.id = j.value ->> 't'"
        " JOIN feed f ON f.tenant = t.id AND f.deleted = 0 WHERE TRUE",
        db_is_postgres(c->control->db) ? "json_array_elements(CAST($1 AS json))" : "json_each($1)",
        db_is_postgres(c->control->db) ? "(value)" : "");
    if (!api_scope_filter(c, &f)) return ERR_LIMIT;
    size_t len = strlen(f.sql);
    int n = snprintf(f.sql + len, sizeof f.sql - len,
                     " ON CONFLICT (tenant, node) DO UPDATE SET active = excluded.active, outcome "
                     "= excluded.outcome,"
                     " error = excluded.error, at_ms = excluded.at_ms");
    if (n < 0 || (size_t)n >= sizeof f.sql - len) return ERR_LIMIT;
    return db_query(c->db, c->arena, NULL, f.sql, f.params, f.n);
}

static const char EDGE_ADDED[] =
    "INSERT INTO edges (node, host, software, cursor, wait_ms, token, address, tenants, failing, "
    "first_ms, seen_ms)"
    " SELECT $1, '', '', 0, CAST($2 AS BIGINT), '', '', 0, 0, CAST($3 AS BIGINT), 0"
    " WHERE (SELECT COUNT(*) FROM edges) < $4 ON CONFLICT (node) DO NOTHING";
static const char EDGE_REPORTED[] =
    "UPDATE edges SET host = $2, software = $3, cursor = CASE WHEN CAST($4 AS BIGINT) < 0 THEN "
    "cursor ELSE CAST($4 AS BIGINT) END, "
    "token = $5,"
    " address = $6, seen_ms = $7," EDGE_COUNTS " WHERE node = $1";

static enum err put_report(struct db_conn *db, void *ctx) {
    struct report *r = ctx;
    struct api_call *c = r->c;
    enum err e = r->tenants->n ? put_rows(r) : OK;
    if (!e)
        e = DB_QUERY(db, c->arena, NULL, EDGE_ADDED, db_text(r->node), db_int(EDGE_WAIT_MS),
                     db_int(control_now_ms()), db_int(HEARD_NODES));
    if (e) return e;
    return DB_QUERY(db, c->arena, NULL, EDGE_REPORTED, db_text(r->node), db_text(r->host),
                    db_text(r->software), db_int(r->seq), db_text(c->who.token),
                    db_cstr(address_of(c)), db_int(control_now_ms()));
}

static void feed_status(struct api_call *c) {
    struct report r = {.c = c, .seq = -1};
    struct feed_ask head = {0};
    struct cursor at;
    if (!read_report(&r)) return;
    enum err e = read_head(c, &head);
    if (!e && cursor_read(r.cursor, head.store, NULL, &at) && at.seq <= head.head) r.seq = at.seq;
    if (!e) e = db_transact(c->db, put_report, &r);
    if (e)
        api_store_error(c, e);
    else
        c->r->status = 204;
}

/* ---- scopes ---- */

bool edge_sees(struct api_call *c, struct str tenant, struct str labels) {
    struct json *read = NULL;
    struct json_error wrong;
    if (api_unscoped(&c->who)) return true;
    if (labels.len && json_parse(c->arena, labels, &read, &wrong)) read = NULL;
    return api_sees(&c->who, tenant, read);
}

const struct api_route api_feed_routes[] = {
    {"GET", "/v1/edges/feed", RIGHT_EDGE, feed_get},
    {"GET", "/v1/edges/tenants/{id}", RIGHT_EDGE, feed_tenant},
    {"POST", "/v1/edges/{node}/status", RIGHT_EDGE, feed_status},
    {0},
};
