/* JSON trees with exact numbers: natively read data documents, manifests, test cases, options. */
#ifndef REGENT_BASE_JSON_H
#define REGENT_BASE_JSON_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* A JSON value. Numbers keep their text (`text`), so none loses a digit; strings are unescaped
 * UTF-8. Object members stay in input order without duplicates: the last one wins, as in Go. */
struct json {
    enum json_kind kind;
    bool boolean;
    struct str text;     /* JSON_NUMBER: its digits; JSON_STRING: its value */
    uint32_t n, cap;     /* JSON_ARRAY, JSON_OBJECT */
    struct json **items; /* values */
    struct str *keys;    /* JSON_OBJECT: key of items[i] */
};

struct json_error {
    size_t offset;       /* byte at which reading stopped */
    uint32_t row, col;   /* from 1 */
    const char *message; /* static */
};

enum { JSON_MAX_DEPTH = 10000, JSON_STRICT_DEPTH = 500 };

/* One value with white space around it. Strings without escapes are views into `text`, which must
 * outlive the tree. Lone surrogates become U+FFFD and invalid UTF-8 is replaced as Go does.
 * ERR_SYNTAX or ERR_LIMIT with *error filled in, ERR_MEMORY. */
MUST_USE enum err json_parse(struct arena *a, struct str text, struct json **out,
                             struct json_error *error);
/* The same for what people write and two readers must not take for different things: ERR_SYNTAX for a member that is
 * given twice, for lone surrogates and for invalid UTF-8 in strings; ERR_LIMIT past JSON_STRICT_DEPTH. */
MUST_USE enum err json_parse_strict(struct arena *a, struct str text, struct json **out, struct json_error *error);
/* Member of an object, or NULL (also when v is NULL or no object). */
struct json *json_get(const struct json *v, struct str key);
struct json *json_get_c(const struct json *v, const char *key);
/* Follows names ("a/b") through objects; NULL: nothing there. *list: the way leads into an array. */
const struct json *json_below(const struct json *v, struct str path, bool *list);
/* Builders. json_set replaces an existing key. */
struct json *json_null(struct arena *a);
struct json *json_bool(struct arena *a, bool b);
struct json *json_int(struct arena *a, int64_t i);
struct json *json_number(struct arena *a, struct str text);
struct json *json_string(struct arena *a, struct str s);
struct json *json_array(struct arena *a);
struct json *json_object(struct arena *a);
void json_push(struct arena *a, struct json *array, struct json *item);
void json_set(struct arena *a, struct json *object, struct str key, struct json *value);
/* Adds a member whose key the object does not have yet: json_set without the search. */
void json_append(struct arena *a, struct json *object, struct str key, struct json *value);
/* Deep merge of `from` into object `into`; false at the first conflict (both sides not objects). */
bool json_merge(struct arena *a, struct json *into, const struct json *from);
/* Same value: numbers by value (1 == 1.0), objects without regard to order. */
bool json_equal(const struct json *a, const struct json *b);
/* Compact; keys sorted bytewise when `sorted`. Strings are escaped as Go's encoding/json does
 * without HTML escaping. indent > 0: one member a line, as `jq` or OPA's pretty form. */
void json_print(const struct json *v, bool sorted, int indent, struct buf *out);
/* A quoted, escaped JSON string. */
void json_print_string(struct str s, struct buf *out);
/* JSON text with <, > and & as \\u003c, \\u003e and \\u0026, as OPA's server and `opa eval` print it. */
void json_escape_html(struct str json, struct buf *out);
/* JSON_NUMBER as int64; false when it is none or does not fit. */
bool json_int64(const struct json *v, int64_t *out);
/* Reads YAML into the same tree, scalars as OPA reads them (yaml.h). */
MUST_USE enum err yaml_parse(struct arena *a, struct str text, struct json **out,
                             struct json_error *error);

#endif
