/*
 * peek.c
 *		flo.peek(): the newest events in a group's stream, consuming nothing.
 *
 * An agent reads messages from the stream's end backwards and hands their bytes
 * over; they become events here, where the catalogs are.  Only transactions
 * that are in the stream from BEGIN to COMMIT are shown, since the Ids of the
 * others' events are not known.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "api/function.h"
#include "common/base64.h"
#include "conf/commit.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "core/as_role.h"
#include "core/names.h"
#include "dest/pieces.h"
#include "events/event.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "process/agent.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "wire/squeeze.h"

#define MAX_EVENTS 1000
#define PEEK_COLUMNS 4

FLO_FUNCTION(flo_peek);

typedef struct Peek
{
	ReturnSetInfo *result;
	FloChangeParser *parser;
	FloEventWriter *writer;
	int			encoding;
	int64		seq;
	int			max_events;
	char	   *group;

	/* the transaction being read */
	bool		in_transaction;
	FloTransaction txn;
	List	   *pending;		/* of HeapTuple: its events */
	StringInfoData plain;		/* of the chunk at hand, if it came compressed */
	StringInfoData fragment;
	uint32		fragment_total; /* 0: none */
	FloPieces  *pieces;			/* of transactions whose end is to come */

	List	   *events;			/* of HeapTuple */
} Peek;

/* Values are shown as workers write them, whatever this session's settings are */
static void
pin_formats(void)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"}, {"TimeZone", "GMT"},
		{"extra_float_digits", "3"}, {"bytea_output", "hex"}, {"lc_monetary", "C"}
	};

	for (int i = 0; i < lengthof(settings); i++)
		flo_as_role_set(settings[i][0], settings[i][1]);
}

static void
add_events(Peek *peek, const FloChange *change)
{
	int			count = flo_event_count(peek->writer, change);

	for (int i = 0; i < count; i++)
	{
		StringInfoData event;
		Datum		values[PEEK_COLUMNS];
		bool		nulls[PEEK_COLUMNS] = {false};
		char	   *text;

		initStringInfo(&event);
		flo_event_append(peek->writer, &event, &peek->txn, change, i);
		text = pg_any_to_server(event.data, event.len, PG_UTF8);
		values[0] = Int64GetDatum(peek->seq);
		values[1] = LSNGetDatum(peek->txn.final_lsn);
		values[2] = TimestampTzGetDatum(peek->txn.commit_time);
		values[3] = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
		peek->pending = lappend(peek->pending,
								heap_form_tuple(peek->result->setDesc, values, nulls));
		pfree(event.data);
	}
}

static void
begin_transaction(Peek *peek, const FloChange *begin)
{
	memset(&peek->txn, 0, sizeof(peek->txn));
	peek->txn.final_lsn = begin->final_lsn;
	peek->txn.commit_time = begin->commit_time;
	peek->txn.xid = begin->xid;
	peek->in_transaction = true;
	peek->pending = NIL;
}

static void
end_transaction(Peek *peek)
{
	if (peek->in_transaction)
		peek->events = list_concat(peek->events, peek->pending);
	peek->in_transaction = false;
	peek->pending = NIL;
	/* newer ones push out what is too old */
	if (list_length(peek->events) > peek->max_events)
		peek->events = list_delete_first_n(peek->events,
										   list_length(peek->events) - peek->max_events);
}

static void take_pieces(Peek *peek, const FloChange *commit);

static void
take_message(Peek *peek, char *data, uint32 len)
{
	const FloChange *change = flo_change_parse(peek->parser, data, len);

	switch (change->op)
	{
		case FLO_OP_BEGIN:
			begin_transaction(peek, change);
			break;
		case FLO_OP_COMMIT:
			end_transaction(peek);
			break;
		case FLO_OP_VOID:
			flo_pieces_void(peek->pieces, change->xid, change->subxid);
			break;
		case FLO_OP_PIECE_COMMIT:
			take_pieces(peek, change);
			break;
		case FLO_OP_INSERT:
		case FLO_OP_UPDATE:
		case FLO_OP_DELETE:
		case FLO_OP_TRUNCATE:
			peek->txn.ordinal++;
			if (peek->in_transaction)
				add_events(peek, change);
			break;
		default:
			break;
	}
}

/* A transaction that travelled in pieces, when all of them were fetched */
static void
take_pieces(Peek *peek, const FloChange *commit)
{
	TransactionId xid = commit->xid;
	char	   *data;
	uint32		len;

	if (peek->in_transaction || !flo_pieces_open(peek->pieces, xid, commit->npieces))
		return;
	begin_transaction(peek, commit);
	while (flo_pieces_read_block(peek->pieces))
	{
		while ((data = flo_pieces_next(peek->pieces, &len)) != NULL)
		{
			CHECK_FOR_INTERRUPTS();
			if (len > 0 && strchr("IUDTRY", data[0]) != NULL)
				take_message(peek, data, len);
		}
	}
	end_transaction(peek);
	flo_pieces_forget(peek->pieces, xid);
}

static void
take_piece(Peek *peek, char *bytes, int size, const FloChunkHeader *header)
{
	FloChunk	chunk = {0};

	chunk.header = *header;
	chunk.seq = peek->seq;
	chunk.data = bytes;
	chunk.len = size;
	(void) flo_pieces_take(peek->pieces, &chunk);
}

static void
take_fragment(Peek *peek, const char *data, uint32 len)
{
	enlargeStringInfo(&peek->fragment, len + 1);
	appendBinaryStringInfo(&peek->fragment, data, len);
	if ((uint32) peek->fragment.len < peek->fragment_total)
		return;
	take_message(peek, peek->fragment.data, peek->fragment_total);
	peek->fragment_total = 0;
}

