/* Loads policies, data, bundles and input named on the command line, as `opa` does with -d, -b and -i.
 * in: paths. out: sources, one merged data document, modules. owns: nothing; bytes lie in the arena. */
#include "bundle/bundle.h"
#include "cli/cli.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MAX_FILE_BYTES = 1 << 30 };

static bool problem(struct diag_list *diags, struct str file, const char *why) {
    diag_add(diags, DIAG_IO, (struct loc){0}, "%.*s: %s", STR_FMT(file), why);
    return false;
}

bool load_file(struct arena *a, const char *path, struct str *out, struct diag_list *diags) {
    struct buf b;
    buf_init(&b, MAX_FILE_BYTES);
    enum err e = buf_read_file(&b, path);
    int saved = errno;
    char *copy = e ? NULL : arena_strndup(a, (const char *)b.ptr, b.len);
    size_t len = b.len;
    buf_deinit(&b);
    if (e) return problem(diags, str_of(path), e == ERR_IO ? strerror(saved) : err_meaning(e));
    if (!copy) return problem(diags, str_of(path), err_meaning(ERR_MEMORY));
    *out = (struct str){copy, len};
    return true;
}

static bool parse_document(struct arena *a, struct str path, struct str text, struct json **out,
                           struct diag_list *diags) {
    struct json_error error = {0};
    bool yaml = !str_ends(path, STR(".json"));
    enum err e = yaml ? yaml_parse(a, text, out, &error) : json_parse(a, text, out, &error);
    if (!e) return true;
    diag_add(diags, DIAG_IO, (struct loc){.file = path, .row = error.row, .col = error.col}, "%s",
             error.message ? error.message : err_meaning(e));
    return false;
}

/* Merges v into out->data below the dotted or slashed prefix. */
static bool merge_at(struct arena *a, struct loaded *out, struct str prefix, struct json *v, struct str file,
                     struct diag_list *diags) {
    while (prefix.len) {
        size_t i = prefix.len;
        while (i > 0 && prefix.ptr[i - 1] != '.' && prefix.ptr[i - 1] != '/') i--;
        struct json *o = json_object(a);
        json_set(a, o, str_from(prefix, i), v);
        v = o;
        prefix = str_head(prefix, i ? i - 1 : 0);
    }
    if (v->kind != JSON_OBJECT) return problem(diags, file, "data documents must be objects at the root");
    if (json_merge(a, out->data, v)) return true;
    return problem(diags, file, "merge error: conflicts with data loaded before");
}

static bool add_source(struct arena *a, struct loaded *out, struct str path, struct str text) {
    ARENA_PUSH(a, &out->sources, ((struct compile_source){path, text}));
    return true;
}

static bool load_one_file(struct arena *a, const char *path, struct str prefix, bool explicit_file,
                          struct loaded *out, struct diag_list *diags) {
    struct str name = str_of(path), text;
    bool rego = str_ends(name, STR(".rego")), wasm = str_ends(name, STR(".wasm"));
    bool data = str_ends(name, STR(".json")) || str_ends(name, STR(".yaml")) || str_ends(name, STR(".yml"));
    if (!rego && !data && !wasm)
        return explicit_file ? problem(diags, name, "unrecognized file (want .rego, .json, .yaml, .wasm)") : true;
    if (!load_file(a, path, &text, diags)) return false;
    if (rego) return add_source(a, out, name, text);
    if (wasm) return out->wasm = text, true;
    struct json *v;
    return parse_document(a, name, text, &v, diags) && merge_at(a, out, prefix, v, name, diags);
}

static bool ignored(const struct load_options *o, const char *name) {
    for (uint32_t i = 0; i < o->ignore.n; i++) {
        struct str p = o->ignore.items[i];
        if (str_is(p, name) || (str_is(p, ".*") && name[0] == '.')) return true;
        if (p.len > 1 && p.ptr[0] == '*' && str_ends(str_of(name), str_from(p, 1))) return true;
    }
    return false;
}

/* A folder: data files go below the path of the folders that hold them, as OPA puts them. */
static bool load_folder(struct arena *a, const struct load_options *o, const char *dir, struct str prefix,
                        struct loaded *out, struct diag_list *diags) {
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort);
    if (n < 0) return problem(diags, str_of(arena_strndup(a, dir, strlen(dir))), strerror(errno));
    bool ok = true;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        struct stat st;
        if (ok && strcmp(name, ".") && strcmp(name, "..") && !ignored(o, name)) {
            size_t plen = 0;
            char *path = arena_printf(a, NULL, "%s/%s", dir, name);
            char *inner = arena_printf(a, &plen, "%.*s%s%s", STR_FMT(prefix), prefix.len ? "/" : "", name);
            if (stat(path, &st) != 0) ok = problem(diags, str_of(path), strerror(errno));
            else if (S_ISDIR(st.st_mode)) ok = load_folder(a, o, path, (struct str){inner, plen}, out, diags);
            else ok = load_one_file(a, path, prefix, false, out, diags);
        }
        free(names[i]);
    }
    free(names);
    return ok;
}

