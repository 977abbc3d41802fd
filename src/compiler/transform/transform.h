/* Transforms: plan to plan, each preserving every answer; the table in transform.c lists them. */
#ifndef REGENT_COMPILER_TRANSFORM_TRANSFORM_H
#define REGENT_COMPILER_TRANSFORM_TRANSFORM_H
#include "compiler/compile.h"
#include "compiler/plan/ir.h"

/* Runs the transforms of the request's level in order, but for those in request->disabled_transforms. */
void transform_run(struct compile *c);
/* name, meaning of transform i; false past the end */
bool transform_at(uint32_t i, const char **name, const char **meaning, int *level);

#endif
