/* Folder watcher: reads, verifies and loads a bundle in the background, then swaps it in with one
 * pointer store. in: DIR/tenants/ID/bundle.tar.gz. out: entries in the tenant table. owns: its list
 * of what it has seen. */
#include "edge/activate.h"
#include "bundle/bundle.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum { DEFAULT_BUNDLE_BYTES = 64 << 20 };

struct seen {
    char id[TENANT_ID_BYTES];
    struct timespec modified;
    off_t size;
    ino_t inode;
    bool active, present;
};

struct watcher {
    struct watcher_options options;
    struct seen *seen;
    uint32_t n, cap;
    bool missing_reported;
};

enum err watcher_new(const struct watcher_options *options, struct watcher **out) {
    struct watcher *w = calloc(1, sizeof *w);
    if (!w) return ERR_MEMORY;
    w->options = *options;
    if (!w->options.max_bundle_bytes) w->options.max_bundle_bytes = DEFAULT_BUNDLE_BYTES;
    *out = w;
    return OK;
}

void watcher_free(struct watcher *w) {
    free(w->seen);
    free(w);
}

static struct seen *seen_of(struct watcher *w, const char *id) {
    for (uint32_t i = 0; i < w->n; i++)
        if (strcmp(w->seen[i].id, id) == 0) return &w->seen[i];
    if (w->n == w->cap) {
        uint32_t cap = w->cap ? w->cap * 2 : 64;
        struct seen *p = realloc(w->seen, cap * sizeof *p);
        if (!p) return NULL;
        w->seen = p;
        w->cap = cap;
    }
    struct seen *s = &w->seen[w->n++];
    *s = (struct seen){0};
    snprintf(s->id, sizeof s->id, "%s", id);
    return s;
}

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000;
}

static enum err first_problem(const struct diag_list *diags, struct load_message *message,
                              enum err e) {
    const char *what = diags->n ? diags->items[0].message.ptr : err_meaning(e);
    struct str file = diags->n ? diags->items[0].loc.file : STR("");
    snprintf(message->text, sizeof message->text, "%.*s%s%s", STR_FMT(file), file.len ? ": " : "",
             what);
    return e;
}

/* Bundle file to loaded policy. */
static enum err load(struct watcher *w, const char *path, const char *id, struct policy **out,
                     struct load_message *message) {
    struct arena a;
    struct buf bytes;
    struct bundle b;
    struct diag_list diags;
    arena_init(&a, w->options.max_bundle_bytes * 8);
    buf_init(&bytes, w->options.max_bundle_bytes);
    diag_list_init(&diags, &a);
    enum err e = buf_read_file(&bytes, path);
    if (e)
        snprintf(message->text, sizeof message->text, "%s",
                 e == ERR_IO ? strerror(errno) : err_meaning(e));
    if (!e && (e = bundle_read(&a, buf_view(&bytes), &b, &diags)))
        first_problem(&diags, message, e);
    if (!e && b.full.len == 0 && b.thin.len == 0) {
        e = ERR_INVALID;
        snprintf(
            message->text, sizeof message->text,
            "the bundle holds no WebAssembly module: build it with `regent build -t wasm -e PATH`");
    }
    if (!e) {
        struct policy_source source = {
            .full = b.full, .thin = b.thin, .data = b.data, .name = str_of(id)};
        e = policy_load(w->options.engine, &source, out, message);
    }
    buf_deinit(&bytes);
    arena_deinit(&a);
    return e;
}

static bool activate(struct watcher *w, struct seen *s, const char *path) {
    struct policy *policy;
    struct load_message message = {{0}};
    const struct log *log = w->options.log;
    uint64_t start = now_us();
    enum err e = load(w, path, s->id, &policy, &message);
    struct tenant *record = tenants_record(w->options.tenants, str_of(s->id));
    uint64_t us = now_us() - start;
    if (record) metrics_load(&record->metrics, us);
    if (!e && (e = tenants_set(w->options.tenants, str_of(s->id), policy))) policy_release(policy);
    if (e) {
        log_line(log, LOG_ERROR, "bundle refused", "tenant_id", s->id, "file", path, "reason",
                 message.text[0] ? message.text : err_meaning(e), "serving",
                 s->active ? "the version before" : "nothing", NULL);
        return false;
    }
    char took[32];
    snprintf(took, sizeof took, "%llu.%03llu", (unsigned long long)(us / 1000),
             (unsigned long long)(us % 1000));
    log_line(log, LOG_INFO, "bundle activated", "tenant_id", s->id, "ms", took, NULL);
    return s->active = true;
}

static bool unchanged(const struct seen *s, const struct stat *st) {
    return s->modified.tv_sec == st->st_mtim.tv_sec && s->modified.tv_nsec == st->st_mtim.tv_nsec &&
           s->size == st->st_size && s->inode == st->st_ino;
}

static bool valid_id(const char *id) { return id[0] != '.' && strlen(id) < TENANT_ID_BYTES; }

static void look_at(struct watcher *w, const char *id, uint32_t *loaded, uint32_t *refused) {
    char path[4096];
    struct stat st;
    if (!valid_id(id)) return;
    if (snprintf(path, sizeof path, "%s/tenants/%s/bundle.tar.gz", w->options.directory, id) >=
        (int)sizeof path)
        return;
    bool there = stat(path, &st) == 0;
    if (!there && (errno == ENOENT || errno == ENOTDIR)) return;
    struct seen *s = there && !S_ISREG(st.st_mode) ? NULL : seen_of(w, id);
    if (!s) return;
    s->present = true;
    if (!there) return; /* what cannot be looked at for a moment is not gone */
    if (unchanged(s, &st)) return;
    s->modified = st.st_mtim;
    s->size = st.st_size;
    s->inode = st.st_ino;
    uint32_t *count = activate(w, s, path) ? loaded : refused;
    if (count) ++*count;
}

static void remove_absent(struct watcher *w) {
    for (uint32_t i = 0; i < w->n; i++) {
        struct seen *s = &w->seen[i];
        if (s->present) continue;
        if (s->active && tenants_set(w->options.tenants, str_of(s->id), NULL) != OK) continue;
        if (s->active)
            log_line(w->options.log, LOG_INFO, "tenant removed", "tenant_id", s->id, NULL);
        *s = w->seen[--w->n];
        i--;
    }
}

void watcher_scan(struct watcher *w, uint32_t *loaded, uint32_t *refused) {
    char folder[4096];
    if (snprintf(folder, sizeof folder, "%s/tenants", w->options.directory) >= (int)sizeof folder)
        return;
    DIR *dir = opendir(folder);
    if (!dir) { /* a folder that vanishes for a moment must not take every tenant with it */
        if (!w->missing_reported)
            log_line(w->options.log, LOG_ERROR, "cannot read the folder of tenants", "folder",
                     folder, "reason", strerror(errno), NULL);
        w->missing_reported = true;
        return;
    }
    w->missing_reported = false;
    for (uint32_t i = 0; i < w->n; i++) w->seen[i].present = false;
    errno = 0;
    for (struct dirent *e; (e = readdir(dir)); errno = 0) look_at(w, e->d_name, loaded, refused);
    bool whole = errno == 0;
    closedir(dir);
    if (whole) remove_absent(w);
    tenants_reclaim(w->options.tenants);
}
