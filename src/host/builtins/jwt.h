/* A token's three parts, as the io.jwt builtins share them. */
#ifndef REGENT_HOST_BUILTINS_JWT_H
#define REGENT_HOST_BUILTINS_JWT_H
#include "host/builtins/jwk.h"

struct jwt {
    struct str header, payload, signature; /* base64url */
    struct str signed_text;                /* header "." payload */
    struct json *decoded;                  /* the header as an object, after jwt_decode_header */
    struct str alg, kid, cty;              /* of the header, after jwt_read_header */
    bool critical;                         /* the header asks for something unknown */
};

/* All false after builtin_fail with OPA's texts. */
bool jwt_split(struct builtin_call *c, struct str text, struct jwt *out);
bool jwt_decode_header(struct builtin_call *c, struct jwt *t);
bool jwt_read_header(struct builtin_call *c, struct jwt *t);
/* base64url with or without padding, the error behind `prefix`. */
bool jwt_decode_part(struct builtin_call *c, struct str part, const char *prefix, struct str *out);
bool jwt_object(struct builtin_call *c, struct str text, const char *prefix, struct json **out);

#endif
