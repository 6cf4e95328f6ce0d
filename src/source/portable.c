/*
 * portable.c
 *		Which rows may travel in binary.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "core/types.h"
#include "source/portable.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/*
 * Types whose binary form is an OID and whose text is a name; whose receive
 * functions do not take everything their send functions give (a vector or query
 * without elements); or that nothing can read back, but a text column can keep.
 */
static bool
is_better_as_text(Oid type)
{
	if (flo_type_names_object(type))
		return true;
	switch (type)
	{
		case INT2VECTOROID:
		case OIDVECTOROID:
		case TSQUERYOID:
		case PG_NODE_TREEOID:
		case PG_NDISTINCTOID:
		case PG_DEPENDENCIESOID:
		case PG_MCV_LISTOID:
		case PG_BRIN_BLOOM_SUMMARYOID:
		case PG_BRIN_MINMAX_MULTI_SUMMARYOID:
			return true;
		default:
			return false;
	}
}

/*
 * Types whose binary form means the same in every cluster and version: those
 * whose OIDs are fixed by hand in the server's sources (initdb's own, for
 * information_schema and the system views, differ between versions), that can
 * be sent and received, and are not rows.
 */
static bool
type_is_portable(Oid type)
{
	HeapTuple	tuple;
	Form_pg_type form;
	Oid			element;
	bool		portable;

	if (type >= FirstGenbkiObjectId || is_better_as_text(type))
		return false;
	element = get_element_type(type);
	if (OidIsValid(element))
		return type_is_portable(element);

	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_type) GETSTRUCT(tuple);
	portable = OidIsValid(form->typsend) && OidIsValid(form->typreceive) &&
		form->typtype != TYPTYPE_COMPOSITE && form->typtype != TYPTYPE_PSEUDO;
	ReleaseSysCache(tuple);
	return portable;
}

bool
flo_relation_is_portable(Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !type_is_portable(att->atttypid))
			return false;
	}
	return true;
}
