/* Command-line flags as OPA's programs read them: --name value, --name=value, -n value, -nvalue. */
#ifndef REGENT_CLI_OPTIONS_H
#define REGENT_CLI_OPTIONS_H
#include "base/arena.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

struct str_list {
    struct str *items;
    uint32_t n, cap;
};

enum option_kind {
    OPTION_BOOL,   /* bool * */
    OPTION_TEXT,   /* struct str *: the last one wins */
    OPTION_LIST,   /* struct str_list *: may be repeated */
    OPTION_NUMBER, /* int64_t * */
};

struct option_spec {
    const char *name; /* without dashes; NULL ends the table */
    char letter;      /* 0: none */
    enum option_kind kind;
    void *target;
    const char *value_name; /* for help */
    const char *help;
};

/* Reads argv[0..argc): flags into their targets, the rest into *rest. On a wrong flag writes a sentence to *error
 * and returns false. --help sets *help. */
struct option_result {
    struct str_list rest;
    bool help;
    const char *error;
};
bool options_read(struct arena *a, const struct option_spec *specs, int argc, char **argv,
                  struct option_result *out);
/* "Flags:" and one line a flag, to standard output. */
void options_help(const struct option_spec *specs);

#endif
