/*
 * definitions.c
 *		Tells destinations, through the state bucket, what the group's tables look
 *		like.
 *
 * flo.check() there compares before the first row, so it needs names of columns,
 * their types, keys, and nothing else: no row, no default, no expression.  What
 * has changed is learnt from the invalidations that every change of a table or of
 * a publication sends, so nothing is looked up while nothing changes.
 *
 * Tables lie in pieces, by OID modulo their number, each a value of some size: a
 * group may have thousands of tables, which one key each would make thousands of
 * requests for whoever reads them.  A piece is written when its text is another
 * than before; "lsn" in it, up to which it holds, is not part of that.
 *
 * Most relations of a database that change are none of the group's: temporary
 * tables, indexes, what VACUUM has counted.  Those are told apart first.
 *
 * Nothing depends on it.  A look takes tens of milliseconds, so it waits while there
 * is something to decode, for seconds at most; one that takes long is not repeated
 * for long, a broker without room is left alone, and no error of a name is one of the
 * group.
 */
#include "postgres.h"

#include "bus/records.h"
#include "bus/stream.h"
#include "common/hashfn.h"
#include "conf/choice.h"
#include "conf/sql.h"
#include "core/attempt.h"
#include "core/caches.h"
#include "core/clock.h"
#include "core/lsn.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "mb/pg_wchar.h"
#include "source/definitions.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

/* Bytes that a piece should have; a table more does not matter */
#define PIECE_SIZE (128 * 1024)

/* About so many bytes are a table and a column */
#define TABLE_SIZE 160
#define COLUMN_SIZE 70

/* Relations that are looked at by themselves; when more have changed, all are */
#define FEW 1024

/* What goes with a value to the broker, and more than that */
#define MESSAGE_OVERHEAD 1024

/* ms that a look waits while there is something else to do */
#define BUSY_PAUSE 10000

/* ms between two looks, and how many times as long as the last one took */
#define LOOK_INTERVAL 1000
#define LOOK_SHARE 50
#define LONGEST_PAUSE (600 * 1000)

struct FloDefinitions
{
	MemoryContext context;		/* of this */
	MemoryContext aside;		/* of one look */
	char	   *bucket;
	HTAB	   *told;			/* Oid: tables that are in the bucket */
	int			pieces;			/* 0 = none were written by this process */
	uint64	   *hashes;			/* of their texts, 0 = not known */
	uint64		head;			/* of what goes before */
	FloClock	waits;			/* since when a look waits; 0 = none does */
	FloClock	looked;
	int			pause;			/* ms */
};

/* One look */
typedef struct Look
{
	FloDefinitions *definitions;
	FloBus	   *bus;
	const FloReplicatorSpec *spec;
	bool		all;
	int			count;			/* of tables that have changed, else */
	Oid			relations[FEW];
	int			pieces;
	List	   *which;			/* ints: pieces that are looked at */
	char	  **texts;			/* of pieces; NULL = not looked at */
	List	   *roles;			/* of FloRoleShape * */
	XLogRecPtr	lsn;
} Look;

/*
 * What has changed since the last look.  Callbacks cannot be unregistered, and
 * a process has one group.
 */
static struct
{
	bool		all;
	int			count;
	Oid			relations[FEW];
	bool		removed;		/* a key of ours, from the bucket */
}			changed;

static void
relation_changed(Datum arg, Oid relation)
{
	if (changed.all || flo_caches_forgotten())
		return;
	for (int i = 0; i < changed.count; i++)
		if (changed.relations[i] == relation)
			return;
	if (!OidIsValid(relation) || changed.count == FEW)
		changed.all = true;
	else
		changed.relations[changed.count++] = relation;
}

FloDefinitions *
flo_definitions_create(const char *bucket)
{
	FloDefinitions *definitions = palloc0(sizeof(FloDefinitions));
	HASHCTL		control = {0};

	definitions->context = CurrentMemoryContext;
	definitions->aside = AllocSetContextCreate(CurrentMemoryContext, "pg_flo definitions",
											   ALLOCSET_DEFAULT_SIZES);
	definitions->bucket = pstrdup(bucket);
	control.keysize = control.entrysize = sizeof(Oid);
	control.hcxt = CurrentMemoryContext;
	definitions->told = hash_create("pg_flo tables told of", 64, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	changed.all = true;
	return definitions;
}

void
flo_definitions_look_at_all(FloDefinitions *definitions)
{
	changed.all = true;
}

void
flo_definitions_removed(const char *key)
{
	changed.removed |= strcmp(key, FLO_TABLES_KEY) == 0 ||
		strncmp(key, FLO_TABLES_KEY ".", strlen(FLO_TABLES_KEY ".")) == 0;
}

/* --- what there is ------------------------------------------------------- */

static int64
piece_size(const Look *look)
{
	return Min(PIECE_SIZE, flo_bus_max_payload(look->bus) / 4);
}

/* As many as the size of all wants; not fewer than there are, unless it is much too many */
static void
choose_pieces(Look *look)
{
	FloSqlSession sql;
	int64		size;
	int64		wanted = 1;
	int			now = look->definitions->pieces;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_SELECT, "SELECT tables, columns FROM flo.published_size($1)", 1,
				look->spec->group);
	size = strtoll(flo_sql_text(&sql, 0, 1), NULL, 10) * TABLE_SIZE +
		strtoll(flo_sql_text(&sql, 0, 2), NULL, 10) * COLUMN_SIZE;
	flo_sql_end(&sql);
	while (wanted < FLO_MAX_PIECES && wanted * piece_size(look) < size)
		wanted *= 2;
	look->pieces = wanted <= now && wanted * 4 >= now ? now : (int) wanted;
}

