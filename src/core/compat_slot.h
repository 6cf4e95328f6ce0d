/*
 * compat_slot.h
 *		Slots, origins and the messages of logical decoding.
 *
 * See compat.h.
 */
#ifndef FLO_COMPAT_SLOT_H
#define FLO_COMPAT_SLOT_H

#include "access/xlogreader.h"
#include "core/compat.h"
#include "executor/tuptable.h"
#include "replication/logical.h"
#include "replication/logicalproto.h"
#include "replication/message.h"
#include "replication/origin.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "utils/inval.h"
#include "utils/rel.h"
#if PG_VERSION_NUM >= 160000
#include "utils/relfilenumbermap.h"
#else
#include "utils/relfilenodemap.h"
#endif

#if PG_VERSION_NUM >= 190000
#include "replication/logicalctl.h"
#endif

/* Origins, by the names of 19 */
#if PG_VERSION_NUM < 190000
typedef RepOriginId ReplOriginId;
#define InvalidReplOriginId InvalidRepOriginId
#endif

/* Has a process acquired it?  With its lock held. */
static inline bool
flo_compat_slot_is_held(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 190000
	return slot->active_proc != INVALID_PROC_NUMBER;
#else
	return slot->active_pid != 0;
#endif
}

/* From whom, and from where there, what this transaction writes has come */
static inline void
flo_compat_xact_origin_set(ReplOriginId origin, XLogRecPtr lsn, TimestampTz at)
{
#if PG_VERSION_NUM >= 190000
	replorigin_xact_state = (ReplOriginXactState)
	{
		origin, lsn, at
	};
#else
	replorigin_session_origin = origin;
	replorigin_session_origin_lsn = lsn;
	replorigin_session_origin_timestamp = at;
#endif
}

/* From whom alone */
static inline void
flo_compat_xact_origin(ReplOriginId origin)
{
#if PG_VERSION_NUM >= 190000
	replorigin_xact_state.origin = origin;
#else
	replorigin_session_origin = origin;
#endif
}

/* A transactional decoding message */
static inline XLogRecPtr
flo_compat_log_message(const char *prefix, const char *message, size_t size)
{
#if PG_VERSION_NUM >= 170000
	return LogLogicalMessage(prefix, message, size, true, false);
#else
	return LogLogicalMessage(prefix, message, size, true);
#endif
}

/* Create a logical slot held by this process */
static inline void
flo_compat_slot_create(const char *name, ReplicationSlotPersistency persistency)
{
#if PG_VERSION_NUM >= 190000
	ReplicationSlotCreate(name, true, persistency, false, false, false, false);
#elif PG_VERSION_NUM >= 170000
	ReplicationSlotCreate(name, true, persistency, false, false, false);
#else
	ReplicationSlotCreate(name, true, persistency, false);
#endif
}

/* Can slots be made here?  An error if not. */
static inline void
flo_compat_check_decoding(void)
{
#if PG_VERSION_NUM >= 190000
	CheckLogicalDecodingRequirements(false);
#else
	CheckLogicalDecodingRequirements();
#endif
}

/*
 * The context in which the slot at hand, which was made just now, finds where it
 * begins.  Since 19 the first slot of a server makes it write what decoding needs.
 */
static inline LogicalDecodingContext *
flo_compat_begin_decoding(bool need_snapshot, XLogReaderRoutine *routine,
						  LogicalOutputPluginWriterPrepareWrite prepare,
						  LogicalOutputPluginWriterWrite write)
{
#if PG_VERSION_NUM >= 190000
	EnsureLogicalDecodingEnabled();
	return CreateInitDecodingContext("pgoutput", NIL, need_snapshot, false, InvalidXLogRecPtr,
									 routine, prepare, write, NULL);
#else
	return CreateInitDecodingContext("pgoutput", NIL, need_snapshot, InvalidXLogRecPtr,
									 routine, prepare, write, NULL);
#endif
}

static inline void
flo_compat_slot_acquire(const char *name)
{
#if PG_VERSION_NUM >= 180000
	ReplicationSlotAcquire(name, true, true);
#else
	ReplicationSlotAcquire(name, true);
#endif
}

