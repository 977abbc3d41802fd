/* How an evaluation ends early: errors by their word, conflicts, failing builtins.
 * in: words and texts. out: opa_abort's message. owns: the message buffer. */
#include "runtime/state.h"

enum { MESSAGE_BYTES = 512 };
static struct {
    uint32_t len;
    char text[MESSAGE_BYTES];
} message;

static void message_bytes(const char *s, uint32_t n) {
    for (uint32_t i = 0; i < n && message.len < MESSAGE_BYTES - 1; i++)
        message.text[message.len++] = s[i];
    message.text[message.len] = 0;
}

static void message_c(const char *s) { message_bytes(s, (uint32_t)strlen(s)); }

static void message_number(uint32_t n) {
    char digits[10];
    uint32_t i = sizeof digits;
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    message_bytes(digits + i, (uint32_t)sizeof digits - i);
}

static void message_begin(const char *word) {
    message.len = 0;
    message_c(word);
    message_c(": ");
}

RT_NORETURN static void message_abort(void) {
    opa_abort(addr(message.text));
    __builtin_trap();
}

void rt_fail(const char *word, const char *text) {
    message_begin(word);
    message_c(text);
    message_abort();
}

static void message_text(value v) {
    if (is_string(v)) message_bytes(at(value_pointer(v)), value_length(v));
}

RT_EXPORT void rt_conflict(uint32_t kind, value path, value file, uint32_t row, uint32_t col) {
    message_begin("eval_conflict_error");
    message_text(file);
    message_c(":");
    message_number(row);
    message_c(":");
    message_number(col);
    message_c(": ");
    if (kind == CONFLICT_OBJECT_KEY) {
        message_c("object keys must be unique");
        message_abort();
    }
    message_c(kind == CONFLICT_FUNCTION ? "function " : "rule ");
    message_text(path);
    message_c(" produced conflicting values");
    if (kind == CONFLICT_FUNCTION) message_c(" for the same inputs");
    message_abort();
}

RT_EXPORT void rt_bad_entrypoint(uint32_t id) {
    message_begin("not_found");
    message_c("no entrypoint has the id ");
    message_number(id);
    message_abort();
}

RT_EXPORT void regent_set_strict(uint32_t on) { rt_state.strict = on != 0; }

bool rt_strict(void) { return rt_state.strict != 0; }

/* OPA's two codes: operands of the wrong type, and all other failures of builtins. */
static void builtin_begin(const char *builtin, bool is_type_error) {
    message_begin(is_type_error ? "eval_type_error" : "eval_builtin_error");
    message_c(builtin);
    message_c(": ");
}

value bi_error(const char *builtin, const char *text) {
    if (!rt_state.strict) return VALUE_UNDEFINED;
    static const char operand[] = "operand "; /* "operand 1 must …" is OPA's type error, "operand 1: …" is not */
    uint32_t n = sizeof operand - 1;
    builtin_begin(builtin, strlen(text) > n + 1 && memcmp(text, operand, n) == 0 && text[n + 1] == ' ');
    message_c(text);
    message_abort();
}

static value operand_error(const char *builtin, int pos, const char *before, const char *expected,
                           const char *after, value got) {
    builtin_begin(builtin, true);
    message_c("operand ");
    message_number((uint32_t)pos);
    message_c(before);
    message_c(expected);
    message_c(after);
    message_c(value_type_name(got));
    message_abort();
}

value bi_error_operand(const char *builtin, int pos, const char *expected, value got) {
    if (!rt_state.strict) return VALUE_UNDEFINED;
    return operand_error(builtin, pos, " must be ", expected, " but got ", got);
}

value bi_error_operand_one_of(const char *builtin, int pos, const char *expected, value got) {
    if (!rt_state.strict) return VALUE_UNDEFINED;
    return operand_error(builtin, pos, " must be one of {", expected, "} but got ", got);
}

value bi_error_element(const char *builtin, int pos, value collection, const char *element,
                       value got) {
    if (!rt_state.strict) return VALUE_UNDEFINED;
    const char *type = value_type_name(collection);
    builtin_begin(builtin, true);
    message_c("operand ");
    message_number((uint32_t)pos);
    message_c(" must be ");
    message_c(type);
    message_c(" of ");
    message_c(element);
    message_c("s but got ");
    message_c(type);
    message_c(" containing ");
    message_c(value_type_name(got));
    message_abort();
}
