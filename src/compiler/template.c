/* Replaces {{NAME}} in string literals by template values, while the parser reads them.
 * in: a literal's text, the values
 * out: the literal's characters
 * owns: nothing */
#include "compiler/template.h"
#include "compiler/ast/escape.h"

static bool starts_name(char c) { return (c >= 'A' && c <= 'Z') || c == '_'; }
static bool continues_name(char c) { return starts_name(c) || (c >= '0' && c <= '9'); }

bool template_next(struct str text, size_t from, struct placeholder *out) {
    for (size_t i = from; i + 4 < text.len; i++) {
        if (text.ptr[i] != '{' || text.ptr[i + 1] != '{' || !starts_name(text.ptr[i + 2])) continue;
        size_t end = i + 3;
        while (end < text.len && continues_name(text.ptr[end])) end++;
        if (end + 2 > text.len || text.ptr[end] != '}' || text.ptr[end + 1] != '}') continue;
        *out = (struct placeholder){i, end + 2, {text.ptr + i + 2, end - i - 2}};
        return true;
    }
    return false;
}

/* The characters of a growing string in an arena. */
struct text {
    char *items;
    uint32_t n, cap;
};

static void append(struct arena *a, struct text *to, struct str s) {
    for (size_t i = 0; i < s.len; i++) ARENA_PUSH(a, to, s.ptr[i]);
}

static bool append_piece(struct arena *a, struct text *to, struct str piece, bool raw) {
    struct str decoded = piece;
    if (!raw && !escape_decode(a, piece, false, &decoded)) return false;
    append(a, to, decoded);
    return true;
}

enum template_result template_fill(struct arena *a, struct str literal, bool raw,
                                   const struct json *values, struct str *out,
                                   struct placeholder *unset) {
    struct placeholder p;
    if (!template_next(literal, 0, &p)) return TEMPLATE_NONE;
    struct text text = {0};
    size_t at = 0;
    do {
        struct str before = {literal.ptr + at, p.start - at};
        if (!append_piece(a, &text, before, raw)) return TEMPLATE_BAD_ESCAPE;
        const struct json *value = json_get(values, p.name);
        if (!value || value->kind != JSON_STRING) {
            *unset = p;
            return TEMPLATE_UNSET;
        }
        append(a, &text, value->text);
        at = p.end;
    } while (template_next(literal, at, &p));
    if (!append_piece(a, &text, str_from(literal, at), raw)) return TEMPLATE_BAD_ESCAPE;
    *out = (struct str){text.items ? text.items : "", text.n};
    return TEMPLATE_FILLED;
}
