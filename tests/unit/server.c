/* The server core over HTTP/1.1: requests in order, deferral, tasks, listeners, stopping, and clients that mean ill. */
#include "net_server.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void pipelined(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int fd = client(n);
    say(fd, GET("/a") "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" GET("/listener") "GET /last HTTP/1.1\r\n"
            "Host: x\r\nConnection: close\r\n\r\n");
    const char *text = hear_end(fd);
    contains(text, "\r\n\r\nGET HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nPOST hiHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    contains(text, "Connection: close\r\n\r\nGET ");
    close(fd);
    node_down(n);
}

static void upgrade_is_ignored(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int fd = client(n);
    say(fd, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n");
    contains(hear(fd, "GET "), "HTTP/1.1 200 OK\r\n");
    say(fd, GET("/b"));
    contains(hear(fd, "GET "), "HTTP/1.1 200 OK\r\n");
    close(fd);
    node_down(n);
}

static void reply_headers(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int fd = client(n);
    say(fd, GET("/extra"));
    const char *text = hear(fd, "\r\n\r\n");
    contains(text, "\r\nX-Good: a b\r\nX-Many: v\r\n");
    lacks(text, "X-Evil");
    lacks(text, "X Bad");
    lacks(text, "Content-Length: 7");
    say(fd, GET("/204") GET("/x"));
    text = hear(fd, "GET ");
    lacks(text, "never sent");
    contains(text, "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n");
    close(fd);
    node_down(n);
}

static void bytes_in_headers(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int fd = client(n);
    say(fd, "GET /header HTTP/1.1\r\nHost: x\r\nX-Test: a\xff\xc3(\r\nConnection: close\r\n\r\n");
    contains(hear_end(fd), "\r\n\r\na\xff\xc3(");
    close(fd);
    node_down(n);
}

static void peer_of_tcp(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int fd = client(n);
    say(fd, GET("/peer"));
    contains(hear(fd, "127.0.0.1 000"), "127.0.0.1 000");
    close(fd);
    node_down(n);
}

/* ---- deferral ---- */

static void deferred_keeps_order(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int fd = client(n);
    bool ended;
    say(fd, "POST /later HTTP/1.1\r\nHost: x\r\nX-Test: kept\r\nContent-Length: 3\r\n\r\none" GET("/after") GET("/later2"));
    node_wait_later(n, 1);
    say(fd, GET("/third")); /* comes while nothing is read */
    assert_string_equal(hear_for(fd, "HTTP", 50, &ended), "");
    const struct http_request *q = http_pending_request(n->later[0]);
    assert_true(str_is(q->body, "one") && str_is(http_header_get(q, STR("x-test")), "kept") && str_is(q->path, "/later"));
    assert_false(http_pending_gone(n->later[0]));
    assert_int_equal(atomic_load(&n->calls), 1);
    node_release(n, 0);
    contains(hear(fd, "GET "), "\r\n\r\nPOST oneHTTP/1.1 200 OK");
    node_wait_later(n, 2);
    node_release(n, 1);
    hear(fd, "GET ");
    hear(fd, "GET ");
    assert_int_equal(atomic_load(&n->calls), 4);
    close(fd);
    node_down(n);
}

static void half_closed_gets_its_replies(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int fd = client(n);
    say(fd, GET("/a"));
    shutdown(fd, SHUT_WR);
    contains(hear_end(fd), "GET ");
    close(fd);
    fd = client(n);
    say(fd, GET("/later") GET("/b"));
    node_wait_later(n, 1);
    shutdown(fd, SHUT_WR);
    sleep_ms(50);
    node_release(n, 0);
    contains(hear_end(fd), "GET HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nGET ");
    close(fd);
    fd = client(n);
    say(fd, "GET /half HTT");
    shutdown(fd, SHUT_WR);
    assert_string_equal(hear_end(fd), "");
    close(fd);
    node_down(n);
}

static void reset(int fd) {
    struct linger l = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    close(fd);
}

static void client_goes_away(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int fd = client(n);
    say(fd, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none");
    node_wait_later(n, 1);
    reset(fd);
    for (uint64_t end = now_ms() + WAIT_MS; !http_pending_gone(n->later[0]); sleep_ms(2)) assert_true(now_ms() < end);
    assert_true(str_is(http_pending_request(n->later[0])->body, "one"));
    node_release(n, 0);
    fd = client(n);
    say(fd, GET("/still"));
    hear(fd, "GET ");
    close(fd);
    node_down(n);
}

/* Everything that can happen to a pending request while the server goes. */
static void stop_with_pending(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int a = client(n), b = client(n), idle = client(n);
    say(idle, GET("/x"));
    hear(idle, "GET ");
    say(a, GET("/later"));
    node_wait_later(n, 1);
    say(b, GET("/later"));
    node_wait_later(n, 2);
    server_stop(n->server);
    assert_string_equal(hear_end(idle), "");
    node_release(n, 0); /* within the time of grace: it is answered */
    contains(hear_end(a), "Connection: close\r\n\r\nGET ");
    uint64_t start = now_ms();
    pthread_join(n->thread, NULL); /* the other one holds it up for so long and no longer */
    n->runs = false;
    assert_in_range(now_ms() - start, 1000, 5000);
    assert_string_equal(hear_end(b), "");
    struct http_pending *left = n->later[1];
    node_down(n);
    assert_true(http_pending_gone(left) && str_is(http_pending_request(left)->path, "/later"));
    reply_later(left); /* after the server: only its memory goes */
    close(a), close(b), close(idle);
}

static void free_without_run(void **state) {
    (void)state;
    struct node *n = node_new((struct server_options){0});
    node_listen(n, "127.0.0.1:0", NULL, NULL);
    node_down(n);
}

/* A connection of whom the handler has enough is not read; one that carries requests of several is. */
static char first_of, second_of;
static _Atomic bool room;
static bool has_room(void *ctx, const void *whose) {
    (void)ctx;
    return whose != &first_of || atomic_load(&room);
}
static enum http_outcome mark(void *ctx, const struct http_request *q, struct http_reply *r) {
    (void)ctx;
    http_mark(q, str_is(q->path, "/second") ? &second_of : &first_of);
    node_answer(q, r);
    return HTTP_REPLIED;
}

static void unread_while_there_is_no_room(void **state) {
    (void)state;
    struct node *n = node_new((struct server_options){0});
    struct server_options o = {.handler = mark, .may_read = has_room};
    bool ended;
    server_free(n->server);
    assert_int_equal(server_new(&o, &n->server), OK);
    node_listen(n, "127.0.0.1:0", NULL, NULL);
    node_start(n);
    atomic_store(&room, false);
    int one = client(n), both = client(n);
    say(one, GET("/first"));
    hear(one, "GET ");
    say(both, GET("/first") GET("/second"));
    hear(both, "GET ");
    hear(both, "GET ");
    say(one, GET("/first"));
    say(both, GET("/first"));
    hear(both, "GET ");
    assert_string_equal(hear_for(one, "GET ", 100, &ended), "");
    assert_false(ended);
    atomic_store(&room, true);
    contains(hear(one, "GET "), "200 OK");
    close(one), close(both);
    node_down(n);
}

/* ---- tasks, turns ---- */

static void note(struct node *n, void *ctx) {
    (void)n;
    atomic_fetch_add((_Atomic uint64_t *)ctx, 1);
}

static void turn_on(struct node *n, void *ctx) { server_keep_turning(n->server, ctx != NULL); }

struct posts {
    struct node *node;
    struct server_task tasks[1000];
    _Atomic uint64_t *ran;
};
static void ran(void *ctx) { atomic_fetch_add((_Atomic uint64_t *)ctx, 1); }
static void *post_many(void *ctx) {
    struct posts *p = ctx;
    for (int i = 0; i < 1000; i++) {
        p->tasks[i] = (struct server_task){.run = ran, .ctx = (void *)p->ran};
        server_post(p->node->server, &p->tasks[i]);
    }
    return NULL;
}

static void tasks(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    static struct posts posts[2];
    _Atomic uint64_t count = 0;
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        posts[i] = (struct posts){.node = n, .ran = &count};
        pthread_create(&threads[i], NULL, post_many, &posts[i]);
    }
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_true(wait_for(&count, 2000));
    node_post(n, note, (void *)&count);
    assert_int_equal(count, 2001);
    uint32_t before = atomic_load(&n->turns);
    sleep_ms(100);
    assert_true(atomic_load(&n->turns) - before < 10); /* it sleeps */
    node_post(n, turn_on, n);
    sleep_ms(50);
    node_post(n, turn_on, NULL);
    assert_true(atomic_load(&n->turns) - before > 100);
    node_stop(n);
    struct server_task late = {.run = ran, .ctx = (void *)&count};
    server_post(n->server, &late);
    node_down(n);
    assert_int_equal(count, 2002);
}

/* ---- listeners ---- */

static int unix_fd(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@') a.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, len) == 0) return fd;
    close(fd);
    return -1;
}

static void shared_unix_socket(void **state) {
    (void)state;
    char folder[] = "/tmp/regent-net-XXXXXX", address[64], name[64];
    const char *why = "";
    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/s", folder);
    snprintf(name, sizeof name, "unix:@regent-net-%d", (int)getpid());
    assert_int_equal(server_address_free(address, &why), OK);
    struct node *a = node_new((struct server_options){0}), *b = node_new((struct server_options){0});
    memcpy(b->listener, "second", 7);
    node_listen(a, address, NULL, NULL);
    node_listen(a, name, NULL, NULL);
    node_listen(b, address, NULL, a->server);
    node_listen(b, name, NULL, a->server);
    assert_int_equal(server_address_free(address, &why), ERR_IO);
    assert_int_equal(server_address_free(name, &why), ERR_IO);
    node_start(b); /* a does not run: all connections are b's */
    int fd = unix_fd(address + 5);
    say(fd, GET("/listener"));
    contains(hear(fd, "second"), "second");
    say(fd, GET("/peer"));
    contains(hear(fd, " 100"), "\r\n\r\n 100");
    close(fd);
    fd = unix_fd(name + 5);
    say(fd, GET("/listener"));
    contains(hear(fd, "second"), "second");
    close(fd);
    node_down(b);
    node_down(a);
    assert_int_equal(access(address + 5, F_OK), -1); /* tidied up */
    assert_int_equal(rmdir(folder), 0);
}

static void addresses_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        const char *address;
        enum err err;
    } rows[] = {
        {"nonsense", ERR_INVALID},  {"127.0.0.1", ERR_INVALID},         {"127.0.0.1:65536", ERR_INVALID},
        {"host:80", ERR_INVALID},   {"unix:", ERR_INVALID},             {"unix:@", ERR_INVALID},
        {"192.0.2.1:0", ERR_IO},    {"unix:/nonexistent/folder/s", ERR_IO}, {"unix:/dev/null", ERR_IO},
    };
    struct node *n = node_new((struct server_options){0});
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *why = NULL;
        struct listen_options o = {.address = rows[i].address};
        assert_int_equal(server_listen(n->server, &o, NULL, &why), rows[i].err);
        assert_non_null(why);
    }
    struct listen_options o = {.address = "unix:@nobody", .accept_of = n->server};
    const char *why = NULL;
    assert_int_equal(server_listen(n->server, &o, NULL, &why), ERR_IO);
    assert_int_equal(access("/dev/null", F_OK), 0);
    node_down(n);
}

