/* A plan of changes: compared, shown, confirmed, sent in batches.
 * in: documents, digests of the control plane's. out: lines for people or JSON; calls of the API.
 * owns: nothing; all lies in the process arena. */
#include "cli/changes.h"
#include "control/control.h"
#include <stdlib.h>
#include <unistd.h>

enum {
    BATCH_TENANTS = 500,    /* what one call takes */
    BATCH_BYTES = 24 << 20, /* of documents; a body may have 64 MiB */
    OUTPUT_BYTES = 1 << 30,
    SEND_MS = 600000,
    LINES_SHOWN = 200, /* of a plan on a terminal */
};

void changes_init(struct changes *c, struct arena *a) { *c = (struct changes){.arena = a}; }

void changes_add(struct changes *c, struct change one) {
    ARENA_PUSH(c->arena, c, one);
    c->count[one.sign]++;
}

bool is_fancy(int fd) {
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
    return isatty(fd) && (!no || !*no) && (!term || strcmp(term, "dumb") != 0);
}

/* ---- what is there ---- */

const char *digest_key(struct arena *a, enum spec_kind kind, struct str id) {
    return arena_printf(a, NULL, "%s/%.*s", spec_word(kind), STR_FMT(id));
}

struct digests {
    struct arena *arena;
    struct table *table;
};

static int take_digest(void *ctx, const struct json *item) {
    struct digests *d = ctx;
    struct str kind = client_text(item, "kind"), id = client_text(item, "id");
    struct str sha = client_text(item, "sha256");
    size_t n;
    char *key = arena_printf(d->arena, &n, "%.*s/%.*s", STR_FMT(kind), STR_FMT(id));
    char *value = arena_strndup(d->arena, sha.ptr, sha.len);
    if (!key || !value) return fail("%s", err_meaning(ERR_MEMORY));
    table_set(d->table, (struct str){key, n}, value);
    return EXIT_OK;
}

int digests_read(struct client *c, struct table *out) {
    struct digests d = {c->arena, out};
    table_init(out, c->arena);
    return client_list(c, "/v1/digests", take_digest, &d);
}

/* Lists of templates and libraries are without their documents. */
struct fetching {
    struct client *client;
    const char *words; /* "templates" */
    client_each *each;
    void *ctx;
};

static int fetch_one(void *ctx, const struct json *item) {
    struct fetching *f = ctx;
    struct arena a;
    arena_init(&a, OUTPUT_BYTES);
    struct client_call q = {.method = "GET", .arena = &a};
    q.path =
        arena_printf(&a, NULL, "/v1/%s/%s", f->words, client_escape(&a, client_text(item, "id")));
    int code = client_ask(f->client, &q);
    if (!code) code = f->each(f->ctx, q.reply);
    arena_deinit(&a);
    return code;
}

int documents_read(struct client *c, enum spec_kind kind, client_each *each, void *ctx) {
    struct fetching f = {c, spec_words(kind), each, ctx};
    if (kind == SPEC_TENANT) return client_list(c, "/v1/tenants?full=true&limit=100", each, ctx);
    return client_list(c, arena_printf(c->arena, NULL, "/v1/%s", f.words), fetch_one, &f);
}

const struct json *client_document(const struct json *item) {
    const struct json *d = json_get_c(item, "spec");
    return d && d->kind == JSON_OBJECT ? d : NULL;
}

/* ---- shown ---- */

static const char signs[CHANGE_SIGNS] = {'+', '~', '-'};
static const char *const colours[CHANGE_SIGNS] = {"\033[32m", "\033[33m", "\033[31m"};
static const char *const verbs[CHANGE_SIGNS] = {"create", "update", "delete"};

