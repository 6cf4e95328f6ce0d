/*
 * harmless.c
 *		Which of the server's own functions may be called without care.
 *
 * An immutable one looks nothing up, and so runs nothing that it is not given.  Of
 * others some find by a name what users have made, and run it: a view that is to be
 * made XML, the CHECK of a domain that a value is tried for.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "core/harmless.h"
#include "utils/syscache.h"

/*
 * Built-in functions that are not immutable, or not in all their forms, and
 * neither run text as SQL nor read what the role may read and others not.
 * Chosen from all of pg_proc; what else is stable there looks into the server
 * (current_setting, table_to_xml, pg_*), and ts_rewrite(tsquery, text) runs SQL.
 */
static const char *const harmless[] = {
	"age", "array_to_json", "array_to_string", "clock_timestamp", "concat", "concat_ws",
	"current_database", "current_schema", "date", "date_part", "date_trunc", "extract", "format",
	"gen_random_uuid", "json_build_array", "json_build_object", "json_to_tsvector",
	"jsonb_build_array", "jsonb_build_object", "jsonb_to_tsvector", "length", "make_timestamptz",
	"money", "now", "numeric", "overlaps", "phraseto_tsquery", "plainto_tsquery", "quote_literal",
	"quote_nullable", "random", "row_to_json", "statement_timestamp", "time", "timeofday",
	"timestamp", "timestamptz", "timetz", "timezone", "to_char", "to_date", "to_json", "to_jsonb",
	"to_number", "to_timestamp", "to_tsquery", "to_tsvector", "transaction_timestamp", "uuidv4",
	"uuidv7", "websearch_to_tsquery"
};

static bool
is_listed(const char *name)
{
	for (int i = 0; i < lengthof(harmless); i++)
		if (strcmp(name, harmless[i]) == 0)
			return true;
	return false;
}

bool
flo_function_is_harmless(Oid function)
{
	HeapTuple	tuple;
	Form_pg_proc form;
	bool		result;

	if (function >= FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	result = form->provolatile == PROVOLATILE_IMMUTABLE ||
		(form->pronamespace == PG_CATALOG_NAMESPACE && is_listed(NameStr(form->proname)));
	ReleaseSysCache(tuple);
	return result;
}
