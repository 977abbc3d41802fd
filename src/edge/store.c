/* Last known good versions: a folder a tenant, a file a version, a record that names them.
 *
 * in:   versions that went live, and what operators say of them.
 * out:  the same, after whatever ended the node.
 * owns: the folder, by a lock; tenants' records in memory; the thread that syncs. */
#include "base/clock.h"
#include "base/hash.h"
#include "edge/store_private.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_BUCKETS = 256, DEFAULT_KEEP = 3, WHY_BYTES = 512 };
static const int64_t complain_every_ns = 10ll * 1000000000;

void store_complain(struct store *s, const char *what, const char *why) {
    char errors[24];
    int64_t now = (int64_t)clock_ns(), last = atomic_load(&s->complained_ns);
    snprintf(errors, sizeof errors, "%" PRIu64, atomic_fetch_add(&s->errors, 1) + 1);
    if (last && now - last < complain_every_ns) return;
    if (!atomic_compare_exchange_strong(&s->complained_ns, &last, now)) return;
    if (s->log)
        log_line(s->log, LOG_ERROR, what, "folder", s->directory, "reason", why, "errors", errors,
                 NULL);
}

/* ---- the table ---- */

static struct held **bucket_of(const struct store *s, struct str id) {
    return &s->buckets[(uint32_t)hash64(id) & s->mask];
}

static void grow(struct store *s) {
    struct held **old = s->buckets, **p = calloc(2 * ((size_t)s->mask + 1), sizeof(struct held *));
    uint32_t n = s->mask + 1;
    if (!p) return; /* longer chains, then */
    s->buckets = p;
    s->mask = 2 * n - 1;
    for (uint32_t i = 0; i < n; i++)
        for (struct held *h = old[i], *next; h; h = next) {
            next = h->chain;
            struct held **bucket = bucket_of(s, h->id);
            h->chain = *bucket;
            *bucket = h;
        }
    free(old);
}

static void insert(struct store *s, struct held *h) {
    if (++s->n > s->mask) grow(s);
    struct held **bucket = bucket_of(s, h->id);
    h->chain = *bucket;
    *bucket = h;
}

static struct held *held_new(void) {
    struct held *h = calloc(1, sizeof *h);
    if (!h) return NULL;
    pthread_mutex_init(&h->lock, NULL);
    h->slot = -1;
    return h;
}

static void held_free(struct held *h) {
    store_record_clear(h);
    pthread_mutex_destroy(&h->lock);
    free((void *)h->id.ptr);
    free(h);
}

/* The tenant, locked; made when wanted. NULL: not there, or no memory. */
static struct held *hold(struct store *s, struct str id, bool make) {
    pthread_mutex_lock(&s->lock);
    struct held *h = *bucket_of(s, id);
    while (h && !str_eq(h->id, id)) h = h->chain;
    char *copy = !h && make ? malloc(id.len + 1) : NULL;
    if (copy && (h = held_new())) {
        memcpy(copy, id.ptr, id.len);
        copy[id.len] = 0;
        h->id = (struct str){copy, id.len};
        store_name(id, h->name);
        insert(s, h);
    } else {
        free(copy);
    }
    pthread_mutex_unlock(&s->lock);
    if (h) pthread_mutex_lock(&h->lock);
    return h;
}

static void let_go(struct held *h) { pthread_mutex_unlock(&h->lock); }

/* ---- opening ---- */

static enum err refuse(char *why, size_t why_bytes, const char *what, const char *path) {
    snprintf(why, why_bytes, "%s %s: %s", what, path, strerror(errno));
    return ERR_IO;
}

/* Held until the process ends, however it does. */
enum err store_lock(struct store *s, char *why, size_t why_bytes) {
    char path[STORE_PATH_BYTES], pid[32];
    if (!store_path(s, path, "lock")) return ERR_IO;
    if (s->lock_fd < 0) s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0) return refuse(why, why_bytes, "cannot open", path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return refuse(why, why_bytes, "cannot lock", path);
        ssize_t n = pread(s->lock_fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = 0;
        pid[strcspn(pid, "\n")] = 0;
        snprintf(why, why_bytes, "another node (process %s) uses %s: each needs a store of its own",
                 pid, s->directory);
        return ERR_OVERLOAD;
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(s->lock_fd, 0) != 0 || pwrite(s->lock_fd, pid, (size_t)n, 0) != n)
        return OK; /* for people only */
    return OK;
}

