/* What several host builtins need: refusing, building results, Go's encodings, randomness. */
#ifndef REGENT_HOST_BUILTINS_SUPPORT_H
#define REGENT_HOST_BUILTINS_SUPPORT_H
#include "host/builtins/builtin.h"

/* builtin_fail, then false: for functions that tell with a bool whether they filled their result.
 */
bool builtin_refuse(struct builtin_call *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* false after "out of memory" was set as the call's error. */
bool builtin_no_memory(struct builtin_call *c);

/* Appends or adds; false when the arena is used up or v is NULL. The key must be new. */
bool list_add(struct arena *a, struct json *list, struct json *v);
bool object_add(struct arena *a, struct json *object, struct str key, struct json *v);
/* A string value with a copy of the bytes as they are; NULL: no memory. */
struct json *text_value(struct arena *a, const char *ptr, size_t len);
/* Lower-case hex. */
struct json *hex_value(struct arena *a, const uint8_t *bytes, size_t n);

enum { BASE64_URL = 1, BASE64_NO_PADDING = 2 };
/* Go's encoding/base64 (not strict: CR and LF are skipped, spare bits ignored). False: *at is the
 * byte that Go names in "illegal base64 data at input byte N", or SIZE_MAX for no memory. */
bool base64_decode(struct arena *a, struct str text, int flags, struct str *out, size_t *at);
/* As base64_decode, with the call's error set: Go's text behind `prefix`. */
bool builtin_base64(struct builtin_call *c, struct str text, int flags, const char *prefix,
                    struct str *out);
/* NULL: no memory. */
char *base64_encode(struct arena *a, struct str bytes, int flags, size_t *len);

/* A PEM block as Go's pem.Decode finds it. */
struct pem {
    struct str type, der;
};
/* The first block in *text, which is moved behind it; false when there is none (then *text is as
 * before). Time is linear in the text. */
bool pem_next(struct arena *a, struct str *text, struct pem *out);

/* 32 bytes that depend on the evaluation, the builtin and the key only. False: no randomness. */
bool builtin_random(struct builtin_call *c, const char *builtin, struct str key, uint8_t out[32]);
/* A JSON number as a double; false when it is none or too large. */
bool number_double(const struct json *v, double *out);
/* The shortest text that reads back as d (finite), with an exponent below 1e-4 and from 1e<limit>
 * on: Go's strconv.FormatFloat(d, 'g', -1, 64) for limit 6 when the digits are few, its %v and JSON
 * for 21. Returns the length. */
size_t format_double(double d, int limit, char out[32]);
/* Go's %q, but for unprintable code points past ASCII. */
struct str go_quote(struct arena *a, struct str s);

#endif
