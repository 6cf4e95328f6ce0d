/*
 * setwise.c
 *		Writes gathered changes by statements over sets of rows.
 *
 * For tables that direct.c does not know how to write: partitioned ones, those
 * with generated columns or with columns that get a default here.  The rows
 * are handed to the statement as a tuplestore that it sees as a table, which
 * takes values of any type as they are, arrays included.
 *
 * The plan is a nested loop over the rows given, looking each up by its key in
 * the table, so that they are written in the order given; other joins are
 * switched off (see pin_settings()).  The number of rows written says whether
 * each was found, since keys are unique on both sides.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "core/compat_table.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "sink/setwise.h"
#include "sink/statement.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/tuplestore.h"

/* The rows are known by this name; it hides any table that has it */
#define FLO_ROWS_NAME	"pg_flo_rows"

/* What the planner is told of their number */
#define FLO_ROWS_GUESS	1000

/* Rows with unchanged values need a statement for each set of columns */
#define FLO_MAX_SET_STATEMENTS	50

typedef enum FloSetKind
{
	FLO_SET_INSERT,
	FLO_SET_UPDATE,				/* bits: columns assigned */
	FLO_SET_DELETE,
	FLO_SET_EXISTS				/* is any of the rows there? */
} FloSetKind;

/* Columns of the rows: the key's, in the order of the key, then those of "bits" */
typedef struct FloSetStatement
{
	struct FloSetStatement *next;
	FloSetKind	kind;
	uint64	   *bits;
	TupleDesc	desc;
	SPIPlanPtr	plan;
} FloSetStatement;

/* Room for one row on its way to the tuplestore */
typedef struct FloSetWriter
{
	FloGather  *gather;
	FloTarget  *target;
	Datum	   *values;
	bool	   *isnull;
	uint64	   *bits;
} FloSetWriter;

/* --- statements ---------------------------------------------------------- */

static bool
has_key_columns(FloSetKind kind)
{
	return kind != FLO_SET_INSERT;
}

static bool
has_new_columns(FloSetKind kind)
{
	return kind == FLO_SET_INSERT || kind == FLO_SET_UPDATE;
}

static TupleDesc
describe_rows(const FloTarget *target, FloSetKind kind, const uint64 *bits)
{
	TupleDesc	desc;
	int			ncolumns = 0;
	int			at = 0;
	char		name[NAMEDATALEN];

	if (has_key_columns(kind))
		ncolumns += target->nkey;
	for (int i = 0; i < target->natts && has_new_columns(kind); i++)
		ncolumns += flo_bit_get(bits, i);

	desc = CreateTemplateTupleDesc(ncolumns);
	for (int i = 0; i < target->nkey && has_key_columns(kind); i++)
	{
		const FloTargetColumn *column = &target->columns[target->key[i]];

		snprintf(name, sizeof(name), "k%d", target->key[i]);
		TupleDescInitEntry(desc, ++at, name, column->type, column->typmod, 0);
	}
	for (int i = 0; i < target->natts && has_new_columns(kind); i++)
	{
		if (!flo_bit_get(bits, i))
			continue;
		snprintf(name, sizeof(name), "n%d", i);
		TupleDescInitEntry(desc, ++at, name, target->columns[i].type,
						   target->columns[i].typmod, 0);
	}
	flo_compat_desc_is_whole(desc);
	return desc;
}

static void
add_condition(StringInfo sql, const FloTarget *target)
{
	for (int i = 0; i < target->nkey; i++)
	{
		const FloTargetColumn *column = &target->columns[target->key[i]];

		appendStringInfo(sql, "%s t.%s %s r.k%d", i == 0 ? " WHERE" : " AND",
						 column->quoted, flo_equality(column->type), target->key[i]);
	}
}

static void
build_insert(StringInfo sql, const FloTarget *target, const uint64 *bits)
{
	const char *separator = " (";

	appendStringInfo(sql, "INSERT INTO %s", target->quoted);
	for (int i = 0; i < target->natts; i++)
	{
		if (!flo_bit_get(bits, i))
			continue;
		appendStringInfo(sql, "%s%s", separator, target->columns[i].quoted);
		separator = ", ";
	}
	appendStringInfoString(sql, ") OVERRIDING SYSTEM VALUE");
	separator = " SELECT ";
	for (int i = 0; i < target->natts; i++)
	{
		if (!flo_bit_get(bits, i))
			continue;
		appendStringInfo(sql, "%sr.n%d", separator, i);
		separator = ", ";
	}
	appendStringInfoString(sql, " FROM " FLO_ROWS_NAME " r");
}

