/*
 * newtables.h
 *		Tables that join groups within a user's DDL.
 */
#ifndef FLO_NEWTABLES_H
#define FLO_NEWTABLES_H

#include "nodes/nodes.h"
#include "nodes/pg_list.h"

/* Within an event trigger at the end of a command: tables that it has made or changed join */
extern void flo_newtables_after(const Node *statement);

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

/* When the library is loaded: from then on the end of each transaction is looked at */
extern void flo_newtables_init(void);

#endif
