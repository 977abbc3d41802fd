/* The node's side of a worker process: starts it, sends policies and requests, takes answers,
 * replaces it when it dies. in: eval_requests. out: eval_results. owns: the process, the socket,
 * the answer's buffer. */
#include "edge/process.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LOAD_TIMEOUT_MS = 30000,
    ANSWER_SLACK_MS =
        1000, /* beside DEADLINES times the deadline, which is counted in CPU time over there */
    DEADLINES = 8,
    FIRST_PAUSE_MS = 10,
    LONGEST_PAUSE_MS = 2000,
    STEADY_MS = 10000, /* a process that lived so long did not die of being started */
    DEFAULT_DEADLINE_US = 1000000,
    DEFAULT_RESULT_BYTES = 16 << 20,
    NAME_BYTES = 128
};
#define ANSWER_MAX_BYTES ((size_t)1 << 30)

/* Which version of a tenant the process has. */
struct sent {
    struct sent *next;
    uint64_t policy;
    char name[NAME_BYTES];
};
enum { BUCKETS = 1024 };

struct process {
    struct process_options options;
    char memory[24];
    pid_t pid;
    int fd; /* -1: no process */
    uint32_t starts;
    int64_t started_ms, not_before_ms, pause_ms;
    struct buf answer;
    struct sent *buckets[BUCKETS];
};

extern char **environ;

enum err process_new(const struct process_options *options, struct process **out) {
    struct process *r = calloc(1, sizeof *r);
    if (!r) return ERR_MEMORY;
    r->options = *options;
    r->fd = -1;
    r->pause_ms = FIRST_PAUSE_MS;
    snprintf(r->memory, sizeof r->memory, "%llu", (unsigned long long)options->memory_bytes);
    buf_init(&r->answer, ANSWER_MAX_BYTES);
    *out = r;
    return OK;
}

static void forget_sent(struct process *r) {
    for (int i = 0; i < BUCKETS; i++)
        for (struct sent *s = r->buckets[i]; (s = r->buckets[i]);) {
            r->buckets[i] = s->next;
            free(s);
        }
}

/* How it ended, for the log: "signal 9", "status 1". */
static void how_ended(int status, char *out, size_t bytes) {
    if (WIFSIGNALED(status))
        snprintf(out, bytes, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, bytes, "status %d", WEXITSTATUS(status));
}

/* Ends what is left of the process; the next one waits the longer, the shorter this one lived. */
static void bury(struct process *r, const char *why) {
    int status = 0;
    char pid[16], end[64];
    if (r->fd < 0) return;
    close(r->fd);
    r->fd = -1;
    kill(r->pid, SIGKILL);
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR) {
    }
    int64_t now = clock_ms();
    bool steady = now - r->started_ms > STEADY_MS;
    r->pause_ms = steady                               ? FIRST_PAUSE_MS
                  : r->pause_ms * 2 < LONGEST_PAUSE_MS ? r->pause_ms * 2
                                                       : LONGEST_PAUSE_MS;
    r->not_before_ms = steady ? now : now + r->pause_ms / 2;
    forget_sent(r);
    snprintf(pid, sizeof pid, "%d", (int)r->pid);
    how_ended(status, end, sizeof end);
    r->pid = 0;
    if (why)
        log_line(r->options.log, LOG_ERROR, "worker process ended", "group", r->options.group,
                 "pid", pid, "reason", why, "ended_by", end, NULL);
}

void process_free(struct process *r) {
    if (!r) return;
    bury(r, NULL);
    buf_deinit(&r->answer);
    free(r);
}

/* The child's end becomes WORKER_FD; all other descriptors are marked close-on-exec or closed by
 * it. */
