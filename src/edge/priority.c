/* Scheduling of loops and lanes. in: the calling thread. out: its scheduling. owns: nothing. */
#include "edge/priority.h"
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOOP_TURN_NS = 1000000, LANE_TURN_NS = 10000000, LANE_NICE = 7 };

/* sched_setattr(2), which the C library has no function for. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

/* Since Linux 6.12 runtime is the length of a normal thread's turn, and a thread that wakes up takes the core from one
 * whose turns are longer; older kernels ignore it. */
static void set(uint32_t policy, int nice, uint64_t turn_ns) {
    struct attributes a = {.size = sizeof a, .policy = policy, .nice = nice, .runtime_ns = turn_ns};
    if (syscall(SYS_sched_setattr, 0, &a, 0)) return;
}

void priority_of_loop(void) { set(SCHED_OTHER, getpriority(PRIO_PROCESS, 0), LOOP_TURN_NS); }

/* A lane must get on even where loops and clients want all of the cores, or slow tenants would starve. */
void priority_of_lane(void) { set(SCHED_BATCH, getpriority(PRIO_PROCESS, 0) + LANE_NICE, LANE_TURN_NS); }