static void
choose_piece_of(Look *look, Oid relation)
{
	look->which = list_append_unique_int(look->which, (int) (relation % look->pieces));
}

/* Changed relations as text of an array, but for those that are told of: their pieces are chosen */
static char *
choose_told(Look *look)
{
	StringInfoData others;

	initStringInfo(&others);
	appendStringInfoChar(&others, '{');
	for (int i = 0; i < look->count; i++)
	{
		if (hash_search(look->definitions->told, &look->relations[i], HASH_FIND, NULL) != NULL)
			choose_piece_of(look, look->relations[i]);
		else
			appendStringInfo(&others, "%s%u", others.len > 1 ? "," : "", look->relations[i]);
	}
	appendStringInfoChar(&others, '}');
	return others.data;
}

/* Changed tables that were, or are, in the group lie in these pieces */
static void
choose_which(Look *look)
{
	FloSqlSession sql;
	char	   *others;
	uint64		rows;

	if (look->all)
	{
		for (int i = 0; i < look->pieces; i++)
			look->which = lappend_int(look->which, i);
		return;
	}
	others = choose_told(look);
	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT,
					   "SELECT r.prrelid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
					   " WHERE r.prrelid = ANY ($1::oid[]) AND p.pubname IN ($2, $3)",
					   3, others, flo_name_publication(look->spec->group),
					   flo_name_insert_publication(look->spec->group));
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(look->definitions->aside);

		choose_piece_of(look, flo_sql_oid(i, 1));
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
}

static char *
which_as_array(const Look *look)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	foreach(cell, look->which)
		appendStringInfo(&buf, "%s%d", foreach_current_index(cell) > 0 ? "," : "",
						 lfirst_int(cell));
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

/* The catalogs' JSON as the document that travels, but for its "lsn" */
static char *
format_piece(Look *look, const char *tables)
{
	char	   *json = psprintf("{\"version\":1,\"pieces\":%d,\"lsn\":\"0/0\",\"tables\":%s}",
								look->pieces, tables);
	FloTablesPiece *piece;
	ListCell   *cell;

	json = pg_server_to_any(json, strlen(json), PG_UTF8);
	piece = flo_record_read(&flo_tables_piece_format, FLO_TABLES_KEY, json, strlen(json));
	foreach(cell, piece->tables)
	{
		Oid			relation = ((FloTableShape *) lfirst(cell))->relation;

		(void) hash_search(look->definitions->told, &relation, HASH_ENTER, NULL);
	}
	return flo_record_write(&flo_tables_piece_format, piece);
}

static void
read_pieces(Look *look)
{
	FloSqlSession sql;
	MemoryContext old;
	uint64		rows;
	ListCell   *cell;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT,
					   "SELECT piece, tables FROM flo.published_definitions($1, $2::int, $3::int[], $4::bool)",
					   4, look->spec->group, psprintf("%d", look->pieces), which_as_array(look),
					   look->spec->options.schema_owner ? "t" : "f");
	for (uint64 i = 0; i < rows; i++)
	{
		int			piece = atoi(flo_sql_text(&sql, i, 1));
		char	   *tables = flo_sql_text(&sql, i, 2);

		old = MemoryContextSwitchTo(look->definitions->aside);
		look->texts[piece] = format_piece(look, tables);
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	foreach(cell, look->which)
		if (look->texts[lfirst_int(cell)] == NULL)
		look->texts[lfirst_int(cell)] = format_piece(look, "[]");
}

static char *
oids_as_array(List *oids)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	foreach(cell, oids)
		appendStringInfo(&buf, "%s%u", foreach_current_index(cell) > 0 ? "," : "",
						 lfirst_oid(cell));
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

