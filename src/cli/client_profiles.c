/* The file of profiles: addresses and tokens of control planes, for its owner's eyes only.
 * in: YAML at $REGENT_CONFIG or below ~/.config. out: profiles; the file, replaced whole.
 * owns: nothing; texts lie in the arena. */
#include "base/yaml.h"
#include "cli/client.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES = 1 << 20 };

static const char *profiles_path(struct arena *a) {
    const char *config = getenv("REGENT_CONFIG"), *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (config && *config) return config;
    if (xdg && *xdg) return arena_printf(a, NULL, "%s/regent/profiles.yaml", xdg);
    return arena_printf(a, NULL, "%s/.config/regent/profiles.yaml", home ? home : "");
}

/* Tokens are for their owner. */
static bool is_private(const char *path, bool *missing) {
    struct stat st;
    if (stat(path, &st) != 0) {
        if ((*missing = errno == ENOENT || errno == ENOTDIR)) return true;
        return fail("%s: %s", path, strerror(errno)), false;
    }
    if (!S_ISREG(st.st_mode)) return fail("%s is no file", path), false;
    if (st.st_uid != geteuid()) return fail("%s belongs to somebody else", path), false;
    if (st.st_mode & 077)
        return fail("%s holds tokens, and others may read it: chmod 600 %s", path, path), false;
    return true;
}

static bool read_profiles(struct arena *a, struct profiles *p, const struct json *root) {
    const struct json *list = json_get_c(root, "profiles");
    p->current = client_text(root, "current");
    if (!list || list->kind != JSON_OBJECT) return list == NULL;
    for (uint32_t i = 0; i < list->n; i++) {
        const struct json *v = list->items[i];
        struct profile one = {list->keys[i], client_text(v, "url"), client_text(v, "token"),
                              client_text(v, "ca_file"), client_text(v, "token_id")};
        if (!one.url.len) return false;
        ARENA_PUSH(a, p, one);
    }
    return true;
}

bool profiles_load(struct arena *a, struct profiles *out) {
    struct diag_list diags;
    struct str text;
    struct json *root;
    struct json_error error = {0};
    bool missing = false;
    diag_list_init(&diags, a);
    *out = (struct profiles){.path = profiles_path(a), .current = STR("")};
    if (!is_private(out->path, &missing)) return false;
    if (missing) return true;
    if (!load_file(a, out->path, &text, &diags)) return report_errors(&diags, false, 0), false;
    if (yaml_read(a, text, &(struct yaml_options){.one_document = true}, &root, &error))
        return fail("%s:%u: %s", out->path, error.row, error.message ? error.message : "no YAML"),
               false;
    if (root->kind == JSON_NULL) return true;
    if (read_profiles(a, out, root)) return true;
    return fail("%s: it wants {current: NAME, profiles: {NAME: {url: …, token: …}}}", out->path),
           false;
}

struct profile *profiles_find(const struct profiles *p, struct str name) {
    for (uint32_t i = 0; i < p->n; i++)
        if (str_eq(p->items[i].name, name)) return &p->items[i];
    return NULL;
}

static void print_line(struct buf *b, const char *key, struct str value) {
    if (!value.len) return;
    buf_printf(b, "    %s: ", key);
    json_print_string(value, b); /* JSON's strings are YAML's too */
    buf_byte(b, '\n');
}

static void print_profiles(const struct profiles *p, struct buf *b) {
    buf_cstr(b, "current: ");
    json_print_string(p->current, b);
    buf_cstr(b, p->n ? "\nprofiles:\n" : "\nprofiles: {}\n");
    for (uint32_t i = 0; i < p->n; i++) {
        const struct profile *one = &p->items[i];
        buf_cstr(b, "  ");
        json_print_string(one->name, b);
        buf_cstr(b, ":\n");
        print_line(b, "url", one->url);
        print_line(b, "token", one->token);
        print_line(b, "token_id", one->token_id);
        print_line(b, "ca_file", one->ca_file);
    }
}

/* The folders above a file, for the owner only where they are new. */
static bool make_folders(const char *path) {
    char part[4096];
    size_t n = strlen(path);
    if (n >= sizeof part) return errno = ENAMETOOLONG, false;
    for (size_t i = 1; i < n; i++) {
        if (path[i] != '/') continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST) return false;
    }
    return true;
}

bool profiles_save(const struct profiles *p) {
    struct buf b;
    buf_init(&b, FILE_BYTES);
    print_profiles(p, &b);
    mode_t before = umask(077);
    bool fine = make_folders(p->path);
    enum err e = b.err;
    if (fine && !e) e = file_write_atomic(p->path, buf_view(&b));
    int saved = errno;
    umask(before);
    buf_deinit(&b);
    if (fine && !e) return true;
    return fail("cannot write %s: %s", p->path,
                fine && e != ERR_IO ? err_meaning(e) : strerror(saved)),
           false;
}
