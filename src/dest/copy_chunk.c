/*
 * copy_chunk.c
 *		Loads a chunk of copied rows.
 *
 * A chunk is loaded in one transaction together with its key; what is handed out again
 * is recognised by the key.  The rows go through the sink like streamed ones.
 *
 * A row larger than a chunk comes in pieces.  The loader that gets the first
 * one reads the others by their subjects; whoever is handed one of them passes
 * over it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "bus/stream.h"
#include "catalog/namespace.h"
#include "conf/watch.h"
#include "core/compat_slot.h"
#include "core/error_context.h"
#include "core/injection_point.h"
#include "core/text.h"
#include "core/transaction.h"
#include "dest/copy_empty.h"
#include "dest/copy_loader_state.h"
#include "dest/copy_state.h"
#include "dest/ddl_known.h"
#include "dest/encoding.h"
#include "dest/foreign_keys.h"
#include "dest/rows.h"
#include "dest/worker_config.h"
#include "nodes/makefuncs.h"
#include "replication/origin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "wire/squeeze.h"

/* --- the first chunk of a table ------------------------------------------ */

/* Are there rows in it of other tables, which come from the same snapshot? */
static bool
has_rows_of_attempt(FloLoader *l, const FloRelation *target, const FloCopyKey *key)
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
prepare_table(FloLoader *l, const FloRelation *relation, const FloCopyKey *key, bool again)
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
	{
		(void) flo_copy_writer(l->spec, relation, relid);
		flo_sitting_try(l, at_source, relid, key->attempt);
		return;
	}
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
	flo_sitting_try(l, at_source, relid, key->attempt);
}

/* How long the pieces of a large row may be under way, ms */
#define PIECE_TIMEOUT 60000

/* Bytes that are set aside for such a row before they come */
#define ROOM_AT_ONCE (16 * 1024 * 1024)

/* --- loading ------------------------------------------------------------- */

/*
 * Is the table given up, and this copy not one that takes it up again?  Then its
 * chunks count as loaded, without their rows.
 */
static bool
is_given_up(FloLoader *l, const FloRelation *relation, XLogRecPtr lsn, uint32 attempt)
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
load_message(FloLoader *l, const FloCopyKey *key, char *data, uint32 len, FloTransaction *txn)
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
get_piece(FloLoader *l, const char *subject, FloStoredMessage *message, FloChunkHeader *header)
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
is_superseded(FloLoader *l, uint32 attempt)
{
	return flo_dest_copy_get(l->args->slot).newest > attempt;
}

/*
 * The rest of a row that began in a chunk, from the chunks that hold it.  False
 * when it will not come, since the source has begun the table again.
 */
static bool
collect_pieces(FloLoader *l, FloCopyKey *key, StringInfo row, uint32 total, uint16 flags)
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
load_rows(FloLoader *l, FloCopyKey *key, FloChunkReader *reader, const FloChunkHeader *header)
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
		/* what is said of its length may not be true */
		enlargeStringInfo(&row, Min(total, ROOM_AT_ONCE) + 1);
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
void
flo_loader_save_sink(FloLoader *l)
{
	if (l->sink->ops->save == NULL)
		return;
	ForceSyncCommit();
	flo_store_save_sink_state(l->group, l->worker, l->sink->ops->save(l->sink));
}

static void
load_given_up(FloLoader *l)
{
	MemoryContext old = flo_transaction_begin();

	MemoryContextReset(l->given_up_context);
	MemoryContextSwitchTo(l->given_up_context);
	l->given_up = flo_given_up_tables(l->group, l->worker);
	flo_transaction_end(old);
}

/* Rules and routes, and tables that are given up, as they are now, between chunks */
static void
follow_rules(FloLoader *l, const FloChunkHeader *header)
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

typedef enum Admission
{
	ADMITTED,
	OUTDATED,					/* rows of a snapshot that was given up */
	LATER
} Admission;

/*
 * Rows wait until the worker has seen to the definitions that came with their
 * snapshot; for ever, when the stream has to go on to that snapshot first.
 */
static Admission
admission(FloLoader *l, uint32 attempt)
{
	FloDestCopy copy = flo_dest_copy_get(l->args->slot);

	if (!copy.runs)
		proc_exit(0);
	if (copy.attempt < attempt)
		return LATER;
	return !copy.exact || copy.attempt == attempt ? ADMITTED : OUTDATED;
}

