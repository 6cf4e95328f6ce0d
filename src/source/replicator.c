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

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/message.h"
#include "conf/publication.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/memory.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/text.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/copy.h"
#include "monitor/members.h"
#include "monitor/state.h"
#include "source/copy_control.h"
#include "source/cutover.h"
#include "source/ddl_filter.h"
#include "source/decoder.h"
#include "source/definitions.h"
#include "source/generation.h"
#include "source/own_messages.h"
#include "source/ownership.h"
#include "source/presence.h"
#include "source/publisher.h"
#include "source/release.h"
#include "source/replicator.h"
#include "source/replicator_config.h"
#include "source/replicator_rules.h"
#include "source/replicator_state.h"
#include "source/reports.h"
#include "source/retention.h"
#include "source/session.h"
#include "source/spool.h"
#include "source/upkeep.h"
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

/* Bytes of WAL that are read again for long enough to say so from the start */
#define READING_AGAIN_TOLD (16 * 1024 * 1024)

/*
 * Under a live load nothing is read for so long after a chunk that is not full, in
 * microseconds; that there is one tell so many chunks of which each came so soon after
 * the one before, or half as soon after such a pause
 */
#define GATHER_TIME 4000
#define GATHER_AFTER 16
#define FOLLOWS_WITHIN 4000

/* ms that what has committed waits for company, at most, while there is more to read */
#define COMPANY_TIME 50

/* ms that an orderly stop may take, whatever is done at that moment */
#define STOP_PATIENCE 2000

/* ms between two looks while one is awaited */
#define STOP_PAUSE 10

/* --- beginning a session ------------------------------------------------- */

/* In mode copy there is no slot to read from once the copy has its snapshot */
static bool
decodes(Replicator *rep)
{
	return rep->spec->mode != FLO_MODE_COPY;
}

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
begin_session(Replicator *rep)
{
	XLogRecPtr	confirmed_flush = decodes(rep) ? flo_session_check_slot(rep->slot) :
		rep->generation->start;
	FloStreamConfig config = flo_replicator_stream_config(rep);
	FloStreamInfo info = {0};
	FloStreamEnd end = {0};
	bool		there = flo_stream_info(rep->bus, rep->stream, &info);
	bool		earlier;

	if (there)
		flo_session_read_end(rep->bus, rep->stream, &info, &end);
	earlier = flo_session_check(&end, &rep->identity, rep->generation);

	/*
	 * it is ours, so it may be changed; what workers have said is known
	 * before anything is removed
	 */
	flo_reports_load(rep->bus, rep->bucket, rep->retention);
	if (there)
		flo_stream_update(rep->bus, &config, &info);
	if (earlier)
		flo_generation_empty_stream(rep->bus, rep->stream, &info, &end);

	/*
	 * before the first chunk of a generation: a worker that meets that must
	 * know that it may follow
	 */
	flo_generation_announce(&rep->copy, rep->spec);
	rep->published_seq = info.last_seq;
	if (!flo_reports_await(rep->bus, rep->bucket, rep->retention, &info, end.found,
						   end.found ? end.newest.position : rep->identity.generation_start,
						   confirmed_flush))
		flo_replicator_begin_anew();	/* it may be the wrong broker */
	flo_reports_forget_stale(rep->bus, rep->bucket, rep->retention, info.last_seq);
	flo_session_begin(&info, &end, &rep->identity, rep->recorded_epoch,
					  confirmed_flush, rep->retention, &rep->session);
	if (end.found && (end.newest.flags & FLO_CHUNK_ENDS_INSIDE))
	{
		rep->half_seq = info.last_seq;
		rep->half_upto = end.newest.upto;
	}
	if (!there)
		flo_stream_create(rep->bus, &config);
	flo_upkeep_mind_account(rep);
	rep->recorded_epoch = rep->session.epoch;

	/*
	 * on disk before any chunk carries it: an epoch that is not ours shows a
	 * copy of this database
	 */
	flo_generation_save_epoch(rep->group, rep->session.epoch);
	rep->published = rep->session.start;
	rep->published_seq = rep->session.last_seq;
	if (flo_generation_begins_with_copy(rep->generation, rep->spec))
		rep->session.flags = FLO_CHUNK_COPIED | (decodes(rep) ? 0 : FLO_CHUNK_COPY_ONLY);
}

/* --- the loop ------------------------------------------------------------ */

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

