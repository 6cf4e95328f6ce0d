/*
 * apply.c
 *		Takes chunks apart and applies what is in them.
 *
 * Chunks are processed strictly in stream order.  One that does not link to what
 * was read before is never taken; what lies at or below the position is passed over.
 * A header that does not agree with the records is an error, since positions and
 * purging go by it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "conf/store.h"
#include "core/clock.h"
#include "core/error_context.h"
#include "core/injection_point.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "dest/ahead.h"
#include "dest/apply.h"
#include "dest/backfill.h"
#include "dest/compare_marker.h"
#include "dest/copy_sequences.h"
#include "dest/copy_state.h"
#include "dest/cutover.h"
#include "dest/encoding.h"
#include "dest/given_up.h"
#include "dest/owed.h"
#include "dest/pieces.h"
#include "dest/progress.h"
#include "dest/worker_batch.h"
#include "dest/worker_config.h"
#include "dest/worker_copies.h"
#include "dest/worker_ddl.h"
#include "dest/worker_generation.h"
#include "dest/worker_report.h"
#include "dest/worker_source.h"
#include "dest/worker_state.h"
#include "monitor/state.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wire/compare.h"
#include "wire/ddl.h"
#include "wire/message.h"

/* ms that a chunk which does not link has to go away */
#define UNLINKED_PAUSE 200

/* --- messages ------------------------------------------------------------ */

/* Nothing that a replicator has written */
pg_noreturn static void
violated(const FloWorker *w, const FloChunk *chunk, const char *how)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("message " UINT64_FORMAT " of stream \"%s\" breaks the protocol: %s",
					chunk->seq, w->stream, how),
			 errhint("If something other than pg_flo has published it, delete that message from the stream.")));
}

/*
 * A transaction begins.  If its end is not in this chunk, what is complete is
 * committed first: should the rest never come, only the half is undone.
 */
static void
begin_transaction(FloWorker *w, const FloChange *begin, const FloChunk *chunk)
{
	if (w->in_transaction)
		violated(w, chunk, "a transaction begins within another");
	if (begin->final_lsn < w->last_end)
		violated(w, chunk, "transactions are out of order");
	w->in_transaction = true;
	w->began = chunk->seq;
	w->skipped = begin->final_lsn == flo_progress_skip(w->progress);
	w->ddl_ordinal = 0;
	list_free_deep(w->notices);
	w->notices = NIL;
	w->skipping = w->skipped || begin->final_lsn < w->position;
	memset(&w->txn, 0, sizeof(w->txn));
	w->txn.final_lsn = begin->final_lsn;
	w->txn.commit_time = begin->commit_time;
	w->txn.xid = begin->xid;
	if (w->skipping)
		return;
	flo_worker_notice_configuration(w);
	if (w->batch_open && (w->rules_stale || begin->final_lsn >= chunk->header.upto ||
						  w->batch_final <= w->careful_until))
		flo_worker_commit_batch(w);
	if (w->rules_stale)
		flo_worker_load_rules(w);
	if (!w->batch_open)
		flo_worker_open_batch(w);
	if (w->batch_oldest == 0)
		w->batch_oldest = begin->commit_time;
	if (w->shown_pending == 0)
		flo_worker_show_state(w);	/* it may be long until anything else does */
	flo_error_context.commit_lsn = begin->final_lsn;
}

/*
 * The end of a transaction that flo.skip() named: nothing of it is applied, and
 * the position moves past it together with the end of that order.  What it says
 * of copies holds all the same: the source copies a table that was asked for in
 * it, and does not copy one whose request it withdrew.
 */
static void
skip_transaction(FloWorker *w, const FloChange *commit)
{
	MemoryContext old = CurrentMemoryContext;
	XLogRecPtr	lsn = flo_progress_skip(w->progress);
	ListCell   *cell;

	if (w->batch_open)
		flo_worker_commit_batch(w);
	flo_transaction_start();
	foreach(cell, w->notices)
		flo_owed_take_message(w, lfirst(cell), strlen(lfirst(cell)));
	flo_progress_clear_skip(w->progress);
	if (w->sink->ops->transactional)
		w->unflushed_local = flo_progress_commit(w->progress, commit->end_lsn, commit->commit_time);
	else
	{
		flo_transaction_commit();
		flo_worker_record_position(w, commit->end_lsn);
	}
	MemoryContextSwitchTo(old);
	w->unflushed_seq = Max(w->unflushed_seq, flo_worker_done_seq(w));
	w->position = commit->end_lsn;
	flo_worker_follow_copies(w);
	flo_worker_check_keys(w);
	ereport(LOG,
			(errmsg("skipped the transaction at %X/%X, as told by flo.skip()",
					LSN_FORMAT_ARGS(lsn))));
}

