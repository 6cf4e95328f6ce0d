/*
 * copy_loader.c
 *		Loads copied rows: the process.
 *
 * All loaders of a worker share one consumer of the copy stream.  A chunk is
 * acknowledged when the transaction that loaded it is flushed.
 *
 * Ordinary triggers do not fire, whatever the worker's option says: rows come in
 * any order.  Where it asks for them, the worker checks the foreign keys in the
 * end (foreign_keys.c).
 *
 * Loaders carry the origin "do not replicate", since a process can hold the
 * worker's own origin only once: what they load is not sent on by groups here.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/owner.h"
#include "bus/stream.h"
#include "core/transaction.h"
#include "dest/copy_loader.h"
#include "dest/copy_loader_state.h"
#include "dest/worker_config.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* Commits between two flushes */
#define FLUSH_EVERY 8

/* ms that a loader waits for those with earlier rows before it makes index entries */
#define TURN_TIMEOUT 500

/* ms between two looks at what else there is to do */
#define REST 50
#define SHORT_REST 5

static bool
copy_runs(const FloProcessArgs *args)
{
	return flo_dest_copy_get(args->slot).runs;
}

static void
take_names(FloLoader *l)
{
	FloDestCopy copy = flo_dest_copy_get(l->args->slot);

	flo_helper_names(l->args->slot, &l->group, &l->worker);
	l->generation = copy.generation;
	l->backfill = copy.backfill;
	l->stream = copy.backfill ? flo_name_backfill_stream(l->group) :
		flo_name_copy_stream(l->group);
	l->subject = psprintf("%s.%s", flo_name_subject(l->group), copy.backfill ? "backfill" : "copy");
	l->consumer = flo_name_consumer(l->group, l->worker, GetSystemIdentifier(), MyDatabaseId);
}

/* What a sink that writes elsewhere has to know; it is saved with each chunk */
static char *
load_sink_state(FloLoader *l)
{
	MemoryContext old = flo_transaction_begin();
	FloProgressRow *row;

	MemoryContextSwitchTo(old);
	row = flo_store_progress(l->group, l->worker);
	flo_transaction_end(old);
	return row != NULL ? row->sink_state : NULL;
}

/* For such a sink while it waits, which it may do for ever with rows of a copy that is left */
static void
serve(void *arg)
{
	FloLoader  *l = arg;

	flo_helper_check(l->args->slot, l->args->incarnation);
	if (!copy_runs(l->args))
		proc_exit(0);
	flo_bus_pump(l->bus);
}

/* A chunk is loaded as a whole */
static void
checkpoint(void *arg)
{
}

/* Who begins a table has the others wait for its commit, also those with earlier rows */
static void
await_turn(void *arg)
{
	FloLoader  *l = arg;

	if (l->takes_turns)
		flo_dest_copy_await_turn(l->args->slot, l->args->number, TURN_TIMEOUT);
}

/*
 * Rows go into empty tables, where nothing can be in conflict, or are merged;
 * see above for triggers
 */
static void
open_sink(FloLoader *l)
{
	const FloSinkOps *ops = flo_sink_ops(l->spec->sink);

	l->checks_keys = l->spec->options.fire_triggers;
	l->spec->options.fire_triggers = false;
	if (l->spec->options.copy_into != FLO_COPY_MERGE)
		l->spec->options.on_conflict = FLO_CONFLICT_ERROR;
	l->host.arg = l;
	if (ops->transactional)
	{
		l->host.await_turn = await_turn;
		l->sink = ops->open(l->spec, &l->tally, NULL, &l->host);
		return;
	}
	l->host.serve = serve;
	l->host.checkpoint = checkpoint;
	l->host.copying = !l->backfill;
	l->host.source_database = flo_owner_database(l->bus, flo_name_stream(l->group));
	l->sink = ops->open(l->spec, &l->tally, load_sink_state(l), &l->host);
	(void) flo_transaction_begin();
	flo_loader_save_sink(l);
	flo_transaction_end(GetMemoryChunkContext(l));
}

static bool
take_delivery(FloLoader *l, FloBusDelivery *delivery)
{
	if (!l->has_next)
		return flo_bus_next_delivery(l->bus, delivery);
	if (l->waits && l->waits_for != 0 && flo_dest_copy_is_full(l->args->slot, l->waits_for))
		return false;
	*delivery = l->next;
	l->has_next = false;
	return true;
}

/* False when it has to come again */
static bool
load(FloLoader *l, const FloBusDelivery *chunk)
{
	bool		done;

	flo_helper_check(l->args->slot, l->args->incarnation);
	l->in_hand = Min(l->in_hand, chunk->stream_seq);
	l->current = chunk->stream_seq;
	done = flo_loader_chunk(l, chunk);
	if (done)
		l->tally.done.bytes += chunk->len;
	l->current = PG_UINT64_MAX;
	return done;
}