/* A socket file that a dead process left is taken over; another process's is not removed at the end. */
static void stale_socket_file(void **state) {
    (void)state;
    char folder[] = "/tmp/regent-net-XXXXXX", address[64];
    assert_non_null(mkdtemp(folder));
    snprintf(address, sizeof address, "unix:%s/s", folder);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", address + 5);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    close(fd);
    struct node *n = node_new((struct server_options){0});
    node_listen(n, address, NULL, NULL);
    unlink(a.sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    node_down(n);
    assert_int_equal(unlink(a.sun_path), 0);
    close(fd);
    rmdir(folder);
}

static void relisten(struct node *n, void *ctx) {
    server_relisten(n->server, &(struct listen_options){.address = "127.0.0.1:0", .ctx = ctx});
}
static void unlisten(struct node *n, void *ctx) { server_unlisten(n->server, ctx); }

static void change_of_listeners(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int fd = client(n), busy = client(n);
    say(fd, GET("/listener"));
    contains(hear(fd, "first"), "first");
    node_post(n, relisten, "other");
    say(fd, GET("/listener"));
    contains(hear(fd, "other"), "other");
    say(busy, GET("/later"));
    node_wait_later(n, 1);
    node_post(n, unlisten, "127.0.0.1:0");
    assert_string_equal(hear_end(fd), ""); /* idle: closed */
    node_release(n, 0);
    contains(hear_end(busy), "Connection: close\r\n\r\nGET ");
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)n->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int refused = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(refused, (struct sockaddr *)&a, sizeof a), -1);
    close(refused), close(fd), close(busy);
    node_down(n);
}

