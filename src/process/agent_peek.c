/*
 * agent_peek.c
 *		What an agent does for flo.peek(): fetch the newest chunks of a stream.
 *
 * Read from the end of the stream backwards until there are enough events in
 * transactions that are whole, within bounds: a stream of
 * heartbeats only, or a transaction larger than the bounds, is not followed
 * for ever.  Void messages are passed over, so FLO_WINDOW messages more are
 * looked at for their epochs.  Pieces are wanted of a transaction whose end was met, and
 * count when the first of them is there.
 */
#include "postgres.h"

#include "access/transam.h"
#include "bus/stream.h"
#include "common/base64.h"
#include "core/clock.h"
#include "core/names.h"
#include "port/pg_bswap.h"
#include "process/agent.h"
#include "process/agent_peek.h"
#include "wire/change.h"
#include "wire/piece.h"
#include "wire/squeeze.h"

#define MAX_BYTES (16 * 1024 * 1024)
#define MAX_TIME 5000			/* ms */

/* One stored message; data NULL: none of the group's chunks */
typedef struct Found
{
	uint64		seq;
	uint64		epoch;			/* 0: no chunk */
	uint16		flags;
	bool		enterable;		/* reading can begin here */
	int			head;			/* events of the transaction that it starts
								 * inside */
	int			events;			/* the others */
	FloPieceKey piece;			/* of which transaction; xid 0: it is no piece */
	List	   *ended;			/* of Ended *: whose pieces end here */
	char	   *data;			/* as it is stored */
	int			len;
} Found;

/* A transaction of pieces whose end was met */
typedef struct Ended
{
	uint64		epoch;
	TransactionId xid;
	int			events;			/* in pieces that were met */
} Ended;

static void
note_end(Found *found, const char *record, const FloChunkHeader *header)
{
	Ended	   *ended = palloc0(sizeof(Ended));
	uint32		xid;

	memcpy(&xid, record + 1, sizeof(xid));
	ended->xid = pg_ntoh32(xid);
	ended->epoch = header->epoch;
	found->ended = lappend(found->ended, ended);
}

static void
count_events(Found *found, const char *data, int len, const FloChunkHeader *header)
{
	bool		inside = (header->flags & FLO_CHUNK_STARTS_INSIDE) != 0;
	FloChunkReader reader;
	const char *record;
	uint32		record_len;
	uint32		total;

	flo_chunk_read(&reader, data, len);
	if ((header->flags & FLO_CHUNK_PIECE) && !flo_chunk_next_piece_key(&reader, &found->piece))
		return;
	(void) flo_chunk_take_raw(&reader, header->rest, &record);
	while (flo_chunk_next(&reader, &record, &record_len, &total))
	{
		if (record_len == 0)
			continue;
		if (record[0] == FLO_OP_COMMIT)
			inside = false;
		else if (record[0] == FLO_OP_PIECE_COMMIT && record_len > sizeof(uint32))
			note_end(found, record, header);
		else if (strchr("IUDT", record[0]) == NULL)
			continue;
		else if (inside)
			found->head++;
		else
			found->events++;
	}
}

static Found *
read_message(FloBus *bus, const char *stream, uint64 seq)
{
	Found	   *found = palloc0(sizeof(Found));
	FloStoredMessage message;
	FloChunkHeader header;
	StringInfoData room;

	found->seq = seq;
	if (!flo_stream_get(bus, stream, seq, &message))
		return found;
	found->data = message.data;
	found->len = message.len;
	initStringInfo(&room);
	if (flo_chunk_open(&message.data, &message.len, &header, &room) != NULL)
	{
		pfree(found->data);
		found->data = NULL;
		pfree(room.data);
		return found;
	}
	found->epoch = header.epoch;
	found->flags = header.flags;
	found->enterable = flo_chunk_first_outside(message.data, message.len,
											   &header) != FLO_NEVER_OUTSIDE;
	if (!(header.flags & FLO_CHUNK_OUTSIDE) &&
		(!(header.flags & FLO_CHUNK_STARTS_FRAGMENT) || header.rest != 0))
		count_events(found, message.data, message.len, &header);
	pfree(room.data);
	return found;
}

