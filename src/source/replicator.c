/*
 * replicator.c
 *		The source side of a group: from WAL to the stream.
 *
 *	 connect -> generation and slot -> stream -> session -> loop
 *
 * The steps before the loop decide whether this source may publish at all;
 * src/source/session.c holds the rules.  The loop decodes, publishes, takes
 * the broker's answers and lets go of what nobody needs any more.  Any error
 * ends the process and so the session; the next one finds its place again in
 * the stream.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/message.h"
#include "conf/publication.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "conf/watch.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/memory.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/stop.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "source/copy_control.h"
#include "source/ddl_filter.h"
#include "source/decoder.h"
#include "source/generation.h"
#include "source/outgoing.h"
#include "source/own_messages.h"
#include "source/ownership.h"
#include "source/publisher.h"
#include "source/reports.h"
#include "source/replicator.h"
#include "source/replicator_impl.h"
#include "source/session.h"
#include "source/settle.h"
#include "source/spool.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Records decoded between two looks at the socket */
#define STEPS_PER_TURN 256

/* ms between two rounds of letting go and of reporting */
#define HOUSEKEEPING_INTERVAL 200

/* ms between two saves of the slot to disk, each an fsync */
#define SLOT_SAVE_INTERVAL 10000

/* ms between two looks whether an idle slot holds old WAL */
#define NUDGE_INTERVAL 15000

/* --- before the loop --------------------------------------------------------------- */

/* Reads this group's row; false when it is gone */
bool
flo_replicator_load_spec(Replicator *rep)
{
	MemoryContext old = flo_transaction_begin();

	MemoryContextReset(rep->spec_context);
	MemoryContextSwitchTo(rep->spec_context);
	rep->spec = flo_store_replicator(rep->group);
	rep->choice = flo_store_table_choice(rep->group);
	if (rep->decoder != NULL)
		flo_decoder_set_choice(rep->decoder, rep->choice);
	if (rep->spec != NULL)
	{
		flo_ddl_filter_load(rep->ddl_filter, rep->spec, rep->choice);
		flo_own_messages_set_key(rep->own_messages, flo_message_key(rep->group));
	}
	flo_transaction_end(old);
	if (rep->spec != NULL)
		flo_rights_check_member(rep->group, rep->spec->owner, false);
	return rep->spec != NULL;
}

FloStreamConfig
flo_replicator_stream_config(Replicator *rep)
{
	const FloReplicatorOptions *options = &rep->spec->options;
	FloStreamConfig config = {0};

	config.name = rep->stream;
	config.subject = flo_name_subject(rep->group);
	config.max_bytes = options->stream_max_bytes >= 0 ? options->stream_max_bytes :
		(int64) flo_stream_max_bytes * 1024 * 1024;
	config.max_age = options->stream_max_age >= 0 ? options->stream_max_age : flo_stream_max_age;
	config.replicas = (int) (options->stream_replicas > 0 ? options->stream_replicas : flo_stream_replicas);
	config.description = flo_ownership_of_stream(&rep->claim);
	return config;
}

/* Something is waited for that a new process looks at anew */
void
flo_replicator_begin_anew(void)
{
	/* not left as failed: the launcher is to start another */
	flo_state_set(FLO_STATE_WAITING, "for a new process to take up the configuration");
	proc_exit(0);
}

/* --- beginning a session --------------------------------------------------------------- */

/*
 * Nothing at the broker is touched before it is known to be nobody else's.  Then
 * the bucket is needed first.  Returns the generation that is recorded here.
 */
static FloGeneration *
claim(Replicator *rep)
{
	FloGeneration *generation = flo_generation_load(rep->group);
	MemoryContext old = flo_transaction_begin();
	FloStreamConfig config;
	FloDispute *dispute;

	MemoryContextSwitchTo(old);
	rep->claim.group = rep->group;
	rep->claim.owner = flo_ownership_here();
	rep->claim.generation = generation;
	flo_transaction_end(old);
	dispute = flo_ownership_dispute(rep->bus, &rep->claim);
	if (dispute != NULL)
		flo_dispute_fail(dispute);
	config = flo_replicator_stream_config(rep);
	config.description = flo_ownership_of_bucket(&rep->claim);
	flo_bucket_create(rep->bus, rep->bucket, &config);
	return generation;
}

