/* Blob stores: objects whole or not there, pointers that turn at once, names that cannot leave the
 * store.
 *
 * Without arguments: on a folder of its own. With REGENT_BLOBS=URL the same cases on that store (it
 * may be used by nobody else); with arguments `URL COMMAND …` one call, for
 * tests/control/test_blobs.py. */
#include "control/blob.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/regent-blob-XXXXXX", url[256], why[BLOB_WHY_BYTES];
static bool folder = true;
static struct blobs *B;

static struct blob_note note_of(const char *tenant, const char *version, int64_t serial) {
    return (struct blob_note){.tenant = str_of(tenant),
                              .version = str_of(version),
                              .timestamp_ms = 1700000000000,
                              .serial = serial,
                              .content_type = "application/gzip"};
}

static void put(const char *key, const char *text) {
    struct blob_note n = note_of("acme", "1-a", 0);
    enum err e = blobs_put(B, str_of(key), str_of(text), &n, why);
    if (e) print_error("%s\n", why);
    assert_int_equal(e, OK);
}

static void put_version(const char *tenant, const char *version) {
    char keys[3][256], texts[3][256];
    struct blob_note n = note_of(tenant, version, 0);
    struct blob_object objects[3];
    static const char *const parts[] = {"bundle.tar.gz", "policy.wasm", "policy.wasm.sha256"};
    for (int i = 0; i < 3; i++) {
        snprintf(keys[i], 256, "tenants/%s/versions/%s/%s", tenant, version, parts[i]);
        snprintf(texts[i], 256, "%s of %s", parts[i], version);
        objects[i] = (struct blob_object){str_of(keys[i]), str_of(texts[i]), &n};
    }
    assert_int_equal(blobs_put_all(B, objects, 3, why), OK);
}

static enum err point(const char *tenant, const char *version, int64_t serial) {
    struct blob_note n = note_of(tenant, version, serial);
    return blobs_point(B, str_of(tenant), str_of(version), STR("abc"), &n, why);
}

/* The object, or "-": it is not there. */
static const char *get(const char *key) {
    static char text[4096];
    struct buf b;
    buf_init(&b, sizeof text - 1);
    enum err e = blobs_get(B, str_of(key), &b, why);
    assert_true(e == OK || e == ERR_NOT_FOUND);
    snprintf(text, sizeof text, "%.*s", e ? 1 : (int)b.len, e ? "-" : (const char *)b.ptr);
    buf_deinit(&b);
    return text;
}

static bool has(const char *key) {
    bool there = false;
    assert_int_equal(blobs_has(B, str_of(key), &there, why), OK);
    return there;
}

static void objects(void **state) {
    (void)state;
    const char *key = "tenants/acme/versions/1-a/bundle.tar.gz";
    assert_string_equal(get(key), "-");
    assert_false(has(key));
    put(key, "one");
    assert_string_equal(get(key), "one");
    assert_true(has(key));
    assert_false(has("tenants/acme/versions/1-a"));
    put(key, "another");
    assert_string_equal(get(key), "another");
    put("tenants/acme/versions/1-a/empty", "");
    assert_string_equal(get("tenants/acme/versions/1-a/empty"), "");
    put("tenants/a~b@c:d+e-f_g.h/xy", "odd");
    assert_string_equal(get("tenants/a~b@c:d+e-f_g.h/xy"), "odd");
    assert_int_equal(blobs_sync(B, why), OK);
    assert_int_equal(blobs_delete(B, str_of(key), why), OK);
    assert_int_equal(blobs_delete(B, str_of(key), why), OK);
    assert_int_equal(blobs_delete(B, STR("tenants/none/versions/1/x"), why), OK);
    assert_string_equal(get(key), "-");
}

