/*
 * compare_tables.c
 *		What is compared: tables as they are published, described before a snapshot
 *		is taken and still the same under it.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "nodes/bitmapset.h"
#include "source/compare.h"
#include "source/copy.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static FloCompareTable *
table_of(List *tables, Oid published)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		if (((FloCompareTable *) lfirst(cell))->plan.relation == published)
			return lfirst(cell);
	}
	return NULL;
}

/* --- before -------------------------------------------------------------- */

typedef struct Describing
{
	const List *wanted;
	List	   *tables;
} Describing;

static void
note_part(void *arg, const FloCopyRelation *listed)
{
	Describing *d = arg;
	FloCompareTable *table = table_of(d->tables, listed->published);
	FloComparePart *part;

	if (!list_member_oid(d->wanted, listed->published))
		return;
	if (table == NULL)
	{
		table = palloc0(sizeof(FloCompareTable));
		table->plan.relation = listed->published;
		d->tables = lappend(d->tables, table);
	}
	part = palloc0(sizeof(FloComparePart));
	part->relation = listed->relation;
	part->filenode = listed->filenode;
	table->parts = lappend(table->parts, part);
}

static char *
hexadecimal(const char *data, int len)
{
	char	   *text = palloc(len * 2 + 1);

	text[hex_encode(data, len, text)] = '\0';
	return text;
}

/* Are all of these attributes among the relation's columns as they are sent? */
static List *
sent_names(Relation rel, const FloRelation *sent, const Bitmapset *attributes)
{
	List	   *names = NIL;
	int			k = -1;

	while ((k = bms_next_member(attributes, k)) >= 0)
	{
		AttrNumber	number = k + FirstLowInvalidHeapAttributeNumber;
		const char *name;
		bool		found = false;

		if (number <= 0)
			return NIL;
		name = NameStr(TupleDescAttr(RelationGetDescr(rel), number - 1)->attname);
		for (int i = 0; i < sent->natts; i++)
			found |= strcmp(sent->columns[i].name, name) == 0;
		if (!found)
			return NIL;
		names = lappend(names, pstrdup(name));
	}
	return names;
}

/*
 * Rows are the same row when these columns are the same: those by which changes find
 * them; where that is the whole row, those of a primary key
 */
static List *
key_names(Relation rel, const FloRelation *sent)
{
	List	   *names = NIL;

	if (sent->identity == REPLICA_IDENTITY_FULL)
		return sent_names(rel, sent,
						  RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY));
	for (int i = 0; i < sent->natts; i++)
	{
		if (sent->columns[i].is_key)
			names = lappend(names, pstrdup(sent->columns[i].name));
	}
	return names;
}

static void
describe(FloTableReader *reader, FloCompareTable *table)
{
	FloReading	reading;
	double		rows = 0;
	ListCell   *cell;

	foreach(cell, table->parts)
	{
		FloComparePart *part = lfirst(cell);
		BlockNumber pages;

		flo_reading_begin(reader, &reading, part->relation, table->plan.relation, part->filenode);
		pages = RelationGetNumberOfBlocks(reading.relation);
		rows += flo_copy_estimate_rows(reading.relation, pages);
		table->plan.bytes += ((int64) pages + flo_copy_toast_pages(reading.relation)) * BLCKSZ;
		if (table->plan.description == NULL)
		{
			const FloRelation *sent = flo_reading_description(reader, &reading);

			table->description = flo_compare_description_hash(reading.description,
															  reading.description_len);
			table->plan.description = hexadecimal(reading.description, reading.description_len);
			table->plan.schema = pstrdup(sent->schema);
			table->plan.table = pstrdup(sent->name);
			for (int i = 0; i < sent->natts; i++)
				table->plan.columns = lappend(table->plan.columns, pstrdup(sent->columns[i].name));
			table->plan.keys = key_names(reading.published, sent);
		}
		flo_reading_end(&reading);
	}
	table->plan.rows = (int64) rows;
	table->plan.buckets = flo_digest_buckets_for(rows);
}

List *
flo_compare_describe(const char *group, MemoryContext context, const List *tables)
{
	MemoryContext old = CurrentMemoryContext;
	FloTableReader reader;
	Describing	describing = {.wanted = tables};
	ListCell   *cell;

	flo_table_reader_open(&reader, old, group, "comparison", true);
	MemoryContextSwitchTo(context);
	flo_copy_each_relation(group, note_part, &describing);
	foreach(cell, describing.tables)
		describe(&reader, lfirst(cell));
	MemoryContextSwitchTo(old);
	return describing.tables;
}

/* --- under the snapshot -------------------------------------------------- */

typedef struct Locking
{
	FloCompareAttempt *attempt;
	int			parts;			/* that are still there */
} Locking;

/* A part that was attached or made since then is none of the plan's, and counts */
static void
lock_part(void *arg, const FloCopyRelation *listed)
{
	Locking    *l = arg;
	FloCompareTable *table = table_of(l->attempt->tables, listed->published);
	ListCell   *cell;

	if (table == NULL)
		return;
	if (listed->published != listed->relation)
		relation_close(flo_copy_lock_relation(listed->published, InvalidOid,
											  listed->published_shape), NoLock);
	relation_close(flo_copy_lock_relation(listed->relation, listed->filenode, listed->shape),
				   NoLock);
	foreach(cell, table->parts)
	{
		FloComparePart *part = lfirst(cell);

		if (part->relation != listed->relation)
			continue;
		part->filenode = listed->filenode;
		l->parts++;
		return;
	}
	l->parts = PG_INT32_MIN;
}

void
flo_compare_lock(FloCompareAttempt *a)
{
	Locking		locking = {.attempt = a};
	int			parts = 0;
	ListCell   *cell;

	flo_copy_each_relation(a->group, lock_part, &locking);
	foreach(cell, a->tables)
		parts += list_length(((FloCompareTable *) lfirst(cell))->parts);
	if (locking.parts != parts)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a table got other partitions, or left the group, while the comparison began: it begins again")));
}