static enum err make_folders(struct store *s, bool beside, char *why, size_t why_bytes) {
    static const char *const inner[] = {"tenants", "tmp"};
    char path[STORE_PATH_BYTES];
    if (mkdir(s->directory, 0700) != 0 && errno != EEXIST)
        return refuse(why, why_bytes, "cannot make", s->directory);
    enum err e = store_lock(s, why, why_bytes);
    if (e == ERR_OVERLOAD && beside) {
        atomic_store(&s->guest, true);
        e = OK;
    }
    if (e == ERR_OVERLOAD) e = ERR_IO;
    for (size_t i = 0; !e && i < sizeof inner / sizeof *inner; i++) {
        if (!store_path(s, path, "%s", inner[i])) return ERR_IO;
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return refuse(why, why_bytes, "cannot make", path);
    }
    return e;
}

static enum err read_key(struct store *s, char *why, size_t why_bytes) {
    char path[STORE_PATH_BYTES];
    if (!store_path(s, path, "node.key")) return ERR_IO;
    enum err e = node_key_open(path, s->key);
    if (e == ERR_INVALID)
        snprintf(why, why_bytes,
                 "%s is no key that only this node's user may read: what is in the store cannot be "
                 "trusted; delete the "
                 "folder to begin anew",
                 path);
    else if (e)
        return refuse(why, why_bytes, "cannot read", path);
    return e ? ERR_IO : OK;
}

/* What was being written when the node ended. */
void store_empty_temporary(struct store *s) {
    char folder[STORE_PATH_BYTES], path[STORE_PATH_BYTES];
    DIR *dir = store_path(s, folder, "tmp") ? opendir(folder) : NULL;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
            !store_path(s, path, "tmp/%s", e->d_name))
            continue;
        if (unlink(path) != 0) store_delete_folder(path);
    }
    if (dir) closedir(dir);
}

static enum err read_tenant(struct store *s, const char *name, uint32_t *damaged) {
    bool bad;
    struct held *h = held_new();
    if (!h) return ERR_MEMORY;
    snprintf(h->name, sizeof h->name, "%s", name);
    enum err e = store_record_read(s, h, &bad);
    if (e || h->slot < 0) { /* a folder without any record was just being made */
        held_free(h);
        *damaged += !e && bad;
        return e;
    }
    h->folder = h->opened = true;
    *damaged += bad;
    pthread_mutex_lock(&s->lock);
    struct held *known = *bucket_of(s, h->id);
    while (known && !str_eq(known->id, h->id)) known = known->chain;
    if (!known) insert(s, h);
    pthread_mutex_unlock(&s->lock);
    if (known) held_free(h);
    return OK;
}

enum err store_read_tenants(struct store *s, char *why, size_t why_bytes) {
    char path[STORE_PATH_BYTES], count[16];
    uint32_t damaged = 0;
    enum err e = OK;
    DIR *dir = store_path(s, path, "tenants") ? opendir(path) : NULL;
    if (!dir) return refuse(why, why_bytes, "cannot read", path);
    errno = 0;
    for (struct dirent *d; !e && (d = readdir(dir)); errno = 0)
        if (d->d_name[0] != '.' && strlen(d->d_name) < STORE_NAME_BYTES)
            e = read_tenant(s, d->d_name, &damaged);
    if (!e && errno) e = refuse(why, why_bytes, "cannot read", path);
    closedir(dir);
    snprintf(count, sizeof count, "%u", damaged);
    if (damaged && s->log)
        log_line(s->log, LOG_WARN, "records of stored versions are damaged", "folder", s->directory,
                 "tenants", count, "instead", "the record before, or what the sources bring", NULL);
    return e;
}

static enum err open_all(struct store *s, const struct store_options *o, char *why,
                         size_t why_bytes) {
    enum err e = make_folders(s, o->beside, why, why_bytes);
    if (!e) e = read_key(s, why, why_bytes);
    if (e) return e;
    s->directory_fd = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->directory_fd < 0) return refuse(why, why_bytes, "cannot open", s->directory);
    if (!atomic_load(&s->guest)) store_empty_temporary(s);
    e = store_read_tenants(s, why, why_bytes);
    return e ? e : store_sync_start(s);
}

