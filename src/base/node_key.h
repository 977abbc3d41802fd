/* A key that never leaves this machine: what a node finds on its disk is its own when a MAC under
 * it says so. */
#ifndef REGENT_BASE_NODE_KEY_H
#define REGENT_BASE_NODE_KEY_H
#include "base/err.h"
#include "base/str.h"
#include <stdint.h>

enum { NODE_KEY_BYTES = 32, NODE_MAC_BYTES = 32 };

/* Reads the key at `path`; draws it when there is none. It counts only when it is a plain file of
 * ours that nobody else may read or write: ERR_INVALID otherwise, ERR_IO (errno tells). */
MUST_USE enum err node_key_open(const char *path, uint8_t key[NODE_KEY_BYTES]);
/* HMAC-SHA256 of the parts, one behind the other. */
void node_mac(const uint8_t key[NODE_KEY_BYTES], const struct str *parts, uint32_t n,
              uint8_t mac[NODE_MAC_BYTES]);
/* Takes the same time whether or not they are equal. */
bool node_mac_equal(const uint8_t a[NODE_MAC_BYTES], const uint8_t b[NODE_MAC_BYTES]);

#endif
