/* Words and meanings of the error values. in: enum err. out: static strings. owns: nothing. */
#include "base/err.h"

static const struct {
    const char *word, *meaning;
} table[] = {
#define ERR(name, word, meaning) {word, meaning},
#include "base/err.def"
#undef ERR
};

const char *err_word(enum err e) { return (unsigned)e < ERR_COUNT ? table[e].word : "unknown"; }

const char *err_meaning(enum err e) {
    return (unsigned)e < ERR_COUNT ? table[e].meaning : "unknown error";
}
