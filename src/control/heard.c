/* Which nodes were heard of: gathered in memory, written a few times a second.
 * in: nodes that asked for the feed. out: rows of edges. owns: a thread, what it has not written
 * yet. */
#include "base/clock.h"
#include "control/heard.h"
#include "base/hash.h"
#include "control/feed.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLOTS = 4096, BATCH = 1000, PRUNE_EACH_MS = 60000, ARENA_BYTES = 64 << 20 };

struct node {
    struct node *next, *slot_next; /* of all, in the order in which they came; of a slot */
    int64_t cursor, wait_ms, at_ms;
    char name[128], token[64], address[64];
};
struct heard {
    struct control *control;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool ends;
    struct node *slots[SLOTS], *first, **last;
    uint32_t n;
};

/* ---- gathering ---- */

static struct node *find_node(struct heard *h, struct str name) {
    for (struct node *n = h->slots[hash64(name) % SLOTS]; n; n = n->slot_next)
        if (str_is(name, n->name)) return n;
    return NULL;
}

static struct node *add_node(struct heard *h, struct str name) {
    struct node *n = h->n < HEARD_NODES && name.len < sizeof n->name ? calloc(1, sizeof *n) : NULL;
    if (!n) return NULL;
    struct node **slot = &h->slots[hash64(name) % SLOTS];
    snprintf(n->name, sizeof n->name, "%.*s", STR_FMT(name));
    n->slot_next = *slot;
    *slot = n;
    *h->last = n;
    h->last = &n->next;
    h->n++;
    return n;
}

void heard_node(struct heard *h, struct str name, int64_t cursor, int64_t wait_ms, struct str token,
                const char *address) {
    pthread_mutex_lock(&h->lock);
    struct node *n = find_node(h, name);
    if (!n) n = add_node(h, name);
    if (n) {
        n->cursor = cursor;
        if (wait_ms) n->wait_ms = wait_ms;
        n->at_ms = control_now_ms();
        snprintf(n->token, sizeof n->token, "%.*s", STR_FMT(token));
        snprintf(n->address, sizeof n->address, "%s", address);
    }
    pthread_mutex_unlock(&h->lock);
}

static struct node *take_all(struct heard *h) {
    pthread_mutex_lock(&h->lock);
    struct node *all = h->first;
    memset(h->slots, 0, sizeof h->slots);
    h->first = NULL;
    h->last = &h->first;
    h->n = 0;
    pthread_mutex_unlock(&h->lock);
    return all;
}

/* ---- writing ---- */

struct batch {
    struct arena *arena;
    struct str rows; /* [{"n","c","w","t","a","s"}]: node, cursor, wait, token, address, seen */
};

#define ADD(rows)                                                                                  \
    "INSERT INTO edges (node, host, software, cursor, wait_ms, token, address, tenants, failing, " \
    "first_ms, seen_ms)"                                                                           \
    " SELECT j.value ->> 'n', '', '', 0, CAST($3 AS BIGINT), j.value ->> 't', j.value ->> 'a', "   \
    "0, 0,"                                                                                        \
    " CAST(j.value ->> 's' AS BIGINT), 0 FROM " rows " WHERE (SELECT COUNT(*) FROM edges) < $2"    \
    " ON CONFLICT (node) DO NOTHING"
/* A report, written meanwhile, may know of more than the request for the feed before it; from 0 a
 * node begins anew. */
#define NOTE(rows)                                                                                 \
    "UPDATE edges SET seen_ms = CAST(j.value ->> 's' AS BIGINT),"                                  \
    " cursor = CASE WHEN CAST(j.value ->> 'c' AS BIGINT) BETWEEN 1 AND cursor THEN cursor"         \
    " ELSE CAST(j.value ->> 'c' AS BIGINT) END,"                                                   \
    " wait_ms = CASE WHEN CAST(j.value ->> 'w' AS BIGINT) > 0 THEN CAST(j.value ->> 'w' AS "       \
    "BIGINT) ELSE wait_ms END"                                                                     \
    " FROM " rows " WHERE edges.node = j.value ->> 'n'"
#define OF_POSTGRES "json_array_elements(CAST($1 AS json)) AS j(value)"
#define OF_SQLITE "json_each($1) AS j"

static enum err write_rows(struct db_conn *c, void *ctx) {
    struct batch *b = ctx;
    bool postgres = db_is_postgres(db_of(c));
    enum err e = DB_QUERY(c, b->arena, NULL, postgres ? ADD(OF_POSTGRES) : ADD(OF_SQLITE),
                          db_text(b->rows), db_int(HEARD_NODES), db_int(EDGE_WAIT_MS));
    if (!e)
        e = DB_QUERY(c, b->arena, NULL, postgres ? NOTE(OF_POSTGRES) : NOTE(OF_SQLITE),
                     db_text(b->rows));
    return e;
}

