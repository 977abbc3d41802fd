/* The store of last known good versions: what was put is there after a restart, whole or not at
 * all, whichever write, sync or rename fails; what was changed behind its back is refused. in: a
 * folder in /tmp. out: cmocka results. */
#include "edge/store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WHY_BYTES = 512, MANY = 5000 };

static char dir[64], why[WHY_BYTES];
static const struct log quiet = {.fd = 2, .level = LOG_ERROR + 1};
static struct arena A;

/* ---- calls that fail: these stand before the C library's ---- */

static _Atomic int calls, fail_at, fail_errno; /* the fail_at-th call fails; 0: none */
static _Atomic bool fail_after;                /* and all behind it */

static bool fails(void) {
    int n = ++calls;
    bool now = fail_at && (n == fail_at || (fail_after && n > fail_at));
    if (now) errno = fail_errno;
    return now;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    if (fd > 2 && fails()) { /* part of it, then nothing more */
        if (n > 1 && fail_errno == ENOSPC)
            return syscall(SYS_write, fd, bytes, n / 2) < 0 ? -1 : -1;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, n);
}
int rename(const char *from, const char *to) {
    return fails() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int fsync(int fd) { return fails() ? -1 : (int)syscall(SYS_fsync, fd); }
int syncfs(int fd) { return fails() ? -1 : (int)syscall(SYS_syncfs, fd); }
int mkdir(const char *path, mode_t mode) {
    return fails() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

static void break_at(int at, int error, bool after) {
    calls = 0;
    fail_errno = error;
    fail_after = after;
    fail_at = at;
}

/* ---- helpers ---- */

static int setup(void **state) {
    (void)state;
    break_at(0, 0, false);
    snprintf(dir, sizeof dir, "/tmp/regent-store-XXXXXX");
    arena_init(&A, 1 << 24);
    return mkdtemp(dir) ? 0 : -1;
}
static int teardown(void **state) {
    char command[128];
    (void)state;
    break_at(0, 0, false);
    arena_deinit(&A);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static enum err try_open(struct store **out, uint32_t keep) {
    struct store_options o = {.directory = dir, .keep = keep, .log = &quiet};
    return store_open(&o, out, why, sizeof why);
}

static struct store *opened(void) {
    struct store *s = NULL;
    enum err e = try_open(&s, 3);
    if (e) print_message("%s\n", why);
    assert_int_equal(e, OK);
    return s;
}

static enum err put(struct store *s, const char *tenant, const char *version, const char *bytes,
                    uint64_t serial) {
    struct stored v = {.version = str_of(version),
                       .from = STR("cdn"),
                       .sha256 = STR("ab12"),
                       .serial = serial,
                       .stored_ns = 5};
    return store_put(s, str_of(tenant), &v, str_of(bytes), why, sizeof why);
}

static enum err live(struct store *s, const char *tenant, const char *version, const char *bytes) {
    enum err e = put(s, tenant, version, bytes, 0);
    return e ? e : store_activate(s, str_of(tenant), str_of(version));
}

static struct store_tenant of(struct store *s, const char *tenant) {
    struct store_tenant t;
    assert_int_equal(store_tenant(s, &A, str_of(tenant), &t), OK);
    return t;
}

static const char *active(struct store *s, const char *tenant) {
    struct store_tenant t = of(s, tenant);
    return t.active < 0 ? ""
                        : arena_strndup(&A, t.versions[t.active].version.ptr,
                                        t.versions[t.active].version.len);
}

/* A version's bytes, or the error's word. */
static const char *bytes_of(struct store *s, const char *tenant, const char *version) {
    struct buf b;
    buf_init(&b, 1 << 20);
    enum err e = store_read(s, str_of(tenant), str_of(version), &b, why, sizeof why);
    const char *text = e ? err_word(e) : arena_strndup(&A, (char *)b.ptr, b.len);
    buf_deinit(&b);
    return text;
}

static char *in(const char *format, ...) {
    static char path[4096];
    va_list args;
    int n = snprintf(path, sizeof path, "%s/", dir);
    va_start(args, format);
    vsnprintf(path + n, sizeof path - (size_t)n, format, args);
    va_end(args);
    return path;
}

static void flip(const char *path, long at) {
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* ---- tests ---- */

static void comes_back(void **state) {
    (void)state;
    static const char *const ids[] = {"acme", "a.b c%d\xff\n", "\xc3\xa9", "~x", "..", "A", "a"};
    struct store *s = opened();
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        assert_int_equal(put(s, ids[i], "v1", ids[i], 7), OK);
        assert_string_equal(active(s, ids[i]), "");
        assert_int_equal(store_activate(s, str_of(ids[i]), STR("v1")), OK);
    }
    char longest[128];
    memset(longest, '%', 127);
    longest[127] = 0;
    assert_int_equal(live(s, longest, "v1", "long"), OK);
    store_close(s);
    s = opened();
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct store_tenant t = of(s, ids[i]);
        assert_int_equal(t.n, 1);
        assert_true(t.active == 0 && t.pinned == -1 && t.highest_serial == 7);
        assert_true(str_is(t.versions[0].from, "cdn") && str_is(t.versions[0].sha256, "ab12"));
        assert_true(t.versions[0].serial == 7 && t.versions[0].stored_ns == 5);
        assert_string_equal(bytes_of(s, ids[i], "v1"), ids[i]);
    }
    assert_string_equal(bytes_of(s, longest, "v1"), "long");
    assert_string_equal(bytes_of(s, "acme", "v2"), "not_found");
    assert_string_equal(bytes_of(s, "nobody", "v1"), "not_found");
    assert_int_equal(of(s, "nobody").n, 0);
    store_close(s);
}

static void keeps_some(void **state) {
    (void)state;
    char name[8];
    struct store *s = opened();
    for (int i = 1; i <= 9; i++) {
        snprintf(name, sizeof name, "v%d", i);
        assert_int_equal(live(s, "acme", name, name), OK);
        if (i == 2) assert_int_equal(store_pin(s, STR("acme"), STR("v2")), OK);
    }
    struct store_tenant t = of(s, "acme");
    assert_int_equal(t.n, 3);
    assert_true(str_is(t.versions[0].version, "v9") && str_is(t.versions[1].version, "v8") &&
                str_is(t.versions[2].version, "v2"));
    assert_true(t.active == 0 && t.pinned == 2);
    assert_int_equal(store_activate(s, STR("acme"), STR("v8")), OK); /* back */
    assert_int_equal(store_activate(s, STR("acme"), STR("v7")), ERR_NOT_FOUND);
    assert_int_equal(store_pin(s, STR("acme"), STR("v7")), ERR_NOT_FOUND);
    assert_int_equal(store_sync(s), OK);
    assert_int_equal(access(in("tenants/acme/1.bundle"), F_OK), -1);
    assert_int_equal(access(in("tenants/acme/7.bundle"), F_OK), -1);
    assert_int_equal(access(in("tenants/acme/9.bundle"), F_OK), 0);
    store_close(s);
    s = opened();
    assert_string_equal(active(s, "acme"), "v8");
    assert_int_equal(of(s, "acme").pinned, 2);
    assert_int_equal(store_pin(s, STR("acme"), STR("")), OK);
    assert_int_equal(live(s, "acme", "w", "w"), OK);
    assert_int_equal(of(s, "acme").n, 3);
    assert_string_equal(bytes_of(s, "acme", "v2"), "not_found");
    assert_int_equal(store_remove(s, STR("acme")), OK);
    assert_int_equal(store_remove(s, STR("nobody")), OK);
    assert_int_equal(of(s, "acme").n, 0);
    store_close(s);
    assert_int_equal(access(in("tenants/acme"), F_OK), -1);
    s = opened();
    assert_int_equal(of(s, "acme").n, 0);
    assert_int_equal(live(s, "acme", "v1", "again"), OK);
    assert_string_equal(bytes_of(s, "acme", "v1"), "again");
    store_close(s);
}

/* A source may give one name to several versions. */
static void same_name(void **state) {
    (void)state;
    struct store *s = opened();
    assert_int_equal(live(s, "acme", "latest", "one"), OK);
    uint64_t written = atomic_load(&s->bytes_written);
    assert_int_equal(live(s, "acme", "latest", "one"), OK);
    assert_int_equal(atomic_load(&s->bytes_written), written);
    assert_int_equal(put(s, "acme", "latest", "two", 0), OK);
    assert_string_equal(bytes_of(s, "acme", "latest"), "one"); /* what a restart would serve */
    store_close(s);
    s = opened();
    assert_string_equal(bytes_of(s, "acme", "latest"), "one");
    assert_int_equal(store_activate(s, STR("acme"), STR("latest")), OK);
    assert_string_equal(bytes_of(s, "acme", "latest"), "two");
    assert_int_equal(of(s, "acme").n, 1);
    assert_int_equal(put(s, "acme", "latest", "two", 44), OK);
    assert_int_equal(of(s, "acme").highest_serial, 44);
    store_close(s);
}

static void one_node_alone(void **state) {
    (void)state;
    struct store *s = opened(), *second = NULL;
    assert_int_equal(try_open(&second, 3), ERR_IO);
    assert_non_null(strstr(why, "another node (process "));
    store_close(s);
    store_close(opened());
    assert_int_equal(chmod(in("node.key"), 0644), 0);
    assert_int_equal(try_open(&second, 3), ERR_IO);
    assert_non_null(strstr(why, "node.key is no key"));
    snprintf(dir + strlen(dir), sizeof dir - strlen(dir), "/no/way");
    assert_int_equal(try_open(&second, 3), ERR_IO);
    assert_non_null(strstr(why, "cannot make"));
    *strstr(dir, "/no/way") = 0;
    store_close(NULL);
}

/* A new node takes over: it reads at once, and writes when the old one has left. */
static void taken_over(void **state) {
    (void)state;
    struct store *old = opened(), *new = NULL;
    struct store_options o = {.directory = dir, .keep = 3, .beside = true, .log = &quiet};
    assert_int_equal(live(old, "acme", "v1", "one"), OK);
    assert_int_equal(live(old, "gone", "v1", "one"), OK);
    assert_int_equal(store_open(&o, &new, why, sizeof why), OK);
    assert_string_equal(bytes_of(new, "acme", "v1"), "one");
    assert_int_equal(live(new, "acme", "v3", "three"), OK);
    assert_int_equal(live(new, "mine", "v1", "new"), OK);
    assert_int_equal(store_pin(new, STR("mine"), STR("v1")), OK);
    assert_int_equal(store_remove(new, STR("gone")), OK);
    assert_int_equal(live(old, "acme", "v2", "two"), OK);
    assert_int_equal(live(old, "late", "v1", "late"), OK);
    assert_string_equal(bytes_of(new, "late", "v1"), "not_found");
    store_leave(old);
    assert_int_equal(live(old, "acme", "v9", "nine"), OK); /* not any more */
    for (int i = 0; i < 500 && atomic_load(&new->guest); i++) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_false(atomic_load(&new->guest));
    store_close(old);
    assert_string_equal(active(new, "acme"), "v3");
    assert_int_equal(of(new, "acme").n, 3);
    assert_string_equal(bytes_of(new, "acme", "v2"), "two");
    assert_string_equal(bytes_of(new, "late", "v1"), "late");
    assert_int_equal(of(new, "gone").n, 0);
    assert_int_equal(live(new, "acme", "v4", "four"), OK);
    store_close(new);
    new = opened();
    assert_string_equal(active(new, "acme"), "v4");
    assert_int_equal(of(new, "mine").pinned, 0);
    assert_string_equal(active(new, "late"), "v1");
    store_close(new);
}

static void damage(void **state) {
    (void)state;
    struct store *s = opened();
    assert_int_equal(live(s, "acme", "v1", "one"), OK);
    assert_int_equal(live(s, "acme", "v2", "two"), OK);
    assert_int_equal(live(s, "other", "v1", "three"), OK);
    store_close(s);
    /* Two versions' files changed places, one is cut, one is gone. */
    char from[4096], to[4096];
    snprintf(from, sizeof from, "%s", in("tenants/acme/1.bundle"));
    snprintf(to, sizeof to, "%s", in("tenants/acme/2.bundle"));
    assert_int_equal(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 2 /* RENAME_EXCHANGE */),
                     0);
    s = opened();
    assert_string_equal(bytes_of(s, "acme", "v1"), "invalid");
    assert_non_null(strstr(why, "1.bundle is not what was stored there"));
    assert_string_equal(bytes_of(s, "acme", "v2"), "invalid");
    assert_string_equal(bytes_of(s, "other", "v1"), "three");
    assert_int_equal(truncate(in("tenants/other/1.bundle"), 2), 0);
    assert_string_equal(bytes_of(s, "other", "v1"), "invalid");
    assert_int_equal(unlink(in("tenants/other/1.bundle")), 0);
    assert_string_equal(bytes_of(s, "other", "v1"), "io");
    assert_int_equal(live(s, "other", "v1", "three"), OK); /* brought again, it is written again */
    assert_string_equal(bytes_of(s, "other", "v1"), "three");
    assert_int_equal(live(s, "other", "v2", "four"), OK);
    assert_string_equal(bytes_of(s, "other", "v2"), "four");
    store_close(s);
    /* A tenant's folder under another tenant's name. */
    snprintf(from, sizeof from, "%s", in("tenants/other"));
    snprintf(to, sizeof to, "%s", in("tenants/third"));
    assert_int_equal(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), 0);
    s = opened();
    assert_int_equal(of(s, "third").n, 0);
    assert_int_equal(of(s, "other").n, 0);
    assert_int_equal(of(s, "acme").n, 2);
    store_close(s);
}

