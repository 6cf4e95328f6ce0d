/*
 * archive.c
 *		Reads the table of contents of an archive of pg_dump's custom format.
 *
 * It is what pg_restore reads: each entry with the object's OID, its name as it
 * is, the statements that make it and what it needs.  The script that pg_dump
 * writes else says all of that as text, in which a name or a function's body
 * may look like anything.
 *
 * The format has been the same since PostgreSQL 15 but for the marks below, by
 * which an archive says what it holds.  Numbers are a sign and bytes, lowest
 * first; texts a length and bytes.  Without rows, the table of contents is all
 * there is.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "source/archive.h"
#include "utils/memutils.h"

#define MAGIC "PGDMP"
#define CUSTOM_FORMAT 1

/* Versions of the format: 14.0, 16.0 and 17.0 began them */
#define VERSION(major, minor) ((major) * 256 + (minor))
#define OLDEST VERSION(1, 14)
#define WITH_ALGORITHM VERSION(1, 15)
#define WITH_RELKIND VERSION(1, 16)
#define NEWEST VERSION(1, 16)

#define BUFFER_SIZE 65536

struct FloArchive
{
	FloArchiveRead read;
	void	   *arg;
	int			version;
	int			int_size;
	int			offset_size;
	int			left;			/* entries */

	/* read ahead */
	char		buffer[BUFFER_SIZE];
	Size		filled;
	Size		taken;
};

static void
report_malformed(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("what pg_dump wrote is not an archive that can be read: %s", what),
			 errhint("pg_dump should be of this server's version, see pg_flo.pg_dump_path.")));
}

static void
take(FloArchive *archive, void *to, Size size)
{
	while (size > 0)
	{
		Size		part;

		if (archive->taken == archive->filled)
		{
			archive->filled = archive->read(archive->arg, archive->buffer, BUFFER_SIZE);
			archive->taken = 0;
			if (archive->filled == 0)
				report_malformed("it ends too early");
		}
		part = Min(size, archive->filled - archive->taken);
		if (to != NULL)
		{
			memcpy(to, archive->buffer + archive->taken, part);
			to = (char *) to + part;
		}
		archive->taken += part;
		size -= part;
	}
}

static int
take_byte(FloArchive *archive)
{
	unsigned char byte;

	take(archive, &byte, 1);
	return byte;
}

static int
take_int(FloArchive *archive)
{
	bool		negative = take_byte(archive) != 0;
	int64		value = 0;

	for (int i = 0; i < archive->int_size; i++)
		value |= (int64) take_byte(archive) << (8 * i);
	if (value < 0 || value > PG_INT32_MAX)
		report_malformed("a number is out of bounds");
	return negative ? -(int) value : (int) value;
}

/* NULL for none */
static char *
take_text_or_none(FloArchive *archive)
{
	int			len = take_int(archive);
	char	   *text;

	if (len < 0)
		return NULL;
	if (!AllocSizeIsValid((Size) len + 1))
		report_malformed("a text is too long");
	text = palloc((Size) len + 1);
	take(archive, text, len);
	text[len] = '\0';
	return text;
}

static char *
take_text(FloArchive *archive)
{
	char	   *text = take_text_or_none(archive);

	return text != NULL ? text : pstrdup("");
}

static Oid
take_oid(FloArchive *archive)
{
	return (Oid) strtoul(take_text(archive), NULL, 10);
}

static void
skip_head(FloArchive *archive)
{
	if (archive->version >= WITH_ALGORITHM)
		(void) take_byte(archive);	/* of compression */
	else
		(void) take_int(archive);	/* its level */
	for (int i = 0; i < 7; i++)
		(void) take_int(archive);	/* when it was made */
	for (int i = 0; i < 3; i++)
		(void) take_text(archive);	/* database, its version, pg_dump's */
}

FloArchive *
flo_archive_open(FloArchiveRead read, void *arg)
{
	FloArchive *archive = palloc0(sizeof(FloArchive));
	char		magic[sizeof(MAGIC) - 1];

	archive->read = read;
	archive->arg = arg;
	take(archive, magic, sizeof(magic));
	if (memcmp(magic, MAGIC, sizeof(magic)) != 0)
		report_malformed("it does not begin like one");
	archive->version = VERSION(take_byte(archive), 0);
	archive->version += take_byte(archive);
	(void) take_byte(archive);	/* revision */
	if (archive->version < OLDEST || archive->version > NEWEST)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("pg_dump writes archives of format %d.%d, which this version of pg_flo does not know",
						archive->version / 256, archive->version % 256),
				 errhint("pg_dump should be of this server's version, see pg_flo.pg_dump_path.")));
	archive->int_size = take_byte(archive);
	archive->offset_size = take_byte(archive);
	if (archive->int_size > sizeof(int64) || take_byte(archive) != CUSTOM_FORMAT)
		report_malformed("it is of another kind");
	skip_head(archive);
	archive->left = take_int(archive);
	return archive;
}

static List *
take_needs(FloArchive *archive)
{
	List	   *needs = NIL;
	char	   *id;

	while ((id = take_text_or_none(archive)) != NULL)
		needs = lappend_int(needs, atoi(id));
	return needs;
}

FloArchiveEntry *
flo_archive_next(FloArchive *archive)
{
	FloArchiveEntry *entry;

	if (archive->left <= 0)
		return NULL;
	archive->left--;
	entry = palloc0(sizeof(FloArchiveEntry));
	entry->id = take_int(archive);
	(void) take_int(archive);	/* had rows */
	entry->class = take_oid(archive);
	entry->object = take_oid(archive);
	entry->name = take_text(archive);
	entry->kind = take_text(archive);
	entry->section = take_int(archive);
	entry->command = take_text(archive);
	entry->drop = take_text(archive);
	(void) take_text(archive);	/* COPY */
	entry->schema = take_text(archive);
	(void) take_text(archive);	/* tablespace */
	entry->access_method = take_text(archive);
	if (archive->version >= WITH_RELKIND)
		entry->relkind = (char) take_int(archive);
	entry->owner = take_text(archive);
	(void) take_text(archive);	/* WITH OIDS, long gone */
	entry->needs = take_needs(archive);
	take(archive, NULL, 1 + archive->offset_size);	/* where its rows are */
	(void) pg_verify_mbstr(GetDatabaseEncoding(), entry->command, strlen(entry->command), false);
	return entry;
}
