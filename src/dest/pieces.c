/*
 * pieces.c
 *		What has come of transactions that are still running at the source.
 *
 * Large transactions travel before their commit, in pieces.  Here they are kept until
 * their end comes, each in a temporary file of its own: a run of records, as the
 * pieces hold them.  A record that is split over pieces is whole in it.
 *
 * The file is this process's own and is never trusted by another one: a worker
 * that begins again reads the pieces from the stream, which keeps them until the
 * transaction is durable here.
 *
 * Subtransactions that are rolled back after they were sent are remembered and left
 * out on reading.  Not so descriptions of tables in them, which do no harm.
 */
#include "postgres.h"

#include <unistd.h>

#include "common/file_utils.h"
#include "core/xids.h"
#include "dest/pieces.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bswap.h"
#include "storage/fd.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"
#include "wire/change.h"
#include "wire/piece.h"

/* Transactions kept at a time; each has an open file */
#define MAX_KEPT 16384

/* What is read at a time, at least; and more than this is not kept */
#define BLOCK_SIZE (256 * 1024)
#define KEPT_BLOCK (1024 * 1024)

typedef struct Kept
{
	TransactionId xid;			/* at the source; hash key */
	File		file;			/* -1: none yet */
	uint32		number;			/* of that file */
	uint64		size;			/* bytes in it */
	uint64		first;			/* sequence of its first piece */
	uint32		npieces;
	bool		splits;			/* the last one ends within a record */
	int64		bytes;
	FloXids		voids;			/* subtransactions */
} Kept;

struct FloPieces
{
	MemoryContext context;
	uint32		set;			/* of this process: part of the files' names */
	uint32		files;			/* made so far */
	HTAB	   *kept;
	uint64		epoch;			/* the session that all of them are of */
	int64		bytes;
	TransactionId last;			/* whose piece came last */

	/* the one that is being read */
	Kept	   *reading;
	bool		skips;			/* its subtransaction is void */
	FloPieceReader reader;
};

static uint32 last_set = 0;

/* --- files --------------------------------------------------------------- */

/* Of a name that the server removes when it starts, should this process not */
static void
name_file(const FloPieces *pieces, const Kept *kept, char *path)
{
	snprintf(path, MAXPGPATH, "base/" PG_TEMP_FILES_DIR "/" PG_TEMP_FILE_PREFIX "%d.flo%u.%u",
			 MyProcPid, pieces->set, kept->number);
}

static File
create_file(FloPieces *pieces, Kept *kept)
{
	const int	flags = O_RDWR | O_CREAT | O_TRUNC | PG_BINARY;
	char		path[MAXPGPATH];
	File		file;

	kept->number = ++pieces->files;
	name_file(pieces, kept, path);
	file = PathNameOpenFile(path, flags);
	if (file < 0 && errno == ENOENT)
	{
		(void) MakePGDirectory("base/" PG_TEMP_FILES_DIR);
		file = PathNameOpenFile(path, flags);
	}
	if (file < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", path)));
	return file;
}

static void
remove_file(FloPieces *pieces, Kept *kept)
{
	char		path[MAXPGPATH];

	if (kept->file < 0)
		return;
	FileClose(kept->file);
	name_file(pieces, kept, path);
	(void) unlink(path);
}

static void
remove_files(FloPieces *pieces)
{
	HASH_SEQ_STATUS scan;
	Kept	   *kept;

	hash_seq_init(&scan, pieces->kept);
	while ((kept = hash_seq_search(&scan)) != NULL)
	{
		remove_file(pieces, kept);
		kept->file = -1;
	}
}

void
flo_pieces_remove_files(int code, Datum pieces)
{
	remove_files((FloPieces *) DatumGetPointer(pieces));
}

static void
write_file(Kept *kept, const char *data, size_t len)
{
	int			done;

	if (len == 0)
		return;
	errno = 0;
	done = FileWrite(kept->file, unconstify(char *, data), len, kept->size,
					 WAIT_EVENT_BUFFILE_WRITE);
	if (done != (int) len)
	{
		if (errno == 0)
			errno = ENOSPC;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write to file \"%s\": %m", FilePathName(kept->file))));
	}
	kept->size += len;
}

