/* Reads a folder of templates, libraries and tenants.
 * in: files. out: canonical documents; what is wrong, with the files' own names and places.
 * owns: nothing; texts and trees lie in the arena. */
#include "base/yaml.h"
#include "cli/cli.h"
#include "cli/folder.h"
#include "control/control.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 16, MAX_ERRORS = 100, MAX_FILE_BYTES = SPEC_BYTES };

/* One document while it is read. */
struct reading {
    struct arena *arena;
    struct diag_list *diags;
    const char *dir;  /* DIR/policies/acme; for a library of one file, its folder */
    const char *head; /* "tenant": tenant.yaml */
    struct json *document, *files;
    struct json *places; /* the head file's tree, with places; NULL: none */
    const char *head_file, *data_file, *checks_file; /* NULL: not there */
};

static bool wrong(struct reading *r, const char *path, const char *why) {
    diag_add(r->diags, DIAG_IO, (struct loc){0}, "%s: %s", path, why);
    return false;
}

static bool read_text(struct reading *r, const char *path, struct str *out) {
    struct buf b;
    buf_init(&b, MAX_FILE_BYTES);
    enum err e = buf_read_file(&b, path);
    int saved = errno;
    *out = e ? (struct str){0}
             : (struct str){arena_strndup(r->arena, (const char *)b.ptr, b.len), b.len};
    buf_deinit(&b);
    if (e) return wrong(r, path, e == ERR_IO ? strerror(saved) : err_meaning(e));
    return out->ptr || wrong(r, path, err_meaning(ERR_MEMORY));
}

/* YAML with places, or JSON. */
static bool read_tree(struct reading *r, const char *path, bool places, struct json **out) {
    struct str text, *name = ARENA_NEW(r->arena, struct str);
    struct json_error error = {0};
    enum err e;
    if (!name || !read_text(r, path, &text)) return false;
    *name = str_of(path);
    if (str_ends(*name, STR(".json"))) {
        e = json_parse(r->arena, text, out, &error);
    } else {
        struct yaml_options options = {
            .source = places ? name : NULL, .duplicates = r->diags, .one_document = true};
        uint32_t before = r->diags->n;
        e = yaml_read(r->arena, text, &options, out, &error);
        if (!e && r->diags->n > before) return false;
        if (!e) yaml_as_opa(r->arena, *out);
    }
    if (!e) return true;
    diag_add(r->diags, DIAG_IO, (struct loc){.file = *name, .row = error.row, .col = error.col},
             "%s", error.message ? error.message : err_meaning(e));
    return false;
}

static bool is_one_of(const char *name, const char *stem, const char **what) {
    size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0) return false;
    *what = name + n;
    return !strcmp(name + n, ".json") || !strcmp(name + n, ".yaml") || !strcmp(name + n, ".yml");
}

static bool once(struct reading *r, const char **slot, const char *path) {
    if (*slot)
        return wrong(r, path,
                     arena_printf(r->arena, NULL, "%s is there too: which one counts?", *slot));
    *slot = path;
    return true;
}

/* Data and checks may stand in the head file as well, but not twice. */
static bool add_member(struct reading *r, const char *path, struct str key, struct json *value) {
    if (str_is(key, "files")) return wrong(r, path, "files are files of their own");
    if (json_get(r->document, key))
        return wrong(
            r, path,
            arena_printf(r->arena, NULL, "%.*s is given in a file of its own too", STR_FMT(key)));
    json_set(r->arena, r->document, key, value);
    return true;
}

static bool add_head(struct reading *r, const char *path) {
    struct json *v;
    if (!once(r, &r->head_file, path) || !read_tree(r, path, true, &v)) return false;
    if (v->kind == JSON_NULL) return true;
    if (v->kind != JSON_OBJECT) return wrong(r, path, "it must be an object");
    if (!str_ends(str_of(path), STR(".json"))) r->places = v;
    for (uint32_t i = 0; i < v->n; i++)
        if (!add_member(r, path, v->keys[i], v->items[i])) return false;
    return true;
}

static bool add_part(struct reading *r, const char **slot, const char *member, const char *path) {
    struct json *v;
    return once(r, slot, path) && read_tree(r, path, false, &v) &&
           add_member(r, path, str_of(member), v);
}

static bool add_rego(struct reading *r, const char *path, const char *name) {
    struct str text;
    if (!read_text(r, path, &text)) return false;
    json_set(r->arena, r->files, str_of(name), json_string(r->arena, text));
    return true;
}

