/*
 * compare_result.c
 *		What came of a comparison: for the source in the state bucket, and for people
 *		in flo.comparisons.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/sql.h"
#include "core/text.h"
#include "core/transaction.h"
#include "dest/compare_state.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define OF_WORKER " WHERE side = 'destination' AND group_name = $1 AND worker_name = $2"

/* Comparisons that are kept, as at the source */
#define KEPT "100"

/* A table of the source, told and not written down */
typedef struct FloCompareOutcome
{
	const FloComparePlanTable *plan;
	FloComparedRecord *record;
	int64		source_rows;	/* -1 = not known */
} FloCompareOutcome;

static const char *const state_words[] = {
	"equal", "different", "waiting", "void", "missed", "failed"
};

static char *
shown_name(const FloComparePlanTable *table)
{
	return quote_qualified_identifier(table->schema, table->table);
}

/* --- for the source ------------------------------------------------------ */

static void
put(FloCompareReader *r, const FloComparePlanTable *plan, FloComparedRecord *record,
	int64 source_rows)
{
	MemoryContext old = MemoryContextSwitchTo(r->context);
	FloCompareOutcome *outcome = palloc(sizeof(FloCompareOutcome));

	record->relation = plan->relation;
	record->attempt = r->attempt;
	record->worker = r->worker;
	flo_comparison_put(r->bus, r->bucket,
					   flo_compared_key(r->id, r->attempt, r->consumer, plan->relation),
					   r->generation, &flo_compared_format, record);
	outcome->plan = plan;
	outcome->record = record;
	outcome->source_rows = source_rows;
	r->outcomes = lappend(r->outcomes, outcome);
	MemoryContextSwitchTo(old);
	if (!IsTransactionState())
		flo_compare_write(r);
}

/* A choice of the unit's buckets in those of one of its sources, which may be finer */
static char *
buckets_of(const FloCompareUnit *unit, const bool *buckets, int64 nbuckets)
{
	bool	   *wanted = palloc(sizeof(bool) * nbuckets);
	char	   *text;

	for (int64 i = 0; i < nbuckets; i++)
		wanted[i] = buckets[i & (unit->table->nbuckets - 1)];
	text = flo_buckets_format(wanted, nbuckets);
	pfree(wanted);
	return text;
}

/* What is counted stands with the first of the tables that lead to one */
void
flo_compare_tell(FloCompareUnit *unit, FloComparedState state, const bool *buckets,
				 const char *detail)
{
	FloCompareReader *r = unit->reader;
	const FloComparePlanTable *first = NULL;
	ListCell   *cell;

	foreach(cell, unit->table->sources)
	{
		const FloCompareSource *source = lfirst(cell);
		const FloComparePlanTable *plan = source->plan;
		MemoryContext old = MemoryContextSwitchTo(r->context);
		FloComparedRecord *record = palloc0(sizeof(FloComparedRecord));

		record->state = state;
		record->repairs = source->repairs;
		record->repairs_cut = source->repairs_cut;
		record->detail = detail != NULL ? pstrdup(detail) : NULL;
		if (buckets != NULL)
			record->buckets = buckets_of(unit, buckets, plan->buckets);
		if (first == NULL)
		{
			first = plan;
			record->rows = unit->rows;
			record->missing = unit->counts.missing;
			record->extra = unit->counts.extra;
			record->different = unit->counts.different;
			record->samples = unit->samples;
		}
		else
			record->detail = psprintf("in one table with %s, where the rows of both are counted%s%s",
									  shown_name(first), detail != NULL ? ": " : "",
									  detail != NULL ? detail : "");
		MemoryContextSwitchTo(old);
		put(r, plan, record, plan == first ? unit->source_rows : 0);
	}
	unit->told = true;
}

void
flo_compare_tell_left_out(FloCompareReader *r, const FloComparePlanTable *table)
{
	FloComparedRecord *record = MemoryContextAllocZero(r->context, sizeof(FloComparedRecord));

	record->state = FLO_COMPARED_VOID;
	record->detail = MemoryContextStrdup(r->context, "the worker's option tables does not name it");
	put(r, table, record, -1);
}

/* --- for people ---------------------------------------------------------- */

