/* Who may administer: tokens, of which only hashes are kept, and names in certificates. */
#ifndef REGENT_EDGE_ADMIN_TOKENS_H
#define REGENT_EDGE_ADMIN_TOKENS_H
#include "edge/config.h"
#include "net/http.h"

/* What a token may do: bits. */
enum admin_scope {
    ADMIN_READ = 1,       /* see tenants' versions */
    ADMIN_RELOAD = 2,     /* have a source asked now */
    ADMIN_ROLLBACK = 4,   /* go back to a kept version; bring one that is older than what was seen */
    ADMIN_PIN = 8,        /* hold a tenant at a version, or let go */
    ADMIN_DISTRIBUTE = 16 /* read modules */
};
extern const char *const admin_scopes[]; /* "read", … by bit */
enum { ADMIN_SCOPES = 5, ADMIN_TOKENS = 1000, ADMIN_NAME_BYTES = 64, ADMIN_FILE_BYTES = 1 << 20 };

struct admin_token {
    struct str name; /* for logs */
    uint8_t hash[32];
    uint32_t scopes;          /* all when the line names none */
    struct name_list tenants; /* that it may speak of; empty: all */
};
struct admin_tokens {
    struct admin_token *items;
    uint32_t n, cap;
};
/* Reads lines `NAME sha256:HEX [scope…] [tenant:PATTERN…]`; empty ones and those that begin with # are passed over.
 * What is wrong with a line goes to `problem`, of which there may be many; nothing is taken over from it. All lies in
 * the arena, which jumps when it is exhausted, or else tokens are left out. */
void admin_tokens_read(struct arena *a, struct str text, struct admin_tokens *out,
                       void (*problem)(void *ctx, uint32_t row, const char *what), void *ctx);
/* Whose token this is, or NULL. Takes as long for any token. */
const struct admin_token *admin_tokens_find(const struct admin_tokens *t, struct str token);
/* tenant empty: of none in particular. */
bool admin_token_may(const struct admin_token *t, enum admin_scope scope, struct str tenant);
/* Can a line of a file of tokens have this name? */
bool admin_name_valid(struct str name);
/* Is the client's verified certificate one of those named? Gives the name. */
bool admin_certificate(const struct name_list *names, const struct http_peer *peer, struct str *name);

#endif
