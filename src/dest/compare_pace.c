/*
 * compare_pace.c
 *		What a process that compares does now and then: it leaves with its worker, gets
 *		out of its way, says how far it is, and looks what the source has said.
 */
#include "postgres.h"

#include "bus/bucket_text.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "core/lock.h"
#include "core/loop.h"
#include "dest/compare_state.h"
#include "miscadmin.h"
#include "monitor/state.h"

/* ms between two looks whether the worker waits for us */
#define LOOK_PAUSE 100

/* Now and then, for people and for the source: also what keeps the connection */
static void
say_progress(FloCompareReader *r)
{
	FloComparingRecord record = {0};
	ListCell   *cell;

	record.attempt = r->attempt;
	record.seq = r->seq;
	foreach(cell, r->units)
	{
		uint64		rows = (uint64) ((FloCompareUnit *) lfirst(cell))->rows;

		record.rows += rows;
		pg_atomic_write_u64(&r->progress->tables[foreach_current_index(cell)].rows, rows);
	}
	flo_records_put(r->bus, r->bucket, flo_comparing_key(r->id, r->consumer),
					&flo_comparing_format, &record, false);
	flo_bus_pump(r->bus);
}

void
flo_compare_proceed(FloCompareReader *r)
{
	flo_check_interrupts();
	flo_helper_check(r->args->slot, r->args->incarnation);
	if (!flo_clock_passed(r->looked, LOOK_PAUSE))
		return;
	r->looked = flo_clock();
	if (r->bus != NULL && flo_clock_passed(r->noted, 1000))
	{
		r->noted = flo_clock();
		say_progress(r);
	}
	if (!flo_lock_waits_for_us(r->order->worker))
		return;
	r->gave_way = true;
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("the stream goes on with a statement that needs the table: it was not compared to its end"),
			 errhint("Compare it again.")));
}

void
flo_compare_check_source(FloCompareReader *r)
{
	if (!flo_bucket_has_text(r->bus, r->bucket, flo_compare_plan_key(r->id, r->attempt),
							 r->generation))
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("the source has ended the comparison")));
}

/* Keys are listed once for all tables */
List *
flo_compare_said(FloCompareReader *r)
{
	char	   *beginning = psprintf(FLO_COMPARISON_PREFIX INT64_FORMAT ".%u.table.", r->id,
									 r->attempt);
	List	   *relations = NIL;
	ListCell   *cell;

	foreach(cell, flo_bucket_keys(r->bus, r->bucket, beginning))
	{
		const char *number = (const char *) lfirst(cell) + strlen(beginning);

		if (number[strspn(number, "0123456789")] == '\0')
			relations = lappend_oid(relations, strtoul(number, NULL, 10));
	}
	return relations;
}

bool
flo_compare_all_said(const FloCompareTable *table, const List *said)
{
	ListCell   *cell;

	foreach(cell, table->sources)
	{
		if (!list_member_oid(said, ((FloCompareSource *) lfirst(cell))->plan->relation))
			return false;
	}
	return true;
}
