/* Reads builtins' arguments out of a sandbox and writes their results into it.
 *
 * in:   addresses (hostile), JSON trees.
 * out:  JSON trees in the evaluation's scratch arena, addresses on the sandbox's heap.
 * owns: nothing. */
#include "host/value.h"
#include <stdlib.h>

static enum err guest_call(struct instance *i, const wasmtime_func_t *f, wasmtime_val_raw_t *raw,
                           size_t n) {
    char text[sizeof i->message] = "";
    if (f->store_id == 0) return ERR_ABI;
    enum err err = instance_call(i, f, raw, n, text, sizeof text);
    if (err && i->stopped == OK) {
        i->stopped = err;
        memcpy(i->message, text, sizeof text);
    }
    return err;
}

static enum err read_word(struct instance *i, uint32_t address, struct arena *a,
                          struct json **out) {
    struct memory_view m = instance_memory(i);
    value v;
    if (m.len < sizeof v || address > m.len - sizeof v) return ERR_INVALID;
    memcpy(&v, m.bytes + address, sizeof v);
    enum err err = memory_read(m, v, a, out);
    return err ? err : *out ? OK : ERR_INVALID;
}

static enum err read_dump(struct instance *i, uint32_t address, struct arena *a,
                          struct json **out) {
    wasmtime_val_raw_t raw[1] = {{0}};
    struct json_error error;
    struct str text;
    raw[0].i32 = (int32_t)address;
    enum err err = guest_call(i, &i->json_dump, raw, 1);
    if (err) return err;
    if (!memory_c_string(instance_memory(i), (uint32_t)raw[0].i32, &text)) return ERR_INVALID;
    text.ptr = arena_strndup(a, text.ptr, text.len);
    if (!text.ptr) return ERR_MEMORY;
    err = json_parse(a, text, out, &error);
    return err == OK || err == ERR_MEMORY ? err : ERR_INVALID;
}

enum err guest_read(struct instance *i, uint32_t address, struct arena *a, struct json **out) {
    return i->policy->form == MODULE_OPA ? read_dump(i, address, a, out)
                                         : read_word(i, address, a, out);
}

bool guest_is_set(struct instance *i, uint32_t address) {
    struct memory_view m = instance_memory(i);
    value v;
    if (i->policy->form == MODULE_OPA || m.len < sizeof v || address > m.len - sizeof v)
        return false;
    memcpy(&v, m.bytes + address, sizeof v);
    return value_tag(v) == TAG_SET;
}

/* n bytes on the sandbox's heap; *bytes is where they are natively, until the sandbox runs again.
 */
static enum err guest_alloc(struct instance *i, size_t n, uint32_t *address, uint8_t **bytes) {
    wasmtime_val_raw_t raw[1] = {{0}};
    if (n > INT32_MAX) return ERR_LIMIT;
    raw[0].i32 = (int32_t)n;
    enum err err = guest_call(i, &i->malloc, raw, 1);
    if (err) return err;
    struct memory_view m = instance_memory(i);
    uint32_t at = (uint32_t)raw[0].i32;
    if (at > m.len || n > m.len - at) return ERR_INVALID;
    *address = at;
    *bytes = instance_bytes(i) + at;
    return OK;
}

static enum err write_text(struct instance *i, struct str text, const wasmtime_func_t *parse,
                           uint32_t *address) {
    wasmtime_val_raw_t raw[2] = {{0}, {0}};
    uint32_t at;
    uint8_t *bytes;
    enum err err = guest_alloc(i, text.len, &at, &bytes);
    if (err) return err;
    memcpy(bytes, text.ptr, text.len);
    raw[0].i32 = (int32_t)at;
    raw[1].i32 = (int32_t)text.len;
    if ((err = guest_call(i, parse, raw, 2)) != OK) return err;
    *address = (uint32_t)raw[0].i32;
    return *address ? OK : ERR_INVALID;
}

static bool plain_integer(const struct json *v, int64_t *out) {
    if (v->kind != JSON_NUMBER || memchr(v->text.ptr, '.', v->text.len) || v->text.len > 18)
        return false;
    if (!json_int64(v, out) || *out < INTEGER_MIN || *out > INTEGER_MAX) return false;
    return !(v->text.ptr[0] == '-' && *out == 0) && !memchr(v->text.ptr, 'e', v->text.len) &&
           !memchr(v->text.ptr, 'E', v->text.len);
}

/* A word, and behind it the bytes of a string or number. */
static enum err write_view(struct instance *i, unsigned tag, struct str text, uint32_t *address) {
    uint8_t *bytes;
    value v;
    if (text.len > STRING_MAX_BYTES) return ERR_LIMIT;
    enum err err = guest_alloc(i, sizeof v + text.len, address, &bytes);
    if (err) return err;
    v = value_of_view(tag, *address + (uint32_t)sizeof v, (uint32_t)text.len);
    memcpy(bytes, &v, sizeof v);
    if (text.len) memcpy(bytes + sizeof v, text.ptr, text.len);
    return OK;
}

static enum err write_word(struct instance *i, value v, uint32_t *address) {
    uint8_t *bytes;
    enum err err = guest_alloc(i, sizeof v, address, &bytes);
    if (!err) memcpy(bytes, &v, sizeof v);
    return err;
}

static enum err write_scalar(struct instance *i, const struct json *v, uint32_t *address) {
    int64_t integer;
    switch (v->kind) {
    case JSON_NULL: return write_word(i, VALUE_NULL, address);
    case JSON_BOOL: return write_word(i, value_of_boolean(v->boolean), address);
    case JSON_STRING: return write_view(i, TAG_STRING, v->text, address);
    case JSON_NUMBER:
        if (plain_integer(v, &integer)) return write_word(i, value_of_integer(integer), address);
        return write_view(i, TAG_NUMBER, v->text, address);
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    return ERR_INTERNAL;
}

static void print_set(const struct json *v, struct buf *b) {
    buf_cstr(b, v->n ? "{" : "set()");
    for (uint32_t k = 0; k < v->n; k++) {
        if (k) buf_byte(b, ',');
        json_print(v->items[k], false, 0, b);
    }
    if (v->n) buf_byte(b, '}');
}

enum err guest_write(struct instance *i, const struct json *v, bool as_set, uint32_t *address) {
    bool scalar = v->kind != JSON_ARRAY && v->kind != JSON_OBJECT;
    if (scalar && i->policy->form != MODULE_OPA) return write_scalar(i, v, address);
    struct buf b;
    buf_init(&b, (size_t)1 << 30);
    if (as_set)
        print_set(v, &b);
    else
        json_print(v, false, 0, &b);
    enum err err = b.err;
    if (!err) err = write_text(i, buf_view(&b), as_set ? &i->value_parse : &i->json_parse, address);
    buf_deinit(&b);
    return err;
}
