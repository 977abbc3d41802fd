/* The plan's string constants, one for each text (or template text).
 * in: texts. out: their indexes. owns: nothing; all lies in the plan's arena. */
#include "compiler/plan/ir.h"

uint32_t plan_string(struct plan *p, struct str text, struct str template_text, bool is_number) {
    struct str key = template_text.ptr ? template_text : text;
    struct table *index = &p->string_index[template_text.ptr ? 2 : is_number];
    if (!index->arena) table_init(index, p->arena);
    uintptr_t found = (uintptr_t)table_get(index, key);
    if (found) return (uint32_t)(found - 1);
    ARENA_PUSH(p->arena, &p->strings, ((struct plan_string){text, template_text, is_number}));
    table_set(index, key, (void *)(uintptr_t)p->strings.n);
    return p->strings.n - 1;
}
