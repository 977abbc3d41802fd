/* Template strings ($"…{x}…") and print.
 * in:  an array of parts: scalars, or sets of at most one value (empty: undefined)
 * out: a string; print has no effect here and is true
 * owns: nothing */
#include "runtime/builtins/builtin.h"

static void write_part(struct builder *b, value v) {
    if (is_string(v))
        builder_text(b, text_of(v));
    else
        term_write(b, v);
}

RT_EXPORT value bi_internal_template_string(value parts) {
    NEED_ARRAY("internal.template_string", 1, parts);
    struct builder b = builder_new(64);
    for (uint32_t i = 0, n = array_len(parts); i < n; i++) {
        value part = array_items(parts)[i];
        if (is_array(part) || is_object(part))
            return bi_error("internal.template_string", "illegal argument type");
        if (!is_set(part))
            write_part(&b, part);
        else if (set_len(part) == 0)
            builder_c(&b, "<undefined>");
        else if (set_len(part) == 1)
            write_part(&b, set_items(part)[0]);
        else
            rt_fail("eval_conflict_error", "template-strings must not produce multiple outputs");
    }
    return builder_string(&b);
}

RT_EXPORT value bi_internal_print(value parts) {
    (void)parts;
    return VALUE_TRUE;
}
RT_EXPORT value bi_print(value parts) {
    (void)parts;
    return VALUE_TRUE;
}
