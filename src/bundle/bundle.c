/* Reads bundles: a tar archive or folder into files, manifest, data and modules.
 * in: archive bytes or a folder. out: struct bundle in an arena. owns: the archive reader during a call. */
#include "bundle/bundle.h"
#include "bundle/tar.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static enum err problem(struct diag_list *diags, struct str file, const char *what,
                        const char *why) {
    diag_add(diags, DIAG_IO, (struct loc){.file = file}, "%s: %s", what, why);
    return ERR_DIAG;
}

/* "./a/../b" style names become "/b"-like absolute ones; false for names that leave the bundle. */
static bool clean_path(struct arena *a, const char *name, struct str *out) {
    size_t len = name ? strlen(name) : 0, n = 0;
    char *path = arena_alloc(a, len + 2);
    if (!path) return false;
    for (size_t i = 0; i < len;) {
        while (i < len && name[i] == '/') i++;
        size_t start = i;
        while (i < len && name[i] != '/') i++;
        struct str part = {name + start, i - start};
        if (part.len == 0 || str_is(part, ".")) continue;
        if (str_is(part, "..")) return false;
        path[n++] = '/';
        memcpy(path + n, part.ptr, part.len);
        n += part.len;
    }
    *out = (struct str){path, n};
    return n > 0;
}

static struct str base_name(struct str path) {
    size_t i = path.len;
    while (i > 0 && path.ptr[i - 1] != '/') i--;
    return str_from(path, i);
}

static enum err add_file(struct arena *a, struct bundle *b, struct str path, struct str bytes) {
    uint32_t before = b->files.n;
    ARENA_PUSH(a, &b->files, ((struct bundle_file){path, bytes}));
    return b->files.n > before ? OK : ERR_MEMORY;
}

static enum err read_archive(struct arena *a, struct tar *t, struct bundle *b, struct diag_list *diags) {
    for (;;) {
        struct tar_file f;
        struct str path;
        enum err e = tar_next(t, a, BUNDLE_MAX_FILE_BYTES, &f);
        if (e == ERR_SYNTAX) return problem(diags, STR(""), "bundle is no gzipped tar archive", t->why);
        if (e == ERR_LIMIT) return problem(diags, str_of(f.name), "bundle", "file larger than 1 GiB");
        if (e) return problem(diags, STR(""), "bundle", "larger than the memory allowed for it");
        if (!f.name) return OK;
        if (!clean_path(a, f.name, &path))
            return problem(diags, STR(""), "bundle", "an entry has no name that can be used, or leaves the archive");
        if ((e = add_file(a, b, path, f.bytes)) != OK) return e;
    }
}

/* The object at a file's folder inside b->data, made on the way; NULL when a scalar is in the way.
 */
static struct json *folder_of(struct arena *a, struct bundle *b, struct str path) {
    struct json *at = b->data;
    size_t end = path.len - base_name(path).len;
    for (size_t i = 1; i < end;) {
        size_t start = i;
        while (i < end && path.ptr[i] != '/') i++;
        struct str key = {path.ptr + start, i - start};
        struct json *next = json_get(at, key);
        if (!next) json_set(a, at, key, next = json_object(a));
        if (!next || next->kind != JSON_OBJECT) return NULL;
        at = next;
        i++;
    }
    return at;
}

static enum err parse_document(struct arena *a, const struct bundle_file *f, bool yaml,
                               struct json **out, struct diag_list *diags) {
    struct json_error error = {0};
    enum err e = yaml ? yaml_parse(a, f->bytes, out, &error) : json_parse(a, f->bytes, out, &error);
    if (e == ERR_MEMORY) return e;
    if (e) {
        diag_add(diags, DIAG_IO, (struct loc){.file = f->path, .row = error.row, .col = error.col},
                 "%s", error.message);
        return ERR_DIAG;
    }
    return OK;
}

static enum err merge_data(struct arena *a, struct bundle *b, const struct bundle_file *f,
                           bool yaml, struct diag_list *diags) {
    struct json *v, *folder;
    enum err e = parse_document(a, f, yaml, &v, diags);
    if (e) return e;
    if (v->kind != JSON_OBJECT)
        return problem(diags, f->path, "data document", "must be an object");
    if (!(folder = folder_of(a, b, f->path)) || !json_merge(a, folder, v))
        return problem(diags, f->path, "data document",
                       "conflicts with another data document at the same path");
    return OK;
}

static struct str module_path(const struct bundle *b) {
    struct json *list = json_get_c(b->manifest, "wasm");
    if (list && list->kind == JSON_ARRAY && list->n) {
        struct json *path = json_get_c(list->items[0], "module");
        if (path && path->kind == JSON_STRING && path->text.len) return path->text;
    }
    return STR("/policy.wasm");
}

