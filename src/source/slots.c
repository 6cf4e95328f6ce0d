/*
 * slots.c
 *		The group's replication slot: made, looked at, dropped.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlogutils.h"
#include "core/clock.h"
#include "core/compat_slot.h"
#include "core/loop.h"
#include "miscadmin.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "replication/snapbuild.h"
#include "source/slots.h"
#include "storage/proc.h"
#include "storage/spin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* ms that a slot may be held when it is to be dropped, and between two looks */
#define RELEASE_PATIENCE 5000
#define RELEASE_PAUSE 10

/* Nothing is decoded while a slot is made */
static void
no_output(LogicalDecodingContext *context, XLogRecPtr lsn, TransactionId xid, bool last)
{
}

/* Make the slot, held by this process and ephemeral until the caller decides */
static LogicalDecodingContext *
begin_slot(const char *slot, bool need_snapshot)
{
	flo_compat_check_decoding();
	flo_compat_slot_create(slot, RS_EPHEMERAL);
	return flo_compat_begin_decoding(need_snapshot,
									 XL_ROUTINE(.page_read = read_local_xlog_page,
												.segment_open = wal_segment_open,
												.segment_close = wal_segment_close),
									 no_output, no_output);
}

static LogicalDecodingContext *
create_slot(const char *slot, bool need_snapshot)
{
	LogicalDecodingContext *context;

	Assert(!IsTransactionState());
	context = begin_slot(slot, need_snapshot);
	DecodingContextFindStartpoint(context);
	return context;
}

XLogRecPtr
flo_slot_create(const char *slot)
{
	LogicalDecodingContext *context = create_slot(slot, false);
	XLogRecPtr	start = MyReplicationSlot->data.confirmed_flush;

	FreeDecodingContext(context);
	ReplicationSlotPersist();
	ReplicationSlotRelease();
	return start;
}

XLogRecPtr
flo_slot_create_with_snapshot(const char *slot, bool keep, char **snapshot)
{
	MemoryContext old = CurrentMemoryContext;
	LogicalDecodingContext *context = create_slot(slot, true);
	XLogRecPtr	start = MyReplicationSlot->data.confirmed_flush;
	const char *name = SnapBuildExportSnapshot(context->snapshot_builder);

	*snapshot = MemoryContextStrdup(old, name);
	FreeDecodingContext(context);
	if (keep)
		ReplicationSlotPersist();
	ReplicationSlotRelease();
	MemoryContextSwitchTo(old);
	return start;
}

/* What CREATE_REPLICATION_SLOT with USE_SNAPSHOT does */
XLogRecPtr
flo_slot_take_snapshot(const char *slot, FloSlotBegun begun, void *arg)
{
	LogicalDecodingContext *context = begin_slot(slot, true);
	XLogRecPtr	lsn;

	begun(arg, MyReplicationSlot->data.restart_lsn, MyReplicationSlot->effective_xmin);
	DecodingContextFindStartpoint(context);
	lsn = MyReplicationSlot->data.confirmed_flush;
	RestoreTransactionSnapshot(SnapBuildInitialSnapshot(context->snapshot_builder), MyProc);
	FreeDecodingContext(context);
	ReplicationSlotRelease();
	return lsn;
}

void
flo_slot_snapshot_end(void)
{
	MemoryContext old = CurrentMemoryContext;

	SnapBuildClearExportedSnapshot();
	if (IsTransactionState())
		AbortCurrentTransaction();
	MemoryContextSwitchTo(old);
}

/* --- the slot that is held ----------------------------------------------- */

XLogRecPtr
flo_slot_restart(void)
{
	return MyReplicationSlot->data.restart_lsn;
}

bool
flo_slot_restart_pending(void)
{
	return !XLogRecPtrIsInvalid(MyReplicationSlot->candidate_restart_valid);
}

void
flo_slot_forget_pending(void)
{
	SpinLockAcquire(&MyReplicationSlot->mutex);
	MyReplicationSlot->candidate_restart_lsn = InvalidXLogRecPtr;
	MyReplicationSlot->candidate_restart_valid = InvalidXLogRecPtr;
	SpinLockRelease(&MyReplicationSlot->mutex);
}

/* --- any slot ------------------------------------------------------------ */

void
flo_slot_info(const char *slot, FloSlotInfo *info)
{
	ReplicationSlot *found = SearchNamedReplicationSlot(slot, true);

	memset(info, 0, sizeof(*info));
	if (found == NULL)
		return;
	SpinLockAcquire(&found->mutex);
	info->exists = true;
	info->held = flo_compat_slot_is_held(found);
	info->invalidated = flo_compat_slot_invalidated(found);
	info->idle_too_long = flo_compat_slot_idle_too_long(found);
	info->restart_lsn = found->data.restart_lsn;
	info->confirmed_flush = found->data.confirmed_flush;
	SpinLockRelease(&found->mutex);
}

/* Who is known to have ended may let go of it a moment later */
void
flo_slot_drop(const char *slot)
{
	FloClock	deadline = flo_clock_in(RELEASE_PATIENCE);
	FloSlotInfo info;

	for (;;)
	{
		flo_slot_info(slot, &info);
		if (!info.held || flo_clock() >= deadline)
			break;
		flo_wait_means(FLO_WAIT_MEMBER);
		(void) flo_wait(PGINVALID_SOCKET, false, RELEASE_PAUSE);
	}
	if (info.exists)
		ReplicationSlotDrop(slot, true);
}
