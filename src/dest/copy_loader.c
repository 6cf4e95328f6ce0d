/*
 * copy_loader.c
 *		Loads copied rows.
 *
 * All loaders of a worker share one consumer of the copy stream.  A chunk is
 * loaded in one transaction together with its key, and acknowledged when that
 * is flushed; what is handed out again is recognised by the key.  The rows go
 * through the sink like streamed ones.
 *
 * A row larger than a chunk comes in pieces.  The loader that gets the first
 * one reads the others by their subjects; whoever is handed one of them passes
 * over it.
 *
 * Ordinary triggers do not fire, whatever the worker's option says: rows come in
 * any order.  Where it asks for them, the worker checks the foreign keys in the
 * end (foreign_keys.c).
 *
 * Loaders carry the origin "do not replicate", since a process can hold the
 * worker's own origin only once: what they load is not sent on by groups here.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "bus/json.h"
#include "bus/owner.h"
#include "bus/stream.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "conf/given_up.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "conf/watch.h"
#include "core/clock.h"
#include "core/compat_slot.h"
#include "core/error_context.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "dest/copy_empty.h"
#include "dest/copy_loader.h"
#include "dest/copy_schema_apply.h"
#include "dest/copy_sequences.h"
#include "dest/copy_state.h"
#include "dest/ddl_known.h"
#include "dest/encoding.h"
#include "dest/foreign_keys.h"
#include "dest/rows.h"
#include "dest/table_filter.h"
#include "dest/worker_config.h"
#include "dest/worker_rules.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/copy.h"
#include "monitor/state.h"
#include "nodes/makefuncs.h"
#include "replication/origin.h"
#include "sink/sink.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"
#include "wire/squeeze.h"

/*
 * One at a time: several loaders that have a share of a table each would be far
 * apart in its indexes
 */
#define PULL_BATCH 1
#define PULL_EXPIRES 1000		/* ms; for so long a loader without work may
								 * hold up the purge */

/* Commits between two flushes */
#define FLUSH_EVERY 8

/* ms that a loader waits for those with earlier rows before it makes index entries */
#define TURN_TIMEOUT 500

/* How long the pieces of a large row may be under way, ms */
#define PIECE_TIMEOUT 60000

typedef struct Loader
{
	const FloProcessArgs *args;
	char	   *group;
	char	   *worker;
	bool		backfill;
	char	   *stream;
	char	   *subject;		/* of its messages, and what follows it */
	char	   *consumer;
	FloWorkerSpec *spec;
	FloBus	   *bus;
	FloChangeParser *parser;
	FloTableFilter *tables;		/* of the option; NULL = all */
	FloWorkerRules *rules;		/* NULL until the first chunk */
	MemoryContext given_up_context;
	List	   *given_up;		/* of FloGivenUp *, in that */
	FloSink    *sink;
	FloSinkHost host;
	FloTally	tally;			/* open: of the chunk at hand */
	pg_uuid_t	generation;		/* chunks of others are not for us */
	int			encoding;
	MemoryContext turn;
	StringInfoData plain;		/* of the chunk at hand, if it came compressed */
	StringInfoData next_plain;	/* and of the next one */

	/* the table of the chunk at hand */
	bool		checks_keys;	/* in the end: the worker is one that fires
								 * triggers */
	bool		prepared;
	bool		takes_turns;	/* those with earlier rows do not wait for
								 * this one */
	bool		outdated;		/* it gets the rows of a later snapshot */

	/* the open request */
	int			expected;		/* messages still to come */
	FloClock	requested;
	uint64		bound;			/* none of them has a lower sequence */

	/* loaded, not acknowledged */
	List	   *unacked;		/* of char * */
	XLogRecPtr	unflushed;
	uint64		in_hand;		/* lowest sequence of these; PG_UINT64_MAX =
								 * none */
	uint64		last_seen;		/* highest sequence ever had */
	uint64		current;		/* of the chunk at hand */
	bool		has_next;		/* and the one that comes after it is here */
	FloBusDelivery next;
} Loader;

/* --- the first chunk of a table ------------------------------------------ */

