/* Tests of the parser, the template step, the order of terms and the printers.
 * in: tables of source and what must come out
 * out: TAP lines
 * owns: an arena and a buffer a case */
#include "compiler/ast/parser.h"
#include "compiler/ast/print.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { MAX_BYTES = 64 << 20 };

struct run {
    struct arena arena;
    struct diag_list diags;
    struct buf out;
    const char *text; /* 0-terminated contents of out */
};

static void run_init(struct run *r) {
    arena_init(&r->arena, MAX_BYTES);
    diag_list_init(&r->diags, &r->arena);
    buf_init(&r->out, MAX_BYTES);
}

static void run_deinit(struct run *r) {
    buf_deinit(&r->out);
    arena_deinit(&r->arena);
}

/* "row:col message" a line. */
static void print_errors(struct run *r) {
    for (uint32_t i = 0; i < r->diags.n; i++) {
        const struct diag *d = &r->diags.items[i];
        buf_printf(&r->out, "%s%u:%u %.*s", i ? "\n" : "", d->loc.row, d->loc.col,
                   STR_FMT(d->message));
    }
}

static void end(struct run *r) {
    buf_byte(&r->out, 0);
    assert_int_equal(r->out.err, OK);
    r->text = (const char *)r->out.ptr;
}

static struct module *run_module(struct run *r, const char *source,
                                 const struct parse_options *options) {
    run_init(r);
    struct module *m = parse_module(&r->arena, STR("t.rego"), str_of(source), options, &r->diags);
    if (m)
        print_module(m, &r->out);
    else
        print_errors(r);
    end(r);
    return m;
}

static void check_module(enum rego_version v, const char *source, const char *want) {
    struct run r;
    struct parse_options options = {.version = v};
    run_module(&r, source, &options);
    assert_string_equal(r.text, want);
    run_deinit(&r);
}

struct module_case {
    const char *source, *want;
};

/* ---- Modules that parse: printed in OPA's String form ---- */

