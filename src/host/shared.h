/* Inside of the host: a sandbox that serves one policy after another. */
#ifndef REGENT_HOST_SHARED_H
#define REGENT_HOST_SHARED_H
#include "host/instance.h"

enum { SHARED_BYTES = 512 << 10 }; /* of its memory, always */

/* One runtime and one memory, with the code of every policy that it has served linked to them once. Between two
 * policies all pages that were written since the sandbox was new are set back to what they were then, whoever wrote
 * them, and so is the stack pointer, the only other thing that can change: what comes next finds the state of a new
 * sandbox (docs/decisions/0013). */
struct shared;

MUST_USE enum err shared_new(struct engine *e, struct shared **out, char *text, size_t text_bytes);
void shared_free(struct shared *s);
/* May p be served here: a thin module without state of its own, an image and input that leave room, no smaller memory
 * limit? */
bool shared_takes(const struct policy *p, const struct limits *limits, size_t input_len);
/* The sandbox with p's image in its memory. After an error it is of no more use. Errors as instance_new. */
MUST_USE enum err shared_bind(struct shared *s, struct policy *p, struct instance **out, char *text,
                              size_t text_bytes);
/* Whatever the evaluation left behind is to go before the next one, also of the same policy. */
void shared_spoil(struct shared *s);
/* Holds much code that no policy has any more: time for a new one. */
bool shared_worn(struct shared *s);
/* Whose image is in place; NULL: nobody's. */
struct policy *shared_policy(const struct shared *s);
/* For tests: the sandbox, and its stack pointer. */
struct instance *shared_instance(struct shared *s);
int32_t shared_stack(struct shared *s);
/* Takes the policy's data out of the sandbox, if it is there. */
MUST_USE enum err shared_leave(struct shared *s);

#endif