static bool spawn(struct process *r, int child) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    const char *program = r->options.program ? r->options.program : "/proc/self/exe";
    char *const argv[] = {(char *)(uintptr_t) "regent", (char *)(uintptr_t) "edge-worker",
                          r->memory, NULL};
    sigemptyset(&none);
    if (posix_spawn_file_actions_init(&actions)) return false;
    if (posix_spawnattr_init(&attributes)) return posix_spawn_file_actions_destroy(&actions), false;
    bool ok = !posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) &&
              !posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0) &&
              !posix_spawn_file_actions_adddup2(&actions, child, WORKER_FD) &&
              !posix_spawnattr_setsigmask(&attributes, &none) &&
              !posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK) &&
              !posix_spawn(&r->pid, program, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return ok;
}

static bool start(struct process *r) {
    int pair[2];
    char pid[16];
    if (r->fd >= 0) return true;
    if (clock_ms() < r->not_before_ms) return false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return false;
    /* dup2 onto the same number would leave close-on-exec set */
    int child = pair[1] == WORKER_FD ? fcntl(pair[1], F_DUPFD_CLOEXEC, WORKER_FD + 1) : pair[1];
    bool ok = child >= 0 && spawn(r, child);
    close(pair[1]);
    if (child >= 0 && child != pair[1]) close(child);
    if (!ok) {
        close(pair[0]);
        r->not_before_ms = clock_ms() + r->pause_ms;
        log_line(r->options.log, LOG_ERROR, "cannot start a worker process", "group",
                 r->options.group, "reason", strerror(errno), NULL);
        return false;
    }
    r->fd = pair[0];
    r->started_ms = clock_ms();
    r->starts++;
    snprintf(pid, sizeof pid, "%d", (int)r->pid);
    log_line(r->options.log, LOG_INFO, "worker process started", "group", r->options.group, "pid",
             pid, NULL);
    return true;
}

static enum err fail(struct eval_result *result, enum err e, const char *text) {
    result->defined = false;
    result->json = (struct str){NULL, 0};
    snprintf(result->message, sizeof result->message, "%s", text);
    return e;
}

static enum err lost(struct process *r, struct eval_result *result, const char *why) {
    bury(r, why);
    return fail(result, ERR_WORKER, err_meaning(ERR_WORKER));
}

/* Takes one answer of the kind asked for; its decision goes to r->answer. */
static enum err take_answer(struct process *r, enum frame_kind kind, uint64_t policy,
                            uint64_t max_bytes, int timeout_ms, struct eval_result *result) {
    struct frame_head f;
    struct result_head h;
    if (!frame_read(r->fd, &f, sizeof f, timeout_ms)) return lost(r, result, "no answer");
    if (f.kind != kind || f.policy != policy || f.bytes < sizeof h ||
        f.bytes - sizeof h > max_bytes)
        return lost(r, result, "an answer that makes no sense");
    if (!frame_read(r->fd, &h, sizeof h, LOAD_TIMEOUT_MS)) return lost(r, result, "half an answer");
    size_t n = (size_t)(f.bytes - sizeof h);
    buf_clear(&r->answer);
    uint8_t *at = n ? buf_reserve(&r->answer, n) : NULL;
    if (n && !at) return lost(r, result, "no memory for the answer");
    if (n && !frame_read(r->fd, at, n, LOAD_TIMEOUT_MS)) return lost(r, result, "half an answer");
    if (n) buf_commit(&r->answer, n);
    h.message[sizeof h.message - 1] = 0;
    if (h.err < 0 || h.err >= ERR_COUNT || h.defined > 1)
        return lost(r, result, "an answer that makes no sense");
    snprintf(result->message, sizeof result->message, "%s", h.message);
    result->eval_ns = h.eval_ns;
    result->defined = h.err == ERR_OK && h.defined && n > 0;
    result->json = result->defined ? buf_view(&r->answer) : (struct str){NULL, 0};
    return (enum err)h.err;
}

static struct sent **find_sent(struct process *r, struct str name) {
    struct sent **at = &r->buckets[hash64(name) % BUCKETS];
    while (*at && !str_eq(str_of((*at)->name), name)) at = &(*at)->next;
    return at;
}

