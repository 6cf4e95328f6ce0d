/*
 * launches.h
 *		The launcher's side of the states of members, and of reading who is wanted.
 */
#ifndef FLO_LAUNCHES_H
#define FLO_LAUNCHES_H

#include "monitor/members.h"

/* This process is the launcher: the number of entries there are */
extern int	flo_launches_begin(void);

/* --- who is wanted: read by scanners ------------------------------------- */

/* Databases whose configuration has changed since the last call, appended; *all: any may have */
extern List *flo_launches_take_changed(List *databases, bool *all);

/* A scanner is to be started; has the one that ended read this database? */
extern void flo_launches_scan(void);
extern bool flo_launches_scanned(Oid database);

/* Was a process free for it?  Returns what was noted before. */
extern bool flo_launches_note_starved(bool starved);

typedef struct FloWanted
{
	const char *group;
	const char *member;
	bool		is_replicator;
	bool		wanted;
	Oid			owner;
} FloWanted;

/* A scanner has read this database: all its members.  Returns false when some find no entry. */
extern bool flo_launches_note_members(const FloWanted *members, int count);

/* --- starting and stopping ----------------------------------------------- */

typedef enum FloLaunchAction
{
	FLO_LAUNCH_NONE,
	FLO_LAUNCH_START,
	FLO_LAUNCH_STOP				/* the process in *pid */
} FloLaunchAction;

/*
 * What is to be done about an entry now, and what it waits for is decided;
 * "starting": a process was started for it and has not shown up yet.
 */
extern FloLaunchAction flo_launches_decide(int slot, bool starting, pid_t *pid);

/* A process is about to be started: a copy of the member, and the number of this start */
extern uint32 flo_launches_start(int slot, FloMember *copy);

/* None could be, since no process is free */
extern void flo_launches_refused(int slot);

/* Has the process of that start taken its entry? */
extern bool flo_launches_has_begun(int slot);

/* It has not, and will not */
extern void flo_launches_lost(int slot);

/* ms until something is due by itself for the entry, "most" when nothing is */
extern long flo_launches_due(int slot, bool starting, long most);

/* Database of an entry, 0 when it is free; and when that is gone: is the entry free now? */
extern Oid	flo_launches_database(int slot);
extern bool flo_launches_forget(int slot, bool starting);

#endif