static void bounds(void **state) {
    (void)state;
    struct buf b;
    struct blob_note n = note_of("acme", "1-a", 0);
    char *large = calloc(1, 3 << 20);
    for (int i = 0; i < 3 << 20; i++) large[i] = (char)(i * 7 + i / 1000);
    assert_int_equal(blobs_put(B, STR("tenants/acme/large"), (struct str){large, 3 << 20}, &n, why),
                     OK);
    buf_init(&b, 3 << 20);
    assert_int_equal(blobs_get(B, STR("tenants/acme/large"), &b, why), OK);
    assert_int_equal(b.len, 3 << 20);
    assert_memory_equal(b.ptr, large, b.len);
    buf_deinit(&b);
    buf_init(&b, (3 << 20) - 1);
    assert_int_equal(blobs_get(B, STR("tenants/acme/large"), &b, why), ERR_LIMIT);
    buf_deinit(&b);
    assert_int_equal(
        blobs_put(B, STR("tenants/acme/x"), (struct str){large, BLOB_OBJECT_BYTES + 1}, &n, why),
        ERR_LIMIT);
    assert_int_equal(blobs_delete(B, STR("tenants/acme/large"), why), OK);
    free(large);
}

static void wrong_names(void **state) {
    (void)state;
    static const char *const keys[] = {
        "",
        "tenants",
        "tenants/",
        "tenants//x",
        "other/x",
        "/tenants/a/x",
        "tenants/../../etc/x",
        "tenants/a/../b",
        "tenants/./x",
        "tenants/a/.hidden",
        "tenants/a/x/",
        "tenants/a\\b",
        "tenants/a\nb",
        "tenants/a\x7f",
        "tenants/a?x",
        "tenants/a#x",
        "tenants/a%2e%2e/x",
        "tenants/a\"b",
        "tenants/.new/x",
    };
    struct blob_note n = note_of("acme", "1-a", 0);
    struct buf b;
    bool there;
    buf_init(&b, 100);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_int_equal(blobs_put(B, str_of(keys[i]), STR("x"), &n, why), ERR_INVALID);
        assert_int_equal(blobs_get(B, str_of(keys[i]), &b, why), ERR_INVALID);
        assert_int_equal(blobs_has(B, str_of(keys[i]), &there, why), ERR_INVALID);
        assert_int_equal(blobs_delete(B, str_of(keys[i]), why), ERR_INVALID);
    }
    assert_int_equal(blobs_put(B, (struct str){"tenants/a\0b", 11}, STR("x"), &n, why),
                     ERR_INVALID);
    char longest[1000];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "tenants/", 8);
    assert_int_equal(blobs_put(B, (struct str){longest, sizeof longest}, STR("x"), &n, why),
                     ERR_INVALID);
    assert_int_equal(point("..", "1-a", 1), ERR_INVALID);
    assert_int_equal(point("acme", "..", 1), ERR_INVALID);
    assert_int_equal(point("acme", "", 1), ERR_INVALID);
    assert_int_equal(point("a/b", "1-a", 1), ERR_INVALID);
    assert_int_equal(blobs_unpoint(B, STR("a/../b"), why), ERR_INVALID);
}