static void print_plan(const struct changes *c) {
    bool fancy = is_fancy(STDOUT_FILENO);
    uint32_t shown = isatty(STDOUT_FILENO) && c->n > LINES_SHOWN ? LINES_SHOWN : c->n;
    for (uint32_t i = 0; i < shown; i++) {
        const struct change *x = &c->items[i];
        printf("%s%c %s ", fancy ? colours[x->sign] : "", signs[x->sign], spec_word(x->kind));
        client_print(stdout, x->id);
        if (x->note) printf(": %s", x->note);
        printf("%s\n", fancy ? "\033[0m" : "");
    }
    if (shown < c->n) printf("… and %u more\n", c->n - shown);
    if (!c->n)
        printf("No changes: %u unchanged.\n", c->unchanged);
    else
        printf("Plan: %u to create, %u to update, %u to delete, %u unchanged.\n",
               c->count[CHANGE_CREATE], c->count[CHANGE_UPDATE], c->count[CHANGE_DELETE],
               c->unchanged);
    fflush(stdout);
}

static struct json *plan_json(const struct changes *c) {
    struct arena *a = c->arena;
    struct json *plan = json_object(a);
    for (int s = 0; s < CHANGE_SIGNS; s++) {
        struct json *list = json_array(a);
        for (uint32_t i = 0; i < c->n; i++) {
            const struct change *x = &c->items[i];
            if ((int)x->sign != s) continue;
            struct json *one = json_object(a);
            json_set(a, one, STR("kind"), json_string(a, str_of(spec_word(x->kind))));
            json_set(a, one, STR("id"), json_string(a, x->id));
            if (x->note) json_set(a, one, STR("note"), json_string(a, str_of(x->note)));
            json_push(a, list, one);
        }
        json_set(a, plan, str_of(verbs[s]), list);
    }
    json_set(a, plan, STR("unchanged"), json_int(a, c->unchanged));
    return plan;
}

/* ---- asked ---- */

