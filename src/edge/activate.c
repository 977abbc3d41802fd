/* Folder watcher: reads, verifies and loads bundles in the background, then swaps each in with one
 * pointer store.
 *
 * in:   DIR/tenants/ID/bundle.tar.gz, the configuration's limits.
 * out:  entries and load reports in the tenant table, log lines.
 * owns: its table of what it has seen. */
#include "edge/activate.h"
#include "base/clock.h"
#include "edge/authz.h"
#include "base/hash.h"
#include "bundle/bundle.h"
#include "edge/decide.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    DEFAULT_BUNDLE_BYTES = 64 << 20,
    ARENA_FACTOR = 8, /* a bundle's arena to its file: what is unpacked counts */
    FIRST_BUCKETS = 64,
    MAX_LOADERS = 64,
    QUIET_ABOVE = 200, /* with more bundles at once, one line a second tells how it goes */
    PROGRESS_NS = 1000000000,
    FIRST_PAUSE_NS = 1000000000
};

static const int64_t longest_pause_ns = 60ll * 1000000000;

/* A tenant's file as it was when it was last looked at. */
struct seen {
    struct seen *next, *chain; /* all; those of its bucket */
    char id[TENANT_ID_BYTES];
    struct timespec modified;
    off_t size;
    ino_t inode;
    bool known, active, present;
    bool changed; /* this scan is to load it */
    int64_t again_ns; /* it failed for a reason that may pass, and is tried again then; 0: only once it changes */
    int64_t pause_ns; /* after the next such failure */
};

struct watcher {
    struct watcher_options options;
    struct seen *all, **buckets;
    uint32_t n, mask;
    bool missing_reported, scanned;
};

/* One scan's loading, shared by the threads that do it. */
struct loading {
    struct watcher *w;
    pthread_mutex_t lock; /* of all that follows, and of writing into the tenant table */
    struct seen *next;
    uint32_t n, done, loaded, refused;
    int64_t told_ns;
};

/* What a bundle turned into. */
struct loaded {
    struct tenant_version version;
    char revision[sizeof((struct load_report *)0)->revision];
    struct load_message message;
    uint64_t bytes;
};

enum err watcher_new(const struct watcher_options *options, struct watcher **out) {
    struct watcher *w = calloc(1, sizeof *w);
    if (!w || !(w->buckets = calloc(FIRST_BUCKETS, sizeof *w->buckets))) {
        free(w);
        return ERR_MEMORY;
    }
    w->mask = FIRST_BUCKETS - 1;
    w->options = *options;
    if (!w->options.max_bundle_bytes) w->options.max_bundle_bytes = DEFAULT_BUNDLE_BYTES;
    *out = w;
    return OK;
}

void watcher_free(struct watcher *w) {
    for (struct seen *s = w->all, *next; s; s = next) {
        next = s->next;
        free(s);
    }
    free(w->buckets);
    free(w);
}

void watcher_configure(struct watcher *w, const struct edge_config *config) {
    w->options.config = config;
}

/* ---- what was seen ---- */

static struct seen **bucket_of(struct watcher *w, const char *id) {
    return &w->buckets[(uint32_t)hash64(str_of(id)) & w->mask];
}

static void buckets_grow(struct watcher *w) {
    uint32_t size = 2 * (w->mask + 1);
    struct seen **p = calloc(size, sizeof *p);
    if (!p) return; /* longer chains, then */
    free(w->buckets);
    w->buckets = p;
    w->mask = size - 1;
    for (struct seen *s = w->all; s; s = s->next) {
        struct seen **bucket = bucket_of(w, s->id);
        s->chain = *bucket;
        *bucket = s;
    }
}

static struct seen *seen_of(struct watcher *w, const char *id) {
    struct seen **bucket = bucket_of(w, id), *s = *bucket;
    while (s && strcmp(s->id, id) != 0) s = s->chain;
    if (s || !(s = calloc(1, sizeof *s))) return s;
    snprintf(s->id, sizeof s->id, "%s", id);
    s->chain = *bucket;
    *bucket = s;
    s->next = w->all;
    w->all = s;
    if (++w->n > w->mask) buckets_grow(w);
    return s;
}