/* ---- bad clients ---- */

static const struct server_options hasty = {
    .limits = {.head_bytes = 4096, .body_bytes = 1 << 20}, .idle_timeout_ms = 1500, .header_timeout_ms = 400};

static void slow_loris(void **state) {
    (void)state;
    struct node *n = node_up(hasty);
    bool ended = false;
    int head = client(n), body = client(n), quiet = client(n);
    uint64_t start = now_ms();
    const char *text = "";
    say(head, "GET / HTTP/1.1\r\n");
    say(body, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    while (!ended && now_ms() - start < 5000) { /* a byte now and then is no help */
        say(head, "a");
        say(body, "b");
        text = hear_for(head, NULL, 50, &ended);
        if (strstr(text, "408")) break;
    }
    contains(text, "HTTP/1.1 408 Request Timeout\r\n");
    assert_in_range(now_ms() - start, 300, 1500);
    contains(hear_for(body, NULL, 1500, &ended), "HTTP/1.1 408 Request Timeout\r\n");
    assert_string_equal(hear_end(quiet), ""); /* said nothing: idle */
    assert_in_range(now_ms() - start, 1400, 4000);
    assert_int_equal(server_counters(n->server)->timed_out, 2);
    close(head), close(body), close(quiet);
    node_down(n);
}

static void slow_but_steady(void **state) {
    (void)state;
    struct node *n = node_up(hasty);
    int fd = client(n);
    static char piece[8192];
    say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\nConnection: close\r\n\r\n");
    for (int i = 0; i < 8; i++) {
        memset(piece, 'x', sizeof piece);
        say_bytes(fd, piece, sizeof piece);
        sleep_ms(120);
    }
    contains(hear_end(fd), "HTTP/1.1 200 OK\r\nContent-Length: 65541\r\n");
    close(fd);
    node_down(n);
}

/* Sends far more than is read: the refusal can be read nevertheless. */
static void refusals_are_readable(void **state) {
    (void)state;
    struct node *n = node_up(hasty);
    static char flood[8 << 20];
    memset(flood, 'a', sizeof flood);
    static const struct {
        const char *start, *want;
    } rows[] = {
        {"GET /", "HTTP/1.1 414 "},
        {"GET / HTTP/1.1\r\nHost: x\r\nA: ", "HTTP/1.1 431 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n", "HTTP/1.1 413 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7fffff\r\n", "HTTP/1.1 413 "},
        {"\x16\x03\x01", "HTTP/1.1 4"},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nGET HTTP/1.1 400 "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = client(n);
        struct timeval tv = {.tv_sec = 1};
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
        say(fd, rows[i].start);
        say_bytes(fd, flood, sizeof flood);
        contains(hear_end(fd), rows[i].want);
        close(fd);
    }
    assert_int_equal(server_counters(n->server)->bad, 6);
    node_down(n);
}

/* Chunks of one byte, of which each takes six: more than the buffer holds before the body is too large. */
static void tiny_chunks(void **state) {
    (void)state;
    struct node *n = node_up(hasty);
    int fd = client(n);
    struct buf b;
    buf_init(&b, 8 << 20);
    buf_cstr(&b, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 500000; i++) buf_cstr(&b, "1\r\nx\r\n");
    say_bytes(fd, b.ptr, b.len);
    contains(hear_end(fd), "HTTP/1.1 413 ");
    close(fd);
    buf_deinit(&b);
    node_down(n);
}

/* A client that asks and asks and never reads: it is not served without end, then cut off. */
static void never_reads(void **state) {
    (void)state;
    struct node *n = node_up(hasty);
    int fd = client(n), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 500; i++) say(fd, GET("/big?100000"));
    assert_true(wait_for((_Atomic uint64_t *)&server_counters(n->server)->timed_out, 1));
    assert_true(atomic_load(&n->calls) < 200); /* 20 MB of 50, most of it in the sockets' buffers */
    reset(fd);
    node_down(n);
}

