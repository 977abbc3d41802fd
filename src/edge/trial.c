/* Trials of versions. in: decisions. out: counts. owns: itself, counted. */
#include "edge/trial.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

struct trial {
    _Atomic uint32_t uses;
};

void trial_release(struct trial *t) {
    if (atomic_fetch_sub(&t->uses, 1) == 1) free(t);
}
