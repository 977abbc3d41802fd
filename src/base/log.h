/* Structured log lines to standard error: JSON, or text at a terminal. */
#ifndef REGENT_BASE_LOG_H
#define REGENT_BASE_LOG_H
#include <stdarg.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* A log writes lines at or above `level` to fd; `json` picks the form. Lines are written with one
 * write(2) each, so lines of several threads do not mix. */
struct log {
    int fd;
    enum log_level level;
    int json;
};

/* Are lines of that level written? The level of a log in use may be changed by log_set_level, on any thread. */
static inline int log_takes(const struct log *l, enum log_level level) {
    return l && level >= __atomic_load_n(&l->level, __ATOMIC_RELAXED);
}
static inline void log_set_level(struct log *l, enum log_level level) {
    __atomic_store_n(&l->level, level, __ATOMIC_RELAXED);
}
/* log_line(l, LOG_INFO, "bundle activated", "tenant", id, "version", v, NULL): a message and pairs
 * of strings, closed by NULL. */
void log_line(const struct log *l, enum log_level level, const char *message, ...)
    __attribute__((sentinel));
/* From now on lines that find a pipe or socket full, because nobody reads it, are lost: who logs never waits. A pipe is
 * opened anew for that, since others may write to it too. What cannot be changed stays as it is. */
void log_never_wait(int fd);
const char *log_level_word(enum log_level level);

#endif
