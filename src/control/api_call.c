/* What a request of the REST API asks: parameters, bodies, conditions; and changes, done once
 * however often they are asked for under one key. in: requests. out: values, or answers that say
 * what is wrong; rows of replies. owns: nothing. */
#include "base/hash.h"
#include "base/utf8.h"
#include "control/api_private.h"
#include <stdio.h>

enum { KEY_BYTES = 255, KEPT_REPLY_BYTES = 4 << 20, KEPT_MS = 24 * 3600 * 1000, SWEEP_EVERY = 64 };

/* ---- the query ---- */

struct str api_param_at(struct api_call *c, const char *name, uint32_t at) {
    const struct str none = {NULL, 0};
    struct str rest = c->q->query;
    while (rest.len) {
        const char *end = memchr(rest.ptr, '&', rest.len);
        struct str pair = str_head(rest, end ? (size_t)(end - rest.ptr) : rest.len);
        rest = str_from(rest, pair.len + (end != NULL));
        const char *equals = pair.len ? memchr(pair.ptr, '=', pair.len) : NULL;
        struct str key = str_head(pair, equals ? (size_t)(equals - pair.ptr) : pair.len);
        char *decoded = arena_alloc(c->arena, pair.len + 1);
        long n = decoded ? http_percent_decode(key, true, decoded) : -1;
        if (n < 0 || !str_is((struct str){decoded, (size_t)n}, name) || at--) continue;
        n = equals ? http_percent_decode(str_from(pair, key.len + 1), true, decoded) : 0;
        struct str value = {decoded, n > 0 ? (size_t)n : 0};
        /* Nothing is called so: what no store can hold matches nothing. */
        return n < 0 || !utf8_valid(value) || memchr(value.ptr, 0, value.len) ? STR("\x7f") : value;
    }
    return none;
}

struct str api_param(struct api_call *c, const char *name) { return api_param_at(c, name, 0); }

bool api_param_number(struct api_call *c, const char *name, int64_t most, int64_t *out) {
    struct str text = api_param(c, name);
    int64_t n = 0;
    bool fine = text.len > 0 && text.len < 19;
    if (!text.ptr) return true;
    for (size_t i = 0; fine && i < text.len; i++) {
        fine = text.ptr[i] >= '0' && text.ptr[i] <= '9';
        n = n * 10 + (text.ptr[i] - '0');
    }
    if (fine && n <= most) {
        *out = n;
        return true;
    }
    api_error(c, 400, "invalid_parameter", "%s is a number from 0 to %lld", name, (long long)most);
    return false;
}

/* ---- the body ---- */

static bool is_json(struct str type) {
    const char *end = type.len ? memchr(type.ptr, ';', type.len) : NULL;
    struct str media = str_head(type, end ? (size_t)(end - type.ptr) : type.len);
    while (media.len && media.ptr[media.len - 1] == ' ') media.len--;
    return !media.len || str_eq_fold(media, STR("application/json")) ||
           str_ends(media, STR("+json"));
}

static void refuse_json(struct api_call *c, enum err e, const struct json_error *error) {
    struct arena *a = c->arena;
    if (e == ERR_MEMORY) {
        api_error(c, 413, "too_large", "the body needs more memory than a call may have");
        return;
    }
    struct json *errors = json_array(a), *item = json_object(a), *place = json_object(a);
    json_set(a, item, STR("code"), json_string(a, STR("json_error")));
    json_set(a, item, STR("message"), json_string(a, str_of(error->message)));
    json_set(a, place, STR("file"), json_string(a, STR("body")));
    json_set(a, place, STR("row"), json_int(a, error->row));
    json_set(a, place, STR("col"), json_int(a, error->col));
    json_set(a, item, STR("location"), place);
    json_push(a, errors, item);
    api_error_list(c, 400, "invalid_json", "the body is no JSON", errors);
}

static bool check_members(struct api_call *c, const struct json *body, const char *const *members) {
    for (uint32_t i = 0; members && i < body->n; i++) {
        const char *const *m = members;
        while (*m && !str_is(body->keys[i], *m)) m++;
        if (*m) continue;
        api_error(c, 400, "unknown_member", "the body has a member that means nothing here: %.*s",
                  STR_FMT(str_head(body->keys[i], 100)));
        return false;
    }
    return true;
}

