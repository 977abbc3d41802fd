/* Cuts Rego text into tokens.
 * in: source text and the set of active keywords
 * out: tokens that are views into the source, with places and error messages
 * owns: nothing */
#include "compiler/ast/lexer.h"
#include "base/utf8.h"

enum { BOM = 0xFEFF, NBSP = 0xA0 };

static const struct {
    const char *word;
    uint32_t bit;
    enum token_kind kind;
} KEYWORDS[] = {
    {"package", KW_PACKAGE, TOK_PACKAGE},
    {"import", KW_IMPORT, TOK_IMPORT},
    {"as", KW_AS, TOK_AS},
    {"default", KW_DEFAULT, TOK_DEFAULT},
    {"else", KW_ELSE, TOK_ELSE},
    {"not", KW_NOT, TOK_NOT},
    {"some", KW_SOME, TOK_SOME},
    {"with", KW_WITH, TOK_WITH},
    {"null", KW_NULL, TOK_NULL},
    {"true", KW_TRUE, TOK_TRUE},
    {"false", KW_FALSE, TOK_FALSE},
    {"in", KW_IN, TOK_IN},
    {"every", KW_EVERY, TOK_EVERY},
    {"contains", KW_CONTAINS, TOK_CONTAINS},
    {"if", KW_IF, TOK_IF},
    {"and", KW_AND, TOK_LOGICAL_AND},
    {"or", KW_OR, TOK_LOGICAL_OR},
};
enum { N_KEYWORDS = sizeof(KEYWORDS) / sizeof(KEYWORDS[0]) };

const char *token_word(enum token_kind kind) {
    static const char *const words[] = {
#define TOKEN(name, word) word,
#include "compiler/ast/token.def"
#undef TOKEN
    };
    return words[kind];
}

uint32_t keyword_bit(struct str word) {
    for (size_t i = 0; i < N_KEYWORDS; i++) {
        if (str_is(word, KEYWORDS[i].word)) return KEYWORDS[i].bit;
    }
    return 0;
}

enum token_kind keyword_token(uint32_t bit) {
    for (size_t i = 0; i < N_KEYWORDS; i++) {
        if (KEYWORDS[i].bit == bit) return KEYWORDS[i].kind;
    }
    return TOK_IDENT;
}

const char *keyword_word(uint32_t bit) {
    for (size_t i = 0; i < N_KEYWORDS; i++) {
        if (KEYWORDS[i].bit == bit) return KEYWORDS[i].word;
    }
    return "";
}

static void error(struct lexer *l, const char *message) {
    if (l->n_errors < LEXER_MAX_ERRORS) l->errors[l->n_errors++] = message;
}

static void decode(struct lexer *l) {
    uint32_t cp;
    int width = utf8_decode(l->source.ptr + l->offset, l->source.len - l->offset, &cp);
    if (width == 0) {
        l->curr = 0xFFFD;
        l->width = 1;
        error(l, "illegal utf-8 character");
        return;
    }
    l->curr = (int32_t)cp;
    l->width = (uint32_t)width;
    if (cp == BOM && l->offset > 0) error(l, "illegal byte-order mark");
}

/* Moves to the next code point. The end of the text keeps row and col of the last one. */
static void advance(struct lexer *l) {
    if (l->offset >= l->source.len) {
        l->curr = -1;
        l->offset = l->source.len;
        l->width = 0;
        return;
    }
    l->curr = (uint8_t)l->source.ptr[l->offset];
    l->width = 1;
    if (l->curr == 0) error(l, "illegal null character");
    if (l->curr >= 0x80) decode(l);
    l->offset += l->width;
    if (l->curr == '\n') {
        l->row++;
        l->col = 0;
    } else {
        l->col++;
    }
}

void lexer_init(struct lexer *l, struct str source, uint32_t keywords) {
    *l = (struct lexer){.source = source, .row = 1, .keywords = keywords, .curr = -1};
    advance(l);
    if (l->curr == BOM) advance(l);
}