enum err store_open(const struct store_options *options, struct store **out, char *why,
                    size_t why_bytes) {
    struct store *s = calloc(1, sizeof *s);
    why[0] = 0;
    if (!s || !(s->buckets = calloc(FIRST_BUCKETS, sizeof(struct held *)))) {
        free(s);
        return ERR_MEMORY;
    }
    s->mask = FIRST_BUCKETS - 1;
    s->keep = options->keep ? options->keep : DEFAULT_KEEP;
    s->log = options->log;
    s->lock_fd = s->directory_fd = -1;
    s->owed_end = &s->owed;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, NULL);
    pthread_cond_init(&s->synced, NULL);
    int n = snprintf(s->directory, sizeof s->directory, "%s", options->directory);
    enum err e =
        n > 0 && (size_t)n < sizeof s->directory ? open_all(s, options, why, why_bytes) : ERR_LIMIT;
    if (e && !why[0]) snprintf(why, why_bytes, "%s: %s", options->directory, err_meaning(e));
    if (e)
        store_close(s);
    else
        *out = s;
    return e;
}

void store_close(struct store *s) {
    if (!s) return;
    store_sync_stop(s);
    for (uint32_t i = 0; i <= s->mask; i++)
        for (struct held *h = s->buckets[i], *next; h; h = next) {
            next = h->chain;
            held_free(h);
        }
    store_owed_free(s);
    free(s->buckets);
    if (s->directory_fd >= 0) close(s->directory_fd);
    if (s->lock_fd >= 0) close(s->lock_fd);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->wake);
    pthread_cond_destroy(&s->synced);
    explicit_bzero(s->key, sizeof s->key);
    free(s);
}

/* ---- versions ---- */

static int index_of(const struct held *h, uint32_t number) {
    for (uint32_t i = 0; number && i < h->n; i++)
        if (h->versions[i].number == number) return (int)i;
    return -1;
}

/* The newest of that name, or -1. */
static int find(const struct held *h, struct str version) {
    for (uint32_t i = h->n; i-- > 0;)
        if (str_eq(h->versions[i].is.version, version)) return (int)i;
    return -1;
}

static void forget(struct held *h, uint32_t i) {
    free(h->versions[i].text);
    memmove(&h->versions[i], &h->versions[i + 1], (h->n - i - 1) * sizeof *h->versions);
    h->n--;
}

/* The next record does not name it any more. A file that cannot be remembered here goes with the
 * next sweep. */
static void drop(struct held *h, uint32_t i) {
    struct store_doomed *d = &h->doomed;
    if (d->n == d->cap) {
        uint32_t cap = d->cap ? 2 * d->cap : 8;
        void *p = realloc(d->items, cap * sizeof *d->items);
        if (p) d->items = p, d->cap = cap;
    }
    if (d->n < d->cap) {
        d->items[d->n].number = h->versions[i].number;
        d->items[d->n++].since = h->sequence + 1;
    }
    forget(h, i);
}

static bool needed(const struct held *h, uint32_t i) {
    uint32_t number = h->versions[i].number;
    return number == h->active || number == h->pinned || i == h->n - 1;
}

/* Drops what another version of the same name replaced, and the oldest beyond keep. */
static void prune(const struct store *s, struct held *h) {
    for (uint32_t i = 0; i < h->n;)
        if (!needed(h, i) && find(h, h->versions[i].is.version) != (int)i)
            drop(h, i);
        else
            i++;
    for (uint32_t i = 0; i < h->n && h->n > s->keep;)
        if (!needed(h, i))
            drop(h, i);
        else
            i++;
}

/* A copy of what a call changes, so that one that fails has changed nothing. */
struct before {
    uint32_t active, pinned, n, next;
    uint64_t highest;
};

static struct before remember(const struct held *h) {
    return (struct before){h->active, h->pinned, h->n, h->next, h->highest_serial};
}

/* Writes the record; memory is as before when that fails, but for versions that were dropped: their
 * files stay. */
static enum err commit(struct store *s, struct held *h, struct before was, char *why,
                       size_t why_bytes) {
    if (atomic_load(&s->left)) return OK; /* the other node's by now */
    enum err e = store_sync_before(s, h);
    if (e) snprintf(why, why_bytes, "cannot sync what is stored: %s", strerror(errno));
    if (!e) e = store_record_write(s, h, why, why_bytes);
    if (!e) {
        store_sync_later(s, h);
        return OK;
    }
    h->active = was.active;
    h->pinned = was.pinned;
    h->highest_serial = was.highest;
    store_complain(s, "a version is not stored", why);
    return e;
}

