/* Planner: checked rules to a plan of OPA's statements. */
#ifndef REGENT_COMPILER_PLAN_PLAN_H
#define REGENT_COMPILER_PLAN_PLAN_H
#include "compiler/check/check.h"
#include "compiler/plan/ir.h"

/* Plans the request's entrypoints (and query) and every rule that they reach into c->plan. Errors (unknown
 * entrypoint, what is not supported) go to c->diags. */
void plan_build(struct compile *c);

#endif
