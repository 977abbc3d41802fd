/* Replies that outlive whoever wrote them. */
#ifndef REGENT_NET_KEPT_H
#define REGENT_NET_KEPT_H
#include "net/http.h"

struct http_kept; /* free() frees it */
/* A copy of a reply with its own bytes; NULL: no memory. */
struct http_kept *http_keep(const struct http_reply *r);
const struct http_reply *http_kept_reply(const struct http_kept *k);

#endif