/* A large reply to one that reads slowly, but reads. */
static void reads_slowly(void **state) {
    (void)state;
    struct node *n = node_up(hasty);
    int fd = client(n), small = 32 << 10;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    say(fd, "GET /big?8000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    static char part[16 << 10];
    size_t got = 0;
    for (ssize_t k; (k = recv(fd, part, sizeof part, 0)) > 0; got += (size_t)k)
        if (got < 1000000) sleep_ms(20);
    assert_true(got > 8000000);
    close(fd);
    node_down(n);
}

static void too_many_connections(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){.max_connections = 3});
    int fds[5];
    for (int i = 0; i < 3; i++) {
        fds[i] = client(n);
        say(fds[i], GET("/x"));
        hear(fds[i], "GET ");
    }
    for (int i = 3; i < 5; i++) {
        uint64_t start = now_ms();
        fds[i] = client(n);
        say(fds[i], GET("/x"));
        assert_string_equal(hear_end(fds[i]), "");
        assert_true(now_ms() - start < 1000);
        close(fds[i]);
    }
    const struct server_counts *counts = server_counters(n->server);
    assert_int_equal(counts->refused, 2);
    assert_int_equal(counts->accepted, 3);
    close(fds[0]);
    sleep_ms(50);
    fds[0] = client(n);
    say(fds[0], GET("/x"));
    contains(hear(fds[0], "GET "), "200 OK");
    for (int i = 0; i < 3; i++) close(fds[i]);
    node_down(n);
}

