/* What a process of any kind tells Prometheus of itself, under the names that its clients use.
 * in: /proc. out: text; what cannot be read is left out. owns: nothing. */
#include "base/clock.h"
#include "edge/metrics.h"
#include "edge/metrics_text.h"
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void memory(struct buf *out) {
    unsigned long long size, resident, page = (unsigned long long)sysconf(_SC_PAGESIZE);
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return;
    int n = fscanf(f, "%llu %llu", &size, &resident);
    fclose(f);
    if (n != 2) return;
    metric_one(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", resident * page);
    metric_one(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", size * page);
}

static void descriptors(struct buf *out) {
    struct rlimit most;
    uint64_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (d) {
        for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
        closedir(d);
        metric_one(out, "process_open_fds", "gauge", "Number of open file descriptors.", n - 1);
    }
    if (getrlimit(RLIMIT_NOFILE, &most) == 0)
        metric_one(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.", most.rlim_cur);
}

void metrics_process(int64_t started_ns, struct buf *out) {
    metric_family(out, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
    buf_cstr(out, "process_cpu_seconds_total ");
    metric_seconds(out, clock_of(CLOCK_PROCESS_CPUTIME_ID));
    metric_family(out, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.");
    buf_cstr(out, "process_start_time_seconds ");
    metric_seconds(out, (uint64_t)started_ns);
    memory(out);
    descriptors(out);
}
