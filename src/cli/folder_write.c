/* Writes documents as a folder of templates, libraries and tenants.
 * in: documents and their ids, from a control plane that is not trusted with names. out: files
 * below one folder. owns: nothing. */
#include "base/hash.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/folder.h"
#include "control/control.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OUTPUT_BYTES = 256 << 20, MAX_DEPTH = 16 };

static bool refuse(const char *path, const char *why) { return fail("%s: %s", path, why), false; }

/* ---- names ---- */

/* The rule of spec.h for files' names, asked again here: whoever answers may be somebody else. */
static bool file_name_fits(struct str s) {
    if (!s.len || s.len > SPEC_FILE_NAME_BYTES || !str_ends(s, STR(".rego"))) return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i], before = i ? s.ptr[i - 1] : '/';
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && !strchr("._-/", c)) return false;
        if (before == '/' && (c == '.' || c == '/')) return false;
    }
    return true;
}

/* ---- files ---- */

/* Every folder of the path below dir, none of them by a link. */
static bool make_folder(const struct folder_writer *w, const char *path) {
    char part[FOLDER_PATH_BYTES];
    size_t n = strlen(path), from = strlen(w->dir);
    struct stat st;
    if (n >= sizeof part) return refuse(path, "the path is too long");
    for (size_t i = from + 1; i <= n; i++) {
        if (path[i] && path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) == 0) continue;
        if (errno != EEXIST) return refuse(part, strerror(errno));
        if (lstat(part, &st) != 0 || !S_ISDIR(st.st_mode))
            return refuse(part, "it is there, and is no folder");
    }
    return true;
}

/* name: "templates/shop/lib/a.rego", checked. */
static bool put_file(struct folder_writer *w, const char *name, struct str text) {
    const char *path = arena_printf(w->arena, NULL, "%s/%s", w->dir, name);
    const char *slash = strrchr(path, '/');
    if (!make_folder(w, arena_strndup(w->arena, path, (size_t)(slash - path)))) return false;
    enum err e = file_write_output(path, text);
    if (e) return refuse(path, e == ERR_IO ? strerror(errno) : err_meaning(e));
    table_set(&w->written, str_of(path), w);
    return true;
}

static bool put_json(struct folder_writer *w, const char *name, const struct json *v) {
    struct buf b;
    buf_init(&b, OUTPUT_BYTES);
    json_print(v, false, 2, &b);
    buf_byte(&b, '\n');
    bool fine = b.err ? refuse(name, err_meaning(b.err)) : put_file(w, name, buf_view(&b));
    buf_deinit(&b);
    return fine;
}

/* ---- YAML for people ---- */

/* Texts that YAML takes for a text without quotes, whoever reads it. */
static bool is_plain(struct str s) {
    static const char *const words[] = {"y",    "n",     "yes",  "no",  "on", "off",
                                        "true", "false", "null", "nan", "inf"};
    bool letter = s.len && s.len < 200 && ((s.ptr[0] | 32) >= 'a' && (s.ptr[0] | 32) <= 'z');
    for (size_t i = 0; letter && i < s.len; i++) {
        char c = s.ptr[i], low = (char)(c | 32);
        letter = (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || (c && strchr("_./- ", c));
    }
    for (size_t i = 0; letter && i < sizeof words / sizeof *words; i++)
        letter = !str_eq_fold(s, str_of(words[i]));
    return letter && s.ptr[s.len - 1] != ' ';
}

/* JSON's strings are YAML's, but for what YAML takes for no text or for the end of a line. */
static void print_quoted(struct str s, struct buf *out) {
    struct buf json;
    buf_init(&json, OUTPUT_BYTES);
    json_print_string(s, &json);
    for (size_t i = 0; i < json.len;) {
        uint32_t cp;
        int n = utf8_decode((const char *)json.ptr + i, json.len - i, &cp);
        bool odd = (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 || cp == 0x2029 || cp == 0xfeff ||
                   (cp & 0xfffe) == 0xfffe;
        if (!n || !odd)
            buf_put(out, json.ptr + i, n ? (size_t)n : 1);
        else
            buf_printf(out, cp > 0xffff ? "\\U%08x" : "\\u%04x", cp);
        i += n ? (size_t)n : 1;
    }
    if (json.err && !out->err) out->err = json.err;
    buf_deinit(&json);
}

static void print_text(struct str s, struct buf *out) {
    if (is_plain(s))
        buf_str(out, s);
    else
        print_quoted(s, out);
}

static void print_scalar(const struct json *v, struct buf *out) {
    if (v->kind == JSON_STRING)
        print_text(v->text, out);
    else
        json_print(v, false, 0, out);
}

/* Numbers that YAML's readers give back as they were written. */
static bool is_steady(struct str s) {
    size_t digits = 0, dot = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '.')
            dot = i;
        else if (s.ptr[i] >= '0' && s.ptr[i] <= '9')
            digits++;
        else if (s.ptr[i] != '-' || i)
            return false;
    }
    return digits && digits <= 15 && !str_is(s, "-0") && (!dot || s.ptr[s.len - 1] != '0');
}

