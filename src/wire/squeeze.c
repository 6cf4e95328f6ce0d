/*
 * squeeze.c
 *		The records of a chunk, compressed while they travel and lie at the broker.
 *
 * Rows of one table resemble each other, and the broker works for each byte, so this
 * pays wherever there is more than a handful of rows.  A small chunk is somebody waiting
 * for one transaction, and is sent as it is.  Where data do not become smaller, such as
 * what the source's server has compressed already, little time is spent on finding out.
 *
 * Bytes come from the network: what they claim is checked before it is believed, and the
 * library is asked for nothing but its function that looks at both ends.
 */
#include "postgres.h"

#include <lz4.h>

#include "port/pg_bswap.h"
#include "wire/squeeze.h"

/* Records of fewer bytes travel as they are */
#define SMALLEST	(4 * 1024)

/* What is to be gained at least: one part of so many */
#define WORTH	10

/* So many in vain, and only each of so many is tried until one is smaller */
#define PATIENCE	4
#define PAUSE	16

/* The length of the records stands before them */
#define PREFIX	((int) sizeof(uint32))

static bool
is_worth_trying(FloSqueezer *squeezer)
{
	if (squeezer->misses < PATIENCE)
		return true;
	if (squeezer->pause > 0)
	{
		squeezer->pause--;
		return false;
	}
	squeezer->pause = PAUSE - 1;
	return true;
}

bool
flo_chunk_squeeze(FloSqueezer *squeezer, const StringInfoData *chunk, StringInfo out)
{
	int			plain = chunk->len - FLO_CHUNK_HEADER_SIZE;
	int			most = plain - plain / WORTH - PREFIX;
	int			len;

	if (!squeezer->on || plain < SMALLEST || plain > FLO_SQUEEZED_MAX ||
		!is_worth_trying(squeezer))
		return false;
	flo_chunk_reset(out);
	flo_chunk_append_length(out, plain);
	enlargeStringInfo(out, most);
	len = LZ4_compress_default(chunk->data + FLO_CHUNK_HEADER_SIZE, out->data + out->len, plain,
							   most);
	if (len <= 0)
	{
		squeezer->misses = Min(squeezer->misses + 1, PATIENCE);
		return false;
	}
	squeezer->misses = squeezer->pause = 0;
	out->len += len;
	return true;
}

const char *
flo_chunk_open(char **data, int *len, FloChunkHeader *header, StringInfo room)
{
	const char *reason = flo_chunk_parse(*data, *len, header);
	const char *packed;
	int			packed_len;
	uint32		plain;

	if (reason != NULL || !(header->flags & FLO_CHUNK_COMPRESSED))
		return reason;
	packed_len = *len - FLO_CHUNK_HEADER_SIZE - PREFIX;
	if (packed_len <= 0)
		return "its compressed records are cut off";
	packed = *data + FLO_CHUNK_HEADER_SIZE + PREFIX;
	memcpy(&plain, packed - PREFIX, PREFIX);
	plain = pg_ntoh32(plain);
	if (plain == 0 || plain > FLO_SQUEEZED_MAX)
		return "its compressed records claim to be too long";

	/* one byte more than there should be, so that what goes on is noticed */
	resetStringInfo(room);
	enlargeStringInfo(room, FLO_CHUNK_HEADER_SIZE + plain + 1);
	if (LZ4_decompress_safe(packed, room->data + FLO_CHUNK_HEADER_SIZE, packed_len,
							plain + 1) != (int) plain)
		return "its compressed records cannot be expanded";
	memcpy(room->data, *data, FLO_CHUNK_HEADER_SIZE);
	room->len = FLO_CHUNK_HEADER_SIZE + plain;
	header->flags &= ~FLO_CHUNK_COMPRESSED;
	*data = room->data;
	*len = room->len;
	return NULL;
}

const char *
flo_chunk_open_own(char **data, int *len, FloChunkHeader *header)
{
	StringInfoData room = {0};
	char	   *before = *data;
	const char *reason = flo_chunk_parse(*data, *len, header);

	if (reason != NULL || !(header->flags & FLO_CHUNK_COMPRESSED))
		return reason;
	initStringInfo(&room);
	reason = flo_chunk_open(data, len, header, &room);
	pfree(reason == NULL ? before : room.data);
	return reason;
}
