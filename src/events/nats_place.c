/*
 * nats_place.c
 *		How far a sink has come that publishes to NATS: what a message says of its
 *		place, and what is saved between processes.
 *
 * A place in words: the writer, the epoch, and "s" <LSN> <change> <message> of a
 * streamed change, "c" <piece> <row> <message> of a copied row, "n" <message> of a
 * notice.
 */
#include "postgres.h"

#include "core/compat.h"
#include "core/text.h"
#include "events/json_value.h"
#include "events/nats_place.h"
#include "events/sink_state.h"
#include "utils/jsonb.h"

/* Pieces of copies that were given up are never asked for again */
#define PIECES_MAX 64

/* --- places -------------------------------------------------------------- */

bool
flo_nats_place_is_beyond(const FloNatsPlace *a, const FloNatsPlace *b)
{
	if (a->final_lsn != b->final_lsn)
		return a->final_lsn > b->final_lsn;
	return a->ordinal != b->ordinal ? a->ordinal > b->ordinal : a->message > b->message;
}

void
flo_nats_place_write(const FloNatsPlace *place, const char *writer, char *buf, size_t size)
{
	int			len = snprintf(buf, size, "%s %u ", writer, place->epoch);

	buf += len;
	size -= len;
	if (place->kind == FLO_NATS_STREAMED)
		snprintf(buf, size, "s %X/%X " UINT64_FORMAT " %u", LSN_FORMAT_ARGS(place->final_lsn),
				 place->ordinal, place->message);
	else if (place->kind == FLO_NATS_COPIED)
		snprintf(buf, size, "c %s " UINT64_FORMAT " %u", place->piece, place->ordinal,
				 place->message);
	else
		snprintf(buf, size, "n %u", place->message);
}

bool
flo_nats_place_read(const char *text, const char *writer, FloNatsPlace *place)
{
	size_t		len = strlen(writer);
	char		lsn[FLO_NATS_PIECE_SIZE];
	unsigned long long ordinal;

	memset(place, 0, sizeof(*place));
	if (strncmp(text, writer, len) != 0)
		return false;
	text += len;
	if (sscanf(text, " %u s %63s %llu %u", &place->epoch, lsn, &ordinal, &place->message) == 4)
	{
		place->kind = FLO_NATS_STREAMED;
		place->ordinal = ordinal;
		return flo_lsn_try(lsn, &place->final_lsn);
	}
	if (sscanf(text, " %u c %63s %llu %u", &place->epoch, place->piece, &ordinal,
			   &place->message) == 4)
	{
		place->kind = FLO_NATS_COPIED;
		place->ordinal = ordinal;
		return true;
	}
	place->kind = FLO_NATS_NOTICE;
	return sscanf(text, " %u n %u", &place->epoch, &place->message) == 2;
}

/* --- pieces of a copy ---------------------------------------------------- */

FloNatsPlace *
flo_nats_state_piece(const FloNatsState *state, const char *piece)
{
	ListCell   *lc;

	foreach(lc, state->pieces)
	{
		FloNatsPlace *place = lfirst(lc);

		if (strcmp(place->piece, piece) == 0)
			return place;
	}
	return NULL;
}

void
flo_nats_state_forget_piece(FloNatsState *state, const char *piece)
{
	FloNatsPlace *place = flo_nats_state_piece(state, piece);

	if (place == NULL)
		return;
	state->pieces = list_delete_ptr(state->pieces, place);
	pfree(place);
}

void
flo_nats_state_note_piece(FloNatsState *state, const FloNatsPlace *place)
{
	FloNatsPlace *known = flo_nats_state_piece(state, place->piece);

	if (known == NULL)
	{
		if (list_length(state->pieces) >= PIECES_MAX)
			flo_nats_state_forget_piece(state, ((FloNatsPlace *) linitial(state->pieces))->piece);
		known = palloc(sizeof(FloNatsPlace));
		state->pieces = lappend(state->pieces, known);
	}
	*known = *place;
}

/* --- what is saved ------------------------------------------------------- */

void
flo_nats_state_begin(FloNatsState *state)
{
	uint8		bytes[(FLO_NATS_WRITER_SIZE - 1) / 2];

	memset(state, 0, sizeof(*state));
	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < lengthof(bytes); i++)
		snprintf(state->writer + 2 * i, 3, "%02x", bytes[i]);
	state->told = true;
}

static void
append_member(StringInfo out, const char *key, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(out, ", \"%s\": ", key);
	flo_json_append_text(out, value, strlen(value));
}

char *
flo_nats_state_write(const FloNatsState *state)
{
	StringInfoData out;
	char		place[FLO_NATS_PLACE_SIZE];
	ListCell   *lc;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"writer\": \"%s\", \"epoch\": %u, \"partitions\": %d"
					 ", \"partitions_before\": %d, \"told\": %d",
					 state->writer, state->epoch, state->partitions, state->partitions_before,
					 state->told);
	append_member(&out, "stream", state->stream);
	append_member(&out, "subjects", state->subjects);
	append_member(&out, "partition_by", state->partition_by);
	if (state->streamed.kind == FLO_NATS_STREAMED)
	{
		flo_nats_place_write(&state->streamed, state->writer, place, sizeof(place));
		append_member(&out, "place", place);
	}
	if (state->pieces != NIL)
	{
		appendStringInfoString(&out, ", \"pieces\": \"");
		foreach(lc, state->pieces)
		{
			flo_nats_place_write(lfirst(lc), state->writer, place, sizeof(place));
			appendStringInfo(&out, "%s%s", lc == list_head(state->pieces) ? "" : ",", place);
		}
		appendStringInfoChar(&out, '"');
	}
	appendStringInfoChar(&out, '}');
	return out.data;
}

pg_noreturn static void
unreadable(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the recorded state of the worker cannot be read")));
}

static int64
read_number(Jsonb *saved, const char *key)
{
	int64		number;

	if (!flo_sink_state_int64(saved, key, &number))
		unreadable();
	return number;
}

static void
read_pieces(FloNatsState *state, char *text)
{
	char	   *save = NULL;

	for (char *one = strtok_r(text, ",", &save); one != NULL; one = strtok_r(NULL, ",", &save))
	{
		FloNatsPlace place;

		if (!flo_nats_place_read(one, state->writer, &place) || place.kind != FLO_NATS_COPIED)
			unreadable();
		flo_nats_state_note_piece(state, &place);
	}
}

void
flo_nats_state_read(const char *text, FloNatsState *state)
{
	Jsonb	   *saved = flo_sink_state_parse(text);
	char	   *writer = flo_sink_state_text(saved, "writer");
	char	   *place = flo_sink_state_text(saved, "place");
	char	   *pieces = flo_sink_state_text(saved, "pieces");

	memset(state, 0, sizeof(*state));
	if (writer == NULL || strlen(writer) != FLO_NATS_WRITER_SIZE - 1)
		unreadable();
	strlcpy(state->writer, writer, sizeof(state->writer));
	state->stream = flo_sink_state_text(saved, "stream");
	state->subjects = flo_sink_state_text(saved, "subjects");
	state->epoch = (uint32) read_number(saved, "epoch");
	state->partitions = (int) read_number(saved, "partitions");
	state->partitions_before = (int) read_number(saved, "partitions_before");
	state->partition_by = flo_sink_state_text(saved, "partition_by");
	state->told = read_number(saved, "told") != 0;
	if (state->partition_by == NULL ||
		(place != NULL && !flo_nats_place_read(place, state->writer, &state->streamed)))
		unreadable();
	if (pieces != NULL)
		read_pieces(state, pieces);
}
