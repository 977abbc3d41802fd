/* Many inputs in one round trip: POST /v1/batch/data/PATH, as Enterprise OPA has it.
 * in: {"inputs": {KEY: INPUT, …}, "common_input": {…}}. out: {"responses": {KEY: ANSWER, …}}. owns: nothing. */
#include "edge/rest.h"
#include "base/clock.h"
#include "edge/decision_log.h"
#include "edge/rest_input.h"
#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_DEADLINE_US = 1000000, DEFAULT_INPUTS = 1000 };

/* The answers so far, and what they were. */
struct batch {
    struct rest_call *c;
    struct rest_members inputs;
    struct json *common; /* an object, or NULL */
    struct str path;
    uint64_t until_ns;   /* what has not begun by then is not asked */
    struct batch_answer {
        size_t start, end; /* in text */
        int status;
    } *answers;
    struct buf text;     /* members of each answer, without braces */
    uint32_t good, bad;
    int bad_status;      /* of all that are bad; 500 when they differ */
};

static int by_key(const void *a, const void *b) {
    return str_cmp(((const struct rest_member *)a)->key, ((const struct rest_member *)b)->key);
}

/* Sorted by key; of equal keys the last one counts. */
static void sort_inputs(struct rest_members *m) {
    uint32_t n = 0;
    struct rest_member *items = m->items;
    if (m->n > 1) qsort(items, m->n, sizeof *items, by_key);
    for (uint32_t i = 0; i < m->n; i++) {
        bool same = n && str_eq(items[n - 1].key, items[i].key);
        if (!same) items[n++] = items[i];
        else if (items[i].value.ptr > items[n - 1].value.ptr) items[n - 1] = items[i]; /* views of one text */
    }
    m->n = n;
}

static bool refuse(struct rest_call *c, const char *why) {
    rest_error2(c, 400, "invalid_parameter", "body contains malformed input document: ", str_of(why));
    return false;
}

static const struct rest_member *find(const struct rest_members *m, const char *key) {
    for (uint32_t i = m->n; i-- > 0;)
        if (str_is(m->items[i].key, key)) return &m->items[i];
    return NULL;
}

/* Taken apart, not yet into values. *missing: there is no member inputs. false: answered. */
static bool read_batch(struct batch *b, struct str body, bool *missing) {
    struct arena *a = &b->c->w->arena;
    struct rest_members top;
    const char *why = rest_members(a, body, "batchquery.BatchDataRequestV1", &top);
    if (why) return refuse(b->c, why);
    const struct rest_member *inputs = find(&top, "inputs"), *common = find(&top, "common_input");
    *missing = !inputs || str_is(inputs->value, "null");
    if (*missing) return true;
    if (*inputs->value.ptr != '{') {
        why = arena_printf(a, NULL,
                           "json: cannot unmarshal %s into Go struct field BatchDataRequestV1.inputs of type "
                           "map[string]*interface {}",
                           rest_kind(inputs->value));
        return refuse(b->c, why ? why : "inputs is no object");
    }
    why = rest_members(a, inputs->value, "", &b->inputs);
    if (why) return refuse(b->c, why);
    sort_inputs(&b->inputs);
    if (common && *common->value.ptr == '{' && json_parse(a, common->value, &b->common, NULL))
        return refuse(b->c, "common_input is larger than its limit");
    return true;
}

/* ---- One input ---- */

/* Members of `own` win over the common ones; objects are merged. */
static struct json *merged(struct arena *a, const struct json *common, const struct json *own) {
    struct json *out = json_object(a);
    for (uint32_t i = 0; i < common->n; i++) {
        const struct json *there = json_get(own, common->keys[i]);
        struct json *v = common->items[i];
        if (there && there->kind == JSON_OBJECT && v->kind == JSON_OBJECT) v = merged(a, v, there);
        else if (there) continue;
        json_set(a, out, common->keys[i], v);
    }
    for (uint32_t i = 0; i < own->n; i++) {
        const struct json *there = json_get(common, own->keys[i]);
        if (!there || there->kind != JSON_OBJECT || own->items[i]->kind != JSON_OBJECT)
            json_set(a, out, own->keys[i], own->items[i]);
    }
    return out;
}