static bool is_decimal(int32_t c) { return c >= '0' && c <= '9'; }
static bool is_letter(int32_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_word(int32_t c) {
    return is_letter(c) || is_decimal(c) || (c >= 0x80 && unicode_is_digit((uint32_t)c));
}
static bool is_space(int32_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
static bool is_exponent(int32_t c) { return c == 'e' || c == 'E'; }

static bool scan_decimals(struct lexer *l) {
    bool found = false;
    for (; is_decimal(l->curr); advance(l)) found = true;
    return found;
}

static void scan_number(struct lexer *l) {
    scan_decimals(l);
    if (l->curr == '.') {
        advance(l);
        if (!scan_decimals(l)) error(l, "expected fraction");
    }
    if (is_exponent(l->curr)) {
        advance(l);
        if (l->curr == '+' || l->curr == '-') advance(l);
        if (!scan_decimals(l)) error(l, "expected exponent");
    }
    if (is_letter(l->curr)) {
        error(l, "illegal number format");
        while (is_word(l->curr)) advance(l);
    }
}

static void scan_escape(struct lexer *l, bool template) {
    switch (l->curr) {
    case '\\':
    case '"':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't': advance(l); return;
    case 'u':
        for (int i = 0; i < 4; i++) advance(l);
        return;
    case '{':
        if (template) {
            advance(l);
            return;
        }
    }
    error(l, "illegal escape sequence");
}

static void scan_string(struct lexer *l) {
    for (;;) {
        int32_t c = l->curr;
        if (c == '\n' || c < 0) {
            error(l, "non-terminated string");
            return;
        }
        advance(l);
        if (c == '"') return;
        if (c == '\\') scan_escape(l, false);
    }
}

static void scan_raw_string(struct lexer *l) {
    for (;;) {
        int32_t c = l->curr;
        advance(l);
        if (c == '`') return;
        if (c < 0) {
            error(l, "non-terminated string");
            return;
        }
    }
}

static enum token_kind scan_template(struct lexer *l) {
    for (;;) {
        int32_t c = l->curr;
        if (c == '\n' || c < 0) {
            error(l, "non-terminated string");
            return TOK_TEMPLATE_PART;
        }
        advance(l);
        if (c == '"') return TOK_TEMPLATE_END;
        if (c == '{') return TOK_TEMPLATE_PART;
        if (c == '\\') scan_escape(l, true);
    }
}

static enum token_kind scan_raw_template(struct lexer *l) {
    for (;;) {
        int32_t c = l->curr;
        if (c < 0) {
            error(l, "non-terminated string");
            return TOK_RAW_TEMPLATE_PART;
        }
        advance(l);
        if (c == '`') return TOK_RAW_TEMPLATE_END;
        if (c == '{') return TOK_RAW_TEMPLATE_PART;
        if (c == '\\' && l->curr == '{') advance(l);
    }
}

static enum token_kind scan_dollar(struct lexer *l) {
    if (l->curr == '`') {
        advance(l);
        return scan_raw_template(l);
    }
    if (l->curr == '"') {
        advance(l);
        return scan_template(l);
    }
    error(l, "illegal $ character");
    return TOK_ILLEGAL;
}

/* `kind`, or `longer` when '=' follows. */
static enum token_kind maybe_equals(struct lexer *l, enum token_kind kind, enum token_kind longer) {
    if (l->curr != '=') return kind;
    advance(l);
    return longer;
}

static enum token_kind scan_symbol(struct lexer *l, int32_t c) {
    switch (c) {
    case '[': return TOK_LBRACK;
    case ']': return TOK_RBRACK;
    case '{': return TOK_LBRACE;
    case '}': return TOK_RBRACE;
    case '(': return TOK_LPAREN;
    case ')': return TOK_RPAREN;
    case ',': return TOK_COMMA;
    case ';': return TOK_SEMICOLON;
    case '.': return TOK_DOT;
    case '+': return TOK_PLUS;
    case '-': return TOK_MINUS;
    case '*': return TOK_MUL;
    case '/': return TOK_DIV;
    case '%': return TOK_REM;
    case '&': return TOK_AND;
    case '|': return TOK_OR;
    case ':': return maybe_equals(l, TOK_COLON, TOK_ASSIGN);
    case '=': return maybe_equals(l, TOK_UNIFY, TOK_EQUAL);
    case '>': return maybe_equals(l, TOK_GT, TOK_GTE);
    case '<': return maybe_equals(l, TOK_LT, TOK_LTE);
    case '!':
        if (l->curr != '=') error(l, "illegal ! character");
        return maybe_equals(l, TOK_ILLEGAL, TOK_NEQ);
    case NBSP: error(l, "illegal non-breaking space character, use a regular space instead"); break;
    }
    return TOK_ILLEGAL;
}

static enum token_kind scan_other(struct lexer *l) {
    int32_t c = l->curr;
    advance(l);
    switch (c) {
    case -1: return TOK_EOF;
    case '#':
        while (l->curr != '\n' && l->curr != -1) advance(l);
        return TOK_COMMENT;
    case '"': scan_string(l); return TOK_STRING;
    case '`': scan_raw_string(l); return TOK_STRING;
    case '$': return scan_dollar(l);
    }
    return scan_symbol(l, c);
}

static enum token_kind scan_word(struct lexer *l, size_t start) {
    while (is_word(l->curr)) advance(l);
    struct str word = {l->source.ptr + start, l->offset - l->width - start};
    uint32_t bit = keyword_bit(word);
    return bit & l->keywords ? keyword_token(bit) : TOK_IDENT;
}

static enum token_kind scan(struct lexer *l, enum lexer_mode mode) {
    if (mode == LEX_TEMPLATE) return scan_template(l);
    if (mode == LEX_RAW_TEMPLATE) return scan_raw_template(l);
    if (is_space(l->curr)) {
        advance(l);
        return TOK_WHITESPACE;
    }
    if (is_letter(l->curr)) return scan_word(l, l->offset - l->width);
    if (is_decimal(l->curr)) {
        scan_number(l);
        return TOK_NUMBER;
    }
    return scan_other(l);
}

void lexer_next(struct lexer *l, enum lexer_mode mode, struct token *out) {
    size_t start = l->offset - l->width;
    out->offset = (uint32_t)start;
    out->row = l->row;
    out->col = l->col;
    out->kind = scan(l, mode);
    out->end = (uint32_t)(l->offset - l->width);
    out->lit = (struct str){l->source.ptr + start, out->end - start};
    out->n_errors = l->n_errors;
    for (uint32_t i = 0; i < l->n_errors; i++) out->errors[i] = l->errors[i];
    if (l->n_errors) out->kind = TOK_ILLEGAL;
    l->n_errors = 0;
}