/* Only objects and lists, which are not deep, of texts and such numbers. */
static bool fits_yaml(const struct json *v, int depth) {
    if (v->kind == JSON_NUMBER) return is_steady(v->text);
    bool nested = v->kind == JSON_ARRAY || v->kind == JSON_OBJECT,
         fits = !nested || depth < MAX_DEPTH;
    for (uint32_t i = 0; nested && fits && i < v->n; i++) {
        const struct json *item = v->items[i];
        bool list_in_list =
            v->kind == JSON_ARRAY && (item->kind == JSON_ARRAY || item->kind == JSON_OBJECT);
        fits = !list_in_list && fits_yaml(item, depth + 1);
    }
    return fits;
}

static void print_flat_list(const struct json *list, struct buf *out) {
    buf_byte(out, '[');
    for (uint32_t i = 0; i < list->n; i++) {
        if (i) buf_cstr(out, ", ");
        print_scalar(list->items[i], out);
    }
    buf_byte(out, ']');
}

/* Objects a member a line, lists in brackets; of what fits_yaml. */
static void print_yaml(const struct json *v, int indent, struct buf *out) {
    for (uint32_t i = 0; i < v->n; i++) {
        const struct json *item = v->items[i];
        buf_printf(out, "%*s", indent, "");
        print_text(v->keys[i], out);
        buf_byte(out, ':');
        if (item->kind == JSON_OBJECT && item->n) {
            buf_byte(out, '\n');
            print_yaml(item, indent + 2, out);
            continue;
        }
        buf_byte(out, ' ');
        if (item->kind == JSON_ARRAY)
            print_flat_list(item, out);
        else
            print_scalar(item, out);
        buf_byte(out, '\n');
    }
}

/* ---- documents ---- */

static const char *folder_of(enum spec_kind kind) {
    switch (kind) {
    case SPEC_TEMPLATE: return "templates";
    case SPEC_LIBRARY: return "shared";
    case SPEC_TENANT: return "policies";
    }
    return "";
}

static bool write_files(struct folder_writer *w, const char *folder, const struct json *files) {
    for (uint32_t i = 0; files && i < files->n; i++) {
        struct str name = files->keys[i];
        const char *whole = arena_printf(w->arena, NULL, "%s/%.*s", folder, STR_FMT(name));
        if (!file_name_fits(name) || files->items[i]->kind != JSON_STRING)
            return refuse(folder, "the control plane names a file that no document can have");
        if (!put_file(w, whole, files->items[i]->text)) return false;
    }
    return true;
}

/* What is no file of its own: template.yaml, library.yaml, tenant.yaml. */
static bool write_head(struct folder_writer *w, enum spec_kind kind, const char *folder,
                       const struct json *document, bool needed) {
    struct json *head = json_object(w->arena);
    for (uint32_t i = 0; i < document->n; i++) {
        struct str key = document->keys[i];
        bool own = str_is(key, "files") || str_is(key, "data") || str_is(key, "checks");
        if (!own) json_set(w->arena, head, key, document->items[i]);
    }
    if (!head->n && !needed) return true;
    if (!fits_yaml(head, 0))
        return put_json(w, arena_printf(w->arena, NULL, "%s/%s.json", folder, spec_word(kind)),
                        head);
    struct buf b;
    buf_init(&b, OUTPUT_BYTES);
    if (head->n)
        print_yaml(head, 0, &b);
    else
        buf_cstr(&b, "{}\n");
    const char *name = arena_printf(w->arena, NULL, "%s/%s.yaml", folder, spec_word(kind));
    bool fine = b.err ? refuse(name, err_meaning(b.err)) : put_file(w, name, buf_view(&b));
    buf_deinit(&b);
    return fine;
}

