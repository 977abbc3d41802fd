/* regent edge-worker: the process in which a node evaluates a group of tenants; started by `regent
 * edge`, not by hand. in: memory limit in bytes, frames on descriptor 3. out: frames. owns:
 * nothing. */
#include "cli/cli.h"
#include "edge/process.h"
#include <fcntl.h>
#include <stdlib.h>

int cmd_edge_worker(struct arena *a, int argc, char **argv) {
    (void)a;
    if (argc != 1 || fcntl(WORKER_FD, F_GETFD) < 0)
        return fail("edge-worker is started by `regent edge` for the groups of its configuration");
    return process_run(strtoull(argv[0], NULL, 10));
}
