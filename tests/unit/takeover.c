/* Sockets that go from one process to the next, both ends in one: what is given, dealt out, refused. in: loopback and
 * Unix sockets. out: TAP. owns: a folder, removed at the end. */
#include "edge/takeover.h"
#include "net/server.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { SERVERS = 3 };

static char folder[] = "/tmp/regent-takeover-XXXXXX", address[128], path[128];
static const struct log quiet = {.fd = -1};

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(address, sizeof address, "unix:%s/takeover.sock", folder);
    snprintf(path, sizeof path, "unix:%s/door.sock", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(address + 5);
    unlink(path + 5);
    return rmdir(folder);
}

static enum http_outcome nothing(void *ctx, const struct http_request *q, struct http_reply *r) {
    (void)ctx, (void)q, (void)r;
    return HTTP_REPLIED;
}

struct giver {
    struct server *servers[SERVERS];
    struct handover *handover;
    char tcp[64];
    pthread_t thread;
    _Atomic bool stop, given;
};

static void *give(void *ctx) {
    struct giver *g = ctx;
    while (!atomic_load(&g->stop) && !atomic_load(&g->given)) {
        if (handover_step(g->handover)) {
            handover_finish(g->handover);
            atomic_store(&g->given, true);
        }
        usleep(1000);
    }
    return NULL;
}

/* Three loops at a TCP address and a Unix socket, which they share. */
static void giver_up(struct giver *g) {
    int port = 0;
    const char *why = "";
    memset((void *)g, 0, sizeof *g);
    for (int i = 0; i < SERVERS; i++) {
        struct server_options options = {.handler = nothing};
        assert_int_equal(server_new(&options, &g->servers[i]), OK);
        struct listen_options tcp = {.address = i ? g->tcp : "127.0.0.1:0"};
        assert_int_equal(server_listen(g->servers[i], &tcp, &port, &why), OK);
        if (i == 0) { /* known by its port from here on */
            server_unlisten(g->servers[0], "127.0.0.1:0");
            snprintf(g->tcp, sizeof g->tcp, "127.0.0.1:%d", port);
            struct listen_options again = {.address = g->tcp};
            assert_int_equal(server_listen(g->servers[0], &again, NULL, &why), OK);
        }
        struct listen_options un = {.address = path, .accept_of = i ? g->servers[0] : NULL};
        assert_int_equal(server_listen(g->servers[i], &un, NULL, &why), OK);
    }
    char text[256] = "";
    struct handover_options o = {.address = address, .servers = g->servers, .n_servers = SERVERS, .log = &quiet};
    assert_int_equal(handover_new(&o, &g->handover, text, sizeof text), OK);
    assert_int_equal(pthread_create(&g->thread, NULL, give, g), 0);
}

static void giver_down(struct giver *g) {
    atomic_store(&g->stop, true);
    pthread_join(g->thread, NULL);
    handover_free(g->handover);
    for (int i = 0; i < SERVERS; i++) server_free(g->servers[i]);
}

static bool listens(int fd) {
    int yes = 0;
    socklen_t n = sizeof yes;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &n) == 0 && yes;
}

static void sockets_change_hands(void **state) {
    struct giver g;
    struct inherited in = {0};
    int channel = -1;
    char why[256] = "";
    (void)state;
    giver_up(&g);
    assert_int_equal(takeover_connect(address, &channel, why, sizeof why), OK);
    assert_int_equal(takeover_receive(channel, &in, why, sizeof why), OK);
    assert_int_equal(in.n, SERVERS + 1); /* one for each loop, and the shared one once */
    assert_true(inherited_has(&in, g.tcp));
    assert_true(inherited_has(&in, path));
    assert_false(inherited_has(&in, "127.0.0.1:1"));
    assert_true(inherited_shares(&in, g.tcp));
    assert_false(inherited_shares(&in, path));
    /* Two loops now: one gets two of the three. */
    int got[4] = {inherited_take(&in, g.tcp, 0, 2), inherited_take(&in, g.tcp, 0, 2), inherited_take(&in, g.tcp, 0, 2),
                  inherited_take(&in, g.tcp, 1, 2)};
    assert_true(got[0] >= 0 && got[1] >= 0 && got[2] == -1 && got[3] >= 0);
    assert_true(listens(got[0]) && listens(got[1]) && listens(got[3]));
    int un = inherited_take(&in, path, 0, 2);
    assert_true(un >= 0 && listens(un) && inherited_take(&in, path, 1, 2) == -1);
    assert_int_equal(takeover_ready(channel), OK);
    assert_true(atomic_load(&g.given));
    giver_down(&g);
    struct stat st;
    assert_int_equal(stat(path + 5, &st), 0); /* the socket's file is the new node's */
    assert_true(listens(got[0]) && listens(un));
    for (int i = 0; i < 4; i++)
        if (got[i] >= 0) close(got[i]);
    close(un);
    close(channel);
    inherited_deinit(&in);
}

static void who_goes_changes_nothing(void **state) {
    struct giver g;
    char why[256] = "";
    (void)state;
    giver_up(&g);
    for (int i = 0; i < 20; i++) {
        struct inherited in = {0};
        int channel = -1, second = -1;
        enum err e = takeover_connect(address, &channel, why, sizeof why);
        if (e) { /* the one before is not yet known to be gone */
            usleep(5000);
            continue;
        }
        if (i % 2) {
            assert_int_equal(takeover_receive(channel, &in, why, sizeof why), OK);
            assert_int_equal(takeover_connect(address, &second, why, sizeof why), ERR_IO);
            assert_non_null(strstr(why, "another node is at it"));
        }
        inherited_deinit(&in);
        close(channel);
    }
    assert_false(atomic_load(&g.given));
    giver_down(&g);
    struct stat st;
    assert_int_not_equal(stat(address + 5, &st), 0); /* who was not replaced cleans up */
    assert_int_not_equal(stat(path + 5, &st), 0);
    int channel;
    assert_int_equal(takeover_connect(address, &channel, why, sizeof why), ERR_NOT_FOUND);
    assert_int_equal(takeover_connect("unix:relative", &channel, why, sizeof why), ERR_INVALID);
}

static void addresses(void **state) {
    struct inherited_socket items[] = {{"0.0.0.0:8181", -1, true}, {"[::1]:9000", -1, false}, {"unix:@name", -1, false}};
    const struct inherited in = {items, 3, 3};
    (void)state;
    assert_true(inherited_has(&in, ":8181")); /* the same, written otherwise */
    assert_true(inherited_has(&in, "[0:0::1]:9000"));
    assert_true(inherited_has(&in, "unix:@name"));
    assert_false(inherited_has(&in, "127.0.0.1:8181"));
    assert_false(inherited_has(&in, "unix:name"));
    assert_false(inherited_has(&in, "nonsense"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_change_hands),
        cmocka_unit_test(who_goes_changes_nothing),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
