/* The node's own key, in a file, and MACs under it.
 * in: a path, bytes. out: a key, MACs. owns: nothing that outlives a call. */
/* SHA256_Init and its kin need no set-up of the library, which takes a millisecond. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/node_key.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_exactly(int fd, uint8_t *to, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = read(fd, to + done, len - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static enum err key_read(const char *path, uint8_t key[NODE_KEY_BYTES]) {
    struct stat s;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno == ELOOP ? ERR_INVALID : ERR_IO;
    bool ours = fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid() &&
                (s.st_mode & 077) == 0 && s.st_size == NODE_KEY_BYTES &&
                read_exactly(fd, key, NODE_KEY_BYTES);
    close(fd);
    return ours ? OK : ERR_INVALID;
}

/* Draws a key beside `path` and links it there, so that of two processes one wins and no reader
 * sees half. */
static void key_create(const char *path) {
    char temp[4096];
    uint8_t key[NODE_KEY_BYTES];
    if (snprintf(temp, sizeof temp, "%s.%ld", path, (long)getpid()) >= (int)sizeof temp) return;
    if (getrandom(key, sizeof key, 0) != sizeof key) return;
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return;
    bool written = write(fd, key, sizeof key) == sizeof key && fsync(fd) == 0;
    int saved = errno;
    close(fd);
    if (written && link(temp, path) != 0) saved = errno;
    unlink(temp);
    OPENSSL_cleanse(key, sizeof key);
    errno = saved;
}

enum err node_key_open(const char *path, uint8_t key[NODE_KEY_BYTES]) {
    enum err e = key_read(path, key);
    if (e != ERR_IO || errno != ENOENT) return e;
    key_create(path);
    int saved = errno;
    if ((e = key_read(path, key)) == ERR_IO) errno = saved;
    return e;
}

/* RFC 2104. */
void node_mac(const uint8_t key[NODE_KEY_BYTES], const struct str *parts, uint32_t n,
              uint8_t mac[NODE_MAC_BYTES]) {
    enum { BLOCK = 64, INNER = 0x36, OUTER = 0x5c };
    uint8_t pad[BLOCK];
    SHA256_CTX context;
    for (int i = 0; i < BLOCK; i++) pad[i] = (uint8_t)((i < NODE_KEY_BYTES ? key[i] : 0) ^ INNER);
    SHA256_Init(&context);
    SHA256_Update(&context, pad, BLOCK);
    for (uint32_t i = 0; i < n; i++) SHA256_Update(&context, parts[i].ptr, parts[i].len);
    SHA256_Final(mac, &context);
    for (int i = 0; i < BLOCK; i++) pad[i] ^= INNER ^ OUTER;
    SHA256_Init(&context);
    SHA256_Update(&context, pad, BLOCK);
    SHA256_Update(&context, mac, NODE_MAC_BYTES);
    SHA256_Final(mac, &context);
    OPENSSL_cleanse(pad, sizeof pad);
    OPENSSL_cleanse(&context, sizeof context);
}

bool node_mac_equal(const uint8_t a[NODE_MAC_BYTES], const uint8_t b[NODE_MAC_BYTES]) {
    return CRYPTO_memcmp(a, b, NODE_MAC_BYTES) == 0;
}
