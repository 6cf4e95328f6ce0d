/*
 * launcher.h
 *		The process that keeps the wanted members running.
 */
#ifndef FLO_LAUNCHER_H
#define FLO_LAUNCHER_H

#include "postgres.h"

/* From _PG_init: have the postmaster start it */
extern void flo_launcher_register(void);

/* Argument of a process that the launcher starts, in bgw_extra */
typedef struct FloProcessArgs
{
	Oid			database;
	int			slot;			/* of FloShared.members; -1 = scan the database's configuration */
	uint32		incarnation;
} FloProcessArgs;

#endif
