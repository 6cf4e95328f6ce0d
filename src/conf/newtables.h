/*
 * newtables.h
 *		Tables that join groups within a user's DDL.
 */
#ifndef FLO_NEWTABLES_H
#define FLO_NEWTABLES_H

#include "nodes/pg_list.h"

/*
 * In the session that has attached the partition: asks for the copy of rows
 * that its groups have never had; List of FloDdlExpected *, for those that
 * track DDL.
 */
extern List *flo_newtables_attached(Oid partition);

#endif
