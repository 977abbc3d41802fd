/* Reads a customer's SQL database: a query's columns, by name, as texts.
 * in: a URL, a query of the operator's own, a map of columns. out: rows. owns: a connection while
 * it reads. */
#include "cli/import_rows.h"
#include "base/utf8.h"
#include "control/db.h"

enum { SQL_BYTES = 1 << 20 };

/* ---- the map ---- */

static bool column_wrong(struct str text, const char *why) {
    return fail("--map \"%.*s\": %s", STR_FMT(text), why), false;
}

static bool add_column(struct import_map *m, struct str text) {
    const char *equals = text.len ? memchr(text.ptr, '=', text.len) : NULL;
    if (!equals || equals == text.ptr) return column_wrong(text, "it wants MEMBER=COLUMN");
    struct str member = str_head(text, (size_t)(equals - text.ptr));
    struct import_column c = {.column = str_from(text, member.len + 1)};
    if (!c.column.len || memchr(c.column.ptr, 0, c.column.len))
        return column_wrong(text, "which column?");
    if (str_is(member, "id"))
        c.member = IMPORT_ID;
    else if (str_is(member, "status"))
        c.member = IMPORT_STATUS;
    else if (str_is(member, "template"))
        c.member = IMPORT_TEMPLATE;
    else if (str_starts(member, STR("label.")))
        c.member = IMPORT_LABEL, c.name = str_from(member, 6);
    else if (str_starts(member, STR("parameter.")))
        c.member = IMPORT_PARAMETER, c.name = str_from(member, 10);
    else
        return column_wrong(text, "members are id, status, template, label.KEY and parameter.NAME");
    if (c.member >= IMPORT_LABEL && !c.name.len) return column_wrong(text, "the name is missing");
    for (uint32_t i = 0; i < m->n; i++)
        if (m->columns[i].member == c.member && str_eq(m->columns[i].name, c.name))
            return column_wrong(text, "this member is mapped already");
    if (m->n == IMPORT_COLUMNS) return column_wrong(text, "too many columns");
    m->columns[m->n++] = c;
    return true;
}

bool import_map_read(const struct str_list *texts, struct import_map *out) {
    bool id = false;
    *out = (struct import_map){0};
    for (uint32_t i = 0; i < texts->n; i++) {
        struct str rest = texts->items[i];
        while (rest.len) {
            const char *comma = memchr(rest.ptr, ',', rest.len);
            struct str one = str_head(rest, comma ? (size_t)(comma - rest.ptr) : rest.len);
            rest = str_from(rest, one.len + (comma != NULL));
            if (!add_column(out, one)) return false;
        }
    }
    for (uint32_t i = 0; i < out->n; i++) id |= out->columns[i].member == IMPORT_ID;
    return id || (fail("--map id=COLUMN says which column is the tenant's id"), false);
}

/* ---- the rows ---- */

/* The query becomes a table of which the mapped columns are taken: so they are found by name, the
 * same on both engines, and nothing but a query can stand there. A name that is no column would be
 * a text to SQLite unless the table's name stands before it. */
static bool make_sql(struct str query, const struct import_map *m, struct buf *out) {
    while (query.len && strchr(" \t\r\n;", query.ptr[query.len - 1])) query.len--;
    buf_cstr(out, "SELECT ");
    for (uint32_t i = 0; i < m->n; i++) {
        struct str c = m->columns[i].column;
        buf_cstr(out, i ? ", CAST(regent_rows.\"" : "CAST(regent_rows.\"");
        for (size_t k = 0; k < c.len; k++) {
            if (c.ptr[k] == '"') buf_byte(out, '"');
            buf_byte(out, (uint8_t)c.ptr[k]);
        }
        buf_cstr(out, "\" AS TEXT)");
    }
    buf_cstr(out, " FROM (");
    buf_str(out, query);
    buf_cstr(out, "\n) AS regent_rows"); /* the query may end with a comment */
    buf_byte(out, 0);
    return query.len > 0 && !out->err && !memchr(query.ptr, 0, query.len);
}

static bool take_rows(struct arena *a, const struct db_rows *rows, uint32_t columns,
                      struct import_rows *out) {
    size_t n = (size_t)rows->n * columns;
    out->n = rows->n;
    out->cells = ARENA_ARRAY(a, struct str, n);
    if (!out->cells) return fail("%s", err_meaning(ERR_MEMORY)), false;
    for (size_t i = 0; i < n; i++) {
        const struct db_value *v = &rows->cells[i];
        struct str s = v->s;
        if (v->type == DB_INT) s.ptr = arena_printf(a, &s.len, "%lld", (long long)v->i);
        if (v->type == DB_NULL) s = (struct str){NULL, 0};
        if (s.ptr && (!utf8_valid(s) || memchr(s.ptr, 0, s.len)))
            return fail("row %zu: column %.*s is not UTF-8", i / columns + 1, 40, "of the query"),
                   false;
        out->cells[i] = s;
    }
    return true;
}

bool import_rows_read(struct arena *a, const char *from, struct str query,
                      const struct import_map *map, struct import_rows *out) {
    char why[DB_WHY_BYTES] = "";
    struct db *db = NULL;
    struct db_conn *c = NULL;
    struct db_rows rows;
    struct buf sql;
    bool fine = false;
    buf_init(&sql, SQL_BYTES);
    if (!make_sql(query, map, &sql)) {
        fail("--query is empty, or too long");
        goto out;
    }
    if (db_open_foreign(from, &db, why) || db_take(db, &c, why)) {
        fail("%s", why[0] ? why : "the database does not open");
        goto out;
    }
    enum err e = db_begin(c, DB_SNAPSHOT);
    if (!e) e = DB_QUERY0(c, a, &rows, (const char *)sql.ptr);
    if (e) {
        fail("the query: %s", db_why(c));
        goto out;
    }
    fine = take_rows(a, &rows, map->n, out);
out:
    db_put(c); /* rolls back */
    db_close(db);
    buf_deinit(&sql);
    return fine;
}
