/*
 * drop.h
 *		Stops members from an SQL function.
 */
#ifndef FLO_DROP_H
#define FLO_DROP_H

#include "nodes/pg_list.h"

/*
 * Have the processes of these members (FloMemberSpec *) leave, wait for that,
 * and keep them from being started before the end of the transaction.  55006
 * when one does not leave within ten seconds.
 */
extern void flo_members_stop(List *members);

#endif