/* Every byte of the newer record: the one before holds. */
static void damaged_records(void **state) {
    (void)state;
    struct stat st;
    struct store *s = opened();
    assert_int_equal(live(s, "acme", "v1", "one"), OK);
    assert_int_equal(store_sync(s), OK);
    assert_int_equal(live(s, "acme", "v2", "two"), OK);
    assert_int_equal(store_sync(s), OK);
    store_close(s);
    char path[4096];
    snprintf(path, sizeof path, "%s", in("tenants/acme/record.1"));
    assert_int_equal(stat(path, &st), 0);
    for (long at = 0; at < st.st_size; at += 3) {
        flip(path, at);
        s = opened();
        assert_string_equal(active(s, "acme"), "v1");
        assert_string_equal(bytes_of(s, "acme", "v1"), "one");
        store_close(s);
        flip(path, at);
    }
    s = opened();
    assert_string_equal(active(s, "acme"), "v2");
    store_close(s);
    assert_int_equal(truncate(path, st.st_size / 2), 0);
    s = opened();
    assert_string_equal(active(s, "acme"), "v1");
    assert_int_equal(live(s, "acme", "v3", "three"), OK); /* and it goes on from there */
    store_close(s);
    s = opened();
    assert_string_equal(active(s, "acme"), "v3");
    store_close(s);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(truncate(in("tenants/acme/record.0"), 0), 0);
    s = opened();
    assert_int_equal(of(s, "acme").n, 0);
    assert_int_equal(live(s, "acme", "v4", "four"), OK);
    store_close(s);
    s = opened();
    assert_string_equal(bytes_of(s, "acme", "v4"), "four");
    store_close(s);
}

