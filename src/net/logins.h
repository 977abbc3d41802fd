/* Who guessed too often: tries that failed, by address. */
#ifndef REGENT_NET_LOGINS_H
#define REGENT_NET_LOGINS_H
#include "net/http.h"
#include <stdatomic.h>

/* Ten may follow each other, then one in six seconds. Any thread, no locks; addresses that share a slot share their
 * fate. */
enum { LOGIN_SLOTS = 1024 };
struct logins {
    uint64_t key; /* drawn by the owner, so that nobody can choose whose slot to share */
    _Atomic uint64_t full_ns[LOGIN_SLOTS];
};
/* Seconds that this client has to wait before it may try again; 0: it may. */
uint32_t logins_wait(const struct logins *l, const struct http_peer *peer, uint64_t now_ns);
void logins_failed(struct logins *l, const struct http_peer *peer, uint64_t now_ns);

#endif
