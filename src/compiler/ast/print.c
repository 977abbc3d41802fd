/* Prints trees as Rego text, in the form that OPA's String methods give.
 * in: nodes
 * out: text in a buffer
 * owns: nothing */
#include "compiler/ast/print.h"
#include "base/utf8.h"
#include "compiler/builtin.h"

/* ---- Strings, quoted as Go's strconv.Quote does ---- */

/* What Go calls printable, coarsely: all but controls, odd spaces, surrogates and private use. */
static bool is_printable(uint32_t cp) {
    if (cp < 0x20 || (cp >= 0x7F && cp <= 0xA0) || cp == 0xAD) return false;
    if ((cp >= 0x2000 && cp <= 0x200F) || (cp >= 0x2028 && cp <= 0x202F)) return false;
    if ((cp >= 0x205F && cp <= 0x206F) || cp == 0x3000 || cp == 0x1680 || cp == 0xFEFF)
        return false;
    return cp < 0xD800 || (cp > 0xF8FF && cp < 0xE0000 && (cp & 0xFFFE) != 0xFFFE);
}

static void print_escaped(uint32_t cp, struct buf *out) {
    switch (cp) {
    case '"': buf_cstr(out, "\\\""); return;
    case '\\': buf_cstr(out, "\\\\"); return;
    case '\a': buf_cstr(out, "\\a"); return;
    case '\b': buf_cstr(out, "\\b"); return;
    case '\f': buf_cstr(out, "\\f"); return;
    case '\n': buf_cstr(out, "\\n"); return;
    case '\r': buf_cstr(out, "\\r"); return;
    case '\t': buf_cstr(out, "\\t"); return;
    case '\v': buf_cstr(out, "\\v"); return;
    }
    if (cp < 0x80)
        buf_printf(out, "\\x%02x", cp);
    else if (cp < 0x10000)
        buf_printf(out, "\\u%04x", cp);
    else
        buf_printf(out, "\\U%08x", cp);
}

/* `braces`: { is written \{, as template strings want it. */
static void print_characters(struct str s, bool braces, struct buf *out) {
    for (size_t i = 0; i < s.len;) {
        uint32_t cp;
        int n = utf8_decode(s.ptr + i, s.len - i, &cp);
        if (n == 0) {
            buf_printf(out, "\\x%02x", (unsigned char)s.ptr[i++]);
            continue;
        }
        if (cp == '{' && braces)
            buf_cstr(out, "\\{");
        else if (cp == '"' || cp == '\\' || !is_printable(cp))
            print_escaped(cp, out);
        else
            buf_put(out, s.ptr + i, (size_t)n);
        i += (size_t)n;
    }
}

static void print_quoted(struct str s, struct buf *out) {
    buf_byte(out, '"');
    print_characters(s, false, out);
    buf_byte(out, '"');
}

/* ---- Refs ---- */

static bool is_keyword(struct str s) {
    static const char *const words[] = {
        "not",  "package", "import", "as", "default",  "else", "with",  "null",
        "true", "false",   "some",   "if", "contains", "in",   "every",
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (str_is(s, words[i])) return true;
    }
    return false;
}

static bool is_name(struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9')) return false;
    }
    return s.len > 0 && !is_keyword(s);
}

static bool has_control_or_backslash(struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c < 0x20 || c == 0x7F || c == '\\' || c == '"') return true;
    }
    return false;
}

static void print_operand(const struct term *t, struct buf *out) {
    if (t->kind == TERM_STRING && is_name(t->text)) {
        buf_byte(out, '.');
        buf_str(out, t->text);
        return;
    }
    buf_byte(out, '[');
    if (t->kind == TERM_STRING && !has_control_or_backslash(t->text)) {
        buf_byte(out, '"');
        buf_str(out, t->text);
        buf_byte(out, '"');
    } else {
        print_term(t, out);
    }
    buf_byte(out, ']');
}

/* Dotted name of a ref of plain names, for looking up builtins; false: too long or no such ref. */
static bool dotted_name(const struct term *ref, char *name, size_t max, size_t *len) {
    *len = 0;
    for (uint32_t i = 0; i < ref->list.n; i++) {
        const struct term *t = ref->list.items[i];
        if (t->kind != (i ? TERM_STRING : TERM_VAR) || *len + t->text.len + 1 > max) return false;
        if (i) name[(*len)++] = '.';
        memcpy(name + *len, t->text.ptr, t->text.len);
        *len += t->text.len;
    }
    return true;
}

static const struct builtin *builtin_of(const struct term *op) {
    char name[80];
    size_t len;
    if (op->kind != TERM_REF || !dotted_name(op, name, sizeof(name), &len)) return NULL;
    return builtin_find((struct str){name, len});
}

