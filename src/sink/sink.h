/*
 * sink.h
 *		The contract between a worker and the place it writes to.
 *
 * The worker calls, for each batch: begin, then change for all rows, TRUNCATEs
 * and statements of DDL (FLO_OP_MESSAGE) of one or more complete source
 * transactions in commit order, then finish; or abort at any point after begin,
 * also when a call threw.  A batch may also hold the head of a transaction whose
 * end has not arrived yet; it is only finished once the end is there.
 *
 * A transactional sink writes through SPI inside the database transaction
 * that the worker has opened around the batch; the worker commits it together
 * with the position.  Any other sink is called outside a transaction and must
 * have made everything durable when finish returns.  What such a sink has to
 * know after a restart, "save" gives as text within the transaction that
 * records the position, and "open" is given back.
 */
#ifndef FLO_SINK_H
#define FLO_SINK_H

#include "conf/spec.h"
#include "monitor/state.h"
#include "wire/change.h"

typedef struct FloSink FloSink;

typedef struct FloTransaction
{
	XLogRecPtr	final_lsn;		/* start of the commit record */
	XLogRecPtr	end_lsn;		/* its end: the LSN users see; 0 until COMMIT
								 * is read */
	TimestampTz commit_time;
	TransactionId xid;
	uint64		ordinal;		/* of the change within its transaction, from
								 * 1 */
	const char *copy_id;		/* of a copied row: names its piece of the
								 * copy; else NULL */
	bool		backfill;		/* and the copy is for this worker alone */
	bool		repair;			/* tables alone: an INSERT is how the row of
								 * its key is to be, a DELETE names the key of
								 * one that is not to be there */
} FloTransaction;

/* A table by its name here: rows of before this snapshot, and not in it, are no more */
typedef struct FloSinkCopy
{
	const char *schema;
	const char *table;
	XLogRecPtr	lsn;
} FloSinkCopy;

/*
 * What a sink may ask of its worker.  "serve" and "checkpoint" are for one that
 * waits for the outside world, called between database transactions only.  All
 * may throw.
 */
typedef struct FloSinkHost
{
	void	   *arg;

	/*
	 * Once a second at least while waiting: keeps the pipe alive and looks
	 * after configuration
	 */
	void		(*serve) (void *arg);

	/* Save the sink's state now, in the middle of a batch */
	void		(*checkpoint) (void *arg);

	/*
	 * For a sink that fires triggers: copies of tables are still to come, so
	 * rows may refer to some that are not here yet.  What is written without
	 * a look at foreign keys is noted for later, within the batch.
	 */
	bool		keys_later;
	void		(*unchecked) (void *arg, Oid relation);

	/*
	 * OIDs of tables here that are given up: the same holds for foreign keys
	 * to them and from them; TRUNCATE goes by it, too.
	 */
	List	   *given_up;

	/*
	 * For tables: called before the index entries of a set of new rows are
	 * made, which several processes may do in an order.  NULL: there is none.
	 */
	void		(*await_turn) (void *arg);

	/*
	 * For events: the source's database, as the broker knows it; "" = it does
	 * not
	 */
	const char *source_database;

	/*
	 * The copy that the group began with is being loaded; and its tables, of
	 * FloSinkCopy, when it is in
	 */
	bool		copying;
	List	   *copies;
} FloSinkHost;

typedef struct FloSinkOps
{
	bool		transactional;

	/*
	 * When the options are set: throw if they cannot be what is wanted, for
	 * reasons that the registry of options does not know.  NULL: there are
	 * none.
	 */
	void		(*check) (const FloWorkerSpec *spec);

	/*
	 * "tally" belongs to the caller: changes, conflicts, fallbacks, ... are
	 * open there. "state" is what was saved last, or NULL.  "host" outlives
	 * the sink.
	 */
	FloSink    *(*open) (const FloWorkerSpec *spec, FloTally *tally,
						 const char *state, const FloSinkHost *host);
	void		(*begin) (FloSink *sink);
	void		(*change) (FloSink *sink, const FloTransaction *txn, const FloChange *change);
	void		(*finish) (FloSink *sink);
	void		(*abort) (FloSink *sink);
	/* Configuration or catalogs changed: forget what was derived from them */
	void		(*invalidate) (FloSink *sink);

	/*
	 * Between batches: forget what was derived from this source table, which
	 * is made again when needed
	 */
	void		(*forget) (FloSink *sink, uint32 relation);

	/* Not for transactional sinks, and NULL where there is nothing to do: */

	/* Within the transaction that records the position; palloc'd, or NULL */
	char	   *(*save) (FloSink *sink);
	/* Between batches, when the stream is dry */
	void		(*idle) (FloSink *sink);
} FloSinkOps;

struct FloSink
{
	const FloSinkOps *ops;
};

/* The implementation of a kind */
extern const FloSinkOps *flo_sink_ops(FloSinkKind kind);

#define FLO_SINK(kind, name, ops) extern const FloSinkOps ops;
#include "conf/sink_list.h"
#undef FLO_SINK

#endif
