/* The store in PostgreSQL.
 *
 * in:   a URL of libpq's.
 * out:  nothing yet: connecting says that this build has no PostgreSQL.
 * owns: nothing. */
#include "control/db_private.h"

static enum err connect_postgres(struct db_conn *c) {
    return db_fail(c, ERR_UNSUPPORTED, "this build stores in SQLite only: give sqlite:FILE");
}

const struct db_engine db_postgres = {.connect = connect_postgres};