static const struct module_case V1[] = {
    {"package a", "package a\n"},
    {"package a.b[\"c d\"]\nimport data.x as y\nimport input",
     "package a.b[\"c d\"]\n\nimport data.x as "
     "y\nimport input\n"},
    {"package a\np := 1", "package a\n\np := 1 if { true }"},
    {"package a\np = 1 if x", "package a\n\np = 1 if { x }"},
    {"package a\np if { x; y\nz }", "package a\n\np = true if { x; y; z }"},
    {"package a\np if {x}", "package a\n\np = true if { x }"},
    {"package a\np if {x: 1}", "package a\n\np = true if { {x: 1} }"},
    {"package a\np contains x if x := 1", "package a\n\np contains x if { assign(x, 1) }"},
    {"package a\np.q.r contains 1", "package a\n\np.q.r contains 1 if { true }"},
    {"package a\np[x] := y if y := x", "package a\n\np[x] := y if { assign(y, x) }"},
    {"package a\np[x].q := 1 if x := 2", "package a\n\np[x].q := 1 if { assign(x, 2) }"},
    {"package a\nf(_, x) := x + 1", "package a\n\nf(_, x) := plus(x, 1) if { true }"},
    {"package a\ndefault f(_) := 1", "package a\n\ndefault f(_) := 1"},
    {"package a\np := 1 if x else := 2 if y else := 3",
     "package a\n\np := 1 if { x } else = 2 if { y } else = 3 if { true }"},
    {"package a\np := a + b * c - d / e % f",
     "package a\n\np := minus(plus(a, mul(b, c)), rem(div(d, e), f)) if { true }"},
    {"package a\np := a | b & c == d", "package a\n\np := equal(or(a, and(b, c)), d) if { true }"},
    {"package a\np if a in b in c",
     "package a\n\np = true if { internal.member_2(internal.member_2(a, "
     "b), c) }"},
    {"package a\np if k, v in c", "package a\n\np = true if { internal.member_3(k, v, c) }"},
    {"package a\np if { some x, y; some k, v in c; some z in c }",
     "package a\n\np = true if { some x, y; some k, v in c; some z in c }"},
    {"package a\np if every k, v in c { k == v }",
     "package a\n\np = true if { every k, v in c { equal(k, v) } }"},
    {"package a\np if not x with input.y as 1 with data.z as 2",
     "package a\n\np = true if { not x with input.y as 1 with data.z as 2 }"},
    {"package a\np := {3, 1, 2, 1}", "package a\n\np := {1, 2, 3} if { true }"},
    {"package a\np := {\"b\": 1, \"a\": set()}",
     "package a\n\np := {\"a\": set(), \"b\": 1} if { true }"},
    {"package a\np := [x | x := 1]", "package a\n\np := [x | assign(x, 1)] if { true }"},
    {"package a\np := {x: y | y := 1}", "package a\n\np := {x: y | assign(y, 1)} if { true }"},
    {"package a\np := {(x | y) | z}", "package a\n\np := {(x | y) | z} if { true }"},
    {"package a\np := -x.y", "package a\n\np := minus(0, x.y) if { true }"},
    {"package a\np := [-1, 1.50, 1e3]", "package a\n\np := [-1, 1.50, 1e3] if { true }"},
    {"package a\np := \"\\u00e9\\ud83d\\ude00\\n\"", "package a\n\np := \"é😀\\n\" if { true }"},
    {"package a\np := \"\\ud800\"", "package a\n\np := \"\xEF\xBF\xBD\" if { true }"},
    {"package a\np := `\\n{{X}}`", "package a\n\np := \"\\\\n{{X}}\" if { true }"},
    {"package a\np := $\"a{x}\\{b{1}\"", "package a\n\np := $\"a{x}\\{b1\" if { true }"},
    {"package a\np := f(1)[0].x", "package a\n\np := f(1)[0].x if { true }"},
    {"package a\np := [1, 2][0]", "package a\n\np := [1, 2][0] if { true }"},
    {"package a\np := x[\"a b\"].c[_]", "package a\n\np := x[\"a b\"].c[_] if { true }"},
    {"package a\np := input.if.contains",
     "package a\n\np := input[\"if\"][\"contains\"] if { true }"},
    {"package a\nimport future.keywords.or\np if a or b",
     "package a\n\nimport future.keywords.or\n\np = "
     "true if { a or b }"},
    {"package a\nimport rego.v2\np if { not {a; b}; (c or d) and {e; f} }",
     "package a\n\nimport rego.v2\n\np = true if { not {a; b}; (c or d) and { e; f } }"},
};

static const struct module_case V0[] = {
    {"package a\np { x }", "package a\n\np = true { x }"},
    {"package a\np[x] { x := 1 } { x := 2 }",
     "package a\n\np[x] { assign(x, 1) }\np[x] { assign(x, 2) }"},
    {"package a\np[k] = v { q[k] = v }", "package a\n\np[k] = v { q[k] = v }"},
    {"package a\np = 1 { x } else = 2 { y }", "package a\n\np = 1 { x } else = 2 { y }"},
    {"package a\np[1]\np[\"x\"] = 2", "package a\n\np[1] { true }\np.x = 2 { true }"},
    {"package a\nf(x) { x > 1 }", "package a\n\nf(x) = true { gt(x, 1) }"},
    {"package a\nif := 1", "package a\n\nif := 1 { true }"},
    {"package a\nimport rego.v1\np if x", "package a\n\nimport rego.v1\n\np = true if { x }"},
    {"package a\nimport future.keywords.every\np { every x in y { x } }",
     "package a\n\nimport future.keywords[\"every\"]\n\np = true { every x in y { x } }"},
};

/* ---- Modules that do not: OPA's words and places ---- */

