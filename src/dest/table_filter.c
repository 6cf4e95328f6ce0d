/*
 * table_filter.c
 *		The worker's option "tables": which source tables' changes it takes.
 *
 * Names are compared once per definition of a table.  A TRUNCATE of several
 * tables is reduced to those that were chosen.
 */
#include "postgres.h"

#include "dest/table_filter.h"
#include "lib/stringinfo.h"

typedef struct TableEntry
{
	uint32		id;				/* hash key */
	char		status;			/* for simplehash */
	uint64		version;		/* of the FloRelation judged */
	bool		wanted;
} TableEntry;

#define FLO_BY_ID flo_wanted
#define FLO_BY_ID_ENTRY TableEntry
#include "core/byid.h"

struct FloTableFilter
{
	MemoryContext context;
	List	   *names;			/* schema, table, schema, table, ... */
	flo_wanted_hash *tables;

	/* a TRUNCATE that was reduced */
	FloChange	truncate;
	int			room;
};

/* Read "name" with its quotes; returns what follows */
static const char *
take_quoted(const char *at, StringInfo name)
{
	resetStringInfo(name);
	for (at++; *at != '\0'; at++)
	{
		if (*at == '"' && *++at != '"')
			break;
		appendStringInfoChar(name, *at);
	}
	return at;
}

FloTableFilter *
flo_table_filter_create(MemoryContext context, const char *names)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FloTableFilter *filter = palloc0(sizeof(FloTableFilter));
	StringInfoData name;

	filter->context = context;
	filter->tables = flo_wanted_create(context, 64, NULL);
	initStringInfo(&name);
	while (*names == '"')
	{
		names = take_quoted(names, &name);
		filter->names = lappend(filter->names, pstrdup(name.data));
		if (*names == '.' || *names == ',')
			names++;
	}
	MemoryContextSwitchTo(old);
	return filter;
}

bool
flo_table_filter_names(const FloTableFilter *filter, const char *schema, const char *table)
{
	if (filter == NULL)
		return true;
	for (int i = 0; i + 1 < list_length(filter->names); i += 2)
		if (strcmp(list_nth(filter->names, i), schema) == 0 &&
			strcmp(list_nth(filter->names, i + 1), table) == 0)
			return true;
	return false;
}

static bool
is_wanted(FloTableFilter *filter, const FloRelation *relation)
{
	bool		found;
	TableEntry *entry = flo_wanted_insert(filter->tables, relation->id, &found);

	if (!found || entry->version != relation->version)
	{
		entry->version = relation->version;
		entry->wanted = flo_table_filter_names(filter, relation->schema, relation->name);
	}
	return entry->wanted;
}

void
flo_table_filter_forget(FloTableFilter *filter, uint32 relation)
{
	if (filter != NULL)
		flo_wanted_delete(filter->tables, relation);
}

static const FloChange *
reduce_truncate(FloTableFilter *filter, const FloChange *change)
{
	FloChange  *result = &filter->truncate;
	FloTruncated *truncated = result->truncated;

	if (change->ntruncated > filter->room)
	{
		filter->room = change->ntruncated;
		truncated = MemoryContextAlloc(filter->context, filter->room * sizeof(FloTruncated));
	}
	*result = *change;
	result->truncated = truncated;
	result->ntruncated = 0;
	for (int i = 0; i < change->ntruncated; i++)
		if (is_wanted(filter, change->truncated[i].relation))
			truncated[result->ntruncated++] = change->truncated[i];
	return result->ntruncated > 0 ? result : NULL;
}

const FloChange *
flo_table_filter(FloTableFilter *filter, const FloChange *change)
{
	if (filter == NULL)
		return change;
	if (change->op == FLO_OP_TRUNCATE)
		return reduce_truncate(filter, change);
	return is_wanted(filter, change->relation) ? change : NULL;
}
