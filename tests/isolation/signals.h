/* cmocka takes SIGSEGV and its kin while a test runs; sandboxes need them, since traps arrive as
 * signals. */
#ifndef REGENT_TESTS_SIGNALS_H
#define REGENT_TESTS_SIGNALS_H
#include <signal.h>

struct trap_signals {
    struct sigaction segv, ill, fpe, bus;
};
/* After engine_new: what wasmtime installed. */
static inline void trap_signals_save(struct trap_signals *s) {
    sigaction(SIGSEGV, NULL, &s->segv);
    sigaction(SIGILL, NULL, &s->ill);
    sigaction(SIGFPE, NULL, &s->fpe);
    sigaction(SIGBUS, NULL, &s->bus);
}
/* First thing in each test that evaluates. */
static inline void trap_signals_use(const struct trap_signals *s) {
    sigaction(SIGSEGV, &s->segv, NULL);
    sigaction(SIGILL, &s->ill, NULL);
    sigaction(SIGFPE, &s->fpe, NULL);
    sigaction(SIGBUS, &s->bus, NULL);
}

#endif