static const struct module_case BAD_V1[] = {
    {"", "0:0 empty module"},
    {"p := 1", "1:1 package expected"},
    {"package a\npackage b", "2:1 unexpected package"},
    {"package a\np { x }", "2:1 `if` keyword is required before rule body"},
    {"package a\nf(x) { x }", "2:1 `if` keyword is required before function body"},
    {"package a\np[x] { x := 1 }",
     "2:1 `if` keyword is required before rule body\n2:1 `contains` keyword "
     "is required for partial set rules"},
    {"package a\np", "2:1 var cannot be used for rule name"},
    {"package a\n1", "2:1 number cannot be used for rule name"},
    {"package a\np.q.r", "2:1 rule must have value assignment and/or body declaration"},
    {"package a\nnot p", "2:1 negated expressions cannot be used for rule head"},
    {"package a\nx; y", "2:1 multiple expressions cannot be used for rule head"},
    {"package a\ncount(x)", "2:1 rule name conflicts with built-in function"},
    {"package a\nevery := 1", "2:1 every keyword cannot be used for rule name"},
    {"package a\np if {", "2:6 unexpected eof token"},
    {"package a\np if { x y }", "2:10 unexpected identifier token: expected \\n or ; or }"},
    {"package a\np := [1, 2",
     "2:10 unexpected eof token: expected \",\" or \"]\"\n2:10 unexpected eof "
     "token: expected rule value term (e.g., p := <VALUE> { ... })"},
    {"package a\np := \"x", "2:6 non-terminated string\n2:6 illegal token"},
    {"package a\np := 01",
     "2:6 unexpected number token: expected number without leading zero\n2:6 "
     "unexpected number token: expected rule value term (e.g., p := <VALUE> { ... })"},
    {"package a\ndefault p := x", "2:1 illegal default rule (value cannot contain var)"},
    {"package a\ndefault f(1) := 2", "2:1 illegal default rule (arguments cannot contain number)"},
    {"package a\ndefault f(x, x) := 2",
     "2:1 illegal default rule (arguments cannot be repeated x)"},
    {"package a\nimport foo.bar",
     "2:8 unexpected import path, must begin with one of: {data, future, "
     "input, rego}, got: foo (hint: if this is unexpected, try updating OPA)"},
    {"package a\nimport data.if",
     "2:13 unexpected import path, must not end with a keyword, got: if "
     "(hint: import a different path or use an alias)"},
    {"package a\nimport future.keywords.x",
     "2:8 unexpected keyword, must be one of [and contains every "
     "if in not or]"},
    {"package a\nimport rego.v3",
     "2:8 invalid import `rego.v3`, must be one of: `rego.v1`, `rego.v2`"},
    {"package a\np if not some x in y", "2:10 unexpected some keyword: illegal negation of 'some'"},
    {"package a\np if every x in y", "2:17 unexpected eof token: missing body"},
    {"package a\np if x with y", "2:13 unexpected eof token: expected as keyword"},
    {"package a\np contains x if {y} else := 1",
     "2:21 else keyword cannot be used on multi-value rules"},
    {"package a\np := $\"{x := 1}\"",
     "2:9 unexpected assignment (':=') in template-string expression\n2:15 "
     "unexpected } token: expected rule value term (e.g., p := <VALUE> { "
     "... })"},
    {"package a\np := 1e99999999",
     "2:6 number too big\n2:6 unexpected number token: expected rule value "
     "term (e.g., p := <VALUE> { ... })"},
    {"package a\np := )\nq := 1\nr := ]\n",
     "2:6 unexpected ) token\n2:6 unexpected ) token: expected rule "
     "value term (e.g., p := <VALUE> { ... })\n4:6 unexpected ] "
     "token\n4:6 unexpected ] token: expected rule value term (e.g., r "
     ":= <VALUE> { ... })"},
    {"# METADATA\n\npackage a", "1:1 expected METADATA block, found whitespace"},
    {"package a\n# METADATA\n# scope: x\np := 1",
     "2:1 invalid annotation scope 'x'. Use one of 'rule', 'document', 'package', or "
     "'subpackages'"},
};

static const struct module_case BAD_V0[] = {
    {"package a\np if { x }",
     "2:1 var cannot be used for rule name (hint: `import future.keywords.if` for "
     "`p if { ... }` rules)"},
    {"package a\np { x in y }",
     "2:7 unexpected identifier token: expected \\n or ; or } (hint: `import "
     "future.keywords.in` for `x in xs` expressions)"},
    {"package a\np { some x in y }",
     "2:12 unexpected identifier token: expected \\n or ; or } (hint: "
     "`import future.keywords.in` for `some x in xs` expressions)"},
    {"package a\np = $\"x\"",
     "2:5 template strings are not supported by current capabilities\n2:5 unexpected "
     "template-string-end token: expected rule value term (e.g., "
     "p[<nil>] = <VALUE> { ... })"},
};

