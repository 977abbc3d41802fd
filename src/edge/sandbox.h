/* What a worker process gives up before it touches anything of a tenant. */
#ifndef REGENT_EDGE_SANDBOX_H
#define REGENT_EDGE_SANDBOX_H
#include "base/err.h"
#include <stdint.h>

/* Closes all descriptors but 0, 1, 2 and `fd`; no core files, no debugger, no new privileges; dies with its parent; at
 * most memory_bytes of private memory (0: no limit). ERR_IO. */
MUST_USE enum err sandbox_shed(int fd, uint64_t memory_bytes);
/* From here on: memory, threads, clocks, randomness, and reading and writing `fd`. Anything that would open, connect,
 * start or look into something ends the process (SIGSYS), but for questions that libraries ask with a fallback, which
 * are answered with EPERM. ERR_IO when the kernel has no seccomp. */
MUST_USE enum err sandbox_lock(int fd);

#endif