/* Has the server given up this slot's WAL or catalog rows? */
static inline bool
flo_compat_slot_invalidated(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 160000
	return slot->data.invalidated != RS_INVAL_NONE;
#else
	return !XLogRecPtrIsInvalid(slot->data.invalidated_at);
#endif
}

/* ... because nobody had used it for idle_replication_slot_timeout? */
static inline bool
flo_compat_slot_idle_too_long(const ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 180000
	return slot->data.invalidated == RS_INVAL_IDLE_TIMEOUT;
#else
	return false;
#endif
}

static inline void
flo_compat_origin_setup(ReplOriginId node)
{
#if PG_VERSION_NUM >= 160000
	replorigin_session_setup(node, 0);
#else
	replorigin_session_setup(node);
#endif
}

/*
 * The logical replication message of a relation, with these columns (by number), or
 * all, stored generated ones among them or not
 */
static inline void
flo_compat_write_relation(StringInfo out, Relation relation, Bitmapset *columns, bool generated)
{
#if PG_VERSION_NUM >= 180000
	logicalrep_write_rel(out, InvalidTransactionId, relation, columns,
						 generated ? PUBLISH_GENCOLS_STORED : PUBLISH_GENCOLS_NONE);
#else
	logicalrep_write_rel(out, InvalidTransactionId, relation, columns);
#endif
}

static inline XLogRecPtr
flo_compat_find_next_record(XLogReaderState *reader, XLogRecPtr from, char **error)
{
#if PG_VERSION_NUM >= 190000
	return XLogFindNextRecord(reader, from, error);
#else
	*error = NULL;
	return XLogFindNextRecord(reader, from);
#endif
}

/* The table that a change is of, by the snapshot of the past; invalid: none */
static inline Oid
flo_compat_changed_relation(const ReorderBufferChange *change)
{
#if PG_VERSION_NUM >= 160000
	return RelidByRelfilenumber(change->data.tp.rlocator.spcOid,
								change->data.tp.rlocator.relNumber);
#else
	return RelidByRelfilenode(change->data.tp.relnode.spcNode, change->data.tp.relnode.relNode);
#endif
}

/* The file that a change names, in the database of the slot */
static inline void
flo_compat_changed_file(const ReorderBufferChange *change, Oid *space, Oid *number)
{
#if PG_VERSION_NUM >= 160000
	*space = change->data.tp.rlocator.spcOid;
	*number = change->data.tp.rlocator.relNumber;
#else
	*space = change->data.tp.relnode.spcNode;
	*number = change->data.tp.relnode.relNode;
#endif
}

static inline void
flo_compat_set_commit_time(ReorderBufferTXN *txn, TimestampTz at)
{
#if PG_VERSION_NUM >= 190000
	txn->commit_time = at;
#else
	txn->xact_time.commit_time = at;
#endif
}

/* What is special about a transaction that is decoded: not, that it has rows */
static inline uint32
flo_compat_transaction_flags(const ReorderBufferTXN *txn)
{
#ifdef RBTXN_HAS_STREAMABLE_CHANGE
	return txn->txn_flags & ~RBTXN_HAS_STREAMABLE_CHANGE;
#else
	return txn->txn_flags;
#endif
}

/* The rows of a change that is decoded; NULL when there is none */
static inline HeapTuple
flo_compat_old_row(ReorderBufferChange *change)
{
#if PG_VERSION_NUM >= 170000
	return change->data.tp.oldtuple;
#else
	return change->data.tp.oldtuple != NULL ? &change->data.tp.oldtuple->tuple : NULL;
#endif
}

static inline HeapTuple
flo_compat_new_row(ReorderBufferChange *change)
{
#if PG_VERSION_NUM >= 170000
	return change->data.tp.newtuple;
#else
	return change->data.tp.newtuple != NULL ? &change->data.tp.newtuple->tuple : NULL;
#endif
}

/* Called with what pgoutput is told besides: what it sent of tables is no longer valid */
static inline void
flo_compat_register_relsync(void (*callback) (Datum arg, Oid relation))
{
#if PG_VERSION_NUM >= 180000
	CacheRegisterRelSyncCallback(callback, (Datum) 0);
#endif
}

#endif