#define CHECK_ALL(version, cases)                                                                  \
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {                                \
        check_module(version, cases[i].source, cases[i].want);                                     \
    }

static void test_v1(void **state) {
    (void)state;
    CHECK_ALL(REGO_V1, V1);
}
static void test_v0(void **state) {
    (void)state;
    CHECK_ALL(REGO_V0, V0);
}
static void test_errors_v1(void **state) {
    (void)state;
    CHECK_ALL(REGO_V1, BAD_V1);
}
static void test_errors_v0(void **state) {
    (void)state;
    CHECK_ALL(REGO_V0, BAD_V0);
}

/* ---- JSON ---- */

static void test_json(void **state) {
    (void)state;
    struct run r;
    struct parse_options options = {.version = REGO_V1};
    struct module *m = run_module(&r, "package a\np contains 1", &options);
    buf_clear(&r.out);
    print_module_json(m, &r.out);
    end(&r);
    assert_string_equal(r.text, "{\"package\":{\"path\":[{\"type\":\"var\",\"value\":\"data\"},{"
                                "\"type\":\"string\",\"value\":"
                                "\"a\"}]},\"rules\":[{\"body\":[{\"generated\":true,\"index\":0,"
                                "\"terms\":{\"type\":\"boolean\","
                                "\"value\":true}}],\"head\":{\"name\":\"p\",\"key\":{\"type\":"
                                "\"number\",\"value\":1},\"ref\":[{"
                                "\"type\":\"var\",\"value\":\"p\"}]}}]}");
    run_deinit(&r);
}

/* ---- Templates ---- */

static void check_template(const char *source, const char *want) {
    struct run r;
    struct arena a;
    arena_init(&a, MAX_BYTES);
    struct json *values = json_object(&a);
    json_set(&a, values, STR("TENANT"), json_string(&a, STR("ac\"me\\")));
    json_set(&a, values, STR("_X1"), json_string(&a, STR("é")));
    struct parse_options options = {.version = REGO_V1, .template_values = values};
    run_module(&r, source, &options);
    assert_string_equal(r.text, want);
    run_deinit(&r);
    arena_deinit(&a);
}

static void test_templates(void **state) {
    (void)state;
    check_template("package a\np := \"x{{TENANT}}\\n\"",
                   "package a\n\np := \"xac\\\"me\\\\\\n\" if { true }");
    check_template("package a\np := `{{_X1}}\\n`", "package a\n\np := \"é\\\\n\" if { true }");
    check_template("package a\np := data[\"{{_X1}}\"]",
                   "package a\n\np := data[\"é\"] if { true }");
    check_template("package a\np := \"{{x}} {{1A}} {{TENANT} {{ TENANT }}\"",
                   "package a\n\np := \"{{x}} {{1A}} {{TENANT} {{ TENANT }}\" if { true }");
    check_template("package a\nTENANT := 1\np := {{TENANT}}",
                   "package a\n\nTENANT := 1 if { true }\np := {{TENANT}} if { true }");
    check_template("package a\np := `é\n {{NOPE}}`",
                   "3:2 no value for {{NOPE}}: pass --set NOPE=VALUE");
    check_template(
        "package a\np if \"{{A}}\" == \"{{B}}\"\nq := \"{{C}}\"",
        "2:7 no value for {{A}}: pass --set A=VALUE\n2:18 no value for {{B}}: pass --set "
        "B=VALUE\n3:7 no value for {{C}}: pass --set C=VALUE");
}

static void test_template_text_is_kept(void **state) {
    (void)state;
    struct run r;
    run_init(&r);
    struct json *values = json_object(&r.arena);
    json_set(&r.arena, values, STR("T"), json_string(&r.arena, STR("x")));
    struct parse_options options = {.version = REGO_V1, .template_values = values};
    struct term *t = parse_term(&r.arena, STR("t"), STR("\"a{{T}}\\n\""), &options, &r.diags);
    assert_true(str_is(t->text, "ax\n"));
    assert_true(str_is(t->template_text, "a{{T}}\n"));
    t = parse_term(&r.arena, STR("t"), STR("\"a\""), &options, &r.diags);
    assert_null(t->template_text.ptr);
    run_deinit(&r);
}

/* ---- Queries, refs, terms ---- */