static void seen_forget(struct watcher *w, struct seen **at) {
    struct seen *s = *at, **link = bucket_of(w, s->id);
    while (*link != s) link = &(*link)->chain;
    *link = s->chain;
    *at = s->next;
    w->n--;
    free(s);
}

/* ---- bundle file to loaded policy ---- */

static enum err first_problem(const struct diag_list *diags, struct load_message *message,
                              enum err e) {
    const char *what = diags->n ? diags->items[0].message.ptr : err_meaning(e);
    struct str file = diags->n ? diags->items[0].loc.file : STR("");
    snprintf(message->text, sizeof message->text, "%.*s%s%s", STR_FMT(file), file.len ? ": " : "",
             what);
    return e;
}

static enum err read_bundle(struct watcher *w, const char *path, struct arena *a, struct buf *bytes,
                            struct bundle *b, struct load_message *message) {
    struct diag_list diags;
    diag_list_init(&diags, a);
    enum err e = buf_read_file(bytes, path);
    if (e == ERR_LIMIT)
        snprintf(message->text, sizeof message->text, "the bundle has more than %llu bytes",
                 (unsigned long long)w->options.max_bundle_bytes);
    else if (e)
        snprintf(message->text, sizeof message->text, "%s",
                 e == ERR_IO ? strerror(errno) : err_meaning(e));
    if (e) return e;
    if ((e = bundle_read(a, buf_view(bytes), b, &diags))) return first_problem(&diags, message, e);
    if (b->full.len || b->thin.len) return OK;
    snprintf(message->text, sizeof message->text,
             "the bundle holds no WebAssembly module: build it with `regent build -t wasm -e PATH`");
    return ERR_INVALID;
}

/* metadata.regent.limits of the manifest. */
static enum err read_limits(const struct bundle *b, struct tenant_limits *out,
                            struct load_message *message) {
    const struct json *metadata = json_get_c(b->manifest, "metadata");
    const struct json *limits = json_get_c(json_get_c(metadata, "regent"), "limits");
    char why[256] = "";
    *out = (struct tenant_limits){0};
    if (!limits) return OK;
    enum err e = limits_read(limits, out, why, sizeof why);
    if (e)
        snprintf(message->text, sizeof message->text, ".manifest: metadata.regent.limits: %s", why);
    return e;
}

static enum err load(struct watcher *w, const char *path, const char *id, struct loaded *out) {
    struct arena a;
    struct buf bytes;
    struct bundle b;
    arena_init(&a, w->options.max_bundle_bytes * ARENA_FACTOR);
    buf_init(&bytes, w->options.max_bundle_bytes);
    enum err e = read_bundle(w, path, &a, &bytes, &b, &out->message);
    if (!e) e = read_limits(&b, &out->version.own, &out->message);
    if (!e) {
        struct tenant_limits l =
            edge_config_limits(w->options.config, str_of(id), out->version.own);
        struct policy_source source = {.full = b.full,
                                       .input_mark = authz_wanted,
                                       .thin = b.thin,
                                       .data = b.data,
                                       .name = str_of(id),
                                       .keep = worker_group_of(w->options.config, str_of(id)) != NULL,
                                       .max_module_bytes = l.module_bytes,
                                       .max_compile_us = l.compile_us};
        snprintf(out->revision, sizeof out->revision, "%.*s", STR_FMT(b.revision));
        out->version.revision = str_of(out->revision);
        out->bytes = bytes.len;
        e = policy_load(w->options.engine, &source, &out->version.policy, &out->message);
    }
    buf_deinit(&bytes);
    arena_deinit(&a);
    return e;
}

/* ---- into the table; one thread at a time ---- */

static void tell(struct loading *l, const struct seen *s, enum err e, const struct loaded *it,
                 uint64_t us) {
    char took[32];
    const struct log *log = l->w->options.log;
    snprintf(took, sizeof took, "%llu.%03llu", (unsigned long long)(us / 1000),
             (unsigned long long)(us % 1000));
    if (e)
        log_line(log, LOG_ERROR, "bundle refused", "tenant_id", s->id, "reason",
                 it->message.text[0] ? it->message.text : err_meaning(e), "serving",
                 s->active ? "the version before" : "nothing", NULL);
    else
        log_line(log, l->n > QUIET_ABOVE ? LOG_DEBUG : LOG_INFO, "bundle activated", "tenant_id",
                 s->id, "revision", it->revision, "ms", took, NULL);
}

