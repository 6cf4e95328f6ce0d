/*
 * preflight.c
 *		What flo.check() needs to know and SQL cannot say as well: which tables a
 *		replicator's choice covers, and whether each can be replicated.
 */
#include "postgres.h"

#include "conf/api.h"
#include "conf/identity.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "core/names.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#define COLUMNS 3

PG_FUNCTION_INFO_V1(flo_covered_tables);

/* covered_tables(group_name): relation, whether it has a usable replica identity, whether it is published */
Datum
flo_covered_tables(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *group = text_to_cstring(PG_GETARG_TEXT_PP(0));
	FloTableChoice *names;
	FloTableOids choice;
	FloReplicatorSpec *replicator;
	bool		via_root;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);

	names = flo_store_table_choice(group);
	if (names == NULL)
		return (Datum) 0;
	flo_tables_lookup(names, &choice);
	replicator = flo_store_replicator(group);
	via_root = replicator == NULL || replicator->options.publish_via_partition_root;

	foreach(lc, flo_tables_covered(&choice))
	{
		Oid			relation = lfirst_oid(lc);
		Datum		values[COLUMNS];
		bool		nulls[COLUMNS] = {false};

		values[0] = ObjectIdGetDatum(relation);
		values[1] = BoolGetDatum(flo_tables_have_identity(relation, via_root));
		values[2] = BoolGetDatum(flo_publication_has_table(group, relation));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}

	return (Datum) 0;
}