static void
check_commit(const FloWorker *w, const FloChange *commit, const FloChunk *chunk)
{
	if (commit->end_lsn <= commit->final_lsn || commit->end_lsn <= w->last_end)
		violated(w, chunk, "a transaction does not end where it said that it would");
	if (commit->end_lsn > chunk->header.upto)
		violated(w, chunk, "its commits are not those that its header names");
}

static void
end_transaction(FloWorker *w, const FloChange *commit, const FloChunk *chunk)
{
	if (!w->in_transaction)
		violated(w, chunk, "a transaction ends that has not begun");
	if (!XLogRecPtrIsInvalid(w->txn.final_lsn) && commit->final_lsn != w->txn.final_lsn)
		violated(w, chunk, "a transaction does not end where it said that it would");
	check_commit(w, commit, chunk);
	w->last_end = commit->end_lsn;
	w->in_transaction = false;
	if (w->skipped && commit->end_lsn > w->position)
		skip_transaction(w, commit);
	if (w->skipping)
		return;
	w->batch_transactions++;
	w->batch_lsn = commit->end_lsn;
	w->batch_final = w->txn.final_lsn;
	w->batch_time = commit->commit_time;
	w->position = commit->end_lsn;
	w->tally.open.transactions++;
	flo_commits_note(&w->commits, commit->commit_time, w->batches);
	flo_error_context_clear();

	/*
	 * rows after it may need what DDL has committed: a new value of an enum
	 * does
	 */
	if (w->batch_has_ddl || flo_worker_batch_is_full(w))
		flo_worker_commit_batch(w);
}

/* A row or a TRUNCATE: rules and routes, then the sink */
static void
apply_change(FloWorker *w, const FloChange *change)
{
	const FloRelation *relation;

	w->txn.ordinal++;
	w->batch_changes++;
	change = flo_table_filter(w->tables, change);
	if (change == NULL)
	{
		w->tally.open.filtered++;
		return;
	}
	if (w->copied != NIL)
		change = flo_given_up_leave_out(w, change);
	if (change == NULL)
		return;
	relation = change->op == FLO_OP_TRUNCATE ? change->truncated[0].relation : change->relation;
	flo_error_context_source(relation->id, relation->schema, relation->name);
	change = flo_worker_rules_apply(w->rules, change, &w->tally.open);
	if (change != NULL)
		w->sink->ops->change(w->sink, &w->txn, change);
	flo_error_context_source(0, NULL, NULL);
}

/* A message of a transaction that is passed over */
static void
pass_message(FloWorker *w, const FloChange *message)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(w));

	if (w->skipped && strcmp(message->prefix, FLO_COPIES_PREFIX) == 0)
		w->notices = lappend(w->notices, pnstrdup(message->content, message->content_len));
	MemoryContextSwitchTo(old);
}

static bool
is_named(const FloWorker *w, const List *consumers)
{
	ListCell   *cell;

	foreach(cell, consumers)
	{
		if (strcmp(lfirst(cell), w->consumer_name) == 0)
			return true;
	}
	return false;
}

/*
 * Rows that a comparison has found to differ, as they are at the source at this very
 * place: they take the way of rows of the stream, and are written whatever is there
 */
static void
take_repair(FloWorker *w, const FloChange *message)
{
	FloRepairMessage *repair = flo_repair_parse(message->content, message->content_len);
	FloChunkReader reader;
	const char *data;
	uint32		len;
	uint32		total;
	char	   *records;

	if (!w->sink->ops->transactional || !is_named(w, repair->workers))
		return;
	records = flo_repair_records(repair, &len);
	reader.next = records;
	reader.end = records + len;
	w->txn.repair = true;
	while (flo_chunk_next(&reader, &data, &len, &total))
	{
		const FloChange *change;

		if (len < total)
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("a repair ends within a row")));
		change = flo_change_parse(w->parser, unconstify(char *, data), len);
		if (change->op == FLO_OP_INSERT || change->op == FLO_OP_DELETE)
			apply_change(w, change);
	}
	w->txn.repair = false;
	w->batch_has_ddl = true;	/* what it has made of constraints ends with
								 * it */
}