/* Are there rows in it of other tables, which come from the same snapshot? */
static bool
has_rows_of_attempt(Loader *l, const FloRelation *target, const FloCopyKey *key)
{
	ListCell   *cell;

	foreach(cell, flo_copied_tables(l->group, l->worker))
	{
		const FloCopiedTable *table = lfirst(cell);
		const char *schema;
		const char *name;
		int64		mapped;

		if (table->relation == key->relation || table->attempt != key->attempt ||
			table->table[0] == '\0')
			continue;
		(void) flo_worker_rules_name(l->rules, table->schema, table->table, &schema, &name,
									 &mapped);
		if (strcmp(schema, target->schema) == 0 && strcmp(name, target->name) == 0)
			return true;
	}
	return false;
}

/* First chunk of a table, or of a new attempt: what may be in it? */
static void
prepare_table(Loader *l, const FloRelation *relation, const FloCopyKey *key, bool again)
{
	const FloRelation *at_source = relation;
	bool		shared = flo_worker_rules_shares_target(l->rules, relation);
	Oid			relid;

	relation = flo_worker_rules_target(l->rules, relation);
	relid = RangeVarGetRelid(makeRangeVar(relation->schema, relation->name, -1),
							 AccessShareLock, true);
	if (!OidIsValid(relid))
		return;					/* the sink says so better */
	(void) flo_ddl_adopt(l->group, relid, again ? FLO_ROWS_ANY : FLO_ROWS_NONE_SEEN, true);
	if (l->checks_keys)
		flo_foreign_keys_unchecked(l->spec, relid);
	if (again && shared && flo_table_has_rows(relid) && !has_rows_of_attempt(l, relation, key))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" gets rows of several tables, one of which is copied a second time: rows of the first copy cannot be told apart",
						relation->schema, relation->name),
				 errhint("Empty the table and start over with flo.resync() at the source.")));
	/* what is in it may be of another table */
	if (shared)
		return;
	if (again && l->spec->options.copy_into == FLO_COPY_MERGE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is copied a second time, and copy_into is merge: rows of the first copy cannot be told apart",
						relation->schema, relation->name),
				 errhint("Empty the table, or set copy_into to truncate.")));
	if (l->spec->options.copy_into == FLO_COPY_MERGE)
		return;
	if (!flo_table_has_rows(relid))
		return;
	if (!again && l->spec->options.copy_into == FLO_COPY_EMPTY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not empty, so rows are not copied into it",
						relation->schema, relation->name),
				 errhint("Empty it, or set the worker's option copy_into to truncate or merge.")));

	/* before it is locked, too */
	(void) flo_copy_writer(l->spec, relation, relid);

	/*
	 * another loader may just be at a table that goes by this name at the
	 * source
	 */
	if (strcmp(relation->schema, at_source->schema) != 0 ||
		strcmp(relation->name, at_source->name) != 0)
	{
		LockRelationOid(relid, AccessExclusiveLock);
		if (flo_worker_rules_shares_target(l->rules, at_source))
			return;
	}
	flo_copy_empty_table(l->spec, l->sink, relation, relid);
}

/* --- what need not be kept ----------------------------------------------- */

/*
 * The stream is purged by what loaders say, for the consumer cannot be asked:
 * a purge makes nats-server 2.9 forget what it has handed out, and the next
 * acknowledgement moves its floor over messages that are still being loaded.
 */
static void
show_low(Loader *l)
{
	uint64		low = l->in_hand;

	if (l->expected > 0)
		low = Min(low, Max(l->bound, l->last_seen + 1));
	flo_dest_copy_show(l->args->slot, l->args->incarnation, l->args->number, l->last_seen, low);
}

/*
 * What a request brings comes after everything that was handed out before it.
 * A request that never ended may still bring something.
 */
static void
before_request(Loader *l)
{
	if (l->expected <= 0)
		l->bound = flo_dest_copy_get(l->args->slot).seen + 1;
	l->expected = PULL_BATCH;
	show_low(l);
}

static void
request(Loader *l)
{
	before_request(l);
	flo_bus_pull(l->bus, l->stream, l->consumer, PULL_BATCH, PULL_EXPIRES);
	l->requested = flo_clock();
}

/* --- loading ------------------------------------------------------------- */

