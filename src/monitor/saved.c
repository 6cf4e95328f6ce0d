/*
 * saved.c
 *		What shared memory knows is kept from an orderly stop of the server to its
 *		next start.
 *
 * After a crash or an immediate stop it begins with nothing, as with the server's
 * own statistics: nobody knows what somebody was writing just then.  Nothing but
 * numbers, words and events depends on it.
 */
#include "postgres.h"

#include <unistd.h>

#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "miscadmin.h"
#include "monitor/shmem.h"
#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#define SAVED_FILE PGSTAT_STAT_PERMANENT_DIRECTORY "/pg_flo.stat"

/*
 * Of this very layout, and as it was written: anything else is not read.  Entries
 * follow, then events, then the checksum of all that.
 */
typedef struct SavedHeader
{
	uint32		magic;
	uint32		entry_size;
	uint32		event_size;
	uint32		entries;
	uint32		events;
	int64		last_event;
} SavedHeader;

#define SAVED_MAGIC 0x464C0003

/* What is saved and filled */
static FloShared *shared;

static void
complain(const char *what)
{
	ereport(LOG,
			(errcode_for_file_access(),
			 errmsg("could not %s file \"%s\": %m", what, SAVED_FILE)));
}

static bool
write_part(FILE *file, const void *part, size_t size, pg_crc32c *sum)
{
	COMP_CRC32C(*sum, part, size);
	return fwrite(part, size, 1, file) == 1;
}

static bool
write_all(FILE *file)
{
	SavedHeader header;
	pg_crc32c	sum;

	memset(&header, 0, sizeof(header));
	header.magic = SAVED_MAGIC;
	header.entry_size = sizeof(FloEntry);
	header.event_size = sizeof(FloEvent);
	header.last_event = shared->last_event;
	for (int i = 0; i < shared->nentries; i++)
		header.entries += shared->entries[i].in_use;
	for (int i = 0; i < FLO_EVENTS; i++)
		header.events += OidIsValid(shared->events[i].database);
	INIT_CRC32C(sum);
	if (!write_part(file, &header, sizeof(header), &sum))
		return false;
	for (int i = 0; i < shared->nentries; i++)
		if (shared->entries[i].in_use &&
			!write_part(file, &shared->entries[i], sizeof(FloEntry), &sum))
			return false;
	for (uint64 i = 0; i < FLO_EVENTS; i++)
	{
		const FloEvent *event = &shared->events[(shared->next_event + i) % FLO_EVENTS];

		if (OidIsValid(event->database) && !write_part(file, event, sizeof(FloEvent), &sum))
			return false;
	}
	FIN_CRC32C(sum);
	return fwrite(&sum, sizeof(sum), 1, file) == 1;
}

/* In the postmaster, when all others have gone */
static void
save(int code, Datum arg)
{
	FILE	   *file;
	bool		written;

	if (code != 0)
		return;
	file = AllocateFile(SAVED_FILE ".tmp", PG_BINARY_W);
	if (file == NULL)
	{
		complain("write");
		return;
	}
	written = write_all(file);
	if (FreeFile(file) != 0 || !written || rename(SAVED_FILE ".tmp", SAVED_FILE) != 0)
	{
		complain("write");
		unlink(SAVED_FILE ".tmp");
	}
}

/* Nobody runs yet */
static void
take_entry(FloEntry *to, FloEntry *from)
{
	FloMember  *m = &from->member;

	m->pid = 0;
	m->wanted = false;
	m->state = FLO_STATE_STOPPED;
	m->state_since = 0;
	m->detail[0] = '\0';
	memcpy(to, from, offsetof(FloEntry, held_by));
	to->incarnation = from->incarnation;
}

static bool
read_part(FILE *file, void *part, size_t size, pg_crc32c *sum)
{
	if (fread(part, size, 1, file) != 1)
		return false;
	COMP_CRC32C(*sum, part, size);
	return true;
}

/* Once to see whether it is whole, then, with "take", to have it */
static bool
read_all(FILE *file, bool take)
{
	SavedHeader header;
	FloEntry	entry;
	FloEvent	event;
	pg_crc32c	sum;
	pg_crc32c	written;

	INIT_CRC32C(sum);
	if (!read_part(file, &header, sizeof(header), &sum) || header.magic != SAVED_MAGIC ||
		header.entry_size != sizeof(FloEntry) || header.event_size != sizeof(FloEvent) ||
		header.events > FLO_EVENTS)
		return false;
	if (take)
		shared->last_event = header.last_event;
	for (uint32 i = 0; i < header.entries; i++)
	{
		if (!read_part(file, &entry, sizeof(entry), &sum))
			return false;
		if (take && i < shared->nentries)
			take_entry(&shared->entries[i], &entry);
	}
	for (uint32 i = 0; i < header.events; i++)
	{
		if (!read_part(file, &event, sizeof(event), &sum))
			return false;
		if (take)
			shared->events[shared->next_event++] = event;
	}
	FIN_CRC32C(sum);
	return fread(&written, sizeof(written), 1, file) == 1 && EQ_CRC32C(sum, written) &&
		fgetc(file) == EOF;
}

static void
read_if_whole(FILE *file)
{
	if (read_all(file, false) && fseek(file, 0, SEEK_SET) == 0)
		(void) read_all(file, true);
	else
		ereport(LOG,
				(errmsg("file \"%s\" is not as it was written, or of another version: it is not read",
						SAVED_FILE)));
}

/* The postmaster ends an immediate stop as it ends an orderly one; what is on disk differs */
static bool
stopped_in_order(void)
{
	bool		valid;
	ControlFileData *control = get_controlfile(DataDir, &valid);
	bool		in_order = valid && (control->state == DB_SHUTDOWNED ||
									 control->state == DB_SHUTDOWNED_IN_RECOVERY);

	pfree(control);
	return in_order;
}

void
flo_saved_load(FloShared *memory)
{
	FILE	   *file;

	if (IsUnderPostmaster)
		return;
	shared = memory;
	on_shmem_exit(save, (Datum) 0);
	file = AllocateFile(SAVED_FILE, PG_BINARY_R);
	if (file == NULL)
	{
		if (errno != ENOENT)
			complain("read");
		return;
	}
	if (stopped_in_order())
		read_if_whole(file);
	FreeFile(file);
	/* it is true once: a crash must not bring it back */
	unlink(SAVED_FILE);
}
