/*
 * row_tables.c
 *		What the decoder knows of the tables whose rows it sends.
 *
 * How a row travels, and whether pgoutput has to be asked to write it.  pgoutput
 * decides what is sent: which operations of a table, all rows or those of a filter,
 * which columns, as which table.  That need not be decided once more here: it can
 * be seen.  When pgoutput has sent a row of a table under the table's own number,
 * with all its columns, and no publication has a filter or a list for it, then the
 * next row of this operation will be sent alike, until something changes.  What
 * must come before it, the description of the table, has been sent as well, in
 * this process's life or in this piece of a transaction in progress.
 *
 * So the first row goes to pgoutput and those that follow to row_writer.c.  What
 * makes pgoutput think again makes us ask it again; whatever else we cannot be
 * sure of, too.
 *
 * Callbacks for changes come in the midst of anything: they only leave a mark.
 */
#include "postgres.h"

#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "core/compat_slot.h"
#include "core/compat_table.h"
#include "core/settings.h"
#include "port/pg_bswap.h"
#include "source/portable.h"
#include "source/row_tables.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "wire/change.h"

typedef struct RowTableEntry
{
	uint32		id;				/* hash key */
	char		status;			/* for simplehash */
	FloRowTable *table;
} RowTableEntry;

#define FLO_BY_ID row_tables
#define FLO_BY_ID_ENTRY RowTableEntry
#include "core/byid.h"

/* Operations, as bits of FloRowTable.sent */
#define SENT_INSERT	0x01
#define SENT_UPDATE	0x02
#define SENT_DELETE	0x04

/* Where the count of columns stands in a message, and the kind of the first row */
#define COUNT_AT	6

/* A table by the file its rows are in */
typedef struct FileOfTable
{
	uint64		looked;			/* the table's, when it was kept; 0: never */
	Oid			space;
	Oid			number;
	FloRowTable *table;
	Relation	relation;
} FileOfTable;

/* Where a file may stand in the array, the newer one first */
#define FILE_BITS	9
#define FILE_WAYS	2

/* The callbacks carry no argument of ours */
static struct
{
	MemoryContext context;
	row_tables_hash *tables;
	FloRowTable *last;
	FileOfTable *files;
	uint64		changes;		/* of anything */
	uint64		all_changes;	/* of what may concern any table */
	uint64		type_changes;	/* of types and functions */
	uint64		looked;			/* how often a table was looked at */
}			known;

/* --- changes ------------------------------------------------------------- */

void
flo_row_tables_changed(void)
{
	known.changes++;
	known.all_changes++;
}

static void
relation_changed(Datum arg, Oid relation)
{
	RowTableEntry *entry;

	known.changes++;
	if (!OidIsValid(relation))
		known.all_changes++;
	else if ((entry = row_tables_lookup(known.tables, relation)) != NULL)
		entry->table->changed = true;
}

static void
publications_changed(Datum arg, int cache, uint32 hash)
{
	flo_row_tables_changed();
}

/*
 * A schema got another name, and with it all its tables, of which the server says
 * nothing.  Before version 16 the plugin goes on to send their rows under the name
 * that it has told of, which may be another schema's by now.
 */
static void
schemas_changed(Datum arg, int cache, uint32 hash)
{
	flo_row_tables_changed();
	CallSyscacheCallbacks(PUBLICATIONRELMAP, 0);
}

static void
types_changed(Datum arg, int cache, uint32 hash)
{
	known.type_changes++;
}

uint64
flo_row_tables_changes(void)
{
	return known.changes;
}

/* --- tables -------------------------------------------------------------- */

static void
begin(MemoryContext parent)
{
	known.context = AllocSetContextCreate(parent, "pg_flo row formats", ALLOCSET_DEFAULT_SIZES);
	known.tables = row_tables_create(known.context, 64, NULL);
	known.files = MemoryContextAllocZero(known.context,
										 (FILE_WAYS << FILE_BITS) * sizeof(FileOfTable));
	known.last = NULL;
	flo_row_tables_changed();
}

void
flo_row_tables_init(void)
{
	Assert(known.context == NULL);
	begin(CurrentMemoryContext);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schemas_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PUBLICATIONOID, publications_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PUBLICATIONRELMAP, publications_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PUBLICATIONNAMESPACEMAP, publications_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, types_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, types_changed, (Datum) 0);
	flo_compat_register_relsync(relation_changed);
}

void
flo_row_tables_forget(void)
{
	MemoryContext parent = MemoryContextGetParent(known.context);

	MemoryContextDelete(known.context);
	begin(parent);
}

Size
flo_row_tables_memory(void)
{
	return MemoryContextMemAllocated(known.context, true);
}

static inline bool
is_current(const FloRowTable *table)
{
	return !table->changed && table->all_changes == known.all_changes &&
		(table->writer == NULL || table->type_changes == known.type_changes ||
		 !flo_row_writer_uses_user_types(table->writer));
}

static void
look_at(FloRowTable *table, Relation relation, const FloTableChoice *choice)
{
	FloRowWriter *writer = table->writer;

	memset(table, 0, sizeof(*table));
	if (writer != NULL)
		flo_row_writer_free(writer);
	table->relation = RelationGetRelid(relation);
	table->looked = ++known.looked;

	/* before looking, which may notice the next change */
	table->all_changes = known.all_changes;
	table->type_changes = known.type_changes;
	table->binary = flo_relation_is_portable(relation);
	table->left_out = choice != NULL && flo_choice_excepts(choice, table->relation);
}

