/* The calls of the door admin: what serves, and having another version serve.
 * in: calls that may be made. out: replies; versions that go live. owns: nothing. */
#include "base/clock.h"
#include "edge/admin.h"
#include "edge/folder.h"
#include "edge/sources.h"
#include <stdio.h>
#include <stdlib.h>

/* ---- replies ---- */

static void put_member(struct buf *out, const char *name, const char *text) {
    if (!text[0]) return;
    buf_printf(out, ",\"%s\":", name);
    rest_put_string(str_of(text), out);
}

static void begin_reply(struct admin_call *c, struct str tenant) {
    rest_json(&c->rest, 200);
    buf_clear(c->rest.r->body);
    buf_cstr(c->rest.r->body, "{\"tenant_id\":");
    rest_put_string(tenant, c->rest.r->body);
}

static const char *state_word(enum activation_kind kind) {
    switch (kind) {
    case ACTIVATION_ACTIVE: return "active";
    case ACTIVATION_UNCHANGED: return "unchanged";
    case ACTIVATION_SHADOW: return "shadow";
    case ACTIVATION_PINNED: return "pinned";
    case ACTIVATION_REFUSED: return "refused";
    }
    return "";
}

/* HTTP's word for why something could not go live. */
static int refusal_status(enum err e) {
    if (e == ERR_NOT_FOUND) return 404;
    if (e == ERR_UNDEFINED) return 409;
    return e == ERR_IO || e == ERR_MEMORY || e == ERR_OVERLOAD ? 503 : 422;
}

static const char *refusal_code(int status) {
    if (status == 404) return "resource_not_found";
    if (status == 409) return "resource_conflict";
    return status == 503 ? "service_unavailable" : "policy_refused";
}

/* What answers now, as the tenants' table has it. */
static void put_active(struct admin_call *c, struct load_report *r) {
    const struct tenant_entry *t = tenants_find(c->rest.w->tenants, c->id);
    *r = (struct load_report){0};
    if (t) tenants_reported(c->rest.w->tenants, t->tenant, r);
}

static void reply_with(struct admin_call *c, const struct activation *a) {
    struct load_report r;
    struct buf *out = c->rest.r->body;
    if (a->kind == ACTIVATION_REFUSED) {
        int status = refusal_status(a->err);
        admin_error(c, status, refusal_code(status), a->why[0] ? a->why : err_meaning(a->err));
        return;
    }
    put_active(c, &r);
    begin_reply(c, c->id);
    put_member(out, "version", a->active[0] ? a->active : r.version);
    put_member(out, "revision", r.revision);
    put_member(out, "sha256", r.sha256);
    put_member(out, "state", state_word(a->kind));
    if (a->kind == ACTIVATION_SHADOW || a->kind == ACTIVATION_PINNED) put_member(out, "offered", a->version);
    put_member(out, "from", r.from);
    buf_cstr(out, "}\n");
}

static void refuse(struct activation *a, enum err e, const char *why, struct str detail) {
    a->kind = ACTIVATION_REFUSED;
    a->err = e;
    snprintf(a->why, sizeof a->why, "%s%.*s", why, STR_FMT(str_head(detail, VERSION_BYTES)));
}

/* While a call waits, nothing of the tenants' table is in use. */
static void begin_wait(struct admin_call *c) { tenants_offline(c->rest.w->tenants, c->rest.w->number); }
static void end_wait(struct admin_call *c) { tenants_online(c->rest.w->tenants, c->rest.w->number); }

/* ---- what serves ---- */

static void put_time(struct buf *out, const char *name, int64_t ns) {
    char text[CLOCK_UTC_BYTES];
    clock_utc(ns, text);
    put_member(out, name, text);
}

static void put_tenant(const struct admin_call *c, const struct tenant_entry *t, struct buf *out) {
    struct load_report r = {0};
    tenants_reported(c->rest.w->tenants, t->tenant, &r);
    buf_cstr(out, "{\"tenant_id\":");
    rest_put_string(str_of(t->tenant->id), out);
    put_member(out, "version", r.version);
    put_member(out, "revision", r.revision);
    put_member(out, "sha256", r.sha256);
    put_member(out, "from", r.from);
    buf_printf(out, ",\"serving\":%s", t->policy ? "true" : "false");
    put_time(out, "activated", r.activated_ns);
    put_time(out, "asked", r.requested_ns);
    if (r.err) {
        buf_printf(out, ",\"error\":{\"code\":\"%s\",\"message\":", err_word(r.err));
        rest_put_string(str_of(r.message), out);
        if (r.http_status) buf_printf(out, ",\"http_status\":%d", r.http_status);
        buf_byte(out, '}');
    }
}

void admin_show(struct admin_call *c) {
    const struct tenant_entry *t = tenants_find(c->rest.w->tenants, c->id);
    if (!t) {
        admin_error(c, 404, "resource_not_found", "no such tenant is loaded");
        return;
    }
    rest_json(&c->rest, 200);
    put_tenant(c, t, c->rest.r->body);
    begin_wait(c);
    activator_describe(c->rest.w->node->activator, c->id, c->rest.r->body);
    end_wait(c);
    buf_cstr(c->rest.r->body, "}\n");
}

