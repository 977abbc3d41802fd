/* The parts of an evaluation that Regent's ABI (eval.c) and OPA's (abi.c) put together. */
#ifndef REGENT_RUNTIME_EVAL_H
#define REGENT_RUNTIME_EVAL_H
#include "runtime/state.h"

/* No result, no `with`, no memo. */
void eval_reset(void);
/* The input document and its slots. */
void eval_no_input(void);
void eval_input_value(value v); /* VALUE_UNDEFINED: none */
bool eval_input_text(struct text t, struct json_problem *problem);
/* The base document and its slots; VALUE_UNDEFINED: the one the module was loaded with. */
void eval_data(value document);
/* OPA's form of the result: a set of binding objects. */
value eval_result_set(void);

#endif
