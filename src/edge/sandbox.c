/* Privileges given up, and the seccomp filter, by libseccomp.
 * in: the descriptor that stays. out: a process that can only compute. owns: nothing. */
#include "edge/sandbox.h"
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#define PAGEMAP_SCAN_REQUEST 0xc0606610u /* linux/fs.h since 6.7 */

static enum err limit(int resource, uint64_t value) {
    struct rlimit l = {value, value};
    return setrlimit(resource, &l) ? ERR_IO : OK;
}

enum err sandbox_shed(int fd, uint64_t memory_bytes) {
    if (fd > 3 && syscall(SYS_close_range, 3u, (unsigned)fd - 1, 0)) return ERR_IO;
    if (syscall(SYS_close_range, (unsigned)fd + 1, ~0u, 0)) return ERR_IO;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_DUMPABLE, 0))
        return ERR_IO;
    enum err e = limit(RLIMIT_CORE, 0);
    if (!e && memory_bytes) e = limit(RLIMIT_DATA, memory_bytes);
    return e;
}

/* Allowed whatever their arguments: none of them names a file, a socket or a process. Descriptors
 * can only be the parent's socket, standard output and error, and memory (memfd), in which wasmtime
 * keeps the first contents of sandboxes. */
static const int free_calls[] = {
    SCMP_SYS(brk),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mprotect),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(futex),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(membarrier),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(memfd_create),
    SCMP_SYS(ftruncate),
    SCMP_SYS(write),
    SCMP_SYS(pwrite64),
    SCMP_SYS(fcntl),
    SCMP_SYS(close),
};
/* Answered with EPERM: the C library, the allocator and thread pools ask and can do without. */
static const int refused_calls[] = {
    SCMP_SYS(open),        SCMP_SYS(openat), SCMP_SYS(stat),      SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),  SCMP_SYS(statx),  SCMP_SYS(access),    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),  SCMP_SYS(prctl),  SCMP_SYS(prlimit64), SCMP_SYS(getrlimit),
    SCMP_SYS(sysinfo),     SCMP_SYS(uname),  SCMP_SYS(getcwd),    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(setpriority),
};
/* On the parent's socket only. */
static const int socket_calls[] = {
    SCMP_SYS(read),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),
    SCMP_SYS(fstat),
};

/* The first argument is `value`. */
static struct scmp_arg_cmp only(int value) {
    return (struct scmp_arg_cmp){.arg = 0, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)value};
}

static struct scmp_arg_cmp ioctl_is(enum scmp_compare op) {
    return (struct scmp_arg_cmp){.arg = 1, .op = op, .datum_a = PAGEMAP_SCAN_REQUEST};
}

static int allow_all(scmp_filter_ctx c, int fd) {
    int e = 0;
    for (size_t i = 0; !e && i < sizeof free_calls / sizeof *free_calls; i++)
        e = seccomp_rule_add(c, SCMP_ACT_ALLOW, free_calls[i], 0);
    for (size_t i = 0; !e && i < sizeof refused_calls / sizeof *refused_calls; i++)
        e = seccomp_rule_add(c, SCMP_ACT_ERRNO(1), refused_calls[i], 0);
    for (size_t i = 0; !e && i < sizeof socket_calls / sizeof *socket_calls; i++)
        e = seccomp_rule_add(c, SCMP_ACT_ALLOW, socket_calls[i], 1, only(fd));
    /* Threads, but no processes: clone3 hides its flags, so the C library is told to use clone. */
    if (!e) e = seccomp_rule_add(c, SCMP_ACT_ERRNO(38), SCMP_SYS(clone3), 0);
    if (!e)
        e = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    /* Which pages of its own memory are dirty: the pooling allocator asks /proc/self/pagemap, which
     * it opened before. */
    if (!e) e = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, ioctl_is(SCMP_CMP_EQ));
    if (!e) e = seccomp_rule_add(c, SCMP_ACT_ERRNO(1), SCMP_SYS(ioctl), 1, ioctl_is(SCMP_CMP_NE));
    /* Signals to its own threads: abort. */
    if (!e) e = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, only(getpid()));
    return e;
}

enum err sandbox_lock(int fd) {
    scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!c) return ERR_IO;
    int e = allow_all(c, fd);
    /* All threads that run already, too. */
    if (!e) e = seccomp_attr_set(c, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!e) e = seccomp_load(c);
    seccomp_release(c);
    return e ? ERR_IO : OK;
}