static enum err send_policy(struct process *r, struct policy *p, uint64_t replaces,
                            struct eval_result *result) {
    struct kept_source k;
    struct str name = policy_name(p);
    if (!policy_kept(p, &k))
        return fail(result, ERR_INTERNAL,
                    "the policy's modules were not kept for its worker process");
    struct load_head h = {replaces, name.len, k.full.len, k.thin.len, k.data.len};
    struct frame_head f = {.kind = FRAME_LOAD,
                           .policy = policy_number(p),
                           .bytes = sizeof h + h.name + h.full + h.thin + h.data};
    bool ok = frame_write(r->fd, &f, sizeof f, LOAD_TIMEOUT_MS) &&
              frame_write(r->fd, &h, sizeof h, LOAD_TIMEOUT_MS) &&
              frame_write(r->fd, name.ptr, name.len, LOAD_TIMEOUT_MS) &&
              frame_write(r->fd, k.full.ptr, k.full.len, LOAD_TIMEOUT_MS) &&
              frame_write(r->fd, k.thin.ptr, k.thin.len, LOAD_TIMEOUT_MS) &&
              frame_write(r->fd, k.data.ptr, k.data.len, LOAD_TIMEOUT_MS);
    if (!ok) return lost(r, result, "the policy could not be sent");
    return take_answer(r, FRAME_LOADED, f.policy, 0, LOAD_TIMEOUT_MS, result);
}

/* The process has this version of the tenant. */
static enum err ensure_policy(struct process *r, struct policy *p, struct eval_result *result) {
    struct str name = policy_name(p);
    if (name.len >= NAME_BYTES) return fail(result, ERR_INVALID, "the tenant's name is too long");
    struct sent *s = *find_sent(r, name);
    if (s && s->policy == policy_number(p)) return OK;
    enum err e = send_policy(r, p, s ? s->policy : 0, result);
    if (e) return e;
    if (!s) {
        if (!(s = calloc(1, sizeof *s))) return lost(r, result, "no memory");
        snprintf(s->name, sizeof s->name, "%.*s", STR_FMT(name));
        *find_sent(r, name) = s;
    }
    s->policy = policy_number(p);
    return OK;
}

static int answer_timeout_ms(const struct limits *l) {
    uint64_t us = l->deadline_us ? l->deadline_us : DEFAULT_DEADLINE_US;
    uint64_t ms = us / 1000 * DEADLINES + ANSWER_SLACK_MS;
    return ms < LOAD_TIMEOUT_MS ? (int)ms : LOAD_TIMEOUT_MS;
}

enum err process_eval(struct process *r, const struct eval_request *q, struct eval_result *result) {
    result->eval_ns = 0;
    result->message[0] = 0;
    if (!start(r))
        return fail(result, ERR_WORKER, "the tenant's worker process is being started anew");
    enum err e = ensure_policy(r, q->policy, result);
    if (e) return e;
    struct eval_head h = {.limits = q->limits,
                          .now_ns = q->now_ns,
                          .entrypoint = q->entrypoint,
                          .has_input = q->input.ptr != NULL,
                          .fresh = q->fresh_instance,
                          .strict = q->strict_builtin_errors};
    struct frame_head f = {
        .kind = FRAME_EVAL, .policy = policy_number(q->policy), .bytes = sizeof h + q->input.len};
    bool ok = frame_write(r->fd, &f, sizeof f, LOAD_TIMEOUT_MS) &&
              frame_write(r->fd, &h, sizeof h, LOAD_TIMEOUT_MS) &&
              frame_write(r->fd, q->input.ptr, q->input.len, LOAD_TIMEOUT_MS);
    if (!ok) return lost(r, result, "the request could not be sent");
    uint64_t max = q->limits.result_bytes ? q->limits.result_bytes : DEFAULT_RESULT_BYTES;
    return take_answer(r, FRAME_RESULT, f.policy, max, answer_timeout_ms(&q->limits), result);
}

uint32_t process_starts(const struct process *r) { return r->starts; }
int process_pid(const struct process *r) { return r->fd >= 0 ? (int)r->pid : 0; }