/* Is the message at an index of the list, newest first, void? */
static bool
is_void(const List *messages, int index)
{
	uint64		epoch = ((Found *) list_nth(messages, index))->epoch;

	if (epoch == 0)
		return true;
	for (int i = index + 1; i <= index + FLO_WINDOW && i < list_length(messages); i++)
		if (((Found *) list_nth(messages, i))->epoch > epoch)
			return true;
	return false;
}

/*
 * Events that a piece adds: those of its transaction, when all of it was met; it is left
 * out when none will be
 */
static int
count_piece(Found *found, List *ended)
{
	ListCell   *cell;

	foreach(cell, ended)
	{
		Ended	   *one = lfirst(cell);

		if (one->xid != found->piece.xid || one->epoch != found->epoch)
			continue;
		one->events += found->events;
		return found->piece.ordinal == 1 ? one->events : 0;
	}
	pfree(found->data);
	found->data = NULL;
	return 0;
}

/* Messages from the newest backwards, enough of them */
static List *
read_newest(FloBus *bus, const char *stream, const FloStreamInfo *info, int max_events)
{
	FloClock	deadline = flo_clock_in(MAX_TIME);
	List	   *messages = NIL;
	int64		bytes = 0;
	int			events = 0;
	int			begun_earlier = 0;	/* of a transaction without its begin */
	int			more = -1;		/* messages to be read for their epochs */
	List	   *ended = NIL;

	for (uint64 seq = info->last_seq; seq >= info->first_seq && seq > 0; seq--)
	{
		Found	   *found = read_message(bus, stream, seq);

		messages = lappend(messages, found);
		ended = list_concat(ended, found->ended);
		if (TransactionIdIsValid(found->piece.xid))
			events += count_piece(found, ended);
		else if (found->enterable)
		{
			events += found->events + begun_earlier;
			begun_earlier = 0;
		}
		begun_earlier += found->head;
		if (found->data != NULL)
			bytes += found->len;
		if (more < 0 && events >= max_events && found->enterable)
			more = FLO_WINDOW;
		if (more-- == 0 || bytes > MAX_BYTES || flo_clock() > deadline)
			break;
	}
	return messages;
}

static void
append_chunk(StringInfo result, const Found *found)
{
	int			room = pg_b64_enc_len(found->len) + 1;
	char	   *text = palloc(room);
	int			len = pg_b64_encode((void *) found->data, found->len, text, room);

	if (len < 0)
		elog(ERROR, "could not encode a message");
	if (result->data[result->len - 1] != '[')
		appendStringInfoChar(result, ',');
	appendStringInfo(result, "{\"seq\":" UINT64_FORMAT ",\"data\":\"", found->seq);
	appendBinaryStringInfo(result, text, len);
	appendStringInfoString(result, "\"}");
	pfree(text);
}

void
flo_peek_operation(FloBus *bus, FloJson arguments, StringInfo result)
{
	char	   *group = flo_json_get_string(arguments, "group");
	int64		max_events = 1;
	FloStreamInfo info;
	List	   *messages = NIL;

	if (group == NULL || !flo_json_get_int64(arguments, "max_events", &max_events))
		elog(ERROR, "operation \"peek\" needs its arguments");
	if (flo_stream_info(bus, flo_name_stream(group), &info) && info.messages > 0)
		messages = read_newest(bus, flo_name_stream(group), &info, (int) max_events);
	appendStringInfoString(result, "{\"chunks\":[");
	for (int i = list_length(messages) - 1; i >= 0; i--)
	{
		const Found *found = list_nth(messages, i);

		if (found->data != NULL && !is_void(messages, i) &&
			!(found->flags & FLO_CHUNK_OUTSIDE))
			append_chunk(result, found);
	}
	appendStringInfoString(result, "]}");
}