/* OPA writes a builtin's ref by its name, keywords and all: "io.jwt.decode", "object.union". */
static void print_ref(const struct term *ref, struct buf *out) {
    if (ref->list.n == 0) return;
    const struct builtin *b = ref->list.n > 1 ? builtin_of(ref) : NULL;
    if (b) {
        buf_cstr(out, b->name);
        return;
    }
    const struct term *first = ref->list.items[0];
    if (first->kind == TERM_STRING)
        buf_str(out, first->text);
    else
        print_term(first, out);
    for (uint32_t i = 1; i < ref->list.n; i++) print_operand(ref->list.items[i], out);
}

/* ---- Terms ---- */

static void print_list(const struct term_list *l, uint32_t from, struct buf *out) {
    for (uint32_t i = from; i < l->n; i++) {
        if (i > from) buf_cstr(out, ", ");
        print_term(l->items[i], out);
    }
}

static void print_object(const struct term *t, struct buf *out) {
    buf_byte(out, '{');
    for (uint32_t i = 0; i + 1 < t->list.n; i += 2) {
        if (i) buf_cstr(out, ", ");
        print_term(t->list.items[i], out);
        buf_cstr(out, ": ");
        print_term(t->list.items[i + 1], out);
    }
    buf_byte(out, '}');
}

static void print_set(const struct term *t, struct buf *out) {
    if (t->list.n == 0) {
        buf_cstr(out, "set()");
        return;
    }
    buf_byte(out, '{');
    print_list(&t->list, 0, out);
    buf_byte(out, '}');
}

/* Heads of comprehensions show operators infix, since a bare | would end them. */
static void print_compr_head(const struct term *t, struct buf *out) {
    const struct builtin *b =
        t->kind == TERM_CALL && t->list.n == 3 ? builtin_of(t->list.items[0]) : NULL;
    if (!b || !b->infix[0] || strcmp(b->infix, "in") == 0) {
        print_term(t, out);
        return;
    }
    buf_byte(out, '(');
    print_compr_head(t->list.items[1], out);
    buf_printf(out, " %s ", b->infix);
    print_compr_head(t->list.items[2], out);
    buf_byte(out, ')');
}

static void print_compr(const struct term *t, char open, char close, struct buf *out) {
    buf_byte(out, (uint8_t)open);
    if (t->key) {
        print_compr_head(t->key, out);
        buf_cstr(out, ": ");
    }
    print_compr_head(t->value, out);
    buf_cstr(out, " | ");
    print_body(&t->body, out);
    buf_byte(out, (uint8_t)close);
}

static void print_template(const struct term *t, struct buf *out) {
    buf_cstr(out, "$\"");
    for (uint32_t i = 0; i < t->parts.n; i++) {
        const struct expr *e = t->parts.items[i];
        bool term = e->kind == EXPR_TERM && e->term->kind <= TERM_STRING;
        if (term && e->term->kind == TERM_STRING)
            print_characters(e->term->text, true, out);
        else if (term)
            print_term(e->term, out);
        else {
            buf_byte(out, '{');
            print_expr(e, out);
            buf_byte(out, '}');
        }
    }
    buf_byte(out, '"');
}

static void print_call(const struct term_list *l, struct buf *out) {
    print_term(l->items[0], out);
    buf_byte(out, '(');
    print_list(l, 1, out);
    buf_byte(out, ')');
}

void print_term(const struct term *t, struct buf *out) {
    switch (t->kind) {
    case TERM_NULL: buf_cstr(out, "null"); break;
    case TERM_BOOLEAN: buf_cstr(out, t->boolean ? "true" : "false"); break;
    case TERM_NUMBER: buf_str(out, t->text); break;
    case TERM_STRING: print_quoted(t->text, out); break;
    case TERM_VAR: buf_str(out, term_is_wildcard(t) ? STR("_") : t->text); break;
    case TERM_REF: print_ref(t, out); break;
    case TERM_ARRAY:
        buf_byte(out, '[');
        print_list(&t->list, 0, out);
        buf_byte(out, ']');
        break;
    case TERM_OBJECT: print_object(t, out); break;
    case TERM_SET: print_set(t, out); break;
    case TERM_ARRAY_COMPR: print_compr(t, '[', ']', out); break;
    case TERM_SET_COMPR:
    case TERM_OBJECT_COMPR: print_compr(t, '{', '}', out); break;
    case TERM_CALL: print_call(&t->list, out); break;
    case TERM_TEMPLATE_STRING: print_template(t, out); break;
    }
}