/* Is it a chunk of this copy? */
static bool
read_head(FloLoader *l, const FloBusDelivery *delivery, StringInfo room, FloChunkHeader *header,
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

/*
 * This one has made its index entries.  Whoever has the next rows goes on; the chunk
 * that was handed to this one meanwhile may be among them.
 */
void
flo_loader_pass_turn(FloLoader *l)
{
	FloChunkHeader header;
	FloChunkReader reader;
	FloCopyKey	key;

	if (!l->has_next)
		l->has_next = flo_bus_next_delivery(l->bus, &l->next);
	if (l->has_next && !l->waits && l->next.status == 0 &&
		read_head(l, &l->next, &l->next_plain, &header, &reader, &key))
		flo_dest_copy_queue(l->args->slot, l->args->number, key.relation, l->next.stream_seq);
	else
		flo_dest_copy_leave(l->args->slot, l->args->number);
}

static void
forget_table(void *arg, uint32 relation)
{
	FloLoader  *l = arg;

	flo_table_filter_forget(l->tables, relation);
	flo_worker_rules_forget(l->rules, relation);
	l->sink->ops->forget(l->sink, relation);
}

/* --- a chunk ------------------------------------------------------------- */

/*
 * The transaction of the chunk at hand, unless a sitting's is open.  The origin is set
 * from the first row on, lest a group in the other direction take these rows for
 * local ones, and is off again before anything else commits.
 */
static void
begin_transaction(FloLoader *l, const FloCopyKey *key)
{
	if (!l->sitting.open)
	{
		flo_dest_copy_queue(l->args->slot, l->args->number, key->relation, l->current);
		(void) flo_transaction_begin();
		flo_compat_xact_origin(DoNotReplicateId);
	}
	MemoryContextSwitchTo(l->turn);
}

/* Nothing was loaded in it */
static void
end_transaction(FloLoader *l)
{
	if (!l->sitting.open)
	{
		PopActiveSnapshot();
		flo_transaction_close();
		flo_compat_xact_origin(InvalidReplOriginId);
		flo_dest_copy_leave(l->args->slot, l->args->number);
	}
	MemoryContextSwitchTo(l->turn);
}

static void
commit_chunk(FloLoader *l, bool claimed)
{
	if (claimed)
	{
		flo_loader_pass_turn(l);
		flo_loader_save_sink(l);
	}
	PopActiveSnapshot();
	flo_transaction_close();
	flo_tally_commit(&l->tally);
	if (claimed)
	{
		flo_helper_progress(l->args->slot, l->args->incarnation);
		flo_dest_copy_count(l->args->slot, l->args->incarnation, 1);
	}
	flo_compat_xact_origin(InvalidReplOriginId);
	flo_statistics_report();
	l->unflushed = XactLastCommitEnd;
}

typedef enum Whose
{
	OURS,						/* or anybody's */
	HANDED_OVER,
	TO_WAIT_FOR					/* its owner has no room */
} Whose;

/* With "take", a table that nobody has and that is to be filled in a sitting is somebody's then */
static Whose
whose_table(FloLoader *l, const FloCopyKey *key, bool take, const FloBusDelivery *delivery)
{
	const FloProcessArgs *args = l->args;

	switch (flo_dest_copy_own(args->slot, args->incarnation, args->number, key->relation, take,
							  l->current, delivery->data, delivery->len))
	{
		case FLO_OWNED_NOT:
			return OURS;
		case FLO_OWNED_HERE:
			l->owned = true;
			return OURS;
		case FLO_OWNED_HANDED:
			return HANDED_OVER;
		case FLO_OWNED_FULL:
			l->full_for = key->relation;
			return TO_WAIT_FOR;
	}
	return OURS;				/* not reached */
}

/* False when nothing of it is for this transaction, or any */
static bool
claim_chunk(FloLoader *l, const FloCopyKey *key, uint32 current, bool finished)
{
	/*
	 * Not those of a snapshot that was given up, nor what is handed out again
	 * after its key was forgotten
	 */
	return current <= key->attempt && !(l->prepared && finished) &&
		flo_copied_claim(l->group, l->worker, key);
}

static void
load_claimed(FloLoader *l, FloCopyKey *key, FloChunkReader *reader, const FloChunkHeader *header)
{
	l->sink->ops->begin(l->sink);
	load_rows(l, key, reader, header);
	l->sink->ops->finish(l->sink);
	if (l->sitting.open)
		flo_sitting_note(l, key->relation);
}

/* Others may load the rest of it, or take it over */
static void
disown(FloLoader *l, uint32 relation)
{
	if (l->owned && !flo_sitting_has(l, relation))
		flo_dest_copy_disown(l->args->slot, l->args->incarnation, l->args->number, relation);
}

/*
 * How far is its table?  False when the sitting, which is not its, would have to end
 * first; in that no lock is taken for such a one.
 */
static bool
look_at_table(FloLoader *l, const FloChunkHeader *header, const FloCopyKey *key, uint32 *current,
			  bool *finished)
{
	bool		lock = !l->sitting.open || flo_sitting_has(l, key->relation);

	*current = flo_copied_current(l->group, l->worker, key->relation,
								  lock ? key->attempt : PG_UINT32_MAX, finished);
	l->prepared = *current == key->attempt;
	l->outdated = l->joins = false;
	l->planned = 0;
	/* a row in pieces may be long in coming */
	if (*current < key->attempt && !(header->flags & FLO_CHUNK_ENDS_FRAGMENT))
		flo_sitting_plan(l, key->relation, *current > 0);
	if (flo_sitting_ends_before_table(l, key->relation))
		return false;
	l->takes_turns = l->prepared && !l->sitting.open;
	return true;
}

/*
 * One chunk, in one transaction or in a sitting.  Waiting comes before it is begun: for the
 * definitions of the chunk's snapshot, with nothing open and nothing unacknowledged.
 * Then the key is claimed before the first row, in the transaction that loads it: who
 * is handed the chunk as well waits for our commit there, and finds it loaded.
 */
static bool
load_chunk(FloLoader *l, const FloBusDelivery *delivery, const FloChunkHeader *header,
		   FloChunkReader *reader, FloCopyKey *key)
{
	Whose		whose = OURS;
	FloOwned	given;
	uint32		current;
	bool		finished;
	bool		claimed;

	flo_injection_point("load.before");
	begin_transaction(l, key);
	if (!look_at_table(l, header, key, &current, &finished))
	{
		/* better somebody else who has none open */
		given = flo_dest_copy_give(l->args->slot, l->args->incarnation, l->current,
								   delivery->data, delivery->len);
		if (given != FLO_OWNED_NOT)
			return given == FLO_OWNED_HANDED;
		flo_sitting_end(l);
		return flo_loader_chunk(l, delivery);
	}
	if (l->planned != 0)
		whose = whose_table(l, key, true, delivery);
	if (whose != OURS)
	{
		end_transaction(l);
		return whose == HANDED_OVER;
	}
	claimed = claim_chunk(l, key, current, finished);
	if (claimed)
		load_claimed(l, key, reader, header);
	if (!l->sitting.open)
		commit_chunk(l, claimed);
	disown(l, key->relation);
	flo_injection_point("load.after");
	MemoryContextSwitchTo(l->turn);
	return true;
}

bool
flo_loader_chunk(FloLoader *l, const FloBusDelivery *delivery)
{
	FloChunkHeader header;
	FloChunkReader reader;
	FloCopyKey	key;
	Admission	admitted;
	Whose		whose;

	/* the rest of a row is read with its beginning */
	if (!read_head(l, delivery, &l->plain, &header, &reader, &key) ||
		(header.flags & FLO_CHUNK_STARTS_FRAGMENT))
		return true;
	l->owned = false;
	l->full_for = 0;
	whose = whose_table(l, &key, false, delivery);
	if (whose != OURS)
		return whose == HANDED_OVER;
	if (flo_sitting_ends_before(l, key.attempt) ||
		(l->sitting.open && (header.flags & FLO_CHUNK_ENDS_FRAGMENT)))
		flo_sitting_end(l);
	admitted = admission(l, key.attempt);
	if (admitted == LATER)
		flo_hand_hold(l, key.attempt);
	if (admitted == OUTDATED)
		disown(l, key.relation);
	if (admitted != ADMITTED)
		return admitted == OUTDATED;
	if (header.encoding != l->encoding)
	{
		l->encoding = header.encoding;
		flo_follow_encoding(l->parser, l->encoding);
	}
	if (!l->sitting.open)
		follow_rules(l, &header);
	flo_change_begin_chunk(l->parser);
	if (!l->sitting.open)
		flo_change_make_room(l->parser, forget_table, l);
	return load_chunk(l, delivery, &header, &reader, &key);
}
