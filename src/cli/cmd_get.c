/* regent get: shows what a control plane keeps, as a table or JSON.
 * in: a kind, perhaps an id. out: a list page by page, or one thing. owns: nothing. */
#include "base/utf8.h"
#include "cli/client.h"
#include <unistd.h>

enum { MAX_COLUMNS = 8, OUTPUT_BYTES = 1 << 30, PATH_BYTES = 8 };

/* A column: a member, or one of a member ("template.id"). */
struct column {
    const char *title, *member;
};
struct kind {
    const char *name, *single, *path; /* path of the list; %s: of what the id names */
    bool of_tenant;                   /* the argument is a tenant's id */
    struct column columns[MAX_COLUMNS];
};
static const struct kind kinds[] = {
    {"tenants",
     "tenant",
     "/v1/tenants",
     false,
     {{"ID", "id"},
      {"STATUS", "status"},
      {"TEMPLATE", "template.id"},
      {"VERSION", "version"},
      {"BUILD", "build_state"},
      {"LABELS", "labels"},
      {"UPDATED", "updated"}}},
    {"templates",
     "template",
     "/v1/templates",
     false,
     {{"ID", "id"},
      {"VERSION", "version"},
      {"DESCRIPTION", "description"},
      {"UPDATED", "updated"},
      {"BY", "updated_by"}}},
    {"libraries",
     "library",
     "/v1/libraries",
     false,
     {{"ID", "id"},
      {"VERSION", "version"},
      {"DESCRIPTION", "description"},
      {"UPDATED", "updated"},
      {"BY", "updated_by"}}},
    {"builds",
     "build",
     "/v1/builds",
     false,
     {{"ID", "id"},
      {"CAUSE", "cause"},
      {"OBJECT", "object"},
      {"STATUS", "status"},
      {"TOTAL", "total"},
      {"FAILED", "failed"},
      {"CREATED", "created"},
      {"BY", "created_by"}}},
    {"versions",
     NULL,
     "/v1/tenants/%s/versions",
     true,
     {{"VERSION", "version"},
      {"CURRENT", "current"},
      {"BYTES", "bytes"},
      {"BUILD", "build"},
      {"COMPILER", "compiler"},
      {"CREATED", "created"},
      {"BY", "created_by"}}},
    {"releases",
     NULL,
     "/v1/releases?tenant=%s",
     true,
     {{"SERIAL", "serial"},
      {"VERSION", "version"},
      {"CURRENT", "current"},
      {"BEFORE", "previous"},
      {"CAUSE", "cause"},
      {"CREATED", "created"},
      {"BY", "created_by"}}},
    {"edges",
     "edge",
     "/v1/edges",
     false,
     {{"NODE", "node"},
      {"HOST", "host"},
      {"SOFTWARE", "software"},
      {"STATE", "state"},
      {"BEHIND", "behind"},
      {"TENANTS", "tenants"},
      {"FAILING", "failing"},
      {"SEEN", "seen"}}},
    {"rollouts",
     "rollout",
     "/v1/rollouts",
     false,
     {{"ID", "id"},
      {"STATUS", "status"},
      {"WAVE", "wave"},
      {"PHASE", "phase"},
      {"CREATED", "created"},
      {"BY", "created_by"}}},
    {"tokens",
     "token",
     "/v1/tokens",
     false,
     {{"ID", "id"},
      {"NAME", "name"},
      {"ROLE", "role"},
      {"CREATED", "created"},
      {"EXPIRES", "expires"},
      {"USED", "used"}}},
};

static const struct kind *find_kind(struct str name) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_is(name, kinds[i].name) || (kinds[i].single && str_is(name, kinds[i].single)))
            return &kinds[i];
    return NULL;
}

static struct str kind_names(struct arena *a) {
    struct str all = {0};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        all.ptr = arena_printf(a, &all.len, "%.*s%s%s", STR_FMT(all), i ? ", " : "", kinds[i].name);
    return all;
}

/* ---- as a table ---- */

struct listing {
    struct arena *arena;
    const struct kind *kind;
    uint32_t n_columns, rows;
    struct {
        struct str *items;
        uint32_t n, cap;
    } cells;
    struct json *all; /* for JSON; NULL: a table */
    int64_t most;     /* 0: no limit */
    bool cut;
};

/* Control characters would play tricks with a terminal. */
static struct str shown(struct arena *a, struct str s) {
    struct buf b;
    buf_init(&b, OUTPUT_BYTES);
    for (size_t i = 0; i < s.len;) {
        uint32_t cp;
        int n = utf8_decode(s.ptr + i, s.len - i, &cp);
        if (n && cp >= ' ' && cp != 0x7f && (cp < 0x80 || cp >= 0xa0))
            buf_put(&b, s.ptr + i, (size_t)n);
        else
            buf_byte(&b, '?');
        i += n ? (size_t)n : 1;
    }
    struct str out = {arena_strndup(a, (const char *)b.ptr, b.len), b.len};
    buf_deinit(&b);
    return out;
}

/* {"plan": "gold"} as plan=gold. */
static struct str pairs(struct arena *a, const struct json *v) {
    struct str all = STR("");
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i]->kind == JSON_STRING)
            all.ptr = arena_printf(a, &all.len, "%.*s%s%.*s=%.*s", STR_FMT(all), all.len ? "," : "",
                                   STR_FMT(v->keys[i]), STR_FMT(v->items[i]->text));
    return all;
}