static int by_name(const void *a, const void *b) {
    const struct json *const *x = a, *const *y = b;
    return str_cmp((*x)->items[0]->text, (*y)->items[0]->text);
}

static struct json *row_of(struct arena *a, const struct node *n) {
    struct json *o = json_object(a);
    if (!o) return NULL;
    json_append(a, o, STR("n"), json_string(a, str_of(n->name)));
    json_append(a, o, STR("c"), json_int(a, n->cursor));
    json_append(a, o, STR("w"), json_int(a, n->wait_ms));
    json_append(a, o, STR("t"), json_string(a, str_of(n->token)));
    json_append(a, o, STR("a"), json_string(a, str_of(n->address)));
    json_append(a, o, STR("s"), json_int(a, n->at_ms));
    return o;
}

/* Rows in the order of their names, so that replicas do not wait for each other in a circle. */
static enum err write_batch(struct db_conn *c, struct arena *a, struct json *rows) {
    struct batch b = {.arena = a};
    struct buf text;
    if (rows->n) qsort(rows->items, rows->n, sizeof *rows->items, by_name);
    buf_init(&text, 4 << 20);
    json_print(rows, false, 0, &text);
    b.rows = buf_view(&text);
    enum err e = text.err ? text.err : db_transact(c, write_rows, &b);
    buf_deinit(&text);
    return e;
}

static void free_nodes(struct node *n, const struct node *until) {
    for (struct node *next; n != until; n = next) {
        next = n->next;
        free(n);
    }
}

/* What the store cannot take now is not written: nodes are heard of again soon. Frees all. */
static void write_all(struct heard *h, struct db_conn *c, struct arena *a, struct node *all) {
    while (all) {
        arena_reset(a);
        struct json *rows = json_array(a); /* with views of the nodes */
        struct node *end = all;
        for (uint32_t i = 0; i < BATCH && end; i++, end = end->next)
            json_push(a, rows, row_of(a, end));
        if (c && rows && write_batch(c, a, rows))
            log_line(h->control->log, LOG_WARN, "nodes not noted", "reason", db_why(c), NULL);
        free_nodes(all, end);
        all = end;
    }
}

/* ---- the thread ---- */

static void run_round(struct heard *h, struct arena *a, int64_t *prune_ms) {
    struct db_conn *c = NULL;
    char why[DB_WHY_BYTES];
    struct node *all = take_all(h);
    int64_t now = control_now_ms();
    bool prunes = now >= *prune_ms;
    if (!all && !prunes) return;
    if (db_take(h->control->db, &c, why)) c = NULL; /* others say that the store is not there */
    write_all(h, c, a, all);
    if (c && prunes) {
        *prune_ms = now + PRUNE_EACH_MS;
        arena_reset(a);
        if (edges_prune(c, a, now))
            log_line(h->control->log, LOG_WARN, "old nodes not forgotten", "reason", db_why(c),
                     NULL);
    }
    db_put(c);
}

static bool pause_ends(struct heard *h) {
    struct timespec until = clock_after(CLOCK_REALTIME, HEARD_EACH_MS);
    pthread_mutex_lock(&h->lock);
    if (!h->ends) pthread_cond_timedwait(&h->ended, &h->lock, &until);
    bool ends = h->ends;
    pthread_mutex_unlock(&h->lock);
    return ends;
}

static void *run(void *ctx) {
    struct heard *h = ctx;
    struct arena a;
    int64_t prune_ms = 0;
    bool ends = false;
    arena_init(&a, ARENA_BYTES);
    while (!ends) {
        ends = pause_ends(h);
        run_round(h, &a, &prune_ms);
    }
    arena_deinit(&a);
    return NULL;
}

enum err heard_new(struct control *control, struct heard **out, char why[DB_WHY_BYTES]) {
    struct heard *h = calloc(1, sizeof *h);
    if (h) {
        h->control = control;
        h->last = &h->first;
        pthread_mutex_init(&h->lock, NULL);
        pthread_cond_init(&h->ended, NULL);
        if (!pthread_create(&h->thread, NULL, run, h)) {
            *out = h;
            return OK;
        }
        pthread_cond_destroy(&h->ended);
        pthread_mutex_destroy(&h->lock);
    }
    free(h);
    snprintf(why, DB_WHY_BYTES, "no thread for what is heard of nodes");
    return ERR_MEMORY;
}

void heard_free(struct heard *h) {
    if (!h) return;
    pthread_mutex_lock(&h->lock);
    h->ends = true;
    pthread_cond_signal(&h->ended);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    pthread_cond_destroy(&h->ended);
    pthread_mutex_destroy(&h->lock);
    free(h);
}