/* What pg_flo itself says in the stream: values of sequences, copies owed, cut-overs, rows anew */
static void
take_message(FloWorker *w, const FloChange *message)
{
	if (strcmp(message->prefix, FLO_COPIES_PREFIX) == 0)
		flo_owed_take_message(w, message->content, message->content_len);
	else if (strcmp(message->prefix, FLO_CUTOVER_MESSAGE_PREFIX) == 0)
		flo_cutover_take_message(w, message->content, message->content_len);
	else if (w->sink->ops->transactional && strcmp(message->prefix, FLO_SEQUENCES_PREFIX) == 0)
		flo_sequences_set(w->spec, w->rules, w->tables, message->content, message->content_len);
	else if (strcmp(message->prefix, FLO_REPAIR_PREFIX) == 0)
		take_repair(w, message);
	else if (w->sink->ops->transactional && strcmp(message->prefix, FLO_MESSAGE_PREFIX) == 0)
		ereport(WARNING,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("values of sequences from a source with pg_flo 0.1 are not set"),
				 errhint("Call flo.sync_sequences() again when the source is upgraded.")));
}

static void take_pieces(FloWorker *w, const FloChange *commit, const FloChunk *chunk);

static void
process_message(FloWorker *w, char *data, uint32 len, const FloChunk *chunk)
{
	const FloChange *change;

	/* rows of a transaction applied before need not even be looked at */
	if (w->in_transaction && w->skipping && strchr("IUDT", data[0]) != NULL)
		return;
	change = flo_change_parse(w->parser, data, len);
	switch (change->op)
	{
		case FLO_OP_BEGIN:
			begin_transaction(w, change, chunk);
			break;
		case FLO_OP_COMMIT:
			end_transaction(w, change, chunk);
			break;
		case FLO_OP_INSERT:
		case FLO_OP_UPDATE:
		case FLO_OP_DELETE:
		case FLO_OP_TRUNCATE:
			if (!w->in_transaction)
				violated(w, chunk, "a change stands outside a transaction");
			flo_injection_point("apply.before");
			apply_change(w, change);
			flo_injection_point("apply.after");
			break;
		case FLO_OP_MESSAGE:
			if (!w->in_transaction)
				violated(w, chunk, "a message stands outside a transaction");
			if (w->skipped && w->sink->ops->transactional &&
				strcmp(change->prefix, FLO_DDL_PREFIX) == 0)
				flo_worker_pass_over_ddl(w, change);
			if (w->skipping)
				pass_message(w, change);
			else if (strcmp(change->prefix, FLO_DDL_PREFIX) == 0)
				flo_worker_process_ddl(w, change);
			else
				take_message(w, change);
			break;
		case FLO_OP_VOID:
			flo_ahead_leave(w, change->xid);
			flo_pieces_void(w->pieces, change->xid, change->subxid);
			break;
		case FLO_OP_PIECE_COMMIT:
			if (w->in_transaction)
				violated(w, chunk, "the pieces of a transaction end within another");
			take_pieces(w, change, chunk);
			break;
		case FLO_OP_SUBTRANSACTION:
			violated(w, chunk, "a subtransaction stands outside a piece");
			break;
		case FLO_OP_ORIGIN:
		case FLO_OP_RELATION:
		case FLO_OP_TYPE:
			break;
	}
}

/* --- transactions that came in pieces ------------------------------------ */

/*
 * What is needed to apply the transaction is not at hand.  Pieces lie behind the place
 * where we began to read; so if going back to them does not help they are gone.
 */
static void
miss_pieces(FloWorker *w, const FloChange *commit, const FloChunk *chunk)
{
	if (w->pieces_missed == chunk->seq)
		flo_fail(ERRCODE_DATA_CORRUPTED,
				 "The stream no longer holds what this worker needs: it was purged, expired or lost by the broker. Start over with flo.resync() at the source.",
				 "gap: transaction %u of the source, which committed at %X/%X, travelled in %u pieces, and not all of them are in the stream",
				 commit->xid, LSN_FORMAT_ARGS(commit->final_lsn), commit->npieces);
	w->pieces_missed = chunk->seq;
	w->rewind = true;
}

