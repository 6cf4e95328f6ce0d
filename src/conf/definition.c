/*
 * definition.c
 *		What a table looks like, as JSON: for people, and for events of DDL.
 *
 * Read from the relation cache and the catalogs, without a query and without a
 * lock, so that it can be told while WAL is decoded, of the table as it was then.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "conf/definition.h"
#include "conf/expression.h"
#include "fmgr.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

typedef struct Key
{
	char	   *name;
	bool		primary;
	bool		identity;
	List	   *columns;		/* of char * */
} Key;

static void
put_text(StringInfo out, const char *key, const char *value)
{
	appendStringInfo(out, "%s\"%s\": ", out->data[out->len - 1] != '{' ? ", " : "", key);
	if (value != NULL)
		escape_json(out, value);
	else
		appendStringInfoString(out, "null");
}

static void
put_bool(StringInfo out, const char *key, bool value)
{
	appendStringInfo(out, ", \"%s\": %s", key, value ? "true" : "false");
}

/* --- columns ------------------------------------------------------------- */

/* Default or generation expression; NULL when the column has none */
static char *
expression_of(Relation relation, AttrNumber attnum)
{
	const TupleConstr *constr = RelationGetDescr(relation)->constr;

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
		if (constr->defval[i].adnum == attnum)
			return flo_expression_text(RelationGetRelid(relation),
									   stringToNode(constr->defval[i].adbin));
	return NULL;
}

static void
append_column(StringInfo out, Relation relation, Form_pg_attribute att)
{
	char	   *expression = att->atthasdef ? expression_of(relation, att->attnum) : NULL;
	bool		generated = att->attgenerated != '\0';

	appendStringInfo(out, "{\"attnum\": %d", att->attnum);
	put_text(out, "name", NameStr(att->attname));
	put_text(out, "type", format_type_with_typemod(att->atttypid, att->atttypmod));
	put_bool(out, "nullable", !att->attnotnull);
	put_text(out, "default", generated ? NULL : expression);
	put_text(out, "generated", generated ? expression : NULL);
	put_text(out, "identity", att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS ? "always" :
			 att->attidentity == ATTRIBUTE_IDENTITY_BY_DEFAULT ? "by default" : NULL);
	appendStringInfoChar(out, '}');
}

/* --- unique keys --------------------------------------------------------- */

/* As CREATE INDEX writes it */
static char *
index_expression(Relation relation, Node *expression)
{
	char	   *text = flo_expression_text(RelationGetRelid(relation), expression);

	if (IsA(expression, FuncExpr) && ((FuncExpr *) expression)->funcformat == COERCE_EXPLICIT_CALL)
		return text;
	return psprintf("(%s)", text);
}

static List *
columns_of_index(Relation relation, HeapTuple tuple)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(tuple);
	List	   *columns = NIL;
	List	   *expressions = NIL;
	int			used = 0;
	bool		isnull;
	Datum		datum = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indexprs, &isnull);

	if (!isnull)
		expressions = castNode(List, stringToNode(TextDatumGetCString(datum)));
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		AttrNumber	attnum = form->indkey.values[i];

		if (attnum != 0)
			columns = lappend(columns,
							  pstrdup(quote_identifier(get_attname(RelationGetRelid(relation),
																   attnum, false))));
		else
			columns = lappend(columns, index_expression(relation, list_nth(expressions, used++)));
	}
	return columns;
}

/* NULL: the index is no key of the whole table */
static Key *
key_of(Relation relation, Oid index)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	Key		   *key = NULL;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	form = (Form_pg_index) GETSTRUCT(tuple);
	if (form->indisunique && form->indisvalid && heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
	{
		key = palloc(sizeof(Key));
		key->name = get_rel_name(index);
		key->primary = form->indisprimary;
		key->identity = form->indisreplident ||
			(form->indisprimary && relation->rd_rel->relreplident == REPLICA_IDENTITY_DEFAULT);
		key->columns = columns_of_index(relation, tuple);
	}
	ReleaseSysCache(tuple);
	return key;
}

static int
compare_keys(const ListCell *a, const ListCell *b)
{
	const Key  *left = lfirst(a);
	const Key  *right = lfirst(b);

	if (left->primary != right->primary)
		return left->primary ? -1 : 1;
	return strcmp(left->name, right->name);
}

static void
append_key(StringInfo out, const Key *key)
{
	ListCell   *cell;

	appendStringInfoChar(out, '{');
	put_text(out, "name", key->name);
	put_bool(out, "primary", key->primary);
	put_bool(out, "replica_identity", key->identity);
	appendStringInfoString(out, ", \"columns\": [");
	foreach(cell, key->columns)
	{
		appendStringInfoString(out, foreach_current_index(cell) > 0 ? ", " : "");
		escape_json(out, lfirst(cell));
	}
	appendStringInfoString(out, "]}");
}

static void
append_keys(StringInfo out, Relation relation)
{
	List	   *keys = NIL;
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(relation))
	{
		Key		   *key = key_of(relation, lfirst_oid(cell));

		if (key != NULL)
			keys = lappend(keys, key);
	}
	list_sort(keys, compare_keys);
	foreach(cell, keys)
	{
		appendStringInfoString(out, foreach_current_index(cell) > 0 ? ", " : "");
		append_key(out, lfirst(cell));
	}
}

/* --- the whole ----------------------------------------------------------- */

static const char *
kind_name(char kind)
{
	switch (kind)
	{
		case RELKIND_RELATION:
			return "table";
		case RELKIND_PARTITIONED_TABLE:
			return "partitioned table";
		case RELKIND_VIEW:
			return "view";
		case RELKIND_MATVIEW:
			return "materialized view";
		case RELKIND_FOREIGN_TABLE:
			return "foreign table";
		case RELKIND_COMPOSITE_TYPE:
			return "type";
		default:
			return psprintf("%c", kind);
	}
}

static const char *
identity_name(char identity)
{
	return identity == REPLICA_IDENTITY_DEFAULT ? "default" :
		identity == REPLICA_IDENTITY_NOTHING ? "nothing" :
		identity == REPLICA_IDENTITY_FULL ? "full" : "index";
}

void
flo_definition_append(StringInfo out, Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);
	const char *separator = "";

	appendStringInfoChar(out, '{');
	put_text(out, "schema", get_namespace_name(RelationGetNamespace(relation)));
	put_text(out, "table", RelationGetRelationName(relation));
	put_text(out, "kind", kind_name(relation->rd_rel->relkind));
	put_text(out, "replica_identity", identity_name(relation->rd_rel->relreplident));
	appendStringInfoString(out, ", \"columns\": [");
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		appendStringInfoString(out, separator);
		append_column(out, relation, TupleDescAttr(desc, i));
		separator = ", ";
	}
	appendStringInfoString(out, "], \"keys\": [");
	append_keys(out, relation);
	appendStringInfoString(out, "]}");
}
