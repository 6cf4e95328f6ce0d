/*
 * retention.c
 *		What the replicator may let go of.
 *
 * Two kinds of evidence only: time since the broker's acknowledgement (it
 * fsyncs in the background, so an acknowledgement alone survives no power
 * loss) and the positions the workers themselves report as durable.  The
 * broker's acknowledgement floors prove nothing: a purge moves them.
 */
#include "postgres.h"

#include "core/clock.h"
#include "core/settings.h"
#include "core/text.h"
#include "source/retention.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"
#include "wire/chunk.h"
#include "wire/compressed.h"

/* Acknowledgements remembered; older and newer ones in between are merged */
#define MAX_SAMPLES 256

typedef struct Sample
{
	FloClock	at;
	XLogRecPtr	position;
} Sample;

struct FloRetention
{
	char	   *generation;
	MemoryContext context;
	MemoryContext reading;		/* reset with each report */

	/* acknowledged positions, a ring in order of time */
	Sample		samples[MAX_SAMPLES];
	int			first;
	int			count;
	XLogRecPtr	synced;			/* newest position old enough */

	List	   *reports;		/* of FloWorkerReport * */
	FloClock	heard;			/* when the last of them came */
};

FloRetention *
flo_retention_create(const pg_uuid_t *generation)
{
	FloRetention *retention = palloc0(sizeof(FloRetention));

	retention->context = CurrentMemoryContext;
	retention->reading = AllocSetContextCreate(CurrentMemoryContext, "pg_flo report",
											   ALLOCSET_SMALL_SIZES);
	retention->generation = flo_text_of_uuid(generation);
	return retention;
}

static Sample *
sample(FloRetention *retention, int i)
{
	return &retention->samples[(retention->first + i) % MAX_SAMPLES];
}

/*
 * A new sample is opened when the newest is an even part of the interval old;
 * until then the newest takes the position, with the time moved on, so that a
 * position is never believed older than it is.
 */
void
flo_retention_acked(FloRetention *retention, XLogRecPtr position)
{
	FloClock	now = flo_clock();
	int			step_ms = flo_broker_sync_interval * 1000 / (MAX_SAMPLES / 2);
	Sample	   *previous = retention->count > 1 ? sample(retention, retention->count - 2) : NULL;

	if (retention->count == 0 || (retention->count < MAX_SAMPLES &&
								  (previous == NULL ||
								   sample(retention, retention->count - 1)->at - previous->at >=
								   step_ms * INT64CONST(1000))))
		retention->count++;
	sample(retention, retention->count - 1)->at = now;
	sample(retention, retention->count - 1)->position = position;
}

static void
age_samples(FloRetention *retention)
{
	while (retention->count > 0 &&
		   flo_clock_passed(sample(retention, 0)->at, flo_broker_sync_interval * 1000))
	{
		retention->synced = sample(retention, 0)->position;
		retention->first = (retention->first + 1) % MAX_SAMPLES;
		retention->count--;
	}
}

static void
forget_report(FloRetention *retention, const char *consumer)
{
	ListCell   *cell;

	foreach(cell, retention->reports)
	{
		FloWorkerReport *report = lfirst(cell);

		if (strcmp(report->consumer, consumer) != 0)
			continue;
		retention->reports = foreach_delete_current(retention->reports, cell);
		pfree(report->consumer);
		pfree(report->worker);
		pfree(report->database);
		if (report->left_out != NULL)
			pfree(report->left_out);
		pfree(report);
	}
}

/* What it was read from does not stay */
static void
keep_report(FloRetention *retention, const FloWorkerReport *report)
{
	MemoryContext old = MemoryContextSwitchTo(retention->context);
	FloWorkerReport *kept = palloc(sizeof(FloWorkerReport));

	*kept = *report;
	kept->consumer = pstrdup(report->consumer);
	kept->worker = pstrdup(report->worker);
	kept->database = pstrdup(report->database);
	if (report->left_out != NULL)
		kept->left_out = pstrdup(report->left_out);
	retention->reports = lappend(retention->reports, kept);
	MemoryContextSwitchTo(old);
}

/*
 * A worker with pg_flo 0.1 passes over what is published here, and may count it as
 * done: it has nothing, so everything is kept, until it is upgraded.
 */
static void
wait_for_upgrade(FloRetention *retention, FloWorkerReport *report)
{
	bool		known = false;
	ListCell   *cell;

	foreach(cell, retention->reports)
	{
		const FloWorkerReport *before = lfirst(cell);

		known |= before->former && strcmp(before->consumer, report->consumer) == 0;
	}
	if (!known)
		ereport(WARNING,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("worker \"%s\" of database \"%s\" runs pg_flo 0.1 and cannot read what this source publishes",
						report->worker, report->database),
				 errdetail("Nothing is removed from the stream until it can."),
				 errhint("Upgrade pg_flo at that destination; flo.drop_consumer('...', '%s') if it is no more.",
						 report->consumer)));
	report->lsn = InvalidXLogRecPtr;
	report->seq = 0;
	report->copied_seq = 0;
	report->generation[0] = '\0';
}

