/* The REST API's table of contents: one line a kind of thing.
 * in: nothing. out: the tables of routes, in the order in which they are documented. owns: nothing. */
#include "control/api.h"

const struct api_route *const api_routes[] = {
    NULL,
};
