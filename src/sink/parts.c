/*
 * parts.c
 *		The rows of a partition of the source, at the destination.
 *
 * Deleting them by their bounds is right only where the same values are there:
 * each column of the bounds must have the same type here, or one that orders
 * and compares likewise, and the same collation where it matters.  An expression
 * is read here again, from a text that came from the network: it is taken only
 * if it consists of the server's own immutable functions.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "conf/partition.h"
#include "executor/spi.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "sink/parts.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

/* While a condition is put together */
typedef struct Part
{
	const FloTarget *target;
	const FloRelation *relation;	/* as routes have made it */
	const FloPartition *partition;
	const char *reason;			/* why it cannot be, once that is known */
} Part;

/*
 * ATTACH and DETACH go on while rows are applied; both lock the partition, so
 * what was found must still be the one once it is locked.
 */
Oid
flo_part_lock(const FloTarget *target, const FloTruncated *truncated)
{
	FloPartition *partition = flo_partition_read(truncated->part);
	Oid			found;

	while (OidIsValid(found = flo_partition_find(target->relid, partition, truncated->relation)))
	{
		LockRelationOid(found, AccessExclusiveLock);
		if (flo_partition_find(target->relid, partition, truncated->relation) == found)
			break;
		UnlockRelationOid(found, AccessExclusiveLock);
	}
	return found;
}

/* --- columns ------------------------------------------------------------- */

/* Types whose values compare as those of each other do */
static bool
compare_alike(Oid a, const char *type)
{
	static const Oid families[][4] = {{INT2OID, INT4OID, INT8OID}, {TEXTOID, VARCHAROID}};

	if (strcmp(flo_partition_type(a), type) == 0)
		return true;
	for (int i = 0; i < lengthof(families); i++)
	{
		bool		has_a = false;
		bool		has_type = false;

		for (int j = 0; OidIsValid(families[i][j]); j++)
		{
			has_a |= families[i][j] == getBaseType(a);
			has_type |= strcmp(flo_partition_type(families[i][j]), type) == 0;
		}
		if (has_a && has_type)
			return true;
	}
	return false;
}

static bool
same_order(Oid collation, const FloPartitionLevel *level, const FloPartitionKey *key)
{
	const char *here = flo_partition_collation(collation, level->strategy);

	return here != NULL && strcmp(here, key->collation) == 0;
}

static char *
column_in_words(Part *part, const FloPartitionLevel *level, const FloPartitionKey *key)
{
	const char *name = flo_partition_column(part->relation, key->column);
	Oid			type;
	int32		typmod;
	Oid			collation;

	if (name == NULL)
	{
		part->reason = psprintf("Column \"%s\", by which they are told apart, does not come here.",
								key->column);
		return NULL;
	}
	get_atttypetypmodcoll(part->target->relid, get_attnum(part->target->relid, name),
						  &type, &typmod, &collation);
	if (!compare_alike(type, key->type))
		part->reason = psprintf("Column \"%s\" is of type %s here and of type %s there.", name,
								format_type_be(type), key->type);
	else if (!same_order(collation, level, key))
		part->reason = psprintf("Values of column \"%s\" have another order here than there: their collations are not the same.",
								name);
	return part->reason == NULL ? pstrdup(quote_identifier(name)) : NULL;
}

/* --- expressions --------------------------------------------------------- */

static bool
is_foreign_function(Oid function, void *arg)
{
	return function >= FirstUnpinnedObjectId;
}

/* Anything but the server's own functions over columns and constants of its own types */
static bool
is_foreign_node(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink) || IsA(node, Aggref) || IsA(node, WindowFunc) ||
		check_functions_in_node(node, is_foreign_function, NULL))
		return true;
	if (IsA(node, Var) || IsA(node, Const))
		return getBaseType(exprType(node)) >= FirstUnpinnedObjectId;
	return expression_tree_walker(node, is_foreign_node, arg);
}

/* Has every column of the expression the name and type here that it has at the source? */
static bool
columns_are_same(const Part *part, const FloPartitionKey *key)
{
	ListCell   *cell;

	foreach(cell, key->columns)
	{
		const char *name = flo_partition_column(part->relation, lfirst(cell));
		bool		same = false;

		if (name == NULL || strcmp(name, lfirst(cell)) != 0)
			return false;
		for (int i = 0; i < part->relation->natts; i++)
			if (strcmp(part->relation->columns[i].name, name) == 0)
				same = part->relation->columns[i].type_name == NULL &&
					part->relation->columns[i].type ==
					getBaseType(get_atttype(part->target->relid,
											get_attnum(part->target->relid, name)));
		if (!same)
			return false;
	}
	return true;
}