/* The input with the common one merged in, printed where it lies until the next one. */
static enum err with_common(struct batch *b, struct str own, struct str *input) {
    struct worker *w = b->c->w;
    struct json *v, *all;
    *input = own;
    if (!b->common || *own.ptr != '{') return OK;
    enum err e = json_parse(&w->arena, own, &v, NULL);
    if (e) return e;
    if (!(all = merged(&w->arena, b->common, v))) return ERR_MEMORY;
    buf_clear(&w->input);
    json_print(all, false, 0, &w->input);
    *input = buf_view(&w->input);
    return w->input.err;
}

static void ask(struct batch *b, struct str own, struct decision *d) {
    struct rest_call *c = b->c;
    struct ask q = {.tenant = c->who.tenant,
                    .path = b->path,
                    .document = c->rest,
                    .strict_builtin_errors = c->params.strict_builtin_errors};
    enum err e = with_common(b, own, &q.input);
    if (e)
        decision_refuse(c->w, q.tenant, q.path, false, e, err_meaning(e), d);
    else if (clock_ns() > b->until_ns)
        decision_refuse(c->w, q.tenant, q.path, false, ERR_DEADLINE,
                        "the batch passed the deadline of one evaluation", d);
    else
        decide(c->w, &q, d);
}

/* What cannot be told of an input is an error of that input, not an absent result. */
static void settle(struct batch *b, struct decision *d) {
    bool above = d->kind == DECISION_NO_ENTRYPOINT && d->above_entrypoint;
    if (above)
        snprintf(d->result.message, sizeof d->result.message, "data/%.*s is no entrypoint of the tenant's module",
                 (int)(b->c->rest.len < 128 ? b->c->rest.len : 128), b->c->rest.ptr);
    else if (d->kind == DECISION_NO_TENANT || d->kind == DECISION_LATER)
        snprintf(d->result.message, sizeof d->result.message, "%s", decision_reason(d));
    else
        return;
    d->kind = DECISION_FAILED;
    d->err = above ? ERR_NOT_FOUND : ERR_INTERNAL;
}

static void put_members(struct batch *b, const struct decision *d) {
    struct rest_call *c = b->c;
    const struct rest_params *p = &c->params;
    struct buf *out = &b->text;
    const char *comma = "";
    if (decision_log_on(c->w)) buf_printf(out, "\"decision_id\":\"%s\"", d->id), comma = ",";
    if (d->kind == DECISION_FAILED) {
        buf_cstr(out, comma);
        rest_failure_members(d, out);
        return;
    }
    if (p->provenance) buf_printf(out, "%s\"provenance\":", comma), rest_put_provenance(c, out), comma = ",";
    if (p->metrics || p->instrument) {
        buf_printf(out, "%s\"metrics\":", comma), comma = ",";
        rest_put_metrics(c, d->eval_ns, out);
    }
    if (d->kind != DECISION_VALUE) return;
    buf_printf(out, "%s\"result\":", comma);
    json_escape_html(d->json, out);
}

static void answer(struct batch *b, uint32_t i) {
    struct decision d;
    ask(b, b->inputs.items[i].value, &d);
    settle(b, &d);
    struct batch_answer *a = &b->answers[i];
    a->start = b->text.len;
    a->status = d.kind == DECISION_FAILED ? decision_status(&d) : 200;
    put_members(b, &d);
    a->end = b->text.len;
    if (a->status == 200) {
        b->good++;
    } else {
        b->bad_status = b->bad++ && b->bad_status != a->status ? 500 : a->status;
        if (b->bad == 1) rest_retry_after(b->c, &d);
    }
}

/* ---- The whole ---- */

static void put_responses(struct batch *b, struct buf *out) {
    bool mixed = b->good && b->bad;
    buf_cstr(out, "\"responses\":{");
    for (uint32_t i = 0; i < b->inputs.n; i++) {
        const struct batch_answer *a = &b->answers[i];
        struct str text = STR("");
        if (a->end > a->start) text = str_head(str_from(buf_view(&b->text), a->start), a->end - a->start);
        if (i) buf_byte(out, ',');
        rest_put_string(b->inputs.items[i].key, out);
        buf_cstr(out, ":{");
        buf_str(out, text);
        if (mixed) buf_printf(out, "%s\"http_status_code\":\"%d\"", text.len ? "," : "", a->status);
        buf_byte(out, '}');
    }
    buf_byte(out, '}');
}

