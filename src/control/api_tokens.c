/* Tokens over REST: made, listed, revoked. What a token is stands in one answer only; the store has
 * its hash. in: who may do what. out: tokens, rows of tokens, entries in the audit log. owns:
 * nothing. */
#include "base/hash.h"
#include "base/utf8.h"
#include "control/api_private.h"
#include "control/audit.h"
#include <stdio.h>

enum { NAME_BYTES = 127, SCOPE_TENANTS = 12, SCOPE_LABELS = 4, SCOPE_TEXT_BYTES = 255 };
static const int64_t most_seconds = 100ll * 365 * 24 * 3600;

#define COLUMNS                                                                                    \
    "id, name, role, scopes, once, created_ms, created_by, expires_ms, revoked_ms, used_ms"
enum {
    C_ID,
    C_NAME,
    C_ROLE,
    C_SCOPES,
    C_ONCE,
    C_CREATED,
    C_CREATED_BY,
    C_EXPIRES,
    C_REVOKED,
    C_USED
};

static struct json *token_json(struct arena *a, const struct db_value *row) {
    struct json *t = json_object(a), *scopes = NULL;
    struct json_error error;
    json_set(a, t, STR("id"), json_string(a, row[C_ID].s));
    json_set(a, t, STR("name"), json_string(a, row[C_NAME].s));
    json_set(a, t, STR("role"), json_string(a, row[C_ROLE].s));
    if (json_parse(a, row[C_SCOPES].s, &scopes, &error)) scopes = json_object(a);
    json_set(a, t, STR("scopes"), scopes);
    json_set(a, t, STR("one_time"), json_bool(a, row[C_ONCE].i != 0));
    json_set(a, t, STR("created_at"), api_time(a, row[C_CREATED].i));
    json_set(a, t, STR("created_by"), json_string(a, row[C_CREATED_BY].s));
    json_set(a, t, STR("expires_at"), api_time(a, row[C_EXPIRES].i));
    json_set(a, t, STR("revoked_at"), api_time(a, row[C_REVOKED].i));
    json_set(a, t, STR("used_at"), api_time(a, row[C_USED].i));
    return t;
}

/* ---- what is asked for ---- */

struct wish {
    struct str name, role;
    const struct json *scopes;
    int64_t seconds; /* 0: for ever */
};

static bool text_fine(const struct json *v, size_t most) {
    if (!v || v->kind != JSON_STRING || !v->text.len || v->text.len > most || !utf8_valid(v->text))
        return false;
    for (size_t i = 0; i < v->text.len; i++)
        if ((unsigned char)v->text.ptr[i] < ' ' || v->text.ptr[i] == 127) return false;
    return true;
}

static bool pattern_fine(const struct json *v) {
    if (!text_fine(v, CONTROL_ID_BYTES - 1)) return false;
    struct str s = v->text;
    if (s.ptr[s.len - 1] == '*')
        s.len--;
    else if (*s.ptr == '*')
        s = str_from(s, 1);
    struct str id =
        s.len && *s.ptr == '.' && s.len < v->text.len ? str_from(s, 1) : s; /* "*.example" */
    return !id.len ? v->text.len > s.len : !control_id_wrong(id);
}

/* NULL, or what is wrong. */
static const char *scopes_wrong(const struct json *scopes) {
    if (scopes->kind != JSON_OBJECT) return "scopes is an object with tenants, labels or both";
    const struct json *tenants = json_get_c(scopes, "tenants"),
                      *labels = json_get_c(scopes, "labels");
    if (scopes->n != (uint32_t)(tenants != NULL) + (labels != NULL))
        return "scopes has tenants and labels, and no other members";
    if (tenants && (tenants->kind != JSON_ARRAY || !tenants->n || tenants->n > SCOPE_TENANTS))
        return "scopes.tenants is a list of 1 to 12 tenants' ids, each with one * at its start or "
               "end at most";
    for (uint32_t i = 0; tenants && i < tenants->n; i++)
        if (!pattern_fine(tenants->items[i]))
            return "scopes.tenants has something that is no id, with one * at its start or end at "
                   "most";
    if (labels && (labels->kind != JSON_OBJECT || !labels->n || labels->n > SCOPE_LABELS))
        return "scopes.labels is an object of 1 to 4 labels";
    for (uint32_t i = 0; labels && i < labels->n; i++)
        if (!labels->keys[i].len || labels->keys[i].len > SCOPE_TEXT_BYTES ||
            !utf8_valid(labels->keys[i]) || memchr(labels->keys[i].ptr, 0, labels->keys[i].len) ||
            !text_fine(labels->items[i], SCOPE_TEXT_BYTES))
            return "scopes.labels has a value that is no text";
    return NULL;
}