/* A worker that does not read pieces may have come */
static bool
may_travel_early(void *arg)
{
	return flo_retention_all_read_pieces(((Replicator *) arg)->retention);
}

/* Workers wait for word of it */
static bool
copy_went_on(Replicator *rep)
{
	return rep->copy.leader != NULL && flo_copy_phase() != rep->said_phase;
}

/* Now and then; "inside" a transaction's callbacks only what is allowed there */
static void
housekeep(Replicator *rep, bool inside)
{
	if (!flo_clock_passed(rep->housekeeping, HOUSEKEEPING_INTERVAL) && !copy_went_on(rep))
		return;
	rep->housekeeping = flo_clock();
	if (rep->opened)
		flo_source_copy_may_fill();
	rep->key_removed |= flo_reports_take(rep->bus, rep->bucket, rep->retention);
	if (rep->decoder != NULL)
		flo_decoder_set_methods(rep->decoder, flo_retention_methods(rep->retention));
	if (rep->publisher != NULL)
		flo_publisher_set_squeeze(rep->publisher,
								  rep->spec->options.compression == FLO_CHUNKS_LZ4 &&
								  flo_retention_all_expand_chunks(rep->retention));
	flo_upkeep_look_at_account(rep);
	flo_upkeep_purge(rep);
	flo_presence_tell(rep);
	flo_ddl_filter_announce(rep->ddl_filter, rep->bus, rep->bucket);
	flo_replicator_report(rep);
	if (inside)
		return;
	if (rep->spool != NULL && !may_travel_early(rep))
		flo_spool_withdraw(rep->spool);
	flo_release_wal(rep);
	flo_copy_record(&rep->copy.recorder);
	if (rep->decoder != NULL)
	{
		flo_compare_look(&rep->compare);
		flo_backfill_look(&rep->backfill, rep->retention, rep->copy.leader != NULL);
	}

	/* tables may have been asked for while the copy ran */
	rep->changed |= flo_copy_check(&rep->copy);
	if (!rep->reads_again)
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
	if (!rep->opened)
		flo_copy_may_fill(&rep->copy);
	rep->opened = true;
	flo_retention_acked(rep->retention, position);
	if (rep->full)
	{
		rep->full = false;
		/* or copying, as soon as that can be asked */
		flo_state_set(FLO_STATE_STREAMING, NULL);
		flo_state_recovered(FLO_RETRIED_ROOM);
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
 * Large transactions may be published at their commit, where the reorder buffer has
 * no transaction open; rules need one.
 */
static void
emit(void *arg, TransactionId xid, const char *data, uint32 len)
{
	Replicator *rep = arg;
	MemoryContext old = CurrentMemoryContext;
	bool		begin = !IsTransactionState() && !flo_replicator_rules_is_empty(rep->rules);

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
		case FLO_MESSAGE_REPAIR:
			*prefix = FLO_REPAIR_PREFIX;
			return pnstrdup(message->payload, message->len);
		case FLO_MESSAGE_CUTOVER:
			*prefix = FLO_CUTOVER_MESSAGE_PREFIX;
			return pnstrdup(message->payload, message->len);
	}
	return NULL;				/* of a later version, which has gone */
}

static void
look_up_afresh(void *arg)
{
	flo_replicator_rules_look_up(((Replicator *) arg)->rules);
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
	if (!rep->changed && rep->reloads == flo_reload_count)
		return true;
	rep->changed = false;
	rep->reloads = flo_reload_count;
	rep->compare.look = rep->backfill.look = true;
	rep->compare.looked = rep->backfill.looked = 0;
	if (!flo_replicator_load_spec(rep))
		return false;

	/*
	 * a copy would have to be read again; it ends at the broker where it has
	 * begun
	 */
	if (rep->copy.leader == NULL && flo_bus_is_outdated(rep->bus))
		return false;
	if (list_length(publications(rep->group)) != rep->npublications)
		return false;			/* the decoder has to be opened anew */
	/* a snapshot can only be taken before decoding */
	if (flo_copy_wanted(&rep->copy))
		return false;
	flo_decoder_set_origin(rep->decoder, rep->spec->options.origin);
	flo_copy_set_limit(&rep->copy, rep->spec->options.copy_stream_max_bytes);
	flo_replicator_limit_early(rep);
	flo_upkeep_restore_limits(rep);
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
	XLogRecPtr	commit = flo_state_recent_commit();

	if (commit <= GetFlushRecPtr(NULL))
		return false;
	XLogFlush(commit);
	return true;
}

/* All that has committed is read: with what is published until now, nothing is left */
static FloCaughtUp
place_here(Replicator *rep)
{
	FloCaughtUp here = {
		.at = GetCurrentTimestamp(),
		.lsn = flo_decoder_position(rep->decoder),
		.xid = XidFromFullTransactionId(ReadNextFullTransactionId())
	};

	return here;
}

/*
 * There is nothing more to read, so what is packed leaves.  Under a live load there is
 * more in a moment, and a chunk for each commit would cost all processes on its way,
 * and the load, more than the commit did.  So when such chunks have followed each
 * other for a while, nothing is read for GATHER_TIME after each.  Not by the latch:
 * each commit sets it, which is cheap as long as nobody waits there.
 * False when that was done, and it is to be read on.
 */
static bool
send_what_is_packed(Replicator *rep)
{
	FloClock	now = flo_clock();
	FloCaughtUp here;

	/*
	 * what is packed does not wait for answers to be taken, unless they open
	 * the window
	 */
	if (!flo_publisher_can_flush(rep->publisher))
	{
		flo_publisher_pump(rep->publisher);
		if (!flo_publisher_can_flush(rep->publisher))
			return true;
	}
	rep->in_a_row = now - rep->flushed < FOLLOWS_WITHIN ? rep->in_a_row + 1 : 0;
	rep->flushed = now;
	flo_publisher_flush(rep->publisher);
	if (rep->in_a_row < GATHER_AFTER)
		return true;
	here = place_here(rep);
	pg_usleep(GATHER_TIME);
	rep->flushed = flo_clock() - FOLLOWS_WITHIN / 2;
	flo_publisher_pump(rep->publisher);
	if (flo_publisher_idle(rep->publisher))
		rep->caught_up = here;
	return false;
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

	/* what the decoder has takes a walk through all of its tables to tell */
	if (!flo_spool_is_empty(rep->spool) || !flo_room_is_due(room) ||
		!flo_room_is_needed(room, flo_decoder_table_memory(rep->decoder)))
		return;
	flo_replicator_rules_forget(rep->rules);
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

/* What has travelled before its commit comes again, as rules want it now */
static void
follow_rules(Replicator *rep)
{
	bool		changed = rep->rules_changed;
	bool		filtered;

	rep->rules_changed = false;
	filtered = !flo_replicator_rules_is_empty(rep->rules);
	flo_replicator_rules_follow(rep->rules, changed, rep->spec->owner);
	if (changed && (filtered || !flo_replicator_rules_is_empty(rep->rules)))
		flo_spool_withdraw(rep->spool);
}

/*
 * Rules hold for what is committed after them, so there is a look for news when the end
 * of a transaction has been read, before it is decoded: the news of a rule was here
 * before that was written.
 */
static void
look_for_news(Replicator *rep)
{
	(void) flo_replicator_notice_configuration(rep);
	if (!rep->rules_changed)
		return;
	flo_decoder_rest(rep->decoder);
	follow_rules(rep);
}

/* False when there is nothing more to read now */
static bool
decode_one(Replicator *rep)
{
	bool		more = flo_decoder_read(rep->decoder);

	if (more)
	{
		if (flo_decoder_ends_transaction(rep->decoder))
			look_for_news(rep);
		flo_decoder_decode(rep->decoder);
	}
	flo_copy_mark_snapshot(&rep->copy, rep->publisher, flo_decoder_position(rep->decoder));
	flo_place_step(&rep->compare.place, rep->decoder, rep->publisher);
	flo_place_step(&rep->backfill.place, rep->decoder, rep->publisher);
	return more;
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
		look_for_news(rep);
		for (int i = 0; i < STEPS_PER_TURN && more; i++)
			more = decode_one(rep);
		flo_decoder_rest(rep->decoder);
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

/*
 * A slot keeps WAL from the begin of the oldest transaction that was open, so a
 * new process reads what was published, and emits nothing of it.  That is told
 * when there is much of it; little is over in a moment.
 */
static void
show_reading_again(Replicator *rep, bool more)
{
	uint64		left = more ? flo_decoder_left_again(rep->decoder) : 0;

	if (left == 0 && rep->reads_again)
		flo_copy_show();
	rep->reads_again = left > 0;
	if (left == 0 || !flo_clock_passed(rep->reading_shown, 1000) ||
		(rep->reading_shown == 0 && left < READING_AGAIN_TOLD))
		return;
	rep->reading_shown = flo_clock();
	flo_state_set(FLO_STATE_WAITING, "reading WAL again from %X/%X, " UINT64_FORMAT " MB to go",
				  LSN_FORMAT_ARGS(flo_slot_restart()), left / (1024 * 1024) + 1);
}

/*
 * What is here happens between transactions, none is half decoded: only here is WAL
 * confirmed, a heartbeat sent, the configuration followed.  Answers of the broker are
 * taken while there is more to read, and before the window is found to be full, so that
 * it never waits for us.  A chunk that is not full leaves when there is nothing more to
 * read, and only then is waited: a commit that did not wait for the disk is flushed
 * first, as nobody else may do that for a while.
 */
static void
loop(Replicator *rep)
{
	bool		wanted = false; /* somebody waits for a position */
	MemoryContext turn = AllocSetContextCreate(CurrentMemoryContext, "pg_flo turn",
											   ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(turn);
	flo_stop_after(STOP_PATIENCE);
	for (;;)
	{
		bool		more;
		bool		cutting_over;
		bool		stopping;

		MemoryContextReset(turn);
		flo_check_interrupts();
		stopping = flo_stop_requested();
		if (flo_state_position_wanted())
		{
			flush_wal();
			wanted = true;
		}
		wanted |= stopping;
		more = decode_some(rep);
		show_reading_again(rep, more);
		make_room(rep);
		follow_rules(rep);
		if (more)
		{
			flo_publisher_pump(rep->publisher);
			flo_publisher_flush_after(rep->publisher, COMPANY_TIME);
		}
		else
			more = !send_what_is_packed(rep);
		if (!more && flo_publisher_idle(rep->publisher))
			rep->caught_up = place_here(rep);
		heartbeat(rep, !more, &wanted);
		flo_upkeep_look(rep);
		housekeep(rep, false);
		flo_definitions_publish(rep->definitions, rep->bus, rep->spec, more);
		cutting_over = flo_cutover_drive(rep);
		if (cutting_over)
			rep->key_removed |= flo_reports_take(rep->bus, rep->bucket, rep->retention);
		if (stopping && flo_release_settled(rep))
			flo_stop_now();
		if (more || flush_commit())
			continue;
		if (!follow_configuration(rep))
			return;
		flo_replicator_report(rep);
		flo_bus_rest(rep->bus, stopping ? STOP_PAUSE : cutting_over ? FLO_CUTOVER_PAUSE :
					 Min(flo_heartbeat_interval, 1000));
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
		flo_definitions_publish(rep->definitions, rep->bus, rep->spec, false);
		flo_copy_record(&rep->copy.recorder);
		flo_copy_show();
		if (flo_replicator_notice_configuration(rep) && !flo_replicator_load_spec(rep))
			return;
		flo_copy_set_limit(&rep->copy, rep->spec->options.copy_stream_max_bytes);
		flo_bus_rest(rep->bus, 200);
	}
	flo_copy_record(&rep->copy.recorder);
	old = flo_transaction_begin();
	flo_store_stop_member(rep->group, FLO_REPLICATOR_MEMBER);
	flo_transaction_end(old);
	flo_state_rest();
}

/* --- one process, from its start ----------------------------------------- */

static Replicator *
create_replicator(void)
{
	Replicator *rep = palloc0(sizeof(Replicator));
	FloMember	before;

	(void) flo_member_look(flo_me->group, flo_me->member, &before);
	rep->copy.since = before.oldest_pending != 0 ? before.oldest_pending : GetCurrentTimestamp();
	rep->spec_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo configuration",
											  ALLOCSET_SMALL_SIZES);
	rep->full_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo full broker",
											  ALLOCSET_SMALL_SIZES);
	flo_tally_begin(&rep->tally, flo_me->slot, flo_me->incarnation);
	rep->ddl_filter = flo_ddl_filter_create();
	rep->own_messages = flo_own_messages_create(&rep->tally.done.foreign_messages);
	flo_own_messages_when_over(rep->own_messages, forget_statements, rep);
	rep->group = pstrdup(flo_me->group);
	rep->stream = flo_name_stream(rep->group);
	rep->slot = flo_name_slot(MyDatabaseId, rep->group);
	rep->bucket = flo_name_bucket(rep->group);
	rep->definitions = flo_definitions_create(rep->bucket);
	return rep;
}

static void
connect_to_broker(Replicator *rep)
{
	rep->bus = flo_bus_await(psprintf("pg_flo replicator %s", rep->group));
	rep->begun = rep->looked = rep->slot_saved = flo_clock();
	rep->reloads = flo_reload_count;
	flo_bus_when_full(rep->bus, flo_upkeep_found_no_room, rep);
	rep->compare.group = rep->group;
	rep->compare.bus = rep->bus;
	rep->backfill.group = rep->group;
	rep->backfill.place.bus = rep->bus;
	rep->copy.group = rep->group;
	rep->copy.recorder.group = rep->group;
	rep->copy.slot = rep->slot;
	rep->copy.bucket = rep->bucket;
	rep->copy.bus = rep->bus;
	rep->copy.stream_limit = rep->spec->options.copy_stream_max_bytes;
}

/*
 * Which life of its slot this is.  A broker that is full is asked to make room
 * from here on, before it is known whose reports say what may go: nobody's.
 */
static void
enter_generation(Replicator *rep)
{
	pg_uuid_t	nobody = {0};
	FloGeneration *generation;

	rep->retention = flo_retention_create(&nobody);
	generation = flo_generation_find(&rep->copy, rep->spec, claim(rep));
	rep->claim.generation = generation;
	rep->generation = generation;
	rep->recorded_epoch = generation->epoch;
	rep->identity.system_identifier = GetSystemIdentifier();
	rep->identity.timeline = GetWALInsertionTimeLine();
	rep->identity.generation = generation->id;
	rep->identity.generation_start = generation->start;
	rep->retention = flo_retention_create(&generation->id);
}

/*
 * The session's first chunk is published: it names the copies that were asked
 * for before the generation began
 */
static void
open_publisher(Replicator *rep)
{
	FloPublisherHost host = {
		.acked = chunk_acknowledged,
		.anchor = last_record,
		.full = flo_upkeep_chunk_found_no_room,
		.await_room = flo_upkeep_chunk_awaits_room,
		.end = flo_upkeep_end_of_stream,
		.remove = flo_upkeep_remove_from_stream,
		.arg = rep
	};

	rep->publisher = flo_publisher_open(rep->bus, flo_name_subject(rep->group), &rep->identity,
										&rep->session, &host, &rep->tally);
	rep->spool = flo_spool_create(rep->publisher, may_travel_early, rep);
	flo_replicator_limit_early(rep);
	rep->rules = flo_replicator_rules_open(rep->group, rep->spec->owner, rep->publisher);
	if (decodes(rep))
		flo_copy_requested(&rep->copy, rep->publisher, rep->spec, rep->session.first);
	flo_publisher_heartbeat(rep->publisher, rep->session.start);
}

static void
open_decoder(Replicator *rep)
{
	List	   *names = publications(rep->group);

	rep->npublications = list_length(names);
	if (names == NIL)
		fail_unpublished(rep);
	rep->decoder = flo_decoder_open(rep->slot, rep->session.start, names,
									rep->spec->options.origin, rep->own_messages,
									emit, take_message, look_up_afresh, rep);
	flo_decoder_set_choice(rep->decoder, rep->choice);
}

/*
 * Each step relies on those before: nothing is published before the stream is known
 * to be ours, and nothing is decoded before the session's first chunk is on its way.
 * That one is a heartbeat or a marker and says what a worker finds here.  A snapshot
 * for a copy can only be taken while this process holds no slot, so the decoder is
 * the last to be opened.
 */
void
flo_replicator_run(void)
{
	Replicator *rep = create_replicator();

	if (!flo_replicator_load_spec(rep))
		return;
	connect_to_broker(rep);
	enter_generation(rep);
	flo_presence_begin(rep);
	begin_session(rep);
	open_publisher(rep);
	if (!decodes(rep))
	{
		wait_for_copy(rep);
		return;
	}
	open_decoder(rep);
	flo_compare_open(&rep->compare);
	rep->backfill.generation = rep->generation;
	flo_backfill_open(&rep->backfill);
	show_reading_again(rep, true);
	if (!rep->reads_again)
		flo_copy_show();
	flo_state_decodes();
	loop(rep);
}
