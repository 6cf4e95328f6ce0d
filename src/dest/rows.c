/*
 * rows.c
 *		Does a table of this database hold rows?
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "core/compat_table.h"
#include "dest/rows.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

bool
flo_table_has_rows(Oid relation)
{
	bool		found = false;
	List	   *relations = list_make1_oid(relation);
	ListCell   *cell;

	if (get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE)
		relations = find_all_inheritors(relation, AccessShareLock, NULL);

	/*
	 * what another loader has committed while we waited for it counts as
	 * well, and what we have just put in
	 */
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	foreach(cell, relations)
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);

		if (!found && rel->rd_rel->relkind == RELKIND_RELATION)
		{
			TableScanDesc scan = flo_compat_table_beginscan(rel, GetActiveSnapshot());
			TupleTableSlot *slot = table_slot_create(rel, NULL);

			found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
			ExecDropSingleTupleTableSlot(slot);
			table_endscan(scan);
		}
		table_close(rel, NoLock);
	}
	PopActiveSnapshot();
	return found;
}