/* No file descriptors are left: clients wait, the loop does not spin, and all goes on once there are some. */
static void no_file_descriptors(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int served = client(n), waiting = client(n);
    say(served, GET("/x"));
    hear(served, "GET ");
    struct rlimit before, tight;
    getrlimit(RLIMIT_NOFILE, &before);
    int third = socket(AF_INET, SOCK_STREAM, 0);
    int next = dup(0);
    close(next);
    tight = before;
    tight.rlim_cur = (rlim_t)next; /* none is free below it */
    say(waiting, GET("/y"));
    hear(waiting, "GET ");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)n->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(third, (struct sockaddr *)&a, sizeof a), 0);
    say(third, GET("/third"));
    const struct server_counts *counts = server_counters(n->server);
    assert_true(wait_for((_Atomic uint64_t *)&counts->paused, 1));
    uint32_t turns = atomic_load(&n->turns);
    sleep_ms(600);
    assert_true(atomic_load(&n->turns) - turns < 30);
    say(served, GET("/still"));
    hear(served, "GET ");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    contains(hear(third, "GET "), "200 OK");
    close(served), close(waiting), close(third);
    node_down(n);
}

/* Requests under load: many connections that come, ask, defer and go at random moments. */
/* What a client has begun is answered, also after the end of accepting; silence ends a connection after a second. */
static void draining(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    int silent = client(n), half = client(n), next = client(n), later = client(n);
    say(silent, GET("/a"));
    hear(silent, "\r\n\r\n");
    say(half, "GET /half HTTP/1.1\r\nHost: x\r\n");
    say(later, GET("/later"));
    node_wait_later(n, 1);
    uint64_t began = now_ms();
    server_drain(n->server, 20000);
    sleep_ms(50);
    say(half, "\r\n");
    assert_non_null(strstr(hear_end(half), "Connection: close"));
    say(next, GET("/next"));
    assert_non_null(strstr(hear_end(next), "Connection: close"));
    hear_end(silent);
    assert_true(now_ms() - began >= 900);
    node_release(n, 0);
    assert_non_null(strstr(hear_end(later), "Connection: close"));
    pthread_join(n->thread, NULL);
    n->runs = false;
    assert_true(now_ms() - began < 15000);
    close(silent), close(half), close(next), close(later);
    node_down(n);
}

