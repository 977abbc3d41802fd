/* Case mapping and classes of code points, as Go's unicode and strconv packages; Unicode 15.0. */
#ifndef REGENT_RUNTIME_BUILTINS_UNICODE_H
#define REGENT_RUNTIME_BUILTINS_UNICODE_H
#include <stdint.h>

/* Simple case mapping (unicode.ToLower, unicode.ToUpper). */
uint32_t rune_lower(uint32_t cp);
uint32_t rune_upper(uint32_t cp);
/* unicode.IsSpace. */
int rune_is_space(uint32_t cp);
/* strconv.IsPrint: letters, marks, numbers, punctuation, symbols and the ASCII space. */
int rune_is_print(uint32_t cp);

#endif