/* Identity columns cannot be assigned: they must have their value already */
static void
build_update(StringInfo sql, const FloTarget *target, const uint64 *bits)
{
	const char *separator = "";

	appendStringInfo(sql, "UPDATE %s%s t SET ", target->partitioned ? "" : "ONLY ",
					 target->quoted);
	for (int i = 0; i < target->natts; i++)
	{
		if (!flo_bit_get(bits, i) || target->columns[i].identity_always)
			continue;
		appendStringInfo(sql, "%s%s = r.n%d", separator, target->columns[i].quoted, i);
		separator = ", ";
	}
	if (separator[0] == '\0')
		appendStringInfo(sql, "%s = t.%s", target->touch, target->touch);
	appendStringInfoString(sql, " FROM " FLO_ROWS_NAME " r");
	add_condition(sql, target);
	for (int i = 0; i < target->natts; i++)
	{
		const FloTargetColumn *column = &target->columns[i];

		if (flo_bit_get(bits, i) && column->identity_always)
			appendStringInfo(sql, " AND t.%s %s r.n%d", column->quoted,
							 flo_equality(column->type), i);
	}
}

static void
build_sql(StringInfo sql, const FloTarget *target, FloSetKind kind, const uint64 *bits)
{
	const char *only = target->partitioned ? "" : "ONLY ";

	switch (kind)
	{
		case FLO_SET_INSERT:
			build_insert(sql, target, bits);
			break;
		case FLO_SET_UPDATE:
			build_update(sql, target, bits);
			break;
		case FLO_SET_DELETE:
			appendStringInfo(sql, "DELETE FROM %s%s t USING " FLO_ROWS_NAME " r",
							 only, target->quoted);
			add_condition(sql, target);
			break;
		case FLO_SET_EXISTS:
			appendStringInfo(sql, "SELECT 1 FROM " FLO_ROWS_NAME " r, %s%s t",
							 only, target->quoted);
			add_condition(sql, target);
			break;
	}
}

void
flo_setwise_forget(FloTarget *target)
{
	FloSetStatement *statement = target->set_statements;

	target->set_statements = NULL;
	target->nset_statements = 0;
	for (; statement != NULL; statement = statement->next)
		if (statement->plan != NULL)
			SPI_freeplan(statement->plan);
}

static FloSetStatement *
find_statement(FloTarget *target, FloSetKind kind, const uint64 *bits)
{
	FloSetStatement *statement;
	MemoryContext old_context;

	for (statement = target->set_statements; statement != NULL; statement = statement->next)
		if (statement->kind == kind &&
			memcmp(statement->bits, bits, target->nwords * sizeof(uint64)) == 0)
			return statement;

	if (target->nset_statements >= FLO_MAX_SET_STATEMENTS)
		flo_setwise_forget(target);
	old_context = MemoryContextSwitchTo(target->context);
	statement = palloc0(sizeof(FloSetStatement));
	statement->kind = kind;
	statement->bits = palloc(target->nwords * sizeof(uint64));
	memcpy(statement->bits, bits, target->nwords * sizeof(uint64));
	statement->desc = describe_rows(target, kind, bits);
	statement->next = target->set_statements;
	target->set_statements = statement;
	target->nset_statements++;
	MemoryContextSwitchTo(old_context);
	return statement;
}

/* The rows' table must be registered already */
static void
prepare(FloTarget *target, FloSetStatement *statement)
{
	StringInfoData sql;
	SPIPlanPtr	plan;

	initStringInfo(&sql);
	build_sql(&sql, target, statement->kind, statement->bits);
	plan = SPI_prepare(sql.data, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql.data,
			 SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "could not keep a prepared statement");
	statement->plan = plan;
	pfree(sql.data);
}

/* --- rows ---------------------------------------------------------------- */

static void
put_row(FloSetWriter *writer, const FloSetStatement *statement, Tuplestorestate *store,
		const FloNet *net)
{
	const FloTarget *target = writer->target;
	int			at = 0;

	for (int i = 0; i < target->nkey && has_key_columns(statement->kind); i++)
	{
		writer->values[at] = net->key[target->key[i]];
		writer->isnull[at++] = false;
	}
	if (has_new_columns(statement->kind))
	{
		char	   *kinds = flo_row_kinds(net->row, target->natts);

		for (int i = 0; i < target->natts; i++)
		{
			if (!flo_bit_get(statement->bits, i))
				continue;
			writer->values[at] = net->row[i];
			writer->isnull[at++] = (kinds[i] != FLO_ROW_VALUE);
		}
	}
	tuplestore_putvalues(store, statement->desc, writer->values, writer->isnull);
}

static uint64
execute(FloSetWriter *writer, FloSetStatement *statement)
{
	uint64		count;
	int			code;

	if (statement->plan == NULL)
		prepare(writer->target, statement);
	code = SPI_execute_plan(statement->plan, NULL, NULL, false,
							statement->kind == FLO_SET_EXISTS ? 1 : 0);
	if (code < 0)
		elog(ERROR, "could not execute a prepared statement: %s",
			 SPI_result_code_string(code));
	count = SPI_processed;
	if (SPI_tuptable != NULL)
		SPI_freetuptable(SPI_tuptable);
	return count;
}

