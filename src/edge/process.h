/* Worker processes: evaluate the tenants of a group in a process of their own, with its own memory, a seccomp filter,
 * no files and no sockets but the one to its parent. */
#ifndef REGENT_EDGE_PROCESS_H
#define REGENT_EDGE_PROCESS_H
#include "base/log.h"
#include "host/host.h"

struct process; /* one worker process and the socket to it; belongs to one thread */

struct process_options {
    const char *group;     /* for log lines */
    uint64_t memory_bytes; /* private memory of the process at most (RLIMIT_DATA); 0: no limit of its own */
    const char *program;   /* NULL: this one, /proc/self/exe */
    const struct log *log;
};
MUST_USE enum err process_new(const struct process_options *options, struct process **out);
/* Ends the process. */
void process_free(struct process *r);
/* As policy_eval, over there: the process is started and the policy sent to it when that is needed. The policy must
 * have been loaded with policy_source.keep. ERR_WORKER: the process died or gave no answer in time (it was killed; the
 * next call starts another one, after a pause that grows while it keeps dying), ERR_MEMORY. result->json is valid until
 * the next call. */
MUST_USE enum err process_eval(struct process *r, const struct eval_request *request, struct eval_result *result);
/* How often the process was started, and its id (0: none runs). */
uint32_t process_starts(const struct process *r);
int process_pid(const struct process *r);

/* The worker process itself: serves its parent on descriptor WORKER_FD until that closes it; the exit status. */
enum { WORKER_FD = 3 };
int process_run(uint64_t memory_bytes);

/* What both sides say to each other (same program, same machine): a frame_head, then `bytes` bytes: the kind's own
 * head and what follows it. The parent trusts nothing of what the process sends. */
enum frame_kind {
    FRAME_LOAD,   /* → load_head, name, full, thin, data as JSON text */
    FRAME_LOADED, /* ← result_head */
    FRAME_EVAL,   /* → eval_head, input */
    FRAME_RESULT  /* ← result_head, decision */
};
struct frame_head {
    uint32_t kind, unused;
    uint64_t policy; /* the parent's number of it */
    uint64_t bytes;
};
struct load_head {
    uint64_t replaces;               /* number of the tenant's version that is not asked for again; 0: none */
    uint64_t name, full, thin, data; /* lengths */
};
struct eval_head {
    struct limits limits;
    int64_t now_ns;
    uint32_t entrypoint;
    uint8_t has_input, fresh, strict, unused;
};
struct result_head {
    uint64_t eval_ns;
    int32_t err;
    uint32_t defined;
    char message[256]; /* ends with 0 */
};
/* Reads or writes exactly so many bytes; false when the other side is gone, or timeout_ms (-1: none) has passed. */
bool frame_read(int fd, void *to, size_t bytes, int timeout_ms);
bool frame_write(int fd, const void *from, size_t bytes, int timeout_ms);

#endif
