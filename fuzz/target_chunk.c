/*
 * target_chunk.c
 *		A chunk: header, records, compressed or not, pieces of records, key of a copy.
 *
 * The checksum is made right first: an attacker can compute it, the fuzzer
 * cannot.
 */
#include "postgres.h"

#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "wire/piece.h"
#include "wire/squeeze.h"

#include "fuzz.h"

static void
mend_checksum(char *chunk, size_t len)
{
	const int	at = FLO_CHUNK_HEADER_SIZE - sizeof(pg_crc32c);
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, chunk, at);
	COMP_CRC32C(crc, chunk + FLO_CHUNK_HEADER_SIZE, len - FLO_CHUNK_HEADER_SIZE);
	FIN_CRC32C(crc);
	crc = pg_hton32(crc);
	memcpy(chunk + at, &crc, sizeof(crc));
}

static void
read_records(FloChunkReader *reader)
{
	const char *data;
	uint32		len;
	uint32		total;

	while (flo_chunk_next(reader, &data, &len, &total))
	{
		fuzz_check(len <= total);
		fuzz_check(len == total || reader->next == reader->end);
		fuzz_touch(data, len);
	}
}

/* What is written with the header that was read must be read as the same */
static void
check_round_trip(const FloChunkHeader *header, const char *chunk, size_t len)
{
	StringInfoData buf;
	FloChunkHeader again;

	initStringInfo(&buf);
	flo_chunk_reset(&buf);
	flo_chunk_append_raw(&buf, chunk + FLO_CHUNK_HEADER_SIZE, len - FLO_CHUNK_HEADER_SIZE);
	flo_chunk_seal(&buf, header);
	fuzz_check(buf.len == len);
	memset(&again, 0, sizeof(again));
	fuzz_check(flo_chunk_parse(buf.data, buf.len, &again) == NULL);
	fuzz_check(again.version >= header->version);
	again.version = header->version;
	fuzz_check(memcmp(header, &again, sizeof(again)) == 0);
}

static void
read_all(char *chunk, size_t len, const FloChunkHeader *header)
{
	FloChunkReader reader;
	FloCopyKey	key;
	FloPieceKey piece_key;
	bool		before = false;
	const char *piece;
	uint32		taken;

	flo_chunk_read(&reader, chunk, len);
	read_records(&reader);

	flo_chunk_read(&reader, chunk, len);
	if (flo_chunk_next_copy_key(&reader, &key))
		read_records(&reader);

	flo_chunk_read(&reader, chunk, len);
	if (flo_chunk_next_piece_key(&reader, &piece_key))
		read_records(&reader);
	(void) flo_chunk_first_outside(chunk, len, header);
	(void) flo_chunk_first_since(chunk, len, header, header->commit_time, &before);

	/* the rest of a record from an earlier chunk comes first */
	flo_chunk_read(&reader, chunk, len);
	taken = flo_chunk_take_raw(&reader, (uint8) chunk[len - 1], &piece);
	fuzz_touch(piece, taken);
	read_records(&reader);
}

/* Records as they are, compressed and expanded again, are the same */
static void
check_squeezing(const char *chunk, size_t len, const FloChunkHeader *header)
{
	FloSqueezer squeezer = {.on = true};
	StringInfoData plain;
	StringInfoData squeezed;
	FloChunkHeader with = *header;
	FloChunkHeader again;
	char	   *data;
	int			opened;

	initStringInfo(&plain);
	initStringInfo(&squeezed);
	flo_chunk_reset(&plain);
	for (int i = 0; i < 20; i++)
		flo_chunk_append_raw(&plain, chunk + FLO_CHUNK_HEADER_SIZE, len - FLO_CHUNK_HEADER_SIZE);
	if (!flo_chunk_squeeze(&squeezer, &plain, &squeezed))
		return;
	with.flags |= FLO_CHUNK_COMPRESSED;
	flo_chunk_seal(&squeezed, &with);
	fuzz_check(squeezed.len < plain.len);
	data = squeezed.data;
	opened = squeezed.len;
	fuzz_check(flo_chunk_open_own(&data, &opened, &again) == NULL);
	fuzz_check(opened == plain.len && !(again.flags & FLO_CHUNK_COMPRESSED));
	fuzz_check(memcmp(data + FLO_CHUNK_HEADER_SIZE, plain.data + FLO_CHUNK_HEADER_SIZE,
					  opened - FLO_CHUNK_HEADER_SIZE) == 0);
}

void
fuzz_chunk(const char *data, size_t len)
{
	char	   *chunk = fuzz_copy(data, len);
	FloChunkHeader header;
	StringInfoData room;
	int			opened = (int) len;

	memset(&header, 0, sizeof(header));
	(void) flo_chunk_parse(chunk, len, &header);
	if (len < FLO_CHUNK_HEADER_SIZE)
		return;
	mend_checksum(chunk, len);
	if (flo_chunk_parse(chunk, len, &header) != NULL)
		return;
	check_round_trip(&header, chunk, len);
	check_squeezing(chunk, len, &header);
	initStringInfo(&room);
	if (flo_chunk_open(&chunk, &opened, &header, &room) == NULL)
	{
		fuzz_check(!(header.flags & FLO_CHUNK_COMPRESSED));
		if (chunk == room.data)
			chunk[opened] = 'x';	/* as readers may */
		read_all(fuzz_copy(chunk, opened), opened, &header);
	}
}