/* The expression over the target's columns; NULL when it is not what it should be */
static Node *
analyse(const Part *part, const char *text)
{
	List	   *raw = raw_parser(psprintf("SELECT (%s)", text), RAW_PARSE_DEFAULT);
	SelectStmt *select = list_length(raw) == 1 ? (SelectStmt *) linitial_node(RawStmt, raw)->stmt :
		NULL;
	ParseState *state = make_parsestate(NULL);
	Relation	rel;
	Node	   *node;

	if (select == NULL || !IsA(select, SelectStmt) || select->op != SETOP_NONE ||
		list_length(select->targetList) != 1 || select->fromClause != NIL)
		return NULL;
	rel = table_open(part->target->relid, NoLock);
	addNSItemToQuery(state,
					 addRangeTableEntryForRelation(state, rel, AccessShareLock, NULL, false, true),
					 true, true, true);
	node = transformExpr(state, linitial_node(ResTarget, select->targetList)->val,
						 EXPR_KIND_PARTITION_EXPRESSION);
	assign_expr_collations(state, node);
	free_parsestate(state);
	table_close(rel, NoLock);
	return is_foreign_node(node, NULL) || contain_mutable_functions(node) ? NULL : node;
}

static char *
expression_in_words(Part *part, const FloPartitionLevel *level, const FloPartitionKey *key)
{
	Oid			table = part->target->relid;
	Node	   *node;

	if (columns_are_same(part, key) && (node = analyse(part, key->expression)) != NULL &&
		strcmp(flo_partition_type(exprType(node)), key->type) == 0 &&
		same_order(exprCollation(node), level, key))
		return psprintf("(%s)",
						deparse_expression(node, deparse_context_for(get_rel_name(table), table),
										   false, false));
	part->reason = psprintf("They are told apart by (%s), which cannot be computed here as there.",
							key->expression);
	return NULL;
}

/* --- conditions ---------------------------------------------------------- */

static char *
key_in_words(void *arg, const FloPartitionLevel *level, const FloPartitionKey *key)
{
	Part	   *part = arg;

	if (!key->portable)
	{
		part->reason =
			psprintf("They are told apart by (%s), of type %s, which means something else here.",
					 key->column != NULL ? key->column : key->expression, key->type);
		return NULL;
	}
	return key->column != NULL ? column_in_words(part, level, key) :
		expression_in_words(part, level, key);
}

/*
 * Only a table that is partitioned by the same hashes can tell them, in as
 * many parts as it likes
 */
static char *
hash_in_words(void *arg, const FloPartitionLevel *level)
{
	Part	   *part = arg;
	const FloPartitionBound *bound = linitial(level->bounds);
	int			number = 0;
	Oid			parent;
	StringInfoData sql;
	ListCell   *cell;

	while (list_nth(part->partition->levels, number) != level)
		number++;
	parent = flo_partition_parent(part->target->relid, part->partition, number, part->relation);
	if (strcmp(part->partition->hashes, flo_partition_hashes()) != 0 || !OidIsValid(parent) ||
		!flo_partition_same_keys(parent, level, part->relation))
	{
		part->reason = "They are told apart by hashes, which are not the same here.";
		return NULL;
	}
	initStringInfo(&sql);
	appendStringInfo(&sql, "satisfies_hash_partition(%u, %d, %d", parent, (int) bound->modulus,
					 (int) bound->remainder);
	foreach(cell, level->keys)
	{
		char	   *key = key_in_words(part, level, lfirst(cell));

		if (key == NULL)
			return NULL;
		appendStringInfo(&sql, ", %s", key);
	}
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

void
flo_part_delete(const FloTarget *target, const FloTruncated *truncated)
{
	Part		part = {target, truncated->relation, flo_partition_read(truncated->part), NULL};
	const FloPartitionWords words = {&part, key_in_words, hash_in_words};
	char	   *condition = flo_partition_condition(part.partition, &words);
	FloAsRole	saved;
	int			result;

	if (condition == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("partition \"%s.%s\" was truncated at the source, and which rows of \"%s.%s\" were in it cannot be told here",
						part.partition->schema, part.partition->name, target->schema,
						target->table),
				 errdetail_internal("%s", part.reason),
				 errhint("Delete its rows here and skip this transaction with flo.skip(). A partition with the same bounds here would be truncated.")));
	flo_target_enter(target, &saved);
	result = SPI_execute(psprintf("DELETE FROM %s%s WHERE %s", target->partitioned ? "" : "ONLY ",
								  target->quoted, condition), false, 0);
	if (result != SPI_OK_DELETE)
		elog(ERROR, "could not delete the rows of a partition: %s", SPI_result_code_string(result));
	flo_target_leave(&saved);
}
