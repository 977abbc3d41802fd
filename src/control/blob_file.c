/* A blob store in a folder, which an edge, a web server or a copying tool can read as it is.
 *
 * in:   objects. out: files, each whole from the moment it has its name.
 * owns: the folder's descriptors, and a place for what is being written.
 *
 *     .new/NAME/N                     being written; each process has a folder of its own there,
 * locked while it lives tenants/ID/versions/V/…         never changed tenants/ID/current ->
 * versions/V tenants/ID/bundle.tar.gz     -> current/bundle.tar.gz, and so on: replacing `current`
 * changes all of them at once */
#include "control/blob_driver.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_BYTES = 64, TRIES = 4, READ_BYTES = 64 << 10 };

struct folder_blobs {
    struct blobs base;
    int root, temporary;   /* descriptors of folders */
    char name[NAME_BYTES]; /* .new/… */
    char *path;
    _Atomic uint64_t written;
};

static struct folder_blobs *of(struct blobs *b) { return (struct folder_blobs *)b; }

/* Says what the system said of a key. A full disk, quota or file size limit is ERR_LIMIT. */
static enum err failed(const struct folder_blobs *f, const char *what, const char *key, int error,
                       char *why) {
    bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    snprintf(why, BLOB_WHY_BYTES, "blob store %s: cannot %s %s: %s", f->path, what, key,
             strerror(error));
    return full ? ERR_LIMIT : error == ENOMEM ? ERR_MEMORY : ERR_IO;
}

/* ---- the place for what is being written ---- */

static void remove_files(int folder) {
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d && copy >= 0) close(copy);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(folder, e->d_name, 0);
    if (d) closedir(d);
}

/* What processes left behind that were killed: their folders are not locked any more. */
static void clean(int all) {
    int copy = openat(all, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d && copy >= 0) close(copy);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        int fd = openat(all, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) continue;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            remove_files(fd);
            unlinkat(all, e->d_name, AT_REMOVEDIR);
        }
        close(fd);
    }
    if (d) closedir(d);
}

/* A folder of this process's own, locked. Another that cleans up between making and locking takes
 * it for left behind; then again. */
static int claim_temporary(struct folder_blobs *f) {
    unsigned char random[8];
    struct stat st;
    for (int i = 0; i < TRIES; i++) {
        if (RAND_bytes(random, sizeof random) != 1) return errno = EIO, -1;
        uint64_t n;
        memcpy(&n, random, sizeof n);
        snprintf(f->name, sizeof f->name, ".new/%016llx", (unsigned long long)n);
        if (mkdirat(f->root, f->name, 0700)) return -1;
        int fd = openat(f->root, f->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT) continue;
        if (fd < 0) return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0) return fd;
        close(fd);
    }
    return errno = EAGAIN, -1;
}

static bool make_folders(int root, const char *path) {
    char part[4096];
    size_t n = strlen(path);
    if (n >= sizeof part) return errno = ENAMETOOLONG, false;
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        part[i] = 0;
        if (mkdirat(root, part, 0777) && errno != EEXIST) return false;
        part[i] = path[i];
    }
    return true;
}

static const struct blob_driver file_driver;

enum err blob_file_open(const char *path, struct blobs **out, char why[BLOB_WHY_BYTES]) {
    struct folder_blobs *f = calloc(1, sizeof *f);
    if (!f || !(f->path = strdup(path))) return free(f), ERR_MEMORY;
    f->base.driver = &file_driver;
    f->root = f->temporary = -1;
    enum err e = OK;
    if (!make_folders(AT_FDCWD, path) ||
        (f->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
        !make_folders(f->root, ".new"))
        e = failed(f, "use", "the folder", errno, why);
    int all = e ? -1 : openat(f->root, ".new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (all >= 0) {
        clean(all);
        close(all);
    }
    if (!e && (f->temporary = claim_temporary(f)) < 0)
        e = failed(f, "write to", f->name, errno, why);
    if (!e) return *out = &f->base, OK;
    file_driver.close(&f->base);
    return e;
}

static void file_close(struct blobs *b) {
    struct folder_blobs *f = of(b);
    if (f->temporary >= 0) {
        remove_files(f->temporary);
        unlinkat(f->root, f->name, AT_REMOVEDIR);
        close(f->temporary);
    }
    if (f->root >= 0) close(f->root);
    free(f->path);
    free(f);
}

/* ---- objects ---- */

static void temporary_name(struct folder_blobs *f, char out[NAME_BYTES]) {
    snprintf(out, NAME_BYTES, "%llu", (unsigned long long)atomic_fetch_add(&f->written, 1));
}

static int write_all(int fd, struct str bytes) {
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : ENOSPC;
        bytes = str_from(bytes, (size_t)n);
    }
    return 0;
}