/*
 * Find or make the stream and begin a session on it.  Nothing at the broker is
 * touched before it is known that the stream is ours.  A stream that should be
 * there and is not counts as an empty one: whether that is a loss is decided
 * like for any other end of the stream.
 */
static void
begin_session(Replicator *rep, XLogRecPtr confirmed_flush)
{
	FloStreamConfig config = flo_replicator_stream_config(rep);
	FloStreamInfo info = {0};
	FloStreamEnd end = {0};
	FloAccountInfo account;
	bool		there = flo_stream_info(rep->bus, rep->stream, &info);
	bool		earlier;

	if (there)
		flo_session_read_end(rep->bus, rep->stream, &info, &end);
	earlier = flo_session_check(&end, &rep->identity, rep->generation);

	flo_reports_load(rep->bus, rep->bucket, rep->settle);
	if (there)
		flo_stream_update(rep->bus, &config);
	if (earlier)
		flo_generation_empty_stream(rep->bus, rep->stream, &info, &end);
	flo_generation_announce(&rep->copy, rep->spec->mode);
	rep->published_seq = info.last_seq;
	if (!flo_reports_await(rep->bus, rep->bucket, rep->settle, end.found,
						   end.found ? end.newest.position : rep->identity.generation_start, confirmed_flush))
		flo_replicator_begin_anew();			/* it may be the wrong broker */
	flo_reports_forget_stale(rep->bus, rep->bucket, rep->settle, info.last_seq);
	flo_session_begin(&info, &end, &rep->identity, rep->recorded_epoch,
					  confirmed_flush, rep->settle, &rep->session);
	if (end.found && (end.newest.flags & FLO_CHUNK_ENDS_INSIDE))
	{
		rep->half_seq = info.last_seq;
		rep->half_upto = end.newest.upto;
	}
	if (!there)
		flo_stream_create(rep->bus, &config);
	flo_account_info(rep->bus, &account);
	rep->session.one_by_one = account.refuses_late;
	rep->recorded_epoch = rep->session.epoch;
	flo_generation_save_epoch(rep->group, rep->session.epoch);
	rep->published = rep->session.start;
	rep->published_seq = rep->session.last_seq;
}

/* --- the loop ---------------------------------------------------------------------- */

/* The group's publications, in this context */
static List *
publications(const char *group)
{
	MemoryContext old = flo_transaction_begin();
	List	   *names;

	MemoryContextSwitchTo(old);
	names = flo_publication_names(group);
	flo_transaction_end(old);
	return names;
}

void
flo_replicator_report(Replicator *rep)
{
	FloPositions positions = {0};

	positions.received = rep->session.start;
	if (rep->decoder != NULL)
		positions.received = Max(positions.received, flo_decoder_position(rep->decoder));
	positions.durable = rep->published;
	positions.known = rep->published;
	positions.oldest_pending = flo_publisher_oldest(rep->publisher);
	flo_state_report(&positions);
}

/* For people and other tools: nothing here depends on it */
static void
show_position(Replicator *rep)
{
	FloSourceRecord record = {0};

	if (rep->reported == rep->published)
		return;
	record.lsn = rep->published;
	record.system_identifier = rep->identity.system_identifier;
	strlcpy(record.generation, DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&rep->identity.generation))),
			sizeof(record.generation));
	record.epoch = rep->session.epoch;
	flo_records_put(rep->bus, rep->bucket, FLO_SOURCE_KEY, &flo_source_format, &record, false);
	rep->reported = rep->published;
}

/* Between transactions only: never inside a callback of the decoder */
static void
release_wal(Replicator *rep)
{
	XLogRecPtr	lsn = Min(flo_settle_confirmable(rep->settle, rep->spec->options.release_wal),
						  rep->published);
	bool		save = lsn > rep->slot_saved_lsn &&
		flo_clock_passed(rep->slot_saved, SLOT_SAVE_INTERVAL);

	if (!XLogRecPtrIsInvalid(lsn))
	{
		flo_stop_point("confirm.before");
		flo_decoder_confirm(rep->decoder, lsn, save);
		flo_stop_point("confirm.after");
	}
	if (save)
	{
		rep->slot_saved = flo_clock();
		rep->slot_saved_lsn = lsn;
	}
	if (flo_clock_passed(rep->nudged, NUDGE_INTERVAL))
	{
		rep->nudged = flo_clock();
		flo_decoder_nudge(rep->decoder);
	}
}