static enum err make_folder(struct store *s, struct held *h, char *why, size_t why_bytes) {
    char path[STORE_PATH_BYTES];
    if (!store_path(s, path, "tenants/%s", h->name)) return ERR_IO;
    if (h->folder || mkdir(path, 0700) == 0 || errno == EEXIST) return h->folder = true, OK;
    return refuse(why, why_bytes, "cannot make", path);
}

static enum err add(struct held *h, const struct stored *v, const uint8_t digest[32]) {
    if (h->n == STORE_MAX_VERSIONS) return ERR_LIMIT;
    if (h->n == h->cap) {
        uint32_t cap = h->cap ? 2 * h->cap : 4;
        struct store_version *p = realloc(h->versions, cap * sizeof *p);
        if (!p) return ERR_MEMORY;
        h->versions = p;
        h->cap = cap;
    }
    struct store_version *to = &h->versions[h->n];
    *to = (struct store_version){.number = h->next, .is = *v};
    memcpy(to->digest, digest, sizeof to->digest);
    if (!(to->text = store_version_text(&to->is))) return ERR_MEMORY;
    h->n++;
    return OK;
}

/* A version whose file was found damaged is written again under its number. */
static enum err mend(struct store *s, struct held *h, struct store_version *v, struct str bundle,
                     char *why, size_t why_bytes) {
    char path[STORE_PATH_BYTES];
    if (!v->damaged) return OK;
    if (!store_path(s, path, "tenants/%s/%u.bundle", h->name, v->number)) return ERR_IO;
    enum err e = store_write(s, path, bundle, why, why_bytes);
    if (e) return store_complain(s, "a version is not stored", why), e;
    v->damaged = v->synced = false;
    return OK;
}

/* The version is there already; its serial may be new. */
static enum err put_again(struct store *s, struct held *h, struct store_version *v, uint64_t serial,
                          struct str bundle, char *why, size_t why_bytes) {
    struct before was = remember(h);
    bool damaged = v->damaged;
    enum err e = mend(s, h, v, bundle, why, why_bytes);
    if (e || (!damaged && serial <= h->highest_serial)) return e;
    if (serial > h->highest_serial) h->highest_serial = serial;
    return commit(s, h, was, why, why_bytes);
}

/* With the tenant locked. */
static enum err put(struct store *s, struct held *h, const struct stored *v, struct str bundle,
                    char *why, size_t why_bytes) {
    char path[STORE_PATH_BYTES];
    uint8_t digest[32];
    struct before was = remember(h);
    int same = find(h, v->version);
    sha256(bundle.ptr, bundle.len, digest);
    if (same >= 0 && memcmp(h->versions[same].digest, digest, sizeof digest) == 0)
        return put_again(s, h, &h->versions[same], v->serial, bundle, why, why_bytes);
    if (v->serial > h->highest_serial) h->highest_serial = v->serial;
    if (!h->swept && h->slot >= 0) store_sweep(s, h);
    if (!h->next) h->next = 1;
    enum err e = make_folder(s, h, why, why_bytes);
    if (!e && !store_path(s, path, "tenants/%s/%u.bundle", h->name, h->next)) e = ERR_IO;
    if (!e) e = store_write(s, path, bundle, why, why_bytes);
    if (!e) e = add(h, v, digest);
    if (e) {
        h->highest_serial = was.highest;
        store_complain(s, "a version is not stored", why[0] ? why : err_meaning(e));
        return e;
    }
    h->next++;
    prune(s, h);
    if (!(e = commit(s, h, was, why, why_bytes))) return OK;
    forget(h, h->n - 1);
    unlink(path);
    return e;
}

enum err store_put_now(struct store *s, struct str tenant, const struct stored *v,
                       struct str bundle, char *why, size_t why_bytes) {
    why[0] = 0;
    struct held *h = hold(s, tenant, true);
    if (!h) return ERR_MEMORY;
    enum err e = put(s, h, v, bundle, why, why_bytes);
    let_go(h);
    if (e && !why[0]) snprintf(why, why_bytes, "%s", err_meaning(e));
    return e;
}

