/* crypto.*: digests and MACs in hex (OpenSSL).
 *
 * in:   strings. out: hex strings, booleans. owns: nothing. */
#include "host/builtins/table.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static enum err return_hex(struct builtin_call *c, const uint8_t *bytes, size_t n) {
    static const char digits[] = "0123456789abcdef";
    char text[2 * EVP_MAX_MD_SIZE];
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    return builtin_return_string(c, (struct str){text, 2 * n});
}

static enum err digest(struct builtin_call *c, const EVP_MD *md) {
    uint8_t out[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct str s;
    if (!builtin_string(c, 0, &s)) return OK;
    if (EVP_Digest(s.ptr ? s.ptr : "", s.len, out, &n, md, NULL) != 1) return ERR_INTERNAL;
    return return_hex(c, out, n);
}

enum err hb_crypto_md5(struct builtin_call *c) { return digest(c, EVP_md5()); }
enum err hb_crypto_sha1(struct builtin_call *c) { return digest(c, EVP_sha1()); }
enum err hb_crypto_sha256(struct builtin_call *c) { return digest(c, EVP_sha256()); }

static enum err mac(struct builtin_call *c, const EVP_MD *md) {
    uint8_t out[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct str message, key;
    if (!builtin_string(c, 0, &message) || !builtin_string(c, 1, &key)) return OK;
    if (key.len > INT32_MAX) return ERR_LIMIT;
    if (!HMAC(md, key.ptr ? key.ptr : "", (int)key.len, (const uint8_t *)message.ptr, message.len,
              out, &n))
        return ERR_INTERNAL;
    return return_hex(c, out, n);
}

enum err hb_crypto_hmac_md5(struct builtin_call *c) { return mac(c, EVP_md5()); }
enum err hb_crypto_hmac_sha1(struct builtin_call *c) { return mac(c, EVP_sha1()); }
enum err hb_crypto_hmac_sha256(struct builtin_call *c) { return mac(c, EVP_sha256()); }
enum err hb_crypto_hmac_sha512(struct builtin_call *c) { return mac(c, EVP_sha512()); }

/* In time that does not depend on where they differ. */
enum err hb_crypto_hmac_equal(struct builtin_call *c) {
    struct str a, b;
    if (!builtin_string(c, 0, &a) || !builtin_string(c, 1, &b)) return OK;
    bool equal = a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
    return builtin_return_bool(c, equal);
}
