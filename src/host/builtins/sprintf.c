/* sprintf for modules of `opa build -t wasm`, which leave it to their host (ours bring their own).
 *
 * in:   a format and an array of values.
 * out:  the text of plain %s, %v, %d and %%.
 * owns: nothing.
 * All else that Go's fmt knows (flags, widths, floats, collections, missing or spare values) ends the
 * evaluation with ERR_UNSUPPORTED: never another text than OPA's. */
#include "host/builtins/table.h"

enum { TEXT_BYTES = 16 << 20 };

/* What Go's %v prints of a value as OPA hands it over; false: not one of the plain ones. */
static bool plain_text(const struct json *v, char verb, struct str *out) {
    int64_t integer;
    switch (v->kind) {
    case JSON_NULL: *out = STR("null"); return verb != 'd';
    case JSON_BOOL: *out = v->boolean ? STR("true") : STR("false"); return verb != 'd';
    case JSON_STRING: *out = v->text; return verb != 'd';
    case JSON_NUMBER: *out = v->text; return verb != 's' && json_int64(v, &integer);
    case JSON_ARRAY:
    case JSON_OBJECT: return false;
    }
    return false;
}

static enum err format(struct str text, const struct json *values, struct buf *out) {
    uint32_t used = 0;
    for (size_t i = 0; i < text.len; i++) {
        struct str piece;
        if (text.ptr[i] != '%') {
            buf_byte(out, (uint8_t)text.ptr[i]);
            continue;
        }
        char verb = ++i < text.len ? text.ptr[i] : 0;
        if (verb == '%') {
            buf_byte(out, '%');
            continue;
        }
        if ((verb != 's' && verb != 'v' && verb != 'd') || used == values->n) return ERR_UNSUPPORTED;
        if (!plain_text(values->items[used++], verb, &piece)) return ERR_UNSUPPORTED;
        buf_str(out, piece);
    }
    if (used != values->n) return ERR_UNSUPPORTED;
    return out->err;
}

enum err hb_sprintf(struct builtin_call *c) {
    struct str text;
    struct buf out;
    if (!builtin_string(c, 0, &text)) return OK;
    if (c->args[1]->kind != JSON_ARRAY) return builtin_fail_operand(c, 2, "array");
    buf_init(&out, TEXT_BYTES);
    enum err err = format(text, c->args[1], &out);
    if (!err) err = builtin_return_string(c, buf_view(&out));
    buf_deinit(&out);
    return err;
}
