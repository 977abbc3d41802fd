/* Folder watcher: notices new, changed and removed files of tenants, and offers them to the activator.
 *
 * in:   DIR/tenants/ID/bundle.tar.gz, or policy.wasm, data.json, policy.wasm.sha256.
 * out:  candidates, removals, log lines.
 * owns: its table of what it has seen. */
#include "edge/folder.h"
#include "base/clock.h"
#include "base/hash.h"
#include "edge/priority.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DEFAULT_BYTES = 64 << 20,
    SHA256_TEXT_BYTES = 4096,
    FIRST_BUCKETS = 64,
    MAX_LOADERS = 64,
    QUIET_ABOVE = 200, /* with more tenants at once, one line a second tells how it goes */
    PROGRESS_NS = 1000000000,
    FIRST_PAUSE_NS = 1000000000,
    PATH_BYTES = 4096
};

static const int64_t longest_pause_ns = 60ll * 1000000000;

/* A tenant's files as they were when they were last looked at. */
struct seen {
    struct seen *next, *chain; /* all; those of its bucket */
    char id[TENANT_ID_BYTES];
    uint64_t print; /* of times, sizes and inodes; 0: to be looked at again */
    bool bare;      /* policy.wasm */
    bool present, refused;
    bool changed;     /* this scan is to offer it */
    int64_t again_ns; /* it failed for a reason that may pass, and is tried again then; 0: only once it changes */
    int64_t pause_ns; /* after the next such failure */
};

struct folder {
    struct folder_options options;
    struct seen *all, **buckets;
    uint32_t n, mask;
    bool missing_reported, scanned, swept;
};

/* One scan's loading, shared by the threads that do it. */
struct loading {
    struct folder *f;
    pthread_mutex_t lock; /* of all that follows */
    struct seen *next;
    uint32_t n, done, loaded, refused;
    int64_t told_ns;
};

enum err folder_new(const struct folder_options *options, struct folder **out) {
    struct folder *f = calloc(1, sizeof *f);
    if (!f || !(f->buckets = calloc(FIRST_BUCKETS, sizeof *f->buckets))) {
        free(f);
        return ERR_MEMORY;
    }
    f->mask = FIRST_BUCKETS - 1;
    f->options = *options;
    if (!f->options.max_bytes) f->options.max_bytes = DEFAULT_BYTES;
    *out = f;
    return OK;
}

