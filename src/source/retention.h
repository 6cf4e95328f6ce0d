/*
 * retention.h
 *		What the replicator may let go of: WAL of the source, messages of the
 *		stream.
 */
#ifndef FLO_RETENTION_H
#define FLO_RETENTION_H

#include "bus/records.h"
#include "bus/stream.h"
#include "conf/spec.h"
#include "core/clock.h"

typedef struct FloRetention FloRetention;

extern FloRetention *flo_retention_create(const pg_uuid_t *generation);

/* The broker has acknowledged everything up to a position */
extern void flo_retention_acked(FloRetention *retention, XLogRecPtr position);

/*
 * A worker's report, or its removal (value = NULL).  Other keys are none of
 * ours; 08P01 for one that cannot be read.
 */
extern void flo_retention_report(FloRetention *retention, const char *key, const char *value);

/* When a worker has said something last */
extern FloClock flo_retention_heard(FloRetention *retention);

/* List of FloWorkerReport *, its own */
extern List *flo_retention_reports(FloRetention *retention);

/* Does every registered worker, and at least one, read transactions that travel early? */
extern bool flo_retention_all_read_pieces(FloRetention *retention);

/* Do all of them write rows to tables, so that they store nothing at the broker? */
extern bool flo_retention_all_have_tables(FloRetention *retention);

/* And chunks that are compressed? */
extern bool flo_retention_all_expand_chunks(FloRetention *retention);

/* What every registered worker can expand (compressed.h); 0 when there is none */
extern int	flo_retention_methods(FloRetention *retention);

/* Has every registered worker, and at least one, made this durable? */
extern bool flo_retention_all_have(FloRetention *retention, XLogRecPtr lsn);

/* One that has not, as far as is known; NULL when none has registered, or all have it */
extern const FloWorkerReport *flo_retention_lacks(FloRetention *retention, XLogRecPtr lsn);

/*
 * The position below which WAL is not needed any more: acknowledged at least
 * broker_sync_interval ago, or applied by every worker; with
 * FLO_RELEASE_APPLIED only the latter.
 */
extern XLogRecPtr flo_retention_confirmable(FloRetention *retention, FloReleaseWal release);

/* Messages below this sequence may be purged; 0 = none */
extern uint64 flo_retention_purgeable(FloRetention *retention, uint64 last_seq);

/* Who holds the stream: the worker that has reported the lowest position, in words */
extern const char *flo_retention_slowest(FloRetention *retention);

#endif
