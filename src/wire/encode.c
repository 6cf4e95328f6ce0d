/*
 * encode.c
 *		Writes a change as a message of the logical replication protocol.
 *
 * The reverse of change.c, for rows that were altered before they are
 * published.  Each value says for itself whether it is text or binary, so a
 * row may hold both and its relation's description needs no change.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "wire/compressed.h"
#include "wire/encode.h"

static void
put_tuple(StringInfo buf, char mark, const FloTuple *tuple)
{
	pq_sendbyte(buf, mark);
	pq_sendint16(buf, tuple->natts);
	for (int i = 0; i < tuple->natts; i++)
	{
		const FloValue *value = &tuple->values[i];
		const FloCompressed *compressed = flo_compressed_form(tuple, value);

		if (compressed != NULL)
		{
			if (compressed->datum != NULL)
				flo_compressed_put(buf, value->kind, compressed->datum);
			else
				flo_compressed_put_plain(buf, value->kind, compressed->method, value->data,
										 value->len);
			continue;
		}
		pq_sendbyte(buf, value->kind);
		if (value->kind != FLO_VALUE_TEXT && value->kind != FLO_VALUE_BINARY)
			continue;
		pq_sendint32(buf, value->len);
		appendBinaryStringInfo(buf, value->data, value->len);
	}
}

void
flo_encode_change(StringInfo buf, const FloChange *change)
{
	Assert(change->op == FLO_OP_INSERT || change->op == FLO_OP_UPDATE ||
		   change->op == FLO_OP_DELETE);

	resetStringInfo(buf);
	pq_sendbyte(buf, change->op);
	pq_sendint32(buf, change->relation->id);
	if (change->op != FLO_OP_INSERT && change->has_old)
		put_tuple(buf, change->old_is_key ? 'K' : 'O', &change->old);
	if (change->op != FLO_OP_DELETE)
		put_tuple(buf, 'N', &change->new);
}
