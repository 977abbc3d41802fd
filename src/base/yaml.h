/* YAML text as JSON trees, with the place of each key and value where it is asked for. */
#ifndef REGENT_BASE_YAML_H
#define REGENT_BASE_YAML_H
#include "base/diag.h"
#include "base/err.h"
#include "base/json.h"

struct yaml_options {
    const struct str *source; /* name of the text, which must live as long as the tree: values get places; NULL: none */
    struct diag_list *duplicates; /* gets a line for each key that is given twice; NULL: the last one wins silently */
    uint64_t max_values;          /* with what aliases repeat; 0: 50 million */
    uint32_t max_depth;           /* 0: 500: libyaml's time grows with depth times length */
    bool one_document;            /* a second document is an error; else it is not looked at */
};

/* A value of a tree that was read with options.source: every struct json of it is the first member of
 * one of these. */
struct yaml_value {
    struct json json;
    const struct str *source;
    uint32_t row, col;         /* where it begins */
    uint32_t key_row, key_col; /* of its key; those of the value itself in a list */
    bool merged;               /* came by << and may be given anew */
};

/* Scalars resolve as in YAML 1.1 as Go's yaml packages do. Anchors, aliases and merge keys are followed,
 * each repetition being a copy. ERR_SYNTAX with *error (may be NULL) filled in, ERR_MEMORY. */
MUST_USE enum err yaml_read(struct arena *a, struct str text, const struct yaml_options *options, struct json **out,
                            struct json_error *error);
/* Turns scalars that OPA reads otherwise into what it reads: "yes" and "off" are strings, 1.50 is 1.5, 1e3 is 1000.
 * yaml_parse (json.h) does so itself. */
void yaml_as_opa(struct arena *a, struct json *v);
/* The value that `text` has as a plain scalar: 5, true, null, a string. `source` as above, place 1:1. */
struct json *yaml_scalar(struct arena *a, struct str text, const struct str *source);
/* An empty object or list, or a string, of a tree with places. */
struct json *yaml_object(struct arena *a, const struct str *source);
struct json *yaml_array(struct arena *a, const struct str *source);
struct json *yaml_string(struct arena *a, struct str text, const struct str *source);

/* Only for values of trees with places. */
struct loc yaml_place(const struct json *v);
struct loc yaml_key_place(const struct json *v);

#endif
