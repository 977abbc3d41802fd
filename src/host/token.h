/* JSON Web Tokens that the node itself relies on: signed ones, by keys that it was given. */
#ifndef REGENT_HOST_TOKEN_H
#define REGENT_HOST_TOKEN_H
#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include <stdint.h>

/* Algorithms of RFC 7518 and 8037 as bits. `none` is not among them. */
enum token_algorithm {
    TOKEN_RS256 = 1 << 0,
    TOKEN_RS384 = 1 << 1,
    TOKEN_RS512 = 1 << 2,
    TOKEN_PS256 = 1 << 3,
    TOKEN_PS384 = 1 << 4,
    TOKEN_PS512 = 1 << 5,
    TOKEN_ES256 = 1 << 6,
    TOKEN_ES384 = 1 << 7,
    TOKEN_ES512 = 1 << 8,
    TOKEN_EDDSA = 1 << 9,
    TOKEN_HS256 = 1 << 10,
    TOKEN_HS384 = 1 << 11,
    TOKEN_HS512 = 1 << 12,
    TOKEN_ASYMMETRIC = TOKEN_HS256 - 1,
    TOKEN_SHARED_SECRET = TOKEN_HS256 | TOKEN_HS384 | TOKEN_HS512
};
uint32_t token_algorithm(struct str name); /* 0: unknown */

enum {
    TOKEN_MAX_BYTES = 16 << 10,
    TOKEN_KEYS_MAX = 256,    /* in a set */
    TOKEN_KEYS_TRIED = 8,    /* at most for one token that names none */
    TOKEN_KEYS_BYTES = 1 << 20 /* of a set's text */
};

/* Keys of one source; immutable, counted, for any thread. */
struct token_keys;
/* From a JWK set, a single JWK, or PEM blocks (public keys, certificates). Keys that are made for something else
 * (use, key_ops), of unknown kinds, or too weak (RSA below 2048 bits, secrets below 32 bytes) are left out, and so are
 * secrets unless `secrets`. ERR_INVALID with a phrase in why when nothing is left; ERR_MEMORY. */
MUST_USE enum err token_keys_new(struct str text, bool secrets, struct token_keys **out, char *why,
                                 size_t why_bytes);
struct token_keys *token_keys_acquire(struct token_keys *k);
void token_keys_release(struct token_keys *k); /* NULL: nothing */
uint32_t token_keys_count(const struct token_keys *k);

enum token_fault {
    TOKEN_VALID,
    TOKEN_MALFORMED,
    TOKEN_WRONG_ALGORITHM,
    TOKEN_WRONG_ISSUER,
    TOKEN_UNKNOWN_KEY,
    TOKEN_WRONG_SIGNATURE,
    TOKEN_EXPIRED,
    TOKEN_TOO_EARLY,
    TOKEN_WRONG_AUDIENCE,
    TOKEN_NO_MEMORY
};
const char *token_fault_text(enum token_fault f); /* a phrase */

struct token_rules {
    uint32_t algorithms;         /* enum token_algorithm */
    struct str issuer, audience; /* empty: any */
    int64_t now_s, leeway_s;     /* since 1970; how much clocks may differ */
    size_t max_bytes;            /* of the token; 0: TOKEN_MAX_BYTES */
    struct str kid_claim;        /* claim that names the key when the header does not; empty: none */
};
struct token {
    const struct json *payload; /* in the arena */
    struct str alg, kid;        /* what it says itself; kid may be empty */
    int64_t from_s, until_s; /* valid while from_s <= now < until_s, with leeway; INT64_MIN, INT64_MAX: no bound */
};
/* Is it a token that these rules accept now? The algorithm must be the rules' and fit the key's kind and curve; the key
 * is the one of the header's kid, or one without kid. A wrong issuer is told before the algorithm and the
 * signature are looked at, so that another rule may take the token. keys NULL: every key is unknown. alg and kid of
 * *out are set also when the token is refused, as far as they could be read. */
enum token_fault token_verify(struct arena *a, const struct token_keys *keys, struct str text,
                              const struct token_rules *rules, struct token *out);

#endif