bool api_value(struct api_call *c, struct json **out) {
    struct json_error error = {.message = "it is empty", .row = 1, .col = 1};
    if (!is_json(http_header_get(c->q, STR("content-type")))) {
        api_error(c, 415, "unsupported_media_type", "the body has to be application/json");
        return false;
    }
    if (c->q->body.len > API_BODY_BYTES) {
        api_error(c, 413, "too_large", "the body is larger than %d MiB", API_BODY_BYTES >> 20);
        return false;
    }
    enum err e = c->q->body.len ? json_parse_strict(c->arena, c->q->body, out, &error) : ERR_SYNTAX;
    if (e) refuse_json(c, e, &error);
    return !e;
}

bool api_body(struct api_call *c, const char *const *members, struct json **out) {
    struct json *body;
    if (!api_value(c, &body)) return false;
    if (body->kind != JSON_OBJECT) {
        api_error(c, 400, "invalid_json", "the body has to be a JSON object");
        return false;
    }
    if (!check_members(c, body, members)) return false;
    *out = body;
    return true;
}

/* ---- conditions ---- */

bool api_if_match(struct api_call *c, int64_t rev, bool required) {
    struct str list = http_header_get(c->q, STR("if-match"));
    char want[32];
    snprintf(want, sizeof want, "\"%lld\"", (long long)rev);
    if (!list.ptr && !required) return true;
    if (!list.ptr) {
        api_error(
            c, 428, "precondition_required",
            "this needs If-Match with the ETag that was read, so that nobody's change is lost");
        return false;
    }
    while (list.len) {
        const char *comma = memchr(list.ptr, ',', list.len);
        struct str tag = str_head(list, comma ? (size_t)(comma - list.ptr) : list.len);
        list = str_from(list, tag.len + (comma != NULL));
        while (tag.len && *tag.ptr == ' ') tag = str_from(tag, 1);
        while (tag.len && tag.ptr[tag.len - 1] == ' ') tag.len--;
        if (str_is(tag, want) || str_is(tag, "*")) return true;
    }
    api_error(c, 412, "changed_meanwhile", "it was changed since you read it: its ETag is %s now",
              want);
    return false;
}

/* ---- changes, once ---- */

struct change {
    struct api_call *c;
    api_change_body *body;
    struct str key, who;
    char request[65];
    bool answered; /* by a kept reply, or refused */
};

static enum err conflict(struct change *x, int status, const char *code, const char *message) {
    api_error(x->c, status, code, "%s", message);
    x->answered = true;
    return ERR_DIAG;
}

/* Gives the answer that the request got before. */
static enum err replay(struct change *x, const struct db_value *row) {
    struct api_call *c = x->c;
    struct json *kept;
    struct json_error error;
    if (!str_is(row[0].s, x->request))
        return conflict(x, 422, "key_reused",
                        "this Idempotency-Key came with another request before");
    if (!row[2].s.len)
        return conflict(x, 409, "already_done",
                        "this was done already, and its answer is not kept, since it held a secret "
                        "or was large: look what is there");
    if (json_parse(c->arena, row[2].s, &kept, &error)) return ERR_INTERNAL;
    const struct json *body = json_get_c(kept, "body"), *headers = json_get_c(kept, "headers");
    api_unanswer(c);
    c->r->status = (int)row[1].i;
    if (body && body->kind == JSON_STRING) {
        c->r->content_type = "application/json";
        buf_str(c->r->body, body->text);
    }
    for (uint32_t i = 0; headers && i < headers->n; i++)
        api_header(c, headers->keys[i], headers->items[i]->text);
    api_header(c, STR("Idempotency-Replayed"), STR("true"));
    x->answered = true;
    return ERR_DIAG; /* nothing to commit */
}

/* Whoever comes second with a key waits here until the first has committed, or is rolled back. */
static enum err claim_key(struct change *x) {
    struct api_call *c = x->c;
    struct db_rows rows;
    int64_t now_ms = control_now_ms();
    enum err e = DB_QUERY(c->db, c->arena, NULL,
                          "DELETE FROM replies WHERE token = $1 AND key = $2 AND created_ms < $3",
                          db_text(x->who), db_text(x->key), db_int(now_ms - KEPT_MS));
    if (!e)
        e = DB_QUERY(c->db, c->arena, &rows,
                     "INSERT INTO replies (token, key, request, status, body, created_ms) VALUES "
                     "($1, $2, $3, 0, '', $4)"
                     " ON CONFLICT (token, key) DO NOTHING",
                     db_text(x->who), db_text(x->key), db_cstr(x->request), db_int(now_ms));
    if (e || rows.changed) return e;
    e = DB_QUERY(c->db, c->arena, &rows,
                 "SELECT request, status, body FROM replies WHERE token = $1 AND key = $2",
                 db_text(x->who), db_text(x->key));
    if (e) return e;
    return rows.n ? replay(x, db_row(&rows, 0)) : ERR_OVERLOAD; /* aged out in between */
}