/* ---- the list ---- */

struct page {
    struct str after;
    uint32_t limit;
};

static bool read_page(struct admin_call *c, struct page *p) {
    struct str query = c->rest.q->query;
    *p = (struct page){.limit = ADMIN_PAGE};
    while (query.len) {
        const char *amp = memchr(query.ptr, '&', query.len);
        struct str pair = str_head(query, amp ? (size_t)(amp - query.ptr) : query.len);
        query = str_from(query, pair.len + 1);
        char *text = arena_alloc(&c->rest.w->arena, pair.len + 1);
        long n = text ? http_percent_decode(pair, true, text) : -1;
        if (n < 0) return false;
        struct str s = {text, (size_t)n};
        text[n] = 0;
        if (str_starts(s, STR("after=")))
            p->after = str_from(s, 6);
        else if (str_starts(s, STR("limit=")) && s.len > 6 && s.len < 12 && strspn(text + 6, "0123456789") == s.len - 6)
            p->limit = (uint32_t)strtoul(text + 6, NULL, 10);
        else if (s.len)
            return false;
    }
    return p->limit >= 1 && p->limit <= ADMIN_PAGE_MOST;
}

static int by_id(const void *a, const void *b) {
    const struct tenant_entry *const *x = a, *const *y = b;
    return strcmp((*x)->tenant->id, (*y)->tenant->id);
}

void admin_list(struct admin_call *c) {
    struct {
        const struct tenant_entry **items;
        uint32_t n, cap;
    } all = {0};
    struct page page;
    struct arena *a = &c->rest.w->arena;
    struct buf *out = c->rest.r->body;
    if (!read_page(c, &page)) {
        admin_error(c, 400, "invalid_parameter", "parameters are limit (1 to 1000) and after (a tenant's id)");
        return;
    }
    const struct tenant_entry *t;
    for (uint32_t i = 0; (t = tenants_at(c->rest.w->tenants, i)); i++)
        if (admin_sees(c, str_of(t->tenant->id)) && str_cmp(str_of(t->tenant->id), page.after) > 0)
            ARENA_PUSH(a, &all, t);
    if (all.n) qsort(all.items, all.n, sizeof *all.items, by_id);
    rest_json(&c->rest, 200);
    buf_cstr(out, "{\"policies\":[");
    for (uint32_t i = 0; i < all.n && i < page.limit; i++) {
        if (i) buf_byte(out, ',');
        put_tenant(c, all.items[i], out);
        buf_byte(out, '}');
    }
    buf_byte(out, ']');
    if (all.n > page.limit) put_member(out, "next", all.items[page.limit - 1]->tenant->id);
    buf_cstr(out, "}\n");
}

/* ---- another version ---- */

/* What the folder has is what can be had of a tenant that is there. */
static bool from_folder(struct admin_call *c, struct activation *a) {
    struct worker *w = c->rest.w;
    const struct folder_options folder = {.config = w->config, .activator = w->node->activator, .log = w->log};
    const struct admin_body *b = &c->body;
    if (!w->config->directory || !folder_offer_now(&folder, c->id, b->allow_older, b->at_once, a)) return false;
    if (a->kind != ACTIVATION_REFUSED && b->version.len && !str_is(b->version, a->version))
        refuse(a, ERR_UNDEFINED, "the folder holds another version, which is loaded now: ", str_of(a->version));
    return true;
}

void admin_reload(struct admin_call *c) {
    struct activation a = {.kind = ACTIVATION_REFUSED, .err = ERR_NOT_FOUND};
    struct sources *sources = c->rest.w->node->sources;
    begin_wait(c);
    if (!from_folder(c, &a)) {
        if (sources) sources_load_now(sources, c->id, c->body.version, c->body.allow_older, &a);
        if (a.kind == ACTIVATION_REFUSED && a.err == ERR_NOT_FOUND)
            refuse(&a, ERR_NOT_FOUND, "no source has this tenant", STR(""));
    }
    end_wait(c);
    reply_with(c, &a);
}

/* The name in log lines that end with it. */
static const char *by(struct admin_call *c) {
    char *who = arena_strndup(&c->rest.w->arena, c->who.ptr, c->who.len);
    return who ? who : "";
}

/* Which versions there are stands in GET /v1/policies/ID. */
static void go_to(struct admin_call *c, struct str version,
                  void (*go)(struct activator *a, struct str tenant, struct str version, const char *by,
                             struct activation *out)) {
    struct activation a = {.kind = ACTIVATION_REFUSED, .err = ERR_NOT_FOUND};
    begin_wait(c);
    go(c->rest.w->node->activator, c->id, version, by(c), &a);
    end_wait(c);
    reply_with(c, &a);
}

void admin_rollback(struct admin_call *c) { go_to(c, c->body.version, activator_rollback); }

void admin_pin(struct admin_call *c) {
    if (c->body.version.len)
        go_to(c, c->body.version, activator_pin);
    else
        admin_error(c, 400, "invalid_parameter", "version is missing: which one is the tenant to stay at?");
}

void admin_unpin(struct admin_call *c) { go_to(c, (struct str){NULL, 0}, activator_pin); }