static void test_query(void **state) {
    (void)state;
    struct run r;
    struct body body;
    run_init(&r);
    assert_true(parse_query(&r.arena, STR("q"), STR("import rego.v1\nx = 1; data.foo[x]\ny"), NULL,
                            &r.diags, &body));
    print_body(&body, &r.out);
    end(&r);
    assert_string_equal(r.text, "x = 1; data.foo[x]; y");
    assert_false(parse_query(&r.arena, STR("q"), STR("x ="), NULL, &r.diags, &body));
    run_deinit(&r);
}

static void test_ref(void **state) {
    (void)state;
    struct run r;
    run_init(&r);
    struct term *t = parse_ref(&r.arena, STR("r"), STR("data.foo[\"b c\"]"), &r.diags);
    assert_int_equal(t->list.n, 3);
    assert_null(parse_ref(&r.arena, STR("r"), STR("1"), &r.diags));
    assert_null(parse_term(&r.arena, STR("r"), STR("1; 2"), NULL, &r.diags));
    run_deinit(&r);
}

/* ---- Order of terms: each is below the next ---- */

static void test_order(void **state) {
    (void)state;
    static const char *const sorted[] = {
        "null",  "false", "true",   "-10",     "-9.5",       "0",       "0.10",       "1e0",
        "2",     "10",    "1e2",    "\"\"",    "\"a\"",      "\"b\"",   "x",          "x.y",
        "x.z",   "[]",    "[1]",    "[1, 2]",  "[2]",        "{}",      "{\"a\": 1}", "{\"a\": 2}",
        "set()", "{1}",   "{1, 2}", "[x | y]", "{x: y | z}", "{x | y}", "f(x)",
    };
    struct run r;
    run_init(&r);
    struct term *before = NULL;
    for (size_t i = 0; i < sizeof(sorted) / sizeof(sorted[0]); i++) {
        struct term *t = parse_term(&r.arena, STR("t"), str_of(sorted[i]), NULL, &r.diags);
        assert_non_null(t);
        assert_true(term_equal(t, term_copy(&r.arena, t)));
        if (before) {
            assert_true(term_compare(before, t) < 0);
            assert_true(term_compare(t, before) > 0);
        }
        before = t;
    }
    run_deinit(&r);
}

static void test_equal_numbers(void **state) {
    (void)state;
    struct run r;
    run_init(&r);
    struct loc loc = {0};
    static const char *const pairs[][2] = {{"1", "1.0"},    {"100", "1e2"}, {"0", "-0.0"},
                                           {"0.5", "5e-1"}, {".5", "0.50"}, {"1e400", "10e399"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct term *x = term_new(&r.arena, TERM_NUMBER, loc),
                    *y = term_new(&r.arena, TERM_NUMBER, loc);
        x->text = str_of(pairs[i][0]);
        y->text = str_of(pairs[i][1]);
        assert_true(term_equal(x, y));
    }
    run_deinit(&r);
}

/* ---- Hostile depth ---- */

static void check_deep(const char *start, const char *piece, size_t times) {
    struct run r;
    struct buf source;
    struct parse_options options = {.version = REGO_V2};
    buf_init(&source, MAX_BYTES);
    buf_cstr(&source, start);
    for (size_t i = 0; i < times; i++) buf_cstr(&source, piece);
    buf_byte(&source, 0);
    assert_null(run_module(&r, (const char *)source.ptr, &options));
    run_deinit(&r);
    buf_deinit(&source);
}

static void test_depth_is_bounded(void **state) {
    (void)state;
    static const char *const pieces[] = {"[",  "{",  "(", "{x | ",  "$\"{",
                                         "f(", "x[", "-", "{\"a\":"};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        check_deep("package a\np := ", pieces[i], 50000);
    }
    check_deep("package a\np := 1", "+1", 50000);
    check_deep("package a\np if { a ", "and b or c ", 50000);
    check_deep("package a\np if ", "{ not (", 50000);
    check_deep("package a\np := 1 if x ", "else := 2 if y ", 50000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v1),
        cmocka_unit_test(test_v0),
        cmocka_unit_test(test_errors_v1),
        cmocka_unit_test(test_errors_v0),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_template_text_is_kept),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_ref),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_equal_numbers),
        cmocka_unit_test(test_depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
