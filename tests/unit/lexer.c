/* Tests of the lexer: kinds, places, errors.
 * in: tables
 * out: TAP lines
 * owns: nothing */
#include "compiler/ast/lexer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* All tokens but white space as "word@row:col" with errors in brackets. */
static void tokens_of(const char *source, uint32_t keywords, char *out, size_t max) {
    struct lexer l;
    struct token t;
    size_t n = 0;
    out[0] = 0;
    lexer_init(&l, str_of(source), keywords);
    do {
        lexer_next(&l, LEX_NORMAL, &t);
        if (t.kind == TOK_WHITESPACE) continue;
        n += (size_t)snprintf(out + n, max - n, "%s%s@%u:%u", n ? " " : "", token_word(t.kind),
                              t.row, t.col);
        if (t.n_errors) n += (size_t)snprintf(out + n, max - n, "[%s]", t.errors[0]);
        assert_true(n < max);
    } while (t.kind != TOK_EOF);
}

static const struct {
    const char *source, *tokens;
} CASES[] = {
    {"", "eof@1:0"},
    {"package a.b\n", "package@1:1 identifier@1:9 .@1:10 identifier@1:11 eof@2:0"},
    {"\xEF\xBB\xBFx", "identifier@1:2 eof@1:2"},
    {"x:=1", "identifier@1:1 assign@1:2 number@1:4 eof@1:4"},
    {"== != <= >= < > = : ;", "equal@1:1 neq@1:4 lte@1:7 gte@1:10 lt@1:13 gt@1:15 eq@1:17 :@1:19 "
                              ";@1:21 eof@1:21"},
    {"+-*/%&|", "plus@1:1 minus@1:2 mul@1:3 div@1:4 rem@1:5 and@1:6 or@1:7 eof@1:7"},
    {"\"é\" x", "string@1:1 identifier@1:5 eof@1:5"},
    {"`a\nb` x", "string@1:1 identifier@2:4 eof@2:4"},
    {"# c\nx", "comment@1:1 identifier@2:1 eof@2:1"},
    {"\"a", "illegal@1:1[non-terminated string] eof@1:2"},
    {"`a", "illegal@1:1[non-terminated string] eof@1:2"},
    {"\"\\q\"", "illegal@1:1[illegal escape sequence] eof@1:4"},
    {"1.", "illegal@1:1[expected fraction] eof@1:2"},
    {"1e+", "illegal@1:1[expected exponent] eof@1:3"},
    {"1a2b", "illegal@1:1[illegal number format] eof@1:4"},
    {"1.5e-10", "number@1:1 eof@1:7"},
    {"!", "illegal@1:1[illegal ! character] eof@1:1"},
    {"$x", "illegal@1:1[illegal $ character] identifier@1:2 eof@1:2"},
    {"a @", "identifier@1:1 illegal@1:3 eof@1:3"},
    {"x\xC2\xA0y", "identifier@1:1 illegal@1:2[illegal non-breaking space character, use a regular "
                   "space instead] identifier@1:3 eof@1:3"},
    {"x\xFF", "illegal@1:1[illegal utf-8 character] illegal@1:2 eof@1:2"},
    {"\xD9\xA1", "illegal@1:1 eof@1:1"},
    {"a\xD9\xA1 b", "identifier@1:1 identifier@1:4 eof@1:4"},
    {"if in", "if@1:1 in@1:4 eof@1:5"},
    {"and or", "identifier@1:1 identifier@1:5 eof@1:6"},
};

static void test_tokens(void **state) {
    (void)state;
    char got[1024];
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        tokens_of(CASES[i].source, KW_BASE | KW_V1, got, sizeof(got));
        assert_string_equal(got, CASES[i].tokens);
    }
}

static void test_keywords_follow_the_set(void **state) {
    (void)state;
    char got[256];
    tokens_of("if not", KW_BASE, got, sizeof(got));
    assert_string_equal(got, "identifier@1:1 not@1:4 eof@1:6");
    tokens_of("and or", KW_BASE | KW_V2, got, sizeof(got));
    assert_string_equal(got, "and@1:1 or@1:5 eof@1:6");
    assert_int_equal(keyword_bit(STR("every")), KW_EVERY);
    assert_int_equal(keyword_bit(STR("evert")), 0);
    assert_string_equal(keyword_word(KW_IF), "if");
}

static void test_template_parts(void **state) {
    (void)state;
    struct lexer l;
    struct token t;
    lexer_init(&l, STR("$\"a\\{{x}b\" y"), KW_BASE);
    lexer_next(&l, LEX_NORMAL, &t);
    assert_int_equal(t.kind, TOK_TEMPLATE_PART);
    assert_true(str_is(t.lit, "$\"a\\{{"));
    lexer_next(&l, LEX_NORMAL, &t);
    assert_int_equal(t.kind, TOK_IDENT);
    lexer_next(&l, LEX_NORMAL, &t);
    assert_int_equal(t.kind, TOK_RBRACE);
    lexer_next(&l, LEX_TEMPLATE, &t);
    assert_int_equal(t.kind, TOK_TEMPLATE_END);
    assert_true(str_is(t.lit, "b\""));
}

static void test_null_byte(void **state) {
    (void)state;
    struct lexer l;
    struct token t;
    lexer_init(&l, (struct str){"a\0b", 3}, KW_BASE);
    lexer_next(&l, LEX_NORMAL, &t);
    assert_int_equal(t.n_errors, 1);
    assert_string_equal(t.errors[0], "illegal null character");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_keywords_follow_the_set),
        cmocka_unit_test(test_template_parts),
        cmocka_unit_test(test_null_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