FloPieces *
flo_pieces_create(MemoryContext context)
{
	FloPieces  *pieces = MemoryContextAllocZero(context, sizeof(FloPieces));
	HASHCTL		control = {0};

	pieces->context = context;
	pieces->set = ++last_set;
	control.keysize = sizeof(TransactionId);
	control.entrysize = sizeof(Kept);
	control.hcxt = context;
	pieces->kept = hash_create("pg_flo transactions in pieces", 16, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return pieces;
}

static Kept *
find(const FloPieces *pieces, TransactionId xid)
{
	return hash_search(pieces->kept, &xid, HASH_FIND, NULL);
}

/* Where the file comes from, for whoever finds the disk full */
static void
describe_work(void *arg)
{
	errcontext("keeping transaction %u of the source, which has not committed yet",
			   ((Kept *) arg)->xid);
}

/* --- keeping ------------------------------------------------------------- */

static Kept *
begin(FloPieces *pieces, TransactionId xid, uint64 seq)
{
	Kept	   *kept;

	if (hash_get_num_entries(pieces->kept) >= MAX_KEPT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("pieces of more than %d transactions that are still running cannot be kept",
						MAX_KEPT)));
	kept = hash_search(pieces->kept, &xid, HASH_ENTER, NULL);
	memset((char *) kept + sizeof(xid), 0, sizeof(Kept) - sizeof(xid));
	kept->first = seq;
	kept->file = -1;
	return kept;
}

static void
forget(FloPieces *pieces, Kept *kept)
{
	TransactionId xid = kept->xid;

	remove_file(pieces, kept);
	flo_xids_free(&kept->voids);
	pieces->bytes -= kept->bytes;
	pieces->reading = NULL;
	hash_search(pieces->kept, &xid, HASH_REMOVE, NULL);
}

void
flo_pieces_forget(FloPieces *pieces, TransactionId xid)
{
	Kept	   *kept = find(pieces, xid);

	if (kept != NULL)
		forget(pieces, kept);
}

void
flo_pieces_forget_all(FloPieces *pieces)
{
	HASH_SEQ_STATUS scan;
	Kept	   *kept;

	hash_seq_init(&scan, pieces->kept);
	while ((kept = hash_seq_search(&scan)) != NULL)
		forget(pieces, kept);
}

bool
flo_pieces_follow_session(FloPieces *pieces, uint64 epoch)
{
	if (epoch == pieces->epoch)
		return false;
	flo_pieces_forget_all(pieces);
	pieces->epoch = epoch;
	return true;
}

TransactionId
flo_pieces_last(const FloPieces *pieces)
{
	return pieces->last;
}

void
flo_pieces_void(FloPieces *pieces, TransactionId xid, TransactionId subxid)
{
	Kept	   *kept = find(pieces, xid);

	if (kept == NULL)
		return;
	if (subxid == xid)
	{
		forget(pieces, kept);
		return;
	}
	flo_xids_add(&kept->voids, pieces->context, subxid);
}

/*
 * A piece begins in the transaction itself, which is said here in its place: what goes
 * before is the rest of a record of the piece before it.
 */
static void
write_piece(FloPieces *pieces, Kept *kept, FloChunkReader *reader, uint32 rest)
{
	char		begins[FLO_SUBTRANSACTION_RECORD_SIZE];
	uint32		number = pg_hton32(FLO_SUBTRANSACTION_RECORD_SIZE - sizeof(uint32));
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = describe_work,
		.arg = kept
	};
	const char *data;
	uint32		len = flo_chunk_take_raw(reader, rest, &data);

	error_context_stack = &callback;
	if (kept->file < 0)
		kept->file = create_file(pieces, kept);
	write_file(kept, data, len);
	if (reader->next < reader->end)
	{
		memcpy(begins, &number, sizeof(number));
		begins[sizeof(number)] = FLO_OP_SUBTRANSACTION;
		number = pg_hton32(kept->xid);
		memcpy(begins + sizeof(number) + 1, &number, sizeof(number));
		write_file(kept, begins, sizeof(begins));
		write_file(kept, reader->next, reader->end - reader->next);
	}
	error_context_stack = callback.previous;
}

const char *
flo_pieces_take(FloPieces *pieces, const FloChunk *chunk)
{
	const FloChunkHeader *header = &chunk->header;
	bool		goes_on = (header->flags & FLO_CHUNK_STARTS_FRAGMENT) != 0;
	FloChunkReader reader;
	FloPieceKey key;
	Kept	   *kept;

	flo_chunk_read(&reader, chunk->data, chunk->len);
	if (!flo_chunk_next_piece_key(&reader, &key))
		return "a piece does not say of which transaction it is";
	if (header->from != header->upto || header->position < header->upto ||
		(header->flags & (FLO_CHUNK_STARTS_INSIDE | FLO_CHUNK_ENDS_INSIDE)))
		return "a piece says that it has commits";
	kept = find(pieces, key.xid);
	pieces->last = key.xid;
	if (key.ordinal == 1)
	{
		if (kept != NULL)
			forget(pieces, kept);
		kept = begin(pieces, key.xid, chunk->seq);
	}
	else if (kept == NULL)
		return NULL;
	else if (kept->npieces + 1 != key.ordinal)
	{
		forget(pieces, kept);
		return NULL;
	}
	if (kept->splits != goes_on || goes_on != (header->rest > 0))
		return "a piece does not begin where the one before it ends";
	write_piece(pieces, kept, &reader, header->rest);
	kept->npieces++;
	kept->splits = (header->flags & FLO_CHUNK_ENDS_FRAGMENT) != 0;
	kept->bytes += chunk->len;
	pieces->bytes += chunk->len;
	return NULL;
}

