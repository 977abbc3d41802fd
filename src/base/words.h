/* Suggestions: the known word that somebody probably meant. */
#ifndef REGENT_BASE_WORDS_H
#define REGENT_BASE_WORDS_H
#include "base/str.h"
#include <stdint.h>

/* The word of words[0..n) that is nearest to what was given, or NULL when none is near. */
const char *word_meant(struct str given, const char *const *words, uint32_t n);

#endif
