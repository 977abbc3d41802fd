/* enum err as the numbers that the public API promises (include/regent.h). */
#ifndef REGENT_BASE_PUBLIC_ERR_H
#define REGENT_BASE_PUBLIC_ERR_H
#include "base/err.h"
#include <regent.h>

static inline enum regent_error public_err(enum err e) {
    switch (e) {
    case ERR_OK: return REGENT_OK;
    case ERR_MEMORY: return REGENT_MEMORY;
    case ERR_RATE:
    case ERR_CONCURRENCY:
    case ERR_OVERLOAD:
    case ERR_WORKER:
    case ERR_LIMIT: return REGENT_LIMIT;
    case ERR_SYNTAX: return REGENT_SYNTAX;
    case ERR_DIAG: return REGENT_DIAGNOSED;
    case ERR_NOT_FOUND: return REGENT_NOT_FOUND;
    case ERR_IO: return REGENT_IO;
    case ERR_UNSUPPORTED: return REGENT_UNSUPPORTED;
    case ERR_EXISTS:
    case ERR_UNDEFINED:
    case ERR_INVALID: return REGENT_INVALID;
    case ERR_ABI: return REGENT_ABI;
    case ERR_DEADLINE: return REGENT_DEADLINE;
    case ERR_FUEL: return REGENT_FUEL;
    case ERR_GUEST_MEMORY: return REGENT_GUEST_MEMORY;
    case ERR_STACK: return REGENT_STACK;
    case ERR_TRAP: return REGENT_TRAP;
    case ERR_CONFLICT: return REGENT_CONFLICT;
    case ERR_BUILTIN: return REGENT_BUILTIN;
    case ERR_TYPE: return REGENT_TYPE;
    case ERR_INPUT: return REGENT_INPUT;
    case ERR_INTERNAL:
    case ERR_COUNT: break;
    }
    return REGENT_INTERNAL;
}

#endif