static void pointers(void **state) {
    (void)state;
    assert_string_equal(get("tenants/p/bundle.tar.gz"), "-");
    assert_int_equal(point("p", "1-a", 1), ERR_NOT_FOUND); /* no such version: nothing is changed */
    assert_string_equal(get("tenants/p/bundle.tar.gz"), "-");
    put_version("p", "1-a");
    put_version("p", "2-b");
    assert_string_equal(get("tenants/p/bundle.tar.gz"), "-");
    assert_int_equal(point("p", "1-a", 1), OK);
    assert_string_equal(get("tenants/p/bundle.tar.gz"), "bundle.tar.gz of 1-a");
    assert_string_equal(get("tenants/p/policy.wasm"), "policy.wasm of 1-a");
    assert_string_equal(get("tenants/p/policy.wasm.sha256"), "policy.wasm.sha256 of 1-a");
    assert_int_equal(point("p", "2-b", 2), OK);
    assert_int_equal(point("p", "2-b", 2), OK); /* again */
    assert_string_equal(get("tenants/p/policy.wasm"), "policy.wasm of 2-b");
    if (!folder)
        assert_string_equal(get("tenants/p/current.json"),
                            "{\"version\":\"2-b\",\"serial\":2,\"sha256\":\"abc\"}\n");
    assert_int_equal(point("p", "1-a", 3), OK);
    assert_string_equal(get("tenants/p/bundle.tar.gz"), "bundle.tar.gz of 1-a");
    assert_int_equal(point("p", "9-none", 4), ERR_NOT_FOUND);
    assert_string_equal(get("tenants/p/bundle.tar.gz"), "bundle.tar.gz of 1-a");
    assert_int_equal(blobs_unpoint(B, STR("p"), why), OK);
    assert_int_equal(blobs_unpoint(B, STR("p"), why), OK);
    assert_int_equal(blobs_unpoint(B, STR("never"), why), OK);
    assert_string_equal(get("tenants/p/bundle.tar.gz"), "-");
    assert_string_equal(get("tenants/p/versions/1-a/bundle.tar.gz"), "bundle.tar.gz of 1-a");
    assert_int_equal(point("p", "2-b", 5), OK);
    assert_string_equal(get("tenants/p/bundle.tar.gz"), "bundle.tar.gz of 2-b");
}

/* One failure among many is that one's alone. */
static void many_pointers(void **state) {
    enum { N = 40 };
    struct blob_pointer items[N];
    char names[N][16];
    (void)state;
    for (int i = 0; i < N; i++) {
        snprintf(names[i], 16, "m%d", i);
        if (i != 7) put_version(names[i], "1-x");
        items[i] = (struct blob_pointer){.tenant = str_of(names[i]),
                                         .version = STR("1-x"),
                                         .sha256 = STR("abc"),
                                         .note = note_of(names[i], "1-x", 1)};
    }
    items[9].version = STR("");
    items[11].tenant = STR("../x");
    blobs_point_all(B, items, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(items[i].err, i == 7 ? ERR_NOT_FOUND : i == 11 ? ERR_INVALID : OK);
    assert_string_equal(get("tenants/m8/policy.wasm"), "policy.wasm of 1-x");
    assert_string_equal(get("tenants/m9/policy.wasm"), "-");
}

/* Readers see one version or the other, whole. */
static atomic_bool stop;
static void *turn(void *arg) {
    (void)arg;
    char reason[BLOB_WHY_BYTES];
    for (int i = 0; !atomic_load(&stop); i++) {
        struct blob_note n = note_of("turn", i % 2 ? "1-a" : "2-b", i + 1);
        if (blobs_point(B, STR("turn"), n.version, STR("abc"), &n, reason)) return (void *)1;
    }
    return NULL;
}

static void never_half(void **state) {
    pthread_t thread;
    void *failed;
    (void)state;
    put_version("turn", "1-a");
    put_version("turn", "2-b");
    assert_int_equal(point("turn", "1-a", 1), OK);
    pthread_create(&thread, NULL, turn, NULL);
    for (int i = 0; i < (folder ? 5000 : 100); i++) {
        const char *text = get("tenants/turn/bundle.tar.gz");
        assert_true(!strcmp(text, "bundle.tar.gz of 1-a") || !strcmp(text, "bundle.tar.gz of 2-b"));
    }
    atomic_store(&stop, true);
    pthread_join(thread, &failed);
    assert_null(failed);
}

/* ---- a folder only ---- */

static char *in(const char *name) {
    static char path[4][512];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], 512, "%s/b/%s", dir, name);
    return path[at];
}

