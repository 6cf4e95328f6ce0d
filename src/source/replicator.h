/*
 * replicator.h
 *		The source side of a group, as a process.
 */
#ifndef FLO_REPLICATOR_H
#define FLO_REPLICATOR_H

/*
 * Run as the replicator of flo_me's group.  Returns when the group no longer
 * has one; every other end is an error or an interrupt.
 */
extern void flo_replicator_run(void);

#endif
