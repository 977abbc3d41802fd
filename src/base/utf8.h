/* UTF-8 decoding and checking, one code point or a whole text at a time. */
#ifndef REGENT_BASE_UTF8_H
#define REGENT_BASE_UTF8_H
#include "base/str.h"
#include <stdint.h>

/* Length in bytes (1–4) of the valid sequence at s[0..len), its code point in *cp; 0 when invalid. */
int utf8_decode(const char *s, size_t len, uint32_t *cp);
/* Bytes written to out (1–4); a surrogate or a value past U+10FFFF writes U+FFFD. */
int utf8_encode(uint32_t cp, char out[4]);
bool utf8_valid(struct str s);

#endif
