/* Whole reads and writes on the socket between a node and its worker process.
 * in: a stream socket. out: bytes, or false. owns: nothing. */
#include "edge/process.h"
#include "base/clock.h"
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

/* Until the socket can be read or written; false past `until` (-1: never). */
static bool wait_for(int fd, short events, int64_t until) {
    for (;;) {
        int64_t left = until < 0 ? -1 : until - clock_ms();
        if (until >= 0 && left <= 0) return false;
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, (int)left);
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return false;
    }
}

bool frame_read(int fd, void *to, size_t bytes, int timeout_ms) {
    int64_t until = timeout_ms < 0 ? -1 : clock_ms() + timeout_ms;
    for (size_t done = 0; done < bytes;) {
        ssize_t n = recv(fd, (char *)to + done, bytes - done, MSG_DONTWAIT);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLIN, until))
            return false;
    }
    return true;
}

bool frame_write(int fd, const void *from, size_t bytes, int timeout_ms) {
    int64_t until = timeout_ms < 0 ? -1 : clock_ms() + timeout_ms;
    for (size_t done = 0; done < bytes;) {
        ssize_t n = send(fd, (const char *)from + done, bytes - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            done += (size_t)n;
        else if ((errno != EAGAIN && errno != EINTR) || !wait_for(fd, POLLOUT, until))
            return false;
    }
    return true;
}
