/* Inside of bundles: tar archives, gzipped or bare, read file by file through libarchive. */
#ifndef REGENT_BUNDLE_TAR_H
#define REGENT_BUNDLE_TAR_H
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum { TAR_BLOCK_BYTES = 512, TAR_MAX_NAME_BYTES = 4096 };

struct archive;

struct tar {
    struct archive *archive;
    const char *why; /* what is wrong, after ERR_SYNTAX; lives as long as the tar */
    bool any;        /* an entry was seen */
    char *unpacked;  /* all of it, when it was unpacked at once */
};

/* One plain file; name and bytes lie in the arena. */
struct tar_file {
    char *name;
    struct str bytes;
};

/* bytes are borrowed until tar_deinit, which is due in any case. ERR_MEMORY, ERR_SYNTAX. */
MUST_USE enum err tar_init(struct tar *t, struct str bytes);
void tar_deinit(struct tar *t);
/* The next plain file (ustar, GNU and pax names and sizes; folders, links and devices are passed
 * over). out->name is NULL at the end. ERR_SYNTAX (t->why says what), ERR_LIMIT for a file of more
 * than max_bytes (out->name is set), ERR_MEMORY when the arena is used up. */
MUST_USE enum err tar_next(struct tar *t, struct arena *a, uint64_t max_bytes,
                           struct tar_file *out);

#endif