/* Each n-th call fails, once or from then on: what was acknowledged before is there after a
 * restart, and whatever the record names is whole. */
static void failing_calls(void **state) {
    (void)state;
    static const int errors[] = {ENOSPC, EIO};
    for (int mode = 0; mode < 4; mode++)
        for (int at = 1; at < 40; at++) {
            char name[16], last[16] = "";
            struct store *s = opened();
            assert_int_equal(store_remove(s, STR("acme")), OK);
            break_at(at, errors[mode & 1], mode & 2);
            for (int i = 0; i < 5; i++) {
                snprintf(name, sizeof name, "v%d", i);
                if (live(s, "acme", name, name) == OK) snprintf(last, sizeof last, "%s", name);
                if (last[0]) assert_string_equal(active(s, "acme"), last);
                if (i == 2 && last[0]) (void)!store_pin(s, STR("acme"), str_of(last));
            }
            if (mode & 2) store_close(s); /* and the node ends while its disk is full */
            break_at(0, 0, false);
            if (!(mode & 2)) store_close(s);
            s = opened();
            assert_string_equal(active(s, "acme"), last);
            struct store_tenant t = of(s, "acme");
            for (uint32_t i = 0; i < t.n; i++) {
                snprintf(name, sizeof name, "%.*s", STR_FMT(t.versions[i].version));
                assert_string_equal(bytes_of(s, "acme", name), name);
            }
            assert_int_equal(live(s, "acme", "fine", "again"), OK);
            assert_string_equal(bytes_of(s, "acme", "fine"), "again");
            store_close(s);
        }
}