static void
acknowledge(Loader *l)
{
	ListCell   *cell;

	if (l->unacked == NIL)
		return;
	if (!XLogRecPtrIsInvalid(l->unflushed))
		XLogFlush(l->unflushed);
	flo_tally_hand_in();
	foreach(cell, l->unacked)
		flo_bus_publish(l->bus, lfirst(cell), "+ACK", 4);
	list_free_deep(l->unacked);
	l->unacked = NIL;
	l->unflushed = InvalidXLogRecPtr;
	l->in_hand = PG_UINT64_MAX;
	show_low(l);
}

static void
remember_ack(Loader *l, const char *subject)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(l));

	l->unacked = lappend(l->unacked, pstrdup(subject));
	MemoryContextSwitchTo(old);
}

/*
 * Is the table given up, and this copy not one that takes it up again?  Then its
 * chunks count as loaded, without their rows.
 */
static bool
is_given_up(Loader *l, const FloRelation *relation, XLogRecPtr lsn, uint32 attempt)
{
	ListCell   *cell;

	foreach(cell, l->given_up)
	{
		FloGivenUp *table = lfirst(cell);

		if (table->relation != 0 ? table->relation != relation->id :
			strcmp(table->schema, relation->schema) != 0 ||
			strcmp(table->table, relation->name) != 0)
			continue;
		if (table->asked)
			attempt = 0;		/* nothing of it is passed over */
		if (table->relation == 0 || !table->begun || table->passed < attempt)
			flo_given_up_note(table, relation->id, relation->schema, relation->name, lsn, attempt);
		table->relation = relation->id;
		table->begun = true;
		table->passed = Max(table->passed, attempt);
		return !table->asked;
	}
	return false;
}

static void
load_message(Loader *l, const FloCopyKey *key, char *data, uint32 len, FloTransaction *txn)
{
	const FloChange *change = flo_change_parse(l->parser, data, len);
	bool		taken;

	if (change->op == FLO_OP_TYPE)
		return;

	/*
	 * a table that the worker does not take need not be here; its chunks
	 * count as loaded all the same
	 */
	taken = flo_table_filter(l->tables, change) != NULL &&
		!is_given_up(l, change->relation, txn->final_lsn, key->attempt);
	flo_error_context_source(change->relation->id, change->relation->schema,
							 change->relation->name);
	if (!l->prepared)
	{
		bool		fresh;
		bool		again;

		l->outdated = flo_copied_begin_table(l->group, l->worker, key->relation,
											 change->relation->schema,
											 change->relation->name, key->attempt, &fresh,
											 &again) != key->attempt;
		if (fresh && taken && l->sink->ops->transactional)
			prepare_table(l, change->relation, key, again);
		l->prepared = true;
	}
	if (change->op != FLO_OP_INSERT || l->outdated)
		return;
	txn->ordinal++;
	if (!taken)
	{
		l->tally.open.filtered++;
		return;
	}
	change = flo_worker_rules_apply(l->rules, change, &l->tally.open);
	if (change != NULL)
		l->sink->ops->change(l->sink, txn, change);
}

