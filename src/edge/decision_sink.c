/* Where events go as lines: file, standard output, and the uploader.
 * in: lines of any thread. out: appended lines, whole ones. owns: the file, what is not written yet. */
#include "base/clock.h"
#include "edge/decision_log_private.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RETRY_NS = 200000000,
    OUT_BYTES = 256 << 20,
    KEEP_BYTES = 4 << 20,
    PIPE_BYTES = 4096,
    PIECE_BYTES = 256 << 10,
    PARTS = 4
};

/* A descriptor and what waits for it. */
struct out {
    const char *name;
    int fd; /* -1: none */
    bool regular, failing;
    bool torn;       /* a line's head is out and its rest waits */
    uint64_t again_ns;
    struct buf waiting;
};

struct sinks {
    struct decision_log *log;
    pthread_mutex_t lock;
    char *path; /* of the file; NULL: none */
    struct out file, console;
    struct uploader *uploader;
};

/* ---- the file ---- */

static void close_file(struct sinks *s) {
    if (s->file.fd >= 0) close(s->file.fd);
    s->file.fd = -1;
}

static void say_state(struct sinks *s, struct out *o, int error) {
    bool fails = error != 0;
    if (fails == o->failing) return;
    o->failing = fails;
    const char *where = o == &s->file ? s->path : o->name;
    if (fails)
        log_line(s->log->log, LOG_ERROR, "the decision log cannot be written", "file", where, "reason",
                 strerror(error), "meanwhile", "decisions wait in the buffer, then they are dropped and counted", NULL);
    else
        log_line(s->log->log, LOG_INFO, "the decision log is written again", "file", where, NULL);
}

static void open_file(struct sinks *s) {
    struct stat st;
    if (!s->path || s->file.fd >= 0) return;
    s->file.fd = open(s->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (s->file.fd < 0) {
        say_state(s, &s->file, errno);
        s->file.again_ns = clock_ns() + RETRY_NS;
        return;
    }
    s->file.regular = fstat(s->file.fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* ---- writing ---- */

static void cut_head(struct buf *b, size_t n) {
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
}

static uint32_t lines_in(const uint8_t *at, size_t n) {
    uint32_t lines = 0;
    for (const uint8_t *end = at + n; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++) lines++;
    return lines;
}

/* The rest of a line whose head stands in a file that is no longer ours to write: of no use in another one. */
static void drop_torn(struct sinks *s, struct out *o) {
    const uint8_t *end = o->torn && o->waiting.len ? memchr(o->waiting.ptr, '\n', o->waiting.len) : NULL;
    o->torn = false;
    if (!end) return;
    cut_head(&o->waiting, (size_t)(end - o->waiting.ptr) + 1);
    decision_log_dropped(s->log, NULL, DROPPED_SINK);
}

/* How much may be written without waiting; 0: nothing for now. */
static size_t allowed(const struct out *o, size_t left) {
    struct pollfd p = {.fd = o->fd, .events = POLLOUT};
    if (o->regular) return left;
    if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLOUT)) return 0;
    return left < PIPE_BYTES ? left : PIPE_BYTES;
}

static void write_out(struct sinks *s, struct out *o) {
    struct buf *b = &o->waiting;
    size_t done = 0;
    if (!b->len || o->fd < 0 || clock_ns() < o->again_ns) return;
    while (done < b->len) {
        size_t most = allowed(o, b->len - done);
        ssize_t n = most ? write(o->fd, b->ptr + done, most) : 0;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) {
            say_state(s, o, errno);
            o->again_ns = clock_ns() + RETRY_NS;
        }
        if (n <= 0) break;
        done += (size_t)n;
    }
    if (!done) return;
    if (done == b->len) say_state(s, o, 0);
    o->torn = b->ptr[done - 1] != '\n';
    uint32_t lines = lines_in(b->ptr, done);
    if (o == &s->file || s->file.fd < 0)
        atomic_fetch_add_explicit(&s->log->counts.written, lines, memory_order_relaxed);
    cut_head(b, done);
    decision_log_release(s->log, done);
    if (!b->len && b->cap > KEEP_BYTES) {
        buf_deinit(b);
        buf_init(b, OUT_BYTES);
    }
}