static enum err keep_reply(struct change *x) {
    struct api_call *c = x->c;
    struct buf text;
    buf_init(&text, KEPT_REPLY_BYTES);
    buf_cstr(&text, "{\"headers\":{");
    for (uint32_t i = 0; i < c->r->n_extra; i++) {
        if (i) buf_byte(&text, ',');
        json_print_string(c->r->extra[i].name, &text);
        buf_byte(&text, ':');
        json_print_string(c->r->extra[i].value, &text);
    }
    buf_byte(&text, '}');
    if (c->r->body->len) {
        buf_cstr(&text, ",\"body\":");
        json_print_string(buf_view(c->r->body), &text);
    }
    buf_byte(&text, '}');
    /* What is too large is kept like a secret: that it was done, and no more. */
    struct str kept = c->secret || text.err ? STR("") : buf_view(&text);
    enum err e = DB_QUERY(c->db, c->arena, NULL,
                          "UPDATE replies SET status = $3, body = $4 WHERE token = $1 AND key = $2",
                          db_text(x->who), db_text(x->key), db_int(c->r->status), db_text(kept));
    buf_deinit(&text);
    return e;
}

static enum err change_once(struct db_conn *conn, void *ctx) {
    struct change *x = ctx;
    struct api_call *c = x->c;
    (void)conn;
    api_unanswer(c);
    c->secret = x->answered = false;
    enum err e = x->key.len ? claim_key(x) : OK;
    if (!e) e = x->body(c);
    if (!e && x->key.len) e = keep_reply(x);
    return e;
}

static bool read_key(struct api_call *c, struct change *x) {
    x->key = http_header_get(c->q, STR("idempotency-key"));
    if (!x->key.ptr) return true;
    bool fine = x->key.len > 0 && x->key.len <= KEY_BYTES;
    for (size_t i = 0; fine && i < x->key.len; i++)
        fine = x->key.ptr[i] > ' ' && x->key.ptr[i] <= '~';
    if (!fine) {
        api_error(c, 400, "invalid_key", "an Idempotency-Key has 1 to %d printable characters",
                  KEY_BYTES);
        return false;
    }
    char body[65], *all;
    size_t len = 0;
    struct str if_match = http_header_get(c->q, STR("if-match"));
    sha256_hex(c->q->body.ptr ? c->q->body.ptr : "", c->q->body.len, body);
    all = arena_printf(c->arena, &len, "%.*s %.*s\n%.*s\n%s", STR_FMT(c->q->method),
                       STR_FMT(c->q->target), STR_FMT(if_match), body);
    char *who = arena_printf(c->arena, NULL, "%s%.*s", c->who.token.len ? "" : "cert:",
                             STR_FMT(c->who.token.len ? c->who.token : c->who.name));
    x->who = str_of(who);
    if (all && who) return sha256_hex(all, len, x->request), true;
    api_store_error(c, ERR_MEMORY);
    return false;
}

/* Now and then; whether it works matters little. */
static void forget_old(struct api_call *c) {
    if (atomic_fetch_add(&api_counters(c->control->api)->keyed, 1) % SWEEP_EVERY) return;
    enum err e = DB_QUERY(c->db, c->arena, NULL, "DELETE FROM replies WHERE created_ms < $1",
                          db_int(control_now_ms() - KEPT_MS));
    if (e)
        log_line(c->control->log, LOG_WARN, "old replies are still there", "reason", db_why(c->db),
                 NULL);
}

void api_change(struct api_call *c, api_change_body *body) {
    struct change x = {.c = c, .body = body};
    if (!read_key(c, &x)) return;
    enum err e = db_transact(c->db, change_once, &x);
    if (e && e != ERR_DIAG) {
        api_unanswer(c);
        api_store_error(c, e);
    } else if (!e && x.key.len) {
        forget_old(c);
    }
}
