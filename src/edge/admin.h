/* Inside of the doors admin and distribution: who calls, what for, and what the calls share. */
#ifndef REGENT_EDGE_ADMIN_H
#define REGENT_EDGE_ADMIN_H
#include "edge/activator.h"
#include "edge/admin_tokens.h"
#include "edge/rest.h"

enum { ADMIN_BODY_BYTES = 64 << 10, ADMIN_PAGE = 100, ADMIN_PAGE_MOST = 1000 };

/* What a call says in its body, or its query. */
struct admin_body {
    struct str tenant, version; /* empty: not given */
    bool allow_older, at_once;
};
/* {"tenant_id", "version", "allow_older", "at_once"}: members of an object, none twice of another kind; `tenant`: must
 * it name one, or may it not? NULL, or what is wrong. */
const char *admin_body_read(struct arena *a, struct str text, bool tenant, struct admin_body *out);
/* Can it be a tenant's id? */
bool admin_tenant_valid(struct str id);

struct admin_call {
    struct rest_call rest;           /* w, q, r: what replies are written with */
    const struct admin_token *token; /* NULL: a certificate, which may do everything; or nobody had to be anybody */
    struct str who;                  /* the token's or certificate's name, for the log */
    struct str id;                   /* of the path */
    struct admin_body body;
    const char *action; /* for the log */
};

/* Whoever has a certificate or token that opens the door: false, and an answer (401, 429), if nobody known. tokens
 * NULL: none opens it. */
bool admin_identify(struct admin_call *c, const struct admin_tokens *tokens, const struct name_list *certificates);
/* May it do this to the tenant (empty: to none in particular)? false, and an answer (403). */
bool admin_may(struct admin_call *c, enum admin_scope scope, struct str tenant);
/* Is the tenant one of those of the listener and the token? */
bool admin_sees(const struct admin_call *c, struct str tenant);
void admin_error(struct admin_call *c, int status, const char *code, const char *message);
/* A segment of the path, decoded, as a tenant's id: false, and an answer, if it cannot be one. */
bool admin_path_tenant(struct admin_call *c, struct str segment, struct str *out);

/* ---- admin_calls.c: in a lane, where waiting holds up nobody ---- */
void admin_list(struct admin_call *c);
void admin_show(struct admin_call *c);
void admin_reload(struct admin_call *c);
void admin_rollback(struct admin_call *c);
void admin_pin(struct admin_call *c);
void admin_unpin(struct admin_call *c);

#endif
