/* Log lines of a message and string pairs. in: strings. out: one write(2) a line. owns: nothing. */
#include "base/log.h"
#include "base/buf.h"
#include "base/json.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINE_BYTES = 65536 };

const char *log_level_word(enum log_level level) {
    switch (level) {
    case LOG_DEBUG: return "debug";
    case LOG_INFO: return "info";
    case LOG_WARN: return "warning";
    case LOG_ERROR: return "error";
    }
    return "unknown";
}

void log_never_wait(int fd) {
    struct stat st;
    char path[32];
    if (fstat(fd, &st)) return;
    if (S_ISSOCK(st.st_mode)) {
        int flags = fcntl(fd, F_GETFL);
        if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return;
    }
    if (!S_ISFIFO(st.st_mode)) return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (own < 0) return;
    dup2(own, fd);
    close(own);
}

static void time_text(char out[32]) {
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t n = strftime(out, 24, "%Y-%m-%dT%H:%M:%S", &parts);
    int ms = (int)(now.tv_nsec / 1000000);
    const char tail[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                         (char)('0' + ms % 10), 'Z', 0};
    memcpy(out + n, tail, sizeof tail);
}

static void pair(const struct log *l, struct buf *line, const char *key, const char *value) {
    if (l->json) {
        buf_byte(line, ',');
        json_print_string(str_of(key), line);
        buf_byte(line, ':');
        json_print_string(str_of(value), line);
    } else {
        buf_printf(line, " %s=", key);
        json_print_string(str_of(value), line);
    }
}

void log_line(const struct log *l, enum log_level level, const char *message, ...) {
    if (!log_takes(l, level)) return;
    struct buf line;
    buf_init(&line, MAX_LINE_BYTES);
    char when[32];
    time_text(when);
    if (l->json) {
        buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":", when, log_level_word(level));
        json_print_string(str_of(message), &line);
    } else {
        buf_printf(&line, "%s %-7s %s", when, log_level_word(level), message);
    }
    va_list args;
    va_start(args, message);
    for (const char *key; (key = va_arg(args, const char *));) {
        const char *value = va_arg(args, const char *);
        pair(l, &line, key, value ? value : "");
    }
    va_end(args);
    buf_cstr(&line, l->json ? "}\n" : "\n");
    if (!line.err && write(l->fd, line.ptr, line.len) < 0) { /* nowhere left to report to */
    }
    buf_deinit(&line);
}