/* Killed at any moment: the child says what was acknowledged. */
static void killed(void **state) {
    (void)state;
    uint32_t last = 0, seen = 0;
    for (int round = 0; round < 25; round++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            char name[16];
            struct store *s = NULL;
            if (try_open(&s, 3)) _exit(1);
            for (uint32_t i = last + 1;; i++) {
                snprintf(name, sizeof name, "%u", i);
                if (live(s, "acme", name, name) ||
                    syscall(SYS_write, pipes[1], &i, sizeof i) != sizeof i)
                    _exit(2);
            }
        }
        close(pipes[1]);
        nanosleep(&(struct timespec){.tv_nsec = 1000000l * (1 + round * 7 % 60)}, NULL);
        kill(child, SIGKILL);
        while (read(pipes[0], &last, sizeof last) == sizeof last) seen++;
        close(pipes[0]);
        waitpid(child, NULL, 0);
        struct store *s = opened();
        const char *now = active(s, "acme");
        uint32_t is = (uint32_t)strtoul(now, NULL, 10);
        if (is < last) print_message("round %d: %s, acknowledged %u\n", round, now, last);
        assert_true(is >= last && is <= last + 1);
        if (is) assert_string_equal(bytes_of(s, "acme", now), now);
        last = is;
        store_close(s);
    }
    assert_true(seen > 25);
}