/* name: below the document's folder. */
static bool add_file(struct reading *r, const char *path, const char *name) {
    struct str s = str_of(name);
    const char *tail;
    if (str_ends(s, STR(".rego"))) return add_rego(r, path, name);
    if (is_one_of(name, r->head, &tail)) return add_head(r, path);
    bool library = !strcmp(r->head, "library");
    if (!library && is_one_of(name, "data", &tail)) return add_part(r, &r->data_file, "data", path);
    if (!library && is_one_of(name, "checks", &tail))
        return add_part(r, &r->checks_file, "checks", path);
    if (!str_ends(s, STR(".json")) && !str_ends(s, STR(".yaml")) && !str_ends(s, STR(".yml")))
        return true;
    return wrong(r, path,
                 arena_printf(r->arena, NULL, "%s.yaml%s are read here, and .rego files", r->head,
                              library ? "" : ", data.json and checks.json"));
}

/* Calls `each` with every name of a folder that counts, sorted. */
typedef bool each_name(void *ctx, const char *path, const char *name, bool folder);
static bool walk(struct arena *a, struct diag_list *diags, const char *dir, each_name *each,
                 void *ctx) {
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort);
    struct stat st;
    bool fine = true;
    if (n < 0)
        return diag_add(diags, DIAG_IO, (struct loc){0}, "%s: %s", dir, strerror(errno)), false;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name, *path = NULL;
        if (name[0] != '.') {
            path = arena_printf(a, NULL, "%s/%s", dir, name);
            if (lstat(path, &st) != 0)
                diag_add(diags, DIAG_IO, (struct loc){0}, "%s: %s", path, strerror(errno)),
                    fine = false;
            else if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
                diag_add(diags, DIAG_IO, (struct loc){0},
                         "%s: neither a file nor a folder; links are not followed", path),
                    fine = false;
            else
                fine &= each(ctx, path, arena_strndup(a, name, strlen(name)), S_ISDIR(st.st_mode));
        }
        free(names[i]);
    }
    free(names);
    return fine;
}

/* A document's folder, with the path below it so far. */
struct descent {
    struct reading *r;
    const char *below; /* "", "lib/" */
    int depth;
};

static bool take_name(void *ctx, const char *path, const char *name, bool folder) {
    struct descent *d = ctx;
    const char *whole = arena_printf(d->r->arena, NULL, "%s%s", d->below, name);
    if (!folder) return add_file(d->r, path, whole);
    if (d->depth == MAX_DEPTH) return wrong(d->r, path, "folders are too deep");
    struct descent deeper = {d->r, arena_printf(d->r->arena, NULL, "%s/", whole), d->depth + 1};
    return walk(d->r->arena, d->r->diags, path, take_name, &deeper);
}

/* ---- places ---- */

/* The place of a member ("parameters.REGION") in the head file: as deep as it is there. */
static struct loc head_place(const struct reading *r, struct str member) {
    struct loc at = {.file = str_of(r->head_file), .row = 1, .col = 1};
    const struct json *v = r->places;
    while (v && member.len) {
        const char *dot = memchr(member.ptr, '.', member.len);
        struct str key = dot ? str_head(member, (size_t)(dot - member.ptr)) : member;
        if (!(v = json_get(v, key))) break;
        at = yaml_key_place(v);
        member = str_from(member, dot ? key.len + 1 : key.len);
    }
    return at;
}

/* spec.h names files as the document does, and members; people know files. */
static struct loc real_place(const struct reading *r, const struct diag *d) {
    struct loc at = d->loc;
    const char *file = NULL;
    if (d->code != DIAG_DOCUMENT)
        file = arena_printf(r->arena, NULL, "%s/%.*s", r->dir, STR_FMT(at.file));
    else if (r->data_file && (str_is(at.file, "data") || str_starts(at.file, STR("data."))))
        file = r->data_file;
    else if (r->checks_file && str_starts(at.file, STR("checks")))
        file = r->checks_file;
    else if (r->places)
        return head_place(r, at.file);
    else
        file = r->head_file ? r->head_file : r->dir;
    at.file = str_of(file);
    if (!at.row) at.row = at.col = 1;
    return at;
}

static void take_diags(struct reading *r, const struct diag_list *from) {
    for (uint32_t i = 0; i < from->n; i++) {
        const struct diag *d = &from->items[i];
        struct str member = d->code == DIAG_DOCUMENT ? d->loc.file : STR("");
        diag_add(r->diags, d->code, real_place(r, d), "%.*s%s%.*s", STR_FMT(member),
                 member.len ? ": " : "", STR_FMT(d->message));
    }
    r->diags->dropped += from->dropped;
}

/* ---- documents ---- */

