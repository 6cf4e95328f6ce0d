/*
 * newtables.h
 *		Tables that join groups within a user's DDL.
 */
#ifndef FLO_NEWTABLES_H
#define FLO_NEWTABLES_H

#include "nodes/pg_list.h"

/*
 * In the session that is about to fill the table it has made: joins it to the
 * groups that track DDL and take tables without a key.
 */
extern void flo_newtables_made(Oid table);

/*
 * Tables that the group has given REPLICA IDENTITY FULL: they join other groups
 * that have left them out for want of an identity.
 */
extern void flo_newtables_identified(const char *group);

/*
 * In the session that has attached the partition: asks for the copy of rows
 * that its groups have never had; List of FloDdlExpected *, for those that
 * track DDL.
 */
extern List *flo_newtables_attached(Oid partition);

#endif