static struct str cell_text(struct arena *a, const struct json *item, const char *member) {
    const char *dot = strchr(member, '.');
    struct str head = dot ? (struct str){member, (size_t)(dot - member)} : str_of(member);
    const struct json *v = json_get(item, head);
    if (dot) v = json_get_c(v, dot + 1);
    if (!v) v = json_get_c(item, arena_printf(a, NULL, "%s_at", member)); /* times are called so */
    if (!v) return STR("");
    switch (v->kind) {
    case JSON_STRING: return shown(a, v->text);
    case JSON_NUMBER: return (struct str){arena_strndup(a, v->text.ptr, v->text.len), v->text.len};
    case JSON_BOOL: return v->boolean ? STR("yes") : STR("no");
    case JSON_OBJECT: return shown(a, pairs(a, v));
    case JSON_NULL:
    case JSON_ARRAY: break;
    }
    return STR("");
}

static int add_row(void *ctx, const struct json *item) {
    struct listing *l = ctx;
    if (l->most && l->rows == l->most) return l->cut = true, EXIT_FAILED;
    l->rows++;
    if (l->all) {
        struct json *copy = client_copy(l->arena, item); /* the page goes */
        if (!copy) return fail("%s", err_meaning(ERR_MEMORY));
        json_push(l->arena, l->all, copy);
        return EXIT_OK;
    }
    for (uint32_t c = 0; c < l->n_columns; c++) {
        struct str text = cell_text(l->arena, item, l->kind->columns[c].member);
        ARENA_PUSH(l->arena, &l->cells, text);
    }
    return EXIT_OK;
}

static int show_list(struct client *c, const char *path, const struct kind *kind, int64_t most,
                     bool json) {
    struct listing l = {.arena = c->arena, .kind = kind, .most = most};
    struct buf b;
    if (json) l.all = json_array(c->arena);
    while (l.n_columns < MAX_COLUMNS && kind->columns[l.n_columns].title) {
        struct str title = str_of(kind->columns[l.n_columns++].title);
        ARENA_PUSH(c->arena, &l.cells, title);
    }
    int code = client_list(c, path, add_row, &l);
    if (code && !l.cut) return code;
    if (json) return print_document(l.all), EXIT_OK;
    buf_init(&b, OUTPUT_BYTES);
    print_table(l.cells.items, l.rows + 1, l.n_columns, true, false, &b);
    if (l.cut) buf_cstr(&b, "There are more: --limit 0 shows all.\n");
    print_buf(STDOUT_FILENO, &b);
    buf_deinit(&b);
    return EXIT_OK;
}

static int show_one(struct client *c, const char *path) {
    struct client_call q = {.method = "GET", .path = path};
    int code = client_ask(c, &q);
    if (code) return code;
    if (!q.reply) return fail("%s%s gave no JSON", c->url, path);
    print_document(q.reply);
    return EXIT_OK;
}

/* The list's path with its filters: the API writes KEY:VALUE. NULL: said why. */
static const char *filtered(struct arena *a, const char *path, const struct str_list *labels) {
    for (uint32_t i = 0; i < labels->n; i++) {
        struct str label = labels->items[i];
        const char *equals = label.len ? memchr(label.ptr, '=', label.len) : NULL;
        if (!equals || equals == label.ptr) return fail("--label takes KEY=VALUE"), NULL;
        struct str key = str_head(label, (size_t)(equals - label.ptr));
        path = arena_printf(a, NULL, "%s%slabel=%s:%s", path, i ? "&" : "?", client_escape(a, key),
                            client_escape(a, str_from(label, key.len + 1)));
    }
    return path;
}

int cmd_get(struct arena *a, int argc, char **argv) {
    struct client_options o = {0};
    struct str output = STR("table");
    struct str_list words, labels = {0};
    int64_t most = 1000;
    struct client c;
    int code;
    const struct option_spec specs[] = {
        {"output", 'o', OPTION_TEXT, &output, "FORMAT", "table (default) or json"},
        {"label", 'l', OPTION_LIST, &labels, "KEY=VALUE",
         "of tenants: only those with this label; repeatable"},
        {"limit", 0, OPTION_NUMBER, &most, "N", "how many at most (default 1000; 0: all)"},
        CLIENT_FLAGS(o),
        {0}};
    if (!command_options(a, "get KIND [ID] [flags]", specs, argc, argv, &words, &code)) return code;
    bool json = str_is(output, "json");
    if (!json && !str_is(output, "table")) return fail("-o takes table or json");
    if (!words.n || words.n > 2) return fail("get what? %.*s", STR_FMT(kind_names(a)));
    const struct kind *kind = find_kind(words.items[0]);
    if (!kind) return fail("no such kind: one of %.*s", STR_FMT(kind_names(a)));
    if (kind->of_tenant && words.n != 2)
        return fail("of which tenant? regent get %s TENANT", kind->name);
    if (labels.n && strcmp(kind->name, "tenants")) return fail("--label is for tenants");
    if (most < 0) return fail("--limit takes 0 or more");
    const char *id = words.n == 2 ? client_escape(a, words.items[1]) : NULL;
    const char *list = filtered(a, kind->path, &labels);
    if (!list || !client_open(a, &o, &c)) return EXIT_FAILED;
    if (kind->of_tenant)
        code = show_list(&c, arena_printf(a, NULL, kind->path, id), kind, most, json);
    else if (id)
        code = show_one(&c, arena_printf(a, NULL, "%s/%s", kind->path, id));
    else
        code = show_list(&c, list, kind, most, json);
    client_close(&c);
    return code;
}
