/* Fuzzes a store that something happened to. in: libFuzzer's bytes: a record without its MAC, which
 * is parsed as it stands; then the same bytes as a record file and as a version's file in a real
 * store, which opens, finds nothing wrong in them, and goes on storing. out: crashes only. owns: a
 * folder in /tmp a process. Build: tests/fuzz/run.sh. */
#include "edge/store_private.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char dir[64];
static const struct log quiet = {.fd = 2, .level = LOG_ERROR + 1};

static void law(bool holds) {
    if (!holds) abort();
}

static struct store *opened(void) {
    struct store *s = NULL;
    char why[512];
    struct store_options o = {.directory = dir, .log = &quiet};
    law(store_open(&o, &s, why, sizeof why) == OK);
    return s;
}

static void live(struct store *s, const char *version) {
    char why[512];
    struct stored v = {.version = str_of(version), .from = STR("x"), .sha256 = STR("y")};
    law(store_put(s, STR("acme"), &v, str_of(version), why, sizeof why) == OK);
    law(store_activate(s, STR("acme"), str_of(version)) == OK);
}

static void overwrite(const char *name, const uint8_t *data, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/tenants/acme/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    law(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

static void clean(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    if (system(command)) abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    snprintf(dir, sizeof dir, "/tmp/regent-fuzz-XXXXXX");
    law(mkdtemp(dir) != NULL);
    atexit(clean);
    return 0;
}

static void parse(struct str bytes) {
    struct held h = {.slot = -1};
    enum err e = store_record_parse(bytes, &h);
    law(e == OK || e == ERR_INVALID || e == ERR_MEMORY);
    law(e || h.n <= STORE_MAX_VERSIONS);
    store_record_clear(&h);
    free((void *)h.id.ptr);
}

static void with_damage(const char *name, const uint8_t *data, size_t size) {
    struct store *s = opened();
    law(store_remove(s, STR("acme")) == OK);
    live(s, "v1");
    law(store_sync(s) == OK);
    live(s, "v2");
    store_close(s);
    overwrite(name, data, size);
    s = opened();
    char why[512];
    struct buf b;
    buf_init(&b, 1 << 20);
    if (store_read(s, STR("acme"), STR("v2"), &b, why, sizeof why) == OK)
        law(str_is(buf_view(&b), "v2"));
    buf_deinit(&b);
    live(s, "v3");
    store_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    parse((struct str){(const char *)data, size});
    if (size && data[0] == 1) with_damage("record.1", data + 1, size - 1);
    if (size && data[0] == 2) with_damage("2.bundle", data + 1, size - 1);
    return 0;
}
