/* Reads the zoneinfo folder into memory.
 *
 * in:   the system's files.
 * out:  their bytes by name.
 * owns: them. */
#include "host/builtins/zone_files.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { ZONES_MAX_BYTES = 64 << 20, FOLDER_DEPTH = 4, PATH_BYTES = 512 };

struct zone_files {
    struct arena arena;
    struct table by_name;
};

static bool add(struct zone_files *z, const char *path, const char *name) {
    struct buf bytes;
    buf_init(&bytes, ZONE_FILE_MAX);
    enum err e = buf_read_file(&bytes, path);
    struct str *value = NULL;
    char *key = NULL;
    bool skip = e == ERR_IO || e == ERR_LIMIT || bytes.len == 0;
    if (!skip && !e && (value = ARENA_NEW(&z->arena, struct str)) &&
        (key = arena_strndup(&z->arena, name, strlen(name)))) {
        *value = (struct str){arena_copy(&z->arena, bytes.ptr, bytes.len), bytes.len};
        if (value->ptr) table_set(&z->by_name, str_of(key), value);
    }
    buf_deinit(&bytes);
    return skip || (value && key && value->ptr);
}

/* Names begin with a capital letter; the lower-case folders hold the same zones in other forms. */
static bool is_zone(const char *name, int depth) {
    return name[0] != '.' && !strchr(name, '.') &&
           (depth > 0 || (name[0] >= 'A' && name[0] <= 'Z'));
}

static bool walk(struct zone_files *z, const char *folder, const char *prefix, int depth) {
    DIR *dir = opendir(folder);
    bool ok = true;
    if (!dir) return true;
    for (struct dirent *e; ok && (e = readdir(dir));) {
        char path[PATH_BYTES], name[PATH_BYTES];
        if (!is_zone(e->d_name, depth)) continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path) continue;
        if (snprintf(name, sizeof name, "%s%s%s", prefix, prefix[0] ? "/" : "", e->d_name) >=
            (int)sizeof name)
            continue;
        if (e->d_type == DT_DIR)
            ok = depth >= FOLDER_DEPTH || walk(z, path, name, depth + 1);
        else
            ok = add(z, path, name);
    }
    closedir(dir);
    return ok;
}

enum err zone_files_new(struct zone_files **out) {
    struct zone_files *z = calloc(1, sizeof *z);
    if (!z) return ERR_MEMORY;
    arena_init(&z->arena, ZONES_MAX_BYTES);
    table_init(&z->by_name, &z->arena);
    if (!walk(z, ZONE_FOLDER, "", 0) || !add(z, "/etc/localtime", "Local")) {
        zone_files_free(z);
        return ERR_MEMORY;
    }
    *out = z;
    return OK;
}

void zone_files_free(struct zone_files *z) {
    if (!z) return;
    arena_deinit(&z->arena);
    free(z);
}

struct str zone_files_get(const struct zone_files *z, struct str name) {
    const struct str *bytes = table_get(&z->by_name, name);
    return bytes ? *bytes : (struct str){NULL, 0};
}