/* A copy that was given up may have had pieces of the same name */
static bool
get_piece(Loader *l, const char *subject, FloStoredMessage *message, FloChunkHeader *header)
{
	if (!flo_stream_get_last(l->bus, l->stream, subject, message))
		return false;
	if (flo_chunk_open_own(&message->data, &message->len, header) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a piece of a large row is damaged: %s", subject)));
	if (memcmp(&header->generation, &l->generation, sizeof(pg_uuid_t)) == 0)
		return true;
	pfree(message->data);
	return false;
}

/* Has the source begun a later snapshot?  Then what it has not sent of this one does not come. */
static bool
is_superseded(Loader *l, uint32 attempt)
{
	return flo_dest_copy_get(l->args->slot).newest > attempt;
}

/*
 * The rest of a row that began in a chunk, from the chunks that hold it.  False
 * when it will not come, since the source has begun the table again.
 */
static bool
collect_pieces(Loader *l, FloCopyKey *key, StringInfo row, uint32 total, uint16 flags)
{
	FloClock	deadline = flo_clock_in(PIECE_TIMEOUT);

	/* it may take its time, for which nobody waits */
	flo_dest_copy_leave(l->args->slot, l->args->number);
	l->takes_turns = false;
	while (flags & FLO_CHUNK_ENDS_FRAGMENT)
	{
		FloStoredMessage message;
		FloChunkHeader header;
		FloChunkReader reader;
		FloCopyKey	piece;
		const char *data;
		uint32		len;
		char	   *subject;

		key->ordinal++;
		subject = psprintf("%s.%u-%u-%u-%u", l->subject, key->relation, key->attempt, key->range,
						   key->ordinal);
		while (!get_piece(l, subject, &message, &header))
		{
			if (flo_clock() > deadline)
				ereport(ERROR,
						(errcode(ERRCODE_DATA_CORRUPTED),
						 errmsg("a piece of a large row is not in the copy stream: %s", subject),
						 errhint("The broker has lost it, or a copier cannot publish: see the log of the source.")));
			flo_helper_check(l->args->slot, l->args->incarnation);
			if (is_superseded(l, key->attempt))
				return false;
			flo_bus_wait(l->bus, 200);
		}
		flo_chunk_read(&reader, message.data, message.len);
		if (!flo_chunk_next_copy_key(&reader, &piece) ||
			!flo_copied_claim(l->group, l->worker, &piece))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a piece of a large row was loaded without its beginning: %s",
							subject)));
		len = flo_chunk_take_raw(&reader, total - row->len, &data);
		appendBinaryStringInfo(row, data, len);
		flags = header.flags;
		pfree(message.data);
	}
	return true;
}

static void
load_rows(Loader *l, FloCopyKey *key, FloChunkReader *reader, const FloChunkHeader *header)
{
	FloTransaction txn = {0};
	const char *data;
	uint32		len;
	uint32		total;

	txn.final_lsn = Max(header->position, header->generation_start);
	txn.backfill = l->backfill;
	txn.copy_id = psprintf("%u-%u-%u-%u", key->relation, key->attempt, key->range, key->ordinal);
	while (flo_chunk_next(reader, &data, &len, &total))
	{
		StringInfoData row;

		if (len == total)
		{
			load_message(l, key, unconstify(char *, data), len, &txn);
			continue;
		}
		initStringInfo(&row);
		enlargeStringInfo(&row, Min(total, MaxAllocSize - 2) + 1);
		appendBinaryStringInfo(&row, data, len);
		if (!collect_pieces(l, key, &row, total, header->flags))
			return;
		load_message(l, key, row.data, row.len, &txn);
	}
}

/*
 * What a sink has written elsewhere is durable; that it is recorded in the
 * transaction that claims the chunk makes it count.
 */
static void
save_sink_state(Loader *l)
{
	if (l->sink->ops->save == NULL)
		return;
	ForceSyncCommit();
	flo_store_save_sink_state(l->group, l->worker, l->sink->ops->save(l->sink));
}

static void
load_given_up(Loader *l)
{
	MemoryContext old = flo_transaction_begin();

	MemoryContextReset(l->given_up_context);
	MemoryContextSwitchTo(l->given_up_context);
	l->given_up = flo_given_up_tables(l->group, l->worker);
	flo_transaction_end(old);
}

/* Rules and routes, and tables that are given up, as they are now, between chunks */
static void
follow_rules(Loader *l, const FloChunkHeader *header)
{
	MemoryContext old;

	if (l->rules == NULL)
	{
		char	   *generation = flo_text_of_uuid(&header->generation);

		old = MemoryContextSwitchTo(GetMemoryChunkContext(l));
		flo_transaction_start();
		flo_watch_init();
		flo_transaction_commit();
		MemoryContextSwitchTo(GetMemoryChunkContext(l));
		l->rules = flo_worker_rules_open(l->spec, generation);
		l->given_up_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo tables given up",
													ALLOCSET_SMALL_SIZES);
		MemoryContextSwitchTo(old);
		load_given_up(l);
	}
	else if (flo_watch_changed())
	{
		flo_worker_rules_load(l->rules);
		load_given_up(l);
	}
}

/* The chunk at hand has to wait: it must not look as if those before it were not in */
static void
hold_for_later(Loader *l, uint32 attempt)
{
	acknowledge(l);
	l->in_hand = l->current;
	show_low(l);
	flo_dest_copy_hold(l->args->slot, attempt, l->in_hand);
}