enum err store_activate_now(struct store *s, struct str tenant, struct str version) {
    char why[WHY_BYTES] = "";
    struct held *h = hold(s, tenant, false);
    int i = h ? find(h, version) : -1;
    enum err e = i < 0 ? ERR_NOT_FOUND : OK;
    if (!e && h->active != h->versions[i].number) {
        struct before was = remember(h);
        h->active = h->versions[i].number;
        prune(s, h);
        e = commit(s, h, was, why, sizeof why);
    }
    if (h) let_go(h);
    return e;
}

enum err store_pin_now(struct store *s, struct str tenant, struct str version) {
    char why[WHY_BYTES] = "";
    struct held *h = hold(s, tenant, false);
    int i = h && version.len ? find(h, version) : -1;
    uint32_t number = i >= 0 ? h->versions[i].number : 0;
    enum err e = version.len && i < 0 ? ERR_NOT_FOUND : OK;
    if (!e && h && h->pinned != number) {
        struct before was = remember(h);
        h->pinned = number;
        prune(s, h);
        e = commit(s, h, was, why, sizeof why);
        if (!e && (e = store_sync_held(s, h)))
            store_complain(s, "a pin may not outlive the machine", strerror(errno));
    }
    if (h) let_go(h);
    return e;
}

enum err store_remove_now(struct store *s, struct str tenant) {
    char path[STORE_PATH_BYTES], away[STORE_PATH_BYTES], why[WHY_BYTES];
    struct held *h = hold(s, tenant, false);
    enum err e = OK;
    if (!h) return OK;
    if (atomic_load(&s->left)) return let_go(h), OK;
    unsigned long long number = atomic_fetch_add(&s->temporary, 1);
    bool short_enough =
        store_path(s, path, "tenants/%s", h->name) && store_path(s, away, "tmp/%llu", number);
    if (!short_enough || (rename(path, away) != 0 && errno != ENOENT)) { /* whole, or not at all */
        snprintf(why, sizeof why, "%s: %s", path, strerror(errno));
        store_complain(s, "a tenant's versions cannot be removed", why);
        e = ERR_IO;
    } else {
        store_delete_folder(away);
        store_record_clear(h);
        h->folder = h->opened = false;
    }
    let_go(h);
    return e;
}

/* ---- the calls, when this node holds the folder ---- */

enum err store_put(struct store *s, struct str tenant, const struct stored *v, struct str bundle,
                   char *why, size_t why_bytes) {
    enum err e;
    struct owed call = {.kind = OWED_PUT, .tenant = tenant, .v = *v, .bundle = bundle};
    why[0] = 0;
    if (!store_owe(s, &call, &e)) return store_put_now(s, tenant, v, bundle, why, why_bytes);
    if (e) snprintf(why, why_bytes, "another node still holds the store");
    return e;
}

enum err store_activate(struct store *s, struct str tenant, struct str version) {
    enum err e;
    struct owed call = {.kind = OWED_ACTIVATE, .tenant = tenant, .version = version};
    return store_owe(s, &call, &e) ? e : store_activate_now(s, tenant, version);
}

enum err store_pin(struct store *s, struct str tenant, struct str version) {
    enum err e;
    struct owed call = {.kind = OWED_PIN, .tenant = tenant, .version = version};
    return store_owe(s, &call, &e) ? e : store_pin_now(s, tenant, version);
}

enum err store_remove(struct store *s, struct str tenant) {
    enum err e;
    struct owed call = {.kind = OWED_REMOVE, .tenant = tenant};
    return store_owe(s, &call, &e) ? e : store_remove_now(s, tenant);
}

/* ---- reading ---- */

static struct str copied(struct arena *a, struct str s) {
    return (struct str){arena_strndup(a, s.ptr, s.len), s.len};
}

static enum err copy_tenant(struct arena *a, const struct held *h, struct store_tenant *t) {
    if (h->n && !(t->versions = ARENA_ARRAY(a, struct stored, h->n))) return ERR_MEMORY;
    t->n = h->n;
    t->highest_serial = h->highest_serial;
    for (uint32_t i = 0; i < h->n; i++) {
        const struct store_version *from = &h->versions[h->n - 1 - i];
        struct stored *to = &t->versions[i];
        *to = from->is;
        to->version = copied(a, from->is.version);
        to->from = copied(a, from->is.from);
        to->sha256 = copied(a, from->is.sha256);
        if (!to->version.ptr || !to->from.ptr || !to->sha256.ptr) return ERR_MEMORY;
        if (from->number == h->active) t->active = (int32_t)i;
        if (from->number == h->pinned) t->pinned = (int32_t)i;
    }
    return OK;
}