/* Chunks of this one's tables that others were handed; true when there were any */
static bool
load_handed(FloLoader *l)
{
	FloBusDelivery chunk = {0};
	bool		any = false;

	while (flo_dest_copy_handed(l->args->slot, l->args->incarnation, l->args->number,
								&chunk.stream_seq, &chunk.data, &chunk.len))
	{
		MemoryContext old = MemoryContextSwitchTo(l->turn);

		if (load(l, &chunk))
		{
			any = true;
			flo_hand_show(l);
			flo_dest_copy_took(l->args->slot, l->args->incarnation, l->args->number,
							   chunk.stream_seq);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(l->turn);
		flo_check_interrupts();
	}
	return any;
}

static bool
load_delivery(FloLoader *l, FloBusDelivery *delivery)
{
	MemoryContext old = MemoryContextSwitchTo(l->turn);
	bool		done;

	flo_helper_check(l->args->slot, l->args->incarnation);
	l->last_seen = Max(l->last_seen, delivery->stream_seq);
	l->in_hand = Min(l->in_hand, delivery->stream_seq);
	if (l->expected <= 0)
		flo_hand_request(l);	/* the next one comes meanwhile */
	done = load(l, delivery);
	l->waits_for = done ? 0 : l->full_for;
	if (done)
	{
		if (!l->sitting.open)
			flo_loader_pass_turn(l);
		flo_hand_done(l, delivery->ack_subject);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(l->turn);
	return done;
}

static void
end_sitting(FloLoader *l, bool idle)
{
	MemoryContext old = MemoryContextSwitchTo(l->turn);

	if (flo_sitting_is_over(l, idle))
		flo_sitting_end(l);
	MemoryContextSwitchTo(old);
	MemoryContextReset(l->turn);
}

/* Load what has come; true when something had */
static bool
load_deliveries(FloLoader *l)
{
	FloBusDelivery delivery;
	bool		any = false;

	while (take_delivery(l, &delivery))
	{
		if (delivery.status != 0)
			l->expected = 0;
		else
		{
			if (!l->waits)
				l->expected--;
			l->waits = false;
			if (!load_delivery(l, &delivery))
			{
				l->next = delivery;
				l->has_next = l->waits = true;
				return any;
			}
			any = true;
		}
		flo_bus_release(l->bus, &delivery);
		if (list_length(l->unacked) >= FLUSH_EVERY)
			flo_hand_acknowledge(l);
		if (load_handed(l))
			any = true;
		end_sitting(l, false);
		flo_check_interrupts();
	}
	return any;
}

/* There is nothing to load */
static void
rest(FloLoader *l)
{
	end_sitting(l, true);
	if (!l->sitting.open)
		flo_hand_acknowledge(l);
	flo_bus_rest(l->bus, l->sitting.open || l->waits_for != 0 ? SHORT_REST : REST);
}

void
flo_loader_run(const FloProcessArgs *args)
{
	FloLoader  *l = palloc0(sizeof(FloLoader));
	bool		any;

	l->args = args;
	l->encoding = -1;
	l->in_hand = l->current = PG_UINT64_MAX;
	initStringInfo(&l->plain);
	initStringInfo(&l->next_plain);
	flo_tally_begin(&l->tally, args->slot, args->incarnation);
	take_names(l);
	l->turn = AllocSetContextCreate(CurrentMemoryContext, "pg_flo turn", ALLOCSET_DEFAULT_SIZES);
	l->parser = flo_change_parser_create(CurrentMemoryContext);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("max_parallel_maintenance_workers", "0", PGC_SUSET, PGC_S_OVERRIDE);
	l->spec = flo_my_spec(l->group, l->worker);
	if (l->spec == NULL)
		return;
	if (l->spec->options.tables != NULL)
		l->tables = flo_table_filter_create(CurrentMemoryContext, l->spec->options.tables);
	l->bus = flo_bus_connect(psprintf("pg_flo loader %s %s %d", l->group, l->worker, args->number));
	open_sink(l);
	if (!flo_dest_copy_join(args->slot, args->incarnation, args->number))
		return;
	while (copy_runs(args))
	{
		flo_helper_check(args->slot, args->incarnation);
		if (!l->has_next &&
			(l->expected <= 0 || flo_clock_passed(l->requested, FLO_PULL_EXPIRES + 1000)))
			flo_hand_request(l);
		flo_bus_pump(l->bus);
		any = load_handed(l);
		if (load_deliveries(l) || any)
			continue;
		rest(l);
	}
}
