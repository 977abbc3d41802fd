/* Rego text to tokens, one at a time, with OPA's places (rows and columns count code points). */
#ifndef REGENT_COMPILER_AST_LEXER_H
#define REGENT_COMPILER_AST_LEXER_H
#include "base/str.h"
#include <stdint.h>

enum token_kind {
#define TOKEN(name, word) TOK_##name,
#include "compiler/ast/token.def"
#undef TOKEN
};

/* Keywords that a lexer knows are bits of a set: which words are keywords depends on the version
 * of the language and on imports. */
enum keyword {
    KW_PACKAGE = 1 << 0,
    KW_IMPORT = 1 << 1,
    KW_AS = 1 << 2,
    KW_DEFAULT = 1 << 3,
    KW_ELSE = 1 << 4,
    KW_NOT = 1 << 5,
    KW_SOME = 1 << 6,
    KW_WITH = 1 << 7,
    KW_NULL = 1 << 8,
    KW_TRUE = 1 << 9,
    KW_FALSE = 1 << 10,
    KW_IN = 1 << 11,
    KW_EVERY = 1 << 12,
    KW_CONTAINS = 1 << 13,
    KW_IF = 1 << 14,
    KW_AND = 1 << 15,
    KW_OR = 1 << 16,
    KW_BASE = (1 << 11) - 1,                        /* v0 without imports */
    KW_V1 = KW_IN | KW_EVERY | KW_CONTAINS | KW_IF, /* v1 has these too */
    KW_V2 = KW_NOT | KW_AND | KW_OR,                /* v2 has these too; `not`: not-bodies */
    KW_FUTURE = KW_V1 | KW_V2,
};

enum { LEXER_MAX_ERRORS = 4 };

/* Cheap to copy: a copy is a saved place. `curr` is the code point at hand, -1 past the end. */
struct lexer {
    struct str source;
    size_t offset; /* just past curr */
    int32_t curr;
    uint32_t row, col, width;
    uint32_t keywords;
    uint32_t n_errors; /* of the token being read; reading one character ahead may add some */
    const char *errors[LEXER_MAX_ERRORS];
};

struct token {
    enum token_kind kind;
    struct str lit;       /* as written: strings with their quotes, comments with '#' */
    uint32_t offset, end; /* bytes */
    uint32_t row, col;
    uint32_t n_errors; /* > 0: kind is TOK_ILLEGAL; static messages */
    const char *errors[LEXER_MAX_ERRORS];
};

enum lexer_mode {
    LEX_NORMAL,
    LEX_TEMPLATE,     /* curr follows the `}` of a $"…" part */
    LEX_RAW_TEMPLATE, /* … of a $`…` part */
};

void lexer_init(struct lexer *l, struct str source, uint32_t keywords);
/* The next token; each white space character is one. */
void lexer_next(struct lexer *l, enum lexer_mode mode, struct token *out);
const char *token_word(enum token_kind kind);
/* The bit of a keyword, 0 when the word is never one. */
uint32_t keyword_bit(struct str word);
enum token_kind keyword_token(uint32_t bit);
const char *keyword_word(uint32_t bit);
/* Unicode decimal digits (category Nd) past ASCII, which may continue a name. */
bool unicode_is_digit(uint32_t cp);

#endif
