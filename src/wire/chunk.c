/*
 * chunk.c
 *		Writer and reader of chunks; src/wire/README.md has the layout.
 */
#include "postgres.h"

#include "port/pg_bswap.h"
#include "port/pg_crc32c.h"
#include "wire/chunk.h"

static const char chunk_magic[4] = {'P', 'F', 'L', 'O'};

#define CHUNK_VERSION 2

const char *const flo_chunk_is_newer = "it is of a newer version of pg_flo";

/* The checksum is the header's last field and covers all bytes around it */
#define CRC_OFFSET (FLO_CHUNK_HEADER_SIZE - (int) sizeof(uint32))

static void
put_bytes(char **at, const void *data, size_t len)
{
	memcpy(*at, data, len);
	*at += len;
}

static void
put16(char **at, uint16 value)
{
	value = pg_hton16(value);
	put_bytes(at, &value, sizeof(value));
}

static void
put32(char **at, uint32 value)
{
	value = pg_hton32(value);
	put_bytes(at, &value, sizeof(value));
}

static void
put64(char **at, uint64 value)
{
	value = pg_hton64(value);
	put_bytes(at, &value, sizeof(value));
}

static uint16
get16(const char **at)
{
	uint16		value;

	memcpy(&value, *at, sizeof(value));
	*at += sizeof(value);
	return pg_ntoh16(value);
}

static uint32
get32(const char **at)
{
	uint32		value;

	memcpy(&value, *at, sizeof(value));
	*at += sizeof(value);
	return pg_ntoh32(value);
}

static uint64
get64(const char **at)
{
	uint64		value;

	memcpy(&value, *at, sizeof(value));
	*at += sizeof(value);
	return pg_ntoh64(value);
}

static pg_crc32c
chunk_crc(const char *data, size_t len)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, data, CRC_OFFSET);
	COMP_CRC32C(crc, data + FLO_CHUNK_HEADER_SIZE, len - FLO_CHUNK_HEADER_SIZE);
	FIN_CRC32C(crc);
	return crc;
}

void
flo_chunk_reset(StringInfo buf)
{
	resetStringInfo(buf);
	enlargeStringInfo(buf, FLO_CHUNK_HEADER_SIZE);
	buf->len = FLO_CHUNK_HEADER_SIZE;
}

void
flo_chunk_append_length(StringInfo buf, uint32 len)
{
	uint32		wire_len = pg_hton32(len);

	appendBinaryStringInfo(buf, (const char *) &wire_len, sizeof(wire_len));
}

void
flo_chunk_append_raw(StringInfo buf, const char *data, uint32 len)
{
	appendBinaryStringInfo(buf, data, len);
}

void
flo_chunk_append(StringInfo buf, const char *data, uint32 len)
{
	uint32		wire_len = pg_hton32(len);
	char	   *to;

	if (unlikely((Size) (buf->maxlen - buf->len) <= sizeof(wire_len) + len))
		enlargeStringInfo(buf, sizeof(wire_len) + len);
	to = buf->data + buf->len;
	memcpy(to, &wire_len, sizeof(wire_len));
	memcpy(to + sizeof(wire_len), data, len);
	buf->len += sizeof(wire_len) + len;
	buf->data[buf->len] = '\0';
}

void
flo_chunk_seal(StringInfo buf, const FloChunkHeader *header)
{
	char	   *at = buf->data;

	Assert(buf->len >= FLO_CHUNK_HEADER_SIZE);
	put_bytes(&at, chunk_magic, sizeof(chunk_magic));
	put16(&at, CHUNK_VERSION);
	put16(&at, header->flags);
	put64(&at, header->system_identifier);
	put32(&at, header->timeline);
	put_bytes(&at, header->generation.data, UUID_LEN);
	put64(&at, header->generation_start);
	put16(&at, header->encoding);
	put64(&at, header->epoch);
	put64(&at, header->number);
	put64(&at, header->txn_number);
	put64(&at, header->from);
	put64(&at, header->upto);
	put64(&at, header->position);
	put64(&at, (uint64) header->commit_time);
	put64(&at, header->anchor_lsn);
	put32(&at, header->anchor_crc);
	put32(&at, header->rest);
	put16(&at, 0);				/* room to grow */
	Assert(at == buf->data + CRC_OFFSET);
	put32(&at, chunk_crc(buf->data, buf->len));
}

const char *
flo_chunk_parse(const char *data, size_t len, FloChunkHeader *header)
{
	const char *at = data;
	const char *crc_at = data + CRC_OFFSET;

	if (len < FLO_CHUNK_HEADER_SIZE)
		return "shorter than a chunk header";
	if (memcmp(at, chunk_magic, sizeof(chunk_magic)) != 0)
		return "not a pg_flo chunk";
	at += sizeof(chunk_magic);
	header->version = get16(&at);
	if (header->version < FLO_CHUNK_OF_0_1 || header->version > CHUNK_VERSION)
		return flo_chunk_is_newer;
	if (get32(&crc_at) != chunk_crc(data, len))
		return "bad checksum";
	header->flags = get16(&at);
	if (header->flags & ~FLO_CHUNK_KNOWN_FLAGS)
		return flo_chunk_is_newer;
	header->system_identifier = get64(&at);
	header->timeline = get32(&at);
	memcpy(header->generation.data, at, UUID_LEN);
	at += UUID_LEN;
	header->generation_start = get64(&at);
	header->encoding = get16(&at);
	header->epoch = get64(&at);
	header->number = get64(&at);
	header->txn_number = get64(&at);
	header->from = get64(&at);
	header->upto = get64(&at);
	header->position = get64(&at);
	header->commit_time = (TimestampTz) get64(&at);
	header->anchor_lsn = get64(&at);
	header->anchor_crc = get32(&at);
	header->rest = get32(&at);
	return NULL;
}