/* What a piece holds is rows, what describes them, and messages */
static void
process_piece_record(FloWorker *w, char *data, uint32 len, const FloChunk *chunk)
{
	if (len == 0 || strchr("BCOAc", data[0]) != NULL)
		violated(w, chunk, "a piece of the transaction that ends here holds what no piece may hold");
	process_message(w, data, len, chunk);
}

/* Like chunks, one block after the other; the broker and the source hear of us in between */
static void
process_pieces(FloWorker *w, const FloChunk *chunk)
{
	MemoryContext block = AllocSetContextCreate(w->chunk_context, "pg_flo block of pieces",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(block);
	char	   *data;
	uint32		len;

	while (!w->rewind && flo_pieces_read_block(w->pieces))
	{
		flo_change_begin_chunk(w->parser);
		while (!w->rewind && (data = flo_pieces_next(w->pieces, &len)) != NULL)
			process_piece_record(w, data, len, chunk);
		MemoryContextSwitchTo(block);
		MemoryContextReset(block);
		if (flo_worker_serve(w))
			flo_worker_flush(w, false);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(block);
}

/* A helper has committed it, on disk */
static void
end_ahead(FloWorker *w, const FloChange *commit)
{
	flo_pieces_forget(w->pieces, commit->xid);
	w->last_end = w->position = commit->end_lsn;
	w->batches++;
	flo_commits_note(&w->commits, commit->commit_time, w->batches);
	w->tally.open.transactions++;
	flo_tally_commit(&w->tally);
	w->unflushed_local = GetFlushRecPtr(NULL);
	w->unflushed_seq = flo_worker_done_seq(w);
	flo_worker_flush(w, true);
}

/*
 * The end of a transaction that travelled before it: here it stands, whole.  What was
 * complete before is committed first, as this one is large.
 */
static void
take_pieces(FloWorker *w, const FloChange *commit, const FloChunk *chunk)
{
	FloChange	begin = *commit;
	FloChange	end = *commit;
	bool		needed = commit->final_lsn >= w->position;

	if (needed && !flo_pieces_open(w->pieces, commit->xid, commit->npieces))
	{
		miss_pieces(w, commit, chunk);
		return;
	}
	if (needed && w->batch_open)
		flo_worker_commit_batch(w);
	if (needed && w->ahead != NULL)
	{
		check_commit(w, &end, chunk);
		if (flo_ahead_commit(w, &end))
		{
			end_ahead(w, &end);
			return;
		}
	}
	begin_transaction(w, &begin, chunk);
	if (needed)
		process_pieces(w, chunk);
	if (w->rewind)
		return;
	flo_injection_point("pieces.applied");
	flo_ahead_leave(w, end.xid);
	flo_pieces_forget(w->pieces, end.xid);
	end_transaction(w, &end, chunk);
}

/* --- chunks -------------------------------------------------------------- */

/* More bytes of a record that began in an earlier chunk */
static void
collect_fragment(FloWorker *w, const char *data, uint32 len, const FloChunk *chunk)
{
	/* one byte more, for the parser's use */
	enlargeStringInfo(&w->fragment, len + 1);
	appendBinaryStringInfo(&w->fragment, data, len);
	if ((uint32) w->fragment.len < w->fragment_total)
		return;
	process_message(w, w->fragment.data, w->fragment_total, chunk);
	w->fragment_total = 0;

	/* do not keep the memory of a huge row; the buffer outlives this chunk */
	if (w->fragment.maxlen > 1024 * 1024)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(w->fragment.data));

		pfree(w->fragment.data);
		initStringInfo(&w->fragment);
		MemoryContextSwitchTo(old);
	}
}