/* A library that is nothing but ID.rego is that file. */
static bool is_one_file(struct str id, const struct json *document) {
    const struct json *files = json_get_c(document, "files");
    struct str name =
        files && files->kind == JSON_OBJECT && files->n == 1 ? files->keys[0] : STR("");
    return document->n == 1 && name.len == id.len + 5 && str_starts(name, id) &&
           file_name_fits(name);
}

bool folder_write(struct folder_writer *w, enum spec_kind kind, struct str id,
                  const struct json *document) {
    const struct json *files = json_get_c(document, "files"), *data = json_get_c(document, "data"),
                      *checks = json_get_c(document, "checks");
    if (control_id_wrong(id) || !document || document->kind != JSON_OBJECT ||
        (files && files->kind != JSON_OBJECT))
        return refuse(w->dir, "the control plane names something that cannot be a folder's name");
    const char *folder = arena_printf(w->arena, NULL, "%s/%.*s", folder_of(kind), STR_FMT(id));
    if (kind == SPEC_LIBRARY && is_one_file(id, document))
        return write_files(w, folder_of(kind), files);
    if (!write_head(w, kind, folder, document, !files && !data && !checks)) return false;
    if (data && !put_json(w, arena_printf(w->arena, NULL, "%s/data.json", folder), data))
        return false;
    if (checks && !put_json(w, arena_printf(w->arena, NULL, "%s/checks.json", folder), checks))
        return false;
    return write_files(w, folder, files);
}

/* ---- the folder ---- */

bool folder_begin(struct arena *a, const char *dir, bool force, struct folder_writer *out) {
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') n--;
    *out = (struct folder_writer){.arena = a, .dir = arena_strndup(a, dir, n)};
    table_init(&out->written, a);
    if (mkdir(out->dir, 0777) == 0) return true;
    if (errno != EEXIST) return refuse(dir, strerror(errno));
    DIR *d = opendir(out->dir);
    bool empty = true;
    if (!d) return refuse(dir, strerror(errno));
    for (struct dirent *e; (e = readdir(d));)
        empty &= !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, ".git");
    closedir(d);
    return empty || force || refuse(dir, "it is not empty; --force writes into it all the same");
}

/* Takes away what `apply` would read and was not written now, then folders that this left empty. */
static bool sweep(struct folder_writer *w, const char *dir, int depth) {
    struct dirent **names;
    bool fine = true;
    int n = scandir(dir, &names, NULL, alphasort);
    if (n < 0) return errno == ENOENT || refuse(dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name,
                   *path = arena_printf(w->arena, NULL, "%s/%s", dir, name);
        struct str s = str_of(path);
        struct stat st;
        bool read = str_ends(s, STR(".rego")) || str_ends(s, STR(".json")) ||
                    str_ends(s, STR(".yaml")) || str_ends(s, STR(".yml"));
        if (fine && name[0] != '.' && lstat(path, &st) == 0) {
            if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH)
                fine = sweep(w, path, depth + 1);
            else if (S_ISREG(st.st_mode) && read && !table_get(&w->written, s) && unlink(path) != 0)
                fine = refuse(path, strerror(errno));
        }
        free(names[i]);
    }
    free(names);
    rmdir(dir); /* only if it is empty */
    return fine;
}

bool folder_end(struct folder_writer *w) {
    static const enum spec_kind kinds[] = {SPEC_TEMPLATE, SPEC_LIBRARY, SPEC_TENANT};
    bool fine = true;
    for (size_t i = 0; i < 3; i++)
        fine &= sweep(w, arena_printf(w->arena, NULL, "%s/%s", w->dir, folder_of(kinds[i])), 0);
    return fine;
}
