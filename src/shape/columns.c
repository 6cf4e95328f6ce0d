/*
 * columns.c
 *		The source columns that the rules of one table need.
 *
 * Rules are compiled against columns by name and type; where these stand in a
 * row is found anew, without catalogs, whenever the source describes the table
 * anew.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "shape/columns.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

int
flo_relation_column(const FloRelation *relation, const char *name)
{
	for (int i = 0; i < relation->natts; i++)
		if (strcmp(relation->columns[i].name, name) == 0)
			return i;
	return -1;
}

/* The collation of the column in the local table, if it has this type there */
static Oid
local_collation(const FloShapeColumns *columns, const char *name, Oid type)
{
	HeapTuple	tuple;
	Oid			collation = InvalidOid;

	if (!OidIsValid(columns->local))
		return InvalidOid;
	for (int i = 0; columns->route != NULL && i < columns->route->nmappings; i++)
		if (strcmp(columns->route->mappings[i].source, name) == 0)
		{
			name = columns->route->mappings[i].destination;
			break;
		}
	if (name == NULL)
		return InvalidOid;
	tuple = SearchSysCacheAttName(columns->local, name);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);

		if (getBaseType(att->atttypid) == type)
			collation = att->attcollation;
		ReleaseSysCache(tuple);
	}
	return collation;
}

static char *
copy_text(const char *text)
{
	return text != NULL ? pstrdup(text) : NULL;
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

int
flo_columns_need(FloShapeColumns *columns, const char *name)
{
	const FloColumn *source;
	FloShapeColumn *column;
	MemoryContext old;
	int			index;

	for (int i = 0; i < columns->count; i++)
		if (strcmp(columns->items[i].name, name) == 0)
			return i;
	index = flo_relation_column(columns->relation, name);
	if (index < 0)
		return -1;

	/* expressions keep pointers to nothing in here, only numbers */
	old = MemoryContextSwitchTo(columns->context);
	if (columns->count == columns->room)
	{
		columns->room = Max(8, columns->room * 2);
		columns->items = columns->items == NULL ?
			palloc(columns->room * sizeof(FloShapeColumn)) :
			repalloc(columns->items, columns->room * sizeof(FloShapeColumn));
	}
	source = &columns->relation->columns[index];
	column = &columns->items[columns->count];
	memset(column, 0, sizeof(FloShapeColumn));
	column->name = pstrdup(name);
	column->source_type = source->type;
	column->type_schema = copy_text(source->type_schema);
	column->type_name = copy_text(source->type_name);
	column->index = index;
	column->is_key = source->is_key;
	flo_reader_init(&column->reader, source, InvalidOid);
	if (OidIsValid(column->reader.type))
	{
		Oid			collation = local_collation(columns, name, column->reader.type);

		if (OidIsValid(collation))
			column->reader.collation = collation;
	}
	MemoryContextSwitchTo(old);
	return columns->count++;
}

bool
flo_columns_bind(FloShapeColumns *columns, const FloRelation *relation)
{
	for (int i = 0; i < columns->count; i++)
	{
		FloShapeColumn *column = &columns->items[i];
		int			index = flo_relation_column(relation, column->name);
		const FloColumn *source;

		if (index < 0)
			return false;
		source = &relation->columns[index];
		if (source->type != column->source_type ||
			!same_text(source->type_schema, column->type_schema) ||
			!same_text(source->type_name, column->type_name))
			return false;
		column->index = index;
		column->is_key = source->is_key;
	}
	return true;
}