static const char *wish_wrong(const struct json *body, struct wish *w) {
    static const char *const roles[] = {"admin", "author", "releaser", "viewer", "edge"};
    const struct json *name = json_get_c(body, "name"), *role = json_get_c(body, "role");
    const struct json *seconds = json_get_c(body, "expires_in_s");
    bool known = false;
    w->scopes = json_get_c(body, "scopes");
    if (!text_fine(name, NAME_BYTES)) return "name is a text of 1 to 127 bytes, for the audit log";
    for (size_t i = 0; role && role->kind == JSON_STRING && i < sizeof roles / sizeof *roles; i++)
        known = known || str_is(role->text, roles[i]);
    if (!known) return "role is admin, author, releaser, viewer or edge";
    if (seconds &&
        (!json_int64(seconds, &w->seconds) || w->seconds < 1 || w->seconds > most_seconds))
        return "expires_in_s is a number of seconds, at least 1";
    w->name = name->text;
    w->role = role->text;
    return w->scopes ? scopes_wrong(w->scopes) : NULL;
}

/* ---- making one ---- */

static enum err refuse(struct api_call *c, int status, const char *code, const char *why) {
    api_error(c, status, code, "%s", why);
    return ERR_DIAG;
}

/* The one-time token is gone with the first that it made, whoever is quicker. */
static enum err use_up(struct api_call *c, int64_t now_ms) {
    struct db_rows rows;
    if (!c->who.once) return OK;
    enum err e =
        DB_QUERY(c->db, c->arena, &rows,
                 "UPDATE tokens SET revoked_ms = $2, used_ms = $2 WHERE id = $1 AND revoked_ms = 0",
                 db_text(c->who.token), db_int(now_ms));
    if (!e && !rows.changed) return refuse(c, 401, "unauthorized", "this one-time token was used");
    return e;
}

static enum err name_free(struct api_call *c, struct str name, int64_t now_ms) {
    struct db_rows rows;
    int64_t change;
    enum err e = control_count(c->db, c->arena, "change", 0, &change); /* one after the other */
    if (!e)
        e = DB_QUERY(c->db, c->arena, &rows,
                     "SELECT id FROM tokens WHERE name = $1 AND once = 0 AND revoked_ms = 0 AND"
                     " (expires_ms = 0 OR expires_ms > $2)",
                     db_text(name), db_int(now_ms));
    if (!e && rows.n)
        return refuse(c, 409, "conflict",
                      "a token of that name is there: the audit log could not tell them apart");
    return e;
}

static enum err add_token(struct api_call *c, const struct wish *w, const char *token,
                          int64_t now_ms, struct json **out) {
    struct db_rows rows;
    struct buf scopes;
    uint8_t hash[32];
    char *id = arena_alloc(c->arena, 32);
    if (!id) return ERR_MEMORY;
    control_new_id(id);
    sha256(token, strlen(token), hash);
    buf_init(&scopes, 64 << 10);
    if (w->scopes)
        json_print(w->scopes, true, 0, &scopes);
    else
        buf_cstr(&scopes, "{}");
    enum err e = scopes.err;
    if (!e)
        e = DB_QUERY(c->db, c->arena, &rows,
                     "INSERT INTO tokens (id, name, hash, role, scopes, once, created_ms, "
                     "created_by, expires_ms,"
                     " revoked_ms, used_ms) VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, 0, 0) "
                     "RETURNING " COLUMNS,
                     db_cstr(id), db_text(w->name), db_bytes(hash, 32), db_text(w->role),
                     db_text(buf_view(&scopes)), db_int(now_ms), db_text(c->who.name),
                     db_int(w->seconds ? now_ms + w->seconds * 1000 : 0));
    buf_deinit(&scopes);
    if (e) return e;
    if (rows.n != 1) return ERR_INTERNAL;
    *out = token_json(c->arena, db_row(&rows, 0));
    return *out ? OK : ERR_MEMORY;
}

static enum err create_body(struct api_call *c) {
    static const char *const members[] = {"name", "role", "scopes", "expires_in_s", NULL};
    struct json *body, *made = NULL, *detail = json_object(c->arena);
    struct wish w = {.seconds = 0};
    int64_t now_ms = control_now_ms();
    char *token = arena_alloc(c->arena, AUTH_DRAWN_BYTES);
    if (!api_body(c, members, &body)) return ERR_DIAG;
    const char *wrong = wish_wrong(body, &w);
    if (wrong) return refuse(c, 400, "invalid_token", wrong);
    enum err e = token ? auth_draw(token) : ERR_MEMORY;
    if (!e) e = name_free(c, w.name, now_ms);
    if (!e) e = use_up(c, now_ms);
    if (!e) e = add_token(c, &w, token, now_ms, &made);
    if (e) return e;
    json_set(c->arena, detail, STR("name"), json_string(c->arena, w.name));
    json_set(c->arena, detail, STR("role"), json_string(c->arena, w.role));
    if (w.scopes) json_set(c->arena, detail, STR("scopes"), json_get_c(body, "scopes"));
    e = db_notify(c->db, "tokens", json_get_c(made, "id")->text);
    if (!e)
        e = audit_add(c->db, c->arena, c->who.name, "token.create", json_get_c(made, "id")->text,
                      detail);
    if (e) return e;
    json_set(c->arena, made, STR("token"), json_string(c->arena, str_of(token)));
    c->secret = true;
    api_json(c, 201, made);
    api_header(c, STR("Cache-Control"), STR("no-store"));
    return OK;
}