void
flo_retention_report(FloRetention *retention, const char *key, const char *value)
{
	MemoryContext old = MemoryContextSwitchTo(retention->reading);
	FloWorkerReport *report;

	if (value == NULL)
	{
		const char *consumer = strchr(key, '.');

		if (consumer != NULL)
			forget_report(retention, consumer + 1);
	}
	else if ((report = flo_report_read(key, value)) != NULL)
	{
		if (report->former)
			wait_for_upgrade(retention, report);
		forget_report(retention, report->consumer);
		keep_report(retention, report);
		retention->heard = flo_clock();
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(retention->reading);
}

FloClock
flo_retention_heard(FloRetention *retention)
{
	return retention->heard;
}

List *
flo_retention_reports(FloRetention *retention)
{
	return retention->reports;
}

/* One that waits for another generation has no use for what this one streams */
static bool
is_waiting(FloRetention *retention, const FloWorkerReport *report)
{
	return report->awaits_resync && strcmp(report->generation, retention->generation) == 0;
}

/* What every worker has; invalid when there is none, or one of another generation */
static XLogRecPtr
applied_by_all(FloRetention *retention, uint64 *seq)
{
	XLogRecPtr	lsn = InvalidXLogRecPtr;
	bool		first = true;
	ListCell   *cell;

	*seq = 0;
	foreach(cell, retention->reports)
	{
		FloWorkerReport *report = lfirst(cell);

		if (is_waiting(retention, report))
			continue;
		if (strcmp(report->generation, retention->generation) != 0)
		{
			*seq = 0;
			return InvalidXLogRecPtr;
		}
		if (first || report->lsn < lsn)
			lsn = report->lsn;
		if (first || report->seq < *seq)
			*seq = report->seq;
		first = false;
	}
	return lsn;
}

bool
flo_retention_all_have(FloRetention *retention, XLogRecPtr lsn)
{
	uint64		seq;
	XLogRecPtr	applied = applied_by_all(retention, &seq);

	return !XLogRecPtrIsInvalid(applied) && applied >= lsn;
}

const FloWorkerReport *
flo_retention_lacks(FloRetention *retention, XLogRecPtr lsn)
{
	ListCell   *cell;

	foreach(cell, retention->reports)
	{
		FloWorkerReport *report = lfirst(cell);

		if (!is_waiting(retention, report) &&
			(report->lsn < lsn || strcmp(report->generation, retention->generation) != 0))
			return report;
	}
	return NULL;
}

bool
flo_retention_all_read_pieces(FloRetention *retention)
{
	ListCell   *cell;

	foreach(cell, retention->reports)
		if (!((FloWorkerReport *) lfirst(cell))->pieces)
		return false;
	return retention->reports != NIL;
}

bool
flo_retention_all_have_tables(FloRetention *retention)
{
	ListCell   *cell;

	foreach(cell, retention->reports)
		if (!((FloWorkerReport *) lfirst(cell))->compares)
		return false;
	return retention->reports != NIL;
}

bool
flo_retention_all_expand_chunks(FloRetention *retention)
{
	ListCell   *cell;

	foreach(cell, retention->reports)
		if (!((FloWorkerReport *) lfirst(cell))->lz4_chunks)
		return false;
	return retention->reports != NIL;
}

int
flo_retention_methods(FloRetention *retention)
{
	int			methods = retention->reports != NIL ? FLO_METHOD_PGLZ | FLO_METHOD_LZ4 : 0;
	ListCell   *cell;

	foreach(cell, retention->reports)
	{
		const FloWorkerReport *report = lfirst(cell);

		methods &= (report->pglz ? FLO_METHOD_PGLZ : 0) | (report->lz4 ? FLO_METHOD_LZ4 : 0);
	}
	return methods;
}

XLogRecPtr
flo_retention_confirmable(FloRetention *retention, FloReleaseWal release)
{
	uint64		seq;
	XLogRecPtr	applied = applied_by_all(retention, &seq);

	age_samples(retention);
	if (release == FLO_RELEASE_APPLIED)
		return applied;
	return Max(applied, retention->synced);
}

uint64
flo_retention_purgeable(FloRetention *retention, uint64 last_seq)
{
	uint64		seq;

	applied_by_all(retention, &seq);

	/* far ahead of the stream: reported before the broker lost its end */
	if (seq > last_seq + FLO_WINDOW)
		return 0;
	seq = Min(seq, last_seq);
	return seq > FLO_WINDOW ? seq - FLO_WINDOW : 0;
}

const char *
flo_retention_slowest(FloRetention *retention)
{
	FloWorkerReport *slowest = NULL;
	ListCell   *cell;

	foreach(cell, retention->reports)
	{
		FloWorkerReport *report = lfirst(cell);

		if (!is_waiting(retention, report) && (slowest == NULL || report->seq < slowest->seq))
			slowest = report;
	}
	return slowest != NULL ? psprintf("slowest consumer %s", slowest->worker) :
		"no worker has registered yet";
}