/*
 * Rows wait until the worker has seen to the definitions that came with their
 * snapshot; for ever, when the stream has to go on to that snapshot first.
 * False for rows of one that was given up.
 */
static bool
await_admission(Loader *l, uint32 attempt)
{
	for (;;)
	{
		FloDestCopy copy = flo_dest_copy_get(l->args->slot);

		flo_helper_check(l->args->slot, l->args->incarnation);
		if (!copy.runs)
			proc_exit(0);
		if (copy.attempt >= attempt)
			return !copy.exact || copy.attempt == attempt;
		hold_for_later(l, attempt);
		flo_bus_wait(l->bus, 100);
	}
}

/* Is it a chunk of this copy? */
static bool
read_head(Loader *l, const FloBusDelivery *delivery, StringInfo room, FloChunkHeader *header,
		  FloChunkReader *reader, FloCopyKey *key)
{
	char	   *data = delivery->data;
	int			len = delivery->len;

	/* if a damaged one mattered, the count will not come right */
	if (flo_chunk_open(&data, &len, header, room) != NULL ||
		!(header->flags & FLO_CHUNK_COPY))
		return false;
	if (memcmp(&header->generation, &l->generation, sizeof(pg_uuid_t)) != 0)
		return false;			/* of a copy that was given up */
	flo_chunk_read(reader, data, len);
	return flo_chunk_next_copy_key(reader, key);
}

static bool
take_delivery(Loader *l, FloBusDelivery *delivery)
{
	if (!l->has_next)
		return flo_bus_next_delivery(l->bus, delivery);
	*delivery = l->next;
	l->has_next = false;
	return true;
}

/*
 * This one has made its index entries.  Whoever has the next rows goes on; the chunk
 * that was handed to this one meanwhile may be among them.
 */
static void
pass_turn(Loader *l)
{
	FloChunkHeader header;
	FloChunkReader reader;
	FloCopyKey	key;

	if (!l->has_next)
		l->has_next = flo_bus_next_delivery(l->bus, &l->next);
	if (l->has_next && l->next.status == 0 &&
		read_head(l, &l->next, &l->next_plain, &header, &reader, &key))
		flo_dest_copy_queue(l->args->slot, l->args->number, key.relation, l->next.stream_seq);
	else
		flo_dest_copy_leave(l->args->slot, l->args->number);
}

static void
forget_table(void *arg, uint32 relation)
{
	Loader	   *l = arg;

	flo_table_filter_forget(l->tables, relation);
	flo_worker_rules_forget(l->rules, relation);
	l->sink->ops->forget(l->sink, relation);
}

/*
 * One chunk, one transaction.  Waiting comes before it is begun: for the
 * definitions of the chunk's snapshot, with nothing open and nothing unacknowledged.
 * Then the key is claimed before the first row, in the transaction that loads it: who
 * is handed the chunk as well waits for our commit there, and finds it loaded.  The
 * origin is set from the first row on, lest a group in the other direction take
 * these rows for local ones, and is off again before anything else commits.
 */
static void
load_chunk(Loader *l, FloBusDelivery *delivery)
{
	FloChunkHeader header;
	FloChunkReader reader;
	FloCopyKey	key;
	uint32		current;
	bool		finished;
	bool		claimed;

	if (!read_head(l, delivery, &l->plain, &header, &reader, &key))
		return;
	if (!await_admission(l, key.attempt))
		return;
	if (header.encoding != l->encoding)
	{
		l->encoding = header.encoding;
		flo_follow_encoding(l->parser, l->encoding);
	}
	follow_rules(l, &header);
	flo_change_begin_chunk(l->parser);
	flo_change_make_room(l->parser, forget_table, l);

	flo_injection_point("load.before");
	flo_dest_copy_queue(l->args->slot, l->args->number, key.relation, l->current);
	(void) flo_transaction_begin();
	flo_compat_xact_origin(DoNotReplicateId);
	MemoryContextSwitchTo(l->turn);
	current = flo_copied_current(l->group, l->worker, key.relation, key.attempt, &finished);
	l->prepared = l->takes_turns = current == key.attempt;
	l->outdated = false;

	/*
	 * Not those of a snapshot that was given up, nor what is handed out again
	 * after its key was forgotten; the rest of a row was read with its
	 * beginning.
	 */
	claimed = current <= key.attempt && !(l->prepared && finished) &&
		!(header.flags & FLO_CHUNK_STARTS_FRAGMENT) &&
		flo_copied_claim(l->group, l->worker, &key);
	if (claimed)
	{
		l->sink->ops->begin(l->sink);
		load_rows(l, &key, &reader, &header);
		l->sink->ops->finish(l->sink);
		pass_turn(l);
		save_sink_state(l);
	}
	PopActiveSnapshot();
	flo_transaction_close();
	flo_tally_commit(&l->tally);
	if (claimed)
	{
		flo_helper_progress(l->args->slot, l->args->incarnation);
		flo_dest_copy_count(l->args->slot, l->args->incarnation);
	}
	flo_compat_xact_origin(InvalidReplOriginId);
	flo_statistics_report();
	l->unflushed = XactLastCommitEnd;
	flo_injection_point("load.after");
	MemoryContextSwitchTo(l->turn);
}