static bool finish(struct reading *r, struct folder *f, struct folder_item item) {
    struct diag_list diags;
    diag_list_init(&diags, r->arena);
    if (r->files->n) json_set(r->arena, r->document, STR("files"), r->files);
    enum err e = spec_read(r->arena, item.kind, r->document, &item.document, &diags);
    if (e == ERR_DIAG) return take_diags(r, &diags), false;
    if (e) return wrong(r, r->dir, err_meaning(e));
    spec_sha256(r->arena, item.document, item.sha256);
    ARENA_PUSH(r->arena, f, item);
    return true;
}

struct kind_folder {
    struct arena *arena;
    struct folder *folder;
    struct diag_list *diags;
    enum spec_kind kind;
    const char *name; /* "policies" */
};

static struct reading begin(struct kind_folder *k, const char *dir) {
    return (struct reading){.arena = k->arena,
                            .diags = k->diags,
                            .dir = dir,
                            .head = spec_word(k->kind),
                            .document = json_object(k->arena),
                            .files = json_object(k->arena)};
}

static bool read_item(void *ctx, const char *path, const char *name, bool folder) {
    struct kind_folder *k = ctx;
    struct str id = str_of(name);
    const char *below = arena_printf(k->arena, NULL, "%s/%s", k->name, name);
    struct folder_item item = {.kind = k->kind, .id = id, .path = str_of(below)};
    if (folder) {
        struct reading r = begin(k, path);
        const char *bad = control_id_wrong(id);
        if (bad) return wrong(&r, path, bad);
        struct descent d = {&r, "", 0};
        bool fine = walk(k->arena, k->diags, path, take_name, &d);
        return finish(&r, k->folder, item) && fine;
    }
    if (!str_ends(id, STR(".rego"))) return true;
    struct reading r = begin(k, arena_printf(k->arena, NULL, "%s/%s", k->folder->dir, k->name));
    if (k->kind != SPEC_LIBRARY) return wrong(&r, path, "it wants a folder of its own");
    item.id.len -= 5;
    const char *bad = control_id_wrong(item.id);
    if (bad) return wrong(&r, path, bad);
    return add_rego(&r, path, name) && finish(&r, k->folder, item);
}

static bool read_kind(struct arena *a, struct folder *f, enum spec_kind kind, const char *name,
                      struct diag_list *diags) {
    struct kind_folder k = {a, f, diags, kind, name};
    struct stat st;
    const char *dir = arena_printf(a, NULL, "%s/%s", f->dir, name);
    if (stat(dir, &st) != 0 && errno == ENOENT) return true;
    f->parts++;
    return walk(a, diags, dir, read_item, &k);
}

/* A library may be a file and a folder at once. */
static bool no_twins(const struct folder *f, struct diag_list *diags) {
    for (uint32_t i = 1; i < f->n; i++) {
        const struct folder_item *x = &f->items[i - 1], *y = &f->items[i];
        if (x->kind != y->kind || !str_eq(x->id, y->id)) continue;
        diag_add(diags, DIAG_IO, (struct loc){0}, "%s/%.*s and %s/%.*s: two libraries of one name",
                 f->dir, STR_FMT(x->path), f->dir, STR_FMT(y->path));
        return false;
    }
    return true;
}

static int by_kind_and_id(const void *a, const void *b) {
    static const int rank[] = {[SPEC_LIBRARY] = 0, [SPEC_TEMPLATE] = 1, [SPEC_TENANT] = 2};
    const struct folder_item *x = a, *y = b;
    return x->kind != y->kind ? rank[x->kind] - rank[y->kind] : str_cmp(x->id, y->id);
}

bool folder_read(struct arena *a, const char *dir, struct folder *out, struct diag_list *diags) {
    size_t n = strlen(dir);
    struct stat st;
    while (n > 1 && dir[n - 1] == '/') n--;
    *out = (struct folder){.dir = arena_strndup(a, dir, n)};
    diags->max_errors = MAX_ERRORS;
    if (stat(out->dir, &st) != 0 || !S_ISDIR(st.st_mode)) {
        diag_add(diags, DIAG_IO, (struct loc){0}, "%s: %s", dir, "no such folder");
        return false;
    }
    bool fine = read_kind(a, out, SPEC_LIBRARY, "shared", diags);
    fine &= read_kind(a, out, SPEC_TEMPLATE, "templates", diags);
    fine &= read_kind(a, out, SPEC_TENANT, "policies", diags);
    if (!out->parts) { /* rather the wrong folder than one of nothing */
        diag_add(diags, DIAG_IO, (struct loc){0},
                 "%s: it has none of templates/, shared/ and policies/", dir);
        return false;
    }
    if (out->n) qsort(out->items, out->n, sizeof *out->items, by_kind_and_id);
    return no_twins(out, diags) && fine;
}
