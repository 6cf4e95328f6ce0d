/*
 * ahead_process.c
 *		The process of a worker that applies a large transaction ahead of its commit.
 *
 * It takes rows from the file of pieces as far as the worker says, through the same rules
 * and the same sink, in one transaction, and commits when and where it is told; see
 * ahead.c.  It gives up, and leaves nothing, at whatever is more than rows: statements,
 * messages, TRUNCATE, whose lock others would feel for long, rows in conflict; at any
 * error; when it waits for a lock itself, or anybody waits for one of its, the worker above
 * all: at the source the transaction may stand open for long.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/injection_point.h"
#include "core/lock.h"
#include "core/loop.h"
#include "core/process.h"
#include "core/transaction.h"
#include "dest/ahead_process.h"
#include "dest/ahead_state.h"
#include "dest/encoding.h"
#include "dest/pieces.h"
#include "dest/progress.h"
#include "dest/table_filter.h"
#include "dest/worker_config.h"
#include "dest/worker_rules.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "sink/sink.h"
#include "storage/dsm.h"
#include "storage/fd.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* ms between two looks whether anybody waits for us; twice in a row is enough */
#define LOOK_PAUSE 250

/* It is this process that fails when others and it wait for each other */
#define DEADLOCK_TIMEOUT "100ms"

/*
 * Whoever waits for a lock does not see who waits for him; and at the commit it is the
 * worker that should wait for others, as people can see
 */
#define LOCK_TIMEOUT 1000		/* ms */

typedef struct Ahead
{
	const FloProcessArgs *args;
	FloAheadOrder *order;
	FloWorkerSpec *spec;
	FloProgress *progress;
	FloChangeParser *parser;
	FloTableFilter *tables;		/* of the option; NULL = all */
	FloWorkerRules *rules;
	FloSink    *sink;
	FloSinkHost host;
	FloTally	tally;
	FloTransaction txn;
	FloPieceReader reader;
	MemoryContext block;		/* reset after each */
	FloClock	looked;
	bool		in_the_way;		/* at the last look */
	bool		gathered;		/* rows may wait in the sink */
} Ahead;

static void
give_up(const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg_internal("not ahead of its commit: %s", why)));
}

static void
host_unchecked(void *arg, Oid relation)
{
	give_up("rows that are written without a look at their foreign keys");
}

/* --- rows ---------------------------------------------------------------- */

static void
apply_row(Ahead *a, const FloChange *change)
{
	a->txn.ordinal++;
	change = flo_table_filter(a->tables, change);
	if (change == NULL)
	{
		a->tally.open.filtered++;
		return;
	}
	change = flo_worker_rules_apply(a->rules, change, &a->tally.open);
	if (change != NULL)
		a->sink->ops->change(a->sink, &a->txn, change);
}

static void
take_record(Ahead *a, char *data, uint32 len)
{
	const FloChange *change = flo_change_parse(a->parser, data, len);

	switch (change->op)
	{
		case FLO_OP_INSERT:
		case FLO_OP_UPDATE:
		case FLO_OP_DELETE:
			apply_row(a, change);
			break;
		case FLO_OP_RELATION:
		case FLO_OP_TYPE:
		case FLO_OP_SUBTRANSACTION:
			break;
		default:
			give_up("it is more than rows");
	}
}

/* --- the pace ------------------------------------------------------------ */

/* Leave with the worker, and get out of everybody's way */
static void
look_around(Ahead *a)
{
	bool		before = a->in_the_way;

	flo_check_interrupts();
	flo_helper_check(a->args->slot, a->args->incarnation);
	if (!flo_clock_passed(a->looked, LOOK_PAUSE))
		return;
	a->looked = flo_clock();
	a->in_the_way = flo_lock_anybody_waits();
	if (a->in_the_way && before)
		give_up("others need what it has locked");
}

