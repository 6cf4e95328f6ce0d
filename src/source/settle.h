/*
 * settle.h
 *		What the replicator may let go of: WAL of the source, messages of the
 *		stream.
 */
#ifndef FLO_SETTLE_H
#define FLO_SETTLE_H

#include "bus/records.h"
#include "bus/stream.h"
#include "conf/spec.h"

typedef struct FloSettle FloSettle;

extern FloSettle *flo_settle_create(const pg_uuid_t *generation);

/* The broker has acknowledged everything up to a position */
extern void flo_settle_acked(FloSettle *settle, XLogRecPtr position);

/* A worker's report, or its removal (value = NULL).  Other keys are none of ours; 08P01 for one that cannot be read. */
extern void flo_settle_report(FloSettle *settle, const char *key, const char *value);

/* List of FloWorkerReport *, the settle's own */
extern List *flo_settle_reports(FloSettle *settle);

/* Has every registered worker, and at least one, made this durable? */
extern bool flo_settle_all_have(FloSettle *settle, XLogRecPtr lsn);

/*
 * The position below which WAL is not needed any more: acknowledged at least
 * broker_sync_interval ago, or applied by every worker; with
 * FLO_RELEASE_APPLIED only the latter.
 */
extern XLogRecPtr flo_settle_confirmable(FloSettle *settle, FloReleaseWal release);

/* Messages below this sequence may be purged; 0 = none */
extern uint64 flo_settle_purgeable(FloSettle *settle, uint64 last_seq);

/* Who holds the stream: the worker that has reported the lowest position, in words */
extern const char *flo_settle_slowest(FloSettle *settle);

#endif