/*
 * Only whole transactions are shown.  Those of whose begin nothing was fetched are
 * passed over to the first that begins in this chunk.
 */
static void
take_chunk(Peek *peek, char *bytes, int size)
{
	FloChunkHeader header;
	FloChunkReader reader;
	const char *data;
	uint32		len;
	uint32		total;
	const FloEventOptions options = {.group = peek->group};

	resetStringInfo(&peek->plain);
	if (flo_chunk_open(&bytes, &size, &header, &peek->plain) != NULL)
		return;
	if (!(header.flags & FLO_CHUNK_STARTS_INSIDE))
	{
		peek->in_transaction = false;
		peek->fragment_total = 0;
	}
	if (peek->writer == NULL || header.encoding != peek->encoding)
	{
		peek->encoding = header.encoding;
		flo_change_set_encoding(peek->parser, header.encoding);
		peek->writer = flo_event_writer_create(CurrentMemoryContext, &options, header.encoding);
	}
	flo_pieces_follow_session(peek->pieces, header.epoch);
	if (header.flags & FLO_CHUNK_PIECE)
	{
		take_piece(peek, bytes, size, &header);
		return;
	}
	flo_chunk_read(&reader, bytes, size);
	if ((header.flags & FLO_CHUNK_STARTS_INSIDE) && !peek->in_transaction)
	{
		/*
		 * we have come into the middle of it: what begins after its end is
		 * shown
		 */
		if (flo_chunk_first_outside(bytes, size, &header) == FLO_NEVER_OUTSIDE)
			return;
		(void) flo_chunk_take_raw(&reader, header.rest, &data);
	}
	if (peek->fragment_total > 0)
	{
		len = flo_chunk_take_raw(&reader, peek->fragment_total - peek->fragment.len, &data);
		take_fragment(peek, data, len);
	}
	while (flo_chunk_next(&reader, &data, &len, &total))
	{
		CHECK_FOR_INTERRUPTS();
		if (len == total)
		{
			take_message(peek, unconstify(char *, data), len);
			continue;
		}
		resetStringInfo(&peek->fragment);
		peek->fragment_total = total;
		take_fragment(peek, data, len);
	}
}

static void
take_answer(Peek *peek, FloJson answer)
{
	FloJson		chunks;
	FloJson		chunk;
	int			cursor = 0;

	if (!flo_json_get(answer, "chunks", &chunks))
		return;
	while (flo_json_next_element(chunks, &cursor, &chunk))
	{
		char	   *text = flo_json_get_string(chunk, "data");
		int			len = text != NULL ? strlen(text) : 0;
		char	   *bytes = palloc(pg_b64_dec_len(len) + 1);
		int			size = text != NULL ?
			pg_b64_decode(text, len, (void *) bytes, pg_b64_dec_len(len)) : -1;

		if (size < 0 || !flo_json_get_int64(chunk, "seq", &peek->seq))
			elog(ERROR, "malformed answer of the agent");
		bytes[size] = '\0';
		take_chunk(peek, bytes, size);
		pfree(text);
	}
}

/*
 * What is in the stream is as it left the source.  Where a worker lets nothing in
 * that nobody has decided about, it cannot be looked at either.
 */
static void
require_not_masked(const char *group)
{
	ListCell   *lc;

	if (flo_store_replicator(group) != NULL)
		return;
	foreach(lc, flo_store_members(group))
	{
		const FloMemberSpec *member = lfirst(lc);
		const FloWorkerSpec *spec = flo_store_worker(group, member->member);

		if (spec != NULL && spec->options.masking == FLO_MASKING_STRICT)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("events of group \"%s\" cannot be shown here: masking of worker \"%s\" is strict",
							group, spec->worker),
					 errdetail("The stream holds rows as they left the source, before the worker's rules."),
					 errhint("Call flo.peek() in the database of the replicator, or try rules with flo.preview().")));
	}
}

Datum
flo_peek(PG_FUNCTION_ARGS)
{
	Peek		peek = {0};
	FloAsRole	as;
	char	   *group;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null",
						PG_ARGISNULL(0) ? "group_name" : "max_events")));
	group = text_to_cstring(PG_GETARG_TEXT_PP(0));
	peek.max_events = PG_GETARG_INT32(1);
	if (peek.max_events < 1 || peek.max_events > MAX_EVENTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_events must lie between 1 and %d", MAX_EVENTS)));
	flo_conf_require_group(group);
	flo_rights_require_reader(group);
	require_not_masked(group);
	InitMaterializedSRF(fcinfo, 0);

	peek.result = (ReturnSetInfo *) fcinfo->resultinfo;
	peek.parser = flo_change_parser_create(CurrentMemoryContext);
	peek.pieces = flo_pieces_create(CurrentMemoryContext);
	peek.group = group;
	initStringInfo(&peek.fragment);
	initStringInfo(&peek.plain);
	flo_as_role_enter(&as, GetUserId(), FLO_AS_ROLE_PLAIN);
	pin_formats();
	PG_ENSURE_ERROR_CLEANUP(flo_pieces_remove_files, PointerGetDatum(peek.pieces));
	{
		take_answer(&peek, flo_agent_call("peek",
										  psprintf("{\"group\":\"%s\",\"max_events\":%d}", group,
												   peek.max_events), NULL));
	}
	PG_END_ENSURE_ERROR_CLEANUP(flo_pieces_remove_files, PointerGetDatum(peek.pieces));
	flo_pieces_forget_all(peek.pieces);
	flo_as_role_leave(&as);

	for (int i = 0; i < list_length(peek.events); i++)
		tuplestore_puttuple(peek.result->setResult, list_nth(peek.events, i));
	return (Datum) 0;
}
