/* What apply and import do to a control plane: what it has, what is to change, shown, asked about,
 * sent in batches under one build, waited for. */
#ifndef REGENT_CLI_CHANGES_H
#define REGENT_CLI_CHANGES_H
#include "base/hash.h"
#include "cli/client.h"
#include "control/spec.h"

enum change_sign { CHANGE_CREATE, CHANGE_UPDATE, CHANGE_DELETE, CHANGE_SIGNS };
struct change {
    enum change_sign sign;
    enum spec_kind kind;
    struct str id;
    const struct json *document; /* canonical; NULL: taken away */
    const char *expect; /* SHA-256 of what is there now, "" nothing: else somebody was quicker */
    const char *note;   /* for people: "suspended"; NULL: none */
};
struct changes {
    struct change *items;
    uint32_t n, cap;
    uint32_t count[CHANGE_SIGNS], unchanged;
    struct arena *arena;
};
void changes_init(struct changes *c, struct arena *a);
void changes_add(struct changes *c, struct change one);

/* What the control plane has: "tenant/acme" → its SHA-256. EXIT_OK, or said why. */
int digests_read(struct client *c, struct table *out);
const char *digest_key(struct arena *a, enum spec_kind kind, struct str id);

/* Every template, library or tenant with its document; `each` must copy what it keeps. */
int documents_read(struct client *c, enum spec_kind kind, client_each *each, void *ctx);
/* The canonical document in what a list or GET of one gave; NULL: there is none. */
const struct json *client_document(const struct json *item);

struct changes_options {
    bool json, dry_run, yes, wait, release;
    const char *cause; /* for people: "apply" */
    const char *dir;   /* where files lie that failures name; NULL: nowhere */
    bool confirm;      /* ask before sending; deletions are asked for in any case */
};
/* Rows of a command's table of flags. */
#define CHANGES_FLAGS(o)                                                                           \
    {"dry-run", 0, OPTION_BOOL, &(o).dry_run, NULL, "show what would change, and change nothing"}, \
        {"yes", 'y', OPTION_BOOL, &(o).yes, NULL, "do not ask"},                                   \
        {"wait", 0, OPTION_BOOL, &(o).wait, NULL, "wait for the build (default); --wait=false"}, { \
        "output", 'o', OPTION_TEXT, &output, "FORMAT", "text (default) or json"                    \
    }
/* Prints the plan, asks, sends, waits, reports. The command's exit code. */
int changes_run(struct client *c, struct changes *changes, const struct changes_options *o);

/* ---- waiting for a build (build_wait.c) ---- */
/* Until it is over, with a progress bar on a terminal. *build gets its last state, *failures a list
 * of {"tenant","errors"} with files as they are called below dir (NULL: none). EXIT_OK, EXIT_ERRORS
 * when jobs failed, EXIT_FAILED: said why. */
int build_wait(struct client *c, struct str id, const char *dir, struct json **build,
               struct json **failures);
void build_report(const struct json *build, const struct json *failures); /* for people */
/* Files of errors as they are called below dir, where there are such. */
void errors_name_files(struct arena *a, const struct json *errors, const char *dir);

bool is_fancy(int fd); /* a terminal, and colours are not switched off */

#endif
