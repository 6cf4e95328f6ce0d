/*
 * sink.h
 *		The contract between a worker and the place it writes to.
 *
 * The worker calls, for each batch: begin, then change (and message) for all
 * changes of one or more complete source transactions in commit order, then
 * finish; or abort at any point after begin, also when a call threw.  A batch
 * may also hold the head of a transaction whose end has not arrived yet; it
 * is only finished once the end is there.
 *
 * A transactional sink writes through SPI inside the database transaction
 * that the worker has opened around the batch; the worker commits it together
 * with the position.  Any other sink is called outside a transaction and must
 * have made everything durable when finish returns.
 */
#ifndef FLO_SINK_H
#define FLO_SINK_H

#include "conf/spec.h"
#include "monitor/shstate.h"
#include "wire/change.h"

typedef struct FloSink FloSink;

typedef struct FloTransaction
{
	XLogRecPtr	final_lsn;		/* start of the commit record */
	XLogRecPtr	end_lsn;		/* its end: the LSN users see; 0 until COMMIT is read */
	TimestampTz commit_time;
	TransactionId xid;
	uint64		ordinal;		/* of the change within its transaction, from 1 */
} FloTransaction;

typedef struct FloSinkOps
{
	const char *name;
	bool		transactional;

	/* "counters" belongs to the caller: add conflicts, fallbacks, ... there */
	FloSink    *(*open) (const FloWorkerSpec *spec, FloCounters *counters);
	void		(*begin) (FloSink *sink);
	void		(*change) (FloSink *sink, const FloTransaction *txn, const FloChange *change);
	void		(*finish) (FloSink *sink);
	void		(*abort) (FloSink *sink);
	/* Configuration or catalogs changed: forget what was derived from them */
	void		(*invalidate) (FloSink *sink);
} FloSinkOps;

struct FloSink
{
	const FloSinkOps *ops;
};

/* The implementation of a kind; NULL for one this build does not have */
extern const FloSinkOps *flo_sink_ops(FloSinkKind kind);

extern const FloSinkOps flo_sink_postgres;

#endif