/* What does not end by itself is cut off: after its time, or by server_stop. */
static void draining_ends(void **state) {
    (void)state;
    for (int hurry = 0; hurry < 2; hurry++) {
        struct node *n = node_up((struct server_options){0});
        int fd = client(n);
        say(fd, "GET /half HTTP/1.1\r\nHost: x\r\n");
        sleep_ms(50);
        uint64_t began = now_ms();
        server_drain(n->server, hurry ? 60000 : 300);
        if (hurry) server_stop(n->server);
        pthread_join(n->thread, NULL);
        n->runs = false;
        assert_true(now_ms() - began < 8000);
        close(fd);
        node_down(n);
    }
}

static void coming_and_going(void **state) {
    (void)state;
    struct node *n = node_up((struct server_options){0});
    unsigned seed = 7;
    for (int i = 0; i < 100; i++) {
        int fd = client(n);
        say(fd, i % 3 ? GET("/a") GET("/later") GET("/b") : GET("/later"));
        node_wait_later(n, (uint32_t)i + 1);
        if (rand_r(&seed) % 2) reset(fd);
        node_release(n, (uint32_t)i);
        if (rand_r(&seed) % 2) sleep_ms(1);
    }
    node_down(n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelined),
        cmocka_unit_test(upgrade_is_ignored),
        cmocka_unit_test(reply_headers),
        cmocka_unit_test(bytes_in_headers),
        cmocka_unit_test(peer_of_tcp),
        cmocka_unit_test(deferred_keeps_order),
        cmocka_unit_test(half_closed_gets_its_replies),
        cmocka_unit_test(client_goes_away),
        cmocka_unit_test(stop_with_pending),
        cmocka_unit_test(free_without_run),
        cmocka_unit_test(unread_while_there_is_no_room),
        cmocka_unit_test(tasks),
        cmocka_unit_test(shared_unix_socket),
        cmocka_unit_test(addresses_that_cannot_be),
        cmocka_unit_test(stale_socket_file),
        cmocka_unit_test(change_of_listeners),
        cmocka_unit_test(slow_loris),
        cmocka_unit_test(slow_but_steady),
        cmocka_unit_test(refusals_are_readable),
        cmocka_unit_test(tiny_chunks),
        cmocka_unit_test(never_reads),
        cmocka_unit_test(reads_slowly),
        cmocka_unit_test(too_many_connections),
        cmocka_unit_test(no_file_descriptors),
        cmocka_unit_test(draining), cmocka_unit_test(draining_ends), cmocka_unit_test(coming_and_going),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
