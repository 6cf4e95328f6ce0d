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

#include "dest/pieces.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/buffile.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "wire/change.h"
#include "wire/piece.h"

/* Transactions kept at a time; each has a buffer of a page and an open file */
#define MAX_KEPT 16384

/* What is read at a time, at least; and more than this is not kept */
#define BLOCK_SIZE (256 * 1024)
#define KEPT_BLOCK (1024 * 1024)

typedef struct Kept
{
	TransactionId xid;			/* at the source; hash key */
	BufFile    *file;
	uint64		first;			/* sequence of its first piece */
	uint32		npieces;
	bool		splits;			/* the last one ends within a record */
	int64		bytes;
	int			nvoid;
	int			void_room;
	TransactionId *voids;		/* subtransactions; in order when it is read */
} Kept;

struct FloPieces
{
	MemoryContext context;
	bool		lasting;		/* files outlive transactions */
	HTAB	   *kept;
	uint64		epoch;			/* the session that all of them are of */
	int64		bytes;

	/* the one that is being read */
	Kept	   *reading;
	bool		skips;			/* its subtransaction is void */
	char	   *block;
	Size		room;			/* of the block, but for a byte behind its end */
	Size		filled;
	Size		at;
};

FloPieces *
flo_pieces_create(MemoryContext context, bool lasting)
{
	FloPieces  *pieces = MemoryContextAllocZero(context, sizeof(FloPieces));
	HASHCTL		control = {0};

	pieces->context = context;
	pieces->lasting = lasting;
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

static BufFile *
create_file(FloPieces *pieces)
{
	MemoryContext old_context = MemoryContextSwitchTo(pieces->context);
	ResourceOwner old_owner = CurrentResourceOwner;
	BufFile    *file;

	if (pieces->lasting)
		CurrentResourceOwner = NULL;
	file = BufFileCreateTemp(pieces->lasting);
	CurrentResourceOwner = old_owner;
	MemoryContextSwitchTo(old_context);
	return file;
}

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
	return kept;
}

static void
forget(FloPieces *pieces, Kept *kept)
{
	TransactionId xid = kept->xid;

	if (kept->file != NULL)
		BufFileClose(kept->file);
	if (kept->voids != NULL)
		pfree(kept->voids);
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

void
flo_pieces_follow_session(FloPieces *pieces, uint64 epoch)
{
	if (epoch == pieces->epoch)
		return;
	flo_pieces_forget_all(pieces);
	pieces->epoch = epoch;
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
	if (kept->nvoid == kept->void_room)
	{
		int			room = Max(kept->void_room * 2, 16);

		if (kept->voids == NULL)
			kept->voids = MemoryContextAlloc(pieces->context, room * sizeof(TransactionId));
		else
			kept->voids = repalloc_huge(kept->voids, room * sizeof(TransactionId));
		kept->void_room = room;
	}
	kept->voids[kept->nvoid++] = subxid;
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
	if (kept->file == NULL)
		kept->file = create_file(pieces);
	if (len > 0)
		BufFileWrite(kept->file, unconstify(char *, data), len);
	if (reader->next < reader->end)
	{
		memcpy(begins, &number, sizeof(number));
		begins[sizeof(number)] = FLO_OP_SUBTRANSACTION;
		number = pg_hton32(kept->xid);
		memcpy(begins + sizeof(number) + 1, &number, sizeof(number));
		BufFileWrite(kept->file, begins, sizeof(begins));
		BufFileWrite(kept->file, unconstify(char *, reader->next), reader->end - reader->next);
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

static int
compare_xids(const void *a, const void *b)
{
	TransactionId x = *(const TransactionId *) a;
	TransactionId y = *(const TransactionId *) b;

	return x < y ? -1 : x > y;
}

bool
flo_pieces_open(FloPieces *pieces, TransactionId xid, uint32 npieces)
{
	Kept	   *kept = find(pieces, xid);

	if (kept == NULL || kept->npieces != npieces || kept->splits)
		return false;
	if (kept->nvoid > 0)
		qsort(kept->voids, kept->nvoid, sizeof(TransactionId), compare_xids);
	if (BufFileSeek(kept->file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind the temporary file of transaction %u of the source: %m", xid)));
	pieces->reading = kept;
	pieces->filled = pieces->at = 0;
	pieces->skips = false;
	return true;
}

static uint32
get32(const char *data)
{
	uint32		value;

	memcpy(&value, data, sizeof(value));
	return pg_ntoh32(value);
}

/* Room for a block, and for the record that it begins with; that of a huge row is not kept */
static void
make_room(FloPieces *pieces, Size left)
{
	char	   *rest = pieces->block + pieces->at;
	Size		needed = BLOCK_SIZE;
	char	   *block;

	if (left >= sizeof(uint32))
		needed = Max(needed, (Size) get32(rest) + sizeof(uint32));
	if (needed > MaxAllocSize - 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a record of %zu bytes is larger than this server can take",
						needed - sizeof(uint32))));
	if (pieces->room >= needed && pieces->room <= Max(needed, KEPT_BLOCK))
	{
		memmove(pieces->block, rest, left);
		return;
	}
	block = MemoryContextAlloc(pieces->context, needed + 1);
	if (left > 0)
		memcpy(block, rest, left);
	if (pieces->block != NULL)
		pfree(pieces->block);
	pieces->block = block;
	pieces->room = needed;
}

bool
flo_pieces_read_block(FloPieces *pieces)
{
	Size		left = pieces->filled - pieces->at;
	Size		came;

	make_room(pieces, left);
	came = BufFileRead(pieces->reading->file, pieces->block + left, pieces->room - left);
	pieces->at = 0;
	pieces->filled = left + came;
	if (came == 0 && left > 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the pieces of transaction %u of the source end within a record",
						pieces->reading->xid)));
	return came > 0;
}

static bool
is_void(const Kept *kept, TransactionId xid)
{
	return kept->nvoid > 0 &&
		bsearch(&xid, kept->voids, kept->nvoid, sizeof(TransactionId), compare_xids) != NULL;
}

char *
flo_pieces_next(FloPieces *pieces, uint32 *len)
{
	for (;;)
	{
		char	   *record = pieces->block + pieces->at + sizeof(uint32);
		Size		left = pieces->filled - pieces->at;

		if (left < sizeof(uint32) || left - sizeof(uint32) < get32(pieces->block + pieces->at))
			return NULL;
		*len = get32(pieces->block + pieces->at);
		pieces->at += sizeof(uint32) + *len;
		if (*len == 1 + sizeof(uint32) && record[0] == FLO_OP_SUBTRANSACTION)
			pieces->skips = is_void(pieces->reading, get32(record + 1));
		else if (!pieces->skips || *len == 0 || record[0] == FLO_OP_RELATION || record[0] == FLO_OP_TYPE)
			return record;
	}
}