static int count(const char *path) {
    DIR *d = opendir(path);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Web servers and edges see ordinary files; what somebody put in a pointer's place makes way. */
static void links(void **state) {
    char to[64] = "";
    (void)state;
    if (!folder) skip();
    put_version("l", "1-a");
    FILE *f = fopen(in("tenants/l/bundle.tar.gz"), "w");
    fputs("by hand", f);
    fclose(f);
    assert_int_equal(point("l", "1-a", 1), OK);
    assert_string_equal(get("tenants/l/bundle.tar.gz"), "bundle.tar.gz of 1-a");
    assert_int_equal(readlink(in("tenants/l/current"), to, sizeof to - 1), 12);
    assert_string_equal(to, "versions/1-a");
    memset(to, 0, sizeof to);
    assert_true(readlink(in("tenants/l/bundle.tar.gz"), to, sizeof to - 1) > 0);
    assert_string_equal(to, "current/bundle.tar.gz");
    assert_int_equal(blobs_delete(B, STR("tenants/l/versions/1-a/policy.wasm"), why), OK);
    assert_int_equal(access(in("tenants/l/versions/1-a"), F_OK), 0);
    assert_int_equal(blobs_delete(B, STR("tenants/l/versions/1-a/bundle.tar.gz"), why), OK);
    assert_int_equal(blobs_delete(B, STR("tenants/l/versions/1-a/policy.wasm.sha256"), why), OK);
    assert_int_not_equal(access(in("tenants/l/versions/1-a"), F_OK), 0); /* empty: gone */
}

/* A file size limit stands for a full disk: nothing half-done is left, and what was there stays. */
static void full(void **state) {
    char *bytes;
    struct blob_note n = note_of("full", "1-a", 0);
    struct rlimit old, small;
    (void)state;
    if (!folder) skip();
    bytes = calloc(1, 1 << 20);
    put("tenants/full/x", "before");
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 64 << 10;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    enum err a = blobs_put(B, STR("tenants/full/x"), (struct str){bytes, 1 << 20}, &n, why);
    assert_non_null(strstr(why, "tenants/full/x"));
    enum err b = blobs_put(B, STR("tenants/full/new"), (struct str){bytes, 1 << 20}, &n, why);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(a, ERR_LIMIT);
    assert_int_equal(b, ERR_LIMIT);
    assert_string_equal(get("tenants/full/x"), "before");
    assert_string_equal(get("tenants/full/new"), "-");
    assert_int_equal(blobs_put(B, STR("tenants/full/new"), (struct str){bytes, 1 << 20}, &n, why),
                     OK);
    free(bytes);
}

/* What a killed process was writing goes when the next one opens the store; what a living one is
 * writing stays. */
static void left_behind(void **state) {
    (void)state;
    if (!folder) skip();
    assert_int_equal(count(in(".new")), 1);
    pid_t child = fork();
    if (child == 0) {
        struct blobs *other;
        if (blobs_open(url, &other, why)) _exit(1);
        DIR *d = opendir(in(".new"));
        for (struct dirent *e; (e = readdir(d));) {
            char name[512];
            if (e->d_name[0] == '.') continue;
            snprintf(name, sizeof name, "%s/%s/77", in(".new"), e->d_name);
            close(open(name, O_CREAT | O_WRONLY, 0600));
        }
        _exit(0); /* as if killed */
    }
    int status = 1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(count(in(".new")), 2);
    struct blobs *next;
    assert_int_equal(blobs_open(url, &next, why), OK);
    assert_int_equal(count(in(".new")), 2); /* ours and the next one's */
    blobs_close(next);
    assert_int_equal(count(in(".new")), 1);
    put("tenants/acme/after", "x");
    assert_string_equal(get("tenants/acme/after"), "x");
}

static void wrong_urls(void **state) {
    static const char *const urls[] = {
        "",
        "dir:",
        "file:/tmp/x",
        "/tmp/x",
        "s3://",
        "s3://ab",
        "s3://a b c/x",
        "s3://bucket/x?endpoint=ftp://x",
        "s3://bucket/x?endpoint=https://a@b",
        "s3://bucket/x?region=EU%20",
        "s3://bucket/x?path_style=maybe",
        "s3://bucket/x?other=1",
        "s3://bucket/x?endpoint=%zz",
        "s3://bucket/x?timeout_ms=0",
        "s3://bucket//x?timeout_ms=10",
        "dir:/proc/none/x",
        "dir:/dev/null",
    };
    struct blobs *b = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        *why = 0;
        assert_int_not_equal(blobs_open(urls[i], &b, why), OK);
        assert_true(*why);
        assert_null(b);
    }
}

