/* libpq's functions as they were found, and what the two files on PostgreSQL share. */
#ifndef REGENT_CONTROL_DB_POSTGRES_H
#define REGENT_CONTROL_DB_POSTGRES_H
#include "control/db_private.h"
#if __has_include(<libpq-fe.h>)
#include <libpq-fe.h>
#else
#include <postgresql/libpq-fe.h>
#endif

#define PQ_FUNCTIONS                                                                               \
    X(PQconnectdbParams)                                                                           \
    X(PQstatus) X(PQerrorMessage) X(PQfinish) X(PQprepare) X(PQexecPrepared) X(PQexec)             \
        X(PQresultStatus) X(PQresultErrorField) X(PQclear) X(PQntuples) X(PQnfields) X(PQftype)    \
            X(PQgetisnull) X(PQgetvalue) X(PQgetlength) X(PQcmdTuples) X(PQcmdStatus) X(PQsocket)  \
                X(PQconsumeInput) X(PQnotifies) X(PQfreemem) X(PQtransactionStatus)                \
                    X(PQsetNoticeProcessor) X(PQserverVersion) X(PQconninfoParse)                  \
                        X(PQconninfoFree)

/* Of a store; d->shared. */
struct pq {
    void *library;
#define X(name) __typeof__(&name) name;
    PQ_FUNCTIONS
#undef X
};

/* Words of all processes that use one schema of one database. */
#define PQ_CHANNEL "'regent_' || md5(current_schema())"

enum err postgres_listen(struct db *d);
void postgres_listen_stop(struct db *d);

#endif
