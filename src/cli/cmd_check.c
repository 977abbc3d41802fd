/* regent check and regent parse: find what is wrong with policies, or show their syntax tree.
 * in: flags, files. out: errors in OPA's forms. owns: its compile. */
#include "cli/cli.h"
#include "compiler/ast/print.h"
#include <stdio.h>

enum { OUTPUT_BYTES = 1 << 30 };

int cmd_check(struct arena *a, int argc, char **argv) {
    struct load_options load = {.tests = true};
    struct str format = {0}, schema = {0}, set_file = {0};
    struct str_list rest, set = {0};
    bool bundle = false, strict = false, v0 = false;
    int64_t max_errors = 10;
    const struct option_spec specs[] = {
        {"bundle", 'b', OPTION_BOOL, &bundle, NULL, "load paths as bundle files or root folders"},
        {"format", 'f', OPTION_TEXT, &format, "FORMAT", "pretty (default) or json"},
        {"max-errors", 'm', OPTION_NUMBER, &max_errors, "N", "errors shown at most (default 10)"},
        {"strict", 'S', OPTION_BOOL, &strict, NULL, "compiler strict mode"},
        {"set", 0, OPTION_LIST, &set, "NAME=VALUE", "value for {{NAME}} in string literals (repeatable)"},
        {"set-file", 0, OPTION_TEXT, &set_file, "FILE", "JSON or YAML object of such values"},
        {"schema", 's', OPTION_TEXT, &schema, "PATH", "accepted for OPA's sake; schemas are not used yet"},
        {"ignore", 0, OPTION_LIST, &load.ignore, "NAME", "file and folder names to leave out"},
        {"v0-compatible", 0, OPTION_BOOL, &v0, NULL, "read policies as Rego v0"},
        {0},
    };
    int code;
    if (!command_options(a, "check <path> [path [...]] [flags]", specs, argc, argv, &rest, &code)) return code;
    if (rest.n == 0) return fail("specify at least one file");
    if (schema.len) return fail("--schema: schemas are not used yet; leave the flag out");
    for (uint32_t i = 0; i < rest.n; i++) {
        struct str_list *to = bundle ? &load.bundles : &load.paths;
        ARENA_PUSH(a, to, rest.items[i]);
    }
    struct diag_list diags;
    struct loaded loaded;
    const struct json *values;
    bool json = str_is(format, "json");
    diag_list_init(&diags, a);
    if (!load_paths(a, &load, &loaded, &diags) || !load_template_values(a, &set, set_file, &values, &diags))
        return report_errors(&diags, json, EXIT_FAILED);
    struct compile_request request = {
        .sources = loaded.sources.items,
        .n_sources = loaded.sources.n,
        .parse = {.version = v0 || loaded.v0 ? REGO_V0 : REGO_V1, .template_values = values},
        .data = bundle ? loaded.data : NULL,
        .strict = strict,
        .keep_print = true,
    };
    struct compile c;
    enum err e = compile_run(&c, &request, "check");
    if (e == ERR_DIAG) {
        if (max_errors > 0 && c.diags.n > (uint64_t)max_errors) {
            c.diags.dropped += c.diags.n - (uint32_t)max_errors;
            c.diags.n = (uint32_t)max_errors;
        }
        code = report_errors(&c.diags, json, EXIT_FAILED);
    } else if (e) {
        code = fail("%s", err_meaning(e));
    } else {
        code = EXIT_OK;
        if (json) puts("{}");
    }
    compile_end(&c);
    return code;
}

int cmd_parse(struct arena *a, int argc, char **argv) {
    struct str format = {0};
    struct str_list rest;
    bool v0 = false;
    const struct option_spec specs[] = {
        {"format", 'f', OPTION_TEXT, &format, "FORMAT", "pretty (default: Rego) or json"},
        {"v0-compatible", 0, OPTION_BOOL, &v0, NULL, "read the policy as Rego v0"},
        {0},
    };
    int code;
    if (!command_options(a, "parse <path> [flags]", specs, argc, argv, &rest, &code)) return code;
    if (rest.n != 1) return fail("specify one file");
    struct diag_list diags;
    struct str text;
    bool json = str_is(format, "json");
    diag_list_init(&diags, a);
    if (!load_file(a, rest.items[0].ptr, &text, &diags)) return report_errors(&diags, json, EXIT_FAILED);
    struct parse_options options = {.version = v0 ? REGO_V0 : REGO_V1};
    struct module *m = parse_module(a, rest.items[0], text, &options, &diags);
    diag_sort(&diags);
    if (!m) return report_errors(&diags, json, EXIT_FAILED);
    struct buf out;
    buf_init(&out, OUTPUT_BYTES);
    if (json) print_module_json(m, &out);
    else print_module(m, &out);
    buf_byte(&out, '\n');
    print_buf(1, &out);
    buf_deinit(&out);
    return EXIT_OK;
}
