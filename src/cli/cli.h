/* What the commands share: process context, loading of policies and data, output helpers. */
#ifndef REGENT_CLI_CLI_H
#define REGENT_CLI_CLI_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/diag.h"
#include "base/json.h"
#include "cli/options.h"
#include "compiler/compile.h"
#include "host/host.h"

/* Exit codes follow OPA's: 0 success, 1 usage or a failed condition, 2 errors in policies or evaluation. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_ERRORS = 2 };

/* Each command: arguments after its name; returns the exit code. `a` lives as long as the process. */
int cmd_audit(struct arena *a, int argc, char **argv);
int cmd_build(struct arena *a, int argc, char **argv);
int cmd_eval(struct arena *a, int argc, char **argv);
int cmd_test(struct arena *a, int argc, char **argv);
int cmd_check(struct arena *a, int argc, char **argv);
int cmd_bench(struct arena *a, int argc, char **argv);
int cmd_inspect(struct arena *a, int argc, char **argv);
int cmd_version(struct arena *a, int argc, char **argv);
int cmd_control(struct arena *a, int argc, char **argv);
int cmd_edge(struct arena *a, int argc, char **argv);
int cmd_top(struct arena *a, int argc, char **argv);
int cmd_edge_worker(struct arena *a, int argc, char **argv);
int cmd_replay(struct arena *a, int argc, char **argv);
int cmd_token(struct arena *a, int argc, char **argv);
int cmd_apply(struct arena *a, int argc, char **argv);
int cmd_export(struct arena *a, int argc, char **argv);
int cmd_import(struct arena *a, int argc, char **argv);
int cmd_release(struct arena *a, int argc, char **argv);
int cmd_suspend(struct arena *a, int argc, char **argv);
int cmd_activate(struct arena *a, int argc, char **argv);
int cmd_get(struct arena *a, int argc, char **argv);
int cmd_login(struct arena *a, int argc, char **argv);
int cmd_logout(struct arena *a, int argc, char **argv);
int cmd_parse(struct arena *a, int argc, char **argv);

/* Reads flags; on --help or a wrong flag prints and returns false with the exit code in *code. */
bool command_options(struct arena *a, const char *usage, const struct option_spec *specs, int argc,
                     char **argv, struct str_list *rest, int *code);

/* ---- Loading ---- */
struct source_list {
    struct compile_source *items;
    uint32_t n, cap;
};
struct loaded {
    struct source_list sources; /* .rego files */
    struct json *data;          /* merged documents, {} at least */
    struct str wasm, thin;      /* from a bundle or a .wasm file; else empty */
    struct json *manifest;      /* of the last bundle, or NULL */
    struct str checks;          /* its checks.json, or empty */
    struct str input_bytes;     /* raw input; ptr NULL: none */
    bool v0;                    /* parse as v0 */
};
struct load_options {
    struct str_list paths;   /* -d: folders and .rego, .json, .yaml files; PREFIX:path puts data below a path */
    struct str_list bundles; /* -b: archives or folders */
    bool tests;              /* keep *_test.rego */
    struct str_list ignore;  /* names to leave out */
};
/* Problems go to diags (with OPA's wording where it has one). */
bool load_paths(struct arena *a, const struct load_options *o, struct loaded *out, struct diag_list *diags);
/* Raw bytes of a file ("-": standard input) in the arena. */
bool load_file(struct arena *a, const char *path, struct str *out, struct diag_list *diags);
/* Input of eval and bench: JSON checked, YAML turned into JSON; path empty: none. */
bool load_input(struct arena *a, struct str path, bool from_stdin, struct str *out, struct diag_list *diags);
/* NAME=VALUE pairs and a values file into a template_values object (NULL when there is neither). */
bool load_template_values(struct arena *a, const struct str_list *set, struct str file,
                          const struct json **out, struct diag_list *diags);

/* ---- Output ---- */
/* Errors as text on standard error, or as {"errors":[…]} on standard output. Returns EXIT_ERRORS. */
int report_errors(const struct diag_list *diags, bool json, int code);
/* All of a buffer to a FILE descriptor. */
void print_buf(int fd, const struct buf *b);
/* A document, indented, to standard output. */
void print_document(const struct json *v);
/* A table with box characters as OPA draws it: rows of n cells, the first row is the header (headed) or none. */
void print_table(const struct str *cells, uint32_t rows, uint32_t columns, bool headed, bool right_second,
                 struct buf *out);
int fail(const char *format, ...) __attribute__((format(printf, 1, 2))); /* "error: …", EXIT_FAILED */

#endif
