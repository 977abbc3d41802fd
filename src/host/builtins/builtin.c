/* The table of host builtins by name, and what all of them use.
 *
 * in:   Rego names; calls.
 * out:  functions; results and errors in the call.
 * owns: nothing. */
#include "host/builtins/builtin.h"
#include "base/utf8.h"
#include "host/builtins/table.h"
#include <stdarg.h>
#include <stdio.h>

/* The rows of builtins.def whose place is HOST, and what only OPA's modules call. */
static const struct host_builtin TABLE[] = {
#define ROW_PLAN(identifier, name)
#define ROW_RUNTIME(identifier, name)
#define ROW_LATER(identifier, name)
#define ROW_HOST(identifier, name) {name, hb_##identifier},
#define BUILTIN(identifier, name, infix, place, flags, category, type) ROW_##place(identifier, name)
#include "builtins.def"
#undef BUILTIN
    {"sprintf", hb_sprintf}, /* our modules bring it, OPA's ask for it */
};

const struct host_builtin *host_builtin_find(struct str name) {
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++)
        if (str_is(name, TABLE[i].name)) return &TABLE[i];
    return NULL;
}

enum err builtin_fail(struct builtin_call *c, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    c->result = NULL;
    c->error = arena_strndup(c->arena, text,
                             n < 0                     ? 0
                             : (size_t)n < sizeof text ? (size_t)n
                                                       : sizeof text - 1);
    return c->error ? OK : ERR_MEMORY;
}

const char *builtin_type_name(const struct json *v) {
    switch (v->kind) {
    case JSON_NULL: return "null";
    case JSON_BOOL: return "boolean";
    case JSON_NUMBER: return "number";
    case JSON_STRING: return "string";
    case JSON_ARRAY: return "array";
    case JSON_OBJECT: return "object";
    }
    return "any";
}

enum err builtin_fail_operand(struct builtin_call *c, uint32_t pos, const char *expected) {
    c->type_error = true;
    return builtin_fail(c, "operand %u must be %s but got %s", pos, expected,
                        builtin_type_name(c->args[pos - 1]));
}

bool builtin_string(struct builtin_call *c, uint32_t i, struct str *out) {
    if (c->args[i]->kind != JSON_STRING) {
        if (builtin_fail_operand(c, i + 1, "string") != OK) c->error = "out of memory";
        return false;
    }
    *out = c->args[i]->text;
    return true;
}

enum err builtin_return(struct builtin_call *c, struct json *result) {
    c->result = result;
    return result ? OK : ERR_MEMORY;
}

bool builtin_integer(struct builtin_call *c, uint32_t i, int64_t *out) {
    if (c->args[i]->kind != JSON_NUMBER) {
        if (builtin_fail_operand(c, i + 1, "number") != OK) c->error = "out of memory";
        return false;
    }
    if (json_int64(c->args[i], out) && *out >= INT32_MIN && *out <= INT32_MAX) return true;
    if (builtin_fail(c, "operand %u must be integer number but got floating-point number", i + 1) !=
        OK)
        c->error = "out of memory";
    return false;
}

enum err builtin_return_bool(struct builtin_call *c, bool b) {
    return builtin_return(c, json_bool(c->arena, b));
}

/* Replaces each byte that begins no valid sequence. */
static struct str valid_text(struct arena *a, struct str s) {
    size_t n = 0;
    char *copy = arena_alloc(a, 3 * s.len);
    uint32_t cp;
    if (!copy) return (struct str){NULL, 0};
    while (s.len > 0) {
        int len = utf8_decode(s.ptr, s.len, &cp);
        n += (size_t)utf8_encode(len ? cp : 0xfffd, copy + n);
        s = str_from(s, len ? (size_t)len : 1);
    }
    return (struct str){copy, n};
}

enum err builtin_return_string(struct builtin_call *c, struct str s) {
    if (utf8_valid(s))
        s.ptr = arena_strndup(c->arena, s.ptr ? s.ptr : "", s.len);
    else
        s = valid_text(c->arena, s);
    return s.ptr ? builtin_return(c, json_string(c->arena, s)) : ERR_MEMORY;
}