void folder_free(struct folder *f) {
    for (struct seen *s = f->all, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    free(f->buckets);
    free(f);
}

void folder_configure(struct folder *f, const struct edge_config *config) {
    f->options.config = config;
    for (struct seen *s = f->all; s; s = s->next)
        if (s->refused) s->print = 0; /* other keys or limits may accept it */
}

/* ---- what was seen ---- */

static struct seen **bucket_of(struct folder *f, struct str id) { return &f->buckets[(uint32_t)hash64(id) & f->mask]; }

static void buckets_grow(struct folder *f) {
    uint32_t size = 2 * (f->mask + 1);
    struct seen **p = calloc(size, sizeof *p);
    if (!p) return; /* longer chains, then */
    free(f->buckets);
    f->buckets = p;
    f->mask = size - 1;
    for (struct seen *s = f->all; s; s = s->next) {
        struct seen **bucket = bucket_of(f, str_of(s->id));
        s->chain = *bucket;
        *bucket = s;
    }
}

static struct seen *seen_find(struct folder *f, struct str id) {
    struct seen *s = *bucket_of(f, id);
    while (s && !str_is(id, s->id)) s = s->chain;
    return s;
}

static struct seen *seen_of(struct folder *f, const char *id) {
    struct seen **bucket = bucket_of(f, str_of(id)), *s = seen_find(f, str_of(id));
    if (s || !(s = calloc(1, sizeof *s))) return s;
    snprintf(s->id, sizeof s->id, "%s", id);
    s->pause_ns = FIRST_PAUSE_NS;
    s->chain = *bucket;
    *bucket = s;
    s->next = f->all;
    f->all = s;
    if (++f->n > f->mask) buckets_grow(f);
    return s;
}

static void seen_forget(struct folder *f, struct seen **at) {
    struct seen *s = *at, **link = bucket_of(f, str_of(s->id));
    while (*link != s) link = &(*link)->chain;
    *link = s->chain;
    *at = s->next;
    f->n--;
    free(s);
}

static bool path_of(const struct folder *f, const char *id, const char *file, char path[PATH_BYTES]) {
    int n = snprintf(path, PATH_BYTES, "%s/tenants/%s/%s", f->options.config->directory, id, file);
    return n > 0 && n < PATH_BYTES;
}

/* ---- files to a candidate ---- */

/* A tenant's files while they are offered. */
struct files {
    struct buf bundle, module, data, sha256;
    char why[WHY_BYTES];
};

static enum err read_file(const struct folder *f, const char *id, const char *file, bool needed, struct buf *out,
                          struct files *files) {
    char path[PATH_BYTES];
    enum err e = path_of(f, id, file, path) ? buf_read_file(out, path) : ERR_LIMIT;
    if (e == ERR_IO && errno == ENOENT && !needed) return OK;
    if (e == ERR_LIMIT)
        snprintf(files->why, sizeof files->why, "the bundle has more than %llu bytes",
                 (unsigned long long)f->options.max_bytes);
    else if (e)
        snprintf(files->why, sizeof files->why, "%s", e == ERR_IO ? strerror(errno) : err_meaning(e));
    return e;
}

static enum err read_files(const struct folder *f, const struct seen *s, struct files *files) {
    *files = (struct files){0};
    buf_init(&files->bundle, f->options.max_bytes);
    buf_init(&files->module, f->options.max_bytes);
    buf_init(&files->data, f->options.max_bytes);
    buf_init(&files->sha256, SHA256_TEXT_BYTES);
    if (!s->bare) return read_file(f, s->id, "bundle.tar.gz", true, &files->bundle, files);
    enum err e = read_file(f, s->id, "policy.wasm", true, &files->module, files);
    if (!e) e = read_file(f, s->id, "data.json", false, &files->data, files);
    if (!e) e = read_file(f, s->id, "policy.wasm.sha256", false, &files->sha256, files);
    if (!e && files->sha256.len)
        e = verify_sha256(buf_view(&files->module), buf_view(&files->sha256), files->why, sizeof files->why);
    return e;
}

static void files_deinit(struct files *files) {
    buf_deinit(&files->bundle);
    buf_deinit(&files->module);
    buf_deinit(&files->data);
    buf_deinit(&files->sha256);
}

/* How files are offered. */
struct manner {
    bool quiet, allow_older, at_once;
};

static enum err offer(const struct folder *f, const struct seen *s, struct manner manner, struct activation *done) {
    struct files files;
    int64_t requested_ns = (int64_t)clock_of(CLOCK_REALTIME);
    enum err e = read_files(f, s, &files);
    struct verify_rules rules = f->options.config->verify;
    if (!rules.max_bundle_bytes) rules.max_bundle_bytes = f->options.max_bytes;
    if (e) {
        activator_failed(f->options.activator, str_of(s->id), FOLDER_NAME, e, 0, files.why);
        *done = (struct activation){.kind = ACTIVATION_REFUSED, .err = e};
        snprintf(done->why, sizeof done->why, "%s", files.why);
    } else {
        struct candidate c = {.tenant = str_of(s->id),
                              .bundle = buf_view(&files.bundle),
                              .module = buf_view(&files.module),
                              .data = buf_view(&files.data),
                              .verify = &rules,
                              .from = FOLDER_NAME,
                              .quiet = manner.quiet,
                              .allow_older = manner.allow_older,
                              .at_once = manner.at_once,
                              .requested_ns = requested_ns};
        activator_offer(f->options.activator, &c, done);
        e = done->kind == ACTIVATION_REFUSED ? done->err : OK;
    }
    files_deinit(&files);
    return e;
}

/* ---- one scan's loading ---- */

static void tell_progress(struct loading *l) {
    char text[3][16];
    int64_t now = (int64_t)clock_ns();
    if (l->n <= QUIET_ABOVE || now - l->told_ns < PROGRESS_NS) return;
    l->told_ns = now;
    snprintf(text[0], 16, "%u", l->done);
    snprintf(text[1], 16, "%u", l->n);
    snprintf(text[2], 16, "%u", l->refused);
    log_line(l->f->options.log, LOG_INFO, "loading bundles", "done", text[0], "of", text[1], "refused", text[2], NULL);
}

/* The machine failed, not the files: no descriptor, no memory, no right to read them. */
static void plan_again(struct seen *s, enum err e) {
    s->again_ns = 0;
    if (e != ERR_IO && e != ERR_MEMORY) {
        s->pause_ns = FIRST_PAUSE_NS;
        return;
    }
    s->again_ns = (int64_t)clock_ns() + s->pause_ns;
    s->pause_ns = s->pause_ns * 2 < longest_pause_ns ? s->pause_ns * 2 : longest_pause_ns;
}

static void settle(struct loading *l, struct seen *s, enum err e) {
    plan_again(s, e);
    s->refused = e != OK;
    if (e == ERR_OVERLOAD) s->print = 0; /* nothing is wrong with it: it is looked at again with the next scan */
    ++*(e ? &l->refused : &l->loaded);
    l->done++;
    tell_progress(l);
}

static struct seen *next_changed(struct loading *l) {
    struct seen *s = l->next;
    while (s && !s->changed) s = s->next;
    l->next = s ? s->next : NULL;
    return s;
}

static void *load_changed(void *arg) {
    struct loading *l = arg;
    struct activation done;
    struct manner manner = {.quiet = l->n > QUIET_ABOVE};
    pthread_mutex_lock(&l->lock);
    for (struct seen *s; (s = next_changed(l));) {
        pthread_mutex_unlock(&l->lock);
        enum err e = offer(l->f, s, manner, &done);
        pthread_mutex_lock(&l->lock);
        settle(l, s, e);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Below the threads that answer. */
static void *load_behind(void *l) {
    priority_of_lane();
    return load_changed(l);
}

/* On all cores before the node serves; later on one, since the others have requests to answer. */
static void load_all(struct loading *l) {
    pthread_t threads[MAX_LOADERS];
    if (l->f->scanned && pthread_create(&threads[0], NULL, load_behind, l) == 0) {
        pthread_join(threads[0], NULL);
        return;
    }
    long cores = l->f->scanned ? 1 : sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t n = 0, wanted = cores > MAX_LOADERS ? MAX_LOADERS : (uint32_t)(cores > 1 ? cores : 1);
    if (wanted > l->n) wanted = l->n;
    while (n + 1 < wanted && pthread_create(&threads[n], NULL, load_changed, l) == 0) n++;
    load_changed(l);
    while (n) pthread_join(threads[--n], NULL);
}

/* ---- looking ---- */

static bool valid_id(const char *id) { return id[0] != '.' && strlen(id) < TENANT_ID_BYTES; }

enum glance { GLANCE_FILE, GLANCE_ABSENT, GLANCE_BLIND /* it cannot be looked at for a moment */, GLANCE_OTHER };

/* One file's part of the print. */
static enum glance glance_at(const struct folder *f, const char *id, const char *file, uint64_t *print) {
    char path[PATH_BYTES];
    struct stat st;
    if (!path_of(f, id, file, path)) return GLANCE_ABSENT;
    if (stat(path, &st)) return errno == ENOENT || errno == ENOTDIR ? GLANCE_ABSENT : GLANCE_BLIND;
    if (!S_ISREG(st.st_mode)) return GLANCE_OTHER;
    uint64_t words[] = {*print, (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec, (uint64_t)st.st_size,
                        st.st_ino};
    *print = hash64((struct str){(const char *)words, sizeof words}) | 1;
    return GLANCE_FILE;
}

static enum glance look(const struct folder *f, const char *id, bool *bare, uint64_t *print) {
    *print = *bare = 0;
    enum glance g = glance_at(f, id, "bundle.tar.gz", print);
    if (g != GLANCE_ABSENT) return g;
    *bare = true;
    if ((g = glance_at(f, id, "policy.wasm", print)) != GLANCE_FILE) return g;
    enum glance more[] = {glance_at(f, id, "data.json", print), glance_at(f, id, "policy.wasm.sha256", print)};
    return more[0] == GLANCE_BLIND || more[1] == GLANCE_BLIND ? GLANCE_BLIND : g;
}

/* true: there is something to load. */
static bool look_at(struct folder *f, const char *id) {
    uint64_t print;
    bool bare;
    if (!valid_id(id)) return false;
    enum glance g = look(f, id, &bare, &print);
    if (g == GLANCE_ABSENT || g == GLANCE_OTHER) return false;
    struct seen *s = seen_of(f, id);
    if (!s) return false;
    s->present = true;
    if (g == GLANCE_BLIND) return false; /* what cannot be looked at for a moment is not gone */
    bool again = s->again_ns && (int64_t)clock_ns() >= s->again_ns;
    if (s->print == print) return s->changed = again;
    s->pause_ns = FIRST_PAUSE_NS;
    s->print = print;
    s->bare = bare;
    return s->changed = true;
}

static void remove_absent(struct folder *f) {
    for (struct seen **at = &f->all, *s; (s = *at);) {
        if (s->present || activator_remove(f->options.activator, str_of(s->id), FOLDER_NAME))
            at = &s->next;
        else
            seen_forget(f, at);
    }
}

static bool has(void *ctx, struct str id) { return seen_find(ctx, id) != NULL; }

/* Opens the folder, or says once that it cannot. */
static DIR *open_folder(struct folder *f) {
    char folder[PATH_BYTES];
    int n = snprintf(folder, sizeof folder, "%s/tenants", f->options.config->directory);
    DIR *dir = n > 0 && (size_t)n < sizeof folder ? opendir(folder) : NULL;
    if (!dir && !f->missing_reported) /* one that vanishes for a moment must not take every tenant with it */
        log_line(f->options.log, LOG_ERROR, "cannot read the folder of tenants", "folder", folder, "reason",
                 strerror(errno), NULL);
    f->missing_reported = !dir;
    return dir;
}

void folder_scan(struct folder *f, uint32_t *loaded, uint32_t *refused) {
    struct loading l = {.f = f, .told_ns = (int64_t)clock_ns()};
    DIR *dir = f->options.config->directory ? open_folder(f) : NULL;
    if (!dir) return;
    for (struct seen *s = f->all; s; s = s->next) s->present = s->changed = false;
    errno = 0;
    for (struct dirent *e; (e = readdir(dir)); errno = 0) l.n += look_at(f, e->d_name);
    bool whole = errno == 0;
    closedir(dir);
    l.next = f->all;
    pthread_mutex_init(&l.lock, NULL);
    if (l.n) load_all(&l);
    pthread_mutex_destroy(&l.lock);
    f->scanned = true;
    if (whole) remove_absent(f);
    if (whole && !f->swept) { /* what went while the node was down */
        activator_sweep(f->options.activator, FOLDER_NAME, has, f);
        f->swept = true;
    }
    if (loaded) *loaded += l.loaded;
    if (refused) *refused += l.refused;
}

/* The next scan finds that it knows these bytes. */
bool folder_offer_now(const struct folder_options *options, struct str tenant, bool allow_older, bool at_once,
                      struct activation *out) {
    struct folder f = {.options = *options};
    struct seen s = {0};
    if (tenant.len >= sizeof s.id || memchr(tenant.ptr, '/', tenant.len)) return false;
    memcpy(s.id, tenant.ptr, tenant.len);
    if (!f.options.max_bytes) f.options.max_bytes = DEFAULT_BYTES;
    if (!valid_id(s.id)) return false;
    enum glance g = look(&f, s.id, &s.bare, &s.print);
    if (g == GLANCE_ABSENT || g == GLANCE_OTHER) return false;
    (void)offer(&f, &s, (struct manner){.allow_older = allow_older, .at_once = at_once}, out);
    return true;
}
