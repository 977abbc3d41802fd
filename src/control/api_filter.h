/* Lists with conditions: a statement that is put together from fixed texts, and values that never
 * become part of it. */
#ifndef REGENT_CONTROL_API_FILTER_H
#define REGENT_CONTROL_API_FILTER_H
#include "control/api.h"

/* What does not fit is left out, and filter_run fails. */
struct filter {
    struct sql_filter f;
    bool full;
};
void filter_text(struct filter *x, const char *sql);
/* before, the value's number ("$3"), after. */
void filter_value(struct filter *x, const char *before, struct db_value value, const char *after);
/* The same with a parameter of the query, if it was given. */
void filter_param(struct filter *x, struct api_call *c, const char *name, const char *before);
/* The caller's scopes, on tenants `t`. */
void filter_scope(struct filter *x, struct api_call *c);
/* A list of what all tenants have, the newest first: rows of a table with tenant, created_ms and a
 * number. */
struct newest {
    const char *columns, *table, *alias, *number; /* columns: of the alias and of tenants `t` */
    int64_t limit;
    bool begun;    /* the page follows another one, which ended with: */
    int64_t at[2]; /* created_ms, number */
    struct str tenant;
};
/* Has the query one of these parameters? NULL ends. */
bool filter_given(struct api_call *c, const char *const *names);
/* The whole statement, if the caller's scopes leave but a few tenants: the newest of each are
 * looked for, since none of them need be among the newest of all. For when nothing else selects.
 * false: not so, or answered (*wrong): the caller makes a statement that goes by age. */
bool filter_newest(struct filter *x, struct api_call *c, const struct newest *what, bool *wrong);
/* What follows the conditions of a statement that goes by age. */
void filter_by_age(struct filter *x, const struct newest *what);
/* false: answered. */
bool filter_run(struct filter *x, struct api_call *c, struct db_rows *rows);

/* A cursor "N.N.TEXT" with n numbers and a text. false, and an answer (400): it is none. */
bool cursor_read(struct api_call *c, struct str cursor, int64_t *numbers, uint32_t n,
                 struct str *text);
struct str cursor_make(struct arena *a, const int64_t *numbers, uint32_t n, struct str text);

/* The tenant of c->args[0], if the caller sees it. false: answered (404). */
bool api_see_tenant(struct api_call *c);
/* JSON text of the store as a tree; null when it is none. */
struct json *api_stored(struct arena *a, struct str text);

#endif
