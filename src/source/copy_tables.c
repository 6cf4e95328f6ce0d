/*
 * copy_tables.c
 *		Which tables a copy is of, and whether they are still what its snapshot sees.
 */
#include "postgres.h"

#include "access/relation.h"
#include "source/copy.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Name and columns, as SHAPE_OF has them from the snapshot */
static char *
shape_of(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData shape;

	initStringInfo(&shape);
	appendStringInfo(&shape, "%s.%s", get_namespace_name(RelationGetNamespace(rel)),
					 RelationGetRelationName(rel));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped)
			appendStringInfo(&shape, ",%d %s %u %d", att->attnum, NameStr(att->attname),
							 att->atttypid, att->atttypmod);
	}
	return shape.data;
}

#define SHAPE_OF(table) \
"SELECT n.nspname || '.' || c.relname || coalesce(',' || pg_catalog.string_agg(" \
"a.attnum || ' ' || a.attname || ' ' || a.atttypid::pg_catalog.oid || ' ' || a.atttypmod, ',' ORDER BY a.attnum), '')" \
" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace" \
" LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped" \
" WHERE c.oid = " table " GROUP BY n.nspname, c.relname"

Relation
flo_copy_lock_relation(Oid relation, Oid filenode, const char *shape)
{
	Relation	rel;

	if (!ConditionalLockRelationOid(relation, AccessShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("table \"%s\" is locked by a change of its definition: the copy begins again",
						get_rel_name(relation) ? get_rel_name(relation) : "?")));
	rel = try_relation_open(relation, NoLock);
	if (rel == NULL || (OidIsValid(filenode) && rel->rd_rel->relfilenode != filenode))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table with OID %u was dropped or rewritten while the copy began: it begins again",
						relation)));
	if (shape == NULL || strcmp(shape_of(rel), shape) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table \"%s\" got another name or other columns while the copy began: it begins again",
						RelationGetRelationName(rel))));
	return rel;
}

const char *const flo_copy_tables_query =
"WITH RECURSIVE publications AS ("
" SELECT oid, pubviaroot FROM pg_catalog.pg_publication"
" WHERE pubname = ANY ($1::pg_catalog.text[]::pg_catalog.name[])),"
" listed AS ("
" SELECT r.prrelid AS oid, p.pubviaroot FROM publications p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid"
" UNION"
" SELECT c.oid, p.pubviaroot FROM publications p JOIN pg_catalog.pg_publication_namespace n ON n.pnpubid = p.oid"
" JOIN pg_catalog.pg_class c ON c.relnamespace = n.pnnspid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'),"
" tree AS ("
" SELECT oid AS root, oid, pubviaroot FROM listed"
" UNION"
" SELECT t.root, i.inhrelid, t.pubviaroot FROM tree t"
" JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relkind = 'p'"
" JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid AND NOT i.inhdetachpending)"
" SELECT DISTINCT CASE WHEN t.pubviaroot THEN t.root ELSE t.oid END::pg_catalog.oid, t.oid::pg_catalog.oid,"
" c.relfilenode::pg_catalog.oid, c.relpages, (" SHAPE_OF("t.oid") "),"
" (" SHAPE_OF("(CASE WHEN t.pubviaroot THEN t.root ELSE t.oid END)") ")"
" FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid"
" WHERE c.relkind = 'r' AND NOT (t.pubviaroot AND EXISTS ("
" SELECT FROM tree above WHERE above.oid = t.root AND above.root <> t.root AND above.pubviaroot))"
" ORDER BY c.relpages DESC, t.oid";
