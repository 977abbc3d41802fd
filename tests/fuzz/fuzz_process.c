/* Fuzzes the node's side of a worker process: whatever that answers, the node gets a decision or an error, and goes on. in:
 * libFuzzer's bytes: what the process says before it ends. out: crashes and hangs only. owns: a process that does not exist:
 * its end of the socket is filled beforehand. Build: tests/fuzz/run.sh, with this file's own spawn, kill and waitpid. */
#include "edge/process.h"
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INPUT = 1 << 16, RESULT_BYTES = 4096 };

#undef socketpair

static const uint8_t *says;
static size_t says_bytes;
static int listening;
static uint64_t policy_now;

/* What process.c calls in place of the system's (-D in run.sh). */
int fuzz_pair(int domain, int type, int protocol, int pair[2]);
int fuzz_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
               char *const argv[], char *const envp[]);
int fuzz_kill(pid_t pid, int signal);
pid_t fuzz_wait(pid_t pid, int *status, int options);

int fuzz_pair(int domain, int type, int protocol, int pair[2]) {
    int size = 1 << 20;
    if (socketpair(domain, type, protocol, pair)) return -1;
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (says_bytes && send(pair[1], says, says_bytes, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return -1;
    shutdown(pair[1], SHUT_WR); /* no more than that; but it goes on listening */
    listening = dup(pair[1]);
    return listening < 0 ? -1 : 0;
}

int fuzz_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
               char *const argv[], char *const envp[]) {
    (void)path, (void)actions, (void)attributes, (void)argv, (void)envp;
    *pid = 1;
    return 0;
}
int fuzz_kill(pid_t pid, int signal) {
    (void)pid, (void)signal;
    return 0;
}
pid_t fuzz_wait(pid_t pid, int *status, int options) {
    (void)options;
    close(listening);
    *status = 9;
    return pid;
}

struct str policy_name(const struct policy *p) {
    (void)p;
    return STR("t");
}
uint64_t policy_number(const struct policy *p) {
    (void)p;
    return policy_now;
}
bool policy_kept(const struct policy *p, struct kept_source *out) {
    (void)p;
    *out = (struct kept_source){STR("full"), STR(""), STR("{}")};
    return true;
}

static void law(bool holds) {
    if (!holds) abort();
}

static void ask(struct process *r) {
    static int policy;
    struct eval_result result;
    struct eval_request q = {.policy = (struct policy *)&policy, .input = STR("{}"), .limits = {.deadline_us = 1000, .result_bytes = RESULT_BYTES}};
    memset(&result, 0xa5, sizeof result);
    enum err e = process_eval(r, &q, &result);
    law(e >= 0 && e < ERR_COUNT && memchr(result.message, 0, sizeof result.message));
    law(result.defined == 0 || result.defined == 1);
    law(!(e && result.defined) && (!result.defined || (result.json.len > 0 && result.json.len <= RESULT_BYTES)));
    for (size_t i = 0; result.defined && i < result.json.len; i++) policy += result.json.ptr[i] == 'x'; /* can be read */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct log quiet = {.fd = -1, .level = LOG_ERROR + 1};
    struct process_options options = {.group = "g", .log = &quiet};
    struct process *r;
    if (size < 1 || size > MAX_INPUT) return 0;
    policy_now = 1;
    says = data + 1;
    says_bytes = size - 1;
    law(process_new(&options, &r) == OK);
    for (int i = 0; i < 1 + data[0] % 4; i++) {
        ask(r);
        policy_now += data[0] >> (4 + i) & 1; /* sometimes another version */
    }
    process_free(r);
    return 0;
}