static void
note_table(FloCompareReader *r, const FloComparePlanTable *table)
{
	static SPIPlanPtr insert;

	flo_sql_run_kept(&insert, SPI_OK_INSERT,
					 "INSERT INTO flo.comparisons (id, group_name, worker_name, table_name, lsn, state, relation, rows_estimated, side, read_since)"
					 " VALUES ($1::bigint, $2, $3, $4, $5::pg_lsn, 'comparing', $6::oid, $7::bigint, 'destination', clock_timestamp())"
					 " ON CONFLICT (group_name, side, id, worker_name, relation) DO UPDATE SET"
					 " state = 'comparing', lsn = excluded.lsn, detail = NULL, finished_at = NULL,"
					 " rows_read = NULL, read_since = excluded.read_since",
					 7, flo_text_of_int64(r->id), r->group, r->worker, shown_name(table),
					 psprintf("%X/%X", LSN_FORMAT_ARGS(r->lsn)), psprintf("%u", table->relation),
					 flo_text_of_int64(table->rows));
}

void
flo_compare_note_begin(FloCompareReader *r)
{
	FloSqlSession sql;
	ListCell   *cell;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.comparisons SET state = 'failed', finished_at = clock_timestamp(),"
				" detail = 'the source has ended it'" OF_WORKER " AND finished_at IS NULL AND id <> $3::bigint",
				3, r->group, r->worker, flo_text_of_int64(r->id));
	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.comparisons" OF_WORKER
				" AND finished_at IS NOT NULL AND id <= $3::bigint - " KEPT,
				3, r->group, r->worker, flo_text_of_int64(r->id));
	foreach(cell, r->plan->tables)
		note_table(r, lfirst(cell));
	foreach(cell, r->left_out)
		note_table(r, lfirst(cell));
	flo_sql_end(&sql);
}

static void
write_samples(FloCompareReader *r, const FloCompareOutcome *outcome)
{
	static SPIPlanPtr insert;
	char	   *id = flo_text_of_int64(r->id);
	char	   *relation = psprintf("%u", outcome->plan->relation);
	ListCell   *cell;

	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.comparison_samples" OF_WORKER
				" AND id = $3::bigint AND relation = $4::oid", 4, r->group, r->worker, id, relation);
	foreach(cell, outcome->record->samples)
	{
		const FloComparedSample *sample = lfirst(cell);

		flo_sql_run_kept(&insert, SPI_OK_INSERT,
						 "INSERT INTO flo.comparison_samples (id, group_name, worker_name, table_name, ordinal, kind, key, source_row, destination_row, relation, side)"
						 " VALUES ($1::bigint, $2, $3, $4, $5::int, $6, $7::jsonb, $8::jsonb, $9::jsonb, $10::oid, 'destination')",
						 10, id, r->group, r->worker, shown_name(outcome->plan),
						 psprintf("%d", foreach_current_index(cell) + 1), sample->kind, sample->key,
						 sample->source_row, sample->destination_row, relation);
	}
}

static void
write_outcome(FloCompareReader *r, const FloCompareOutcome *outcome)
{
	static SPIPlanPtr update;
	const FloComparedRecord *record = outcome->record;
	bool		over = record->state != FLO_COMPARED_BUCKETS;
	bool		counted = record->state == FLO_COMPARED_EQUAL ||
		record->state == FLO_COMPARED_DIFFERENT;

	flo_sql_run_kept(&update, SPI_OK_UPDATE, "UPDATE flo.comparisons SET state = $3, detail = $4,"
					 " finished_at = CASE WHEN $5::bool THEN clock_timestamp() END,"
					 " rows_source = coalesce($6::bigint, rows_source), rows_destination = $7::bigint,"
					 " rows_read = $7::bigint, missing = $8::bigint, extra = $9::bigint, different = $10::bigint"
					 OF_WORKER " AND id = $11::bigint AND relation = $12::oid",
					 12, r->group, r->worker, state_words[record->state], record->detail,
					 over ? "t" : "f",
					 outcome->source_rows >= 0 ? flo_text_of_int64(outcome->source_rows) : NULL,
					 flo_text_of_int64(record->rows),
					 counted ? flo_text_of_int64(record->missing) : NULL,
					 counted ? flo_text_of_int64(record->extra) : NULL,
					 counted ? flo_text_of_int64(record->different) : NULL,
					 flo_text_of_int64(r->id), psprintf("%u", outcome->plan->relation));
	write_samples(r, outcome);
}

void
flo_compare_write(FloCompareReader *r)
{
	MemoryContext old;
	FloSqlSession sql;
	ListCell   *cell;

	if (r->outcomes == NIL)
		return;
	old = flo_transaction_begin();
	flo_sql_begin(&sql);
	foreach(cell, r->outcomes)
		write_outcome(r, lfirst(cell));
	flo_sql_end(&sql);
	flo_transaction_end(old);
	list_free(r->outcomes);
	r->outcomes = NIL;
}