/*
 * Run the statement over the rows in the store; how many it wrote or found.
 * SPI must not know the rows when this throws, either.
 */
static uint64
run(FloSetWriter *writer, FloSetStatement *statement, Tuplestorestate *store)
{
	MemoryContext old_context = CurrentMemoryContext;
	EphemeralNamedRelation rows = palloc0(sizeof(EphemeralNamedRelationData));
	uint64		count = 0;

	rows->md.name = FLO_ROWS_NAME;
	rows->md.reliddesc = InvalidOid;
	rows->md.tupdesc = statement->desc;
	rows->md.enrtype = ENR_NAMED_TUPLESTORE;
	rows->md.enrtuples = FLO_ROWS_GUESS;
	rows->reldata = store;

	/*
	 * SPI keeps its list in the current context, for as long as the
	 * connection lives
	 */
	MemoryContextSwitchTo(TopTransactionContext);
	if (SPI_register_relation(rows) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register rows with SPI");
	MemoryContextSwitchTo(old_context);
	PG_TRY();
	{
		count = execute(writer, statement);
	}
	PG_FINALLY();
	{
		SPI_unregister_relation(FLO_ROWS_NAME);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old_context);
	return count;
}

/* --- sets ---------------------------------------------------------------- */

static bool
belongs(const FloNet *net, FloSetKind kind)
{
	switch (kind)
	{
		case FLO_SET_INSERT:
			return net->kind == FLO_NET_INSERT || net->kind == FLO_NET_REPLACE;
		case FLO_SET_UPDATE:
			return net->kind == FLO_NET_UPDATE;
		case FLO_SET_DELETE:
			return net->kind == FLO_NET_DELETE || net->kind == FLO_NET_REPLACE;
		case FLO_SET_EXISTS:
			return net->kind == FLO_NET_NOTHING;
	}
	return false;
}

/* The columns an update of this row assigns, or an insert has */
static void
set_bits(FloSetWriter *writer, FloSetKind kind, const FloNet *net)
{
	const FloTarget *target = writer->target;
	FloGather  *gather = writer->gather;
	bool		moves = gather->run && gather->run_moves;
	char	   *kinds;

	memset(writer->bits, 0, target->nwords * sizeof(uint64));
	if (!has_new_columns(kind))
		return;
	kinds = flo_row_kinds(net->row, target->natts);
	for (int i = 0; i < target->natts; i++)
	{
		const FloTargetColumn *column = &target->columns[i];

		if (column->generated)
			continue;
		if (kind == FLO_SET_UPDATE &&
			(kinds[i] == FLO_ROW_UNCHANGED || (column->matched && !moves)))
			continue;
		flo_bit_set(writer->bits, i);
	}
}

/*
 * Write all rows of a kind.  Updates that assign the same columns as the first
 * not written yet are one set; "done" marks the rows written.  False when not
 * exactly these were found.
 */
static bool
write_kind(FloSetWriter *writer, FloSetKind kind, bool *done)
{
	FloGather  *gather = writer->gather;

	for (int first = 0; first < gather->nnets; first++)
	{
		FloSetStatement *statement = NULL;
		Tuplestorestate *store = NULL;
		uint64		count = 0;

		for (int i = first; i < gather->nnets; i++)
		{
			const FloNet *net = &gather->nets[i];

			if (!belongs(net, kind) || done[i])
				continue;
			if (statement == NULL || kind == FLO_SET_UPDATE)
				set_bits(writer, kind, net);
			if (statement == NULL)
			{
				statement = find_statement(writer->target, kind, writer->bits);
				store = tuplestore_begin_heap(false, false, 128 * 1024);
			}
			if (memcmp(statement->bits, writer->bits,
					   writer->target->nwords * sizeof(uint64)) != 0)
				continue;
			put_row(writer, statement, store, net);
			done[i] = true;
			count++;
		}
		if (statement == NULL)
			break;
		if (run(writer, statement, store) != (kind == FLO_SET_EXISTS ? 0 : count))
			return false;
		tuplestore_end(store);
	}
	/* a row may be both deleted and inserted */
	memset(done, 0, gather->nnets * sizeof(bool));
	return true;
}

bool
flo_setwise_write(FloGather *gather)
{
	FloSetWriter writer;
	FloTarget  *target = gather->target;
	bool	   *done = palloc0(gather->nnets * sizeof(bool));

	writer.gather = gather;
	writer.target = target;
	writer.values = palloc((target->natts + target->nkey) * sizeof(Datum));
	writer.isnull = palloc((target->natts + target->nkey) * sizeof(bool));
	writer.bits = palloc(target->nwords * sizeof(uint64));
	return write_kind(&writer, FLO_SET_EXISTS, done) &&
		write_kind(&writer, FLO_SET_DELETE, done) &&
		write_kind(&writer, FLO_SET_UPDATE, done) &&
		write_kind(&writer, FLO_SET_INSERT, done);
}