static void tell_progress(struct loading *l) {
    char text[3][16];
    int64_t now = (int64_t)clock_ns();
    if (l->n <= QUIET_ABOVE || now - l->told_ns < PROGRESS_NS) return;
    l->told_ns = now;
    snprintf(text[0], 16, "%u", l->done);
    snprintf(text[1], 16, "%u", l->n);
    snprintf(text[2], 16, "%u", l->refused);
    log_line(l->w->options.log, LOG_INFO, "loading bundles", "done", text[0], "of", text[1],
             "refused", text[2], NULL);
}

static void report(struct watcher *w, struct tenant *tenant, int64_t requested_ns, enum err e,
                   const struct loaded *it) {
    struct load_report r;
    tenants_reported(w->options.tenants, tenant, &r);
    r.requested_ns = requested_ns;
    r.err = e;
    r.message[0] = 0;
    if (e)
        snprintf(r.message, sizeof r.message, "%.*s", (int)sizeof r.message - 1,
                 it->message.text[0] ? it->message.text : err_meaning(e));
    else {
        r.activated_ns = (int64_t)clock_of(CLOCK_REALTIME);
        snprintf(r.revision, sizeof r.revision, "%s", it->revision);
        r.bytes = it->bytes;
    }
    tenants_report(w->options.tenants, tenant, &r);
}

/* The machine failed, not the bundle: no descriptor, no memory, no right to read it. */
static void plan_again(struct seen *s, enum err e) {
    s->again_ns = 0;
    if (e != ERR_IO && e != ERR_MEMORY) {
        s->pause_ns = FIRST_PAUSE_NS;
        return;
    }
    s->again_ns = (int64_t)clock_ns() + s->pause_ns;
    s->pause_ns = s->pause_ns * 2 < longest_pause_ns ? s->pause_ns * 2 : longest_pause_ns;
}

static void settle(struct loading *l, struct seen *s, enum err e, struct loaded *it,
                   int64_t requested_ns, uint64_t us) {
    struct tenants *tenants = l->w->options.tenants;
    struct str id = str_of(s->id);
    struct tenant *record = tenants_record(tenants, id);
    if (!e && (e = tenants_set(tenants, id, &it->version))) policy_release(it->version.policy);
    if (e && !s->known) { /* known from now on, if only by what is wrong with it */
        struct tenant_version none = {0};
        s->known = tenants_set(tenants, id, &none) == OK;
    }
    if (!e) s->known = s->active = true;
    plan_again(s, e);
    if (e == ERR_OVERLOAD) s->size = -1; /* nothing is wrong with it: it is looked at again with the next scan */
    if (record) metrics_load(&record->metrics, us);
    if (record) report(l->w, record, requested_ns, e, it);
    tell(l, s, e, it, us);
    ++*(e ? &l->refused : &l->loaded);
    l->done++;
    tell_progress(l);
}

/* ---- one scan's loading ---- */

static struct seen *next_changed(struct loading *l) {
    struct seen *s = l->next;
    while (s && !s->changed) s = s->next;
    l->next = s ? s->next : NULL;
    return s;
}

static bool bundle_path(const struct watcher *w, const char *id, char *path, size_t bytes) {
    int n = snprintf(path, bytes, "%s/tenants/%s/bundle.tar.gz", w->options.config->directory, id);
    return n > 0 && (size_t)n < bytes;
}