void
flo_chunk_read(FloChunkReader *reader, const char *data, size_t len)
{
	Assert(len >= FLO_CHUNK_HEADER_SIZE);
	reader->next = data + FLO_CHUNK_HEADER_SIZE;
	reader->end = data + len;
}

bool
flo_chunk_next(FloChunkReader *reader, const char **data, uint32 *len, uint32 *total)
{
	uint32		here;

	if (reader->end - reader->next < (ptrdiff_t) sizeof(uint32))
		return false;
	*total = get32(&reader->next);
	here = (uint32) (reader->end - reader->next);
	*len = Min(*total, here);
	*data = reader->next;
	reader->next += *len;
	return true;
}

uint32
flo_chunk_take_raw(FloChunkReader *reader, uint32 len, const char **data)
{
	uint32		here = (uint32) (reader->end - reader->next);

	len = Min(len, here);
	*data = reader->next;
	reader->next += len;
	return len;
}

/* COMMIT: a letter, flags, its LSN, its end LSN, a time */
#define COMMIT_SIZE 26
#define COMMIT_END 10

XLogRecPtr
flo_chunk_first_outside(const char *data, size_t len, const FloChunkHeader *header)
{
	FloChunkReader reader;
	const char *record;
	uint32		here;
	uint32		total;

	if (!(header->flags & FLO_CHUNK_STARTS_INSIDE))
		return header->from;

	/* where the first whole record begins, older writers do not tell */
	if ((header->flags & FLO_CHUNK_STARTS_FRAGMENT) && header->rest == 0)
		return FLO_NEVER_OUTSIDE;
	flo_chunk_read(&reader, data, len);
	(void) flo_chunk_take_raw(&reader, header->rest, &record);
	while (flo_chunk_next(&reader, &record, &here, &total))
	{
		if (here == COMMIT_SIZE && here == total && record[0] == 'C')
		{
			const char *at = record + COMMIT_END;
			XLogRecPtr	end = get64(&at);

			return Max(header->from, end);
		}
	}
	return FLO_NEVER_OUTSIDE;
}

/* BEGIN: a letter, the LSN of its commit, a time, an id */
#define BEGIN_SIZE 21

/* The end of a transaction of pieces: a letter, an id, what COMMIT has, a number */
#define PIECE_COMMIT_SIZE 34

/* The LSN and the time of a commit that a record tells of; NULL when it does not */
static const char *
commit_told(const char *record, uint32 len, TimestampTz *time)
{
	const char *lsn;
	const char *at;

	if (len == BEGIN_SIZE && record[0] == 'B')
	{
		lsn = record + 1;
		at = record + 9;
	}
	else if (len == COMMIT_SIZE && record[0] == 'C')
	{
		lsn = record + 2;
		at = record + 18;
	}
	else if (len == PIECE_COMMIT_SIZE && record[0] == 'c')
	{
		lsn = record + 6;
		at = record + 22;
	}
	else
		return NULL;
	*time = (TimestampTz) get64(&at);
	return lsn;
}

XLogRecPtr
flo_chunk_first_since(const char *data, size_t len, const FloChunkHeader *header,
					  TimestampTz time, bool *before)
{
	FloChunkReader reader;
	const char *record;
	uint32		here;
	uint32		total;

	if ((header->flags & (FLO_CHUNK_OUTSIDE | FLO_CHUNK_PIECE)) ||
		((header->flags & FLO_CHUNK_STARTS_FRAGMENT) && header->rest == 0))
		return InvalidXLogRecPtr;
	flo_chunk_read(&reader, data, len);
	(void) flo_chunk_take_raw(&reader, header->rest, &record);
	while (flo_chunk_next(&reader, &record, &here, &total))
	{
		TimestampTz told;
		const char *lsn = here == total ? commit_told(record, here, &told) : NULL;

		if (lsn == NULL)
			continue;
		if (told >= time)
			return get64(&lsn);
		*before = true;
	}
	return InvalidXLogRecPtr;
}

#define COPY_KEY_SIZE 20

void
flo_chunk_append_copy_key(StringInfo buf, const FloCopyKey *key)
{
	char		bytes[COPY_KEY_SIZE];
	char	   *at = bytes;

	put32(&at, key->relation);
	put32(&at, key->attempt);
	put32(&at, key->range);
	put32(&at, key->ordinal);
	put32(&at, key->rows);
	flo_chunk_append(buf, bytes, sizeof(bytes));
}

void
flo_chunk_set_copy_rows(StringInfo buf, uint32 rows)
{
	char	   *at = buf->data + FLO_CHUNK_HEADER_SIZE + sizeof(uint32) + 4 * sizeof(uint32);

	put32(&at, rows);
}

bool
flo_chunk_next_copy_key(FloChunkReader *reader, FloCopyKey *key)
{
	const char *at;
	uint32		len;
	uint32		total;

	if (!flo_chunk_next(reader, &at, &len, &total) || len != COPY_KEY_SIZE || total != len)
		return false;
	key->relation = get32(&at);
	key->attempt = get32(&at);
	key->range = get32(&at);
	key->ordinal = get32(&at);
	key->rows = get32(&at);
	return true;
}
