/*
 * piece.c
 *		Records of transactions that travel before their commit; the readers of those
 *		that stand among others are in change.c.
 */
#include "postgres.h"

#include "access/transam.h"
#include "libpq/pqformat.h"
#include "port/pg_bswap.h"
#include "wire/change.h"
#include "wire/piece.h"

#define PIECE_KEY_SIZE 9

static void
append_numbers(StringInfo buf, char letter, uint32 first, uint32 second)
{
	flo_chunk_append_length(buf, 1 + 2 * sizeof(uint32));
	pq_sendbyte(buf, letter);
	pq_sendint32(buf, first);
	pq_sendint32(buf, second);
}

void
flo_chunk_append_piece_key(StringInfo buf, const FloPieceKey *key)
{
	append_numbers(buf, FLO_PIECE_KEY_LETTER, key->xid, key->ordinal);
}

bool
flo_chunk_next_piece_key(FloChunkReader *reader, FloPieceKey *key)
{
	const char *at;
	uint32		len;
	uint32		total;
	uint32		numbers[2];

	if (!flo_chunk_next(reader, &at, &len, &total) || len != PIECE_KEY_SIZE || total != len ||
		at[0] != FLO_PIECE_KEY_LETTER)
		return false;
	memcpy(numbers, at + 1, sizeof(numbers));
	key->xid = pg_ntoh32(numbers[0]);
	key->ordinal = pg_ntoh32(numbers[1]);
	return TransactionIdIsNormal(key->xid) && key->ordinal > 0;
}

void
flo_chunk_append_subtransaction(StringInfo buf, TransactionId subxid)
{
	flo_chunk_append_length(buf, 1 + sizeof(uint32));
	pq_sendbyte(buf, FLO_OP_SUBTRANSACTION);
	pq_sendint32(buf, subxid);
}

void
flo_chunk_append_void(StringInfo buf, TransactionId xid, TransactionId subxid)
{
	append_numbers(buf, FLO_OP_VOID, xid, subxid);
}

void
flo_chunk_append_piece_commit(StringInfo buf, TransactionId xid, const char *commit, uint32 npieces)
{
	Assert(commit[0] == FLO_OP_COMMIT);
	flo_chunk_append_length(buf, FLO_COMMIT_SIZE + 2 * sizeof(uint32));
	pq_sendbyte(buf, FLO_OP_PIECE_COMMIT);
	pq_sendint32(buf, xid);
	appendBinaryStringInfo(buf, commit + 1, FLO_COMMIT_SIZE - 1);
	pq_sendint32(buf, npieces);
}
