/* A customer's own list of tenants: a query's rows as members of tenants' documents. */
#ifndef REGENT_CLI_IMPORT_ROWS_H
#define REGENT_CLI_IMPORT_ROWS_H
#include "base/hash.h"
#include "cli/client.h"

enum { IMPORT_COLUMNS = 64 };
enum import_member { IMPORT_ID, IMPORT_STATUS, IMPORT_TEMPLATE, IMPORT_LABEL, IMPORT_PARAMETER };
struct import_column {
    enum import_member member;
    struct str name;   /* of the label or parameter */
    struct str column; /* of the query */
};
struct import_map {
    struct import_column columns[IMPORT_COLUMNS];
    uint32_t n;
};
/* "id=tenant_id,label.plan=plan". false: said why. */
bool import_map_read(const struct str_list *texts, struct import_map *out);

/* Cells are texts; ptr NULL: NULL. Row i is cells[i * map.n] and on, in the map's order. */
struct import_rows {
    struct str *cells;
    uint32_t n;
};
/* Runs the operator's query, one statement, in a transaction that cannot write. false: said why. */
bool import_rows_read(struct arena *a, const char *from, struct str query,
                      const struct import_map *map, struct import_rows *out);

#endif