/* Now and then; "inside" a transaction's callbacks only what is allowed there */
static void
housekeep(Replicator *rep, bool inside)
{
	if (!flo_clock_passed(rep->housekeeping, HOUSEKEEPING_INTERVAL))
		return;
	rep->housekeeping = flo_clock();
	rep->key_removed |= flo_reports_take(rep->bus, rep->bucket, rep->settle);
	flo_upkeep_purge(rep);
	show_position(rep);
	flo_ddl_filter_announce(rep->ddl_filter, rep->bus, rep->bucket);
	flo_replicator_report(rep);
	if (inside)
		return;
	release_wal(rep);
	flo_copy_record(&rep->copy);

	/* tables may have been asked for while the copy ran */
	rep->changed |= flo_copy_check(&rep->copy);
	flo_copy_show();
}

/* Chunks are acknowledged: called while publishing, also inside a transaction */
static void
chunk_acknowledged(void *arg, XLogRecPtr position, uint64 seq)
{
	Replicator *rep = arg;

	rep->published = position;
	rep->published_seq = seq;
	rep->last_sent = flo_clock();
	flo_settle_acked(rep->settle, position);
	if (rep->full)
	{
		rep->full = false;
		flo_state_set(FLO_STATE_STREAMING, NULL);	/* or copying, as soon as that can be asked */
	}
	housekeep(rep, true);
}

static bool
last_record(void *arg, XLogRecPtr *lsn, uint32 *crc)
{
	Replicator *rep = arg;

	*lsn = InvalidXLogRecPtr;
	*crc = 0;
	return rep->decoder != NULL && flo_decoder_anchor(rep->decoder, lsn, crc);
}

/*
 * Large transactions are published at their commit, where the reorder buffer has
 * no transaction open; rules need one.
 */
static void
emit(void *arg, TransactionId xid, const char *data, uint32 len)
{
	Replicator *rep = arg;
	MemoryContext old = CurrentMemoryContext;
	bool		begin = !IsTransactionState() && !flo_outgoing_is_empty(rep->outgoing);

	if (begin)
		flo_transaction_start();
	MemoryContextSwitchTo(old);
	flo_spool_message(rep->spool, xid, data, len);
	if (begin)
		flo_transaction_commit();
	MemoryContextSwitchTo(old);
}

/* A message that pg_flo has written for this group: what is sent on of it */
static char *
take_message(void *arg, const FloMessage *message, const char **prefix)
{
	Replicator *rep = arg;

	switch (message->kind)
	{
		case FLO_MESSAGE_DDL:
		case FLO_MESSAGE_DDL_END:
			*prefix = FLO_DDL_PREFIX;
			return flo_ddl_filter_apply(rep->ddl_filter, message);
		case FLO_MESSAGE_SEQUENCES:
			*prefix = FLO_SEQUENCES_PREFIX;
			return pnstrdup(message->payload, message->len);
		case FLO_MESSAGE_COPIES:
			*prefix = FLO_COPIES_PREFIX;
			return pnstrdup(message->payload, message->len);
	}
	return NULL;				/* of a later version, which has gone */
}

static void
forget_statements(void *arg, TransactionId xid)
{
	flo_ddl_filter_forget(((Replicator *) arg)->ddl_filter, xid);
}

/*
 * Configuration changed: false when the group has no replicator any more, or
 * a process has to begin anew with it.
 */
static bool
follow_configuration(Replicator *rep)
{
	FloStreamConfig config;

	if (!rep->changed && rep->reloads == flo_reload_count)
		return true;
	rep->changed = false;
	rep->reloads = flo_reload_count;
	if (!flo_replicator_load_spec(rep))
		return false;
	if (list_length(publications(rep->group)) != rep->npublications)
		return false;			/* the decoder has to be opened anew */
	if (flo_copy_wanted(&rep->copy))
		return false;			/* a snapshot can only be taken before decoding */
	flo_decoder_set_origin(rep->decoder, rep->spec->options.origin);
	flo_copy_set_limit(&rep->copy, rep->spec->options.copy_stream_max_bytes);
	config = flo_replicator_stream_config(rep);
	flo_stream_update(rep->bus, &config);
	return true;
}

/* Make everything written so far readable */
static void
flush_wal(void)
{
	XLogFlush(GetLastImportantRecPtr() + 1);
}

/*
 * A commit that did not wait for the disk cannot be read before somebody
 * flushes it, and nobody else may for a while.
 */