/* --- the helper process -------------------------------------------------- */

static bool
copy_runs(const FloProcessArgs *args)
{
	return flo_dest_copy_get(args->slot).runs;
}

static void
take_names(Loader *l)
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
load_sink_state(Loader *l)
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
	Loader	   *l = arg;

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
	Loader	   *l = arg;

	if (l->takes_turns)
		flo_dest_copy_await_turn(l->args->slot, l->args->number, TURN_TIMEOUT);
}

/*
 * Rows go into empty tables, where nothing can be in conflict, or are merged;
 * see above for triggers
 */
static void
open_sink(Loader *l)
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
	save_sink_state(l);
	flo_transaction_end(GetMemoryChunkContext(l));
}

/* Load what has come; true when something had */
static bool
load_deliveries(Loader *l)
{
	FloBusDelivery delivery;
	bool		any = false;

	while (take_delivery(l, &delivery))
	{
		if (delivery.status != 0)
			l->expected = 0;
		else
		{
			MemoryContext old = MemoryContextSwitchTo(l->turn);

			l->expected--;
			any = true;
			l->last_seen = Max(l->last_seen, delivery.stream_seq);
			l->in_hand = Min(l->in_hand, delivery.stream_seq);
			l->current = delivery.stream_seq;
			if (l->expected <= 0)
				request(l);		/* the next one comes meanwhile */
			load_chunk(l, &delivery);
			pass_turn(l);
			l->tally.done.bytes += delivery.len;
			remember_ack(l, delivery.ack_subject);
			MemoryContextSwitchTo(old);
			MemoryContextReset(l->turn);
		}
		flo_bus_release(l->bus, &delivery);
		if (list_length(l->unacked) >= FLUSH_EVERY)
			acknowledge(l);
		flo_check_interrupts();
	}
	return any;
}

void
flo_loader_run(const FloProcessArgs *args)
{
	Loader	   *l = palloc0(sizeof(Loader));

	l->args = args;
	l->encoding = -1;
	l->in_hand = PG_UINT64_MAX;
	initStringInfo(&l->plain);
	initStringInfo(&l->next_plain);
	flo_tally_begin(&l->tally, args->slot, args->incarnation);
	take_names(l);
	l->turn = AllocSetContextCreate(CurrentMemoryContext, "pg_flo turn", ALLOCSET_DEFAULT_SIZES);
	l->parser = flo_change_parser_create(CurrentMemoryContext);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	l->spec = flo_my_spec(l->group, l->worker);
	if (l->spec == NULL)
		return;
	if (l->spec->options.tables != NULL)
		l->tables = flo_table_filter_create(CurrentMemoryContext, l->spec->options.tables);
	l->bus = flo_bus_connect(psprintf("pg_flo loader %s %s %d", l->group, l->worker, args->number));
	open_sink(l);
	while (copy_runs(args))
	{
		flo_helper_check(args->slot, args->incarnation);
		if (l->expected <= 0 || flo_clock_passed(l->requested, PULL_EXPIRES + 1000))
			request(l);
		flo_bus_pump(l->bus);
		if (load_deliveries(l))
			continue;
		acknowledge(l);
		flo_bus_wait(l->bus, 50);
	}
}