/* What waits is written in pieces, so that little has to. */
static void append(struct sinks *s, struct out *o, struct tenant *tenant, struct str head, struct str line) {
    size_t before = o->waiting.len, bytes = head.len + line.len + 1;
    if (!decision_log_pass_on(s->log, before, bytes, PARTS)) {
        write_out(s, o);
        before = o->waiting.len;
        if (!decision_log_pass_on(s->log, before, bytes, PARTS)) {
            decision_log_dropped(s->log, tenant, DROPPED_SINK);
            return;
        }
    }
    buf_str(&o->waiting, head);
    buf_str(&o->waiting, line);
    buf_byte(&o->waiting, '\n');
    if (o->waiting.err) {
        o->waiting.len = before;
        o->waiting.err = OK;
        decision_log_release(s->log, bytes);
        decision_log_dropped(s->log, tenant, DROPPED_SINK);
    } else if (o->waiting.len > PIECE_BYTES) {
        write_out(s, o);
    }
}

void sinks_put(struct sinks *s, struct tenant *tenant, struct str line) {
    static const struct str console = /* as OPA's console logger has it */
        STR("{\"level\":\"info\",\"msg\":\"Decision Log\",\"type\":\"openpolicyagent.org/decision_logs\",");
    if (line.len < 2) return;
    pthread_mutex_lock(&s->lock);
    if (s->path) append(s, &s->file, tenant, STR(""), line);
    if (s->console.fd >= 0) append(s, &s->console, tenant, console, str_from(line, 1));
    pthread_mutex_unlock(&s->lock);
    if (uploader_wanted(s->uploader)) uploader_put(s->uploader, tenant, line);
}

bool sinks_have_room(struct sinks *s) {
    uint64_t most = atomic_load_explicit(&s->log->limit_bytes, memory_order_relaxed) / (2 * PARTS);
    pthread_mutex_lock(&s->lock);
    bool room = s->file.waiting.len < most && s->console.waiting.len < most;
    pthread_mutex_unlock(&s->lock);
    return room && uploader_has_room(s->uploader);
}

void sinks_flush(struct sinks *s) {
    pthread_mutex_lock(&s->lock);
    if (s->path && s->file.fd < 0 && clock_ns() >= s->file.again_ns) open_file(s);
    write_out(s, &s->file);
    write_out(s, &s->console);
    pthread_mutex_unlock(&s->lock);
}

/* ---- changes ---- */

void sinks_reopen(struct sinks *s) {
    pthread_mutex_lock(&s->lock);
    write_out(s, &s->file);
    if (s->path) {
        drop_torn(s, &s->file);
        close_file(s);
        s->file.again_ns = 0;
        open_file(s);
    }
    pthread_mutex_unlock(&s->lock);
}

static void forget_waiting(struct sinks *s, struct out *o) {
    decision_log_release(s->log, o->waiting.len);
    uint32_t lines = o->waiting.len ? lines_in(o->waiting.ptr, o->waiting.len) : 0;
    for (; lines; lines--) decision_log_dropped(s->log, NULL, DROPPED_SINK);
    buf_clear(&o->waiting);
    o->torn = false;
}

void sinks_configure(struct sinks *s, const struct decision_log_config *c) {
    pthread_mutex_lock(&s->lock);
    bool same = c->file && s->path && strcmp(c->file, s->path) == 0;
    if (!same && s->path) {
        write_out(s, &s->file);
        if (!c->file) forget_waiting(s, &s->file);
        drop_torn(s, &s->file);
        close_file(s);
        free(s->path);
        s->path = NULL;
    }
    if (!same && c->file && (s->path = strdup(c->file))) open_file(s);
    if (!c->console && s->console.fd >= 0) write_out(s, &s->console), forget_waiting(s, &s->console);
    struct stat st;
    s->console.fd = c->console ? STDOUT_FILENO : -1;
    s->console.regular = c->console && fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode);
    pthread_mutex_unlock(&s->lock);
    uploader_configure(s->uploader, c);
}

/* ---- life ---- */

enum err sinks_new(struct decision_log *l, struct sinks **out) {
    struct sinks *s = calloc(1, sizeof *s);
    if (!s) return ERR_MEMORY;
    s->log = l;
    s->file = (struct out){.name = "file", .fd = -1};
    s->console = (struct out){.name = "standard output", .fd = -1};
    buf_init(&s->file.waiting, OUT_BYTES);
    buf_init(&s->console.waiting, OUT_BYTES);
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return uploader_new(l, &s->uploader);
}

void sinks_stop(struct sinks *s) {
    sinks_flush(s);
    if (s->uploader) uploader_stop(s->uploader);
}

void sinks_free(struct sinks *s) {
    if (s->uploader) uploader_free(s->uploader);
    close_file(s);
    free(s->path);
    buf_deinit(&s->file.waiting);
    buf_deinit(&s->console.waiting);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