static void token_create(struct api_call *c) {
    if (!api_need_unscoped(c)) return;
    api_change(c, create_body);
    auth_forget(api_auth(c->control->api));
}

/* ---- looking ---- */

static void token_list(struct api_call *c) {
    struct api_page_request page;
    struct db_rows rows;
    struct json *items = json_array(c->arena);
    bool all = str_is(api_param(c, "all"), "true");
    if (!api_need_unscoped(c) || !api_page_read(c, &page)) return;
    enum err e =
        DB_QUERY(c->db, c->arena, &rows,
                 "SELECT " COLUMNS " FROM tokens WHERE id > $1 AND (revoked_ms = 0 OR $2 = 1)"
                 " ORDER BY id LIMIT $3",
                 db_text(page.after), db_int(all), db_int(page.limit + 1));
    if (e) {
        api_store_error(c, e);
        return;
    }
    bool more = rows.n > page.limit;
    uint32_t n = more ? (uint32_t)page.limit : rows.n;
    for (uint32_t i = 0; i < n; i++)
        json_push(c->arena, items, token_json(c->arena, db_row(&rows, i)));
    api_page(c, items, more ? db_row(&rows, n - 1)[C_ID].s : STR(""));
}

static void token_self(struct api_call *c) {
    struct arena *a = c->arena;
    struct db_rows rows = {.n = 0};
    enum err e = c->who.token.len
                     ? DB_QUERY(c->db, a, &rows, "SELECT " COLUMNS " FROM tokens WHERE id = $1",
                                db_text(c->who.token))
                     : OK;
    struct json *t = !e && rows.n ? token_json(a, db_row(&rows, 0)) : json_object(a);
    if (!rows.n) {
        json_set(a, t, STR("name"), json_string(a, c->who.name));
        json_set(a, t, STR("role"), json_string(a, c->who.role));
        json_set(a, t, STR("scopes"), json_object(a));
    }
    if (e || !t)
        api_store_error(c, e ? e : ERR_MEMORY);
    else
        api_json(c, 200, t);
}

/* ---- revoking ---- */

static enum err delete_body(struct api_call *c) {
    struct str id = str_is(c->args[0], "self") ? c->who.token : c->args[0];
    struct db_rows rows;
    bool all = api_may(&c->who, RIGHT_ADMIN) && api_unscoped(&c->who) && !c->who.once;
    if (!str_eq(id, c->who.token) && !all)
        return refuse(c, 403, "forbidden", "this token may revoke itself, and no other");
    enum err e = DB_QUERY(c->db, c->arena, &rows,
                          "SELECT name, revoked_ms FROM tokens WHERE id = $1", db_text(id));
    if (e) return e;
    if (!rows.n) return refuse(c, 404, "not_found", "there is no such token");
    const struct db_value *row = db_row(&rows, 0);
    struct json *detail = json_object(c->arena);
    json_set(c->arena, detail, STR("name"), json_string(c->arena, row[0].s));
    e = DB_QUERY(c->db, c->arena, &rows,
                 "UPDATE tokens SET revoked_ms = $2 WHERE id = $1 AND revoked_ms = 0", db_text(id),
                 db_int(control_now_ms()));
    if (!e && rows.changed) e = db_notify(c->db, "tokens", id);
    if (!e && rows.changed) e = audit_add(c->db, c->arena, c->who.name, "token.delete", id, detail);
    if (!e) api_json(c, 204, NULL);
    return e;
}

static void token_delete(struct api_call *c) {
    api_change(c, delete_body);
    auth_forget(api_auth(c->control->api));
}

const struct api_route api_token_routes[] = {
    {"GET", "/v1/tokens", RIGHT_ADMIN, token_list},
    {"POST", "/v1/tokens", RIGHT_ADMIN, token_create},
    {"GET", "/v1/tokens/self", RIGHT_KNOWN, token_self},
    {"DELETE", "/v1/tokens/{id}", RIGHT_KNOWN, token_delete},
    {NULL, NULL, RIGHT_NONE, NULL},
};
