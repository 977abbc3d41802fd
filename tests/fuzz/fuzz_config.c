/* Fuzzes edge.yaml: any bytes as a configuration file, or as a value of the environment, give a configuration that can be
 * printed, or problems with their places. in: libFuzzer's bytes; the first chooses. out: crashes only. owns: an arena and a
 * file in memory an input. Build: tests/fuzz/run.sh. */
#include "edge/config.h"
#include "host/builtins/builtin.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 1 << 15, VALUE = 3 };

/* The table of builtins is not linked in; only its errors are called for. */
enum err builtin_fail(struct builtin_call *c, const char *format, ...) {
    c->error = format;
    return OK;
}

static void law(bool holds) {
    if (!holds) abort();
}

static void check_config(const struct edge_config *c) {
    struct buf out;
    struct json *v;
    struct arena a;
    law(c->tenant_from.n > 0 && c->listeners.n > 0 && c->directory && c->body_bytes && c->queue_wait_us);
    for (uint32_t i = 0; i < c->listeners.n; i++) {
        law(c->listeners.items[i].doors && c->listeners.items[i].address);
        law(!c->listeners.items[i].certificate == !c->listeners.items[i].key);
    }
    struct tenant_limits l = edge_config_limits(c, STR("acme"), (struct tenant_limits){.deadline_us = 7});
    law(l.deadline_us && l.deadline_us <= 7);
    buf_init(&out, 64 << 20);
    arena_init(&a, 256 << 20);
    edge_config_print(c, &out);
    law(!out.err && json_parse(&a, buf_view(&out), &v, NULL) == OK);
    arena_deinit(&a);
    buf_deinit(&out);
}

static void check_problems(const struct diag_list *diags, enum err e) {
    law(e == ERR_DIAG || e == ERR_MEMORY);
    law(e != ERR_DIAG || diags->n > 0);
    for (uint32_t i = 0; i < diags->n; i++) law(diags->items[i].message.len > 0 && diags->items[i].loc.file.len > 0);
}

static void load(const char *path, char *const *environment) {
    struct arena a;
    struct edge_config c;
    struct diag_list diags;
    arena_init(&a, EDGE_CONFIG_ARENA_BYTES);
    diag_list_init(&diags, &a);
    edge_config_init(&c, &a);
    enum err e = edge_config_read(path, environment, &c, &diags);
    if (e)
        check_problems(&diags, e);
    else
        check_config(&c);
    arena_deinit(&a);
}

/* NAME=VALUE lines on top of a configuration that is right. */
static void variables(const char *text, size_t len) {
    static char line[8][4200];
    char *list[9] = {NULL};
    size_t n = 0;
    while (len && n < 8) {
        const char *end = memchr(text, '\n', len);
        size_t part = end ? (size_t)(end - text) : len;
        snprintf(line[n], sizeof line[n], "REGENT_EDGE_%.*s", (int)(part < 4096 ? part : 4096), text);
        list[n] = line[n];
        n++;
        part += end != NULL;
        text += part;
        len -= part;
    }
    load("tests/fuzz/corpus/config/small", list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    if (size < 1 || size > MAX_INPUT) return 0;
    if ((data[0] & VALUE) == VALUE) {
        variables((const char *)data + 1, size - 1);
        return 0;
    }
    int fd = memfd_create("edge.yaml", MFD_CLOEXEC);
    law(fd >= 0 && write(fd, data, size) == (ssize_t)size); /* the first byte is the file's too: seeds are plain files */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    load(path, NULL);
    close(fd);
    return 0;
}
