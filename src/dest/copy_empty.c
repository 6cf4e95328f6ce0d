/*
 * copy_empty.c
 *		Empties a table before it is copied into.
 *
 * One that others refer to cannot be truncated: its rows are deleted.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/heap.h"
#include "conf/tables.h"
#include "core/as_role.h"
#include "dest/copy_empty.h"
#include "dest/ddl_targets.h"
#include "executor/spi.h"
#include "sink/relmap.h"
#include "utils/rel.h"

Oid
flo_copy_writer(const FloWorkerSpec *spec, const FloRelation *relation, Oid relid)
{
	Oid			owner = flo_ddl_relation_owner(relid);
	Oid			role = flo_target_role(spec->owner, spec->options.run_as_owner, owner);

	if (!OidIsValid(role))
		flo_target_refuse(spec->owner, owner, relation->schema, relation->name);
	return role;
}

/*
 * Rows of the tables that refer to it need not be in order before the copy is in: the
 * loader's role makes no triggers fire but those that are meant for it, which run as who
 * writes to the table.
 */
static void
delete_rows(Oid relation, Oid role)
{
	Relation	rel = table_open(relation, RowExclusiveLock);
	FloAsRole	as;
	int			result;

	flo_as_role_enter(&as, role, FLO_AS_ROLE_RESTRICTED);
	SPI_connect();
	result = SPI_execute(psprintf("DELETE FROM %s%s",
								  rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
								  flo_tables_name(relation)), false, 0);
	if (result != SPI_OK_DELETE)
		elog(ERROR, "could not empty a table: %s", SPI_result_code_string(result));
	SPI_finish();
	flo_as_role_leave(&as);
	table_close(rel, NoLock);
}

void
flo_copy_empty_table(const FloWorkerSpec *spec, FloSink *sink, const FloRelation *relation,
					 Oid relid)
{
	FloChange	truncate = {0};
	FloTransaction txn = {0};
	FloTruncated whole = {relation, NULL};

	if (heap_truncate_find_FKs(list_make1_oid(relid)) != NIL)
	{
		delete_rows(relid, flo_copy_writer(spec, relation, relid));
		return;
	}

	truncate.op = FLO_OP_TRUNCATE;
	truncate.ntruncated = 1;
	truncate.truncated = &whole;
	sink->ops->change(sink, &txn, &truncate);
	CommandCounterIncrement();
}