/* A terminal is asked; elsewhere --yes has to say so. */
static bool confirmed(const struct changes *c, const struct changes_options *o) {
    char line[16];
    uint32_t gone = c->count[CHANGE_DELETE];
    bool terminal = isatty(STDIN_FILENO) && !o->json;
    if (o->yes || (!gone && !(o->confirm && terminal))) return true;
    if (!terminal) return fail("%u would be deleted: --yes says that this is meant", gone), false;
    fprintf(stderr, gone ? "Apply this, and delete %u? [y/N] " : "Apply this? [y/N] ", gone);
    if (fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y')) return true;
    return fail("nothing was changed"), false;
}

/* ---- sent ---- */

struct sending {
    struct client *client;
    const struct changes *changes;
    const struct changes_options *o;
    char build[32]; /* one for all batches */
    bool jobs;      /* something is to be built */
};

/* The member of a member, made when it is not there: body.delete.tenants. */
static struct json *below(struct arena *a, struct json *object, const char *member, bool list) {
    struct json *v = json_get_c(object, member);
    if (v) return v;
    v = list ? json_array(a) : json_object(a);
    json_set(a, object, str_of(member), v);
    return v;
}

static void add_change(struct arena *a, struct json *body, const struct change *x) {
    const char *words = spec_words(x->kind);
    struct json *expect = below(a, below(a, body, "expect", false), words, false);
    json_append(a, expect, x->id, json_string(a, str_of(x->expect)));
    if (x->document)
        json_append(a, below(a, body, words, false), x->id, (struct json *)(uintptr_t)x->document);
    else
        json_push(a, below(a, below(a, body, "delete", false), words, true), json_string(a, x->id));
}

static size_t document_bytes(const struct change *x) {
    struct buf b;
    size_t n;
    if (!x->document) return 0;
    buf_init(&b, OUTPUT_BYTES);
    json_print(x->document, false, 0, &b);
    n = b.len;
    buf_deinit(&b);
    return n;
}

static int refused(const struct sending *s, const struct client_call *q, uint32_t sent) {
    const struct json *errors = json_get_c(q->reply, "errors");
    if (!client_text(q->reply, "code").len)
        return fail("%s%s answered %d", s->client->url, q->path, q->status);
    errors_name_files(s->client->arena, errors, s->o->dir);
    int code = client_refused(q);
    if (q->status == 409 && !s->o->dry_run)
        fprintf(stderr,
                "Somebody else changed this meanwhile: run it again to see what is left to do.\n");
    if (sent) fprintf(stderr, "%u of %u changes were made before.\n", sent, s->changes->n);
    return code;
}

/* Changes [from, to). */
static int send_batch(struct sending *s, uint32_t from, uint32_t to) {
    struct arena a;
    arena_init(&a, OUTPUT_BYTES);
    struct json *body = json_object(&a);
    for (uint32_t i = from; i < to; i++) add_change(&a, body, &s->changes->items[i]);
    if (s->o->dry_run)
        json_set(&a, body, STR("dry_run"), json_bool(&a, true));
    else
        json_set(&a, body, STR("build"), json_string(&a, str_of(s->build)));
    struct client_call q = {.method = "POST", .body = body, .arena = &a, .timeout_ms = SEND_MS};
    q.path = s->o->release ? "/v1/apply" : "/v1/apply?release=false";
    int code = client_send(s->client, &q) ? EXIT_OK : EXIT_FAILED;
    bool may = q.status != 403 || !s->o->dry_run; /* who may only read sees the plan */
    if (!code && may && (q.status < 200 || q.status > 299)) code = refused(s, &q, from);
    if (!code && client_number(q.reply, "jobs") > 0) s->jobs = true;
    arena_deinit(&a);
    return code;
}

static int send_all(struct sending *s) {
    const struct changes *c = s->changes;
    bool bar = is_fancy(STDERR_FILENO) && c->n > BATCH_TENANTS;
    for (uint32_t from = 0; from < c->n;) {
        size_t bytes = 0;
        uint32_t to = from;
        while (to < c->n && to - from < BATCH_TENANTS && (to == from || bytes < BATCH_BYTES))
            bytes += document_bytes(&c->items[to++]);
        if (to - from > 1 && bytes > BATCH_BYTES) to--; /* the last one made it too much */
        int code = send_batch(s, from, to);
        if (code) return code;
        from = to;
        if (bar) fprintf(stderr, "\r\033[K%u of %u changes sent", from, c->n);
    }
    if (bar) fprintf(stderr, "\r\033[K");
    return EXIT_OK;
}

/* ---- all of it ---- */

static int finish(struct sending *s, struct json *result) {
    struct arena *a = s->client->arena;
    struct json *build = NULL, *failures = NULL;
    int code = EXIT_OK;
    if (s->jobs && s->o->wait)
        code = build_wait(s->client, str_of(s->build), s->o->dir, &build, &failures);
    if (code == EXIT_FAILED) return code;
    if (!s->o->json && build) build_report(build, failures);
    if (!s->o->json && !s->jobs) printf("Applied; nothing is to be built.\n");
    if (!s->o->json && s->jobs && !build)
        printf("Applied; build %s goes on: regent get build %s\n", s->build, s->build);
    if (!s->o->json) return code;
    if (!build) build = s->jobs ? json_string(a, str_of(s->build)) : json_null(a);
    json_set(a, result, STR("build"), build);
    if (failures) json_set(a, result, STR("failures"), failures);
    print_document(result);
    return code;
}

int changes_run(struct client *c, struct changes *changes, const struct changes_options *o) {
    struct sending s = {.client = c, .changes = changes, .o = o};
    struct json *result = NULL;
    if (o->json) {
        result = plan_json(changes);
        json_set(c->arena, result, STR("dry_run"), json_bool(c->arena, o->dry_run));
    } else {
        print_plan(changes);
    }
    if (o->dry_run || !changes->n) {
        int code = changes->n && changes->n <= BATCH_TENANTS ? send_all(&s) : EXIT_OK;
        if (o->json && !code) print_document(result);
        return code;
    }
    if (!confirmed(changes, o)) return EXIT_FAILED;
    control_new_id(s.build);
    int code = send_all(&s);
    return code ? code : finish(&s, result);
}