static void count(void *ctx, struct str id) {
    (void)id;
    ++*(uint32_t *)ctx;
}

/* Tenants by the thousand: storing them takes no minutes, finding them again no second. */
static void many(void **state) {
    (void)state;
    char name[32];
    struct timespec t[4];
    uint32_t n = 0;
    struct store *s = opened();
    clock_gettime(CLOCK_MONOTONIC, &t[0]);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "tenant-%d", i);
        assert_int_equal(live(s, name, "v1", name), OK);
    }
    clock_gettime(CLOCK_MONOTONIC, &t[1]);
    store_close(s);
    clock_gettime(CLOCK_MONOTONIC, &t[2]);
    clock_t cpu = clock();
    s = opened();
    store_each(s, count, &n);
    assert_int_equal(n, MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "tenant-%d", i);
        assert_string_equal(bytes_of(s, name, "v1"), name);
    }
    cpu = clock() - cpu;
    clock_gettime(CLOCK_MONOTONIC, &t[3]);
    for (int i = 0; i < 3; i++)
        t[i].tv_sec =
            (t[i + 1].tv_sec - t[i].tv_sec) * 1000 + (t[i + 1].tv_nsec - t[i].tv_nsec) / 1000000;
    print_message("%d tenants: stored in %ld ms, closed in %ld ms, read in %ld ms (%ld ms of "
                  "processor time)\n",
                  MANY, (long)t[0].tv_sec, (long)t[1].tv_sec, (long)t[2].tv_sec,
                  (long)(cpu * 1000 / CLOCKS_PER_SEC));
    assert_true(t[0].tv_sec < 60000 && cpu < 10 * CLOCKS_PER_SEC);
    store_close(s);
}

static void leftovers(void **state) {
    (void)state;
    struct store *s = opened();
    assert_int_equal(live(s, "acme", "v1", "one"), OK);
    store_close(s);
    static const char *const files[] = {"tmp/7", "tenants/acme/99.bundle"};
    for (int i = 0; i < 2; i++) close(open(in("%s", files[i]), O_CREAT | O_WRONLY, 0600));
    assert_int_equal(syscall(SYS_mkdirat, AT_FDCWD, in("tmp/8"), 0700), 0);
    close(open(in("tmp/8/record.0"), O_CREAT | O_WRONLY, 0600));
    s = opened();
    assert_int_equal(access(in("tmp/7"), F_OK), -1);
    assert_int_equal(access(in("tmp/8"), F_OK), -1);
    assert_int_equal(live(s, "acme", "v2", "two"), OK);
    assert_int_equal(access(in("tenants/acme/99.bundle"), F_OK), -1);
    assert_string_equal(bytes_of(s, "acme", "v1"), "one");
    struct buf metrics;
    buf_init(&metrics, 4096);
    store_metrics(s, &metrics);
    buf_byte(&metrics, 0);
    assert_non_null(strstr((char *)metrics.ptr, "\nregent_store_errors_total 0\n"));
    assert_non_null(strstr((char *)metrics.ptr, "\nregent_store_versions 2\n"));
    buf_deinit(&metrics);
    store_close(s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(comes_back),      T(keeps_some),    T(same_name), T(one_node_alone), T(taken_over), T(damage),
        T(damaged_records), T(failing_calls), T(killed),    T(many),           T(leftovers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
