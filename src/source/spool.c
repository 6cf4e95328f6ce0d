/*
 * spool.c
 *		Large transactions between the decoder and the publisher.
 *
 * The reorder buffer keeps a transaction until its commit is read.  What does
 * not fit into its memory it either writes to disk change by change, two
 * system calls for each, or hands to the plugin at once ("streaming").  The
 * latter is several times as fast, so that is what we ask for.  The pieces of
 * a transaction in progress are kept here, in a temporary file of its own, as
 * the messages they will be published as.
 *
 * It may travel before its commit: from a size on its pieces are published as they
 * come, so that at its commit nothing but that is left.  The file is written all the
 * same, since it may be withdrawn at any time.  Then, and when it does not travel
 * early, the file is read at its commit, and the transaction published whole.
 *
 * Subtransactions that are rolled back after they were streamed are remembered
 * and left out on reading; where they were published, that says so.  Not so
 * descriptions of tables in them: they do no harm, as a newer one follows where there
 * is another to be used.
 *
 * Messages between pieces belong to other transactions, smaller ones that are
 * streamed by nobody, and go straight on.
 */
#include "postgres.h"

#include "core/compat.h"
#include "core/xids.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "port/pg_bswap.h"
#include "source/spool.h"
#include "storage/buffile.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "wire/change.h"

/* Message types of protocol version 2 that appear with streaming only */
#define STREAM_START	'S'
#define STREAM_STOP		'E'
#define STREAM_COMMIT	'c'
#define STREAM_ABORT	'A'

/* Memory for decoding before the largest transaction comes here; more is slower */
#define DECODING_WORK_MEM "8MB"

/* A buffer larger than this is not kept */
#define KEPT_BUFFER (1024 * 1024)

/* Stands before each message in the file */
typedef struct SpoolRecord
{
	uint64		age;			/* of a description, see
								 * flo_publisher_append_aged() */
	TransactionId xid;			/* the subtransaction */
	uint32		len;
} SpoolRecord;

/* A transaction in progress */
typedef struct Spooled
{
	TransactionId xid;			/* hash key */
	BufFile    *file;
	uint64		changes;
	int64		bytes;			/* of the file */
	bool		whole;			/* it was not to travel early when it was
								 * large enough */
	FloEarly   *early;			/* NULL: it does not */
	FloXids		aborted;		/* subtransactions */
} Spooled;

struct FloSpool
{
	FloPublisher *publisher;
	MemoryContext context;
	int64		threshold;		/* bytes from which on they travel early */
	FloSpoolMay may;			/* asked whether one may */
	void	   *arg;
	HTAB	   *transactions;
	Spooled    *current;		/* whose piece is being streamed */
	StringInfoData buffer;
};

FloSpool *
flo_spool_create(FloPublisher *publisher, FloSpoolMay may, void *arg)
{
	FloSpool   *spool = palloc0(sizeof(FloSpool));
	HASHCTL		control = {0};

	spool->publisher = publisher;
	spool->context = CurrentMemoryContext;
	spool->threshold = FLO_AT_COMMIT;
	spool->may = may;
	spool->arg = arg;
	control.keysize = sizeof(TransactionId);
	control.entrysize = sizeof(Spooled);
	control.hcxt = CurrentMemoryContext;
	spool->transactions = hash_create("pg_flo large transactions", 16, &control,
									  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	initStringInfo(&spool->buffer);
	SetConfigOption("logical_decoding_work_mem", DECODING_WORK_MEM, PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("temp_file_limit", "-1", PGC_SUSET, PGC_S_OVERRIDE);
	return spool;
}

static TransactionId
get_xid(const char *data, uint32 len, uint32 at)
{
	uint32		value;

	if (len < at + sizeof(value))
		elog(ERROR, "message of type \"%c\" is too short", data[0]);
	memcpy(&value, data + at, sizeof(value));
	return pg_ntoh32(value);
}

/* --- reading ------------------------------------------------------------- */

pg_noreturn static void
seek_failed(const Spooled *txn)
{
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not find a place in the temporary file of transaction %u", txn->xid)));
}

static bool
read_exactly(Spooled *txn, void *into, size_t len, bool may_end)
{
	size_t		count = BufFileRead(txn->file, into, len);

	if (count == len)
		return true;
	if (count != 0 || !may_end)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read the temporary file of transaction %u: read only %zu of %zu bytes",
						txn->xid, count, len)));
	return false;
}