static void put_batch(struct batch *b, bool missing) {
    struct rest_call *c = b->c;
    struct buf *out = c->r->body;
    const char *comma = "";
    rest_json(c, b->bad == 0 ? 200 : b->good ? 207 : b->bad_status);
    buf_byte(out, '{');
    if (decision_log_on(c->w)) buf_printf(out, "\"batch_decision_id\":\"%s\"", c->w->facts.batch_id), comma = ",";
    if (c->params.metrics) {
        buf_printf(out, "%s\"metrics\":", comma), comma = ",";
        rest_put_metrics(c, clock_ns() - c->parsed_ns, out);
    }
    if (b->inputs.n) buf_cstr(out, comma), put_responses(b, out), comma = ",";
    if (missing)
        buf_printf(out, "%s\"warning\":{\"code\":\"api_usage_warning\",\"message\":\"'inputs' key missing from the "
                        "request\"}", comma);
    buf_cstr(out, "}\n");
}

/* false: the call is answered, by a refusal of all. */
static bool answer_all(struct batch *b) {
    struct rest_call *c = b->c;
    uint32_t most = c->w->config->batch_inputs ? c->w->config->batch_inputs : DEFAULT_INPUTS;
    const struct tenant_entry *t = tenants_find(c->w->tenants, c->who.tenant);
    if (b->inputs.n > most) {
        char *text = arena_printf(&c->w->arena, NULL, "the batch has %u inputs; at most %u are answered", b->inputs.n,
                                  most);
        rest_error(c, 400, "invalid_parameter", text ? text : "too many inputs");
        return false;
    }
    if (!t || !t->policy) {
        rest_error(c, 404, "resource_not_found", "unknown tenant");
        return false;
    }
    b->answers = ARENA_ARRAY(&c->w->arena, struct batch_answer, b->inputs.n);
    if (!b->answers) {
        rest_error(c, 500, "internal_error", err_meaning(ERR_MEMORY));
        return false;
    }
    c->parsed_ns = clock_ns();
    b->until_ns = c->parsed_ns + (t->limits.deadline_us ? t->limits.deadline_us : DEFAULT_DEADLINE_US) * 1000;
    for (uint32_t i = 0; i < b->inputs.n; i++) answer(b, i);
    return true;
}

/* The body where it stays while inputs are merged: not in worker.input. false: answered. */
static bool take_body(struct rest_call *c, struct str *body) {
    enum rest_outcome o = rest_body(c, body);
    if (o == REST_OK && rest_body_is_yaml(c)) o = rest_yaml(c, *body, body);
    if (o == REST_OK && body->len && body->ptr == (const char *)c->w->input.ptr) {
        body->ptr = arena_copy(&c->w->arena, body->ptr, body->len);
        if (!body->ptr) o = REST_REFUSED, c->why = "request body too large";
    }
    if (o != REST_OK) rest_error(c, 400, "invalid_parameter", c->why);
    return o == REST_OK;
}

enum door_outcome rest_batch(struct rest_call *c) {
    struct batch b = {.c = c};
    struct str body;
    bool missing = false;
    /* Many evaluations in a row would hold an event loop up, and must not begin anew when one of them takes long. */
    if (c->w->slice_us) return DOOR_LATER;
    c->start_ns = clock_ns();
    if (decision_log_on(c->w)) decision_id(c->w, c->w->facts.batch_id);
    if (!take_body(c, &body) || !rest_path(c, &b.path) || !read_batch(&b, body, &missing)) return DOOR_ANSWERED;
    buf_init(&b.text, c->r->body->max);
    if (answer_all(&b)) put_batch(&b, missing);
    if (b.text.err) rest_error(c, 500, "internal_error", "the answers do not fit their limit");
    buf_deinit(&b.text);
    return DOOR_ANSWERED;
}