static bool same_path(struct str a, struct str b) {
    if (a.len && a.ptr[0] == '/') a = str_from(a, 1);
    if (b.len && b.ptr[0] == '/') b = str_from(b, 1);
    return str_eq(a, b);
}

static enum err read_manifest(struct arena *a, struct bundle *b, struct diag_list *diags) {
    b->manifest = json_object(a);
    for (uint32_t i = 0; i < b->files.n; i++) {
        if (!same_path(b->files.items[i].path, STR(".manifest"))) continue;
        enum err e = parse_document(a, &b->files.items[i], false, &b->manifest, diags);
        if (e) return e;
        if (b->manifest->kind != JSON_OBJECT)
            return problem(diags, b->files.items[i].path, "manifest", "must be an object");
    }
    struct json *revision = json_get_c(b->manifest, "revision");
    b->revision = revision && revision->kind == JSON_STRING ? revision->text : STR("");
    return b->manifest ? OK : ERR_MEMORY;
}

/* Fills manifest, data and modules from the files. */
static enum err interpret(struct arena *a, struct bundle *b, struct diag_list *diags) {
    enum err e = read_manifest(a, b, diags);
    if (e) return e;
    struct str full = module_path(b);
    if (!(b->data = json_object(a))) return ERR_MEMORY;
    for (uint32_t i = 0; i < b->files.n; i++) {
        const struct bundle_file *f = &b->files.items[i];
        struct str name = base_name(f->path);
        if (same_path(f->path, full))
            b->full = f->bytes;
        else if (same_path(f->path, STR("policy.thin.wasm")))
            b->thin = f->bytes;
        else if (str_is(name, "data.json"))
            e = merge_data(a, b, f, false, diags);
        else if (str_is(name, "data.yaml") || str_is(name, "data.yml"))
            e = merge_data(a, b, f, true, diags);
        if (e) return e;
    }
    return OK;
}

enum err bundle_read(struct arena *a, struct str archive, struct bundle *out,
                     struct diag_list *diags) {
    struct bundle b = {0};
    struct tar t;
    if (archive.len == 0) return problem(diags, STR(""), "bundle is no gzipped tar archive", "it is empty");
    enum err e = tar_init(&t, archive);
    if (!e) e = read_archive(a, &t, &b, diags);
    else if (e == ERR_SYNTAX) e = problem(diags, STR(""), "bundle is no gzipped tar archive", t.why);
    tar_deinit(&t);
    if (!e) e = interpret(a, &b, diags);
    if (!e) *out = b;
    return e;
}

static enum err read_folder(struct arena *a, const char *dir, struct str under, struct bundle *b,
                            struct diag_list *diags);

static enum err read_one(struct arena *a, const char *name, struct str under, const char *entry,
                         struct bundle *b, struct diag_list *diags) {
    struct stat st;
    size_t len = 0;
    char *inner = arena_printf(a, &len, "%.*s/%s", STR_FMT(under), entry);
    if (!inner) return ERR_MEMORY;
    if (stat(name, &st) != 0)
        return problem(diags, str_of(name), "cannot be read", strerror(errno));
    if (S_ISDIR(st.st_mode)) return read_folder(a, name, (struct str){inner, len}, b, diags);
    if (!S_ISREG(st.st_mode)) return OK;
    struct buf bytes;
    buf_init(&bytes, BUNDLE_MAX_FILE_BYTES);
    enum err e = buf_read_file(&bytes, name);
    char *copy = e ? NULL : arena_strndup(a, (const char *)bytes.ptr, bytes.len);
    if (e)
        problem(diags, str_of(name), "cannot be read",
                e == ERR_IO ? strerror(errno) : err_meaning(e));
    size_t n = bytes.len;
    buf_deinit(&bytes);
    if (e) return ERR_DIAG;
    return copy ? add_file(a, b, (struct str){inner, len}, (struct str){copy, n}) : ERR_MEMORY;
}

static enum err read_folder(struct arena *a, const char *dir, struct str under, struct bundle *b,
                            struct diag_list *diags) {
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort);
    if (n < 0)
        return problem(diags, str_of(arena_strndup(a, dir, strlen(dir))), "cannot be read",
                       strerror(errno));
    enum err e = OK;
    for (int i = 0; i < n; i++) {
        const char *entry = names[i]->d_name;
        if (!e && strcmp(entry, ".") && strcmp(entry, "..")) {
            char *name = arena_printf(a, NULL, "%s/%s", dir, entry);
            e = name ? read_one(a, name, under, entry, b, diags) : ERR_MEMORY;
        }
        free(names[i]);
    }
    free(names);
    return e;
}

enum err bundle_read_dir(struct arena *a, const char *dir, struct bundle *out,
                         struct diag_list *diags) {
    struct bundle b = {0};
    enum err e = read_folder(a, dir, STR(""), &b, diags);
    if (!e) e = interpret(a, &b, diags);
    if (!e) *out = b;
    return e;
}