/* Publish what is in the file: as pieces, until it is withdrawn, or the whole that has committed */
static void
read_messages(FloSpool *spool, Spooled *txn, bool early)
{
	SpoolRecord record;

	flo_xids_sort(&txn->aborted);
	if (BufFileSeek(txn->file, 0, 0, SEEK_SET) != 0)
		seek_failed(txn);
	while (!(early && txn->early->withdrawn) && read_exactly(txn, &record, sizeof(record), true))
	{
		CHECK_FOR_INTERRUPTS();
		resetStringInfo(&spool->buffer);
		enlargeStringInfo(&spool->buffer, record.len);
		read_exactly(txn, spool->buffer.data, record.len, false);
		if (record.age == 0 && flo_xids_has(&txn->aborted, record.xid))
			continue;
		if (early)
			flo_publisher_append_piece(spool->publisher, record.xid, record.age,
									   spool->buffer.data, record.len);
		else
			flo_publisher_append_aged(spool->publisher, record.age, spool->buffer.data,
									  record.len);
	}
	if (spool->buffer.maxlen > KEPT_BUFFER)
	{
		MemoryContext old_context = MemoryContextSwitchTo(spool->context);

		pfree(spool->buffer.data);
		initStringInfo(&spool->buffer);
		MemoryContextSwitchTo(old_context);
	}
}

/* --- writing ------------------------------------------------------------- */

/* The file outlives the transaction that the reorder buffer has open around this */
static BufFile *
create_file(FloSpool *spool)
{
	MemoryContext old_context = MemoryContextSwitchTo(spool->context);
	ResourceOwner old_owner = CurrentResourceOwner;
	BufFile    *file;

	CurrentResourceOwner = NULL;
	file = BufFileCreateTemp(true);
	CurrentResourceOwner = old_owner;
	MemoryContextSwitchTo(old_context);
	return file;
}

static bool
travels_early(const Spooled *txn)
{
	return txn->early != NULL && !txn->early->withdrawn;
}

/*
 * It is large enough to travel early: what there is of it leaves now.  Looked at once:
 * the more there is of it, the longer others would wait for that.
 */
static void
begin_early(FloSpool *spool, Spooled *txn)
{
	int			file;
	off_t		end;

	if (!spool->may(spool->arg))
	{
		txn->whole = true;
		return;
	}
	txn->early = flo_early_create(flo_publisher_tables(spool->publisher), txn->xid);
	flo_publisher_begin_piece(spool->publisher, txn->early);
	BufFileTell(txn->file, &file, &end);
	read_messages(spool, txn, true);
	if (BufFileSeek(txn->file, file, end, SEEK_SET) != 0)
		seek_failed(txn);
}

static void
begin_piece(FloSpool *spool, TransactionId xid)
{
	bool		found;
	Spooled    *txn = hash_search(spool->transactions, &xid, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) txn + sizeof(xid), 0, sizeof(Spooled) - sizeof(xid));
		txn->file = create_file(spool);
	}
	spool->current = txn;
	if (travels_early(txn))
	{
		if (spool->may(spool->arg))
			flo_publisher_begin_piece(spool->publisher, txn->early);
		else
			flo_publisher_withdraw(spool->publisher, txn->early);
	}
}

static void
end_piece(FloSpool *spool)
{
	flo_publisher_end_piece(spool->publisher);
	spool->current = NULL;
}

static void
write_message(FloSpool *spool, TransactionId xid, const char *data, uint32 len)
{
	Spooled    *txn = spool->current;
	SpoolRecord record;

	switch (data[0])
	{
		case FLO_OP_INSERT:
		case FLO_OP_UPDATE:
		case FLO_OP_DELETE:
		case FLO_OP_TRUNCATE:
		case FLO_OP_MESSAGE:
			txn->changes++;
			record.age = 0;
			break;
		case FLO_OP_RELATION:
		case FLO_OP_TYPE:
			record.age = flo_publisher_next_age(spool->publisher);
			break;
		default:
			/* an origin, which is of no use */
			return;
	}
	record.xid = xid;
	record.len = len;
	BufFileWrite(txn->file, &record, sizeof(record));
	BufFileWrite(txn->file, unconstify(char *, data), len);
	txn->bytes += sizeof(record) + len;
	if (travels_early(txn))
		flo_publisher_append_piece(spool->publisher, xid, record.age, data, len);
	else if (txn->early == NULL && !txn->whole && txn->bytes >= spool->threshold)
		begin_early(spool, txn);
}