FloRowTable *
flo_row_table(Relation relation, const FloTableChoice *choice)
{
	Oid			id = RelationGetRelid(relation);

	if (known.last == NULL || known.last->relation != id)
	{
		bool		found;
		RowTableEntry *entry = row_tables_insert(known.tables, id, &found);

		if (!found)
		{
			entry->table = MemoryContextAllocZero(known.context, sizeof(FloRowTable));
			entry->table->changed = true;
		}
		known.last = entry->table;
	}
	if (unlikely(!is_current(known.last)))
		look_at(known.last, relation, choice);
	return known.last;
}

/* --- files --------------------------------------------------------------- */

/*
 * The server finds the table of a file, and what it has of the table, in two caches of its
 * own, which lose that only when it hears that the table has changed, or all may have; and
 * we are told so as well, before anybody looks again.  So nothing is found here that would
 * not be found there, as of the same time.  Nobody holds the table meanwhile: one that was
 * held would not be lost but be looked up anew, as it is now where that was heard between
 * two transactions that are decoded.
 */
static inline FileOfTable *
files_at(Oid number)
{
	return &known.files[((uint32) number * 0x9E3779B1U >> (32 - FILE_BITS)) * FILE_WAYS];
}

FloRowTable *
flo_row_table_of(const ReorderBufferChange *change, Relation *relation)
{
	Oid			space;
	Oid			number;
	FileOfTable *file;

	flo_compat_changed_file(change, &space, &number);
	file = files_at(number);
	for (int i = 0; i < FILE_WAYS; i++, file++)
	{
		if (file->number != number || file->space != space)
			continue;
		if (file->looked != file->table->looked || !is_current(file->table))
			return NULL;
		*relation = file->relation;
		return file->table;
	}
	return NULL;
}

void
flo_row_table_keep(const ReorderBufferChange *change, Relation relation, uint64 changes)
{
#ifndef RELCACHE_FORCE_RELEASE	/* where the server loses what nobody holds */
	RowTableEntry *entry = row_tables_lookup(known.tables, RelationGetRelid(relation));
	FileOfTable file = {.relation = relation};
	FileOfTable *at;

	if (entry == NULL || changes != known.changes)
		return;
	file.table = entry->table;
	file.looked = entry->table->looked;
	flo_compat_changed_file(change, &file.space, &file.number);
	at = files_at(file.number);
	if (at->number != file.number || at->space != file.space)
		memmove(at + 1, at, (FILE_WAYS - 1) * sizeof(*at));
	*at = file;
#endif
}

/* --- writing rows here --------------------------------------------------- */

/* Does a publication say more of the table than that it is in it? */
static bool
has_filter_or_list(Oid relation, List *publications)
{
	ListCell   *lc;
	bool		has = false;

	foreach(lc, publications)
	{
		Publication *publication = lfirst(lc);
		HeapTuple	tuple = SearchSysCache2(PUBLICATIONRELMAP, ObjectIdGetDatum(relation),
											ObjectIdGetDatum(publication->oid));
		bool		isnull;

		if (!HeapTupleIsValid(tuple))
			continue;
		(void) SysCacheGetAttr(PUBLICATIONRELMAP, tuple, Anum_pg_publication_rel_prqual, &isnull);
		has |= !isnull;
		(void) SysCacheGetAttr(PUBLICATIONRELMAP, tuple, Anum_pg_publication_rel_prattrs, &isnull);
		has |= !isnull;
		ReleaseSysCache(tuple);
	}
	return has;
}

static FloRowWriter *
create_writer(const FloRowTable *table, Relation relation)
{
	MemoryContext old = MemoryContextSwitchTo(known.context);
	FloRowWriter *writer = flo_row_writer_create(RelationGetDescr(relation), NULL,
												 FLO_SENDS_GENERATED, table->binary);

	MemoryContextSwitchTo(old);
	return writer;
}

static uint8
bit_of(char op)
{
	return op == FLO_OP_INSERT ? SENT_INSERT : op == FLO_OP_UPDATE ? SENT_UPDATE : SENT_DELETE;
}

void
flo_row_table_note(FloRowTable *table, Relation relation, List *publications, uint64 piece,
				   const char *message)
{
	uint32		id;
	uint16		count;

	if (table->refused || flo_row_writer == FLO_ROW_WRITER_OFF)
		return;
	memcpy(&id, message + 1, sizeof(id));
	memcpy(&count, message + COUNT_AT, sizeof(count));
	if (table->writer == NULL)
	{
		table->refused = pg_ntoh32(id) != table->relation ||
			has_filter_or_list(table->relation, publications);
		if (!table->refused)
			table->writer = create_writer(table, relation);
		if (table->writer != NULL && flo_row_writer == FLO_ROW_WRITER_CHECK)
			ereport(LOG,
					(errmsg("rows of table \"%s\" are compared with those of pgoutput",
							RelationGetRelationName(relation))));
	}
	if (table->writer == NULL || pg_ntoh16(count) != flo_row_writer_columns(table->writer))
	{
		table->refused = true;
		return;
	}
	table->sent |= bit_of(message[0]);
	if (piece == 0)
		table->described = true;
	else
		table->piece = piece;
}

bool
flo_row_table_writes(const FloRowTable *table, const ReorderBufferChange *change, uint64 piece)
{
	if (table->writer == NULL || table->refused || flo_row_writer == FLO_ROW_WRITER_OFF ||
		(piece == 0 ? !table->described : table->piece != piece))
		return false;
	switch (change->action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			return table->sent & SENT_INSERT;
		case REORDER_BUFFER_CHANGE_UPDATE:
			return table->sent & SENT_UPDATE;
		case REORDER_BUFFER_CHANGE_DELETE:
			return (table->sent & SENT_DELETE) && change->data.tp.oldtuple != NULL;
		default:
			return false;
	}
}
