/*
 * message.h
 *		Writes pg_flo's own messages into WAL, and keeps the keys they are signed
 *		with.
 *
 * A key is made with the replicator (or when one that was restored from
 * elsewhere is adopted) and goes with it.  All functions need a transaction.
 */
#ifndef FLO_CONF_MESSAGE_H
#define FLO_CONF_MESSAGE_H

#include "nodes/pg_list.h"
#include "wire/message.h"

/*
 * Log a message for groups of this database (List of char *), in order with the
 * changes of the current transaction and part of it: what is rolled back is not
 * seen by anybody.  Assigns a transaction id, so that the commit wakes the
 * replicators.  May be called as any role, in any session; the keys are not
 * shown to it.  A group without a key is left out with a WARNING.
 */
extern void flo_message_write(FloMessageKind kind, const List *groups, const char *payload,
							  Size len);

/*
 * The key of a group whose replicator is in this database, in the current
 * memory context.  Makes one when somebody has removed it.
 */
extern FloMessageKey *flo_message_key(const char *group);

#endif