static bool
flush_commit(void)
{
	XLogRecPtr	commit = pg_atomic_read_u64(&flo_wake_slots[flo_my_slot].commit_lsn);

	if (commit <= GetFlushRecPtr(NULL))
		return false;
	XLogFlush(commit);
	return true;
}

/* Say how far we are when there was nothing else to say it with */
static void
heartbeat(Replicator *rep, bool caught_up, bool *wanted)
{
	XLogRecPtr	position = Max(flo_decoder_position(rep->decoder), rep->session.start);

	if (!flo_publisher_idle(rep->publisher))
		return;
	if (position <= rep->published)
	{
		*wanted = *wanted && !caught_up;
		return;
	}
	if ((*wanted && caught_up) ||
		flo_clock_passed(rep->last_sent, flo_heartbeat_interval))
	{
		flo_publisher_heartbeat(rep->publisher, position);
		rep->last_sent = flo_clock();
		*wanted = false;
	}
}

/*
 * Tables are forgotten all at once: what the publisher has forgotten the plugin
 * must describe again.  A large transaction on its way holds descriptions too,
 * and would be read again from its beginning.
 */
static void
make_room(Replicator *rep)
{
	FloRoom    *room = flo_publisher_room(rep->publisher);

	if (!flo_spool_is_empty(rep->spool) ||
		!flo_room_is_needed(room, flo_decoder_table_memory(rep->decoder)))
		return;
	flo_outgoing_forget(rep->outgoing);
	flo_publisher_forget(rep->publisher);
	flo_decoder_forget(rep->decoder);
	flo_room_made(room, flo_decoder_table_memory(rep->decoder));
}

/*
 * Transactions are decoded with the publication as it was when they committed.
 * Of those without one, by that name, nothing can be told any more.
 */
pg_noreturn static void
fail_unpublished(Replicator *rep)
{
	flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			 "flo.resync() makes the publication anew where it is missing, and copies the tables afresh.",
			 "publication \"%s\" was dropped, or dropped and made again: what was committed meanwhile cannot be published",
			 flo_name_publication(rep->group));
}

/* False when there is nothing more to read now */
static bool
decode_some(Replicator *rep)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool more = true;
	volatile bool unpublished = false;

	PG_TRY();
	{
		for (int i = 0; i < STEPS_PER_TURN && more; i++)
		{
			more = flo_decoder_step(rep->decoder);
			flo_copy_mark_snapshot(&rep->copy, rep->publisher, flo_decoder_position(rep->decoder));
		}
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		/* by name, and as the plugin says it of one that it has still seen */
		unpublished = (error->sqlerrcode == ERRCODE_UNDEFINED_OBJECT &&
					   strstr(error->message, flo_name_publication(rep->group)) != NULL) ||
			strncmp(error->message, "cache lookup failed for publication ", 36) == 0;
		FreeErrorData(error);
		if (!unpublished)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	if (unpublished)
		fail_unpublished(rep);
	return more;
}

