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
#include "storage/fd.h"
#include "storage/ipc.h"

#define SAVED_FILE PGSTAT_STAT_PERMANENT_DIRECTORY "/pg_flo.stat"

/* Of this very layout: anything else is not read */
typedef struct SavedHeader
{
	uint32		magic;
	uint32		entry_size;
	uint32		event_size;
	uint32		entries;
	uint32		events;
	int64		last_event;
} SavedHeader;

#define SAVED_MAGIC 0x464C0002

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
write_all(FILE *file)
{
	SavedHeader header = {
		.magic = SAVED_MAGIC,
		.entry_size = sizeof(FloEntry),
		.event_size = sizeof(FloEvent),
		.last_event = shared->last_event
	};

	for (int i = 0; i < shared->nentries; i++)
		header.entries += shared->entries[i].in_use;
	for (int i = 0; i < FLO_EVENTS; i++)
		header.events += OidIsValid(shared->events[i].database);
	if (fwrite(&header, sizeof(header), 1, file) != 1)
		return false;
	for (int i = 0; i < shared->nentries; i++)
		if (shared->entries[i].in_use &&
			fwrite(&shared->entries[i], sizeof(FloEntry), 1, file) != 1)
			return false;
	for (uint64 i = 0; i < FLO_EVENTS; i++)
	{
		const FloEvent *event = &shared->events[(shared->next_event + i) % FLO_EVENTS];

		if (OidIsValid(event->database) && fwrite(event, sizeof(FloEvent), 1, file) != 1)
			return false;
	}
	return true;
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

static void
read_all(FILE *file)
{
	SavedHeader header;
	FloEntry	entry;
	FloEvent	event;

	if (fread(&header, sizeof(header), 1, file) != 1 || header.magic != SAVED_MAGIC ||
		header.entry_size != sizeof(FloEntry) || header.event_size != sizeof(FloEvent) ||
		header.events > FLO_EVENTS)
		return;
	shared->last_event = header.last_event;
	for (uint32 i = 0; i < header.entries; i++)
	{
		if (fread(&entry, sizeof(entry), 1, file) != 1)
			return;
		if (i < shared->nentries)
			take_entry(&shared->entries[i], &entry);
	}
	for (uint32 i = 0; i < header.events; i++)
	{
		if (fread(&event, sizeof(event), 1, file) != 1)
			return;
		shared->events[shared->next_event++] = event;
	}
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
		read_all(file);
	FreeFile(file);
	/* it is true once: a crash must not bring it back */
	unlink(SAVED_FILE);
}
