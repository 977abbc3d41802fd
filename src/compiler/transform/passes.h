/* The transforms' functions; transform.c lists them in their order. */
#ifndef REGENT_COMPILER_TRANSFORM_PASSES_H
#define REGENT_COMPILER_TRANSFORM_PASSES_H
#include "compiler/transform/walk.h"

void pass_const(struct plan *p);
void pass_copy(struct plan *p);
void pass_result(struct plan *p);
void pass_inline(struct plan *p);
void pass_exit(struct plan *p);
void pass_project(struct plan *p);
void pass_prune(struct plan *p);
#endif