static void
begin_fragment(FloWorker *w, const char *data, uint32 len, uint32 total, const FloChunk *chunk)
{
	if (total > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a record of %u bytes is larger than this server can take", total)));
	resetStringInfo(&w->fragment);
	w->fragment_total = total;
	collect_fragment(w, data, len, chunk);
}

/* Does the chunk go on in the midst of a transaction where the one before ended? */
static bool
continues(const FloWorker *w, const FloChunkHeader *header)
{
	return (header->flags & FLO_CHUNK_STARTS_INSIDE) && w->in_transaction &&
		header->epoch == w->epoch && header->number == w->number + 1;
}

/*
 * Does the chunk leave nothing out?  Where we enter the stream, what is open at
 * its start may be a transaction that is in the position already.
 */
static bool
links(const FloWorker *w, const FloChunk *chunk)
{
	if (chunk->header.from > w->position)
		return false;
	return continues(w, &chunk->header) ||
		flo_chunk_first_outside(chunk->data, chunk->len, &chunk->header) <= w->position;
}

/*
 * One that does not link makes us look for the place anew.  If we come to it
 * again it never will; the source may just be removing it, see window.c.
 */
static void
note_unlinked(FloWorker *w, const FloChunk *chunk)
{
	const FloChunkHeader *header = &chunk->header;

	if (w->unlinked != chunk->seq)
	{
		w->unlinked = chunk->seq;
		for (FloClock until = flo_clock_in(UNLINKED_PAUSE); !flo_clock_passed(until, 0);)
			(void) flo_wait(PGINVALID_SOCKET, false, UNLINKED_PAUSE);
		return;
	}
	if (header->from > w->position)
		flo_consumer_fail_gap(w->position, header->from);
	flo_fail(ERRCODE_DATA_CORRUPTED,
			 "The broker has lost messages, or something other than pg_flo has published this one. In the latter case delete it from the stream and start the group again; else start over with flo.resync() at the source.",
			 "message " UINT64_FORMAT " of stream \"%s\" does not link: it goes on inside a transaction, as chunk " UINT64_FORMAT " of session " UINT64_FORMAT
			 ", after chunk " UINT64_FORMAT " of session " UINT64_FORMAT "; this worker has everything up to %X/%X",
			 chunk->seq, w->stream, header->number, header->epoch, w->number, w->epoch,
			 LSN_FORMAT_ARGS(w->position));
}

/* Enter in the midst of a transaction that was applied before: what is left of it is passed over */
static void
enter_inside(FloWorker *w, const FloChunk *chunk)
{
	memset(&w->txn, 0, sizeof(w->txn));
	w->in_transaction = w->skipping = true;
	w->skipped = false;
	w->began = chunk->seq;
}

/* What the header says of the records must be so: positions and purging go by it */
static void
check_end(const FloWorker *w, const FloChunk *chunk, const FloChunkReader *reader)
{
	const FloChunkHeader *header = &chunk->header;

	if (reader->next != reader->end)
		violated(w, chunk, "something follows its last record");
	if (w->in_transaction != ((header->flags & FLO_CHUNK_ENDS_INSIDE) != 0) ||
		(w->fragment_total > 0) != ((header->flags & FLO_CHUNK_ENDS_FRAGMENT) != 0) ||
		(w->fragment_total > 0 && !w->in_transaction))
		violated(w, chunk, "it does not end as its header says");
	if (header->upto != w->last_end || header->position < header->upto)
		violated(w, chunk, "its commits are not those that its header names");
}

static void
process_records(FloWorker *w, FloChunk *chunk)
{
	FloChunkReader reader;
	const char *data;
	uint32		len;
	uint32		total;

	w->last_end = chunk->header.from;
	flo_chunk_read(&reader, chunk->data, chunk->len);
	if ((chunk->header.flags & FLO_CHUNK_STARTS_INSIDE) && !continues(w, &chunk->header))
	{
		enter_inside(w, chunk);
		(void) flo_chunk_take_raw(&reader, chunk->header.rest, &data);
	}
	else if ((w->fragment_total > 0) != ((chunk->header.flags & FLO_CHUNK_STARTS_FRAGMENT) != 0))
		violated(w, chunk, "it does not begin as its header says");
	if (w->fragment_total > 0)
	{
		len = flo_chunk_take_raw(&reader, w->fragment_total - w->fragment.len, &data);
		collect_fragment(w, data, len, chunk);
	}
	while (!w->rewind && flo_chunk_next(&reader, &data, &len, &total))
	{
		if (len < total)
			begin_fragment(w, data, len, total, chunk);
		else
			process_message(w, unconstify(char *, data), len, chunk);
	}
	if (!w->rewind)
		check_end(w, chunk, &reader);
}

/* What committed before it need not wait while others like it come */
static void
take_piece(FloWorker *w, const FloChunk *chunk)
{
	const char *how = flo_pieces_take(w->pieces, chunk);

	if (how != NULL)
		violated(w, chunk, how);
	if (w->batch_open)
		flo_worker_commit_batch(w);
	flo_injection_point("pieces.kept");
	flo_ahead_hand_over(w, flo_pieces_last(w->pieces));
}

/*
 * The source has begun anew and given up what lies between: go on with it.
 * False when the chunk is of the generation followed so far; fails for good
 * when nothing says that we may follow this one.
 */
static bool
follow_generation(FloWorker *w, const FloChunkHeader *header)
{
	if (flo_progress_is_of(w->progress, header))
		return false;
	if (!flo_worker_may_follow(w, header))
		flo_progress_check_source(w->progress, header);
	flo_worker_drop_half(w);
	if (w->batch_open)
		flo_worker_commit_batch(w);
	flo_worker_flush(w, true);
	ereport(LOG,
			(errmsg("the source began anew at %X/%X: what it committed after %X/%X is given up here",
					LSN_FORMAT_ARGS(header->generation_start), LSN_FORMAT_ARGS(w->position))));
	flo_progress_follow(w->progress, header, header->generation_start, false, flo_owed_durable(w));
	flo_worker_look_at_copies(w);
	w->entering = true;
	w->position = w->durable = w->origin_lsn = flo_progress_position(w->progress);
	w->known = w->position;
	w->acked_seq = w->unflushed_seq = 0;
	flo_worker_report_to_bucket(w, true);
	return true;
}

static void
read_marker(FloWorker *w, const FloChunk *chunk)
{
	FloChunkReader reader;
	FloCopyKey	key;
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(w));

	flo_chunk_read(&reader, chunk->data, chunk->len);
	while (flo_chunk_next_copy_key(&reader, &key))
	{
		FloCopyKey *copy = palloc(sizeof(FloCopyKey));

		*copy = key;
		w->marker = lappend(w->marker, copy);
	}
	MemoryContextSwitchTo(old);
}

