/*
 * sequences.c
 *		Where the source's sequences are.
 *
 * Values come with the copy, and later when flo.sync_sequences() is called.
 * What is set is never taken back by a rollback, which does no harm: a
 * sequence only ever moves on, and the same values come again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/json.h"
#include "bus/stream.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/names.h"
#include "core/trail.h"
#include "core/transaction.h"
#include "dest/sequences.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* SPI is connected, the current user is the worker's owner */
static void
set_sequence(const char *schema, const char *name, int64 value, bool called)
{
	Oid			relation = RangeVarGetRelid(makeRangeVar(unconstify(char *, schema), unconstify(char *, name), -1),
											AccessShareLock, true);
	Oid			types[2] = {INT8OID, BOOLOID};
	Datum		values[2] = {Int64GetDatum(value), BoolGetDatum(called)};
	char	   *query;

	if (!OidIsValid(relation) || get_rel_relkind(relation) != RELKIND_SEQUENCE)
		return;
	flo_trail.operation = "setval";
	flo_trail.schema = schema;
	flo_trail.table = name;
	query = psprintf("SELECT pg_catalog.setval(%u::pg_catalog.oid::pg_catalog.regclass, $1, $2)"
					 " FROM %s v, pg_catalog.pg_sequence s WHERE s.seqrelid = %u"
					 " AND (CASE WHEN s.seqincrement > 0 THEN $1 > v.last_value ELSE $1 < v.last_value END"
					 " OR ($1 = v.last_value AND $2 AND NOT v.is_called))",
					 relation, quote_qualified_identifier(schema, name), relation);
	if (SPI_execute_with_args(query, 2, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not set sequence %s", name);
}

void
flo_sequences_set(const FloWorkerSpec *spec, const char *message, int len)
{
	FloJson		sequences;
	FloJson		one;
	int			cursor = 0;
	Oid			user;
	int			context;
	bool		pushed = !ActiveSnapshotSet();

	if (!flo_json_get(flo_json(message, len), "sequences", &sequences))
		return;
	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(spec->owner, context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	while (flo_json_next_element(sequences, &cursor, &one))
	{
		FloJson		fields[4] = {{0}};
		int			at = 0;
		int			n = 0;

		while (n < 4 && flo_json_next_element(one, &at, &fields[n]))
			n++;
		if (n == 4)
			set_sequence(flo_json_string(fields[0]), flo_json_string(fields[1]),
						 strtoi64(pnstrdup(fields[2].text, fields[2].len), NULL, 10),
						 fields[3].len > 0 && fields[3].text[0] == 't');
	}
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	if (pushed)
		PopActiveSnapshot();
}

void
flo_sequences_take(FloBus *bus, const FloWorkerSpec *spec, const char *generation)
{
	MemoryContext old;
	char	   *values = flo_bucket_get_text(bus, flo_name_bucket(spec->group), FLO_SEQUENCES_KEY, generation);

	if (values == NULL)
		return;
	old = flo_transaction_begin();
	flo_sequences_set(spec, values, strlen(values));
	ForceSyncCommit();
	flo_transaction_end(old);
	flo_trail_clear();
}