/* Who has to be there before definitions are made that are theirs, or grant to them */
static void
read_roles(Look *look)
{
	const FloReplicatorOptions *options = &look->spec->options;
	FloTableOids covered;
	bool		all;
	FloSqlSession sql;
	MemoryContext old;
	char	   *json;
	FloTablesRecord *record;

	flo_choice_look_up(flo_store_table_choice(look->spec->group), &covered);
	all = flo_schema_takes_all(options, &covered);
	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_SELECT, "SELECT flo.definition_roles($1, $2::oid[], $3::bool, $4::bool, $5::bool, $6::bool)",
				6, look->spec->group, oids_as_array(all ? covered.schemas : NIL),
				all && covered.all ? "t" : "f", options->schema_owner ? "t" : "f",
				options->schema_privileges ? "t" : "f",
				all || options->schema_privileges ? "t" : "f");
	json = flo_sql_text(&sql, 0, 1);
	old = MemoryContextSwitchTo(look->definitions->aside);
	json = psprintf("{\"version\":1,\"mode\":\"\",\"sync_schema\":true,\"track_ddl\":true,\"pieces\":1,\"roles\":%s}",
					json);
	json = pg_server_to_any(json, strlen(json), PG_UTF8);
	record = flo_record_read(&flo_tables_format, FLO_TABLES_KEY, json, strlen(json));
	look->roles = record->roles;
	MemoryContextSwitchTo(old);
	flo_sql_end(&sql);
}

/* --- what is written ----------------------------------------------------- */

static uint64
hash_of(const char *text)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) text, (int) strlen(text), 0);

	return Max(hash, 1);
}

/* An earlier process may have written the same; the text without its "lsn", or NULL */
static char *
stored_piece(Look *look, int piece)
{
	char	   *key = flo_tables_key(piece);
	char	   *value = flo_bucket_get(look->bus, look->definitions->bucket, key);
	char	   *at = value != NULL ? strstr(value, "\"lsn\": \"") : NULL;
	char	   *end;

	if (at == NULL || (end = strchr(at + strlen("\"lsn\": \""), '"')) == NULL)
		return NULL;
	return psprintf("%.*s0/0%s", (int) (at + strlen("\"lsn\": \"") - value), value, end);
}

/* False when the broker has not taken it */
static bool
put(Look *look, const char *key, const char *value)
{
	return flo_bucket_try_put(look->bus, look->definitions->bucket, key, value);
}

/* What the broker takes in one message: else names of the tables alone, which are not compared */
static char *
fit(Look *look, const char *document)
{
	char	   *text = flo_record_ascii(document);
	FloTablesPiece *record;
	ListCell   *cell;

	if ((int64) strlen(text) + MESSAGE_OVERHEAD <= flo_bus_max_payload(look->bus))
		return text;
	record = flo_record_read(&flo_tables_piece_format, FLO_TABLES_KEY, text, strlen(text));
	foreach(cell, record->tables)
	{
		((FloTableShape *) lfirst(cell))->columns = NIL;
		((FloTableShape *) lfirst(cell))->keys = NIL;
	}
	text = flo_record_ascii(flo_record_write(&flo_tables_piece_format, record));
	if ((int64) strlen(text) + MESSAGE_OVERHEAD <= flo_bus_max_payload(look->bus))
		return text;
	record->tables = NIL;
	return flo_record_ascii(flo_record_write(&flo_tables_piece_format, record));
}

static bool
write_piece(Look *look, int piece)
{
	FloDefinitions *definitions = look->definitions;
	char	   *text = fit(look, look->texts[piece]);
	uint64		hash = hash_of(text);
	char	   *stored = definitions->hashes[piece] == 0 ? stored_piece(look, piece) : NULL;
	char	   *lsn = strstr(text, "\"lsn\": \"0/0\"");

	if (definitions->hashes[piece] == hash || (stored != NULL && strcmp(stored, text) == 0))
	{
		definitions->hashes[piece] = hash;
		return true;
	}
	Assert(lsn != NULL);
	text = psprintf("%.*s\"lsn\": \"%X/%X\"%s", (int) (lsn - text), text,
					LSN_FORMAT_ARGS(look->lsn), lsn + strlen("\"lsn\": \"0/0\""));
	if (!put(look, flo_tables_key(piece), text))
		return false;
	definitions->hashes[piece] = hash;
	return true;
}

static const char *
mode_name(FloMode mode)
{
	return mode == FLO_MODE_STREAM ? "stream" : mode == FLO_MODE_COPY ? "copy" : "copy_and_stream";
}

