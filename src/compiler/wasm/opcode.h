/* Inside of the emitter: instruction codes, and reading one instruction with its immediates. */
#ifndef REGENT_COMPILER_WASM_OPCODE_H
#define REGENT_COMPILER_WASM_OPCODE_H
#include "base/reader.h"
#include <stdbool.h>
#include <stdint.h>

enum opcode {
#define OP(name, code, text, immediate) OP_##name = code,
#include "compiler/wasm/opcode.def"
#undef OP
};

enum immediate {
    IMMEDIATE_NONE,
    IMMEDIATE_INDEX,
    IMMEDIATE_INDEX2,
    IMMEDIATE_CALL,
    IMMEDIATE_GLOBAL,
    IMMEDIATE_BLOCK,
    IMMEDIATE_TABLE,
    IMMEDIATE_INDIRECT,
    IMMEDIATE_MEMORY,
    IMMEDIATE_I32,
    IMMEDIATE_I64,
    IMMEDIATE_F32,
    IMMEDIATE_F64
};

enum { BLOCK_EMPTY = 0x40, TYPE_I32 = 0x7f, TYPE_I64 = 0x7e, TYPE_FUNCTION = 0x60 };

/* One instruction. `number` is the index, constant or offset (MEMORY: alignment in `number2`). */
struct instruction {
    enum opcode op;
    const char *text;
    enum immediate immediate;
    int64_t number, number2;
    struct str raw;      /* all its bytes */
    size_t immediate_at; /* offset in raw of what follows the code */
};

/* The next instruction; false at the end, on malformed bytes and on codes that are not in
 * opcode.def. */
bool instruction_read(struct reader *r, struct instruction *out);

#endif