enum err store_tenant(struct store *s, struct arena *a, struct str tenant,
                      struct store_tenant *out) {
    struct store_tenant t = {.active = -1, .pinned = -1};
    struct held *h = hold(s, tenant, false);
    enum err e = h ? copy_tenant(a, h, &t) : OK;
    if (h) let_go(h);
    if (!e) *out = t;
    return e;
}

static enum err read_version(struct store *s, const struct held *h, const struct store_version *v,
                             struct buf *out, char *why, size_t why_bytes) {
    char path[STORE_PATH_BYTES];
    uint8_t digest[32];
    size_t before = out->len;
    if (!store_path(s, path, "tenants/%s/%u.bundle", h->name, v->number)) return ERR_IO;
    errno = 0;
    enum err e = buf_read_file(out, path);
    if (e == ERR_IO) {
        out->len = before;
        return refuse(why, why_bytes, "cannot read", path);
    }
    if (!e) sha256(out->ptr + before, out->len - before, digest);
    if (!e && memcmp(digest, v->digest, sizeof digest) == 0) return OK;
    snprintf(why, why_bytes, "%.256s is not what was stored there", path);
    out->len = before;
    return e ? e : ERR_INVALID;
}

enum err store_read(struct store *s, struct str tenant, struct str version, struct buf *out,
                    char *why, size_t why_bytes) {
    struct held *h = hold(s, tenant, false);
    int active = h ? index_of(h, h->active) : -1, i = h ? find(h, version) : -1;
    if (active >= 0 && str_eq(h->versions[active].is.version, version)) i = active;
    enum err e = ERR_NOT_FOUND;
    if (i >= 0)
        e = read_version(s, h, &h->versions[i], out, why, why_bytes);
    else
        snprintf(why, why_bytes, "version \"%.*s\" is not kept", STR_FMT(str_head(version, 128)));
    if (e == ERR_INVALID || e == ERR_IO) h->versions[i].damaged = true;
    if (h) let_go(h);
    if (e == ERR_INVALID || e == ERR_IO) store_complain(s, "a stored version cannot be read", why);
    return e;
}

void store_each(struct store *s, void (*tenant)(void *ctx, struct str id), void *ctx) {
    pthread_mutex_lock(&s->lock);
    struct held **all = calloc(s->n ? s->n : 1, sizeof(struct held *));
    uint32_t n = 0;
    for (uint32_t i = 0; all && i <= s->mask; i++)
        for (struct held *h = s->buckets[i]; h; h = h->chain) all[n++] = h;
    pthread_mutex_unlock(&s->lock);
    for (uint32_t i = 0; i < n; i++) { /* none of them goes before the store is closed */
        pthread_mutex_lock(&all[i]->lock);
        bool active = all[i]->active != 0;
        pthread_mutex_unlock(&all[i]->lock);
        if (active) tenant(ctx, all[i]->id);
    }
    free(all);
}

void store_metrics(struct store *s, struct buf *out) {
    uint64_t tenants = 0, versions = 0;
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i <= s->mask; i++)
        for (struct held *h = s->buckets[i]; h; h = h->chain) {
            tenants += h->n > 0; /* figures: a moment old is near enough */
            versions += h->n;
        }
    pthread_mutex_unlock(&s->lock);
    buf_printf(
        out,
        "# HELP regent_store_errors_total Versions that could not be written to the store or read "
        "from it.\n"
        "# TYPE regent_store_errors_total counter\nregent_store_errors_total %" PRIu64 "\n"
        "# HELP regent_store_tenants Tenants with versions in the store.\n"
        "# TYPE regent_store_tenants gauge\nregent_store_tenants %" PRIu64 "\n"
        "# HELP regent_store_versions Versions in the store.\n"
        "# TYPE regent_store_versions gauge\nregent_store_versions %" PRIu64 "\n"
        "# HELP regent_store_written_bytes_total Bytes written to the store.\n"
        "# TYPE regent_store_written_bytes_total counter\nregent_store_written_bytes_total %" PRIu64
        "\n",
        atomic_load(&s->errors), tenants, versions, atomic_load(&s->bytes_written));
}