static void *load_changed(void *arg) {
    struct loading *l = arg;
    char path[4096];
    pthread_mutex_lock(&l->lock);
    for (struct seen *s; (s = next_changed(l));) {
        pthread_mutex_unlock(&l->lock);
        struct loaded it = {0};
        int64_t requested_ns = (int64_t)clock_of(CLOCK_REALTIME), start = (int64_t)clock_ns();
        enum err e = bundle_path(l->w, s->id, path, sizeof path) ? load(l->w, path, s->id, &it)
                                                                 : ERR_LIMIT;
        uint64_t us = (uint64_t)((int64_t)clock_ns() - start) / 1000;
        pthread_mutex_lock(&l->lock);
        settle(l, s, e, &it, requested_ns, us);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* On all cores before the node serves; later on one, since the others have requests to answer. */
static void load_all(struct loading *l) {
    pthread_t threads[MAX_LOADERS];
    long cores = l->w->scanned ? 1 : sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t n = 0, wanted = cores > MAX_LOADERS ? MAX_LOADERS : (uint32_t)(cores > 1 ? cores : 1);
    if (wanted > l->n) wanted = l->n;
    while (n + 1 < wanted && pthread_create(&threads[n], NULL, load_changed, l) == 0) n++;
    load_changed(l);
    while (n) pthread_join(threads[--n], NULL);
}

/* ---- looking ---- */

static bool unchanged(const struct seen *s, const struct stat *st) {
    return s->modified.tv_sec == st->st_mtim.tv_sec && s->modified.tv_nsec == st->st_mtim.tv_nsec &&
           s->size == st->st_size && s->inode == st->st_ino;
}

static bool valid_id(const char *id) { return id[0] != '.' && strlen(id) < TENANT_ID_BYTES; }

/* true: there is something to load. */
static bool look_at(struct watcher *w, const char *id) {
    char path[4096];
    struct stat st;
    if (!valid_id(id) || !bundle_path(w, id, path, sizeof path)) return false;
    bool there = stat(path, &st) == 0;
    if (!there && (errno == ENOENT || errno == ENOTDIR)) return false;
    struct seen *s = there && !S_ISREG(st.st_mode) ? NULL : seen_of(w, id);
    if (!s) return false;
    s->present = true;
    if (!there) return false; /* what cannot be looked at for a moment is not gone */
    bool again = s->again_ns && (int64_t)clock_ns() >= s->again_ns;
    if (unchanged(s, &st)) return s->changed = again;
    s->pause_ns = FIRST_PAUSE_NS;
    s->modified = st.st_mtim;
    s->size = st.st_size;
    s->inode = st.st_ino;
    return s->changed = true;
}

static void remove_absent(struct watcher *w) {
    for (struct seen **at = &w->all, *s; (s = *at);) {
        if (s->present || (s->known && tenants_set(w->options.tenants, str_of(s->id), NULL) != OK)) {
            at = &s->next;
            continue;
        }
        if (s->known)
            log_line(w->options.log, LOG_INFO, "tenant removed", "tenant_id", s->id, NULL);
        seen_forget(w, at);
    }
}

/* Opens the folder, or says once that it cannot. */
static DIR *open_folder(struct watcher *w) {
    char folder[4096];
    int n = snprintf(folder, sizeof folder, "%s/tenants", w->options.config->directory);
    DIR *dir = n > 0 && (size_t)n < sizeof folder ? opendir(folder) : NULL;
    if (!dir && !w->missing_reported) /* one that vanishes for a moment must not take every tenant with it */
        log_line(w->options.log, LOG_ERROR, "cannot read the folder of tenants", "folder", folder,
                 "reason", strerror(errno), NULL);
    w->missing_reported = !dir;
    return dir;
}

void watcher_scan(struct watcher *w, uint32_t *loaded, uint32_t *refused) {
    struct loading l = {.w = w, .told_ns = (int64_t)clock_ns()};
    DIR *dir = w->options.config->directory ? open_folder(w) : NULL;
    if (!dir) return;
    for (struct seen *s = w->all; s; s = s->next) s->present = s->changed = false;
    errno = 0;
    for (struct dirent *e; (e = readdir(dir)); errno = 0) l.n += look_at(w, e->d_name);
    bool whole = errno == 0;
    closedir(dir);
    l.next = w->all;
    pthread_mutex_init(&l.lock, NULL);
    if (l.n) load_all(&l);
    pthread_mutex_destroy(&l.lock);
    w->scanned = true;
    if (whole) remove_absent(w);
    tenants_reclaim(w->options.tenants);
    if (loaded) *loaded += l.loaded;
    if (refused) *refused += l.refused;
}