/* ---- one call, for scripts ---- */

static enum err command(char **arg) {
    struct buf b;
    struct blob_note n = note_of(arg[1] ? arg[1] : "", "1-a", 7);
    enum err e = ERR_INVALID;
    bool there = false;
    buf_init(&b, BLOB_OBJECT_BYTES);
    if (!arg[0])
        e = OK;
    else if (!strcmp(arg[0], "put")) {
        e = buf_read_file(&b, arg[2]);
        if (!e) e = blobs_put(B, str_of(arg[1]), buf_view(&b), &n, why);
    } else if (!strcmp(arg[0], "get")) {
        e = blobs_get(B, str_of(arg[1]), &b, why);
        if (!e) fwrite(b.ptr, 1, b.len, stdout);
    } else if (!strcmp(arg[0], "has")) {
        e = blobs_has(B, str_of(arg[1]), &there, why);
        if (!e) puts(there ? "yes" : "no");
    } else if (!strcmp(arg[0], "point")) {
        n.version = str_of(arg[2]);
        e = blobs_point(B, str_of(arg[1]), str_of(arg[2]), STR("abc"), &n, why);
    } else if (!strcmp(arg[0], "versions")) { /* versions FIRST N: tenants tFIRST … with version
                                                 1-a, and pointers */
        int first = atoi(arg[1]), many = atoi(arg[2]);
        struct blob_pointer *items = calloc((size_t)many, sizeof *items);
        char(*names)[16] = calloc((size_t)many, sizeof *names);
        for (int i = 0; i < many; i++) {
            snprintf(names[i], 16, "t%d", first + i);
            put_version(names[i], "1-a");
            items[i] = (struct blob_pointer){.tenant = str_of(names[i]),
                                             .version = STR("1-a"),
                                             .sha256 = STR("abc"),
                                             .note = note_of(names[i], "1-a", 1)};
        }
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        blobs_point_all(B, items, (uint32_t)many);
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("%.3f\n",
               (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
        e = OK;
        for (int i = 0; i < many && !e; i++)
            if ((e = items[i].err)) snprintf(why, sizeof why, "%s", items[i].why);
        free(items), free(names);
    }
    buf_deinit(&b);
    return e;
}

static int script(char **arg) {
    enum err e = blobs_open(arg[0], &B, why);
    if (!e) e = command(arg + 1);
    if (e) fprintf(stderr, "%s: %s\n", err_word(e), why);
    blobs_close(B);
    return e ? 1 : 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects),       cmocka_unit_test(bounds),
        cmocka_unit_test(wrong_names),   cmocka_unit_test(pointers),
        cmocka_unit_test(many_pointers), cmocka_unit_test(never_half),
        cmocka_unit_test(links),         cmocka_unit_test(full),
        cmocka_unit_test(left_behind),   cmocka_unit_test(wrong_urls),
    };
    if (argc > 1) return script(argv + 1);
    if (!mkdtemp(dir)) return 1;
    snprintf(url, sizeof url, "dir:%s/b", dir);
    folder = !getenv("REGENT_BLOBS");
    if (blobs_open(folder ? url : getenv("REGENT_BLOBS"), &B, why)) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    blobs_close(B);
    char clean[128];
    snprintf(clean, sizeof clean, "rm -r %s", dir);
    if (system(clean)) failed++;
    return failed;
}
