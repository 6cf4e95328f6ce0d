/*
 * slots.h
 *		The group's replication slot: made, looked at, dropped.
 */
#ifndef FLO_SLOTS_H
#define FLO_SLOTS_H

#include "access/xlogdefs.h"

/*
 * Create the slot and return its consistent point: every transaction that
 * commits at or after it will be decoded.  Waits for the write transactions
 * open at this moment.  No transaction may be open.
 */
extern XLogRecPtr flo_slot_create(const char *slot);

/*
 * The same, and export a snapshot of exactly that point.  Leaves a transaction
 * open, in which nothing may be done, that keeps the snapshot until
 * flo_slot_snapshot_end().  Unless "keep", the slot lives only inside this
 * call: what is wanted is a snapshot with an exact LSN.
 */
extern XLogRecPtr flo_slot_create_with_snapshot(const char *slot, bool keep, char **snapshot);
extern void flo_slot_snapshot_end(void);

/*
 * Take a snapshot for the transaction at hand, which has done nothing yet and is REPEATABLE
 * READ and read only, from a slot that lives inside this call.  "begun" is told
 * where the slot begins to read and from which transaction on its catalog rows
 * are kept; from that on, who reads the same WAL can know where the snapshot will be.
 */
typedef void (*FloSlotBegun) (void *arg, XLogRecPtr restart, TransactionId horizon);
extern XLogRecPtr flo_slot_take_snapshot(const char *slot, FloSlotBegun begun, void *arg);

/*
 * Of the slot that this process holds: from where WAL is kept and read.  That moves when a
 * record of the running transactions is decoded and what stands there is confirmed: it is
 * pending between the two.
 */
extern XLogRecPtr flo_slot_restart(void);
extern bool flo_slot_restart_pending(void);

/*
 * For a context that begins to read.  What is pending by one before it, of this process or
 * another, lies ahead of where this one begins: were it confirmed now, WAL that is to be
 * read could go.
 */
extern void flo_slot_forget_pending(void);

/* Drop a slot; absent is no error */
extern void flo_slot_drop(const char *slot);

typedef struct FloSlotInfo
{
	bool		exists;
	bool		held;			/* by a process */
	bool		invalidated;	/* the server has removed what it needs */
	bool		idle_too_long;	/* invalidated for that */
	XLogRecPtr	restart_lsn;
	XLogRecPtr	confirmed_flush;
} FloSlotInfo;

extern void flo_slot_info(const char *slot, FloSlotInfo *info);

#endif