/* Everything that may be applied by now; false when there was nothing */
static bool
apply_written(Ahead *a)
{
	uint64		limit = pg_atomic_read_u64(&a->order->written);
	bool		any = false;

	while (flo_piece_reader_fill(&a->reader, limit))
	{
		MemoryContext old = MemoryContextSwitchTo(a->block);
		char	   *data;
		uint32		len;

		any = a->gathered = true;
		flo_change_begin_chunk(a->parser);
		while ((data = flo_piece_reader_next(&a->reader, &len)) != NULL)
		{
			take_record(a, data, len);
			flo_injection_point("ahead.row");
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(a->block);
		look_around(a);
	}
	return any;
}

/* While nothing comes, what the sink has gathered is written: at the commit that would take time */
static void
write_gathered(Ahead *a)
{
	if (!a->gathered)
		return;
	a->gathered = false;
	a->sink->ops->finish(a->sink);
	a->sink->ops->begin(a->sink);
}

/* --- the commit ---------------------------------------------------------- */

/* The worker has let the origin go; its position says whether all before this is in */
static void
commit(Ahead *a)
{
	if (a->reader.at < a->reader.filled)
		give_up("it ends within a record");
	a->sink->ops->finish(a->sink);
	if (a->tally.open.conflicts > 0)
		give_up("rows are in conflict");
	if (flo_progress_hold_beside(a->progress) != a->order->expected)
		give_up("the position is another");
	flo_injection_point("ahead.commit.before");
	ForceSyncCommit();
	(void) flo_progress_commit(a->progress, a->order->end_lsn, a->order->commit_time);
	flo_injection_point("ahead.commit.after");
	(void) flo_progress_let_go(a->progress);
	flo_tally_commit(&a->tally);
	flo_tally_hand_in();
}

static void
run(Ahead *a)
{
	flo_follow_encoding(a->parser, a->order->encoding);
	a->rules = flo_worker_rules_open(a->spec, a->order->generation);
	a->sink = a->spec->sink == FLO_SINK_POSTGRES ?
		flo_sink_ops(a->spec->sink)->open(a->spec, &a->tally, NULL, &a->host) : NULL;
	if (a->sink == NULL)
		give_up("the worker is another");
	flo_transaction_start();
	flo_progress_mark(a->progress);
	a->sink->ops->begin(a->sink);
	a->order->latch = MyLatch;
	for (;;)
	{
		bool		ends = pg_atomic_read_u32(&a->order->order) == FLO_AHEAD_COMMIT;

		pg_read_barrier();
		if (apply_written(a))
			continue;
		if (ends)
			break;
		write_gathered(a);
		look_around(a);
		flo_wait_means(FLO_WAIT_APPLY);
		(void) flo_wait(PGINVALID_SOCKET, false, LOOK_PAUSE);
	}
	commit(a);
}

static void
open_file(Ahead *a)
{
	a->reader.context = CurrentMemoryContext;
	a->reader.file = PathNameOpenFile(a->order->path, O_RDONLY | PG_BINARY);
	if (a->reader.file < 0)
		give_up("its file is gone");
}

/* Whatever goes wrong is undone, and shows when the worker applies the transaction itself */
static void
try(Ahead *a)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		open_file(a);
		run(a);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		flo_progress_disarm();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		flo_progress_release(a->progress);
		ereport(DEBUG1,
				(errmsg_internal("%s", error->message)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
}

void
flo_ahead_run(const FloProcessArgs *args)
{
	Ahead	   *a = palloc0(sizeof(Ahead));
	dsm_segment *segment = dsm_attach(args->segment);
	char	   *group;
	char	   *worker;

	if (segment == NULL)
		return;					/* the worker is gone, or has gone on */
	dsm_pin_mapping(segment);
	a->args = args;
	a->order = dsm_segment_address(segment);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("deadlock_timeout", DEADLOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	flo_helper_names(args->slot, &group, &worker);
	a->spec = flo_my_spec(group, worker);
	if (a->spec == NULL)
		return;
	if (a->spec->options.lock_timeout == 0 || a->spec->options.lock_timeout > LOCK_TIMEOUT)
		a->spec->options.lock_timeout = LOCK_TIMEOUT;
	flo_tally_begin(&a->tally, args->slot, args->incarnation);
	a->progress = flo_progress_open_beside(group, worker);
	a->parser = flo_change_parser_create(CurrentMemoryContext);
	a->block = AllocSetContextCreate(CurrentMemoryContext, "pg_flo block of pieces",
									 ALLOCSET_DEFAULT_SIZES);
	if (a->spec->options.tables != NULL)
		a->tables = flo_table_filter_create(CurrentMemoryContext, a->spec->options.tables);
	a->host.unchecked = host_unchecked;
	try(a);
	pg_write_barrier();
	pg_atomic_write_u32(&a->order->over, true);
	SetLatch(a->order->worker_latch);
}