uint64
flo_pieces_first(const FloPieces *pieces)
{
	HASH_SEQ_STATUS scan;
	Kept	   *kept;
	uint64		first = 0;

	if (hash_get_num_entries(pieces->kept) == 0)
		return 0;
	hash_seq_init(&scan, pieces->kept);
	while ((kept = hash_seq_search(&scan)) != NULL)
		first = first == 0 ? kept->first : Min(first, kept->first);
	return first;
}

int64
flo_pieces_bytes(const FloPieces *pieces)
{
	return pieces->bytes;
}

/* --- reading ------------------------------------------------------------- */

static uint32
get32(const char *data)
{
	uint32		value;

	memcpy(&value, data, sizeof(value));
	return pg_ntoh32(value);
}

/* Room for a block, and for the record that it begins with; that of a huge row is not kept */
static void
make_room(FloPieceReader *r, Size left)
{
	char	   *rest = r->block + r->at;
	Size		needed = BLOCK_SIZE;
	char	   *block;

	if (left >= sizeof(uint32))
		needed = Max(needed, (Size) get32(rest) + sizeof(uint32));
	if (needed > MaxAllocSize - 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a record of %zu bytes is larger than this server can take",
						needed - sizeof(uint32))));
	if (r->room >= needed && r->room <= Max(needed, KEPT_BLOCK))
	{
		memmove(r->block, rest, left);
		return;
	}
	block = MemoryContextAlloc(r->context, needed + 1);
	if (left > 0)
		memcpy(block, rest, left);
	if (r->block != NULL)
		pfree(r->block);
	r->block = block;
	r->room = needed;
}

bool
flo_piece_reader_fill(FloPieceReader *r, uint64 limit)
{
	Size		left = r->filled - r->at;
	Size		wanted;
	int			came;

	if (r->offset >= limit)
		return false;
	make_room(r, left);
	wanted = Min(limit - r->offset, r->room - left);
	came = FileRead(r->file, r->block + left, wanted, r->offset, WAIT_EVENT_BUFFILE_READ);
	if (came != (int) wanted)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read file \"%s\": read only %d of %zu bytes",
						FilePathName(r->file), came, wanted)));
	r->at = 0;
	r->filled = left + came;
	r->offset += came;
	return true;
}

char *
flo_piece_reader_next(FloPieceReader *r, uint32 *len)
{
	char	   *record = r->block + r->at + sizeof(uint32);
	Size		left = r->filled - r->at;

	if (left < sizeof(uint32) || left - sizeof(uint32) < get32(r->block + r->at))
		return NULL;
	*len = get32(r->block + r->at);
	r->at += sizeof(uint32) + *len;
	return record;
}

bool
flo_pieces_open(FloPieces *pieces, TransactionId xid, uint32 npieces)
{
	Kept	   *kept = find(pieces, xid);

	if (kept == NULL || kept->npieces != npieces || kept->splits)
		return false;
	flo_xids_sort(&kept->voids);
	pieces->reading = kept;
	pieces->reader.context = pieces->context;
	pieces->reader.file = kept->file;
	pieces->reader.offset = 0;
	pieces->reader.filled = pieces->reader.at = 0;
	pieces->skips = false;
	return true;
}

bool
flo_pieces_read_block(FloPieces *pieces)
{
	FloPieceReader *r = &pieces->reader;

	if (flo_piece_reader_fill(r, pieces->reading->size))
		return true;
	if (r->at < r->filled)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the pieces of transaction %u of the source end within a record",
						pieces->reading->xid)));
	return false;
}

char *
flo_pieces_next(FloPieces *pieces, uint32 *len)
{
	char	   *record;

	while ((record = flo_piece_reader_next(&pieces->reader, len)) != NULL)
	{
		if (*len == 1 + sizeof(uint32) && record[0] == FLO_OP_SUBTRANSACTION)
			pieces->skips = flo_xids_has(&pieces->reading->voids, get32(record + 1));
		else if (!pieces->skips || *len == 0 || record[0] == FLO_OP_RELATION ||
				 record[0] == FLO_OP_TYPE)
			break;
	}
	return record;
}

bool
flo_pieces_file(const FloPieces *pieces, TransactionId xid, char *path, uint64 *size)
{
	Kept	   *kept = find(pieces, xid);

	if (kept == NULL || kept->file < 0 || kept->voids.count > 0)
		return false;
	name_file(pieces, kept, path);
	*size = kept->size;
	return true;
}
