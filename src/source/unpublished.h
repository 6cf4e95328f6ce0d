/*
 * unpublished.h
 *		Since when something is committed here that a group has not published.
 */
#ifndef FLO_UNPUBLISHED_H
#define FLO_UNPUBLISHED_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

/*
 * The commit time of the oldest transaction of this database that the group's
 * broker may not have, 0 when there is none or nothing is known.  With "only_local"
 * without those that came from elsewhere.  From memory alone while the replicator
 * can tell, else from WAL.  Never waits, and does not throw because of WAL.
 */
extern TimestampTz flo_unpublished_since(const char *group, bool only_local);

#endif
