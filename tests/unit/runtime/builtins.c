/* Every builtin of the runtime, called with the arguments of builtins.tsv.
 * in:  lines "name<TAB>[arguments]<TAB>[result]" or
 * "name<TAB>[arguments]<TAB>undefined<TAB>message", in Rego's text; results and messages are those
 * of `opa eval` 1.22.2 out: one assertion a line owns: nothing */
#include "runtime/builtins/builtin.h"
#include "runtime/rt_native.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef value builtin_function();

/* Declarations and table rows of the builtins whose place is RUNTIME. */
#define RUNTIME_DECLARE(identifier) builtin_function bi_##identifier;
#define HOST_DECLARE(identifier)
#define PLAN_DECLARE(identifier)
#define LATER_DECLARE(identifier)
#define BUILTIN(identifier, name, infix, place, flags, category, type) place##_DECLARE(identifier)
#pragma clang diagnostic ignored "-Wstrict-prototypes"
#include "builtins.def"
#undef BUILTIN
static const struct row {
    const char *name;
    builtin_function *function;
} rows[] = {
#define RUNTIME_ROW(identifier, name) {name, bi_##identifier},
#define HOST_ROW(identifier, name)
#define PLAN_ROW(identifier, name)
#define LATER_ROW(identifier, name)
#define BUILTIN(identifier, name, infix, place, flags, category, type) place##_ROW(identifier, name)
#include "builtins.def"
#undef BUILTIN
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static value call(builtin_function *function, value arguments) {
    const value *v = array_items(arguments);
    switch (array_len(arguments)) {
    case 1: return ((value(*)(value))function)(v[0]);
    case 2: return ((value(*)(value, value))function)(v[0], v[1]);
    case 3: return ((value(*)(value, value, value))function)(v[0], v[1], v[2]);
    default: fail_msg("%u arguments", array_len(arguments)); return VALUE_UNDEFINED;
    }
}

static const struct row *find_row(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    fail_msg("no builtin %s", name);
    return NULL;
}

/* Heap copy of Rego text as a value. */
static value parse(const char *text) {
    value copy = string_copy((struct text){(const uint8_t *)text, (uint32_t)strlen(text)}), out;
    struct json_problem problem;
    if (!json_read(text_of(copy), true, &out, &problem)) fail_msg("%s: %s", text, problem.message);
    return out;
}

/* "[result]", or "undefined", in static storage. */
static const char *result_text(const struct row *row, const char *arguments) {
    static char text[65536];
    value result = call(row->function, parse(arguments));
    if (!is_defined(result)) return "undefined";
    struct builder b = builder_new(64);
    term_write(&b, array_of(&result, 1));
    snprintf(text, sizeof text, "%.*s", (int)b.len, (const char *)b.ptr);
    return text;
}

/* The strict mode's message behind its code, or the result's text. */
static const char *strict_text(const struct row *row, const char *arguments) {
    const char *text;
    regent_set_strict(1);
    if (setjmp(*native_catch()) == 0) {
        text = result_text(row, arguments);
    } else {
        const char *colon = strstr(native_message(), ": ");
        text = colon ? colon + 2 : native_message();
    }
    native_catch_end();
    regent_set_strict(0);
    return text;
}

/* Cuts the line at its next tab. */
static char *field(char **rest) {
    char *start = *rest, *tab = start ? strchr(start, '\t') : NULL;
    if (tab) *tab = 0;
    *rest = tab ? tab + 1 : NULL;
    return start;
}

static int check_line(char *line, int number, bool *seen) {
    char *name = field(&line), *arguments = field(&line), *expected = field(&line);
    char *message = field(&line);
    const struct row *row = find_row(name);
    native_setup(64 << 20);
    seen[row - rows] = true;
    const char *got = result_text(row, arguments);
    int failed = strcmp(got, expected) != 0;
    if (failed)
        print_error("line %d: %s %s\n  expected %s\n  got      %s\n", number, name, arguments,
                    expected, got);
    if (failed || !message) return failed;
    got = strict_text(row, arguments);
    failed = strcmp(got, message) != 0;
    if (failed)
        print_error("line %d: %s %s\n  expected %s\n  got      %s\n", number, name, arguments,
                    message, got);
    return failed;
}

static void test_cases(void **state) {
    static char line[1 << 20];
    bool seen[ROWS] = {false};
    int failures = 0, number = 0;
    const char *path = getenv("BUILTIN_CASES");
    FILE *file = fopen(path ? path : "tests/unit/runtime/builtins.tsv", "r");
    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        number++;
        line[strcspn(line, "\n")] = 0;
        if (line[0] && line[0] != '#') failures += check_line(line, number, seen);
    }
    fclose(file);
    for (size_t i = 0; i < ROWS && !path; i++)
        if (!seen[i]) {
            print_error("no case for %s\n", rows[i].name);
            failures++;
        }
    assert_int_equal(failures, 0);
}

/* The message with which a call ends the evaluation, or "" when it does not. */
static const char *failure(builtin_function *function, value arguments) {
    const char *message = "";
    if (setjmp(*native_catch()) == 0)
        call(function, arguments);
    else
        message = native_message();
    native_catch_end();
    return message;
}
static value nested(uint32_t depth) {
    value v = array_new(0);
    while (depth-- > 0) v = array_of(&v, 1);
    return array_of(&v, 1);
}

static void test_depth(void **state) {
    (void)state;
    native_setup(0);
    assert_string_equal(failure(find_row("walk")->function, nested(900)), "");
    assert_memory_equal(failure(find_row("walk")->function, nested(5000)), "stack: ", 7);
    value arguments = array_of((value[]){STRING("%v"), nested(5000)}, 2);
    assert_memory_equal(failure(find_row("sprintf")->function, arguments), "stack: ", 7);
}

static void test_memory(void **state) {
    (void)state;
    static const char *const calls[][2] = {
        {"numbers.range", "[1, 1000000000]"},
        {"bits.lsh", "[1, 4294967296]"},
        {"sprintf", "[\"%999999d%999999d%999999d%999999d%999999d\", [1,2,3,4,5]]"},
        {"units.parse_bytes", "[\"1e900000\"]"},
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        native_setup(1 << 20);
        builtin_function *function = find_row(calls[i][0])->function;
        assert_memory_equal(failure(function, parse(calls[i][1])), "guest_memory: ", 14);
    }
}

/* Takes the heap's fixed addresses before malloc's first block can lie among them. */
__attribute__((constructor)) static void take_addresses(void) { native_setup(0); }

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_depth),
                                       cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