/* Gives what lies under a temporary name its own; makes the folders above when they lack, which a
 * deletion may take away again meanwhile. 0 or errno. */
static int place(struct folder_blobs *f, const char *temporary, const char *key) {
    char folder[BLOB_KEY_BYTES + NAME_BYTES];
    for (int i = 0; i < TRIES; i++) {
        if (renameat(f->temporary, temporary, f->root, key) == 0) return 0;
        if (errno != ENOENT) return errno;
        snprintf(folder, sizeof folder, "%s", key);
        char *end = strrchr(folder, '/');
        if (!end) return ENOENT;
        *end = 0;
        if (!make_folders(f->root, folder)) return errno;
    }
    return ENOENT;
}

static enum err put_one(struct folder_blobs *f, const char *key, struct str bytes, char *why) {
    char name[NAME_BYTES];
    temporary_name(f, name);
    int fd = openat(f->temporary, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return failed(f, "write", key, errno, why);
    int error = write_all(fd, bytes);
    if (close(fd) && !error) error = errno;
    if (!error) error = place(f, name, key);
    if (!error) return OK;
    unlinkat(f->temporary, name, 0);
    return failed(f, "write", key, error, why);
}

static enum err file_put(struct blobs *b, const struct blob_object *objects, uint32_t n,
                         char *why) {
    enum err e = OK;
    for (uint32_t i = 0; i < n && !e; i++) {
        char key[BLOB_KEY_BYTES];
        snprintf(key, sizeof key, "%.*s", STR_FMT(objects[i].key));
        e = put_one(of(b), key, objects[i].bytes, why);
    }
    return e;
}

static enum err read_all(int fd, struct buf *out) {
    for (;;) {
        uint8_t more;
        size_t room = out->max > out->len ? out->max - out->len : 0,
               want = room < READ_BYTES ? room : READ_BYTES;
        uint8_t *to = want ? buf_reserve(out, want) : &more;
        if (!to) return out->err;
        ssize_t n = read(fd, to, want ? want : 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ERR_IO;
        if (n == 0) return OK;
        if (!want) return ERR_LIMIT;
        buf_commit(out, (size_t)n);
    }
}

static enum err file_get(struct blobs *b, const char *key, struct buf *out, char *why) {
    struct folder_blobs *f = of(b);
    struct stat st;
    int fd = openat(f->root, key, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0 && fstat(fd, &st)) error = errno;
    if (error == ENOENT || error == ENOTDIR || (!error && !S_ISREG(st.st_mode))) {
        if (fd >= 0) close(fd);
        snprintf(why, BLOB_WHY_BYTES, "blob store %s: %s is not there", f->path, key);
        return ERR_NOT_FOUND;
    }
    enum err e = error ? ERR_IO : read_all(fd, out);
    if (e == ERR_IO)
        e = failed(f, "read", key, error ? error : errno, why);
    else if (e == ERR_LIMIT)
        snprintf(why, BLOB_WHY_BYTES, "blob store %s: %s is too large", f->path, key);
    if (fd >= 0) close(fd);
    return e;
}

static enum err file_has(struct blobs *b, const char *key, bool *out, char *why) {
    struct folder_blobs *f = of(b);
    struct stat st;
    if (fstatat(f->root, key, &st, 0) == 0) return *out = S_ISREG(st.st_mode), OK;
    if (errno != ENOENT && errno != ENOTDIR) return failed(f, "look at", key, errno, why);
    return *out = false, OK;
}

/* Empty folders above go with it, but not the tenant's. */
static enum err file_remove(struct blobs *b, const char *key, char *why) {
    struct folder_blobs *f = of(b);
    char folder[BLOB_KEY_BYTES];
    if (unlinkat(f->root, key, 0) && errno != ENOENT && errno != ENOTDIR)
        return failed(f, "delete", key, errno, why);
    snprintf(folder, sizeof folder, "%s", key);
    char *end = strrchr(folder, '/');
    if (!end || !strstr(folder, "/versions/")) return OK;
    *end = 0;
    (void)unlinkat(f->root, folder, AT_REMOVEDIR);
    return OK;
}

static enum err file_sync(struct blobs *b, char *why) {
    struct folder_blobs *f = of(b);
    return syncfs(f->root) ? failed(f, "sync", "the folder", errno, why) : OK;
}

/* ---- pointers ---- */

/* Makes `key` a link to `to` by a rename, whatever stood there. 0 or errno. */
static int link_to(struct folder_blobs *f, const char *to, const char *key) {
    char name[NAME_BYTES];
    temporary_name(f, name);
    if (symlinkat(to, f->temporary, name)) return errno;
    int error = place(f, name, key);
    if (error) unlinkat(f->temporary, name, 0);
    return error;
}

static bool links_to(const struct folder_blobs *f, const char *key, const char *to) {
    char there[BLOB_KEY_BYTES];
    ssize_t n = readlinkat(f->root, key, there, sizeof there);
    return n >= 0 && str_is((struct str){there, (size_t)n}, to);
}

/* The three links. Those that are not there come before `current` changes, so that they appear
 * together; files that somebody put in their place make way after. */
static int link_parts(struct folder_blobs *f, const char *tenant, bool replace) {
    char key[BLOB_KEY_BYTES], to[NAME_BYTES];
    for (int i = 0; i < BLOB_PARTS; i++) {
        snprintf(key, sizeof key, "tenants/%s/%s", tenant, blob_parts[i]);
        snprintf(to, sizeof to, "current/%s", blob_parts[i]);
        if (links_to(f, key, to)) continue;
        int error = symlinkat(to, f->root, key) ? errno : 0;
        if (error == EEXIST) error = replace ? link_to(f, to, key) : 0;
        if (error) return error;
    }
    return 0;
}

static enum err point_one(struct folder_blobs *f, const char *tenant, const char *version,
                          char *why) {
    char key[BLOB_KEY_BYTES * 2], to[BLOB_KEY_BYTES + NAME_BYTES];
    struct stat st;
    snprintf(key, sizeof key, "tenants/%s/versions/%s/%s", tenant, version, blob_parts[0]);
    if (fstatat(f->root, key, &st, 0)) {
        if (errno != ENOENT) return failed(f, "look at", key, errno, why);
        snprintf(why, BLOB_WHY_BYTES, "blob store %s: %.200s/%.200s is not there", f->path, tenant,
                 version);
        return ERR_NOT_FOUND;
    }
    snprintf(key, sizeof key, "tenants/%s/current", tenant);
    snprintf(to, sizeof to, "versions/%s", version);
    int error = link_parts(f, tenant, false);
    if (!error && !links_to(f, key, to)) error = link_to(f, to, key);
    if (!error) error = link_parts(f, tenant, true);
    return error ? failed(f, "write", key, error, why) : OK;
}

/* The three links stay, and lead nowhere: like files that are not there. */
static enum err unpoint_one(struct folder_blobs *f, const char *tenant, char *why) {
    char key[BLOB_KEY_BYTES];
    snprintf(key, sizeof key, "tenants/%s/current", tenant);
    if (unlinkat(f->root, key, 0) == 0 || errno == ENOENT || errno == ENOTDIR) return OK;
    return failed(f, "delete", key, errno, why);
}

static void file_point(struct blobs *b, struct blob_pointer *items, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        char tenant[BLOB_KEY_BYTES], version[BLOB_KEY_BYTES];
        struct blob_pointer *p = &items[i];
        if (p->err) continue;
        snprintf(tenant, sizeof tenant, "%.*s", STR_FMT(p->tenant));
        snprintf(version, sizeof version, "%.*s", STR_FMT(p->version));
        p->err = p->version.len ? point_one(of(b), tenant, version, p->why)
                                : unpoint_one(of(b), tenant, p->why);
    }
}

static const struct blob_driver file_driver = {.close = file_close,
                                               .put = file_put,
                                               .get = file_get,
                                               .has = file_has,
                                               .remove = file_remove,
                                               .sync = file_sync,
                                               .point = file_point};
