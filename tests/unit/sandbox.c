/* What a locked worker process can no longer do: each attempt in a child of its own. */
#include "edge/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MISSED = 7, KILLED = 1000, NOT_LOCKED = 9 };

/* Runs `what` in a locked child that holds one end of a socket: its exit status, KILLED for SIGSYS.
 */
static int locked(int (*what)(int fd)) {
    int pair[2], status = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGSYS, SIG_DFL);
        if (sandbox_shed(pair[0], 0) || sandbox_lock(pair[0])) _exit(NOT_LOCKED);
        _exit(what(pair[0]));
    }
    close(pair[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(pair[1]);
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGSYS ? KILLED : 2000 + WTERMSIG(status);
    return WEXITSTATUS(status);
}

static int opens(int fd) {
    (void)fd;
    return open("/etc/passwd", O_RDONLY) >= 0 ? MISSED : errno == EPERM ? 0 : 8;
}
static int creates(int fd) {
    (void)fd;
    return open("/tmp/regent-sandbox-test", O_CREAT | O_WRONLY, 0600) >= 0 ? MISSED : 0;
}
static int connects(int fd) {
    (void)fd;
    return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? MISSED : 8;
}
static int runs(int fd) {
    char *const argv[] = {(char *)(uintptr_t) "true", NULL};
    (void)fd;
    execv("/bin/true", argv);
    return 8;
}
static int forks(int fd) {
    (void)fd;
    return fork() >= 0 ? MISSED : 8;
}
static int traces(int fd) {
    (void)fd;
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0 ? MISSED : 8;
}
static int kills(int fd) {
    (void)fd;
    return kill(getppid(), 0) == 0 ? MISSED : 8;
}
static int reads_other(int fd) {
    char byte;
    (void)fd;
    return read(0, &byte, 1) >= 0 ? MISSED : 8;
}
static int talks(int fd) { return send(fd, "x", 1, MSG_NOSIGNAL) == 1 ? 0 : 8; }
static int uses_memory(int fd) {
    (void)fd;
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return 8;
    p[0] = 1;
    return malloc(1 << 22) && munmap(p, 1 << 20) == 0 ? 0 : 8;
}
static void *nothing(void *ctx) { return ctx; }
static int has_threads(int fd) {
    pthread_t t;
    (void)fd;
    if (pthread_create(&t, NULL, nothing, NULL)) return 8;
    return pthread_join(t, NULL) == 0 ? 0 : 8;
}
static int has_no_others(int fd) {
    for (int i = 3; i < 64; i++)
        if (i != fd && fcntl(i, F_GETFD) >= 0) return MISSED;
    return 0;
}

static void cannot(void **state) {
    (void)state;
    assert_int_equal(locked(opens), 0);
    assert_int_equal(locked(creates), 0);
    assert_int_equal(locked(connects), KILLED);
    assert_int_equal(locked(runs), KILLED);
    assert_int_equal(locked(forks), KILLED);
    assert_int_equal(locked(traces), KILLED);
    assert_int_equal(locked(kills), KILLED);
    assert_int_equal(locked(reads_other), KILLED);
}

static void can(void **state) {
    (void)state;
    assert_int_equal(locked(talks), 0);
    assert_int_equal(locked(uses_memory), 0);
    assert_int_equal(locked(has_threads), 0);
}

/* Before the filter, since asking for a descriptor is refused behind it. */
static void sheds(void **state) {
    int pair[2], extra = open("/dev/null", O_RDONLY), status = 0;
    (void)state;
    assert_true(extra >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (sandbox_shed(pair[0], 64 << 20)) _exit(NOT_LOCKED);
        void *much =
            mmap(NULL, 128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        void *reserved = mmap(NULL, (size_t)8 << 30, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        _exit(has_no_others(pair[0])   ? MISSED
              : much != MAP_FAILED     ? 5
              : reserved == MAP_FAILED ? 6
                                       : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    close(extra);
    close(pair[0]);
    close(pair[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(cannot), cmocka_unit_test(can),
                                       cmocka_unit_test(sheds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
