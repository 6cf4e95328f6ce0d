/*
 * settle.c
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
#include "source/settle.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"
#include "wire/chunk.h"

/* Acknowledgements remembered; older and newer ones in between are merged */
#define MAX_SAMPLES 256

typedef struct Sample
{
	FloClock	at;
	XLogRecPtr	position;
} Sample;

struct FloSettle
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
};

FloSettle *
flo_settle_create(const pg_uuid_t *generation)
{
	FloSettle  *settle = palloc0(sizeof(FloSettle));

	settle->context = CurrentMemoryContext;
	settle->reading = AllocSetContextCreate(CurrentMemoryContext, "pg_flo report",
											ALLOCSET_SMALL_SIZES);
	settle->generation = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(generation)));
	return settle;
}

static Sample *
sample(FloSettle *settle, int i)
{
	return &settle->samples[(settle->first + i) % MAX_SAMPLES];
}

/*
 * A new sample is opened when the newest is an even part of the interval old;
 * until then the newest takes the position, with the time moved on, so that a
 * position is never believed older than it is.
 */
void
flo_settle_acked(FloSettle *settle, XLogRecPtr position)
{
	FloClock	now = flo_clock();
	int			step_ms = flo_broker_sync_interval * 1000 / (MAX_SAMPLES / 2);
	Sample	   *previous = settle->count > 1 ? sample(settle, settle->count - 2) : NULL;

	if (settle->count == 0 || (settle->count < MAX_SAMPLES &&
							   (previous == NULL ||
								sample(settle, settle->count - 1)->at - previous->at >= step_ms * INT64CONST(1000))))
		settle->count++;
	sample(settle, settle->count - 1)->at = now;
	sample(settle, settle->count - 1)->position = position;
}

static void
age_samples(FloSettle *settle)
{
	while (settle->count > 0 && flo_clock_passed(sample(settle, 0)->at, flo_broker_sync_interval * 1000))
	{
		settle->synced = sample(settle, 0)->position;
		settle->first = (settle->first + 1) % MAX_SAMPLES;
		settle->count--;
	}
}

static void
forget_report(FloSettle *settle, const char *consumer)
{
	ListCell   *cell;

	foreach(cell, settle->reports)
	{
		FloWorkerReport *report = lfirst(cell);

		if (strcmp(report->consumer, consumer) != 0)
			continue;
		settle->reports = foreach_delete_current(settle->reports, cell);
		pfree(report->consumer);
		pfree(report->worker);
		pfree(report->database);
		pfree(report);
	}
}

/* What it was read from does not stay */
static void
keep_report(FloSettle *settle, const FloWorkerReport *report)
{
	MemoryContext old = MemoryContextSwitchTo(settle->context);
	FloWorkerReport *kept = palloc(sizeof(FloWorkerReport));

	*kept = *report;
	kept->consumer = pstrdup(report->consumer);
	kept->worker = pstrdup(report->worker);
	kept->database = pstrdup(report->database);
	settle->reports = lappend(settle->reports, kept);
	MemoryContextSwitchTo(old);
}

void
flo_settle_report(FloSettle *settle, const char *key, const char *value)
{
	MemoryContext old = MemoryContextSwitchTo(settle->reading);
	FloWorkerReport *report;

	if (value == NULL)
	{
		const char *consumer = strchr(key, '.');

		if (consumer != NULL)
			forget_report(settle, consumer + 1);
	}
	else if ((report = flo_report_read(key, value)) != NULL)
	{
		forget_report(settle, report->consumer);
		keep_report(settle, report);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(settle->reading);
}

List *
flo_settle_reports(FloSettle *settle)
{
	return settle->reports;
}

/* One that waits for another generation has no use for what this one streams */
static bool
is_waiting(FloSettle *settle, const FloWorkerReport *report)
{
	return report->waits && strcmp(report->generation, settle->generation) == 0;
}

/* What every worker has; invalid when there is none, or one of another generation */
static XLogRecPtr
applied_by_all(FloSettle *settle, uint64 *seq)
{
	XLogRecPtr	lsn = InvalidXLogRecPtr;
	bool		first = true;
	ListCell   *cell;

	*seq = 0;
	foreach(cell, settle->reports)
	{
		FloWorkerReport *report = lfirst(cell);

		if (is_waiting(settle, report))
			continue;
		if (strcmp(report->generation, settle->generation) != 0)
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
flo_settle_all_have(FloSettle *settle, XLogRecPtr lsn)
{
	uint64		seq;
	XLogRecPtr	applied = applied_by_all(settle, &seq);

	return !XLogRecPtrIsInvalid(applied) && applied >= lsn;
}

XLogRecPtr
flo_settle_confirmable(FloSettle *settle, FloReleaseWal release)
{
	uint64		seq;
	XLogRecPtr	applied = applied_by_all(settle, &seq);

	age_samples(settle);
	if (release == FLO_RELEASE_APPLIED)
		return applied;
	return Max(applied, settle->synced);
}

uint64
flo_settle_purgeable(FloSettle *settle, uint64 last_seq)
{
	uint64		seq;

	applied_by_all(settle, &seq);

	/* far ahead of the stream: reported before the broker lost its end */
	if (seq > last_seq + FLO_WINDOW)
		return 0;
	seq = Min(seq, last_seq);
	return seq > FLO_WINDOW ? seq - FLO_WINDOW : 0;
}

const char *
flo_settle_slowest(FloSettle *settle)
{
	FloWorkerReport *slowest = NULL;
	ListCell   *cell;

	foreach(cell, settle->reports)
	{
		FloWorkerReport *report = lfirst(cell);

		if (!is_waiting(settle, report) && (slowest == NULL || report->seq < slowest->seq))
			slowest = report;
	}
	return slowest != NULL ? psprintf("slowest consumer %s", slowest->worker) : "no worker has registered yet";
}
