/* Edges as the routes of theirs share them. */
#ifndef REGENT_CONTROL_EDGES_H
#define REGENT_CONTROL_EDGES_H
#include "control/api.h"

/* Is the tenant in the caller's scopes? labels: JSON as the store has them, may be empty. */
bool edge_sees(struct api_call *c, struct str tenant, struct str labels);

#endif