/* False when the chunk does not link: the place has to be found anew */
bool
flo_worker_process_chunk(FloWorker *w, FloChunk *chunk)
{
	const FloChunkHeader *header = &chunk->header;
	MemoryContext old;

	if (follow_generation(w, header))
		return false;
	if (!links(w, chunk))
	{
		note_unlinked(w, chunk);
		return false;
	}
	w->known = Max(w->known, header->position);
	if (flo_pieces_follow_session(w->pieces, header->epoch))
		flo_ahead_leave(w, 0);
	if (!continues(w, header))
		flo_worker_drop_half(w);
	w->place = chunk->seq;
	if (header->encoding != w->encoding)
	{
		w->encoding = header->encoding;
		flo_follow_encoding(w->parser, w->encoding);
	}
	old = MemoryContextSwitchTo(w->chunk_context);
	flo_change_begin_chunk(w->parser);
	/* a marker before the position is in, and may be withdrawn by now */
	if (header->flags & FLO_CHUNK_PIECE)
		take_piece(w, chunk);
	else if ((header->flags & (FLO_CHUNK_MARKER | FLO_CHUNK_COMPARE | FLO_CHUNK_BACKFILL)) == 0)
		process_records(w, chunk);
	else if ((header->flags & FLO_CHUNK_MARKER) && header->position >= w->position)
		read_marker(w, chunk);
	else if (header->flags & FLO_CHUNK_COMPARE)
		flo_worker_read_compare_marker(w, chunk);
	else if (header->flags & FLO_CHUNK_BACKFILL)
		flo_worker_read_backfill_marker(w, chunk);
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->chunk_context);
	if (w->rewind)
		return false;

	if (chunk->seq >= w->unlinked)
		w->unlinked = 0;
	w->place = chunk->seq + 1;
	w->epoch = header->epoch;
	w->number = header->number;
	w->position = Max(w->position, header->position);
	flo_worker_hear_chunk(w, header);
	w->tally.done.bytes += chunk->delivery.len;
	return true;
}
