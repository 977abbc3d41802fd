/* The inside of the store: tenants' records in memory, as they stand on disk.
 *
 *   DIR/lock                    held while a node uses the folder
 *   DIR/node.key                what records are authenticated with
 *   DIR/tmp/N                   files that are being written; emptied when the store is opened
 *   DIR/tenants/NAME/N.bundle   a version's bytes
 *   DIR/tenants/NAME/record.0, record.1
 *
 * A record is written beside the older one and counts up: the whole one with the higher sequence
 * holds. The slot that is known to be on the disk is not touched before the other one is. */
#ifndef REGENT_EDGE_STORE_PRIVATE_H
#define REGENT_EDGE_STORE_PRIVATE_H
#include "base/node_key.h"
#include "edge/store.h"
#include <pthread.h>
#include <stdatomic.h>

enum {
    STORE_NAME_BYTES = 208, /* of a tenant's folder */
    STORE_PATH_BYTES = 4096,
    STORE_MAX_VERSIONS = 1024, /* of a tenant */
    STORE_RECORD_BYTES = 1 << 20,
    STORE_BUNDLE_BYTES = 1 << 30
};

struct store_version {
    uint32_t number; /* of its file */
    bool synced, damaged; /* damaged: its file was read, and is not what it should be */
    uint8_t digest[32]; /* SHA-256 of its bytes */
    struct stored is;   /* views into text */
    char *text;
};

/* Files that no record names from sequence `since` on. */
struct store_doomed {
    struct {
        uint32_t number;
        uint64_t since;
    } * items;
    uint32_t n, cap;
};

struct held {
    struct held *chain, *next_dirty;
    pthread_mutex_t lock; /* of all that follows, and of the tenant's folder */
    struct str id;
    char name[STORE_NAME_BYTES];
    struct store_version *versions; /* in the order they were put */
    uint32_t n, cap;
    uint32_t next, active, pinned; /* numbers; 0: none */
    uint64_t highest_serial, sequence;
    int slot;                   /* that holds the record; -1: there is none */
    bool durable;               /* the slot is on the disk */
    bool opened;                /* found at opening: whether it is durable is not known */
    bool folder;                /* the tenant's folder is there */
    bool swept;                 /* of files that no record names */
    bool dirty;                 /* in the list; under the store's lock */
    struct store_doomed doomed; /* deleted when such a record is on the disk */
};

struct store {
    char directory[STORE_PATH_BYTES - 512];
    uint32_t keep;
    const struct log *log;
    uint8_t key[NODE_KEY_BYTES];
    int lock_fd, directory_fd;
    _Atomic uint64_t temporary, errors, bytes_written;
    _Atomic int64_t complained_ns;
    pthread_mutex_t lock; /* of the table and the list; never taken while a tenant's is wanted */
    pthread_cond_t wake, synced;
    pthread_t thread;
    bool running, stop, hurry;
    _Atomic bool settled;            /* what was found at opening is on the disk */
    uint64_t wanted, done, failures; /* syncs */
    _Atomic bool guest, left;        /* another node still writes there; already does */
    struct owed *owed, **owed_end;   /* what is to be written when it has left */
    uint64_t owed_bytes;
    struct held **buckets, *dirty;
    uint32_t mask, n;
};

/* ---- store_file.c ---- */
/* The name of a tenant's folder. */
void store_name(struct str id, char out[STORE_NAME_BYTES]);
/* DIR/what; false: too long. */
bool store_path(const struct store *s, char out[STORE_PATH_BYTES], const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Writes under a temporary name, then renames. *why gets the reason. */
MUST_USE enum err store_write(struct store *s, const char *path, struct str bytes, char *why,
                              size_t why_bytes);
/* h->slot's record as it is in memory. */
MUST_USE enum err store_record_write(struct store *s, struct held *h, char *why, size_t why_bytes);
/* From the tenant's folder; h->slot stays -1 when no record is whole. *damaged: a record is there
 * that is none. */
MUST_USE enum err store_record_read(struct store *s, struct held *h, bool *damaged);
/* The record's bytes, apart from its MAC, for fuzzing. */
MUST_USE enum err store_record_parse(struct str bytes, struct held *h);
void store_record_clear(struct held *h);
/* Copies the texts that v's views show, and turns the views to the copy, which the caller frees.
 * NULL: no memory. */
char *store_version_text(struct stored *v);
/* fsync of a file or folder. */
MUST_USE enum err store_fsync(const char *path);
/* All that is in a folder of plain files, and the folder. */
void store_delete_folder(const char *path);
/* Deletes bundles in the tenant's folder that its record does not name. */
void store_sweep(struct store *s, struct held *h);

/* ---- store_sync.c ---- */
MUST_USE enum err store_sync_start(struct store *s);
void store_sync_stop(struct store *s);
/* h was written: it is synced soon. */
void store_sync_later(struct store *s, struct held *h);
/* Before h's record is written: what was found at opening has to be on the disk. */
MUST_USE enum err store_sync_before(struct store *s, struct held *h);
/* Now, with h's lock held. */
MUST_USE enum err store_sync_held(struct store *s, struct held *h);

/* ---- store_guest.c ---- */
enum owed_kind { OWED_PUT, OWED_ACTIVATE, OWED_PIN, OWED_REMOVE };
struct owed {
    struct owed *next;
    enum owed_kind kind;
    struct str tenant, version, bundle;
    struct stored v; /* of OWED_PUT */
    char *text;
};
/* Another node writes there: the call is remembered, or dropped when it is this one that has left.
 * false: go on. */
bool store_owe(struct store *s, const struct owed *call, enum err *e);
/* Has the other node left? Then what is owed is written. With the store's lock held. */
void store_guest_step(struct store *s);
void store_owed_free(struct store *s);

/* ---- store.c ---- */
/* ERR_OVERLOAD: another node holds it. */
MUST_USE enum err store_lock(struct store *s, char *why, size_t why_bytes);
void store_empty_temporary(struct store *s);
/* Records of tenants that are not known yet. */
MUST_USE enum err store_read_tenants(struct store *s, char *why, size_t why_bytes);
/* The calls, whoever holds the folder. */
MUST_USE enum err store_put_now(struct store *s, struct str tenant, const struct stored *v,
                                struct str bundle, char *why, size_t why_bytes);
MUST_USE enum err store_activate_now(struct store *s, struct str tenant, struct str version);
MUST_USE enum err store_pin_now(struct store *s, struct str tenant, struct str version);
MUST_USE enum err store_remove_now(struct store *s, struct str tenant);
/* Counts an error and says so, not more often than now and then. */
void store_complain(struct store *s, const char *what, const char *why);

#endif
