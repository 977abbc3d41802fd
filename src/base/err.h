/* Error values: what a native function returns when it cannot do what its name says. */
#ifndef REGENT_BASE_ERR_H
#define REGENT_BASE_ERR_H

/* 0 is success; the list with its meanings is err.def. Results of a function that returns
 * `enum err` come through out-parameters, which are written on success only. */
enum err {
#define ERR(name, word, meaning) ERR_##name,
#include "base/err.def"
#undef ERR
    ERR_COUNT
};
#define OK ERR_OK
#define MUST_USE __attribute__((warn_unused_result))

/* The machine word of an error ("deadline"), and its meaning as a phrase. Never NULL. */
const char *err_word(enum err e);
const char *err_meaning(enum err e);

#endif
