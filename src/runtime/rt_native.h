/* Native builds only (unit tests, fuzzing): the memory below 4 GB and the host's side of the
 * imports. */
#ifndef REGENT_RUNTIME_RT_NATIVE_H
#define REGENT_RUNTIME_RT_NATIVE_H
#ifdef REGENT_NATIVE
#include "runtime/rt.h"
#include <setjmp.h>

/* Maps header, slots and heap (once), zeroes the header, empties the heap. `max_bytes` of heap at
 * most, 0: 1 GiB. After it module_header() can be filled in by the test. */
void native_setup(uint32_t max_bytes);
uint32_t native_memory_end(void);
bool native_memory_grow(uint32_t bytes);

/* The next opa_abort keeps its message and jumps here instead of ending the program:
 *   if (setjmp(*native_catch()) == 0) { … } else { native_message() }  */
jmp_buf *native_catch(void);
void native_catch_end(void);
const char *native_message(void);
#endif
#endif
