/* regent inspect: what a bundle holds: manifest, namespaces, modules.
 * in: a bundle file or folder. out: tables or JSON as OPA's. owns: nothing. */
#include "base/hash.h"
#include "bundle/bundle.h"
#include "cli/cli.h"
#include "compiler/ast/parser.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { OUTPUT_BYTES = 1 << 28 };

static bool read_bundle(struct arena *a, struct str path, struct bundle *b, struct diag_list *diags) {
    struct stat st;
    struct str bytes;
    if (stat(path.ptr, &st) == 0 && S_ISDIR(st.st_mode)) return bundle_read_dir(a, path.ptr, b, diags) == OK;
    return load_file(a, path.ptr, &bytes, diags) && bundle_read(a, bytes, b, diags) == OK;
}

static void add(struct arena *a, struct json *spaces, struct str key, struct str file) {
    struct json *list = json_get(spaces, key);
    if (!list) json_set(a, spaces, key, list = json_array(a));
    json_push(a, list, json_string(a, file));
}

/* "data.a.b" of the folder that holds a data file. */
static struct str data_path(struct arena *a, struct str file) {
    size_t n = file.len, len = 0;
    while (n > 0 && file.ptr[n - 1] != '/') n--;
    char *text = arena_printf(a, &len, "data%.*s", (int)(n ? n - 1 : 0), file.ptr);
    for (size_t i = 0; i < len; i++)
        if (text[i] == '/') text[i] = '.';
    return (struct str){text, len};
}

static struct str entrypoint_path(struct arena *a, struct str entrypoint) {
    size_t len = 0;
    char *text = arena_printf(a, &len, "data.%.*s", STR_FMT(entrypoint));
    for (size_t i = 0; i < len; i++)
        if (text[i] == '/') text[i] = '.';
    return (struct str){text, len};
}

static struct json *namespaces(struct arena *a, const struct bundle *b, bool v0) {
    struct json *spaces = json_object(a), *wasm = json_get_c(b->manifest, "wasm");
    struct parse_options options = {.version = v0 ? REGO_V0 : REGO_V1};
    for (uint32_t i = 0; i < b->files.n; i++) {
        const struct bundle_file *f = &b->files.items[i];
        struct diag_list ignored;
        diag_list_init(&ignored, a);
        if (str_ends(f->path, STR(".rego"))) {
            struct module *m = parse_module(a, f->path, f->bytes, &options, &ignored);
            if (m) add(a, spaces, ref_dotted(a, m->package), f->path);
        } else if (str_ends(f->path, STR("data.json")) || str_ends(f->path, STR("data.yaml")) ||
                   str_ends(f->path, STR("data.yml"))) {
            add(a, spaces, data_path(a, f->path), f->path);
        }
    }
    for (uint32_t i = 0; wasm && i < wasm->n; i++) {
        struct json *e = json_get_c(wasm->items[i], "entrypoint"), *m = json_get_c(wasm->items[i], "module");
        if (e && m) add(a, spaces, entrypoint_path(a, e->text), m->text);
    }
    return spaces;
}

static struct json *modules(struct arena *a, const struct bundle *b) {
    struct json *list = json_array(a);
    for (uint32_t i = 0; i < b->files.n; i++) {
        const struct bundle_file *f = &b->files.items[i];
        if (!str_ends(f->path, STR(".wasm"))) continue;
        struct json *o = json_object(a);
        char hex[65];
        sha256_hex(f->bytes.ptr, f->bytes.len, hex);
        json_set(a, o, STR("path"), json_string(a, f->path));
        json_set(a, o, STR("bytes"), json_int(a, (int64_t)f->bytes.len));
        json_set(a, o, STR("sha256"), json_string(a, (struct str){arena_strndup(a, hex, 64), 64}));
        json_push(a, list, o);
    }
    return list;
}

struct cells {
    struct str *items;
    uint32_t n, cap;
};

static struct str compact(struct arena *a, const struct json *v) {
    if (v->kind == JSON_STRING) return v->text;
    struct buf b;
    buf_init(&b, OUTPUT_BYTES);
    json_print(v, true, 0, &b);
    struct str s = {arena_strndup(a, (const char *)b.ptr, b.len), b.len};
    buf_deinit(&b);
    return s;
}

static void section(struct arena *a, const char *title, const char *left, const char *right,
                    const struct json *o, struct buf *out) {
    struct cells cells = {0};
    ARENA_PUSH(a, &cells, str_of(left));
    ARENA_PUSH(a, &cells, str_of(right));
    for (uint32_t i = 0; i < o->n; i++) {
        const struct json *v = o->items[i];
        for (uint32_t k = 0; k < (v->kind == JSON_ARRAY ? v->n : 1); k++) {
            ARENA_PUSH(a, &cells, o->keys[i]);
            ARENA_PUSH(a, &cells, compact(a, v->kind == JSON_ARRAY ? v->items[k] : v));
        }
    }
    buf_printf(out, "%s:\n", title);
    print_table(cells.items, cells.n / 2, 2, true, false, out);
}

static struct json *manifest_rows(struct arena *a, const struct bundle *b) {
    struct json *rows = json_object(a), *v;
    if (b->revision.len) json_set(a, rows, STR("Revision"), json_string(a, b->revision));
    if ((v = json_get_c(b->manifest, "rego_version"))) json_set(a, rows, STR("Rego Version"), v);
    v = json_get_c(b->manifest, "roots");
    bool only_root = v && v->n == 1 && v->items[0]->kind == JSON_STRING && v->items[0]->text.len == 0;
    if (v && !only_root) json_set(a, rows, STR("Roots"), v);
    return rows;
}

int cmd_inspect(struct arena *a, int argc, char **argv) {
    struct str format = {0};
    struct str_list rest;
    bool v0 = false;
    int code;
    const struct option_spec specs[] = {
        {"format", 'f', OPTION_TEXT, &format, "FORMAT", "pretty (default) or json"},
        {"v0-compatible", 0, OPTION_BOOL, &v0, NULL, "read policies as Rego v0"},
        {0},
    };
    if (!command_options(a, "inspect <path> [flags]", specs, argc, argv, &rest, &code)) return code;
    if (rest.n != 1) return fail("specify one bundle file or folder");
    struct diag_list diags;
    struct bundle b;
    bool json = str_is(format, "json");
    diag_list_init(&diags, a);
    if (!read_bundle(a, rest.items[0], &b, &diags)) return report_errors(&diags, json, EXIT_FAILED);
    int64_t version = 1;
    if (json_int64(json_get_c(b.manifest, "rego_version"), &version)) v0 |= version == 0;
    struct json *spaces = namespaces(a, &b, v0), *list = modules(a, &b);
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    if (json) {
        struct json *top = json_object(a);
        json_set(a, top, STR("manifest"), b.manifest);
        json_set(a, top, STR("signatures_config"), json_object(a));
        json_set(a, top, STR("wasm_modules"), list);
        json_set(a, top, STR("namespaces"), spaces);
        json_print(top, false, 2, &out);
        buf_byte(&out, '\n');
    } else {
        struct json *rows = json_object(a);
        section(a, "MANIFEST", "FIELD", "VALUE", manifest_rows(a, &b), &out);
        section(a, "NAMESPACES", "NAMESPACE", "FILE", spaces, &out);
        for (uint32_t i = 0; i < list->n; i++)
            json_set(a, rows, json_get_c(list->items[i], "path")->text, json_get_c(list->items[i], "bytes"));
        if (rows->n) section(a, "MODULES", "MODULE", "BYTES", rows, &out);
    }
    print_buf(1, &out);
    buf_deinit(&out);
    return EXIT_OK;
}