static bool load_path(struct arena *a, const struct load_options *o, struct str arg, struct loaded *out,
                      struct diag_list *diags) {
    struct stat st;
    const char *colon = memchr(arg.ptr, ':', arg.len);
    struct str prefix = {"", 0}, path = arg;
    if (str_starts(path, STR("file://"))) {
        path = str_from(path, 7);
    } else if (colon) {
        prefix = str_head(arg, (size_t)(colon - arg.ptr));
        path = str_from(arg, prefix.len + 1);
        if (str_starts(prefix, STR("data."))) prefix = str_from(prefix, 5);
    }
    char *name = arena_strndup(a, path.ptr, path.len);
    size_t n = path.len;
    while (n > 1 && name[n - 1] == '/') name[--n] = 0;
    if (stat(name, &st) != 0) {
        diag_add(diags, DIAG_IO, (struct loc){0}, "stat %s: %s", name, "no such file or directory");
        return false;
    }
    return S_ISDIR(st.st_mode) ? load_folder(a, o, name, prefix, out, diags)
                               : load_one_file(a, name, prefix, true, out, diags);
}

static bool load_bundle(struct arena *a, struct str arg, struct loaded *out, struct diag_list *diags) {
    struct stat st;
    struct bundle b;
    struct str bytes;
    const char *path = arena_strndup(a, arg.ptr, arg.len);
    if (stat(path, &st) != 0) {
        diag_add(diags, DIAG_IO, (struct loc){0}, "stat %s: %s", path, strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode) ? bundle_read_dir(a, path, &b, diags) != OK
                            : !load_file(a, path, &bytes, diags) || bundle_read(a, bytes, &b, diags) != OK)
        return false;
    for (uint32_t i = 0; i < b.files.n; i++) {
        if (str_is(b.files.items[i].path, "/checks.json")) out->checks = b.files.items[i].bytes;
        if (!str_ends(b.files.items[i].path, STR(".rego"))) continue;
        size_t len = 0;
        char *name = arena_printf(a, &len, "%s%.*s", path, STR_FMT(b.files.items[i].path));
        add_source(a, out, (struct str){name, len}, b.files.items[i].bytes);
    }
    if (b.full.len) out->wasm = b.full;
    if (b.thin.len) out->thin = b.thin;
    out->manifest = b.manifest;
    int64_t version;
    if (json_int64(json_get_c(b.manifest, "rego_version"), &version)) out->v0 = version == 0;
    return merge_at(a, out, STR(""), b.data, arg, diags);
}

bool load_paths(struct arena *a, const struct load_options *o, struct loaded *out, struct diag_list *diags) {
    *out = (struct loaded){.data = json_object(a)};
    bool ok = true;
    for (uint32_t i = 0; i < o->bundles.n; i++) ok &= load_bundle(a, o->bundles.items[i], out, diags);
    for (uint32_t i = 0; i < o->paths.n; i++) ok &= load_path(a, o, o->paths.items[i], out, diags);
    return ok;
}

bool load_input(struct arena *a, struct str path, bool from_stdin, struct str *out, struct diag_list *diags) {
    *out = (struct str){NULL, 0};
    if (!from_stdin && path.len == 0) return true;
    struct str text;
    struct json *v;
    const char *name = from_stdin ? "-" : arena_strndup(a, path.ptr, path.len);
    if (!load_file(a, name, &text, diags)) return false;
    struct str as = str_ends(path, STR(".yaml")) || str_ends(path, STR(".yml")) ? path : STR("input.json");
    if (!parse_document(a, as, text, &v, diags)) {
        struct json_error error;
        if (str_is(as, "input.json") && yaml_parse(a, text, &v, &error) == OK) diags->n--;
        else return false;
    } else if (str_is(as, "input.json")) {
        *out = text;
        return true;
    }
    struct buf json;
    buf_init(&json, MAX_FILE_BYTES);
    json_print(v, false, 0, &json);
    *out = (struct str){arena_strndup(a, (const char *)json.ptr, json.len), json.len};
    buf_deinit(&json);
    return out->ptr != NULL;
}

bool load_template_values(struct arena *a, const struct str_list *set, struct str file,
                          const struct json **out, struct diag_list *diags) {
    struct json *values = json_object(a);
    *out = NULL;
    if (file.len) {
        struct str text;
        const char *path = arena_strndup(a, file.ptr, file.len);
        if (!load_file(a, path, &text, diags) || !parse_document(a, file, text, &values, diags)) return false;
        if (values->kind != JSON_OBJECT) return problem(diags, file, "template values must be an object of strings");
    }
    for (uint32_t i = 0; i < set->n; i++) {
        struct str pair = set->items[i];
        const char *equals = memchr(pair.ptr, '=', pair.len);
        if (!equals) return problem(diags, pair, "--set takes NAME=VALUE");
        struct str name = str_head(pair, (size_t)(equals - pair.ptr));
        json_set(a, values, name, json_string(a, str_from(pair, name.len + 1)));
    }
    if (file.len || set->n) *out = values;
    return true;
}