static void
forget(FloSpool *spool, Spooled *txn)
{
	TransactionId xid = txn->xid;

	BufFileClose(txn->file);
	flo_xids_free(&txn->aborted);
	if (txn->early != NULL)
		flo_early_drop(txn->early);
	hash_search(spool->transactions, &xid, HASH_REMOVE, NULL);
}

static void
abort_transaction(FloSpool *spool, TransactionId xid, TransactionId sub)
{
	Spooled    *txn = hash_search(spool->transactions, &xid, HASH_FIND, NULL);

	if (txn == NULL)
		return;
	if (sub == xid)
	{
		if (travels_early(txn))
			flo_publisher_withdraw(spool->publisher, txn->early);
		forget(spool, txn);
		return;
	}
	if (travels_early(txn))
		flo_publisher_abort_part(spool->publisher, txn->early, sub);
	flo_xids_add(&txn->aborted, spool->context, sub);
}

/* --- the commit ---------------------------------------------------------- */

/*
 * The message holds, after the type and the xid, just what COMMIT holds: flags,
 * commit LSN, end LSN, time.  BEGIN: commit LSN, time, xid.
 */
static void
commit_transaction(FloSpool *spool, const char *data, uint32 len)
{
	TransactionId xid = get_xid(data, len, 1);
	Spooled    *txn = hash_search(spool->transactions, &xid, HASH_FIND, NULL);
	char		begin[1 + 8 + 8 + 4];
	char		commit[1 + 1 + 8 + 8 + 8];

	if (txn == NULL)
		elog(ERROR, "commit of transaction %u, of which nothing was streamed", xid);
	if (len != sizeof(commit) + sizeof(xid))
		elog(ERROR, "commit of transaction %u has %u bytes", xid, len);
	commit[0] = FLO_OP_COMMIT;
	memcpy(commit + 1, data + 5, sizeof(commit) - 1);
	begin[0] = FLO_OP_BEGIN;
	memcpy(begin + 1, commit + 2, 8);
	memcpy(begin + 9, commit + 18, 8);
	memcpy(begin + 17, data + 1, 4);

	if (txn->changes > 0 && !(travels_early(txn) &&
							  flo_publisher_commit_early(spool->publisher, txn->early, commit)))
	{
		flo_publisher_append(spool->publisher, begin, sizeof(begin));
		flo_publisher_begin_whole(spool->publisher);
		read_messages(spool, txn, false);
		flo_publisher_end_whole(spool->publisher);
		flo_publisher_append(spool->publisher, commit, sizeof(commit));
	}
	forget(spool, txn);
}

/* --- the switch ---------------------------------------------------------- */

void
flo_spool_message(FloSpool *spool, TransactionId xid, const char *data, uint32 len)
{
	switch (data[0])
	{
		case STREAM_START:
			begin_piece(spool, get_xid(data, len, 1));
			break;
		case STREAM_STOP:
			end_piece(spool);
			break;
		case STREAM_COMMIT:
			commit_transaction(spool, data, len);
			break;
		case STREAM_ABORT:
			abort_transaction(spool, get_xid(data, len, 1), get_xid(data, len, 5));
			break;
		default:
			if (spool->current != NULL)
				write_message(spool, xid, data, len);
			else
				flo_publisher_append(spool->publisher, data, len);
	}
}

void
flo_spool_set_threshold(FloSpool *spool, int64 threshold)
{
	spool->threshold = threshold;
}

/* The table is not gone through while anything is sent: there may be transactions then */
void
flo_spool_withdraw(FloSpool *spool)
{
	HASH_SEQ_STATUS scan;
	Spooled    *txn;
	List	   *early = NIL;
	ListCell   *cell;

	hash_seq_init(&scan, spool->transactions);
	while ((txn = hash_seq_search(&scan)) != NULL)
		if (travels_early(txn))
			early = lappend(early, txn->early);
	foreach(cell, early)
		flo_publisher_withdraw(spool->publisher, lfirst(cell));
	list_free(early);
}

bool
flo_spool_is_empty(FloSpool *spool)
{
	return hash_get_num_entries(spool->transactions) == 0;
}