static void
loop(Replicator *rep)
{
	bool		wanted = false; /* somebody waits for a position */
	MemoryContext turn = AllocSetContextCreate(CurrentMemoryContext, "pg_flo turn",
											   ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(turn);
	for (;;)
	{
		bool		more;
		bool		changed;

		MemoryContextReset(turn);
		flo_check_interrupts();
		if (pg_atomic_exchange_u32(&flo_wake_slots[flo_my_slot].wanted, 0) != 0)
		{
			flush_wal();
			wanted = true;
		}
		more = decode_some(rep);
		make_room(rep);
		flo_publisher_pump(rep->publisher);
		changed = flo_watch_changed();
		rep->changed |= changed;
		flo_outgoing_follow(rep->outgoing, changed, rep->spec->owner);
		if (!more)
			flo_publisher_flush(rep->publisher);
		heartbeat(rep, !more, &wanted);
		flo_upkeep_look(rep);
		housekeep(rep, false);
		if (more || flush_commit())
			continue;
		if (!follow_configuration(rep))
			return;
		flo_replicator_report(rep);
		flo_bus_wait(rep->bus, Min(flo_heartbeat_interval, 1000));
	}
}

/*
 * Mode copy: nothing is decoded.  A chunk tells the workers what there is, the
 * leader does the rest; then the group rests, on both sides.
 */
static void
wait_for_copy(Replicator *rep)
{
	MemoryContext old;

	while (flo_copy_phase() != FLO_COPY_DONE)
	{
		(void) flo_copy_check(&rep->copy);
		flo_publisher_pump(rep->publisher);
		housekeep(rep, true);
		flo_copy_record(&rep->copy);
		flo_copy_show();
		if (flo_watch_changed() && !flo_replicator_load_spec(rep))
			return;
		flo_copy_set_limit(&rep->copy, rep->spec->options.copy_stream_max_bytes);
		flo_bus_wait(rep->bus, 200);
	}
	old = flo_transaction_begin();
	flo_store_stop_member(rep->group, FLO_REPLICATOR_MEMBER);
	flo_transaction_end(old);
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	flo_me->wanted = false;
	LWLockRelease(flo_shared->lock);
}

void
flo_replicator_run(void)
{
	Replicator *rep = palloc0(sizeof(Replicator));
	FloPublisherHost host = {0};
	pg_uuid_t	nobody = {0};
	FloGeneration *generation;
	List	   *names;
	bool		decodes;

	rep->spec_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo configuration",
											  ALLOCSET_SMALL_SIZES);
	rep->full_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo full broker",
											  ALLOCSET_SMALL_SIZES);
	flo_tally_begin(&rep->tally, flo_my_slot, flo_me->incarnation);
	rep->ddl_filter = flo_ddl_filter_create();
	rep->own_messages = flo_own_messages_create(&rep->tally.done.foreign_messages);
	flo_own_messages_when_over(rep->own_messages, forget_statements, rep);
	rep->group = flo_me->group;
	rep->stream = flo_name_stream(rep->group);
	rep->slot = flo_name_slot(MyDatabaseId, rep->group);
	rep->bucket = flo_name_bucket(rep->group);

	if (!flo_replicator_load_spec(rep))
		return;
	decodes = rep->spec->mode != FLO_MODE_COPY;
	rep->bus = flo_bus_await(psprintf("pg_flo replicator %s", rep->group));
	rep->begun = rep->looked = flo_clock();
	rep->reloads = flo_reload_count;
	flo_bus_when_full(rep->bus, flo_upkeep_found_no_room, rep);
	rep->copy.group = rep->group;
	rep->copy.slot = rep->slot;
	rep->copy.bucket = rep->bucket;
	rep->copy.bus = rep->bus;
	rep->copy.stream_limit = rep->spec->options.copy_stream_max_bytes;
	rep->settle = flo_settle_create(&nobody);
	generation = flo_generation_find(&rep->copy, rep->spec, claim(rep));
	rep->claim.generation = generation;
	rep->generation = generation;
	rep->recorded_epoch = generation->epoch;
	rep->identity.system_identifier = GetSystemIdentifier();
	rep->identity.timeline = GetWALInsertionTimeLine();
	rep->identity.generation = generation->id;
	rep->identity.generation_start = generation->start;
	rep->settle = flo_settle_create(&generation->id);
	begin_session(rep, decodes ? flo_session_check_slot(rep->slot) : generation->start);
	if (flo_generation_begins_with_copy(generation, rep->spec->mode))
		rep->session.flags = FLO_CHUNK_COPIED | (decodes ? 0 : FLO_CHUNK_COPY_ONLY);

	host.acked = chunk_acknowledged;
	host.anchor = last_record;
	host.full = flo_upkeep_chunk_found_no_room;
	host.arg = rep;
	rep->publisher = flo_publisher_open(rep->bus, flo_name_subject(rep->group), &rep->identity,
										&rep->session, &host, &rep->tally);
	rep->spool = flo_spool_create(rep->publisher);
	rep->outgoing = flo_outgoing_open(rep->group, rep->spec->owner, rep->publisher);
	/* the first chunk of a generation names the copies that were asked for before it began */
	if (decodes)
		flo_copy_requested(&rep->copy, rep->publisher, rep->spec, rep->session.first);
	flo_publisher_heartbeat(rep->publisher, rep->session.start);
	if (!decodes)
	{
		wait_for_copy(rep);
		return;
	}
	names = publications(rep->group);
	rep->npublications = list_length(names);
	if (names == NIL)
		fail_unpublished(rep);
	rep->decoder = flo_decoder_open(rep->slot, rep->session.start, names,
									rep->spec->options.origin, rep->own_messages,
									emit, take_message, rep);
	flo_decoder_set_choice(rep->decoder, rep->choice);
	flo_copy_show();
	flo_shstate_register_replicator();
	loop(rep);
}