/* The last to be written: pieces that are not as many as it says are nobody's */
static bool
write_head(Look *look)
{
	FloTablesRecord record = {0};
	char	   *text;
	uint64		hash;

	record.mode = unconstify(char *, mode_name(look->spec->mode));
	record.sync_schema = look->spec->sync_schema;
	record.schema_owner = look->spec->options.schema_owner;
	record.track_ddl = look->spec->track_ddl;
	record.pieces = look->pieces;
	record.roles = look->roles;
	text = flo_record_ascii(flo_record_write(&flo_tables_format, &record));
	if ((int64) strlen(text) + MESSAGE_OVERHEAD > flo_bus_max_payload(look->bus))
	{
		record.roles = NIL;
		text = flo_record_ascii(flo_record_write(&flo_tables_format, &record));
	}
	hash = hash_of(text);
	if (hash == look->definitions->head)
		return true;
	if (look->definitions->head == 0)
	{
		char	   *stored = flo_bucket_get(look->bus, look->definitions->bucket, FLO_TABLES_KEY);

		if (stored != NULL && strcmp(stored, text) == 0)
		{
			look->definitions->head = hash;
			return true;
		}
	}
	if (!put(look, FLO_TABLES_KEY, text))
		return false;
	look->definitions->head = hash;
	return true;
}

/* Those of a time when there were more */
static void
remove_others(Look *look)
{
	ListCell   *cell;

	foreach(cell, flo_bucket_keys(look->bus, look->definitions->bucket, FLO_TABLES_KEY "."))
	{
		const char *key = lfirst(cell);

		if (atoi(key + strlen(FLO_TABLES_KEY ".")) >= look->pieces)
			flo_bucket_remove(look->bus, look->definitions->bucket, key);
	}
}

/* --- a look -------------------------------------------------------------- */

/* What was written may not be there any more; where it is, it is not written again */
static void
forget_written(FloDefinitions *definitions)
{
	definitions->head = 0;
	if (definitions->hashes != NULL)
		memset(definitions->hashes, 0, definitions->pieces * sizeof(uint64));
	changed.removed = false;
	changed.all = true;
}

static bool
write_all(Look *look)
{
	FloDefinitions *definitions = look->definitions;
	bool		recut = definitions->pieces != look->pieces;
	ListCell   *cell;

	if (recut)
	{
		if (definitions->hashes != NULL)
			pfree(definitions->hashes);
		definitions->hashes = MemoryContextAllocZero(definitions->context,
													 look->pieces * sizeof(uint64));
		definitions->pieces = look->pieces;
	}
	foreach(cell, look->which)
		if (!write_piece(look, lfirst_int(cell)))
		return false;
	if (!write_head(look))
		return false;
	if (recut)
		remove_others(look);
	return true;
}

/* In an attempt: a table may be dropped while it is looked at */
static void
read_all(void *arg)
{
	Look	   *look = arg;

	if (look->all)
		choose_pieces(look);
	choose_which(look);
	if (look->which == NIL)
		return;
	look->texts = palloc0(look->pieces * sizeof(char *));
	read_pieces(look);
	if (look->spec->sync_schema)
		read_roles(look);
	/* who has read up to here has read of all that was seen */
	look->lsn = flo_lsn_of_written();
}

static bool
look_at(Look *look)
{
	MemoryContext old = flo_transaction_begin();
	ErrorData  *error;

	MemoryContextSwitchTo(look->definitions->aside);
	error = flo_attempt(read_all, look, true);
	if (error != NULL)
		ereport(DEBUG1,
				(errmsg_internal("definitions of group \"%s\" are looked at again: %s",
								 look->spec->group, error->message)));
	flo_transaction_end(old);
	return error == NULL && (look->which == NIL || write_all(look));
}

/* Is something to be looked at, and is it time? */
static bool
is_due(FloDefinitions *definitions, bool busy)
{
	if ((!changed.all && !changed.removed && changed.count == 0) ||
		(definitions->pause > 0 && !flo_clock_passed(definitions->looked, definitions->pause)))
		return false;
	if (definitions->waits == 0)
		definitions->waits = flo_clock();
	return !busy || flo_clock_passed(definitions->waits, BUSY_PAUSE);
}

void
flo_definitions_publish(FloDefinitions *definitions, FloBus *bus, const FloReplicatorSpec *spec,
						bool busy)
{
	Look		look = {0};
	FloClock	begun;
	MemoryContext old;

	if (!is_due(definitions, busy))
		return;
	definitions->waits = 0;
	begun = flo_clock();
	if (changed.removed)
		forget_written(definitions);
	old = MemoryContextSwitchTo(definitions->aside);
	look.definitions = definitions;
	look.bus = bus;
	look.spec = spec;
	look.all = changed.all || definitions->pieces == 0;
	look.pieces = definitions->pieces;
	look.count = changed.count;
	memcpy(look.relations, changed.relations, sizeof(look.relations));
	/* what changes from here on is another change */
	changed.all = false;
	changed.count = 0;
	if (!look_at(&look))
		changed.all = true;
	MemoryContextSwitchTo(old);
	MemoryContextReset(definitions->aside);
	definitions->looked = flo_clock();
	definitions->pause = LOOK_INTERVAL +
		(int) Min(flo_clock_since(begun) * LOOK_SHARE, LONGEST_PAUSE);
}
