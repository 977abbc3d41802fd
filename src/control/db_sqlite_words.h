/* Words between the threads of a process, and the news that another process wrote, for a store in a
 * SQLite file. */
#ifndef REGENT_CONTROL_DB_SQLITE_WORDS_H
#define REGENT_CONTROL_DB_SQLITE_WORDS_H
#include "control/db_private.h"

/* Makes what the store's connections share, once. */
enum err sqlite_shared(struct db *d);
/* The lock of this process's writers, who would else sleep in turns. false: not within that time.
 */
bool sqlite_lock_writer(struct db *d, int ms);
void sqlite_unlock_writer(struct db *d);
/* Hands words over to the thread that tells them, if somebody listens; w is empty afterwards. */
void sqlite_tell(struct db *d, struct db_words *w);
enum err sqlite_listen(struct db *d);
void sqlite_listen_stop(struct db *d);

#endif
