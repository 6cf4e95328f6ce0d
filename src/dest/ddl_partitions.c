/*
 * ddl_partitions.c
 *		Partitions that the source drops or detaches.
 *
 * A destination may be partitioned otherwise than the source, or not at all.
 * What goes there with a partition is, here, wherever it was put: only where a
 * partition of that name provably holds the same rows does the statement mean
 * the same.
 */
#include "postgres.h"

#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "conf/partition.h"
#include "dest/ddl_partitions.h"
#include "utils/lsyscache.h"

char *
flo_ddl_partition_differs(const FloDdlObject *object, Oid root, Oid named)
{
	if (object->partition == NULL || !OidIsValid(root))
		return NULL;
	if (!OidIsValid(named))
		return psprintf("partition %s of %s is not here: its rows are elsewhere, and would stay",
						object->name, object->root_name);
	if (!get_rel_relispartition(named) || PartitionHasPendingDetach(named) ||
		!list_member_oid(get_partition_ancestors(named), root) ||
		flo_partition_find(root, flo_partition_read(object->partition), NULL) == named)
		return NULL;
	return psprintf("partition %s of %s does not provably hold the same rows here", object->name,
					object->root_name);
}
