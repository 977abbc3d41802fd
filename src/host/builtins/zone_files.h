/* All time zone files of the system in memory, for a process that may open no files. */
#ifndef REGENT_HOST_BUILTINS_ZONE_FILES_H
#define REGENT_HOST_BUILTINS_ZONE_FILES_H
#include "base/err.h"
#include "base/str.h"

#define ZONE_FOLDER "/usr/share/zoneinfo"
enum { ZONE_FILE_MAX = 1 << 18 };

struct zone_files;
/* What cannot be read is left out: the zone is unknown then, as it would be without the file. ERR_MEMORY. */
MUST_USE enum err zone_files_new(struct zone_files **out);
void zone_files_free(struct zone_files *z);
/* Bytes of "Europe/Berlin" or "Local"; ptr NULL: there is no such zone. */
struct str zone_files_get(const struct zone_files *z, struct str name);

#endif
