/*
 * tables.c
 *		What is a table to a group: kinds, names, partitions, lookups.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "conf/tables.h"
#include "core/names.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

bool
flo_tables_is_kind(char relkind)
{
	return relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE;
}

bool
flo_tables_of_system(Oid relation, Oid namespace)
{
	return relation < FirstNormalObjectId ||
		(namespace < FirstNormalObjectId && namespace != PG_PUBLIC_NAMESPACE) ||
		namespace == get_namespace_oid("flo", true) ||
		OidIsValid(getExtensionOfObject(RelationRelationId, relation));
}

char *
flo_tables_name(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
									  get_rel_name(relation));
}

static const char *
kind_name(char relkind)
{
	switch (relkind)
	{
		case RELKIND_VIEW:
			return "a view";
		case RELKIND_MATVIEW:
			return "a materialized view";
		case RELKIND_FOREIGN_TABLE:
			return "a foreign table";
		case RELKIND_SEQUENCE:
			return "a sequence";
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return "an index";
		default:
			return "not a table";
	}
}

void
flo_tables_check_kind(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Form_pg_class class;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table with OID %u does not exist", relation)));
	class = (Form_pg_class) GETSTRUCT(tuple);

	if (!flo_tables_is_kind(class->relkind))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot replicate \"%s\": it is %s", flo_tables_name(relation),
						kind_name(class->relkind)),
				 errhint("Only ordinary and partitioned tables can be replicated.")));

	if (class->relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot replicate \"%s\": it is %s table", flo_tables_name(relation),
						class->relpersistence == RELPERSISTENCE_TEMP ? "a temporary" :
						"an unlogged"),
				 errhint("The changes of such tables are not in the WAL.%s",
						 class->relpersistence == RELPERSISTENCE_TEMP ? "" :
						 " Change it with ALTER TABLE ... SET LOGGED.")));

	if (flo_tables_of_system(relation, class->relnamespace))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot replicate \"%s\": it belongs to the system or to an extension",
						flo_tables_name(relation)),
				 errhint("Only tables made by users can be replicated.")));

	ReleaseSysCache(tuple);
}

/* The table and, for a partitioned one, all partitions below it that hold rows */
List *
flo_tables_with_partitions(Oid relation)
{
	if (get_rel_relkind(relation) != RELKIND_PARTITIONED_TABLE)
		return list_make1_oid(relation);

	return find_all_inheritors(relation, AccessShareLock, NULL);
}

bool
flo_publication_lists(const char *name, Oid relation)
{
	Oid			publication = get_publication_oid(name, true);

	return OidIsValid(publication) &&
		SearchSysCacheExists2(PUBLICATIONRELMAP, ObjectIdGetDatum(relation),
							  ObjectIdGetDatum(publication));
}

bool
flo_publication_has_table(const char *group, Oid relation)
{
	return flo_publication_lists(flo_name_publication(group), relation) ||
		flo_publication_lists(flo_name_insert_publication(group), relation);
}
